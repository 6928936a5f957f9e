"""Quantities beyond what one product's own operations do."""

from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from msgspec import UNSET, UnsetType

from kasuwa.api.manage.contract import (
    ListLowStockEventsQuery,
    ListStockAsAtQuery,
    StockChangeLine,
    StockChanges,
)
from kasuwa.api.manage.paging import page, read_cursor
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.base.money import to_minor
from kasuwa.base.problems import FieldFault
from kasuwa.domain.inventory.changes import Change, Changed, change_stock
from kasuwa.domain.inventory.history import LowStock, StockAsAt, list_low_stock, list_stock_as_at
from kasuwa.domain.inventory.records import Kind, Move
from kasuwa.domain.stores.queries import currency_of

T = TypeVar("T")
Json = dict[str, Any]

_NOBODY = UUID(int=0)


@api.operation("changeStock")
async def change_many(context: Context, body: StockChanges) -> Json:
    currency = await currency_of(context)
    reference = _or(body.reference, "")
    changes = [
        _change(context, line, f"/lines/{index}", reference, currency)
        for index, line in enumerate(body.lines)
    ]
    results = await change_stock(context, changes, all_or_nothing=body.allOrNothing)
    rows = [_row(index, result) for index, result in enumerate(results)]
    refused = sum(row["status"] == "refused" for row in rows)
    return {"changed": len(rows) - refused, "refused": refused, "rows": rows}


@api.operation("listStockAsAt")
async def list_as_at(context: Context, query: ListStockAsAtQuery) -> Json:
    rows = await list_stock_as_at(context, query.at, after=read_cursor(query.cursor), size=query.size + 1)
    return page(rows, query.size, _as_at, lambda row: row.variant_id)


@api.operation("listLowStockEvents")
async def list_low_events(context: Context, query: ListLowStockEventsQuery) -> Json:
    rows = await list_low_stock(context, after=read_cursor(query.cursor), size=query.size + 1)
    return page(rows, query.size, _low, lambda row: row.event_id)


def _change(context: Context, line: StockChangeLine, pointer: str, reference: str, currency: str) -> Change:
    change, target = _or(line.change, None), _or(line.quantity, None)
    cost = None if line.unitCost is UNSET else to_minor(line.unitCost, currency, f"{pointer}/unitCost")
    variant_id = _NOBODY if line.variantId is UNSET else read_id(line.variantId) or _NOBODY
    move = Move(
        store_id=context.store_id,
        variant_id=variant_id,
        kind=_kind(change, is_sale=line.offlineSale),
        change=change,
        target=target,
        expected=_or(line.expectedQuantity, None),
        state=line.state,
        becomes=_or(line.becomes, None),
        beyond="shortfall" if line.offlineSale else None,
        pack=_or(line.pack, None),
        unit_cost_minor=cost,
        batch_no=_or(line.batchNo, None),
        expires_on=_or(line.expiryDate, None),
        serials=tuple(_or(line.serials, [])),
        reason=line.reason,
        reference=reference,
        note=_or(line.note, ""),
        pointer=pointer,
    )
    return Change(move=move, sku=_or(line.sku, None))


def _kind(change: Decimal | None, *, is_sale: bool) -> Kind:
    if is_sale:
        return "sold"
    if change is None:
        return "counted"
    return "quantity_added" if change > 0 else "quantity_deducted"


def _row(index: int, result: Changed) -> Json:
    problem, moved = result.moved.problem, result.moved
    is_done = problem is None
    return {
        "index": index,
        "status": "done" if is_done else "refused",
        "variantId": None if result.variant_id is None else str(result.variant_id),
        "before": moved.before if is_done else None,
        "after": moved.after if is_done else None,
        "movementIds": [str(movement_id) for movement_id in moved.movement_ids],
        "errors": [] if problem is None else errors_of(problem.faults, problem.title, problem.code),
    }


def errors_of(
    faults: list[FieldFault] | tuple[FieldFault, ...], title: str = "", code: str = ""
) -> list[Json]:
    """The faults of one line as ProblemErrors; a problem without any says its own title."""
    if not faults:
        return [{"code": code.replace("-", "_"), "detail": title}]
    return [
        {"pointer": fault.pointer, "code": fault.code.replace("-", "_"), "detail": fault.message}
        for fault in faults
    ]


def _as_at(row: StockAsAt) -> Json:
    return _named(row) | {
        "onHand": row.on_hand,
        "reserved": row.reserved,
        "inTransit": row.in_transit,
        "damaged": row.damaged,
        "shortfall": row.shortfall,
    }


def _low(row: LowStock) -> Json:
    return _named(row) | {
        "eventId": row.event_id,
        "at": row.at,
        "available": row.available,
        "reorderLevel": row.reorder_level,
    }


def _named(row: StockAsAt | LowStock) -> Json:
    return {"variantId": row.variant_id, "itemId": row.product_id, "sku": row.sku, "name": row.name}


def _or(value: T | UnsetType, default: Any) -> Any:
    return default if value is UNSET else value
