"""Files made to hurt: bombs, polyglots, cut and mutated files. Each ends in a result or a Problem."""

import random
import signal
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from PIL import Image

from kasuwa.base.imaging import Imaging, ImagingBusy, NotAPicture, PictureTooBig
from kasuwa.base.imaging.process import ProcessLost, RenderingProcess
from kasuwa.base.problems import Problem
from kasuwa.base.rendering import messages
from kasuwa.base.rendering.messages import CONTENT_LIMIT_BYTES
from tests.base.pictures import chunk, gif_of_frames, jpeg_of_scans, png_of, scene, write
from tests.base.polyglots import POLYGLOTS, left_of_it
from tests.base.watched import Cost, WatchedImaging, lift_limits

MEBIBYTE = 1024 * 1024
SMALL = {
    "JPEG": write(scene(), "JPEG"),
    "progressive JPEG": write(scene(), "JPEG", progressive=True),
    "PNG": write(scene(), "PNG"),
    "interlaced GIF": write(scene(mode="P"), "GIF", interlace=1),
    "WEBP": write(scene(), "WEBP"),
    "lossless WEBP": write(scene(), "WEBP", lossless=True),
    "BMP": write(scene(), "BMP"),
    "JPEG2000": write(scene(), "JPEG2000"),
    "AVIF": write(scene(), "AVIF"),
    "XBM": write(scene(mode="1"), "XBM"),
}


@pytest_asyncio.fixture(scope="module")
async def imaging() -> AsyncIterator[WatchedImaging]:
    imaging = WatchedImaging(seconds=60)
    await imaging.start()
    await imaging.render(SMALL["PNG"])  # what a child needs for any picture is there now
    yield imaging
    await imaging.close()


def zeros_png(width_px: int, height_px: int) -> bytes:
    """A black-and-white PNG whose size is true and whose pixels are a few kilobytes of nothing."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width_px + 7) // 8)
    rows = b"".join([packer.compress(row * 100) for _ in range(height_px // 100)]) + packer.flush()
    header = struct.pack(">IIBBBBB", width_px, height_px, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def resized_header(picture_format: str) -> bytes:
    """A small file that claims to be 16,000 pixels wide and high."""
    if picture_format == "WEBP":
        canvas = b"\x10\0\0\0" + (15_999).to_bytes(3, "little") * 2
        frame = write(scene(16, 16), "WEBP")[12:]
        body = b"WEBPVP8X" + len(canvas).to_bytes(4, "little") + canvas + frame
        return b"RIFF" + len(body).to_bytes(4, "little") + body
    content = bytearray(write(scene(16, 16), "AVIF"))
    start = content.index(b"ispe") + 8
    content[start : start + 8] = struct.pack(">II", 16_000, 16_000)
    return bytes(content)


def png_with_bomb(name: bytes, header: bytes) -> bytes:
    """A good PNG with a chunk of 100 MB of nothing, compressed."""
    bomb = chunk(name, header + zlib.compress(bytes(100 * MEBIBYTE), 9))
    return png_of(16, 16, 8, 0, (b"\0" + bytes(16)) * 16, bomb)


BOMBS = {
    "PNG of 30,000 by 30,000": (zeros_png(30_000, 30_000), "40 million"),
    "PNG just above the limit": (zeros_png(6_400, 6_300), "40 million"),
    "WebP of 16,000 by 16,000": (resized_header("WEBP"), "40 million"),
    "AVIF of 16,000 by 16,000": (resized_header("AVIF"), "40 million"),
    "JPEG of 65,000 by 65,000": (
        write(scene(16, 16), "JPEG").replace(b"\0\x10\0\x10\x03", b"\xfd\xe8\xfd\xe8\x03"),
        "120 million",
    ),
    "WBMP of 8,000 by 8,000": (b"\0\0\xbe\x40\xbe\x40" + bytes(8_000_000), "40 million"),
    "GIF of 10,000 frames": (gif_of_frames(10_000), "60 frames"),
    "GIF of 61 frames": (gif_of_frames(61), "60 frames"),
    "animated WebP": (
        write(
            Image.new("L", (9, 9), 0), "WEBP", save_all=True,
            append_images=[Image.new("L", (9, 9), 255 * (number % 2)) for number in range(1, 61)],
        ),
        "60 frames",
    ),
    "animated PNG": (
        write(
            Image.new("L", (9, 9), 0), "PNG", save_all=True,
            append_images=[Image.new("L", (9, 9), shade) for shade in range(1, 62)],
        ),
        "60 frames",
    ),
    "JPEG of 10,000 scans": (jpeg_of_scans(10_000), "200 scans"),
    "file over the limit": (bytes(CONTENT_LIMIT_BYTES + 1), "32 MB"),
    "zTXt of 100 MB": (png_with_bomb(b"zTXt", b"x\0\0"), "damaged"),
    "iCCP of 100 MB": (png_with_bomb(b"iCCP", b"x\0\0"), "damaged"),
    "iTXt of 100 MB": (png_with_bomb(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"), "damaged"),
}  # fmt: skip
MOST_MB = 100
MOST_CPU_SECONDS = 0.5


def too_dear(cost: Cost) -> list[str]:
    """What looking at a bomb may not take."""
    faults = [f"{cost.growth_mb:.0f} MB more"] if cost.growth_mb > MOST_MB else []
    return faults + ([f"{cost.cpu_seconds:.1f} s"] if cost.cpu_seconds > MOST_CPU_SECONDS else [])


@pytest.mark.parametrize("name", sorted(BOMBS))
async def test_a_bomb_is_refused_with_the_limit_in_the_text_and_costs_little(
    imaging: WatchedImaging, name: str
) -> None:
    content, words = BOMBS[name]
    with pytest.raises((PictureTooBig, NotAPicture), match=words):
        await imaging.render(content)
    assert too_dear(imaging.cost) == []


LIVE = {
    "PNG of 15,000 by 15,000": (zeros_png(15_000, 15_000), "MB"),
    # As many as a file within the limit of bytes has room for: fewer are near the edge on a fast machine.
    "JPEG of 15,000 scans": (jpeg_of_scans(15_000), "s"),
    "zTXt of 100 MB": (BOMBS["zTXt of 100 MB"][0], "MB"),
    "iCCP of 100 MB": (BOMBS["iCCP of 100 MB"][0], "MB"),
    "iTXt of 100 MB": (BOMBS["iTXt of 100 MB"][0], "MB"),
}


@pytest.mark.parametrize("name", sorted(LIVE))
async def test_the_check_sees_a_bomb_that_goes_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no limit is looked at, the same kinds of files cost what the check does not allow."""
    lift_limits(monkeypatch)
    careless = WatchedImaging(seconds=60, memory_bytes=2048 * MEBIBYTE)
    await careless.start()
    await careless.render(SMALL["PNG"])
    content, unit = LIVE[name]
    with suppress(Problem):
        await careless.render(content)
    await careless.close()
    assert any(unit in fault for fault in too_dear(careless.cost)), careless.cost


async def test_pictures_up_to_the_limit_are_read(imaging: Imaging) -> None:
    assert (await imaging.render(zeros_png(6_400, 6_200))).width_px == 6_400
    assert (await imaging.render(gif_of_frames(60))).format == "GIF"
    assert (await imaging.render(jpeg_of_scans(150))).format == "JPEG"
    wide = await imaging.render(write(Image.new("L", (12_000, 10_000), 128), "JPEG"))
    assert (wide.width_px, wide.height_px) == (12_000, 10_000)


async def test_what_needs_more_memory_than_allowed_is_refused_and_less_is_not() -> None:
    noise = write(
        Image.effect_noise((5_000, 5_000), 60).convert("RGB"), "WEBP", lossless=True, quality=0, method=0
    )
    small = WatchedImaging(seconds=60, memory_bytes=256 * MEBIBYTE)
    large = WatchedImaging(seconds=60, memory_bytes=2048 * MEBIBYTE)
    await small.start()
    await large.start()
    with pytest.raises((PictureTooBig, NotAPicture), match="memory"):
        await small.render(noise)
    assert small.cost.peak_mb < 256
    assert (await small.render(SMALL["PNG"])).format == "PNG"
    await large.render(noise)
    # The same file does use more than the small one was allowed.
    assert large.cost.peak_mb > 256
    await small.close()
    await large.close()


async def test_what_takes_too_long_is_refused() -> None:
    slow = jpeg_of_scans(190, 4_000)
    hasty = Imaging(processes=1, seconds=0.25)
    await hasty.start()
    # On a machine that is too busy to give the child half of its time, the file is not blamed.
    with pytest.raises((NotAPicture, ImagingBusy), match=r"too long|in a moment"):
        await hasty.render(slow)
    assert hasty.counts.processes_lost == 1

    async def ask_until_a_child_has_started() -> str:
        while True:
            try:
                return (await hasty.render(jpeg_of_scans(2, 400))).format
            except ImagingBusy:
                continue

    assert await ask_until_a_child_has_started() == "JPEG"
    await hasty.close()


async def test_the_cpu_limit_ends_a_process_that_nobody_waits_for() -> None:
    process = await RenderingProcess.start(
        memory_bytes=512 * MEBIBYTE, cpu_seconds=0, sizes={"zoom": (4_000, 4_000)}
    )
    job = messages.encode(messages.Job(jpeg_of_scans(190, 4_000), ["JPEG"]))

    async def ask_until_it_ends() -> None:
        while True:  # a fast machine needs more than one
            await process.ask(job)

    with pytest.raises(ProcessLost):
        await ask_until_it_ends()
    assert await process.end() == -signal.SIGXCPU


@pytest.mark.parametrize("name", sorted(POLYGLOTS))
async def test_a_file_that_is_two_things_is_refused_or_loses_the_other(imaging: Imaging, name: str) -> None:
    content = POLYGLOTS[name]
    try:
        rendered = await imaging.render(content)
    except NotAPicture:
        assert not content.startswith(
            (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM")
        )  # those are good pictures
        return
    assert left_of_it(content)
    for one in rendered.renditions:
        assert left_of_it(one.content) == []


@pytest.mark.parametrize("name", sorted(SMALL))
async def test_a_file_that_is_cut_short_is_refused(imaging: Imaging, name: str) -> None:
    content = SMALL[name]
    assert await imaging.render(content)
    for cut in (1, 2, 10, *(len(content) * part // 12 for part in range(1, 12))):
        with pytest.raises(NotAPicture):
            await imaging.render(content[:cut])
    # A cut of the last few bytes may leave every pixel in place: result or refusal, nothing else.
    for cut in (len(content) - 1, len(content) - 2, len(content) - 4):
        await _result_or_problem(imaging, content[:cut])


async def _result_or_problem(imaging: Imaging, content: bytes) -> bool:
    try:
        await imaging.render(content)
    except (NotAPicture, PictureTooBig):
        return False
    return True


async def test_random_changes_end_in_a_result_or_a_refusal_and_cost_no_process(imaging: Imaging) -> None:
    dice = random.Random(20_260_101)
    lost, read = imaging.counts.processes_lost, 0
    for round_number in range(40):
        for name in SMALL:
            content = bytearray(SMALL[name])
            for _ in range(dice.choice((1, 2, 8))):
                place = (
                    dice.randrange(len(content))
                    if round_number % 2
                    else dice.randrange(min(200, len(content)))
                )
                content[place] = dice.randrange(256)
            read += await _result_or_problem(imaging, bytes(content))
    assert 0 < read < 40 * len(SMALL)  # the changes both hit and miss
    assert imaging.counts.processes_lost == lost
