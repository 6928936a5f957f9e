"""The search over the inventory, in StoreHarmony's words."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from msgspec import UNSET

from kasuwa.api.storeharmony.contract import GetProductsWithComplexQueryPath, StockQuery, StockQueryFilter
from kasuwa.api.storeharmony.product_views import full_item, listed_item, live_figures
from kasuwa.api.storeharmony.products import enveloped
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import RawJson
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.base.money import from_minor
from kasuwa.domain.catalogue import stock_query
from kasuwa.domain.catalogue.conditions import Condition
from kasuwa.domain.catalogue.facets import Facet, Facets, FacetValue
from kasuwa.domain.catalogue.lists import ListedProduct
from kasuwa.domain.catalogue.queries import read_products, read_stock
from kasuwa.domain.permissions import Permission

Json = dict[str, Any]


@api.operation("getProductsWithComplexQuery")
async def get_products_with_complex_query(
    context: Context, path: GetProductsWithComplexQueryPath, body: StockQuery
) -> RawJson:
    found = await stock_query.query_stock(context, "storeharmony", _wanted(body))
    store_id = found.store_ids[0] if len(found.store_ids) == 1 else context.store_id
    rows = await _rows(
        context, found.page.rows, found.store_ids, store_id, with_variants=body.includeVariants
    )
    content = enveloped(b",".join(rows), found.page, total_is_exact=found.page.total_is_exact)
    if found.facets is not None:
        content = content[:-1] + b',"facets":' + encode(_facets(found.facets, found.currency)) + b"}"
    return RawJson(content)


def _wanted(body: StockQuery) -> stock_query.StockQuery:
    return stock_query.StockQuery(
        text="" if body.text is UNSET else body.text,
        conditions=tuple(_condition(one) for one in (() if body.filters is UNSET else body.filters)),
        any_of=body.match == "any",
        with_subcategories=body.includeSubcategories,
        store_ids=tuple(read_id(text) for text in (() if body.storeIds is UNSET else body.storeIds)),
        orders=tuple(
            stock_query.Order(one.field, one.direction == "desc")
            for one in (() if body.sort is UNSET else body.sort)
        ),
        page=body.page,
        size=body.size,
        cursor=None if body.cursor is UNSET else body.cursor,
        facets=() if body.facets is UNSET else cast("tuple[Facet, ...]", tuple(body.facets)),
    )


def _condition(sent: StockQueryFilter) -> Condition:
    several = sent.op in ("in", "nin", "between")
    values = sent.values if several else [sent.value]
    return Condition(
        field=sent.field,
        operator=sent.op,
        values=() if values is UNSET else tuple(values),
        option_name="" if sent.optionName is UNSET else sent.optionName,
    )


async def _rows(
    context: Context,
    rows: Sequence[ListedProduct],
    store_ids: tuple[UUID, ...],
    store_id: UUID,
    *,
    with_variants: bool,
) -> list[bytes]:
    """Cards with the stock of the stores that were asked for; variants show each location's own."""
    full: dict[UUID, Json] = {}
    several = [row.product_id for row in rows if row.has_variants] if with_variants else []
    if several:
        with_cost = context.may(Permission.STOCK_COST)
        async with context.reading() as db:
            stock = await read_stock(db, several)
            for product in await read_products(db, several):
                levels = [level for level in stock if level.product_id == product.product_id]
                full[product.product_id] = full_item(product, levels, store_id, with_cost=with_cost)
    return [_row(row, full.get(row.product_id), store_id) for row in rows]


def _row(row: ListedProduct, full: Json | None, store_id: UUID) -> bytes:
    if full is None:
        return listed_item(row, store_id)
    return encode(full | live_figures(row, store_id))


def _facets(facets: Facets, currency: str) -> Json:
    view: Json = {"complete": facets.complete}
    if facets.categories is not None:
        view["category"] = [
            {"categoryId": one.category_id, "name": one.value, "count": one.count}
            for one in facets.categories
        ]
    if facets.brands is not None:
        view["brand"] = _values(facets.brands)
    if facets.tags is not None:
        view["tag"] = _values(facets.tags)
    if facets.prices is not None:
        view["price"] = [
            {
                "from": from_minor(one.from_minor, currency),
                "to": from_minor(one.to_minor, currency),
                "count": one.count,
            }
            for one in facets.prices
        ]
    if facets.available is not None:
        view["inStock"] = {"available": facets.available, "soldOut": facets.sold_out}
    return view


def _values(values: Sequence[FacetValue]) -> list[Json]:
    return [{"value": one.value, "count": one.count} for one in values]
