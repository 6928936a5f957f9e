"""What a step of a transfer is in the ledger: all of its movements in one call, which locks in one order."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.inventory.actions import MOST_LINES as MOST_MOVES
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.errors import NotStocked
from kasuwa.domain.inventory.parts import Part, read_batch_dates, read_parts
from kasuwa.domain.inventory.records import Kind, Move, Moved, State
from kasuwa.domain.transfers.errors import UnknownVariant, WrongLines
from kasuwa.domain.transfers.records import ZERO, Line, Taken, Transfer

# What a movement says of why, for each outcome.
_REASONS = {
    "received": "transfer_in",
    "damaged": "transfer_damage",
    "lost": "transfer_loss",
    "returned": "transfer_return",
}


async def book_departure(context: Context, db: Database, transfer: Transfer) -> tuple[Moved, ...]:
    """Off the source's shelf and on the way to the destination; each line keeps what left as parcels.

    Answers what left the shelf, by line. Raises what the ledger refuses, with a pointer to the line.
    """
    moves = [move for line in transfer.lines for move in _departure(transfer, line)]
    try:
        moved = await move_stock(context, db, moves)
    except NotStocked:
        raise UnknownVariant("A product of it was removed: take it off.") from None
    left = list(zip((line.product_id for line in transfer.lines), moved[::2], strict=True))
    parts: dict[int, list[Part]] = {}
    for part in await read_parts(db, left):
        parts.setdefault(part.line, []).append(part)
    await _keep_parcels(db, transfer, parts)
    await db.execute_many(
        """
        UPDATE stock_transfer_line SET status = 'shipped', shipped_at = now(), shipped_by = :user_id,
          out_movement_id = :movement_id
        WHERE merchant_id = current_merchant() AND line_id = :line_id
        """,
        [
            {
                "line_id": line.line_id,
                "movement_id": parts[number][0].movement_id,
                "user_id": context.caller.user_id,
            }
            for number, line in enumerate(transfer.lines)
        ],
    )
    return tuple(moved[::2])


async def book_settlement(
    context: Context, db: Database, transfer: Transfer, taken: Sequence[Taken]
) -> dict[UUID, UUID]:
    """Off the way, and to where the units are now; answer the movement onto the shelf of each line."""
    bundles = list(_bundles(taken))
    moves: list[Move] = []
    onto_shelf: dict[UUID, int] = {}
    for bundle in bundles:
        kind: Kind = (
            "transfer_cancelled" if transfer.status == "cancelled" else _kind_of(transfer, bundle.line)
        )
        moves.append(_move(transfer, bundle, kind, transfer.destination_id, "in_transit", -bundle.quantity))
        if bundle.outcome == "received":
            onto_shelf[bundle.line.line_id] = len(moves)
            moves.append(_move(transfer, bundle, kind, transfer.destination_id, "on_hand", bundle.quantity))
        elif bundle.outcome == "damaged":
            moves.append(_move(transfer, bundle, kind, transfer.destination_id, "damaged", bundle.quantity))
        elif bundle.outcome == "returned":
            moves.append(_move(transfer, bundle, kind, transfer.source_id, "on_hand", bundle.quantity))
    if len(moves) > MOST_MOVES:
        raise WrongLines("That is too much at once: book it in several parts.")
    moved = await move_stock(context, db, await _joining_batches(db, moves))
    return {line_id: moved[index].movement_ids[0] for line_id, index in onto_shelf.items()}


async def _joining_batches(db: Database, moves: Sequence[Move]) -> list[Move]:
    """Units of a batch that lies on the shelf already expire as it does.

    Two locations may have written down different days for a batch; that must not keep goods on the road.
    """
    incoming = {
        (move.store_id, move.variant_id, move.batch_no)
        for move in moves
        if move.state == "on_hand" and move.batch_no is not None
    }
    if not incoming:
        return list(moves)
    dates = await read_batch_dates(db, sorted(incoming))
    return [
        replace(move, expires_on=dates[place])
        if move.batch_no is not None and (place := (move.store_id, move.variant_id, move.batch_no)) in dates
        else move
        for move in moves
    ]


def _departure(transfer: Transfer, line: Line) -> tuple[Move, Move]:
    pointer = f"/lines/{line.position - 1}"
    off_shelf = Move(
        store_id=transfer.source_id,
        variant_id=line.variant_id,
        kind="transfer_initiated",
        change=-line.quantity,
        batch_no=line.batch_no,
        serials=line.serials,
        reason="transfer_out",
        reference=str(transfer.transfer_id),
        note=transfer.note,
        pointer=pointer,
    )
    on_its_way = Move(
        store_id=transfer.destination_id,
        variant_id=line.variant_id,
        kind="transfer_initiated",
        state="in_transit",
        change=line.quantity,
        reason="transfer_out",
        reference=str(transfer.transfer_id),
        note=transfer.note,
        pointer=pointer,
    )
    return off_shelf, on_its_way


async def _keep_parcels(db: Database, transfer: Transfer, parts: dict[int, list[Part]]) -> None:
    rows: list[dict[str, object]] = []
    for index, line in enumerate(transfer.lines):
        number = 0
        assert sum(part.quantity for part in parts[index]) == -line.quantity, "some of what left is not there"
        for part in parts[index]:
            serials = iter(part.serials)
            # Units with serial numbers are parcels of their own: each arrives, or does not, by itself.
            sizes = [Decimal(1)] * int(-part.quantity) if line.serials else [-part.quantity]
            for size in sizes:
                number += 1
                rows.append(
                    {
                        "line_id": line.line_id,
                        "number": number,
                        "movement_id": part.movement_id,
                        "quantity": size,
                        "batch_no": part.batch_no,
                        "expires_on": part.expires_on,
                        "serial": next(serials, None),
                        "unit_cost_minor": part.unit_cost_minor,
                    }
                )
    await db.execute_many(
        """
        INSERT INTO stock_transfer_parcel (merchant_id, line_id, number, movement_id, quantity, outstanding,
                                           batch_no, expires_on, serial, unit_cost_minor)
        VALUES (current_merchant(), :line_id, :number, :movement_id, :quantity, :quantity, :batch_no,
                :expires_on, :serial, :unit_cost_minor)
        """,
        rows,
    )


class _Bundle(Struct, frozen=True, kw_only=True):
    """Units of a line with the same lot: of one batch, at one cost, for one reason."""

    line: Line
    outcome: str
    quantity: Decimal
    batch_no: str | None
    expires_on: date | None
    unit_cost_minor: Decimal | None
    serials: tuple[str, ...]
    reason: str


def _bundles(taken: Sequence[Taken]) -> Iterator[_Bundle]:
    groups: dict[tuple[object, ...], list[Taken]] = {}
    for part in taken:
        parcel = part.parcel
        key = (
            part.line.line_id,
            part.outcome,
            part.reason,
            parcel.batch_no,
            parcel.expires_on,
            parcel.unit_cost_minor,
        )
        groups.setdefault(key, []).append(part)
    for parts in groups.values():
        parcel = parts[0].parcel
        yield _Bundle(
            line=parts[0].line,
            outcome=parts[0].outcome,
            quantity=sum((part.quantity for part in parts), ZERO),
            batch_no=parcel.batch_no,
            expires_on=parcel.expires_on,
            unit_cost_minor=parcel.unit_cost_minor,
            serials=tuple(part.parcel.serial for part in parts if part.parcel.serial is not None),
            reason=parts[0].reason,
        )


def _kind_of(transfer: Transfer, line: Line) -> Kind:
    (after,) = (one for one in transfer.lines if one.line_id == line.line_id)
    return "transfer_accepted" if after.status == "accepted" else "transfer_received"


def _move(
    transfer: Transfer, bundle: _Bundle, kind: Kind, store_id: UUID, state: State, change: Decimal
) -> Move:
    return Move(
        store_id=store_id,
        variant_id=bundle.line.variant_id,
        kind=kind,
        state=state,
        change=change,
        unit_cost_minor=bundle.unit_cost_minor,
        batch_no=bundle.batch_no,
        expires_on=bundle.expires_on,
        serials=bundle.serials,
        reason=_REASONS[bundle.outcome],
        reference=str(transfer.transfer_id),
        note=bundle.reason,
    )
