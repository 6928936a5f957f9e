"""A disk that is full: a clear no, nothing half-written, reads go on, and all is well soon after there is
space again."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.faults.creations import Creators, creating, faults_in_products
from tests.faults.installation import Installation
from tests.faults.uploads import UPLOADS, Log, Stage, Uploading, faults_in, staged, uploading

_REFUSALS_WANTED = 6
# A promise, and not a measurement: within so much of the space's return every kind of write succeeds.
NORMAL_AGAIN_SECONDS = 5.0


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


async def fill_and_free(
    installation: Installation, part: str, size_megabytes: int, *, patience_seconds: float = 60
) -> list[str]:
    """Fill the disk of this part of the data folder amid writing, read, free it; what broke a promise."""
    with installation.serving():
        pass  # the parts are made at the first start
    folder = installation.data / part
    with small_disk(folder, size_megabytes):
        async with staged(installation) as stage:
            async with (
                uploading(stage, lines_may_break=False) as uploads,
                creating(stage, writers=2) as creators,
            ):
                await uploads.acknowledged_more(2 * len(UPLOADS))
                readings = await paths_to_read(stage)
                with filled(folder):
                    refused = [uploads.log] if part == "files" else [uploads.log, creators.log]
                    faults = await read_while_refused(stage, refused, readings, patience_seconds)
                seconds = await seconds_until_normal(uploads, creators)
                sys.stdout.write(f"{part}: writing again {seconds:.1f} s after space was made\n")
                if seconds > NORMAL_AGAIN_SECONDS:
                    faults.append(f"writing again only {seconds:.1f} s after space was made")
            faults += uploads.log.faults + creators.log.faults
            faults += await faults_in(installation, uploads.uploaders)
            faults += await faults_in_products(stage, creators.names)
            stage.server.stop()
        return faults + installation.examine()


async def seconds_until_normal(uploads: Uploading, creators: Creators) -> float:
    """How long it takes until each uploader and the writers of products have got something through."""
    begun = monotonic()
    before = [len(uploader.order) for uploader in uploads.uploaders]
    await creators.acknowledged_more(2)
    while any(len(up.order) <= count for up, count in zip(uploads.uploaders, before, strict=True)):
        await uploads.acknowledged_more(1)
    return monotonic() - begun


async def read_while_refused(
    stage: Stage, logs: list[Log], paths: dict[str, str], patience_seconds: float
) -> list[str]:
    """Read until several writes of each kind were told that there is no space; each read that failed."""
    faults = []
    deadline = monotonic() + patience_seconds
    before = [log.refused for log in logs]
    async with stage.installation.client(headers={"sessiontoken": stage.shop.session}) as client:
        while any(log.refused < count + _REFUSALS_WANTED for log, count in zip(logs, before, strict=True)):
            for name, path in paths.items():
                answer = await client.get(stage.server.url + path)
                if answer.status_code != 200:
                    faults.append(f"reading {name}: {answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(0.05)
            if monotonic() > deadline:
                counts = [log.statuses for log in logs]
                return [*faults, f"a full disk refuses nothing: {counts}"]
    return faults


async def paths_to_read(stage: Stage) -> dict[str, str]:
    """A list of products and a picture."""
    async with stage.installation.as_owner() as owner:
        path = await owner.fetchval(
            "SELECT renditions -> 0 ->> 'path' FROM picture WHERE format IS NOT NULL LIMIT 1"
        )
    return {"products": f"/cloudapi/app/{stage.shop.store_id}/stock", "a picture": path}


async def test_full_under_the_pictures(install: Callable[..., Installation]) -> None:
    assert await fill_and_free(install(), "files", 8) == []


async def test_full_under_the_database(install: Callable[..., Installation]) -> None:
    assert await fill_and_free(install(), "postgres", 256) == []


async def test_the_check_sees_a_build_that_forgets_what_does_not_fit(
    install: Callable[..., Installation],
) -> None:
    faults = await fill_and_free(install("forget-full-disks"), "files", 8, patience_seconds=2)
    assert any("has None bytes" in fault for fault in faults), faults


async def test_the_check_sees_a_build_that_sulks_once_there_is_space(
    install: Callable[..., Installation],
) -> None:
    faults = await fill_and_free(install("sulk-after-full-disks"), "files", 8)
    assert [fault for fault in faults if not fault.startswith("writing again only")] == []
    assert len(faults) == 1
