"""From one upright picture to the renditions that are served."""

import io
from collections.abc import Iterator, Mapping

from PIL import Image, ImageCms

from kasuwa.base.rendering.decode import REDUCING_GAP, Decoded, fit
from kasuwa.base.rendering.messages import ContentType, Rendition

JPEG_QUALITY = 82
WEBP_QUALITY = 80
WEBP_METHOD = 2
PNG_LEVEL = 6
ICC_LIMIT_BYTES = 4 * 1024 * 1024
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def render(decoded: Decoded, sizes: Mapping[str, tuple[int, int]]) -> list[Rendition]:
    """For each name one JPEG (PNG where the picture has alpha) and one WebP, in the order of `sizes`.

    Each picture is made from the next larger one. No metadata goes out: no EXIF, XMP, comment, profile.
    """
    original = decoded.width_px, decoded.height_px
    wanted = {name: fit(original, box) for name, box in sizes.items()}
    image = decoded.image
    encoded: dict[tuple[int, int], list[tuple[ContentType, bytes]]] = {}
    for size in sorted(set(wanted.values()), reverse=True):
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
        if not encoded:
            image = _without_idle_alpha(to_srgb(image, decoded.icc_profile))
        encoded[size] = list(_encode(image))
    return [
        Rendition(name, content_type, *size, content)
        for name, size in wanted.items()
        for content_type, content in encoded[size]
    ]


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """The picture in L, LA, RGB or RGBA with sRGB's colours; a profile that cannot be read is left out."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert(image.mode.removesuffix("A")) if alpha else image
    if icc_profile and len(icc_profile) <= ICC_LIMIT_BYTES:
        colours = _convert_by_profile(colours, icc_profile)
    if colours.mode == "CMYK":
        colours = colours.convert("RGB")
    if alpha:
        colours.putalpha(alpha)
    colours.info.clear()
    return colours


def _convert_by_profile(image: Image.Image, icc_profile: bytes) -> Image.Image:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        space = profile.profile.xcolor_space.strip()
        if "sRGB" in (profile.profile.profile_description or "") and image.mode == "RGB":
            return image
        if image.mode == "L" and space == "RGB":
            image = image.convert("RGB")
        converted = ImageCms.profileToProfile(image, profile, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    assert converted is not None
    return converted


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema()[0] == 255:
        return image.convert(image.mode.removesuffix("A"))
    return image


def _encode(image: Image.Image) -> Iterator[tuple[ContentType, bytes]]:
    has_alpha = image.mode in ("LA", "RGBA")
    plain = io.BytesIO()
    if has_alpha:
        image.save(plain, "PNG", compress_level=PNG_LEVEL)
        yield "image/png", plain.getvalue()
    else:
        image.save(plain, "JPEG", quality=JPEG_QUALITY)
        yield "image/jpeg", plain.getvalue()
    webp = io.BytesIO()
    image.save(webp, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
    yield "image/webp", webp.getvalue()
