"""Installations of the tests' own."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.installation import Installation, new_folder
from tests.installed import Installed


@pytest.fixture(scope="session")
def install(installed: Installed) -> Iterator[Callable[..., Installation]]:
    """Makes installations, each with a data folder of its own: a fault to build in, settings by name.

    An empty one is started for the first time, or takes a backup in.
    """
    made: list[Installation] = []
    with new_folder() as folder:

        def make(broken: str = "", *, empty: bool = False, **settings: str) -> Installation:
            made.append(Installation(folder / str(len(made)), broken=broken, **settings))
            if not empty:
                installed.lay_down(made[-1].data)
            return made[-1]

        yield make
