"""Pictures for the tests, made here: no file of anyone else's is needed."""

import io
import struct
import zlib

from PIL import Image, ImageChops, ImageDraw, ImageStat


def scene(width_px: int = 300, height_px: int = 200, mode: str = "RGB") -> Image.Image:
    """Soft colours with a different mark in each corner, so that a turn or a flip shows."""
    image = Image.merge(
        "RGB",
        (
            Image.linear_gradient("L").resize((width_px, height_px)),
            Image.linear_gradient("L").rotate(90).resize((width_px, height_px)),
            Image.radial_gradient("L").resize((width_px, height_px)),
        ),
    )
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width_px // 4, height_px // 4), fill=(220, 30, 30))
    draw.rectangle((width_px * 3 // 4, 0, width_px, height_px // 4), fill=(30, 200, 40))
    draw.rectangle((0, height_px * 3 // 4, width_px // 4, height_px), fill=(30, 40, 210))
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize((width_px, height_px)))
    return image if image.mode == mode else image.convert(mode)


def write(image: Image.Image, picture_format: str, **options: object) -> bytes:
    """The file's bytes, as Pillow writes them."""
    written = io.BytesIO()
    image.save(written, picture_format, **options)
    return written.getvalue()


def write_wbmp(image: Image.Image) -> bytes:
    """WBMP type 0 of a picture in mode 1."""
    return b"\0\0" + _number(image.width) + _number(image.height) + image.tobytes()


def _number(value: int) -> bytes:
    return bytes([value >> 7 | 0x80, value & 0x7F]) if value > 0x7F else bytes([value])


def chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk with its length and its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width_px: int, height_px: int, depth: int, colour_type: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG by hand; `rows` are uncompressed, each with its filter byte."""
    header = struct.pack(">IIBBBBB", width_px, height_px, depth, colour_type, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def grey16_png(width_px: int, height_px: int, *chunks: bytes) -> bytes:
    """16-bit grey that rises from left to right: 257 times the column modulo 256, less one."""
    row = b"\0" + b"".join(struct.pack(">H", x % 256 * 256 + 0x7F) for x in range(width_px))
    return png_of(width_px, height_px, 16, 0, row * height_px, *chunks)


def gif_of_frames(count: int) -> bytes:
    """A GIF that repeats one small frame."""
    content = write(Image.new("P", (8, 8)), "GIF")
    colours = 3 * 2 ** ((content[10] & 7) + 1) if content[10] & 0x80 else 0
    start = content.index(b",", 13 + colours)
    return content[:start] + content[start:-1] * count + b";"


def jpeg_of_scans(count: int, side_px: int = 512) -> bytes:
    """A progressive JPEG whose last scan is repeated; each scan goes over the whole picture."""
    content = write(scene(side_px, side_px), "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * count + b"\xff\xd9"


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of all samples, 0 to 255."""
    assert (one.mode, one.size) == (other.mode, other.size)
    means = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(means) / len(means)
