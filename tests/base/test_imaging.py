"""What comes out of a picture: sizes, colours, turns, alpha, and nothing else of the file."""

import hashlib
import io
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from kasuwa.base.imaging import ALL_FORMATS, DEFAULT_SIZES, Imaging, NotAPicture, Rendered, Rendition
from tests.base.pictures import chunk, difference, grey16_png, png_of, scene, write, write_wbmp

CLOSE = 4.0  # of 255: what JPEG, WebP and another order of resizing may change in a soft picture

FLAT = scene().quantize(64, dither=Image.Dither.NONE)
FILES = {
    "PNG": write(scene(), "PNG"),
    "GIF": write(FLAT, "GIF"),
    "BMP": write(scene(), "BMP"),
    "JPEG2000": write(scene(), "JPEG2000"),
    "XBM": write(scene(mode="1"), "XBM"),
    "WEBP": write(scene(), "WEBP", lossless=True),
    "JPEG": write(scene(), "JPEG", quality=95),
    "AVIF": write(scene(), "AVIF", quality=95),
}


@pytest_asyncio.fixture
async def imaging() -> AsyncIterator[Imaging]:
    imaging = Imaging(processes=1, seconds=60)
    await imaging.start()
    yield imaging
    await imaging.close()


def rendition(rendered: Rendered, name: str, *, webp: bool = False) -> Rendition:
    (found,) = (
        one for one in rendered.renditions if one.name == name and (one.content_type == "image/webp") is webp
    )
    return found


def pixels(one: Rendition, mode: str = "RGB") -> Image.Image:
    image = Image.open(io.BytesIO(one.content))
    assert image.size == (one.width_px, one.height_px)
    assert Image.MIME[image.format or ""] == one.content_type
    return image.convert(mode)


def expected(content: bytes, box: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """The rendition by the plain way: everything decoded, turned, converted, resized once."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    whole = image.convert(mode)
    scale = min(box[0] / whole.width, box[1] / whole.height, 1)
    return whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("picture_format", sorted(FILES))
async def test_each_format_comes_out_as_pillow_alone_would_make_it(
    imaging: Imaging, picture_format: str
) -> None:
    content = FILES[picture_format]
    rendered = await imaging.render(content)
    assert (rendered.format, rendered.width_px, rendered.height_px) == (picture_format, 300, 200)
    assert rendered.sha256 == hashlib.sha256(content).hexdigest()
    assert [(one.name, one.content_type) for one in rendered.renditions] == [
        (name, kind) for name in DEFAULT_SIZES for kind in ("image/jpeg", "image/webp")
    ]
    for name, box in DEFAULT_SIZES.items():
        # Single black pixels, and marks of a few coloured pixels, are beyond what JPEG shows well.
        close = 12.0 if picture_format == "XBM" else 8.0 if name == "tiny" else CLOSE
        right = expected(content, box)
        for webp in (False, True):
            seen = pixels(rendition(rendered, name, webp=webp))
            assert difference(seen, right) < close
            assert difference(seen, ImageOps.flip(right)) > 2 * close  # the check would see a wrong picture


async def test_wbmp_is_read_bit_for_bit(imaging: Imaging) -> None:
    black_and_white = scene(203, 131, "1")  # neither side fills its last byte
    rendered = await imaging.render(write_wbmp(black_and_white))
    assert (rendered.format, rendered.width_px, rendered.height_px) == ("WBMP", 203, 131)
    seen = pixels(rendition(rendered, "zoom"), "L")
    assert difference(seen, black_and_white.convert("L")) < 12
    assert difference(seen, ImageOps.invert(black_and_white.convert("L"))) > 100


@pytest.mark.parametrize(
    "content", [b"\0\0\x08\x02\xaa", b"\0\0\x08\x02\xaa\x55\x00", b"\0\0\0\0", b"\0\0\xff\xff\xff\xff\xff"]
)
async def test_zero_bytes_that_do_not_fit_a_wbmp_to_the_byte_are_no_picture(
    imaging: Imaging, content: bytes
) -> None:
    assert (await imaging.render(b"\0\0\x08\x02\xaa\x55")).format == "WBMP"
    with pytest.raises(NotAPicture):
        await imaging.render(content)


async def test_a_picture_is_fitted_into_its_boxes_and_never_enlarged(imaging: Imaging) -> None:
    large = await imaging.render(write(scene(2000, 1000), "PNG"))
    assert [(one.width_px, one.height_px) for one in large.renditions[::2]] == [
        (1280, 640), (386, 193), (190, 95), (40, 20),
    ]  # fmt: skip
    small = await imaging.render(write(scene(48, 100), "PNG"))
    assert [(one.width_px, one.height_px) for one in small.renditions[::2]] == [
        (48, 100), (48, 100), (48, 100), (25, 53),
    ]  # fmt: skip
    line = await imaging.render(write(scene(3000, 1), "PNG"))
    assert [(one.width_px, one.height_px) for one in line.renditions[::2]] == [
        (1280, 1), (386, 1), (190, 1), (40, 1),
    ]  # fmt: skip


async def test_sizes_are_the_shops_own() -> None:
    imaging = Imaging(processes=1, sizes={"card": (100, 50), "page": (200, 300)}, seconds=60)
    await imaging.start()
    rendered = await imaging.render(write(scene(400, 400), "PNG"))
    await imaging.close()
    assert [(one.name, one.width_px, one.height_px) for one in rendered.renditions[::2]] == [
        ("card", 50, 50),
        ("page", 200, 200),
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP"])
async def test_orientation_is_applied(imaging: Imaging, orientation: int, picture_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = write(scene(900, 600), picture_format, exif=exif)
    rendered = await imaging.render(content)
    turned = orientation >= 5
    assert (rendered.width_px, rendered.height_px) == ((600, 900) if turned else (900, 600))
    right = expected(content, DEFAULT_SIZES["standard"])
    assert difference(pixels(rendition(rendered, "standard")), right) < CLOSE
    wrong = ImageOps.mirror(right)
    assert difference(pixels(rendition(rendered, "standard")), wrong) > 2 * CLOSE


ALPHA = {
    "RGBA": write(scene(mode="RGBA"), "PNG"),
    "LA": write(scene(mode="LA"), "PNG"),
    "WebP": write(scene(mode="RGBA"), "WEBP", lossless=True, exact=True),
    "large RGBA": write(scene(2700, 2700, "RGBA"), "PNG", compress_level=1),
    "transparent colour": png_of(
        120, 80, 8, 2, (b"\0" + b"\xff\0\0" * 60 + b"\0\0\xff" * 60) * 80, chunk(b"tRNS", bytes(5) + b"\xff")
    ),
    "palette": write(FLAT, "PNG", transparency=bytes(range(0, 250, 2))),
    "GIF": write(FLAT, "GIF", transparency=FLAT.getpixel((0, 0))),
}


@pytest.mark.parametrize("kind", sorted(ALPHA))
async def test_alpha_is_kept_in_png_and_webp(imaging: Imaging, kind: str) -> None:
    content = ALPHA[kind]
    rendered = await imaging.render(content)
    assert [one.content_type for one in rendered.renditions] == ["image/png", "image/webp"] * 4
    for name in ("zoom", "tiny"):
        right = expected(content, DEFAULT_SIZES[name], "RGBA")
        for webp in (False, True):
            seen = pixels(rendition(rendered, name, webp=webp), "RGBA")
            assert difference(seen.getchannel("A"), right.getchannel("A")) < CLOSE
            on_white = [
                Image.alpha_composite(Image.new("RGBA", one.size, "white"), one) for one in (seen, right)
            ]
            assert difference(on_white[0], on_white[1]) < (2 * CLOSE if name == "tiny" else CLOSE)
            assert difference(seen.getchannel("A"), ImageOps.invert(right.getchannel("A"))) > 2 * CLOSE


async def test_alpha_that_hides_nothing_becomes_jpeg(imaging: Imaging) -> None:
    opaque = scene()
    opaque.putalpha(255)
    rendered = await imaging.render(write(opaque, "PNG"))
    assert {one.content_type for one in rendered.renditions} == {"image/jpeg", "image/webp"}


async def test_16_bit_grey_keeps_its_upper_byte_and_its_transparent_value(imaging: Imaging) -> None:
    right = Image.new("L", (256, 40))
    right.putdata([x for _ in range(40) for x in range(256)])
    rendered = await imaging.render(grey16_png(256, 40))
    assert difference(pixels(rendition(rendered, "zoom"), "L"), right) < CLOSE
    clear = await imaging.render(grey16_png(256, 40, chunk(b"tRNS", b"\x64\x7f")))
    alpha = pixels(rendition(clear, "zoom"), "LA").getchannel("A")
    assert [alpha.getpixel((x, 7)) for x in (99, 100, 101)] == [255, 0, 255]
    other = await imaging.render(grey16_png(256, 40, chunk(b"tRNS", b"\x64\x7e")))  # no pixel has this value
    assert rendition(other, "zoom").content_type == "image/jpeg"


async def test_16_bit_colours_and_2_bit_grey_are_read(imaging: Imaging) -> None:
    rgb16 = png_of(64, 64, 16, 2, (b"\0" + b"\xc8\x11\x32\x22\x0a\x33" * 64) * 64)
    seen = pixels(rendition(await imaging.render(rgb16), "zoom"))
    assert difference(seen, Image.new("RGB", (64, 64), (200, 50, 10))) < CLOSE
    grey2 = png_of(64, 64, 2, 0, (b"\0" + b"\xaa" * 16) * 64)
    assert (
        difference(pixels(rendition(await imaging.render(grey2), "zoom"), "L"), Image.new("L", (64, 64), 170))
        < 2
    )


async def test_cmyk_becomes_rgb(imaging: Imaging) -> None:
    content = write(scene(1500, 1000, "CMYK"), "JPEG", quality=95)
    rendered = await imaging.render(content)
    seen = pixels(rendition(rendered, "standard"))
    assert difference(seen, expected(content, DEFAULT_SIZES["standard"])) < CLOSE
    assert difference(ImageOps.invert(seen), expected(content, DEFAULT_SIZES["standard"])) > 2 * CLOSE


async def test_a_colour_profile_is_applied_and_dropped(imaging: Imaging) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    linear = write(scene(), "PNG", icc_profile=lab)
    seen = pixels(rendition(await imaging.render(linear), "zoom"))
    assert difference(seen, scene()) < CLOSE  # a profile that does not fit the picture is left out
    swapped = _profile_with_red_and_green_changed()
    content = write(scene(), "PNG", icc_profile=swapped)
    seen = pixels(rendition(await imaging.render(content), "zoom"))
    red, green, blue = scene().split()
    assert difference(seen, Image.merge("RGB", (green, red, blue))) < 8
    assert difference(seen, scene()) > 16


def _profile_with_red_and_green_changed() -> bytes:
    """sRGB's own profile with the tags of its red and green columns exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile).replace(b"s\0R\0G\0B", b"s\0w\0a\0p").replace(b"sRGB b", b"swap b")


CANARY = b"canary-7d1f"


def _with_metadata(picture_format: str) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = CANARY.decode()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (6.0, 27.0, 11.0)
    exif.get_ifd(0x8825)[0x1D] = CANARY.decode()
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + CANARY + b"</x:xmpmeta>"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + CANARY
    options: dict[str, object] = {"exif": exif, "xmp": xmp, "icc_profile": icc}
    if picture_format == "JPEG":
        options["comment"] = CANARY
    if picture_format == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", CANARY.decode())
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"exif": exif, "icc_profile": icc, "pnginfo": text}
    if picture_format == "GIF":
        options = {"comment": CANARY}
    alpha = picture_format in ("PNG", "WEBP")
    return write(
        scene(mode="P" if picture_format == "GIF" else "RGBA" if alpha else "RGB"), picture_format, **options
    )


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
async def test_no_metadata_goes_out(imaging: Imaging, picture_format: str) -> None:
    content = _with_metadata(picture_format)
    assert CANARY in content  # what is looked for can be found
    rendered = await imaging.render(content)
    for one in rendered.renditions:
        assert CANARY not in one.content
        for word in (
            b"Exif\0",
            b"EXIF",
            b"eXIf",
            b"xmp",
            b"XMP ",
            b"ICC_PROFILE",
            b"ICCP",
            b"iCCP",
            b"tEXt",
            b"iTXt",
        ):
            assert word not in one.content
        image = Image.open(io.BytesIO(one.content))
        assert not image.getexif()
        assert not {"comment", "icc_profile", "xmp", "exif", "dpi"} & set(image.info)


@pytest.mark.parametrize(
    "name", ["text", "pdf", "svg", "html", "postscript", "tiff", "ico", "tga", "ppm", "empty"]
)
async def test_what_is_not_one_of_the_nine_formats_is_refused(imaging: Imaging, name: str) -> None:
    files = {
        "text": b"hello" * 100,
        "pdf": write(scene(), "PDF"),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "html": b"<!doctype html><script>alert(1)</script>",
        "postscript": write(scene(), "EPS"),
        "tiff": write(scene(), "TIFF"),
        "ico": write(scene(), "ICO"),
        "tga": write(scene(), "TGA"),
        "ppm": write(scene(), "PPM"),
        "empty": b"",
    }
    with pytest.raises(NotAPicture, match="none of JPEG, PNG"):
        await imaging.render(files[name])


async def test_a_format_that_this_api_does_not_take_is_refused_by_name(imaging: Imaging) -> None:
    for picture_format, content in FILES.items():
        with pytest.raises(
            NotAPicture, match=f"The file is {picture_format}, which is not taken here"
        ) as refusal:
            await imaging.render(content, ALL_FORMATS - {picture_format})
        assert "AVIF" in refusal.value.reason
        assert (await imaging.render(content, frozenset({picture_format}))).format == picture_format


async def test_of_an_animation_the_first_frame_is_shown(imaging: Imaging) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    for picture_format in ("GIF", "WEBP", "PNG", "AVIF"):
        content = write(frames[0], picture_format, save_all=True, append_images=frames[1:])
        rendered = await imaging.render(content)
        assert rendered.format == picture_format
        assert difference(pixels(rendition(rendered, "zoom")), frames[0]) < CLOSE
    content = write(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert (await imaging.render(content)).format == "JPEG"
