"""How products and images read in BigCommerce's words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from kasuwa.domain.catalogue.records import ShownPicture

Json = dict[str, Any]

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png"}


def image_view(picture: ShownPicture, product_number: int, url_base: str) -> Json:
    """One image; its addresses are absolute when `url_base` is known, else paths."""
    return {
        "id": picture.number,
        "product_id": product_number,
        "is_thumbnail": picture.is_thumbnail,
        "sort_order": picture.sort_order,
        "description": picture.alt_text,
        "image_file": image_file(picture),
        "url_zoom": url_base + picture.rendition("zoom").path,
        "url_standard": url_base + picture.rendition("standard").path,
        "url_thumbnail": url_base + picture.rendition("thumbnail").path,
        "url_tiny": url_base + picture.rendition("tiny").path,
        "date_modified": moment(picture.updated_at),
    }


def image_file(picture: ShownPicture) -> str:
    """The vendor's relative path of the original: it names the bytes, and changes only with them."""
    mark = int(picture.sha256[:12], 16)
    letter = chr(ord("a") + mark % 26)
    extension = _EXTENSIONS[picture.rendition("zoom").content_type]
    return (
        f"{letter}/{mark // 26 % 1000:03d}/image-{picture.number}__{mark // 26_000 % 100_000:05d}.{extension}"
    )


def moment(at: datetime) -> str:
    """`2018-09-13T15:57:07+00:00`."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def one(data: Json) -> Json:
    return {"data": data, "meta": {}}


def page_of(data: Sequence[Json], *, total: int, page: int, limit: int, query: str) -> Json:
    """A page in its envelope."""
    return {
        "data": list(data),
        "meta": pagination(len(data), total=total, page=page, limit=limit, query=query),
    }


def pagination(count: int, *, total: int, page: int, limit: int, query: str) -> Json:
    """The facts of a page. Links are query strings that repeat the caller's other parameters."""
    pages = -(-total // limit)
    sent = parse_qsl(query, keep_blank_values=True)
    others = [(name, value) for name, value in sent if name not in ("page", "limit")]

    def link(number: int) -> str:
        return "?" + urlencode([*others, ("page", number), ("limit", limit)])

    links = {"current": link(page)}
    if page > 1:
        links["previous"] = link(page - 1)
    if page < pages:
        links["next"] = link(page + 1)
    return {
        "pagination": {
            "total": total,
            "count": count,
            "per_page": limit,
            "current_page": page,
            "total_pages": pages,
            "links": links,
        }
    }


def fields_of(thing: Json, include: Sequence[str] | None, exclude: Sequence[str] | None) -> Json:
    """The thing with the fields that were asked for; `id` always stays."""
    kept = thing
    if include:
        kept = {name: value for name, value in kept.items() if name == "id" or name in include}
    if exclude:
        kept = {name: value for name, value in kept.items() if name == "id" or name not in exclude}
    return kept
