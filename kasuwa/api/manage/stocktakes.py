"""Stocktakes: started, counted by several people, compared, closed."""

from typing import Any
from uuid import UUID

from msgspec import UNSET

from kasuwa.api.manage.contract import (
    AddStocktakeCountsPath,
    CancelStocktakePath,
    CloseStocktakePath,
    GetStocktakePath,
    ListStocktakeLinesPath,
    ListStocktakeLinesQuery,
    ListStocktakesQuery,
    StocktakeCancel,
    StocktakeClose,
    StocktakeCount,
    StocktakeCounts,
    StocktakeStart,
)
from kasuwa.api.manage.paging import page, read_cursor
from kasuwa.api.manage.service import api
from kasuwa.api.manage.stock import errors_of
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.domain.stocktakes.actions import add_counts, cancel_stocktake, close_stocktake, start_stocktake
from kasuwa.domain.stocktakes.errors import StocktakeNotFound
from kasuwa.domain.stocktakes.queries import get_stocktake, list_lines, list_stocktakes
from kasuwa.domain.stocktakes.records import Count, CountResult, Line, Stocktake

Json = dict[str, Any]

_NOBODY = UUID(int=0)


@api.operation("listStocktakes")
async def list_all(context: Context, query: ListStocktakesQuery) -> Json:
    rows = await list_stocktakes(
        context, status=query.status, after=read_cursor(query.cursor), size=query.size + 1
    )
    return page(rows, query.size, _view, lambda row: row.stocktake_id)


@api.operation("startStocktake")
async def start(context: Context, body: StocktakeStart | None) -> Json:
    wish = body or StocktakeStart()
    name = None if wish.name is UNSET else wish.name
    return _view(await start_stocktake(context, name=name, blind=wish.blind))


@api.operation("getStocktake")
async def get(context: Context, path: GetStocktakePath) -> Json:
    return _view(await get_stocktake(context, _id(path.stocktakeid)))


@api.operation("addStocktakeCounts")
async def count(context: Context, path: AddStocktakeCountsPath, body: StocktakeCounts) -> Json:
    counts = [_count(one) for one in body.counts]
    device = "" if body.device is UNSET else body.device
    results = await add_counts(context, _id(path.stocktakeid), counts, device=device)
    rows = [_row(index, result) for index, result in enumerate(results)]
    refused = sum(row["status"] == "refused" for row in rows)
    return {"accepted": len(rows) - refused, "refused": refused, "rows": rows}


@api.operation("listStocktakeLines")
async def list_compared(
    context: Context, path: ListStocktakeLinesPath, query: ListStocktakeLinesQuery
) -> Json:
    rows = await list_lines(
        context,
        _id(path.stocktakeid),
        only_different=query.different,
        after=read_cursor(query.cursor),
        size=query.size + 1,
    )
    return page(rows, query.size, _line, lambda row: row.variant_id)


@api.operation("closeStocktake")
async def close(context: Context, path: CloseStocktakePath, body: StocktakeClose | None) -> Json:
    wish = body or StocktakeClose()
    note = "" if wish.note is UNSET else wish.note
    zero = wish.uncounted == "zero"
    return _view(await close_stocktake(context, _id(path.stocktakeid), zero_uncounted=zero, note=note))


@api.operation("cancelStocktake")
async def cancel(context: Context, path: CancelStocktakePath, body: StocktakeCancel | None) -> Json:
    note = "" if body is None or body.note is UNSET else body.note
    return _view(await cancel_stocktake(context, _id(path.stocktakeid), note=note))


def _id(text: str) -> UUID:
    found = read_id(text)
    if found is None:
        raise StocktakeNotFound()
    return found


def _count(one: StocktakeCount) -> Count:
    return Count(
        variant_id=None if one.variantId is UNSET else read_id(one.variantId) or _NOBODY,
        sku=None if one.sku is UNSET else one.sku,
        barcode=None if one.barcode is UNSET else one.barcode,
        quantity=one.quantity,
        zone=one.zone.strip(),
        counted_at=None if one.countedAt is UNSET else one.countedAt,
    )


def _row(index: int, result: CountResult) -> Json:
    return {
        "index": index,
        "status": "refused" if result.faults else "done",
        "variantId": None if result.variant_id is None else str(result.variant_id),
        "errors": errors_of(result.faults) if result.faults else [],
    }


def _view(stocktake: Stocktake) -> Json:
    return {
        "stocktakeId": stocktake.stocktake_id,
        "storeId": stocktake.store_id,
        "name": stocktake.name,
        "note": stocktake.note,
        "status": stocktake.status,
        "blind": stocktake.blind,
        "startedAt": stocktake.started_at,
        "startedBy": stocktake.started_by and str(stocktake.started_by),
        "endedAt": stocktake.ended_at,
        "endedBy": stocktake.ended_by and str(stocktake.ended_by),
        "counted": stocktake.counted,
        "unbooked": stocktake.unbooked,
    }


def _line(line: Line) -> Json:
    return {
        "variantId": line.variant_id,
        "itemId": line.product_id,
        "sku": line.sku,
        "name": line.name,
        "counted": line.counted,
        "countedAt": line.counted_at,
        "expected": line.expected,
        "difference": line.difference,
        "booked": line.booked,
        "problem": line.problem,
    }
