"""Quantities in StoreHarmony's words."""

from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from kasuwa.api.storeharmony.contract import (
    AddNewQuantityToProductPath,
    DeductQuantityFromProductPath,
    StockQuantityAdd,
    StockQuantityDeduct,
)
from kasuwa.api.storeharmony.product_views import plain
from kasuwa.api.storeharmony.products import item_id
from kasuwa.api.storeharmony.service import api
from kasuwa.api.storeharmony.transfers import of_the_only_line, transfer_view
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.base.money import from_minor, to_minor
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.inventory.queries import Counted, get_counted
from kasuwa.domain.inventory.receiving import receive_at_cost
from kasuwa.domain.inventory.records import Move, Moved
from kasuwa.domain.inventory.waiting import move_one
from kasuwa.domain.permissions import Permission
from kasuwa.domain.transfers.actions import send
from kasuwa.domain.transfers.lists import get_line
from kasuwa.domain.transfers.records import NewTransfer, WantedLine


@api.operation("addNewQuantityToProduct")
async def add_new_quantity_to_product(
    context: Context, path: AddNewQuantityToProductPath, body: StockQuantityAdd
) -> dict[str, Any]:
    counted = await get_counted(context, item_id(path.itemid), _variant_id(body.variantId))
    cost_minor = None
    if body.unitCost is not UNSET:
        cost_minor = to_minor(body.unitCost, counted.currency, "/unitCost")
    move = Move(
        store_id=counted.store_id,
        variant_id=counted.variant_id,
        kind="returned" if body.reason == "customer_return" else "quantity_added",
        change=body.quantity,
        pack=_or_none(body.pack),
        unit_cost_minor=cost_minor,
        batch_no=_or_none(body.batchNo),
        expires_on=_or_none(body.expiryDate),
        serials=() if body.serialNumbers is UNSET else tuple(body.serialNumbers),
        reason=body.reason,
        reference=_or_none(body.reference) or "",
        note=_or_none(body.note) or "",
        party=_or_none(body.supplierName) or "",
    )
    if not body.updateCostPrice:
        return _movement(context, counted, move, await move_one(context, move))
    if cost_minor is None:
        fault = FieldFault("/unitCost", "required", "Give the cost that is to be the cost price.")
        raise Invalid(faults=[fault])
    return _movement(context, counted, move, await receive_at_cost(context, counted, move))


@api.operation("deductQuantityFromProduct")
async def deduct_quantity_from_product(
    context: Context, path: DeductQuantityFromProductPath, body: StockQuantityDeduct
) -> dict[str, Any]:
    counted = await get_counted(context, item_id(path.itemid), _variant_id(body.variantId))
    if body.reason == "transfer_out":
        return await _send(context, counted, body)
    move = Move(
        store_id=counted.store_id,
        variant_id=counted.variant_id,
        kind="quantity_deducted",
        change=-body.quantity,
        # What is broken is still here, and still counted.
        becomes="damaged" if body.reason == "damage" else None,
        pack=_or_none(body.pack),
        batch_no=_or_none(body.batchNo),
        serials=() if body.serialNumbers is UNSET else tuple(body.serialNumbers),
        reason=body.reason,
        reference=_or_none(body.reference) or "",
        note=_or_none(body.note) or "",
    )
    return _movement(context, counted, move, await move_one(context, move))


async def _send(context: Context, counted: Counted, body: StockQuantityDeduct) -> dict[str, Any]:
    """A transfer of one line, shipped at once: it is pending at the other location until that accepts it."""
    assert body.destinationStoreId is not UNSET, "the contract asks for it with this reason"
    line = WantedLine(
        variant_id=counted.variant_id,
        quantity=body.quantity,
        pack=_or_none(body.pack),
        batch_no=_or_none(body.batchNo),
        serials=() if body.serialNumbers is UNSET else tuple(body.serialNumbers),
    )
    new = NewTransfer(
        destination_id=read_id(body.destinationStoreId) or UUID(int=0),
        lines=(line,),
        reference=_or_none(body.reference) or "",
        note=_or_none(body.note) or "",
    )
    async with context.transaction():
        with of_the_only_line():
            sent = await send(context, new)
        shown = await get_line(context, sent.transfer.transfer_id)
    move = Move(
        store_id=counted.store_id,
        variant_id=counted.variant_id,
        kind="transfer_initiated",
        change=-sent.transfer.lines[0].quantity,
        reason="transfer_out",
        reference=new.reference,
        note=new.note,
    )
    view = transfer_view(shown, with_cost=context.may(Permission.STOCK_COST))
    return _movement(context, counted, move, sent.moved[0]) | {"transfer": view}


def _movement(context: Context, counted: Counted, move: Move, moved: Moved) -> dict[str, Any]:
    cost = moved.unit_cost_minor if context.may(Permission.STOCK_COST) else None
    return {
        "movementId": moved.movement_ids[0],
        "itemId": counted.product_id,
        "variantId": counted.variant_id if counted.has_variants else None,
        "storeId": counted.store_id,
        "direction": "in" if moved.quantity > 0 else "out",
        "quantity": plain(abs(moved.quantity)),
        "quantityBefore": plain(moved.before),
        "quantityAfter": plain(moved.after),
        "reason": move.reason,
        "reference": move.reference or None,
        "note": move.note or None,
        "unitCost": None if cost is None else from_minor(round(cost), counted.currency),
        "batchNo": moved.batch_no,
        "expiryDate": moved.expires_on,
        "performedBy": {
            "userId": context.caller.user_id,
            "name": counted.user_name,
            "role": context.caller.role or None,
        },
        "performedAt": moved.at,
        "transfer": None,
    }


def _variant_id(text: str | UnsetType) -> UUID | None:
    """The id of a variant; what is no UUID is as unknown as any other."""
    return None if text is UNSET else read_id(text) or UUID(int=0)


def _or_none(value: Any) -> Any:
    return None if value is UNSET or value == "" else value
