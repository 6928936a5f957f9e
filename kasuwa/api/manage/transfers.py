"""Transfers between locations: from the draft to the last unit that arrived, or did not."""

from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from kasuwa.api.manage.contract import (
    CancelTransferPath,
    ChangeTransferPath,
    GetTransferPath,
    ListTransfersQuery,
    NewTransfer,
    ReceiveTransferPath,
    ShipTransferPath,
    TransferCancel,
    TransferChange,
    TransferReceipt,
    TransferReceiptLine,
    WantedTransferLine,
)
from kasuwa.api.manage.paging import page, read_cursor
from kasuwa.api.manage.service import api
from kasuwa.api.quantities import plain
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.base.money import from_minor
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import currency_of
from kasuwa.domain.transfers import actions, records
from kasuwa.domain.transfers.errors import TransferNotFound
from kasuwa.domain.transfers.lists import list_transfers as find_transfers
from kasuwa.domain.transfers.queries import get_transfer as read_transfer

Json = dict[str, Any]


@api.operation("listTransfers")
async def list_transfers(context: Context, query: ListTransfersQuery) -> Json:
    found = await find_transfers(
        context,
        direction=query.direction,
        status=query.status,
        after=read_cursor(query.cursor),
        size=query.size + 1,
    )
    return page(found, query.size, _listed, lambda transfer: transfer.transfer_id)


@api.operation("createTransfer")
async def create_transfer(context: Context, body: NewTransfer) -> Json:
    new = records.NewTransfer(
        destination_id=_id(body.destinationStoreId),
        lines=_wanted(body.lines),
        reference=_or(body.reference, ""),
        note=_or(body.note, ""),
    )
    return await _view(context, await actions.draft_transfer(context, new))


@api.operation("getTransfer")
async def get_transfer(context: Context, path: GetTransferPath) -> Json:
    return await _view(context, await read_transfer(context, _transfer_id(path.transferid)))


@api.operation("changeTransfer")
async def change_transfer(context: Context, path: ChangeTransferPath, body: TransferChange) -> Json:
    changed = await actions.change_transfer(
        context,
        _transfer_id(path.transferid),
        lines=None if body.lines is UNSET else _wanted(body.lines),
        reference=_or(body.reference, None),
        note=_or(body.note, None),
        version=_or(body.version, None),
    )
    return await _view(context, changed)


@api.operation("shipTransfer")
async def ship_transfer(context: Context, path: ShipTransferPath) -> Json:
    return await _view(context, await actions.ship_transfer(context, _transfer_id(path.transferid)))


@api.operation("receiveTransfer")
async def receive_transfer(context: Context, path: ReceiveTransferPath, body: TransferReceipt) -> Json:
    receipts = [_receipt(line) for line in body.lines]
    received = await actions.receive_transfer(context, _transfer_id(path.transferid), receipts)
    return await _view(context, received)


@api.operation("cancelTransfer")
async def cancel_transfer(context: Context, path: CancelTransferPath, body: TransferCancel) -> Json:
    cancelled = await actions.cancel_transfer(
        context, _transfer_id(path.transferid), fate=_or(body.fate, None), reason=_or(body.reason, "")
    )
    return await _view(context, cancelled)


def _wanted(lines: list[WantedTransferLine]) -> tuple[records.WantedLine, ...]:
    return tuple(
        records.WantedLine(
            variant_id=_id(line.variantId),
            quantity=line.quantity,
            pack=_or(line.pack, None),
            batch_no=_or(line.batchNo, None),
            serials=tuple(_or(line.serialNumbers, [])),
        )
        for line in lines
    )


def _receipt(line: TransferReceiptLine) -> records.Receipt:
    return records.Receipt(
        line_id=_id(line.lineId),
        outcome=line.outcome,
        quantity=line.quantity,
        batch_no=_or(line.batchNo, None),
        serials=tuple(_or(line.serialNumbers, [])),
        reason=_or(line.reason, ""),
    )


async def _view(context: Context, transfer: records.Transfer) -> Json:
    currency = await currency_of(context) if context.may(Permission.STOCK_COST) else None
    return {
        "transferId": transfer.transfer_id,
        "status": transfer.status,
        "sourceStoreId": transfer.source_id,
        "destinationStoreId": transfer.destination_id,
        "reference": transfer.reference,
        "note": transfer.note,
        "version": transfer.version,
        "createdAt": transfer.created_at,
        "createdBy": transfer.created_by,
        "shippedAt": transfer.shipped_at,
        "shippedBy": transfer.shipped_by,
        "closedAt": transfer.closed_at,
        "closedBy": transfer.closed_by,
        "fate": transfer.fate,
        "reason": transfer.close_reason,
        "lines": [_line(line, currency) for line in transfer.lines],
    }


def _line(line: records.Line, currency: str | None) -> Json:
    return {
        "lineId": line.line_id,
        "itemId": line.product_id,
        "variantId": line.variant_id,
        "sku": line.sku,
        "name": line.name,
        "unit": line.unit,
        "status": line.status,
        "quantity": plain(line.quantity),
        "received": plain(line.received),
        "damaged": plain(line.damaged),
        "lost": plain(line.lost),
        "returned": plain(line.returned),
        "outstanding": plain(line.outstanding),
        "batchNo": line.batch_no,
        "serialNumbers": line.serials,
        "parcels": [_parcel(parcel, currency) for parcel in line.parcels],
    }


def _parcel(parcel: records.Parcel, currency: str | None) -> Json:
    cost = parcel.unit_cost_minor
    return {
        "quantity": plain(parcel.quantity),
        "outstanding": plain(parcel.outstanding),
        "batchNo": parcel.batch_no,
        "expiryDate": parcel.expires_on,
        "serialNumber": parcel.serial,
        "unitCost": None if cost is None or currency is None else from_minor(round(cost), currency),
    }


def _listed(transfer: records.ListedTransfer) -> Json:
    return {
        "transferId": transfer.transfer_id,
        "status": transfer.status,
        "sourceStoreId": transfer.source_id,
        "sourceStoreName": transfer.source_name,
        "destinationStoreId": transfer.destination_id,
        "destinationStoreName": transfer.destination_name,
        "reference": transfer.reference,
        "note": transfer.note,
        "version": transfer.version,
        "createdAt": transfer.created_at,
        "shippedAt": transfer.shipped_at,
        "closedAt": transfer.closed_at,
        "lineCount": transfer.line_count,
    }


def _transfer_id(text: str) -> UUID:
    """The id of a transfer; what is no UUID is as unknown as any other."""
    found = read_id(text)
    if found is None:
        raise TransferNotFound()
    return found


def _id(text: str) -> UUID:
    """An id inside a body: what is no UUID is the id of nothing, and the verb says where it stands."""
    return read_id(text) or UUID(int=0)


def _or(value: Any | UnsetType, default: Any) -> Any:
    return default if value is UNSET else value
