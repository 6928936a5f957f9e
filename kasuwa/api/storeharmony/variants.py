"""Products with variants in StoreHarmony's words."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from kasuwa.api.product_states import require_unchanged
from kasuwa.api.storeharmony.contract import (
    AddVariantsToExistingProductPath,
    AddVariantsToProductPath,
    CreateProductWithVariantsPath,
    GetProductVariantsPath,
    GetProductVariantsQuery,
    RemoveVariantsFromProductPath,
    StockItemWithVariantsCreate,
    StockOption,
    StockVariantInput,
    StockVariantsAdd,
    StockVariantsAppend,
    StockVariantsRemove,
)
from kasuwa.api.storeharmony.product_views import variant_views
from kasuwa.api.storeharmony.products import (
    item_id,
    openings_of,
    or_else,
    or_none,
    price_of,
    product_fields,
    read_item,
    some_quantity,
)
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.cursors import wrong_cursor
from kasuwa.base.http.api import Exchange
from kasuwa.base.ids import read_id, read_number
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.catalogue.queries import read_products, read_stock
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, OptionValue, ProductOption
from kasuwa.domain.catalogue.variants import add_variants, remove_variants
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import currency_of

Json = dict[str, Any]


@api.operation("createProductWithVariants")
async def create_product_with_variants(
    context: Context, path: CreateProductWithVariantsPath, body: StockItemWithVariantsCreate
) -> Json:
    new = new_product_with_variants(context, body, await currency_of(context))
    product = await create_product(context, new)
    return await read_item(context, product.product_id)


@api.operation("addVariantsToProduct")
async def add_variants_to_product(
    context: Context, exchange: Exchange, path: AddVariantsToProductPath, body: StockVariantsAdd
) -> Json:
    product_id = item_id(path.itemid)
    new = read_variants(context, body.variants, await currency_of(context))
    options = read_options(or_else(body.options, []))
    async with context.transaction():
        await require_unchanged(context, exchange, product_id)
        await add_variants(context, product_id, new, options=options, version=or_none(body.version))
        return await read_item(context, product_id)


@api.operation("addVariantsToExistingProduct")
async def add_variants_to_existing_product(
    context: Context, exchange: Exchange, path: AddVariantsToExistingProductPath, body: StockVariantsAppend
) -> Json:
    product_id = item_id(path.itemid)
    new = read_variants(context, body.variants, await currency_of(context))
    async with context.transaction() as db:
        await require_unchanged(context, exchange, product_id)
        added = await add_variants(context, product_id, new, version=or_none(body.version))
        stock = await read_stock(db, [product_id])
    may_see_cost = context.may(Permission.STOCK_COST)
    shown = variant_views(added.product, stock, context.store_id, with_cost=may_see_cost)
    ids = {variant.variant_id for variant in added.variants}
    return {"itemId": product_id, "data": [view for view in shown if view["variantId"] in ids]}


@api.operation("removeVariantsFromProduct")
async def remove_variants_from_product(
    context: Context, exchange: Exchange, path: RemoveVariantsFromProductPath, body: StockVariantsRemove
) -> Json:
    product_id = item_id(path.itemid)
    async with context.transaction():
        await require_unchanged(context, exchange, product_id)
        await remove_variants(
            context,
            product_id,
            [read_id(text) for text in body.variantIds],
            on_remaining=or_else(body.onRemainingStock, "reject"),
            note=or_else(body.note, ""),
            version=or_none(body.version),
        )
        return await read_item(context, product_id)


@api.operation("getProductVariants")
async def get_product_variants(
    context: Context, path: GetProductVariantsPath, query: GetProductVariantsQuery
) -> Json:
    """A page by position. The cursor is the position after which it goes on."""
    after = _read_cursor(query.cursor)
    product_id = item_id(path.itemid)
    async with context.reading() as db:
        products = await read_products(db, [product_id])
        if not products:
            raise ProductNotFound()
        stock = await read_stock(db, [product_id])
    product = products[0]
    sold = product.variants if product.kind == "variant" else ()
    skipped = (
        (query.page - 1) * query.size if after is None else sum(variant.position <= after for variant in sold)
    )
    shown = variant_views(product, stock, context.store_id, with_cost=context.may(Permission.STOCK_COST))
    end = skipped + query.size
    return {
        "data": shown[skipped:end],
        "page": query.page,
        "size": query.size,
        "totalElements": len(sold),
        "totalPages": -(-len(sold) // query.size),
        "totalExact": True,
        "nextCursor": str(sold[end - 1].position) if end < len(sold) else None,
        "itemId": product_id,
        "options": product.options,
    }


def new_product_with_variants(
    context: Context, body: StockItemWithVariantsCreate, currency: str
) -> NewProduct:
    """The product as it was sent, without a look at the database. Its variants still have to be arranged."""
    own = OpeningStock(
        context.store_id,
        reorder_level=some_quantity(body.reorderLevel, "/reorderLevel"),
        reorder_quantity=some_quantity(body.reorderQuantity, "/reorderQuantity"),
    )
    main = NewVariant(
        price=price_of(body.prices, currency),
        sku=or_none(body.sku),
        barcode=or_none(body.barcode),
        opening=(own,),
    )
    return NewProduct(
        kind="variant",
        options=read_options(body.options),
        main=main,
        variants=read_variants(context, body.variants, currency),
        **product_fields(body),
    )


def read_options(options: Sequence[StockOption]) -> tuple[ProductOption, ...]:
    return tuple(ProductOption(option.name, tuple(option.values)) for option in options)


def read_variants(
    context: Context, variants: Sequence[StockVariantInput], currency: str
) -> tuple[NewVariant, ...]:
    return tuple(
        _read_variant(context, variant, f"/variants/{place}", currency)
        for place, variant in enumerate(variants)
    )


def _read_variant(context: Context, variant: StockVariantInput, pointer: str, currency: str) -> NewVariant:
    return NewVariant(
        price=None if variant.prices is UNSET else price_of(variant.prices, currency, f"{pointer}/prices"),
        sku=or_none(variant.sku),
        barcode=or_none(variant.barcode),
        options=tuple(OptionValue(option.name, option.value) for option in variant.options),
        image_position=or_none(variant.imagePosition),
        active=variant.active,
        opening=openings_of(context, variant, pointer),
    )


def _read_cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    position = read_number(cursor)
    if position is None:
        raise wrong_cursor()
    return position
