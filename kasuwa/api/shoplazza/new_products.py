"""Reading a product to be made: what the contract's shapes cannot say is checked here, before any fetch."""

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from kasuwa.api.shoplazza.contract import SlzCreateProductParam, SlzVariantParam
from kasuwa.api.shoplazza.dialect import BodyFault
from kasuwa.api.shoplazza.views import EXTRA, amount_text
from kasuwa.base.context import StoreId
from kasuwa.base.money import to_minor
from kasuwa.base.problems import Invalid
from kasuwa.domain.catalogue.choices import Limits
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    OptionValue,
    Price,
    ProductOption,
    Tax,
)

T = TypeVar("T")

# Longer names and codes are nobody's, and do not fit the database's indexes.
MOST_LETTERS = 255
LIMITS = Limits(options=3, values=500, variants=500)

_GRAMS = {"kg": Decimal(1000), "g": Decimal(1), "lb": Decimal("453.59237"), "oz": Decimal("28.349523125")}
_MOST_GRAMS = 2**31 - 1
_DECIMAL = re.compile(r"[0-9]{1,13}(\.[0-9]{1,12})?", re.ASCII)
_EXTRA_FIELDS = (
    "brief",
    "requires_shipping",
    "vendor_url",
    "note",
    "seo_title",
    "seo_description",
    "seo_keywords",
    "spu",
    "unique_token",
    "inventory_policy",
    "need_variant_image",
)


def read_new_product(wanted: SlzCreateProductParam, currency: str, store_id: StoreId) -> NewProduct:
    """The product without its images. Raises BodyFault, which names the field."""
    if not wanted.title.strip():
        raise BodyFault.at("/product/title", "Write a title.")
    _check_length(wanted.title, "/product/title")
    _check_length(or_default(wanted.handle, ""), "/product/handle")
    sent = or_default(wanted.variants, [])
    if wanted.has_only_default_variant:
        _check_default(wanted, sent)
    else:
        _check_choices(wanted, sent)
    variants = tuple(
        _variant(variant, wanted, f"/product/variants/{place}", currency, store_id)
        for place, variant in enumerate(sent)
    )
    default = NewVariant(price=Price(currency=currency, selling_minor=0), opening=(OpeningStock(store_id),))
    extra: dict[str, Any] = {
        name: getattr(wanted, name) for name in _EXTRA_FIELDS if getattr(wanted, name) is not UNSET
    }
    return NewProduct(
        name=wanted.title,
        kind="simple" if wanted.has_only_default_variant else "variant",
        options=()
        if wanted.has_only_default_variant
        else tuple(
            ProductOption(option.name, tuple(option.values)) for option in or_default(wanted.options, [])
        ),
        variants=variants or (default,),
        slug=or_default(wanted.handle, "") or None,
        description=or_default(wanted.description, None),
        brand=or_default(wanted.vendor, None),
        tags=tuple(tag.strip() for tag in or_default(wanted.tags, "").split(",") if tag.strip()),
        tax=Tax(or_default(wanted.taxable, True)),
        track_quantity=or_default(wanted.inventory_tracking, True),
        visible_online=or_default(wanted.published, False),
        weight_grams=_grams(sent[0]) if sent else None,
        extra={EXTRA: extra} if extra else {},
    )


def or_default(value: T | UnsetType, default: T) -> T:
    return default if value is UNSET else value


def _check_default(wanted: SlzCreateProductParam, sent: Sequence[SlzVariantParam]) -> None:
    if len(sent) > 1:
        raise BodyFault.at("/product/variants", "Give one variant, or say has_only_default_variant false.")
    if or_default(wanted.options, []):
        raise BodyFault.at(
            "/product/options", "Leave the options out, or say has_only_default_variant false."
        )


def _check_choices(wanted: SlzCreateProductParam, sent: Sequence[SlzVariantParam]) -> None:
    """Options with their values, and a variant for each choice of them, each choice once."""
    if wanted.need_variant_image is UNSET:
        raise BodyFault.at(
            "/product/need_variant_image", "This is obligatory when has_only_default_variant is false."
        )
    options = or_default(wanted.options, [])
    names = [option.name for option in options]
    if not 1 <= len(options) <= LIMITS.options or len(set(names)) < len(names):
        raise BodyFault.at("/product/options", "Give one to three options, each name once.")
    for place, option in enumerate(options):
        if not option.name.strip():
            raise BodyFault.at(f"/product/options/{place}/name", "Write a name.")
        if len(option.values) > LIMITS.values or len(set(option.values)) < len(option.values):
            text = f"Give at most {LIMITS.values} values, each once."
            raise BodyFault.at(f"/product/options/{place}/values", text)
    if not 1 <= len(sent) <= LIMITS.variants:
        raise BodyFault.at("/product/variants", f"Give one to {LIMITS.variants} variants.")
    seen = set()
    for place, variant in enumerate(sent):
        pointer = f"/product/variants/{place}"
        chosen = _chosen(variant)
        for number, value in enumerate(chosen, start=1):
            known = options[number - 1].values if number <= len(options) else [""]
            if value not in known:
                raise BodyFault.at(f"{pointer}/option{number}", "Use a value of the option with this number.")
        if tuple(chosen) in seen:
            raise BodyFault.at(pointer, "Another variant has the same options.")
        seen.add(tuple(chosen))
        if wanted.need_variant_image and variant.image is UNSET:
            raise BodyFault.at(f"{pointer}/image", "This is obligatory when need_variant_image is true.")


def _chosen(variant: SlzVariantParam) -> list[str]:
    return [or_default(value, "") for value in (variant.option1, variant.option2, variant.option3)]


def _variant(
    sent: SlzVariantParam, wanted: SlzCreateProductParam, pointer: str, currency: str, store_id: StoreId
) -> NewVariant:
    def minor(text: str | UnsetType, field: str) -> int | None:
        if text is UNSET:
            return None
        try:
            return to_minor(_decimal(text, f"{pointer}/{field}"), currency, f"{pointer}/{field}")
        except Invalid as problem:
            raise BodyFault(faults=problem.faults) from problem

    names = [] if wanted.has_only_default_variant else [o.name for o in or_default(wanted.options, [])]
    options = tuple(OptionValue(name, value) for name, value in zip(names, _chosen(sent), strict=False))
    for field in ("sku", "barcode"):
        _check_length(or_default(getattr(sent, field), ""), f"{pointer}/{field}")
    quantity = or_default(sent.inventory_quantity, 0)
    if quantity < 0:
        raise BodyFault.at(f"{pointer}/inventory_quantity", "Give 0 or more.")
    if sent.weight is not UNSET:
        _decimal(sent.weight, f"{pointer}/weight")
        if _grams(sent) is None:
            raise BodyFault.at(f"{pointer}/weight", "This is heavier than anything that is sold.")
    extra = {
        name: getattr(sent, name) for name in ("weight", "weight_unit") if getattr(sent, name) is not UNSET
    }
    compared = minor(sent.compare_at_price, "compare_at_price")
    if compared is not None:
        extra["compare_at_price"] = amount_text(compared, currency)
    price = minor(sent.price, "price")
    assert price is not None
    return NewVariant(
        price=Price(currency=currency, selling_minor=price, cost_minor=minor(sent.cost_price, "cost_price")),
        sku=or_default(sent.sku, "") or None,
        barcode=or_default(sent.barcode, "") or None,
        name=" / ".join(option.value for option in options),
        options=options,
        extra={EXTRA: extra} if extra else {},
        opening=(OpeningStock(store_id, Decimal(quantity), pointer=pointer),),
    )


def _decimal(text: str, pointer: str) -> Decimal:
    """Digits with at most one point: no sign, exponent, blank or thousands mark."""
    if not _DECIMAL.fullmatch(text):
        raise BodyFault.at(pointer, "Write a decimal number as text, such as 29.99.")
    return Decimal(text)


def _grams(sent: SlzVariantParam) -> int | None:
    """The weight in whole grams; None where there is none that fits."""
    if sent.weight is UNSET or not _DECIMAL.fullmatch(sent.weight):
        return None
    grams = Decimal(sent.weight) * _GRAMS[or_default(sent.weight_unit, "kg")]
    return int(grams.quantize(Decimal(1), ROUND_HALF_UP)) if grams <= _MOST_GRAMS else None


def _check_length(text: str, pointer: str) -> None:
    if len(text) > MOST_LETTERS:
        raise BodyFault.at(pointer, f"Write at most {MOST_LETTERS} characters.")
