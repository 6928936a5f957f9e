"""How products and their images read in Shoplazza's words."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from kasuwa.base.context import Context
from kasuwa.domain.catalogue.records import ShownPicture

Json = dict[str, Any]


def image_view(context: Context, product_id: UUID, picture: ShownPicture) -> Json:
    """One image. Width and height are the picture's own, in pixels, whatever the size of the copy."""
    return {
        "id": picture.product_picture_id,
        "product_id": product_id,
        "position": picture.position,
        "src": link_start(context) + picture.rendition("zoom").path,
        "width": picture.width_px,
        "height": picture.height_px,
        "alt": picture.alt_text,
        "created_at": second(picture.added_at),
        "updated_at": second(picture.updated_at),
    }


def link_start(context: Context) -> str:
    """`//host`, or nothing when no host may be named: the link is a path then."""
    return context.url_base.partition(":")[2]


def second(at: datetime) -> str:
    """Whole seconds in UTC: 2024-04-08T07:13:28Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
