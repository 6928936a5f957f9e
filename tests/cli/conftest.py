"""Data folders that PostgreSQL's plain user can reach."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.staging import Installation


@pytest.fixture(scope="module")
def new_installation() -> Iterator[Callable[[], Installation]]:
    """Makes installations, each with a data folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-cli-"))
    folder.chmod(0o755)
    made: list[Installation] = []

    def make(**settings: str) -> Installation:
        installation = Installation(folder / str(len(made)), settings)
        made.append(installation)
        return installation

    yield make
    shutil.rmtree(folder, ignore_errors=True)
