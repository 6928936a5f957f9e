"""Data folders for the tests of the embedded PostgreSQL."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kasuwa.base.postgres import process
from kasuwa.base.postgres.binaries import Binaries, find_binaries
from kasuwa.base.postgres.server import EmbeddedPostgres


@pytest.fixture
def empty() -> Iterator[Path]:
    """A folder that does not exist yet, in a place that every user reaches; no server is left in it."""
    place = Path(tempfile.mkdtemp(prefix="kasuwa-test-", dir="/tmp"))
    place.chmod(0o755)
    yield place / "data"
    for cluster in place.rglob("postgres"):
        process.end_processes_in(cluster, None)
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    return find_binaries()


@pytest.fixture(scope="session")
def template(binaries: Binaries) -> Iterator[Path]:
    """A data folder after its first start and a clean stop: copied, as making one takes most of a second."""
    place = Path(tempfile.mkdtemp(prefix="kasuwa-test-", dir="/tmp"))
    place.chmod(0o755)
    with EmbeddedPostgres(place / "data", binaries):
        pass
    yield place / "data"
    shutil.rmtree(place)


@pytest.fixture
def data(empty: Path, template: Path) -> Path:
    subprocess.run(["cp", "-a", template, empty], check=True)
    return empty
