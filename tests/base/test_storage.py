"""The same suite on a folder and on a real S3 server, then what each of the two must survive."""

import asyncio
import errno
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from kasuwa.base.problems import NoSpace, Problem, Unavailable
from kasuwa.base.storage import (
    CHUNK_BYTES,
    LIST_BATCH,
    TEMPORARY_FOLDER,
    BlobMissing,
    Blobs,
    FolderBlobs,
    S3Blobs,
    open_blobs,
)

MERCHANT = "0198a1b2-0000-7000-8000-000000000001"
KEY = f"{MERCHANT}/ab/cdef0123.zoom.jpg"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    with server, server.stderr as log:
        try:
            found = next(found for line in log if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
            # Nobody reads the log further: a full pipe would stop the server.
            threading.Thread(target=lambda: [None for _ in log], daemon=True).start()
            yield found.group()
        finally:
            server.terminate()
            server.wait()


@pytest.fixture
def s3_url(s3_endpoint: str) -> str:
    bucket = f"shop-{random.getrandbits(64):x}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{bucket}", method="PUT")).close()
    return f"s3://{bucket}/files?endpoint={s3_endpoint}&region=us-east-1"


def open_s3(url: str) -> Blobs:
    return open_blobs(url, access_key_id="key", secret_access_key="secret")


@pytest.fixture(params=["folder", "s3"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    if request.param == "folder":
        opened = open_blobs(f"file://{tmp_path}/files")
    else:
        opened = open_s3(request.getfixturevalue("s3_url"))
    yield opened
    await opened.close()


async def keys(blobs: Blobs, prefix: str = "") -> set[str]:
    return {fact.key async for fact in blobs.list(prefix)}


async def read(blobs: Blobs, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in (await blobs.open(key)).chunks(start, end)])


# What both promise.


async def test_what_was_put_is_read_back(blobs: Blobs) -> None:
    content = random.randbytes(3 * CHUNK_BYTES + 7)
    await blobs.put(KEY, content, "image/jpeg")
    assert await blobs.get(KEY) == content
    assert await blobs.exists(KEY)
    opened = await blobs.open(KEY)
    assert opened.size_bytes == len(content)
    chunks = [chunk async for chunk in opened.chunks()]
    assert b"".join(chunks) == content
    assert len(chunks) > 1


async def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    await blobs.put(KEY, b"", "image/jpeg")
    assert await blobs.get(KEY) == b""
    assert await read(blobs, KEY) == b""


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (5, 9), (0, 10), (9, 10), (3, None), (4, 1000), (5, 5), (10, 10)]
)
async def test_a_range_is_half_open_and_cut_to_the_size(blobs: Blobs, start: int, end: int | None) -> None:
    await blobs.put(KEY, b"0123456789", "image/jpeg")
    assert await read(blobs, KEY, start, end) == b"0123456789"[start:end]


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (6, 5), (11, None)])
async def test_a_range_outside_the_blob_is_refused(blobs: Blobs, start: int, end: int | None) -> None:
    await blobs.put(KEY, b"0123456789", "image/jpeg")
    with pytest.raises(ValueError, match="range"):
        (await blobs.open(KEY)).chunks(start, end)


async def test_putting_again_replaces_the_whole(blobs: Blobs) -> None:
    await blobs.put(KEY, b"a longer first", "image/jpeg")
    await blobs.put(KEY, b"second", "image/jpeg")
    assert await blobs.get(KEY) == b"second"
    assert await keys(blobs) == {KEY}


async def test_sixteen_puts_of_one_key_at_once_leave_one_whole_blob(blobs: Blobs) -> None:
    contents = [bytes([number]) * 100_000 for number in range(16)]
    await asyncio.gather(*(blobs.put(KEY, content, "image/jpeg") for content in contents))
    assert await blobs.get(KEY) in contents
    assert await keys(blobs) == {KEY}


async def test_a_missing_blob_is_a_lookup_error_and_no_problem(blobs: Blobs) -> None:
    await blobs.put(KEY, b"x", "image/jpeg")
    for key in ("nobody/ab/none.jpg", MERCHANT, f"{MERCHANT}/ab", f"{KEY}/below"):
        with pytest.raises(BlobMissing) as raised:
            await blobs.get(key)
        assert not isinstance(raised.value, Problem)
        with pytest.raises(LookupError):
            await blobs.open(key)
        assert not await blobs.exists(key)


async def test_delete_takes_many_and_does_not_mind_missing_ones(blobs: Blobs) -> None:
    stored = [f"{MERCHANT}/ab/{number}.jpg" for number in range(5)]
    for key in stored:
        await blobs.put(key, b"x", "image/jpeg")
    await blobs.delete([stored[0], "nobody/none.jpg", f"{stored[4]}/below", *stored[1:4]])
    assert await keys(blobs) == {stored[4]}
    await blobs.delete([])
    await blobs.delete([stored[4], stored[4]])
    assert await keys(blobs) == set()


async def test_a_list_tells_size_and_time_below_a_folder_only(blobs: Blobs) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 tells whole seconds
    for key in ("m1/ab/x.jpg", "m1/cd/y.jpg", "m10/ab/z.jpg"):
        await blobs.put(key, b"four", "image/jpeg")
    assert await keys(blobs) == {"m1/ab/x.jpg", "m1/cd/y.jpg", "m10/ab/z.jpg"}
    assert await keys(blobs, "m1") == await keys(blobs, "m1/") == {"m1/ab/x.jpg", "m1/cd/y.jpg"}
    assert await keys(blobs, "m2/") == set()
    facts = [fact async for fact in blobs.list("m1/ab")]
    assert [(fact.key, fact.size_bytes) for fact in facts] == [("m1/ab/x.jpg", 4)]
    assert before <= facts[0].modified_at <= datetime.now(UTC)
    assert facts[0].modified_at.tzinfo is UTC


async def test_a_list_goes_on_past_its_first_batch(blobs: Blobs) -> None:
    wanted = {f"m/{number % 3}/{number}.jpg" for number in range(LIST_BATCH + 5)}
    waiting = asyncio.Semaphore(16)

    async def put(key: str) -> None:
        async with waiting:
            await blobs.put(key, b"", "image/jpeg")

    await asyncio.gather(*map(put, wanted))
    assert await keys(blobs) == wanted
    await blobs.delete(sorted(wanted))
    assert await keys(blobs) == set()


BAD_KEYS = [
    "", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", "a..b", "./a", ".hidden", "a/.temporary/b",
    "-a", "_a", "A/b", "a b", "a\\b", "a\0b", "a\n", "a/b\n", "ä", "a%2fb", "C:/a", "~/a", "a/" * 300 + "a",
    "a" * 201, ".temporary/a", ".probe",
]  # fmt: skip


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_a_key_that_is_not_ours_is_refused_by_every_verb(blobs: Blobs, key: str) -> None:
    verbs: list[Callable[[], object]] = [
        lambda: blobs.put(key, b"x", "image/jpeg"),
        lambda: blobs.get(key),
        lambda: blobs.open(key),
        lambda: blobs.exists(key),
        lambda: blobs.delete(["a/b", key]),
    ]
    if key not in ("", "/"):  # as prefixes these two mean everything
        verbs.append(lambda: keys(blobs, key) if not key.endswith("/") else keys(blobs, key + "/"))
    for verb in verbs:
        with pytest.raises(ValueError, match=r"storage key|longer than"):
            await verb()  # type: ignore[misc]
    assert await keys(blobs) == set()


async def test_a_probe_writes_and_is_not_listed(blobs: Blobs) -> None:
    await blobs.probe()
    await blobs.probe()
    assert await keys(blobs) == set()


@pytest.mark.parametrize(
    "url",
    [
        "http://host/x",
        "ftp://host/x",
        "s3://",
        "s3:///prefix",
        "s3://b/p?color=red",
        "s3://b/../p",
        "file://host/x",
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"storage|s3://"):
        open_blobs(url)


async def test_a_plain_path_is_a_folder(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path / "new" / "files"))
    await blobs.put(KEY, b"x", "image/jpeg")
    assert (tmp_path / "new" / "files" / KEY).read_bytes() == b"x"
    assert (tmp_path / "new" / "files" / KEY).stat().st_mode & 0o077 == 0
    await blobs.close()


# What the folder must survive.


class InPlaceBlobs(FolderBlobs):
    """The broken variant for the controls: it writes under the final name."""

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(content), 65536):
                file.write(content[start : start + 65536])


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
from tests.base.test_storage import InPlaceBlobs

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


# What S3 must say.


async def test_s3_keeps_the_content_type(s3_url: str, s3_endpoint: str) -> None:
    blobs = open_s3(s3_url)
    await blobs.put(KEY, b"x", "image/webp")
    bucket = s3_url.removeprefix("s3://").split("/")[0]
    store = S3Store(
        bucket,
        endpoint=s3_endpoint,
        region="us-east-1",
        access_key_id="key",
        secret_access_key="secret",
        client_options={"allow_http": True},
    )
    answer = await obstore.get_async(store, f"files/{KEY}")
    assert answer.attributes["Content-Type"] == "image/webp"


async def test_s3_takes_the_usual_environment(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    blobs = open_blobs(s3_url)
    await blobs.put(KEY, b"x", "image/webp")
    assert await blobs.get(KEY) == b"x"


async def each_verb_raises(blobs: Blobs, problem: type[Problem]) -> None:
    verbs = [
        blobs.put(KEY, b"x", "image/jpeg"),
        blobs.get(KEY),
        blobs.delete([KEY]),
        blobs.probe(),
        keys(blobs),
    ]
    for verb in verbs:
        with pytest.raises(problem):
            await verb


async def test_an_unreachable_s3_is_unavailable() -> None:
    await each_verb_raises(
        S3Blobs(
            "shop",
            endpoint="http://127.0.0.1:9",
            region="us-east-1",
            access_key_id="key",
            secret_access_key="secret",
        ),
        Unavailable,
    )


async def test_a_missing_bucket_is_unavailable_and_not_a_missing_blob(s3_url: str) -> None:
    await each_verb_raises(open_s3(s3_url.replace("s3://", "s3://no-")), Unavailable)


@pytest.mark.parametrize(
    ("status", "code", "problem"),
    [
        (507, "XMinioStorageFull", NoSpace),
        (403, "QuotaExceeded", NoSpace),
        (403, "AccessDenied", Unavailable),
        (401, "InvalidAccessKeyId", Unavailable),
        (400, "InvalidRequest", Unavailable),
    ],
)
async def test_what_s3_refuses_is_told_apart(status: int, code: str, problem: type[Problem]) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = f"<Error><Code>{code}</Code></Error>".encode()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        blobs = open_s3(f"s3://shop?endpoint=http://127.0.0.1:{server.server_port}&region=us-east-1")
        with pytest.raises(problem):
            await blobs.put(KEY, b"x", "image/jpeg")
        server.shutdown()
