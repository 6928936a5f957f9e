"""One suite for a folder and for a real S3 server."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kasuwa.base import storage
from kasuwa.base.problems import Problem
from kasuwa.base.storage import (
    CHUNK_BYTES,
    BlobMissing,
    Blobs,
    open_blobs,
)
from tests.base.storage.staging import KEY, MERCHANT, keys


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


async def test_empty_folders_go_and_others_stay(blobs: Blobs) -> None:
    for key in ("m1/ab/x.jpg", "m1/cd/ef/y.jpg", "m10/ab/z.jpg"):
        await blobs.put(key, b"x", "image/jpeg")
    await blobs.delete(["m1/cd/ef/y.jpg"])
    await blobs.remove_folders("m1")
    await blobs.remove_folders("nobody")
    assert await keys(blobs) == {"m1/ab/x.jpg", "m10/ab/z.jpg"}
    await blobs.delete(["m1/ab/x.jpg"])
    await blobs.remove_folders("m1")
    await blobs.put("m1/ab/x.jpg", b"x", "image/jpeg")
    assert await keys(blobs) == {"m1/ab/x.jpg", "m10/ab/z.jpg"}


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


async def test_a_list_goes_on_past_its_first_batch(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "LIST_BATCH", 20)
    wanted = {f"m/{number % 3}/{number}.jpg" for number in range(45)}
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
        lambda: blobs.remove_folders(key),
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
        "s3:bucket",
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
