"""The words of pictures."""

from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from kasuwa.domain.catalogue.records import Product, Rendition, ShownPicture

__all__ = ["KeptPicture", "PictureChange", "Place", "Placed", "Rendition", "ShownPicture"]

# What each API takes, by content. See docs/pictures.md.
STOREHARMONY_FORMATS = frozenset({"JPEG", "PNG", "GIF", "WEBP", "BMP", "WBMP", "XBM", "JPEG2000", "AVIF"})
BIGCOMMERCE_FORMATS = frozenset({"BMP", "GIF", "JPEG", "PNG", "WBMP", "XBM", "WEBP"})
SHOPLAZZA_FORMATS = frozenset({"JPEG", "JPEG2000", "PNG", "WEBP", "GIF"})

MOST_PICTURES = 1000
MOST_BYTES = 8 * 1024 * 1024


class KeptPicture(Struct, frozen=True):
    """A picture whose files are all stored. It is shown nowhere yet, or on other products too."""

    picture_id: UUID
    sha256: str


class Place(Struct, frozen=True, kw_only=True):
    """Where a new picture goes: at a `position` from 1, at a `sort_order`, or (neither) at the end."""

    position: int | None = None
    sort_order: int | None = None
    alt_text: str = ""
    is_thumbnail: bool = False


class PictureChange(Struct, frozen=True, kw_only=True):
    """What to change of a picture on a product; what is UNSET stays."""

    picture: KeptPicture | UnsetType = UNSET
    alt_text: str | UnsetType = UNSET
    position: int | UnsetType = UNSET
    sort_order: int | UnsetType = UNSET
    is_thumbnail: bool | UnsetType = UNSET


class Placed(Struct, frozen=True):
    """The picture in its place, and the product that shows it now."""

    picture: ShownPicture
    product: Product
