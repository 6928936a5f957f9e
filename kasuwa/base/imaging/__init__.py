"""Pictures: decoded and rendered in child processes that are limited in memory, time and rights."""

from kasuwa.base.imaging.pool import ALL_FORMATS, DEFAULT_SIZES, Counts, Imaging, Rendered
from kasuwa.base.imaging.problems import ImagingBusy, NotAPicture, PictureTooBig
from kasuwa.base.rendering.messages import Rendition

__all__ = [
    "ALL_FORMATS",
    "DEFAULT_SIZES",
    "Counts",
    "Imaging",
    "ImagingBusy",
    "NotAPicture",
    "PictureTooBig",
    "Rendered",
    "Rendition",
]
