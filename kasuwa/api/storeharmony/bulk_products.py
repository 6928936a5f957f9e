"""Many products in one call, in StoreHarmony's words."""

from typing import Any

from msgspec import UNSET

from kasuwa.api.storeharmony.contract import (
    CreateBulkProductsPath,
    StockBulkCreate,
    StockBulkItem,
    StockBulkResult,
    StockBulkRow,
    StockBulkRowError,
    StockPriceInput,
    StockTax,
    StockVariantInput,
)
from kasuwa.api.storeharmony.products import new_product, openings_of, or_else, or_none, price_of
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct, BulkRow, OnDuplicate, Outcome, Unreadable
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OptionValue
from kasuwa.domain.stores.queries import currency_of

_ON_DUPLICATE: dict[str, OnDuplicate] = {"fail_row": "fail", "skip": "skip", "update": "update"}


@api.operation("createBulkProducts")
async def create_bulk_products(
    context: Context, path: CreateBulkProductsPath, body: StockBulkCreate
) -> StockBulkResult:
    currency = await currency_of(context)
    rows = [_row(context, item, currency) for item in body.items]
    outcomes = await write_products(
        context, rows, on_duplicate=_ON_DUPLICATE[body.onDuplicateSku], atomic=body.atomic
    )
    return _result(outcomes)


def _row(context: Context, item: StockBulkItem, currency: str) -> BulkRow:
    try:
        return BulkProduct(new=_new(context, item, currency), given=_given(item))
    except Invalid as problem:
        faults = problem.faults or (FieldFault("", problem.code, problem.detail or problem.title),)
        return Unreadable(faults, or_none(item.sku))


def _new(context: Context, item: StockBulkItem, currency: str) -> NewProduct:
    simple = new_product(context, item, currency)
    if item.variants is UNSET:
        return simple
    variants = tuple(
        _variant(context, item, variant, currency, place) for place, variant in enumerate(item.variants)
    )
    return NewProduct(
        name=simple.name,
        kind="variant",
        variants=variants,
        description=simple.description,
        brand=simple.brand,
        unit=simple.unit,
        tags=simple.tags,
        category_ids=simple.category_ids,
        tax=simple.tax,
        track_quantity=simple.track_quantity,
        visible_online=simple.visible_online,
        weight_grams=simple.weight_grams,
        expiry_date=simple.expiry_date,
    )


def _variant(
    context: Context, item: StockBulkItem, variant: StockVariantInput, currency: str, place: int
) -> NewVariant:
    pointer = f"/variants/{place}"
    own = variant.prices is not UNSET
    prices = item.prices if variant.prices is UNSET else variant.prices
    return NewVariant(
        price=price_of(prices, currency, f"{pointer}/prices" if own else "/prices"),
        sku=or_none(variant.sku),
        barcode=or_none(variant.barcode),
        name=" / ".join(option.value for option in variant.options),
        options=tuple(OptionValue(option.name, option.value) for option in variant.options),
        opening=openings_of(context, variant, pointer),
    )


# Fields of the body and what they are called in the domain, where they differ.
_NAMES = {
    "categoryIds": "category_ids",
    "trackQuantity": "track_quantity",
    "visibleOnline": "visible_online",
    "weightGrams": "weight_grams",
    "expiryDate": "expiry_date",
    "reorderLevel": "reorder_level",
    "reorderQuantity": "reorder_quantity",
}
_PRICES = {
    "costPrice": "cost_minor",
    "sellingPrice": "selling_minor",
    "promoPrice": "promo_minor",
    "promoStartsAt": "promo_starts_at",
    "promoEndsAt": "promo_ends_at",
    "wholesalePrice": "wholesale_minor",
    "wholesaleMinQuantity": "wholesale_min_quantity",
}
_TAX = {"taxable": "taxable", "taxRate": "rate", "vatType": "vat_type", "taxCode": "code"}


def _given(item: StockBulkItem) -> frozenset[str]:
    """What the item says, for a product that is there already: the rest of it stays."""
    given = {_NAMES.get(name, name) for name in _fields(item)}
    prices: list[StockPriceInput] = [item.prices]
    for variant in or_else(item.variants, []):
        given |= {"options", "variant.name", *(_NAMES.get(name, name) for name in _fields(variant))}
        if variant.prices is not UNSET:
            prices.append(variant.prices)
    given |= {f"price.{_PRICES[name]}" for one in prices for name in _fields(one)}
    if item.tax is not UNSET:
        given |= {f"tax.{_TAX[name]}" for name in _fields(item.tax)}
    return frozenset(given)


def _fields(body: StockBulkItem | StockVariantInput | StockPriceInput | StockTax) -> list[str]:
    """The fields that came."""
    values: Any = {name: getattr(body, name) for name in body.__struct_fields__}
    return [name for name, value in values.items() if value is not UNSET]


def _result(outcomes: list[Outcome]) -> StockBulkResult:
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("created", "updated", "skipped", "failed")
    }
    rows = [
        StockBulkRow(
            index=index,
            status=outcome.status,
            itemId=None if outcome.product_id is None else str(outcome.product_id),
            sku=outcome.sku,
            errors=[_error(fault) for fault in outcome.faults],
        )
        for index, outcome in enumerate(outcomes)
    ]
    return StockBulkResult(total=len(outcomes), rows=rows, **counts)


def _error(fault: FieldFault) -> StockBulkRowError:
    return StockBulkRowError(field=fault.field or UNSET, message=fault.message)
