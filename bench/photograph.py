"""Pictures to measure with."""

import io

from PIL import Image, ImageFilter

WIDTH_PX, HEIGHT_PX = 4000, 3000


def make_photograph(width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX, *, seed: int = 0) -> bytes:
    """A JPEG with the smooth light and the grain of a photograph; about 3 MB at 12 MP. Noise is by chance."""
    size = (width_px, height_px)
    light = Image.merge(
        "RGB",
        [
            Image.linear_gradient("L").resize(size),
            Image.radial_gradient("L").resize(size),
            Image.linear_gradient("L").rotate(90 * (1 + seed % 3)).resize(size),
        ],
    )
    shapes = Image.effect_noise((250, 188), 120).resize(size, Image.Resampling.BICUBIC)
    grain = Image.effect_noise(size, 25).filter(ImageFilter.GaussianBlur(1))
    surface = Image.blend(shapes, grain, 0.5).convert("RGB")
    written = io.BytesIO()
    Image.blend(light, surface, 0.5).save(written, "JPEG", quality=90)
    return written.getvalue()
