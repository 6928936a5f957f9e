"""What a row changes of a product that is there already. No database: the same for a file and for a call."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.actions import slug_of
from kasuwa.domain.catalogue.bulk_records import BulkProduct, FieldChange
from kasuwa.domain.catalogue.choices import widen_options
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
_VARIANT = {"barcode": "barcode", "variant.name": "name", "active": "active"}


def changed(before: Product, row: BulkProduct, categories: Mapping[UUID, CategoryName]) -> Product:
    """The product with what the row gives. Variants that the row does not name stay as they are."""
    new = row.new
    values: dict[str, Any] = {
        name: getattr(new, name)
        for name in _PLAIN
        # Spreadsheets save a text with line breaks of their own.
        if row.gives(name) and _lines(getattr(new, name)) != _lines(getattr(before, name))
    }
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
    if new.options:
        values["options"] = widen_options(before.options, new.options)
    main = _changed_main(before.main, row)
    by_sku = {sku_key(variant.sku): variant for variant in new.variants if variant.sku}
    variants = tuple(
        _changed_variant(variant, by_sku.get(sku_key(variant.sku)), row, main.price)
        for variant in before.variants
    )
    if before.kind == "simple":
        variants = (main,)
    return replace(before, **values, tax=replace(before.tax, **tax), main=main, variants=variants)


def _lines(value: Any) -> Any:
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def sold(product: Product) -> tuple[Variant, ...]:
    """Everything that has a SKU: of a product with variants itself first."""
    return product.variants if product.kind == "simple" else (product.main, *product.variants)


def _changed_main(before: Variant, row: BulkProduct) -> Variant:
    new = row.sold[0]
    values: dict[str, Any] = {to: getattr(new, to) for field, to in _VARIANT.items() if row.gives(field)}
    if row.new.main is None and row.new.kind == "variant":
        return before
    if row.new.kind == "variant":
        values = {name: value for name, value in values.items() if name == "barcode"}
    return replace(before, **values, price=_changed_price(before.price, row.main_price, row))


def _changed_variant(before: Variant, new: NewVariant | None, row: BulkProduct, main_price: Price) -> Variant:
    """A variant that the row names; one without a price of its own follows the product's."""
    values: dict[str, Any] = {}
    if new is not None:
        values = {to: getattr(new, to) for field, to in _VARIANT.items() if row.gives(field)}
        # Without a name of its own it keeps the one that is made of its options.
        if values.get("name") == "":
            del values["name"]
    if new is not None and new.price is not None:
        values |= {"price": _changed_price(before.price, new.price, row), "own_price": True}
    elif not before.own_price:
        values["price"] = main_price
    return replace(before, **values)


def _changed_price(before: Price, new: Price, row: BulkProduct) -> Price:
    prices = {name: getattr(new, name) for name in Price.__struct_fields__ if row.gives(f"price.{name}")}
    return replace(before, **prices)


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
    yield from _differing(sku, "options", before.options, after.options)
    for old, new in zip(sold(before), sold(after), strict=True):
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
    """What is wrong with a price in itself: a promotion is cheaper, and ends after it begins; who buys many
    does not pay more for each."""
    faults = []
    if price.wholesale_minor is not None and price.wholesale_minor > price.selling_minor:
        faults.append(FieldFault(f"{pointer}/wholesalePrice", "maximum", "Give at most the selling price."))
    if price.promo_minor is not None and price.promo_minor >= price.selling_minor:
        faults.append(FieldFault(f"{pointer}/promoPrice", "maximum", "Give less than the selling price."))
    if price.promo_starts_at and price.promo_ends_at and price.promo_ends_at <= price.promo_starts_at:
        faults.append(FieldFault(f"{pointer}/promoEndsAt", "minimum", "Give a time after the start."))
    return faults
