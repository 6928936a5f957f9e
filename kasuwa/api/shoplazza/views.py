"""How products and their images read in Shoplazza's words.

A card holds what does not depend on the request; `complete` adds the host of the links and the live stock.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from kasuwa.base.context import Context
from kasuwa.base.http.contract import encode
from kasuwa.base.money import decimals
from kasuwa.domain.catalogue.cards import Card
from kasuwa.domain.catalogue.lists import ListedProduct
from kasuwa.domain.catalogue.records import Product, ShownPicture, StockLevel, Variant

Json = dict[str, Any]

# Where the fields are kept that this API documents and the shop has no use for.
EXTRA = "shoplazza"


def image_view(product_id: UUID, picture: ShownPicture, start: str = "") -> Json:
    """One image. Width and height are the picture's own, in pixels, whatever the size of the copy."""
    return {
        "id": str(picture.product_picture_id),
        "product_id": str(product_id),
        "position": picture.position,
        "src": start + picture.rendition("zoom").path,
        "width": picture.width_px,
        "height": picture.height_px,
        "alt": picture.alt_text,
        "created_at": second(picture.added_at),
        "updated_at": second(picture.updated_at),
    }


def product_card(product: Product) -> Card:
    """Everything of a product that does not depend on the request, as the lists keep it."""
    view = product_view(product, with_cost=True)
    body = encode(view).decode()
    priced = [variant for variant in view["variants"] if variant.pop("cost_price", None) is not None]
    return Card(body, encode(view).decode() if priced else None)


def product_view(product: Product, *, with_cost: bool) -> Json:
    """A product whose links are paths and whose stock is still open: see `complete`."""
    extra = product.extra.get(EXTRA, {})
    images = [image_view(product.product_id, picture) for picture in product.pictures]
    return {
        "id": str(product.product_id),
        "title": product.name,
        "brief": extra.get("brief", ""),
        "description": product.description or "",
        "published": product.visible_online,
        "requires_shipping": extra.get("requires_shipping", True),
        "taxable": product.tax.taxable,
        "tags": ",".join(product.tags),
        "vendor": product.brand or "",
        "vendor_url": extra.get("vendor_url", ""),
        "inventory_quantity": 0,
        "published_at": second(product.created_at) if product.visible_online else None,
        "created_at": second(product.created_at),
        "updated_at": second(product.updated_at),
        "note": extra.get("note", ""),
        "handle": product.slug,
        "spu": extra.get("spu", ""),
        "has_only_default_variant": product.kind == "simple",
        "inventory_tracking": product.track_quantity,
        "inventory_policy": extra.get("inventory_policy", "deny"),
        "need_variant_image": extra.get("need_variant_image", False),
        "image": _first_image(images),
        "images": images,
        "options": _options(product),
        "variants": [_variant(product, variant, with_cost=with_cost) for variant in product.variants],
    }


def complete(view: Json, start: str, stock: Mapping[str, Decimal]) -> Json:
    """The view with `start` before its links, and what can be sold of each variant, by its id."""
    for image in (view["image"], *view["images"]):
        if image:
            image["src"] = start + image["src"]
    for variant in view["variants"]:
        variant["inventory_quantity"] = int(stock.get(variant["id"], 0))
    view["inventory_quantity"] = sum(variant["inventory_quantity"] for variant in view["variants"])
    return view


def listed_product(row: ListedProduct, start: str) -> bytes:
    """The card of a product without variants, complete.

    Quotes inside a JSON text are escaped: only a name of ours can be followed by such a value.
    """
    links = row.body.replace('"src":"', f'"src":"{start}')
    stock = f'"inventory_quantity":{int(row.on_hand - row.reserved)}'
    return links.replace('"inventory_quantity":0', stock).encode()


def sellable(levels: Sequence[StockLevel]) -> dict[str, Decimal]:
    """What can be sold of each variant, by its id."""
    return {str(level.variant_id): level.on_hand - level.reserved for level in levels}


def link_start(context: Context) -> str:
    """`//host`, or nothing when no host may be named: the link is a path then."""
    return context.url_base.partition(":")[2]


def second(at: datetime) -> str:
    """Whole seconds in UTC: 2024-04-08T07:13:28Z."""
    return f"{at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"


def amount_text(minor: int, currency: str) -> str:
    """A price as decimal text with all decimals of its currency: 29.90."""
    return f"{Decimal(minor).scaleb(-decimals(currency)):.{decimals(currency)}f}"


def _first_image(images: Sequence[Json]) -> Json:
    if not images:
        return {}
    first = images[0]
    return {
        "src": first["src"],
        "path": first["src"].rpartition("/")[2],
        "width": first["width"],
        "height": first["height"],
        "alt": first["alt"],
    }


def _options(product: Product) -> list[Json]:
    return [
        {
            "id": str(uuid5(product.product_id, option.name)),
            "product_id": str(product.product_id),
            "position": position,
            "name": option.name,
            "values": option.values,
        }
        for position, option in enumerate(product.options, start=1)
    ]


def _variant(product: Product, variant: Variant, *, with_cost: bool) -> Json:
    extra = variant.extra.get(EXTRA, {})
    price = variant.price
    view: Json = {
        "id": str(variant.variant_id),
        "product_id": str(product.product_id),
        "image_id": None if variant.product_picture_id is None else str(variant.product_picture_id),
        "position": variant.position,
        "title": variant.name,
        "price": amount_text(price.selling_minor, price.currency),
        "compare_at_price": extra.get("compare_at_price", ""),
        "sku": variant.sku,
        "barcode": variant.barcode or "",
        "inventory_quantity": 0,
        "weight": extra.get("weight", "0"),
        "weight_unit": extra.get("weight_unit", "kg"),
        "created_at": second(variant.created_at),
        "updated_at": second(variant.updated_at),
    }
    for place, chosen in enumerate(variant.options[:3], start=1):
        view[f"option{place}"] = chosen.value
    if with_cost and price.cost_minor is not None:
        view["cost_price"] = amount_text(price.cost_minor, price.currency)
    return view
