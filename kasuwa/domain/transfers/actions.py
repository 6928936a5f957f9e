"""Changes of transfers. Each holds the transfer first, then moves all of its stock in one call of the ledger.

What leaves a location is in transit at the destination until it arrives, is written off or comes back, so the
sum over all locations and states is the same before and after every commit.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database, settles
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault
from kasuwa.domain.inventory.parts import read_pack_units
from kasuwa.domain.inventory.records import Moved
from kasuwa.domain.permissions import Permission
from kasuwa.domain.transfers import rules
from kasuwa.domain.transfers.booking import book_departure, book_settlement
from kasuwa.domain.transfers.errors import (
    NotAtThisEnd,
    NotTracked,
    TransferCancelled,
    TransferNotFound,
    TransferVersionOld,
    UnknownDestination,
    UnknownVariant,
    WrongLines,
)
from kasuwa.domain.transfers.queries import find_transfer_of, lock_transfer
from kasuwa.domain.transfers.records import (
    MOST_LINES,
    Fate,
    Line,
    NewTransfer,
    Receipt,
    Sent,
    Settlement,
    Transfer,
    WantedLine,
)

_GONE = {
    "stock_transfer_line_merchant_id_variant_id_fkey": UnknownVariant(
        faults=[FieldFault("/lines", "unknown", "Name products of this account.")]
    )
}


async def draft_transfer(context: Context, new: NewTransfer) -> Transfer:
    """Begin a transfer from the caller's store. Nothing moves yet.

    Raises UnknownDestination, UnknownVariant, NotTracked, WrongLines.
    """
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        transfer_id = await _insert(context, db, new)
        transfer = await lock_transfer(db, transfer_id, context.store_id)
        await _note(context, db, "transfer.create", None, transfer)
        return transfer


async def change_transfer(
    context: Context,
    transfer_id: UUID,
    *,
    lines: Sequence[WantedLine] | None = None,
    reference: str | None = None,
    note: str | None = None,
    version: int | None = None,
) -> Transfer:
    """Change a draft: `lines` stand in place of those it has; what is None stays."""
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        before = await _lock_at_source(context, db, transfer_id, version)
        rules.require_draft(before)
        if lines is not None:
            await db.execute(
                "DELETE FROM stock_transfer_line"
                " WHERE merchant_id = current_merchant() AND transfer_id = :transfer_id",
                transfer_id=transfer_id,
            )
            await _insert_lines(db, transfer_id, before.source_id, before.destination_id, lines)
        await db.execute(
            """
            UPDATE stock_transfer SET version = version + 1, reference = coalesce(:reference, reference),
              note = coalesce(:note, note)
            WHERE merchant_id = current_merchant() AND transfer_id = :transfer_id
            """,
            transfer_id=transfer_id,
            reference=reference,
            note=note,
        )
        return await _done(context, db, "transfer.update", before)


async def ship_transfer(context: Context, transfer_id: UUID, *, version: int | None = None) -> Transfer:
    """All lines leave the source's shelf and are in transit at the destination.

    Raises NotEnoughStock with a pointer to the line; then nothing has left.
    """
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        before = await _lock_at_source(context, db, transfer_id, version)
        await _ship(context, db, before)
        return await _done(context, db, "transfer.ship", before)


async def send(context: Context, new: NewTransfer) -> Sent:
    """A transfer that is shipped as soon as it is made."""
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        transfer_id = await _insert(context, db, new)
        before = await lock_transfer(db, transfer_id, context.store_id)
        moved = await _ship(context, db, before)
        return Sent(await _done(context, db, "transfer.ship", before), moved)


async def receive_transfer(context: Context, transfer_id: UUID, receipts: Sequence[Receipt]) -> Transfer:
    """Book what arrived, whole or damaged, and what did not. Only the destination does.

    Raises OverReceipt, UnknownLine, WrongLines with a pointer; then nothing is booked.
    """
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        before = await _lock_at_destination(context, db, transfer_id)
        return await _settle(context, db, before, rules.settle(before, receipts), "transfer.receive")


async def accept_line(context: Context, line_id: UUID) -> None:
    """Receive all of a line that is still on its way. Safe to repeat: what has arrived is left alone."""
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        transfer_id = await find_transfer_of(db, line_id)
        if transfer_id is None:
            raise TransferNotFound()
        before = await _lock_at_destination(context, db, transfer_id)
        line = next(one for one in before.lines if one.line_id == line_id)
        if line.status == "accepted":
            return
        if line.status == "cancelled":
            raise TransferCancelled("Nothing of it is on its way any more.")
        await _settle(context, db, before, rules.settle(before, rules.rest_of(line)), "transfer.accept")


async def cancel_transfer(
    context: Context,
    transfer_id: UUID,
    *,
    fate: Fate | None = None,
    reason: str = "",
    version: int | None = None,
) -> Transfer:
    """End a transfer at its source. Once it is shipped, `fate` says where what has not arrived is."""
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        before = await _lock_at_source(context, db, transfer_id, version)
        return await _settle(context, db, before, rules.cancel(before, fate, reason), "transfer.cancel")


async def _lock_at_source(context: Context, db: Database, transfer_id: UUID, version: int | None) -> Transfer:
    transfer = await lock_transfer(db, transfer_id, context.store_id)
    if transfer.source_id != context.store_id:
        raise NotAtThisEnd("The location that sends it does this.")
    if version is not None and transfer.version != version:
        raise TransferVersionOld(f"The version is now {transfer.version}; read the transfer again.")
    return transfer


async def _lock_at_destination(context: Context, db: Database, transfer_id: UUID) -> Transfer:
    transfer = await lock_transfer(db, transfer_id, context.store_id)
    if transfer.destination_id != context.store_id:
        raise NotAtThisEnd("The location that it goes to does this.")
    return transfer


async def _insert(context: Context, db: Database, new: NewTransfer) -> UUID:
    known = await db.value(
        """
        SELECT 1 FROM store
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND store_id <> :here
          AND status = 'active'
        """,
        store_id=new.destination_id,
        here=context.store_id,
    )
    if known is None:
        fault = FieldFault("/destinationStoreId", "unknown", "Name another open location of this account.")
        raise UnknownDestination(faults=[fault])
    transfer_id = new_id()
    await db.execute(
        """
        INSERT INTO stock_transfer (merchant_id, transfer_id, source_id, destination_id, reference, note,
                                    created_by)
        VALUES (current_merchant(), :transfer_id, :source_id, :destination_id, :reference, :note, :user_id)
        """,
        transfer_id=transfer_id,
        source_id=context.store_id,
        destination_id=new.destination_id,
        reference=new.reference,
        note=new.note,
        user_id=context.caller.user_id,
    )
    await _insert_lines(db, transfer_id, context.store_id, new.destination_id, new.lines)
    return transfer_id


async def _insert_lines(
    db: Database, transfer_id: UUID, source_id: UUID, destination_id: UUID, lines: Sequence[WantedLine]
) -> None:
    lines = await _in_units(db, lines)
    products = await _check_lines(db, lines)
    # The only line of a transfer has its id: an API whose transfers have one product each names both by it.
    ids = [transfer_id] if len(lines) == 1 else [new_id() for _ in lines]
    rows = [
        {
            "line_id": line_id,
            "transfer_id": transfer_id,
            "source_id": source_id,
            "destination_id": destination_id,
            "position": position,
            "product_id": products[line.variant_id],
            "variant_id": line.variant_id,
            "quantity": line.quantity,
            "batch_no": line.batch_no,
            "serials": list(line.serials),
        }
        for position, (line_id, line) in enumerate(zip(ids, lines, strict=True), start=1)
    ]
    with settles(_GONE):
        await db.execute_many(
            """
            INSERT INTO stock_transfer_line (merchant_id, line_id, transfer_id, source_id, destination_id,
                                             position, product_id, variant_id, quantity, batch_no, serials)
            VALUES (current_merchant(), :line_id, :transfer_id, :source_id, :destination_id, :position,
                    :product_id, :variant_id, :quantity, :batch_no, :serials)
            """,
            rows,
        )


async def _in_units(db: Database, lines: Sequence[WantedLine]) -> list[WantedLine]:
    """Packs as the units they hold today: what is on its way does not change with a later carton."""
    packs = [(line.variant_id, line.pack.lower()) for line in lines if line.pack is not None]
    if not packs:
        return list(lines)
    units = await read_pack_units(db, packs)
    found: list[WantedLine] = []
    for index, line in enumerate(lines):
        if line.pack is None:
            found.append(line)
            continue
        held = units.get((line.variant_id, line.pack.lower()))
        if held is None:
            words = "Name a pack of this product, or count in its unit."
            raise WrongLines(faults=[FieldFault(f"/lines/{index}/pack", "unknown", words)])
        found.append(replace(line, quantity=line.quantity * held, pack=None))
    return found


async def _check_lines(db: Database, lines: Sequence[WantedLine]) -> dict[UUID, UUID]:
    """The product of each variant; a line that cannot be is refused with its place."""
    if len(lines) > MOST_LINES:
        raise WrongLines(faults=[FieldFault("/lines", "maximum", f"Give at most {MOST_LINES} lines.")])
    rows: list[dict[str, Any]] = await db.all(
        """
        SELECT v.variant_id, v.product_id, p.track_quantity FROM variant v
        JOIN product p ON p.merchant_id = v.merchant_id AND p.product_id = v.product_id
        WHERE v.merchant_id = current_merchant() AND v.variant_id = ANY(:ids::uuid[]) AND NOT v.archived
        """,
        into=dict,
        ids=[line.variant_id for line in lines],
    )
    found = {row["variant_id"]: row for row in rows}
    seen: set[UUID] = set()
    for index, line in enumerate(lines):
        pointer = f"/lines/{index}"
        if line.variant_id not in found:
            fault = FieldFault(f"{pointer}/variantId", "unknown", "Name a variant of this account.")
            raise UnknownVariant(faults=[fault])
        if line.variant_id in seen:
            fault = FieldFault(f"{pointer}/variantId", "repeated", "Name each variant once.")
            raise WrongLines(faults=[fault])
        if not found[line.variant_id]["track_quantity"]:
            fault = FieldFault(f"{pointer}/variantId", "not_tracked", "Let its quantity be counted first.")
            raise NotTracked(faults=[fault])
        _check_quantity(line, pointer)
        seen.add(line.variant_id)
    return {variant_id: row["product_id"] for variant_id, row in found.items()}


def _check_quantity(line: WantedLine, pointer: str) -> None:
    if line.quantity <= 0 or line.quantity >= Decimal(10) ** 12:
        raise WrongLines(faults=[FieldFault(f"{pointer}/quantity", "minimum", "Give more than nothing.")])
    if line.quantity != round(line.quantity, 3):
        raise WrongLines(
            faults=[FieldFault(f"{pointer}/quantity", "decimals", "Give at most three decimals.")]
        )
    if line.serials and (len(set(line.serials)) != line.quantity or len(line.serials) != line.quantity):
        words = "Name each of the units once, or none of them."
        raise WrongLines(faults=[FieldFault(f"{pointer}/serialNumbers", "serials", words)])


async def _ship(context: Context, db: Database, before: Transfer) -> tuple[Moved, ...]:
    after = rules.ship(before)
    moved = await book_departure(context, db, after)
    # Its stock is held now: who removes a product holds that too, and sees what has left.
    archived = await db.value(
        """
        SELECT min(l.position) FROM stock_transfer_line l
        JOIN variant v ON v.merchant_id = l.merchant_id AND v.variant_id = l.variant_id
        WHERE l.merchant_id = current_merchant() AND l.transfer_id = :transfer_id AND v.archived
        """,
        transfer_id=before.transfer_id,
    )
    if archived is not None:
        fault = FieldFault(f"/lines/{archived - 1}/variantId", "unknown", "It was removed: take it off.")
        raise UnknownVariant(faults=[fault])
    await db.execute(
        """
        UPDATE stock_transfer SET status = 'shipped', shipped_at = now(), shipped_by = :user_id,
          version = version + 1
        WHERE merchant_id = current_merchant() AND transfer_id = :transfer_id
        """,
        transfer_id=before.transfer_id,
        user_id=context.caller.user_id,
    )
    return moved


async def _settle(
    context: Context, db: Database, before: Transfer, settlement: Settlement, action: str
) -> Transfer:
    after = settlement.after
    in_movements = await book_settlement(context, db, after, settlement.taken)
    changed = [line for line, old in zip(after.lines, before.lines, strict=True) if line != old]
    await db.execute_many(
        """
        UPDATE stock_transfer_line SET
          received = received + :received, damaged = damaged + :damaged, lost = lost + :lost,
          returned = returned + :returned, status = :status,
          in_movement_id = coalesce(:in_movement_id, in_movement_id),
          closed_at = CASE WHEN :is_closed THEN now() END,
          closed_by = CASE WHEN :is_closed THEN :user_id::uuid END
        WHERE merchant_id = current_merchant() AND line_id = :line_id
        """,
        [
            {
                "line_id": line.line_id,
                "status": line.status,
                "in_movement_id": in_movements.get(line.line_id),
                "is_closed": not rules.is_open(line.status),
                "user_id": context.caller.user_id,
                **_settled_now(line, before),
            }
            for line in changed
        ],
    )
    await db.execute_many(
        """
        UPDATE stock_transfer_parcel SET outstanding = outstanding - :quantity
        WHERE merchant_id = current_merchant() AND line_id = :line_id AND number = :number
        """,
        [
            {"line_id": part.line.line_id, "number": part.parcel.number, "quantity": part.quantity}
            for part in settlement.taken
        ],
    )
    await db.execute(
        """
        UPDATE stock_transfer SET status = :status, version = version + 1, fate = :fate,
          close_reason = :close_reason,
          closed_at = CASE WHEN :is_closed THEN now() END,
          closed_by = CASE WHEN :is_closed THEN :user_id::uuid END
        WHERE merchant_id = current_merchant() AND transfer_id = :transfer_id
        """,
        transfer_id=after.transfer_id,
        status=after.status,
        fate=after.fate,
        close_reason=after.close_reason,
        is_closed=not rules.is_open(after.status),
        user_id=context.caller.user_id,
    )
    return await _done(context, db, action, before)


def _settled_now(line: Line, before: Transfer) -> dict[str, Decimal]:
    """Differences, so that the database's own check holds what two of these together would break."""
    (old,) = (one for one in before.lines if one.line_id == line.line_id)
    return {
        name: getattr(line, name) - getattr(old, name) for name in ("received", "damaged", "lost", "returned")
    }


async def _done(context: Context, db: Database, action: str, before: Transfer) -> Transfer:
    after = await lock_transfer(db, before.transfer_id, context.store_id)
    await _note(context, db, action, before, after)
    return after


async def _note(
    context: Context, db: Database, action: str, before: Transfer | None, after: Transfer
) -> None:
    await write_audit(
        context,
        db,
        action,
        "transfer",
        after.transfer_id,
        before=None if before is None else _audited(before),
        after=_audited(after),
    )


def _audited(transfer: Transfer) -> dict[str, object]:
    """What the audit trail keeps: the ledger has each movement."""
    return {
        "status": transfer.status,
        "source_id": transfer.source_id,
        "destination_id": transfer.destination_id,
        "reference": transfer.reference,
        "note": transfer.note,
        "fate": transfer.fate,
        "reason": transfer.close_reason,
        "lines": [
            {
                "variant_id": line.variant_id,
                "quantity": line.quantity,
                "received": line.received,
                "damaged": line.damaged,
                "lost": line.lost,
                "returned": line.returned,
            }
            for line in transfer.lines
        ],
    }
