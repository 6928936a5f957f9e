"""Transfers between locations in StoreHarmony's words: one product each, accepted as a whole."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from kasuwa.api.storeharmony.contract import AcceptTransferIntoStorePath, GetProductTransfersQuery
from kasuwa.api.storeharmony.paging import page_view
from kasuwa.api.storeharmony.product_views import plain
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import new_id, read_id
from kasuwa.base.money import from_minor
from kasuwa.base.problems import Problem
from kasuwa.domain.permissions import Permission
from kasuwa.domain.transfers.actions import accept_line
from kasuwa.domain.transfers.errors import TransferNotFound
from kasuwa.domain.transfers.lists import get_line, list_lines
from kasuwa.domain.transfers.records import LineFilter, ListedLine, TransferStatus

# What is on its way is pending here, whether a part of it has arrived or not.
_STATUSES: dict[str, tuple[TransferStatus, ...]] = {
    "pending": ("shipped", "partially_received"),
    "partially_received": ("partially_received",),
    "accepted": ("accepted",),
    "cancelled": ("cancelled",),
}


@api.operation("getProductTransfers")
async def get_product_transfers(context: Context, query: GetProductTransfersQuery) -> dict[str, Any]:
    wanted = LineFilter(
        direction=query.direction,
        statuses=() if query.status is None else _STATUSES[query.status],
        # What no product can have as its id is the id of none.
        product_id=None if query.itemid is None else read_id(query.itemid) or new_id(),
        shipped_from=query.from_,
        shipped_before=query.to,
    )
    found = await list_lines(context, wanted, page=query.page, size=query.size, cursor=query.cursor)
    with_cost = context.may(Permission.STOCK_COST)
    return page_view(found, lambda line: transfer_view(line, with_cost=with_cost))


@api.operation("acceptTransferIntoStore")
async def accept_transfer_into_store(context: Context, path: AcceptTransferIntoStorePath) -> dict[str, Any]:
    line_id = read_id(path.transferid)
    if line_id is None:
        raise TransferNotFound()
    async with context.transaction():
        await accept_line(context, line_id)
        line = await get_line(context, line_id)
    return transfer_view(line, with_cost=context.may(Permission.STOCK_COST))


@contextmanager
def of_the_only_line() -> Iterator[None]:
    """Faults of a line are faults of the body here: there is one line, and it is the body."""
    try:
        yield
    except Problem as problem:
        own = copy.copy(problem)
        own.faults = tuple(
            replace(fault, pointer=fault.pointer.removeprefix("/lines/0")) for fault in problem.faults
        )
        raise own from problem


def transfer_view(line: ListedLine, *, with_cost: bool) -> dict[str, Any]:
    """A StockTransfer. What one unit cost is for those who may see costs."""
    is_accepted = line.status == "accepted"
    return {
        "transferId": line.line_id,
        "status": "pending" if line.status == "shipped" else line.status,
        "sourceStoreId": line.source_id,
        "sourceStoreName": line.source_name,
        "destinationStoreId": line.destination_id,
        "destinationStoreName": line.destination_name,
        "itemId": line.product_id,
        "variantId": line.variant_id if line.has_variants else None,
        "sku": line.sku,
        "name": line.name,
        "unit": line.unit,
        "quantity": plain(line.quantity),
        "unitCost": _cost(line) if with_cost else None,
        "reference": line.reference or None,
        "note": line.note or None,
        "initiatedBy": _actor(line.shipped_by, line.shipped_by_name),
        "initiatedAt": line.shipped_at,
        "acceptedBy": _actor(line.closed_by, line.closed_by_name) if is_accepted else None,
        "acceptedAt": line.closed_at if is_accepted else None,
        "outMovementId": line.out_movement_id,
        "inMovementId": line.in_movement_id,
        "receivedQuantity": plain(line.received),
        "damagedQuantity": plain(line.damaged),
        "lostQuantity": plain(line.lost),
    }


def _actor(user_id: Any, name: str) -> dict[str, Any]:
    return {"userId": user_id, "name": name or "API"}


def _cost(line: ListedLine) -> Decimal | None:
    if line.unit_cost_minor is None:
        return None
    return from_minor(round(line.unit_cost_minor), line.currency)
