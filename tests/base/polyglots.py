"""Files that are two things at once: a picture, and something that a browser or a server would run."""

from tests.base.pictures import chunk, scene, write

_PNG = write(scene(), "PNG")
PAYLOAD = b"<?php system($_GET['c']); ?><script>alert('canary')</script>"
POLYGLOTS = {
    "GIF and JavaScript": b"GIF89a/*" + write(scene(mode="P"), "GIF")[8:] + b"*/=1;" + PAYLOAD,
    "GIF with a comment": write(scene(mode="P"), "GIF", comment=PAYLOAD),
    "JPEG and ZIP": write(scene(), "JPEG") + b"PK\3\4" + PAYLOAD,
    "JPEG with a comment": write(scene(), "JPEG", comment=PAYLOAD),
    "PNG and PHP": _PNG + PAYLOAD,
    "PNG with text": _PNG[:33] + chunk(b"tEXt", b"Comment\0" + PAYLOAD) + _PNG[33:],
    "BMP with a gap": write(scene(), "BMP") + PAYLOAD,
    "WebP with a chunk": write(scene(), "WEBP", xmp=PAYLOAD),
    "PDF and JPEG": b"%PDF-1.4\n" + write(scene(), "JPEG") + PAYLOAD,
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'>" + PAYLOAD + b"</svg>",
    "HTML": b"<html>" + PAYLOAD,
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" + PAYLOAD,
    "MVG": b"push graphic-context\nfill 'url(https://x/" + PAYLOAD + b")'\npop graphic-context",
    "MPO": write(scene(), "MPO", save_all=True, append_images=[scene()]) + PAYLOAD,
    "XBM": write(scene(mode="1"), "XBM") + b"/*" + PAYLOAD + b"*/",
}  # fmt: skip


def left_of_it(content: bytes) -> list[bytes]:
    """What of the other thing is still in a file that should be a picture alone."""
    return [word for word in (b"php", b"script", b"canary", b"PK\3\4", b"%PDF") if word in content]
