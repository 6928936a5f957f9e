"""WBMP type 0, which Pillow does not read: black and white, one bit a pixel, no compression."""

from PIL import Image

LONGEST_NUMBER_BYTES = 4


def read_wbmp(content: bytes) -> Image.Image | None:
    """The picture, or None when these bytes are not a WBMP.

    The format has no signature but two zero bytes, so the length must fit the size to the byte.
    """
    if content[:2] != b"\0\0":
        return None
    width_px, start = _read_number(content, 2)
    height_px, start = _read_number(content, start)
    pixels = content[start:]
    if width_px * height_px == 0 or len(pixels) != (width_px + 7) // 8 * height_px:
        return None
    return Image.frombytes("1", (width_px, height_px), pixels)


def _read_number(content: bytes, start: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends; 0 when it has no end."""
    number = 0
    for end, byte in enumerate(content[start : start + LONGEST_NUMBER_BYTES], start + 1):
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, end
    return 0, start
