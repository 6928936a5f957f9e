"""A disk that is full: a clear no, nothing half-written, reads go on, and all is well once there is space."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest

from tests.faults.creations import faults_in_products, new_creation
from tests.faults.installation import Installation
from tests.faults.uploads import UPLOADS, Log, Stage, attempt, faults_in, staged, uploading

_REFUSALS_WANTED = 6
_RETURN_DEADLINE_SECONDS = 60


@contextmanager
def small_disk(folder: Path, size_megabytes: int) -> Iterator[None]:
    """A file system of its own of that size at `folder`, with what is there."""
    if os.geteuid() != 0:
        assert os.environ.get("CI") != "true", "these tests need root to mount a small disk"
        pytest.skip("mounting a small disk needs root")
    beside = folder.with_name(f"{folder.name}-before")
    owner = folder.stat()
    folder.rename(beside)
    folder.mkdir(mode=owner.st_mode & 0o777)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_megabytes}m", "kasuwa-test", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        subprocess.run(["cp", "--archive", f"{beside}/.", str(folder)], check=True)
        os.chown(folder, owner.st_uid, owner.st_gid)
        folder.chmod(owner.st_mode & 0o777)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(beside)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """No byte is left on the folder's disk, until the end of the block."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    try:
        yield
    finally:
        ballast.unlink()


@asynccontextmanager
async def served_on_small_disk(
    installation: Installation, part: str, size_megabytes: int
) -> AsyncIterator[Stage]:
    """The installation is served with this part of its data folder on a small disk; then it is examined."""
    with installation.serving():
        pass  # the parts are made at the first start
    with small_disk(installation.data / part, size_megabytes):
        async with staged(installation) as stage:
            yield stage
            stage.server.stop()
        faults = installation.examine()
    assert faults == []


async def refusals(stage: Stage, log: Log, make: "Callable[[int], object]") -> list[str]:
    raise NotImplementedError
