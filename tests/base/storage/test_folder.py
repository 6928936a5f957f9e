"""What the folder must survive: a full disk, kill -9, a failing disk."""

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from kasuwa.base.problems import NoSpace, Problem, Unavailable
from kasuwa.base.storage import (
    TEMPORARY_FOLDER,
    FolderBlobs,
)
from tests.base.storage.staging import KEY, InPlaceBlobs, keys


@pytest.fixture(params=[FolderBlobs, InPlaceBlobs], ids=["ours", "control"])
def variant(request: pytest.FixtureRequest) -> type[FolderBlobs]:
    chosen: type[FolderBlobs] = request.param
    return chosen


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        reason = f"a full disk needs `mount -t tmpfs`, which said: {mounted.stderr.strip()}"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def half_files(folder: Path, size_bytes: int) -> list[Path]:
    """Files under a final name that are not as long as every put there was."""
    files = [path for path in folder.rglob("*.jpg") if path.is_file()]
    return [path for path in files if path.stat().st_size != size_bytes]


async def test_a_full_disk_is_said_and_leaves_no_half_file(
    variant: type[FolderBlobs], small_disk: Path
) -> None:
    blobs = variant(small_disk)
    content = random.randbytes(1_500_000)
    await blobs.put("m/1.jpg", content, "image/jpeg")
    await blobs.put("m/2.jpg", content, "image/jpeg")
    with pytest.raises(NoSpace) as raised:
        await blobs.put("m/3.jpg", content, "image/jpeg")
    assert raised.value.status == 507
    if variant is InPlaceBlobs:
        assert half_files(small_disk, len(content)) == [small_disk / "m/3.jpg"]
    else:
        assert half_files(small_disk, len(content)) == []
        assert list((small_disk / TEMPORARY_FOLDER).iterdir()) == []
        assert await keys(blobs) == {"m/1.jpg", "m/2.jpg"}
        assert await blobs.get("m/2.jpg") == content
        await blobs.delete(["m/1.jpg"])
        await blobs.put("m/3.jpg", content, "image/jpeg")
        assert await blobs.get("m/3.jpg") == content
    await blobs.close()


async def test_a_full_disk_shows_in_the_probe(small_disk: Path) -> None:
    blobs = FolderBlobs(small_disk)
    await blobs.probe()
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 65536):
            pass
    with pytest.raises(NoSpace):
        await blobs.probe()
    await blobs.close()


WRITER = """
import asyncio, hashlib, pathlib, random, sys
from kasuwa.base.storage import FolderBlobs
from tests.base.storage.staging import InPlaceBlobs

async def main():
    blobs = {"ours": FolderBlobs, "control": InPlaceBlobs}[sys.argv[2]](pathlib.Path(sys.argv[1]), threads=2)
    async def write():
        while True:
            content = random.randbytes(4_000_000)
            key = f"m/{hashlib.sha256(content).hexdigest()}.jpg"
            await blobs.put(key, content, "image/jpeg")
            print(key, flush=True)
    await asyncio.gather(write(), write())

asyncio.run(main())
"""


def write_and_kill(folder: Path, name: str) -> list[str]:
    """Let a process put blobs, kill it amid a put, answer the keys it was told were durable."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), name], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer, writer.stdout as told:
        lines = [told.readline()]
        time.sleep(random.uniform(0.001, 0.03))
        writer.send_signal(signal.SIGKILL)
        lines += told.readlines()
        assert writer.wait() == -signal.SIGKILL
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]


async def test_kill_nine_amid_puts_leaves_no_half_file_and_loses_no_durable_one(
    variant: type[FolderBlobs], tmp_path: Path
) -> None:
    acknowledged: set[str] = set()
    rounds = 0
    left_over: list[Path] = []
    while rounds < 5 or (rounds < 40 and not left_over):  # until a kill has hit a put in the middle
        rounds += 1
        acknowledged.update(write_and_kill(tmp_path, "control" if variant is InPlaceBlobs else "ours"))
        left_over = half_files(tmp_path, 4_000_000) + list((tmp_path / TEMPORARY_FOLDER).iterdir())
    assert left_over, "no kill hit a put: the test has shown nothing"
    if variant is InPlaceBlobs:
        assert half_files(tmp_path, 4_000_000), "the control must leave half files"
        return
    blobs = FolderBlobs(tmp_path)
    for key in await keys(blobs):
        assert key == f"m/{hashlib.sha256(await blobs.get(key)).hexdigest()}.jpg"
    assert acknowledged <= await keys(blobs)
    assert await blobs.sweep_temporary(timedelta(0)) == len(left_over)
    assert list((tmp_path / TEMPORARY_FOLDER).iterdir()) == []
    assert acknowledged <= await keys(blobs)
    await blobs.close()


async def test_the_sweep_leaves_what_may_still_be_written(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    fresh, stale = tmp_path / TEMPORARY_FOLDER / "fresh", tmp_path / TEMPORARY_FOLDER / "stale"
    for file in (fresh, stale):
        file.write_bytes(b"half")
    os.utime(stale, (time.time() - 7200,) * 2)
    await blobs.put(KEY, b"x", "image/jpeg")
    assert await blobs.sweep_temporary(timedelta(hours=1)) == 1
    assert (fresh.exists(), stale.exists()) == (True, False)
    assert await keys(blobs) == {KEY}
    await blobs.close()


async def test_no_folder_tells_whose_the_files_were(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    for key in ("m1/ab/x.jpg", "m1/cd/y.jpg", "m2/ab/z.jpg"):
        await blobs.put(key, b"x", "image/jpeg")
    await blobs.delete(["m1/ab/x.jpg"])
    await blobs.remove_folders("m1")
    assert [path.name for path in (tmp_path / "m1").iterdir()] == ["cd"]
    await blobs.delete(["m1/cd/y.jpg"])
    assert (tmp_path / "m1").exists(), "deleting leaves the folders"
    await blobs.remove_folders("m1")
    assert not (tmp_path / "m1").exists()
    await blobs.close()


async def test_a_put_syncs_the_file_before_the_name_and_the_folders_after(
    variant: type[FolderBlobs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = variant(tmp_path)
    events: list[tuple[str, str]] = []
    sync, rename = os.fsync, os.rename

    def record_sync(descriptor: int) -> None:
        events.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def record_rename(source: Path, target: Path) -> None:
        events.append(("name", str(target)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "rename", record_rename)
    await blobs.put("m/ab/x.jpg", b"x", "image/jpeg")
    await blobs.close()
    folders = [("sync", str(tmp_path / folder)) for folder in ("m/ab", "m", "")]
    durable = events[1:] == [("name", str(tmp_path / "m/ab/x.jpg")), *folders] and (
        events[0][0] == "sync" and Path(events[0][1]).parent == tmp_path / TEMPORARY_FOLDER
    )
    assert durable is (variant is FolderBlobs)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EIO, Unavailable),
        (errno.EROFS, Unavailable),
        (errno.EMFILE, Unavailable),
    ],
)
async def test_an_error_of_the_disk_is_a_problem_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, problem: type[Problem]
) -> None:
    blobs = FolderBlobs(tmp_path)

    def fail(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(problem) as raised:
            await blobs.put(KEY, b"x", "image/jpeg")
        assert str(tmp_path) not in str(raised.value)
        with pytest.raises(problem):
            await blobs.probe()
    assert await keys(blobs) == set()
    assert list((tmp_path / TEMPORARY_FOLDER).iterdir()) == []
    await blobs.put(KEY, b"x", "image/jpeg")
    await blobs.close()


async def test_a_file_cut_short_while_it_is_read_is_not_passed_off_as_whole(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.put(KEY, b"x" * 1000, "image/jpeg")
    opened = await blobs.open(KEY)
    os.truncate(tmp_path / KEY, 500)
    with pytest.raises(Unavailable, match="shorter"):
        _ = [chunk async for chunk in opened.chunks()]
    await blobs.close()
