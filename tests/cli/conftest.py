"""Data folders that PostgreSQL's plain user can reach."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.staging import Installation
from tests.installed import Installed


@pytest.fixture(scope="module")
def new_installation(installed: Installed) -> Iterator[Callable[..., Installation]]:
    """Makes installations, each with a data folder of its own; an empty one was never started."""
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-cli-"))
    folder.chmod(0o755)
    made: list[Installation] = []

    def make(*, empty: bool = False, **settings: str) -> Installation:
        installation = Installation(folder / str(len(made)), settings)
        made.append(installation)
        if not empty and "KASUWA_DATABASE_URL" not in settings:
            installed.lay_down(installation.data)
        return installation

    yield make
    shutil.rmtree(folder, ignore_errors=True)
