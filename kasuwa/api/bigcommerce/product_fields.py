"""Which fields of a product the shop keeps as its own, and which it keeps for this API alone.

The latter lie in the product's `extra` under "bigcommerce", only where they differ from the default.
"""

import re
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from kasuwa.api.bigcommerce.contract import BcProductWrite
from kasuwa.api.bigcommerce.errors import TooManyItems
from kasuwa.base.money import to_minor
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.records import Price, Product

KEY = "bigcommerce"
MOST_BATCH = 10
MOST_INTEGER = 2**31 - 1

# The vendor's defaults of the fields that the shop itself has no use for.
DEFAULTS: dict[str, Any] = {
    "type": "physical",
    "weight": 0,
    "width": 0,
    "depth": 0,
    "height": 0,
    "retail_price": 0,
    "map_price": 0,
    "brand_id": 0,
    "inventory_tracking": None,
    "is_featured": False,
    "mpn": "",
    "gtin": "",
    "search_keywords": "",
    "availability": "available",
    "sort_order": 0,
    "condition": "New",
    "page_title": "",
    "meta_description": "",
    "meta_keywords": [],
    "tax_class_id": 0,
    "product_tax_code": "",
    "fixed_cost_shipping_price": 0,
    "is_free_shipping": False,
    "warranty": "",
    "bin_picking_number": "",
    "layout_file": "",
    "availability_description": "",
    "gift_wrapping_options_type": "any",
    "gift_wrapping_options_list": [],
    "is_condition_shown": False,
    "order_quantity_minimum": 0,
    "order_quantity_maximum": 0,
    "related_products": [],
    "view_count": 0,
    "preorder_release_date": None,
    "preorder_message": "",
    "is_preorder_only": False,
    "is_price_hidden": False,
    "price_hidden_label": "",
    "custom_url": None,
    "open_graph_type": "product",
    "open_graph_title": "",
    "open_graph_description": "",
    "open_graph_use_meta_description": True,
    "open_graph_use_product_name": True,
    "open_graph_use_image": True,
}
NUMBERS = ("weight", "width", "depth", "height", "retail_price", "map_price", "fixed_cost_shipping_price")
PRICES = ("price", "cost_price", "sale_price")

_NUMERIC = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


def read_numbers(values: Any) -> Any:
    """Clients also send numbers as texts. A list is a batch, of ten at most."""
    if isinstance(values, list):
        if len(values) > MOST_BATCH:
            raise TooManyItems()
        return [read_numbers(value) for value in values]
    if not isinstance(values, dict):
        return values
    texts = {name: values[name] for name in (*NUMBERS, *PRICES) if isinstance(values.get(name), str)}
    return values | {name: Decimal(text) for name, text in texts.items() if _NUMERIC.fullmatch(text)}


def kept_fields(body: BcProductWrite, before: dict[str, Any]) -> dict[str, Any]:
    """`extra` of the product after the change: what is default is left out, so that filters find it."""
    own = dict(before.get(KEY, {}))
    for name, default in DEFAULTS.items():
        value = getattr(body, name)
        if value is UNSET:
            continue
        plain = msgspec.to_builtins(value)
        if value == default or plain == default:
            own.pop(name, None)
        else:
            own[name] = plain
    return {**before, KEY: own}


def kept_values(extra: dict[str, Any]) -> dict[str, Any]:
    """The fields of DEFAULTS as they go out; numbers are kept as texts, so that no digit is lost."""
    kept = extra.get(KEY, {})
    return DEFAULTS | {
        name: Decimal(value) if name in NUMBERS and isinstance(value, str) else value
        for name, value in kept.items()
    }


def grams(weight: Decimal) -> int | None:
    """The weight, which comes in kilograms, as the shop keeps it; None where that is beyond any shop."""
    value = int((Decimal(weight) * 1000).to_integral_value())
    return value if value <= MOST_INTEGER else None


def weight_of(product: Product) -> Any:
    """The weight in kilograms: as it was sent here, unless somebody has weighed it anew since."""
    sent = kept_values(product.extra)["weight"]
    if product.weight_grams is None or grams(Decimal(sent)) == product.weight_grams:
        return sent
    return Decimal(product.weight_grams) / 1000


def price_of(body: BcProductWrite, before: Price | None, currency: str) -> Price:
    """The price after the change. A sale price of 0 is none. Raises Invalid."""
    price = before or Price(currency=currency, selling_minor=0)
    changed: dict[str, int | None] = {}
    for field, column in (
        ("price", "selling_minor"),
        ("cost_price", "cost_minor"),
        ("sale_price", "promo_minor"),
    ):
        value = getattr(body, field)
        if value is not UNSET:
            minor = to_minor(Decimal(value), price.currency, f"/{field}")
            changed[column] = minor if minor or field == "price" else None
    price = msgspec.structs.replace(price, **changed)
    if price.promo_minor is not None and price.promo_minor >= price.selling_minor:
        raise Invalid(
            faults=[FieldFault("/sale_price", "maximum", "Give less than the price, or 0 for none.")]
        )
    return price


def whole(quantity: Decimal | None) -> int:
    """A quantity in whole pieces, from 0 up."""
    if quantity is None:
        return 0
    return min(MOST_INTEGER, max(0, int(quantity.to_integral_value(ROUND_FLOOR))))
