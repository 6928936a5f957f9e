"""Prices in StoreHarmony's words: changed, listed, and told as they change."""

from typing import Any
from uuid import UUID

from msgspec import UNSET

from kasuwa.api.product_states import require_unchanged
from kasuwa.api.storeharmony.contract import (
    ListProductsPricesForRecentChangesQuery,
    ListProductsPricesQuery,
    StockPriceChange,
    StockPriceUpdate,
    UpdateProductPricesPath,
)
from kasuwa.api.storeharmony.product_views import price_view, tax_view
from kasuwa.api.storeharmony.products import item_id
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange, RawJson
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.domain.catalogue.price_feed import (
    ChangePage,
    ChangesTogether,
    FeedWish,
    Line,
    PriceChange,
    put_changes_together,
    read_price_changes,
)
from kasuwa.domain.catalogue.price_list import PriceLine, PriceListWish, list_prices, read_price_lines
from kasuwa.domain.catalogue.price_rules import PriceWish
from kasuwa.domain.catalogue.pricing import VariantWish, change_prices
from kasuwa.domain.permissions import Permission

Json = dict[str, Any]


@api.operation("updateProductPrices")
async def update_product_prices(
    context: Context, exchange: Exchange, path: UpdateProductPricesPath, body: StockPriceUpdate
) -> Json:
    product_id = item_id(path.itemid)
    async with context.transaction():
        await require_unchanged(context, exchange, product_id)
        await change_prices(
            context,
            product_id,
            None if body.prices is UNSET else _wish(body.prices, "/prices"),
            _variant_wishes(body),
            everywhere=body.applyTo == "all_stores",
            reason="" if body.reason is UNSET else body.reason,
        )
        lines = await read_price_lines(context, product_id)
    return {"itemId": product_id, "data": _line_views(context, lines)}


@api.operation("listProductsPrices")
async def list_products_prices(context: Context, query: ListProductsPricesQuery) -> Json:
    category_id = None if query.categoryid is None else read_id(query.categoryid) or UUID(int=0)
    wish = PriceListWish(
        status=query.status,
        category_id=category_id,
        page=query.page,
        size=query.size,
        cursor=query.cursor,
    )
    page = await list_prices(context, wish)
    return {
        "data": _line_views(context, page.rows),
        **_paging(query.page, query.size, page.total, is_exact=page.total_is_exact),
        "nextCursor": page.next_cursor,
    }


@api.operation("listProductsPricesForRecentChanges")
async def list_products_prices_for_recent_changes(
    context: Context, query: ListProductsPricesForRecentChangesQuery
) -> Json | RawJson:
    wish = FeedWish(
        since=query.since, until=query.until, page=query.page, size=query.size, cursor=query.cursor
    )
    together = await put_changes_together(context, wish)
    if together is not None:
        return RawJson(b'{"data":[' + together.data + b"]," + encode(_feed_facts(query, together))[1:])
    page = await read_price_changes(context, wish)
    with_cost = context.may(Permission.STOCK_COST)
    data = [_change_view(change, with_cost=with_cost) for change in page.rows]
    return {"data": data} | _feed_facts(query, page)


def price_line(change: PriceChange) -> Line:
    """A line of the feed as it is kept. Give LINE_VERSION another value when it reads otherwise."""
    view = _change_view(change, with_cost=True)
    del view["changeId"], view["changedAt"]
    body = encode(view).decode()[1:]
    priced = {
        side: view[side] for side in ("before", "after") if view[side] and view[side]["costPrice"] is not None
    }
    if not priced:
        return Line(body, body)
    bare = view | {side: price | {"costPrice": None} for side, price in priced.items()}
    return Line(body, encode(bare).decode()[1:])


LINE_VERSION = "storeharmony/1"


def _feed_facts(query: ListProductsPricesForRecentChangesQuery, page: ChangePage | ChangesTogether) -> Json:
    return {
        **_paging(query.page, query.size, page.total, is_exact=page.total_is_exact),
        "since": query.since,
        "asOf": page.as_of,
        "nextCursor": page.next_cursor,
    }


def _wish(change: StockPriceChange, pointer: str) -> PriceWish:
    return PriceWish(
        pointer=pointer,
        selling=change.sellingPrice,
        cost=change.costPrice,
        promo=change.promoPrice,
        promo_starts_at=change.promoStartsAt,
        promo_ends_at=change.promoEndsAt,
        wholesale=change.wholesalePrice,
        wholesale_min_quantity=change.wholesaleMinQuantity,
    )


def _variant_wishes(body: StockPriceUpdate) -> list[VariantWish]:
    return [
        VariantWish(
            variant_id=read_id(one.variantId),
            pointer=f"/variantPrices/{index}/variantId",
            wish=_wish(one.prices, f"/variantPrices/{index}/prices"),
        )
        for index, one in enumerate([] if body.variantPrices is UNSET else body.variantPrices)
    ]


def _line_views(context: Context, lines: "list[PriceLine] | tuple[PriceLine, ...]") -> list[Json]:
    with_cost = context.may(Permission.STOCK_COST)
    return [_line_view(line, with_cost=with_cost) for line in lines]


def _line_view(line: PriceLine, *, with_cost: bool) -> Json:
    return {
        "itemId": line.product_id,
        "variantId": line.variant_id,
        "sku": line.sku,
        "barcode": line.barcode,
        "name": line.name,
        "unit": line.unit,
        "categoryIds": line.category_ids,
        "prices": price_view(line.price, with_cost=with_cost),
        "tax": tax_view(line.tax),
        "status": line.status,
        "priceUpdatedAt": line.price_updated_at,
    }


def _change_view(change: PriceChange, *, with_cost: bool) -> Json:
    """The prices with what they came to at the moment of the change."""
    at = change.changed_at
    return {
        "changeId": change.change_id,
        "changeType": change.kind,
        "itemId": change.product_id,
        "variantId": change.variant_id,
        "sku": change.sku,
        "barcode": change.barcode,
        "name": change.name,
        "before": change.before and price_view(change.before, with_cost=with_cost, at=at),
        "after": change.after and price_view(change.after, with_cost=with_cost, at=at),
        "reason": change.reason,
        "changedAt": at,
        "changedBy": change.user_id,
    }


def _paging(page: int, size: int, total: int, *, is_exact: bool) -> Json:
    return {
        "page": page,
        "size": size,
        "totalElements": total,
        "totalPages": -(-total // size),
        "totalExact": is_exact,
    }
