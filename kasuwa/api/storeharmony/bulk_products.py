"""Many products in one call, in StoreHarmony's words."""

from typing import Any

from msgspec import UNSET, structs

from kasuwa.api.storeharmony.contract import (
    CreateBulkProductsPath,
    StockBulkCreate,
    StockBulkItem,
    StockBulkResult,
    StockBulkRow,
    StockBulkRowError,
    StockItemCreate,
    StockItemWithVariantsCreate,
    StockPriceInput,
    StockTax,
    StockVariantInput,
)
from kasuwa.api.storeharmony.products import new_product, or_else, or_none
from kasuwa.api.storeharmony.service import api
from kasuwa.api.storeharmony.variants import new_product_with_variants
from kasuwa.base.context import Context
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct, BulkRow, OnDuplicate, Outcome, Unreadable
from kasuwa.domain.catalogue.records import NewProduct
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
    """The item as the body of the operation that makes one alone."""
    fields = {name: value for name, value in structs.asdict(item).items() if value is not UNSET}
    if item.variants is UNSET:
        return new_product(context, StockItemCreate(**fields), currency)
    return new_product_with_variants(context, StockItemWithVariantsCreate(**fields), currency)


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
        given |= {"options", *(_NAMES.get(name, name) for name in _fields(variant))}
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
