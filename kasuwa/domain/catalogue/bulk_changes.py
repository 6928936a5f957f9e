"""What a row changes of a product that is there already. No database: the same for a file and for a call."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.actions import slug_of
from kasuwa.domain.catalogue.bulk_records import BulkProduct, FieldChange
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.catalogue.records import CategoryName, NewVariant, Price, Product, Variant

_PLAIN = (
    "name",
    "slug",
    "description",
    "brand",
    "unit",
    "tags",
    "track_quantity",
    "visible_online",
    "weight_grams",
    "expiry_date",
    "status",
)
_TAX = ("taxable", "rate", "vat_type", "code")
_VARIANT = {"barcode": "barcode", "variant.name": "name", "options": "options"}


def changed(before: Product, row: BulkProduct, categories: Mapping[UUID, CategoryName]) -> Product:
    """The product with what the row gives. Variants that the row does not name stay as they are."""
    new = row.new
    values: dict[str, Any] = {name: getattr(new, name) for name in _PLAIN if row.gives(name)}
    if values.get("slug", "") is None:
        # Like a single update: the address follows the name, and only the name.
        del values["slug"]
        if values.get("name", before.name) != before.name:
            values["slug"] = slug_of(new.name)
    tax = {name: getattr(new.tax, name) for name in _TAX if row.gives(f"tax.{name}")}
    if row.gives("category_ids"):
        wanted = dict.fromkeys(new.category_ids)
        kept = {c.category_id for c in before.categories}
        if kept != set(wanted):
            values["categories"] = tuple(categories[category_id] for category_id in wanted)
    by_sku = {sku_key(variant.sku): variant for variant in new.variants if variant.sku}
    variants = tuple(
        _changed_variant(variant, by_sku[key], row) if (key := sku_key(variant.sku)) in by_sku else variant
        for variant in before.variants
    )
    return replace(before, **values, tax=replace(before.tax, **tax), variants=variants)


def _changed_variant(before: Variant, new: NewVariant, row: BulkProduct) -> Variant:
    values = {to: getattr(new, to) for field, to in _VARIANT.items() if row.gives(field)}
    prices = {
        name: getattr(new.price, name) for name in Price.__struct_fields__ if row.gives(f"price.{name}")
    }
    return replace(before, **values, price=replace(before.price, **prices))


def changes_of(before: Product, after: Product) -> tuple[FieldChange, ...]:
    """Field by field, what is other than before."""
    return tuple(_changes_of(before, after))


def _changes_of(before: Product, after: Product) -> Iterator[FieldChange]:
    sku = before.main.sku
    for name in _PLAIN:
        yield from _differing(sku, name, getattr(before, name), getattr(after, name))
    for name in _TAX:
        yield from _differing(sku, f"tax.{name}", getattr(before.tax, name), getattr(after.tax, name))
    yield from _differing(sku, "categories", _names(before.categories), _names(after.categories))
    for old, new in zip(before.variants, after.variants, strict=True):
        for field, name in _VARIANT.items():
            yield from _differing(old.sku, field, getattr(old, name), getattr(new, name))
        for name in Price.__struct_fields__:
            yield from _differing(
                old.sku, f"price.{name}", getattr(old.price, name), getattr(new.price, name)
            )


def _differing(sku: str, field: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if before != after:
        yield FieldChange(sku, field, before, after)


def _names(categories: Sequence[CategoryName]) -> list[str]:
    return sorted(category.name for category in categories)


def price_faults(price: Price, pointer: str) -> list[FieldFault]:
    """What is wrong with a price in itself: a promotion is cheaper, and ends after it begins."""
    faults = []
    if price.promo_minor is not None and price.promo_minor >= price.selling_minor:
        faults.append(FieldFault(f"{pointer}/promoPrice", "maximum", "Give less than the selling price."))
    if price.promo_starts_at and price.promo_ends_at and price.promo_ends_at <= price.promo_starts_at:
        faults.append(FieldFault(f"{pointer}/promoEndsAt", "minimum", "Give a time after the start."))
    return faults
