"""Products in BigCommerce's words: reading, creating and deleting them."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from kasuwa.api.bigcommerce.contract import (
    CreateProductQuery,
    DeleteProductPath,
    DeleteProductsQuery,
    GetProductPath,
    GetProductQuery,
    GetProductsQuery,
    UpdateProductPath,
    UpdateProductQuery,
    UpdateProductsQuery,
)
from kasuwa.api.bigcommerce.product_changes import (
    Sent,
    Unsaved,
    change_product,
    keep_images,
    make_product,
    read_product,
)
from kasuwa.api.bigcommerce.product_lists import filter_of, wish_of
from kasuwa.api.bigcommerce.product_views import included, listed_product, listed_view, product_view
from kasuwa.api.bigcommerce.service import api
from kasuwa.api.bigcommerce.views import Json, fields_of, one, page_of, pagination
from kasuwa.api.product_states import product_state, refuse_if_changed, require_unchanged
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange, RawJson
from kasuwa.base.http.contract import encode
from kasuwa.base.pages import Page
from kasuwa.base.problems import FieldFault, Invalid, Problem
from kasuwa.domain.catalogue.actions import remove_product, share_category_tree
from kasuwa.domain.catalogue.lists import ListedProduct, list_products
from kasuwa.domain.catalogue.queries import get_product_id, read_products, read_stock
from kasuwa.domain.catalogue.records import PageWish, Product, ProductFilter
from kasuwa.domain.permissions import Permission

_MOST_DELETED = 250


@api.operation("getProducts")
async def get_products(context: Context, exchange: Exchange, query: GetProductsQuery) -> Any:
    wish = wish_of(query)
    page = await list_products(context, "bigcommerce", filter_of(query), wish)
    parameters = exchange.request.url.query
    if query.include is None and query.include_fields is None and query.exclude_fields is None:
        facts = pagination(
            len(page.rows), total=page.total, page=wish.page, limit=wish.size, query=parameters
        )
        rows = b",".join(listed_product(row) for row in page.rows)
        return RawJson(b'{"data":[' + rows + b'],"meta":' + encode(facts) + b"}")
    parts = await _included_in(context, page, query.include or [])
    views = [
        fields_of(listed_view(row) | parts.get(row.number, {}), query.include_fields, query.exclude_fields)
        for row in page.rows
    ]
    return page_of(views, total=page.total, page=wish.page, limit=wish.size, query=parameters)


@api.operation("createProduct", read=read_product)
async def create_product(context: Context, query: CreateProductQuery, body: Sent) -> Answer:
    """With images that could not be had the product is saved all the same, and the answer names them."""
    kept = await keep_images(context, [body])
    async with context.transaction():
        product = await make_product(context, body, kept[0].good)
        view = await _view(context, product, query.include_fields, with_images=body.has_images)
    return _answer([view], kept[0].faults) if kept[0].faults else Answer(one(view))


@api.operation("getProduct")
async def get_product(context: Context, path: GetProductPath, query: GetProductQuery) -> Answer:
    async with context.reading() as db:
        product_id = await get_product_id(db, number=path.product_id)
        (product,) = await read_products(db, [product_id])
        stock = await read_stock(db, [product_id], context.store_id)
    view = product_view(product.at(context.store_id), stock, with_cost=context.may(Permission.STOCK_COST))
    view |= included(product, query.include or [], context.url_base)
    shown = one(fields_of(view, query.include_fields, query.exclude_fields))
    return Answer(shown, state=product_state(context, product, stock))


@api.operation("updateProduct", read=read_product)
async def update_product(
    context: Context, exchange: Exchange, path: UpdateProductPath, query: UpdateProductQuery, body: Sent
) -> Answer:
    async with context.reading() as db:
        product_id = await get_product_id(db, number=path.product_id)
    await refuse_if_changed(context, exchange, product_id)
    kept = await keep_images(context, [body])
    async with context.transaction():
        await require_unchanged(context, exchange, product_id)
        product = await change_product(context, path.product_id, body, kept[0].good)
        view = await _view(context, product, query.include_fields, with_images=body.has_images)
    return _answer([view], kept[0].faults) if kept[0].faults else Answer(one(view))


@api.operation("updateProducts", read=read_product)
async def update_products(context: Context, query: UpdateProductsQuery, body: list[Sent]) -> Answer:
    """Each product is changed by itself; the answer names those that were not."""
    kept = await keep_images(context, body)
    views: list[Json] = []
    unsaved: list[Unsaved] = []
    async with context.transaction() as db:
        # Before the first product is locked, and once for all of them.
        if any(sent.facts.categories is not UNSET for sent in body):
            await share_category_tree(db)
        for index, (sent, images) in enumerate(zip(body, kept, strict=True)):
            assert sent.number is not None
            try:
                async with context.attempt():
                    product = await change_product(context, sent.number, sent, images.good)
                    views.append(
                        await _view(context, product, query.include_fields, with_images=sent.has_images)
                    )
            except Problem as problem:
                unsaved.append(Unsaved.of(problem, f"{index}"))
            unsaved += [fault.within(f"{index}") for fault in images.faults]
        if not views:
            # Nothing was saved: then it is the first one's error.
            raise unsaved[0].problem(unsaved)
    return _answer(views, unsaved) if unsaved else Answer({"data": views, "meta": {}})


@api.operation("deleteProduct")
async def delete_product(context: Context, exchange: Exchange, path: DeleteProductPath) -> None:
    async with context.transaction() as db:
        product_id = await get_product_id(db, number=path.product_id)
        await require_unchanged(context, exchange, product_id)
        await remove_product(context, product_id, on_remaining="write_off")


@api.operation("deleteProducts")
async def delete_products(context: Context, exchange: Exchange, query: DeleteProductsQuery) -> None:
    """At most 250 at a time. A filter that is not understood must never delete more than was meant."""
    wanted = filter_of(query)
    unknown = sorted({name for name, _ in exchange.request.query_params.multi_items()} - _DELETE_FILTERS)
    if unknown:
        raise Invalid(
            faults=[
                FieldFault(f"#/query/{name}", "unknown", "Nothing can be deleted by this.")
                for name in unknown
            ]
        )
    if wanted == ProductFilter(statuses=wanted.statuses) or query.id_in == []:
        raise Invalid(
            "Name what is to be deleted: without a filter nothing is.",
            faults=[FieldFault("#/query/id:in", "required", "Give at least one filter.")],
        )
    async with context.transaction():
        page = await list_products(
            context, "bigcommerce", wanted, PageWish(sort="number", size=_MOST_DELETED, any_depth=True)
        )
        for row in page.rows:
            await remove_product(context, row.product_id, on_remaining="write_off")


_DELETE_FILTERS = frozenset(("id:in", "name", "sku", "is_visible", "brand_id"))


async def _view(
    context: Context, product: Product, include_fields: list[str] | None, *, with_images: bool
) -> Json:
    async with context.reading() as db:
        stock = await read_stock(db, [product.product_id], context.store_id)
    view = product_view(product.at(context.store_id), stock, with_cost=context.may(Permission.STOCK_COST))
    view |= included(product, ["images"] if with_images else [], context.url_base)
    return fields_of(view, include_fields, None)


async def _included_in(
    context: Context, page: Page[ListedProduct], include: Sequence[str]
) -> dict[int, Json]:
    if not {"images", "primary_image"} & set(include):
        return {}
    async with context.reading() as db:
        products = await read_products(db, [row.product_id for row in page.rows])
    return {product.number: included(product, include, context.url_base) for product in products}


def _answer(views: list[Json], unsaved: list[Unsaved]) -> Answer:
    """207: what was saved, and what was not."""
    meta = pagination(len(views), total=len(views), page=1, limit=max(1, len(views)), query="")
    return Answer({"data": views, "errors": unsaved[0].partial(unsaved), "meta": meta}, status=207)
