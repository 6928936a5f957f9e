"""Products in StoreHarmony's words."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from msgspec import UNSET, UnsetType

from kasuwa.api.product_states import product_state, require_unchanged
from kasuwa.api.storeharmony.contract import (
    CreateSimpleProductPath,
    FindBySKUQuery,
    GetInventoryStockItemsQuery,
    GetProductByItemIdPath,
    RemoveProductByItemIdPath,
    StockItemCreate,
    StockItemCreateLocationQuantitiesItem,
    StockItemRemoved,
    StockItemUpdate,
    StockItemWithVariantsCreate,
    StockPriceInput,
    StockTax,
    StockVariantInput,
    StockVariantInputLocationQuantitiesItem,
    UpdateProductByItemIdPath,
)
from kasuwa.api.storeharmony.product_views import full_item, listed_item, live_format
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange, RawJson
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.base.money import to_minor
from kasuwa.base.pages import Page
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.actions import (
    ProductChange,
    create_product,
    remove_product,
    update_product,
)
from kasuwa.domain.catalogue.bulk_changes import price_faults
from kasuwa.domain.catalogue.errors import ProductNotFound, UnknownCategory, UnknownLocation
from kasuwa.domain.catalogue.lists import ListedProduct, PutTogether, list_products, put_page_together
from kasuwa.domain.catalogue.queries import find_sku, read_products, read_stock
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    PageWish,
    Price,
    ProductFilter,
    SortKey,
    StockLevel,
    Tax,
)
from kasuwa.domain.inventory.actions import set_reorder
from kasuwa.domain.media.actions import arrange_pictures
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import currency_of

T = TypeVar("T")
_AtLocation = StockItemCreateLocationQuantitiesItem | StockVariantInputLocationQuantitiesItem

_SORTS: dict[str, SortKey] = {
    "name": "name",
    "sku": "sku",
    "updatedAt": "updated_at",
    "quantity": "quantity",
}


@api.operation("createSimpleProduct")
async def create_simple_product(
    context: Context, path: CreateSimpleProductPath, body: StockItemCreate
) -> dict[str, Any]:
    currency = await currency_of(context)
    product = await create_product(context, new_product(context, body, currency))
    return await read_item(context, product.product_id)


@api.operation("getProductByItemId")
async def get_product_by_item_id(context: Context, path: GetProductByItemIdPath) -> Answer:
    return await answered(context, item_id(path.itemid))


@api.operation("updateProductByItemId")
async def update_product_by_item_id(
    context: Context, exchange: Exchange, path: UpdateProductByItemIdPath, body: StockItemUpdate
) -> Answer:
    product_id = item_id(path.itemid)
    async with context.transaction():
        await require_unchanged(context, exchange, product_id)
        product = await update_product(context, product_id, _change(body), version=or_none(body.version))
        if body.reorderLevel is not UNSET or body.reorderQuantity is not UNSET:
            await set_reorder(
                context, product.main.variant_id, level=body.reorderLevel, quantity=body.reorderQuantity
            )
        if body.imageOrder is not UNSET or body.removeImageIds is not UNSET:
            remove = [item_id(text) for text in or_else(body.removeImageIds, [])]
            await arrange_pictures(context, product_id, remove=remove, order=or_else(body.imageOrder, []))
        return await answered(context, product_id)


@api.operation("removeProductByItemId")
async def remove_product_by_item_id(
    context: Context, exchange: Exchange, path: RemoveProductByItemIdPath
) -> StockItemRemoved:
    product_id = item_id(path.itemid)
    async with context.transaction():
        await require_unchanged(context, exchange, product_id)
        removal = await remove_product(context, product_id)
    return StockItemRemoved(itemId=str(removal.product_id), status=removal.status, removedAt=removal.at)


@api.operation("findBySKU")
async def find_by_sku(context: Context, query: FindBySKUQuery) -> dict[str, Any]:
    async with context.reading() as db:
        found = await find_sku(db, query.sku)
    if found is None:
        raise ProductNotFound()
    product_id, variant_id = found
    item = await read_item(context, product_id)
    is_of_variant = any(variant["variantId"] == variant_id for variant in item["variants"])
    return item | {"matchedVariantId": variant_id if is_of_variant else None}


@api.operation("getInventoryStockItems")
async def get_inventory_stock_items(context: Context, query: GetInventoryStockItemsQuery) -> RawJson:
    category_id = None if query.categoryid is None else read_id(query.categoryid) or UUID(int=0)
    wanted = ProductFilter(
        statuses=(query.status,),
        text=query.search or None,
        category_id=category_id,
        low_stock=query.lowstock,
        updated_from=query.updatedsince,
    )
    wish = PageWish(
        sort=_SORTS[query.sort.lstrip("-")],
        descending=query.sort.startswith("-"),
        page=query.page,
        size=query.size,
        cursor=query.cursor,
    )
    if wanted.is_plain:
        together = await put_page_together(
            context, "storeharmony", query.status, wish, live_format(context.store_id)
        )
        if together is not None:
            return RawJson(enveloped(together.data, together, total_is_exact=True))
    page = await list_products(context, "storeharmony", wanted, wish)
    return RawJson(await _page(context, page))


async def read_item(context: Context, product_id: UUID) -> dict[str, Any]:
    """The product with the figures of the caller's store and of the account's other stores."""
    item: dict[str, Any] = (await answered(context, product_id)).body
    return item


async def answered(context: Context, product_id: UUID) -> Answer:
    """The same, with the ETag that If-Match takes."""
    async with context.reading() as db:
        products = await read_products(db, [product_id])
        if not products:
            raise ProductNotFound()
        stock = await read_stock(db, [product_id])
    may_see_cost = context.may(Permission.STOCK_COST)
    item = full_item(products[0], stock, context.store_id, with_cost=may_see_cost)
    return Answer(item, state=product_state(context, products[0], stock))


def item_id(text: str) -> UUID:
    """The id of a product; what is no UUID is as unknown as any other."""
    found = read_id(text)
    if found is None:
        raise ProductNotFound()
    return found


async def _page(context: Context, page: Page[ListedProduct]) -> bytes:
    """The envelope around the rows. A product with variants shows each one's stock, which no card knows."""
    with_variants = [row.product_id for row in page.rows if row.has_variants]
    full: dict[UUID, bytes] = {}
    if with_variants:
        levels: dict[UUID, list[StockLevel]] = {}
        async with context.reading() as db:
            for level in await read_stock(db, with_variants):
                levels.setdefault(level.product_id, []).append(level)
            products = await read_products(db, with_variants)
        for product in products:
            stock = levels.get(product.product_id, [])
            item = full_item(product, stock, context.store_id, with_cost=context.may(Permission.STOCK_COST))
            full[product.product_id] = encode(item)
    rows = b",".join(full.get(row.product_id) or listed_item(row, context.store_id) for row in page.rows)
    return enveloped(rows, page, total_is_exact=page.total_is_exact)


def enveloped(rows: bytes, page: Page[ListedProduct] | PutTogether, *, total_is_exact: bool) -> bytes:
    facts = encode(
        {
            "page": page.page,
            "size": page.size,
            "totalElements": page.total,
            "totalPages": page.pages,
            "totalExact": total_is_exact,
            "nextCursor": page.next_cursor,
        }
    )
    return b'{"data":[' + rows + b"]," + facts[1:]


def new_product(context: Context, body: StockItemCreate, currency: str) -> NewProduct:
    variant = NewVariant(
        price=price_of(body.prices, currency),
        sku=or_none(body.sku),
        barcode=or_none(body.barcode),
        opening=openings_of(context, body),
    )
    return NewProduct(variants=(variant,), **product_fields(body))


def product_fields(body: StockItemCreate | StockItemWithVariantsCreate) -> dict[str, Any]:
    """What a product with variants and one without are told alike."""
    return {
        "name": body.name,
        "description": or_none(body.description),
        "brand": or_none(body.brand),
        "unit": or_else(body.unit, "each"),
        "tags": tuple(or_else(body.tags, [])),
        "category_ids": _category_ids(or_else(body.categoryIds, [])),
        "tax": _tax(body.tax) if body.tax is not UNSET else Tax(),
        "track_quantity": body.trackQuantity,
        "visible_online": body.visibleOnline,
        "weight_grams": or_none(body.weightGrams),
        "expiry_date": or_none(body.expiryDate),
    }


def _change(body: StockItemUpdate) -> ProductChange:
    """The fields of the body that are fields of the product."""
    change: dict[str, Any] = {
        "name": body.name,
        "sku": body.sku,
        "barcode": body.barcode,
        "description": body.description,
        "brand": body.brand,
        "unit": body.unit,
        "track_quantity": body.trackQuantity,
        "visible_online": body.visibleOnline,
        "weight_grams": body.weightGrams,
        "expiry_date": body.expiryDate,
        "status": body.status,
    }
    if body.tags is not UNSET:
        change["tags"] = tuple(body.tags)
    if body.categoryIds is not UNSET:
        change["category_ids"] = _category_ids(body.categoryIds)
    if body.tax is not UNSET:
        change["tax"] = _tax(body.tax)
    return ProductChange(**change)


def openings_of(
    context: Context, body: StockItemCreate | StockVariantInput, pointer: str = ""
) -> tuple[OpeningStock, ...]:
    """What lies at the caller's store and at the others. Raises Invalid, UnknownLocation."""
    to_order = UNSET if isinstance(body, StockVariantInput) else body.reorderQuantity
    opening = [
        OpeningStock(
            context.store_id,
            _quantity(body.quantity, f"{pointer}/quantity"),
            some_quantity(body.reorderLevel, f"{pointer}/reorderLevel"),
            some_quantity(to_order, f"{pointer}/reorderQuantity"),
            pointer=pointer,
        )
    ]
    seen = {UUID(int=context.store_id.int)}
    others: Sequence[_AtLocation] = or_else(body.locationQuantities, [])
    for index, other in enumerate(others):
        place = f"{pointer}/locationQuantities/{index}"
        store_id = read_id(other.storeId)
        if store_id is None or store_id in seen:
            fault = FieldFault(
                f"{place}/storeId", "unknown", "Name each other location of this account once."
            )
            raise UnknownLocation(faults=[fault])
        seen.add(store_id)
        opening.append(
            OpeningStock(
                store_id,
                _quantity(other.quantity, f"{place}/quantity"),
                some_quantity(other.reorderLevel, f"{place}/reorderLevel"),
                pointer=place,
            )
        )
    return tuple(opening)


def price_of(prices: StockPriceInput, currency: str, pointer: str = "/prices") -> Price:
    def minor(amount: Decimal | UnsetType | None, field: str) -> int | None:
        if amount is None or amount is UNSET:
            return None
        return to_minor(amount, currency, f"{pointer}/{field}")

    price = Price(
        currency=currency,
        selling_minor=to_minor(prices.sellingPrice, currency, f"{pointer}/sellingPrice"),
        cost_minor=minor(prices.costPrice, "costPrice"),
        promo_minor=minor(prices.promoPrice, "promoPrice"),
        promo_starts_at=or_none(prices.promoStartsAt),
        promo_ends_at=or_none(prices.promoEndsAt),
        wholesale_minor=minor(prices.wholesalePrice, "wholesalePrice"),
        wholesale_min_quantity=some_quantity(prices.wholesaleMinQuantity, f"{pointer}/wholesaleMinQuantity"),
    )
    check_promotion(price, pointer)
    return price


def check_promotion(price: Price, pointer: str = "/prices") -> None:
    """A promotion is cheaper, and ends after it begins; who buys many does not pay more for each."""
    faults = price_faults(price, pointer)
    if faults:
        raise Invalid(faults=faults)


def _tax(tax: StockTax) -> Tax:
    return Tax(tax.taxable, or_none(tax.taxRate), or_none(tax.vatType), or_none(tax.taxCode))


def _category_ids(texts: list[str]) -> tuple[UUID, ...]:
    ids = [read_id(text) for text in texts]
    if None in ids:
        fault = FieldFault(f"/categoryIds/{ids.index(None)}", "unknown", "Name categories of this account.")
        raise UnknownCategory(faults=[fault])
    return tuple(found for found in ids if found is not None)


def _quantity(value: Decimal, pointer: str) -> Decimal:
    if value != round(value, 3):
        raise Invalid(faults=[FieldFault(pointer, "decimals", "Give at most three decimals.")])
    return value


def some_quantity(value: Decimal | UnsetType | None, pointer: str) -> Decimal | None:
    return None if value is None or value is UNSET else _quantity(value, pointer)


def or_else(value: T | UnsetType, default: T) -> T:
    return default if value is UNSET else value


def or_none(value: T | UnsetType | None) -> T | None:
    return None if value is UNSET else value
