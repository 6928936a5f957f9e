"""Decoding and encoding in this process: each mode, turn and refusal by itself.

The other tests of pictures go through the child processes, which write no file and so no coverage either.
"""

import io
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import AvifImagePlugin, Image, ImageCms, ImageOps

from kasuwa.base.imaging import ALL_FORMATS
from kasuwa.base.rendering import child, confine, encode, messages
from kasuwa.base.rendering import decode as decoding
from kasuwa.base.rendering.decode import Decoded, NotRendered, decode, fit, prepare, to_plain_mode
from kasuwa.base.rendering.wbmp import read_wbmp
from tests.base.pictures import (
    chunk,
    difference,
    gif_of_frames,
    grey16_png,
    jpeg_of_scans,
    png_of,
    scene,
    write,
    write_wbmp,
)

PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "CMYK")
SIZES = {"large": (120, 90), "small": (30, 30)}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(autouse=True)
def pillow_as_in_a_child(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a child changes in Pillow holds for one test only."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setattr(AvifImagePlugin, "DEFAULT_MAX_THREADS", AvifImagePlugin.DEFAULT_MAX_THREADS)
    with warnings.catch_warnings():
        prepare()
        yield


def decoded(content: bytes, largest: tuple[int, int] = (1280, 1280)) -> Decoded:
    return decode(content, ALL_FORMATS, largest)


FILES = {
    "JPEG": write(scene(), "JPEG"),
    "PNG": write(scene(), "PNG"),
    "GIF": write(scene(), "GIF"),
    "WEBP": write(scene(), "WEBP"),
    "BMP": write(scene(), "BMP"),
    "XBM": write(scene(mode="1"), "XBM"),
    "JPEG2000": write(scene(), "JPEG2000"),
    "AVIF": write(scene(), "AVIF"),
    "WBMP": write_wbmp(scene(mode="1")),
}


@pytest.mark.parametrize("largest", [(1280, 1280), (20, 20)])
@pytest.mark.parametrize("name", FILES)
def test_each_format_is_read_at_least_as_large_as_it_is_needed(name: str, largest: tuple[int, int]) -> None:
    picture = decoded(FILES[name], largest)
    assert (picture.format, picture.width_px, picture.height_px) == (name, 300, 200)
    assert picture.image.mode in PLAIN_MODES
    needed = fit((300, 200), largest)
    assert all(has >= needs for has, needs in zip(picture.image.size, needed, strict=True))
    assert (picture.image.size == (300, 200)) is (largest == (1280, 1280))


def test_a_file_of_several_photographs_is_read_as_its_first() -> None:
    content = write(scene(), "MPO", save_all=True, append_images=[ImageOps.invert(scene())])
    picture = decoded(content)
    assert picture.format == "JPEG"
    assert difference(picture.image, scene()) < 4


# Modes ---------------------------------------------------------------------------------------------


def _one(mode: str, value: object, **info: object) -> Image.Image:
    image = Image.new(mode, (4, 4), value)  # type: ignore[arg-type]
    image.info.update(info)
    return image


def _palette(*colours: int, mode: str = "RGB", **info: object) -> Image.Image:
    image = _one("P", 1, **info)
    image.putpalette(bytes(colours), mode)
    return image


def _with_alpha(mode: str) -> Image.Image:
    """A palette with an alpha channel beside it."""
    image = _palette(0, 0, 0, 200, 100, 50).convert(mode)
    image.putalpha(128)
    return image


def _sixteen(mode: str, value: int, **info: object) -> Image.Image:
    image = Image.frombytes(mode, (4, 4), value.to_bytes(2, "big" if mode.endswith("B") else "little") * 16)
    image.info.update(info)
    return image


MODES = {
    "1": (_one("1", 1), "L", 255),
    "1 with a clear colour": (_one("1", 1, transparency=255), "RGBA", (255, 255, 255, 0)),
    "L": (_one("L", 77), "L", 77),
    "L with a clear colour": (_one("L", 77, transparency=77), "RGBA", (77, 77, 77, 0)),
    "L with another clear colour": (_one("L", 77, transparency=78), "RGBA", (77, 77, 77, 255)),
    "LA": (_one("LA", (77, 5)), "LA", (77, 5)),
    "La": (_one("La", (64, 128)), "LA", (127, 128)),
    "P": (_palette(0, 0, 0, 200, 100, 50), "RGB", (200, 100, 50)),
    "P with a clear entry": (_palette(0, 0, 0, 9, 8, 7, transparency=1), "RGBA", (9, 8, 7, 0)),
    "P with alphas": (_palette(0, 0, 0, 9, 8, 7, transparency=b"\xff\x40"), "RGBA", (9, 8, 7, 64)),
    "P of colours with alpha": (_palette(0, 0, 0, 0, 9, 8, 7, 40, mode="RGBA"), "RGBA", (9, 8, 7, 40)),
    "PA": (_with_alpha("PA"), "RGBA", (200, 100, 50, 128)),
    "RGB": (_one("RGB", (1, 2, 3)), "RGB", (1, 2, 3)),
    "RGB with a clear colour": (_one("RGB", (1, 2, 3), transparency=(1, 2, 3)), "RGBA", (1, 2, 3, 0)),
    "RGBA": (_one("RGBA", (1, 2, 3, 4)), "RGBA", (1, 2, 3, 4)),
    "RGBa": (_one("RGBa", (64, 0, 0, 128)), "RGBA", (127, 0, 0, 128)),
    "RGBX": (_one("RGBX", (1, 2, 3, 4)), "RGB", (1, 2, 3)),
    "YCbCr": (_one("YCbCr", (100, 128, 128)), "RGB", (100, 100, 100)),
    "CMYK": (_one("CMYK", (1, 2, 3, 4)), "CMYK", (1, 2, 3, 4)),
    "I": (_one("I", 0x4DFF), "L", 0x4D),
    "I;16": (_sixteen("I;16", 0x4DFF), "L", 0x4D),
    "I;16B": (_sixteen("I;16B", 0x4DFF), "L", 0x4D),
    "I;16 with its clear value": (_sixteen("I;16", 0x4DFF, transparency=0x4DFF), "LA", (0x4D, 0)),
    "I;16 with another in its low byte": (_sixteen("I;16", 0x4DFF, transparency=0x4DFE), "LA", (0x4D, 255)),
    "I;16 with another in its high byte": (_sixteen("I;16", 0x4DFF, transparency=0x4CFF), "LA", (0x4D, 255)),
}


@pytest.mark.parametrize("name", MODES)
def test_each_mode_becomes_a_plain_one_with_its_colour(name: str) -> None:
    image, mode, pixel = MODES[name]
    plain = to_plain_mode(image)
    assert (plain.mode, plain.size) == (mode, (4, 4))
    assert plain.getpixel((3, 2)) == pixel


@pytest.mark.parametrize("mode", ["F", "LAB", "HSV"])
def test_a_mode_that_is_no_picture_of_a_shop_is_refused_by_name(mode: str) -> None:
    with pytest.raises(NotRendered, match=f"keeps its colours as {mode}") as refused:
        to_plain_mode(Image.new(mode, (4, 4)))
    assert not refused.value.too_big


STRIPS = {
    "RGBA": scene(1300, 900, "RGBA"),
    "P": scene(1300, 900).quantize(64, dither=Image.Dither.NONE),
    "LA": scene(1300, 900, "LA"),
}


@pytest.mark.parametrize("target", [(130, 90), (1300, 900)])
@pytest.mark.parametrize("mode", STRIPS)
def test_strip_by_strip_makes_what_one_piece_makes(mode: str, target: tuple[int, int]) -> None:
    image = STRIPS[mode]
    factor = 5 if target == (130, 90) else 1
    whole = to_plain_mode(image).reduce(factor)
    reduced = decoding._reduce(image, target)
    assert (reduced.mode, reduced.size, reduced.tobytes()) == (whole.mode, whole.size, whole.tobytes())


def test_a_plain_picture_is_averaged_in_one_piece() -> None:
    image = scene(1300, 900)
    assert decoding._reduce(image, (130, 90)).tobytes() == image.reduce(5).tobytes()
    assert decoding._reduce(image, (1300, 900)) is image


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("picture_format", ["PNG", "JPEG"])
def test_a_picture_is_turned_as_its_exif_says(orientation: int, picture_format: str) -> None:
    exif = Image.Exif()
    exif[decoding.ORIENTATION_TAG] = orientation
    content = write(scene(), picture_format, exif=exif)
    picture = decoded(content)
    right = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert (picture.width_px, picture.height_px) == right.size
    assert picture.image.tobytes() == right.tobytes()
    assert (picture.image.tobytes() == Image.open(io.BytesIO(content)).tobytes()) is (
        orientation not in decoding.TURNS
    )


def test_a_damaged_exif_turns_nothing() -> None:
    content = write(scene(), "JPEG", exif=b"Exif\0\0this is no TIFF")
    picture = decoded(content)
    assert picture.image.tobytes() == Image.open(io.BytesIO(content)).tobytes()


# Refusals ------------------------------------------------------------------------------------------


def _jpeg_that_says(width_px: int, height_px: int) -> bytes:
    content = bytearray(FILES["JPEG"])
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = height_px.to_bytes(2, "big") + width_px.to_bytes(2, "big")
    return bytes(content)


def _png_that_says(width_px: int, height_px: int) -> bytes:
    return png_of(width_px, height_px, 8, 2, b"\0")


def _wide_wbmp() -> bytes:
    return b"\0\0\xb2\x40\xb2\x40" + bytes(6464 // 8 * 6464)


REFUSED = {
    "text": (b"hello" * 100, "none of JPEG, PNG", False),
    "nothing": (b"", "none of JPEG, PNG", False),
    "half a PNG": (FILES["PNG"][: len(FILES["PNG"]) // 2], "damaged, cut short", False),
    "half a JPEG": (FILES["JPEG"][: len(FILES["JPEG"]) // 2], "damaged, cut short", False),
    "61 frames": (gif_of_frames(61), "more than 60 frames", True),
    "201 scans": (jpeg_of_scans(201, 16), "more than 200 scans", True),
    "41 million pixels in PNG": (_png_that_says(8200, 5000), "more than 40 million", True),
    "121 million pixels in JPEG": (_jpeg_that_says(11000, 11000), "more than 120 million", True),
    "41 million pixels in WBMP": (_wide_wbmp(), "more than 40 million", True),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_why_and_whether_a_smaller_picture_helps(name: str) -> None:
    content, words, too_big = REFUSED[name]
    with pytest.raises(NotRendered, match=words) as refused:
        decoded(content)
    assert refused.value.too_big is too_big
    answer = child._answer(messages.Job(content, sorted(ALL_FORMATS)), SIZES)
    assert answer == messages.Refused(refused.value.reason, too_big)


def test_just_within_the_limits_is_read() -> None:
    assert decoded(gif_of_frames(60)).format == "GIF"
    assert decoded(jpeg_of_scans(150, 16)).format == "JPEG"
    assert decoded(b"\0\0" + FILES["WBMP"][2:]).format == "WBMP"


def test_a_format_that_is_not_taken_is_refused_by_name() -> None:
    with pytest.raises(NotRendered, match=r"The file is BMP, .* Send JPEG or PNG"):
        decode(FILES["BMP"], {"PNG", "JPEG"}, (100, 100))


FAULTS = {
    "memory": (MemoryError(), "needs more memory", True),
    "a plugin's fault": (IndexError("x"), "damaged.*IndexError", False),
    "the disk": (OSError(5, "x"), "damaged.*OSError", False),
}


def _raise(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def open_file(_content: bytes) -> None:
        raise error

    monkeypatch.setattr(decoding, "_open", open_file)


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_plugin_raises_is_a_refusal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, words, too_big = FAULTS[name]
    _raise(monkeypatch, error)
    with pytest.raises(NotRendered, match=words) as refused:
        decoded(FILES["PNG"])
    assert refused.value.too_big is too_big


@pytest.mark.parametrize("error", [ImportError("a plugin"), OSError(24, "too many open files")], ids=repr)
def test_a_module_that_is_missing_is_a_fault_of_ours(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raise(monkeypatch, error)
    with pytest.raises(type(error)):
        decoded(FILES["PNG"])
    answer = child._answer(messages.Job(FILES["PNG"], ["PNG"]), SIZES)
    assert isinstance(answer, messages.Broken)
    assert answer.reason.startswith(type(error).__name__)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0", b"\0\0", b"\0\0\x08", b"\0\0\x08\x02\xaa", b"\0\0\x08\x02\xaa\x55\0",
        b"\0\0\0\x08", b"\0\0\xff\xff\xff\xff\x01",
    ],
)  # fmt: skip
def test_what_does_not_fit_a_wbmp_to_the_byte_is_none(content: bytes) -> None:
    assert read_wbmp(content) is None


def test_a_wbmp_is_read_bit_for_bit() -> None:
    image = scene(203, 131, "1")  # neither side fills its last byte
    read = read_wbmp(write_wbmp(image))
    assert read is not None
    assert (read.size, read.tobytes()) == (image.size, image.tobytes())


# Renditions ----------------------------------------------------------------------------------------


def rendered(content: bytes) -> list[messages.Rendition]:
    return encode.render(decoded(content, (120, 90)), SIZES)


def shown(one: messages.Rendition, mode: str) -> Image.Image:
    image = Image.open(io.BytesIO(one.content))
    assert (Image.MIME[image.format or ""], image.size) == (one.content_type, (one.width_px, one.height_px))
    return image.convert(mode)


KINDS = {
    "photograph": (FILES["JPEG"], "image/jpeg"),
    "grey": (write(scene(mode="L"), "PNG"), "image/jpeg"),
    "CMYK as Adobe writes it, inverted": (write(scene(mode="CMYK"), "JPEG", quality=95), "image/jpeg"),
    "alpha": (write(scene(mode="RGBA"), "PNG"), "image/png"),
    "grey with alpha": (write(scene(mode="LA"), "PNG"), "image/png"),
    "grey of 16 bits with a clear value": (
        grey16_png(256, 40, chunk(b"tRNS", b"\x64\x7f")),
        "image/png",
    ),
    "alpha that hides nothing": (write(scene().convert("RGBA"), "PNG"), "image/jpeg"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_rendition_is_jpeg_or_png_and_webp_in_each_size(name: str) -> None:
    content, plain = KINDS[name]
    made = rendered(content)
    assert [(one.name, one.content_type) for one in made] == [
        (size, kind) for size in SIZES for kind in (plain, "image/webp")
    ]
    right = to_plain_mode(Image.open(io.BytesIO(content))).convert("RGBA")
    for one in made:
        small = right.resize((one.width_px, one.height_px), Image.Resampling.LANCZOS)
        alpha = shown(one, "RGBA").getchannel("A")
        assert difference(alpha, small.getchannel("A")) < 12
        white = [
            Image.alpha_composite(Image.new("RGBA", small.size, "white"), picture)
            for picture in (small, shown(one, "RGBA"))
        ]
        assert difference(white[0], white[1]) < 12
        assert difference(ImageOps.flip(white[0]), white[1]) > 12 or name.startswith("grey of 16")


def test_sizes_that_come_to_the_same_are_encoded_once() -> None:
    made = encode.render(decoded(write(scene(20, 10), "PNG")), {"a": (100, 100), "b": (50, 50)})
    assert [one.name for one in made] == ["a", "a", "b", "b"]
    assert made[0].content is made[2].content


def _swapped() -> bytes:
    """sRGB with the tags of its red and green columns exchanged, under another name."""
    profile = bytearray(SRGB)
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile).replace(b"s\0R\0G\0B", b"s\0w\0a\0p").replace(b"sRGB b", b"swap b")


GREY = _one("L", 128)
RED = _one("RGB", (200, 40, 40))
PROFILES = {
    "none": (RED, None, "RGB", (200, 40, 40)),
    "sRGB itself": (RED, SRGB, "RGB", (200, 40, 40)),
    "red and green exchanged": (RED, _swapped(), "RGB", (40, 200, 40)),
    "alpha stays": (_one("RGBA", (200, 40, 40, 9)), _swapped(), "RGBA", (40, 200, 40, 9)),
    "grey under a profile of colours": (GREY, _swapped(), "RGB", (128, 128, 128)),
    "unreadable": (RED, b"no profile", "RGB", (200, 40, 40)),
    "of another kind": (RED, ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(), "RGB", None),
    "too large": (RED, _swapped() + bytes(encode.ICC_LIMIT_BYTES), "RGB", (200, 40, 40)),
    "CMYK without": (_one("CMYK", (0, 255, 255, 0)), None, "RGB", (255, 0, 0)),
    "CMYK under a profile of colours": (_one("CMYK", (0, 255, 255, 0)), SRGB, "RGB", (255, 0, 0)),
}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_applied_where_it_fits_and_else_left_out(name: str) -> None:
    image, profile, mode, pixel = PROFILES[name]
    made = encode.to_srgb(image, profile)
    assert made.mode == mode
    assert made.info == {}
    seen, wanted = made.getpixel((1, 1)), pixel or image.getpixel((1, 1))
    assert isinstance(seen, tuple)
    assert isinstance(wanted, tuple)
    assert all(abs(one - other) <= 2 for one, other in zip(seen, wanted, strict=True)), seen


# The child -----------------------------------------------------------------------------------------


def _frame(content: bytes) -> bytes:
    return messages.LENGTH.pack(len(content)) + content


def test_a_child_answers_each_frame_until_its_input_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [messages.Job(FILES["PNG"], ["PNG"]), messages.Job(b"x", ["PNG"]), messages.Job(b"", ["PNG"])]
    given_up: list[object] = []
    monkeypatch.setattr(confine, "outlive_nobody", given_up.append)
    monkeypatch.setattr(confine, "confine", given_up.append)
    monkeypatch.setattr(confine, "allow_cpu_seconds", given_up.append)
    answers = io.BytesIO()
    frames = b"".join(_frame(messages.encode(job)) for job in jobs)
    setup = b'{"parent_pid": 1, "memory_bytes": 2, "cpu_seconds": 3, "sizes": {"large": [120, 90]}}'
    monkeypatch.setattr(sys, "argv", ["child", setup.decode()])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(frames)))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=answers))
    child.main()
    assert given_up == [1, 2, 3, 3, 3]
    answers.seek(0)
    said = []
    while (frame := child._read_frame(answers)) is not None:
        said.append(messages.decode_answer.decode(frame))
    assert [type(answer) for answer in said] == [messages.Done, messages.Refused, messages.Refused]
    assert isinstance(said[0], messages.Done)
    assert (said[0].format, said[0].width_px, len(said[0].renditions)) == ("PNG", 300, 2)


def test_a_rendition_that_does_not_fit_in_memory_is_too_big(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(child, "render", give_up)
    answer = child._answer(messages.Job(FILES["PNG"], ["PNG"]), SIZES)
    assert isinstance(answer, messages.Refused)
    assert answer.too_big


@pytest.mark.parametrize(("parent", "code"), [("os.getppid()", 7), ("os.getppid() + 1", 1)])
def test_a_child_whose_parent_is_gone_ends_before_it_begins(parent: str, code: int) -> None:
    program = (
        "import os, sys; from kasuwa.base.rendering.confine import outlive_nobody;"
        f"outlive_nobody({parent}); sys.exit(7)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == code


def test_a_limit_that_the_system_does_not_know_is_an_error() -> None:
    with pytest.raises(OSError, match="prctl"):
        confine._prctl(-1, 0)
