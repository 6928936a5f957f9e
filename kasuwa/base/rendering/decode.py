"""From the bytes of a file to one upright picture that is small enough to work on."""

import copy
import errno
import io
import math
import struct
import warnings
from collections.abc import Collection
from typing import cast

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageColor,
    ImagePalette,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    XbmImagePlugin,
)

from kasuwa.base.rendering.messages import Format
from kasuwa.base.rendering.wbmp import read_wbmp

# Pillow would import these when they are first needed; by then the process may open no file.
PLUGINS = (
    JpegImagePlugin,
    MpoImagePlugin,  # a JPEG with several pictures: read as its first
    PngImagePlugin,
    GifImagePlugin,
    WebPImagePlugin,
    BmpImagePlugin,
    XbmImagePlugin,
    Jpeg2KImagePlugin,
    AvifImagePlugin,
    TiffImagePlugin,  # the layout of EXIF
    ImageColor,
    ImagePalette,
    copy,
)
PILLOW_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "XBM", "JPEG2000", "AVIF")

JPEG_LIMIT_PIXELS = 120_000_000  # decoded at a half, a quarter or an eighth
LIMIT_PIXELS = 40_000_000
LIMIT_FRAMES = 60
LIMIT_SCANS = 200  # each scan of a progressive JPEG goes over the whole picture again
STRIP_PIXELS = 1_000_000
REDUCING_GAP = 2.0

ORIENTATION_TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class NotRendered(Exception):
    """The file is refused; the text says why."""

    def __init__(self, reason: str, *, too_big: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.too_big = too_big


class Decoded:
    """An upright picture in L, LA, RGB, RGBA or CMYK, at least as large as its largest rendition.

    `width_px` and `height_px` are the upright size of the file; `image` may already be smaller.
    """

    def __init__(
        self, image: Image.Image, picture_format: Format, size: tuple[int, int], icc_profile: bytes | None
    ) -> None:
        self.image = image
        self.format = picture_format
        self.width_px, self.height_px = size
        self.icc_profile = icc_profile


def prepare() -> None:
    """Load all that decoding needs from disk."""
    Image.preinit()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    # The caps are ours; between Pillow's one and two times the maximum it would only warn.
    warnings.simplefilter("ignore")


def decode(content: bytes, accepted: Collection[str], largest: tuple[int, int]) -> Decoded:
    """Read the picture, upright, reduced as far as a rendition within `largest` allows.

    Raises NotRendered.
    """
    try:
        return _decode(content, accepted, largest)
    except NotRendered:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels(content) from None
    except MemoryError:
        raise NotRendered(
            "Decoding the picture needs more memory than is allowed. Send a smaller one.", too_big=True
        ) from None
    except Exception as error:
        if isinstance(error, ImportError) or getattr(error, "errno", None) == errno.EMFILE:
            raise  # a module that `PLUGINS` lacks: our fault, not the file's
        # The plugins raise what comes: OSError, SyntaxError, struct.error, IndexError, OverflowError ...
        raise NotRendered(
            f"The file is damaged, cut short, or needs more memory than is allowed ({type(error).__name__})."
        ) from error


def _decode(content: bytes, accepted: Collection[str], largest: tuple[int, int]) -> Decoded:
    image, picture_format = _open(content)
    if picture_format not in accepted:
        raise NotRendered(
            f"The file is {picture_format}, which is not taken here. Send {' or '.join(sorted(accepted))}."
        )
    _check_frames(image)
    orientation = _orientation(image)
    turned = orientation in (5, 6, 7, 8)
    width_px, height_px = image.size
    size = (height_px, width_px) if turned else (width_px, height_px)
    target = fit(size, largest)
    if turned:
        target = target[1], target[0]
    if picture_format == "JPEG":
        image.draft(None, target)
    icc_profile = image.info.get("icc_profile")
    image.load()
    reduced = _reduce(image, target)
    del image
    turn = TURNS.get(orientation)
    upright = reduced if turn is None else reduced.transpose(turn)
    return Decoded(upright, picture_format, size, icc_profile)


def fit(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The size within the box with the same aspect, never larger than it was, at least 1 by 1."""
    width_px, height_px = size
    scale = min(box[0] / width_px, box[1] / height_px, 1)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def _open(content: bytes) -> tuple[Image.Image, Format]:
    is_jpeg = content.startswith(b"\xff\xd8\xff")
    if is_jpeg and content.count(b"\xff\xda") > LIMIT_SCANS:
        raise NotRendered(f"The JPEG has more than {LIMIT_SCANS} scans. Save it anew.", too_big=True)
    # Pillow raises above two times this number, before it decodes.
    Image.MAX_IMAGE_PIXELS = (JPEG_LIMIT_PIXELS if is_jpeg else LIMIT_PIXELS) // 2
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=PILLOW_FORMATS)
    except UnidentifiedImageError:
        wbmp = read_wbmp(content)
        if wbmp is None:
            raise NotRendered(
                f"The file is none of {', '.join(PILLOW_FORMATS)}, WBMP, or its beginning is damaged."
            ) from None
        if wbmp.width * wbmp.height > LIMIT_PIXELS:
            raise _too_many_pixels(content) from None
        return wbmp, "WBMP"
    picture_format = "JPEG" if image.format == "MPO" else image.format
    return image, cast(Format, picture_format)


def _too_many_pixels(content: bytes) -> NotRendered:
    limit = JPEG_LIMIT_PIXELS if content.startswith(b"\xff\xd8\xff") else LIMIT_PIXELS
    return NotRendered(
        f"The picture has more than {limit // 1_000_000} million pixels. Send a smaller one.", too_big=True
    )


def _check_frames(image: Image.Image) -> None:
    if getattr(image, "n_frames", 1) > LIMIT_FRAMES:
        raise NotRendered(f"The animation has more than {LIMIT_FRAMES} frames. Send fewer.", too_big=True)


def _orientation(image: Image.Image) -> int:
    """1 to 8 as EXIF counts them; a damaged EXIF does not make a picture worse."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return orientation if orientation in TURNS else 1


def _reduce(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """The picture in a mode we can resize, brought near to twice `target`, strip by strip.

    Converting and averaging a large picture in one piece would hold it two or three times.
    """
    factor = (
        max(1, int(image.width / target[0] / REDUCING_GAP)),
        max(1, int(image.height / target[1] / REDUCING_GAP)),
    )
    if image.mode in ("L", "RGB", "CMYK") and "transparency" not in image.info:
        return image if factor == (1, 1) else image.reduce(factor)
    if factor == (1, 1) and (image.width * image.height <= STRIP_PIXELS or image.mode in ("LA", "RGBA")):
        return to_plain_mode(image)
    width_px, height_px = image.size
    step_px = max(1, STRIP_PIXELS // width_px // factor[1]) * factor[1]
    reduced: Image.Image | None = None
    for top_px in range(0, height_px, step_px):
        strip = image.crop((0, top_px, width_px, min(height_px, top_px + step_px)))
        part = to_plain_mode(strip).reduce(factor)
        if reduced is None:
            size = math.ceil(width_px / factor[0]), math.ceil(height_px / factor[1])
            reduced = Image.new(part.mode, size)
        reduced.paste(part, (0, top_px // factor[1]))
    assert reduced is not None
    return reduced


def to_plain_mode(image: Image.Image) -> Image.Image:
    """The picture in L, LA, RGB, RGBA or CMYK; a colour that means "transparent" becomes alpha."""
    transparent = image.info.get("transparency")
    mode = image.mode
    if mode.startswith("I;16"):
        return _eight_bits(image, transparent)
    if mode == "I":
        return image.point(lambda value: value * (1 / 256) + 0).convert("L")
    if mode in ("1", "L", "P", "RGB") and transparent is not None:
        return image.convert("RGBA")
    if mode == "P":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    plain = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
    if mode in plain:
        return image.convert(plain[mode])
    if mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    raise NotRendered(f"The picture keeps its colours as {mode}. Save it as RGB.")


def _eight_bits(image: Image.Image, transparent: int | None) -> Image.Image:
    """The upper byte of 16-bit grey."""
    little_endian = image if image.mode == "I;16" else image.convert("I").convert("I;16")
    lower, upper = Image.frombytes("LA", image.size, little_endian.tobytes()).split()
    if transparent is None:
        return upper
    first, second = struct.pack("<H", transparent)
    seen = ImageChops.lighter(
        lower.point(lambda value: 0 if value == first else 255),
        upper.point(lambda value: 0 if value == second else 255),
    )
    return Image.merge("LA", (upper, seen))
