"""Zips of pictures that say one thing of what is in them and hold another: memory stays within a bound."""

import tracemalloc
import zipfile
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import pytest

from kasuwa.base.context import Context
from kasuwa.base.tables.archives import open_member
from kasuwa.domain.exchange.pictures import PictureOutcome, import_pictures
from kasuwa.domain.media.records import MOST_BYTES
from tests.domain.test_exchange import load, simple

HUGE = 256 * 1024 * 1024
SMALL = 1000
# What is unpacked, and what it was packed in.
MOST_PEAK_BYTES = 4 * MOST_BYTES


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A.png unpacks to a quarter of a gigabyte; B.png are a few bytes that are no picture."""
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        with packed.open("A.png", "w") as member:
            for _ in range(HUGE // 2**20):
                member.write(bytes(2**20))
        packed.writestr("B.png", b"no picture")
    assert path.stat().st_size < 2**20
    return path


def claim(path: Path, size: int) -> None:
    """Let the list of the archive say that A.png unpacks to so much, with the checksum of that."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    assert content[entry + 46 : entry + 51] == b"A.png"
    content[entry + 16 : entry + 20] = zlib.crc32(bytes(size)).to_bytes(4, "little")
    content[entry + 24 : entry + 28] = size.to_bytes(4, "little")
    path.write_bytes(content)


@asynccontextmanager
async def measured() -> AsyncIterator[list[int]]:
    """The most memory that was taken meanwhile, once it is over."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


async def outcomes(context: Context, archive: Path) -> dict[str, PictureOutcome]:
    found: dict[str, PictureOutcome] = {}
    await import_pictures(context, archive, watch=lambda one: found.update({one.name: one}))
    return found


async def test_a_picture_that_says_that_it_is_huge_is_not_unpacked_and_the_others_are(
    context: Context, tmp_path: Path, archive: Path
) -> None:
    await load(context, tmp_path / "a.csv", simple("A,Malt,5,1", "B,Beer,5,1"))
    async with measured() as peak:
        found = await outcomes(context, archive)
    assert found["A.png"].reason == "A picture has at most 8 MB."
    assert found["B.png"].status == "failed"
    assert peak[0] < MOST_PEAK_BYTES


@pytest.mark.parametrize("claimed", [SMALL, MOST_BYTES, 0], ids=["small", "the most", "nothing"])
async def test_a_picture_that_says_that_it_is_small_is_unpacked_no_further(
    context: Context, tmp_path: Path, archive: Path, claimed: int
) -> None:
    await load(context, tmp_path / "a.csv", simple("A,Malt,5,1"))
    claim(archive, claimed)
    async with measured() as peak:
        found = await outcomes(context, archive)
    assert found["A.png"].status == "failed"
    assert peak[0] < MOST_PEAK_BYTES


async def test_the_control_reading_it_whole_unpacks_everything(
    context: Context, tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(context, tmp_path / "a.csv", simple("A,Malt,5,1"))
    claim(archive, SMALL)

    class Whole:
        def __init__(self, file: IO[bytes]) -> None:
            self._file = file

        def __enter__(self) -> "Whole":
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def read(self, _: int) -> bytes:
            return self._file.read()

    monkeypatch.setattr(
        "kasuwa.domain.exchange.pictures.open_member", lambda archive, info: Whole(open_member(archive, info))
    )
    async with measured() as peak:
        await outcomes(context, archive)
    assert peak[0] >= HUGE


@pytest.mark.parametrize("way", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
async def test_a_picture_that_cannot_be_unpacked_in_parts_fails(
    context: Context, tmp_path: Path, archive: Path, way: int
) -> None:
    await load(context, tmp_path / "a.csv", simple("A,Malt,5,1"))
    with zipfile.ZipFile(archive, "w", way) as packed:
        packed.writestr("A.png", bytes(1000))
    found = await outcomes(context, archive)
    assert "packed in an unusual way" in found["A.png"].reason
