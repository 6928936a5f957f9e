"""Installations of the tests' own."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.installation import Installation, new_folder


@pytest.fixture(scope="session")
def install() -> Iterator[Callable[..., Installation]]:
    """Makes installations, each with a data folder of its own: a fault to build in, settings by name."""
    made: list[Installation] = []
    with new_folder() as folder:

        def make(broken: str = "", **settings: str) -> Installation:
            made.append(Installation(folder / str(len(made)), broken=broken, **settings))
            return made[-1]

        yield make
