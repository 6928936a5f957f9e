"""How a product reads in BigCommerce's words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from kasuwa.api.bigcommerce.product_fields import kept_values, weight_of, whole
from kasuwa.api.bigcommerce.views import Json, image_view, moment
from kasuwa.base.http.contract import encode
from kasuwa.base.money import from_minor
from kasuwa.domain.catalogue.cards import Card
from kasuwa.domain.catalogue.lists import ListedProduct
from kasuwa.domain.catalogue.records import Price, Product, StockLevel

_CARD = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def product_card(product: Product) -> Card:
    """Everything of a product that depends neither on a store's stock nor on what `include` asks for."""
    view = _fixed(product, with_cost=True)
    body = encode(view).decode()
    if not product.main.price.cost_minor:
        return Card(body)
    return Card(body, encode(view | {"cost_price": 0}).decode())


def listed_product(row: ListedProduct) -> bytes:
    """A card and the store's live stock as one JSON object."""
    return row.body[:-1].encode() + b"," + encode(_live(row.on_hand, row.reorder_level))[1:]


def listed_view(row: ListedProduct) -> Json:
    """The same, for those who choose among the fields."""
    return _CARD.decode(row.body) | _live(row.on_hand, row.reorder_level)


def product_view(product: Product, stock: Sequence[StockLevel], *, with_cost: bool) -> Json:
    """The product with the figures of the store that `stock` is of."""
    return _fixed(product, with_cost=with_cost) | _live(
        sum((level.on_hand for level in stock), Decimal(0)),
        max((level.reorder_level for level in stock if level.reorder_level is not None), default=None),
    )


def included(product: Product, include: Sequence[str], url_base: str) -> Json:
    """The sub-resources that `include` asks for."""
    images = [image_view(picture, product.number, url_base) for picture in product.pictures]
    parts: Json = {}
    if "images" in include:
        parts["images"] = images
    if "primary_image" in include:
        parts["primary_image"] = next((image for image in images if image["is_thumbnail"]), None)
    return parts


def _fixed(product: Product, *, with_cost: bool) -> Json:
    own = kept_values(product.extra)
    price = product.main.price
    return own | {
        "id": product.number,
        "name": product.name[:250],
        "sku": product.main.sku[:255],
        "description": product.description or "",
        "weight": weight_of(product),
        "price": from_minor(price.selling_minor, price.currency),
        "cost_price": _amount(price.cost_minor if with_cost else None, price),
        "sale_price": _amount(price.promo_minor, price),
        "calculated_price": from_minor(price.effective_minor(datetime.now(UTC)), price.currency),
        "categories": [category.number for category in product.categories],
        "brand_name": (product.brand or "")[:255],
        "inventory_tracking": _tracking(product, own),
        "is_visible": product.visible_online,
        "upc": _code(product.main.barcode),
        "availability": "disabled" if product.status == "inactive" else own["availability"],
        "custom_url": own["custom_url"] or {"url": f"/{product.slug}/"[:255], "is_customized": False},
        "base_variant_id": product.main.number if product.kind == "simple" else None,
        "date_created": moment(product.created_at),
        "date_modified": moment(product.updated_at),
    }


def _live(on_hand: Decimal, warning_level: Decimal | None) -> Json:
    return {"inventory_level": whole(on_hand), "inventory_warning_level": whole(warning_level)}


def _amount(minor: int | None, price: Price) -> Decimal:
    return from_minor(minor or 0, price.currency)


def _tracking(product: Product, own: Json) -> str:
    if not product.track_quantity:
        return "none"
    return own["inventory_tracking"] or ("variant" if product.kind == "variant" else "product")


def _code(barcode: str | None) -> str:
    """A longer code than the documents allow is not cut: half a code would be a wrong one."""
    return barcode if barcode is not None and len(barcode) <= 14 else ""
