"""What a transfer may do next, as plain reckoning: nothing here knows the database."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Literal

from msgspec.structs import replace

from kasuwa.base.problems import FieldFault
from kasuwa.domain.transfers.errors import (
    FateNeeded,
    OverReceipt,
    TransferAccepted,
    TransferCancelled,
    TransferNotDraft,
    TransferNotShipped,
    UnknownLine,
    WrongLines,
)
from kasuwa.domain.transfers.records import (
    ZERO,
    Fate,
    Line,
    Outcome,
    Parcel,
    Receipt,
    Settlement,
    Taken,
    Transfer,
    TransferStatus,
)

_OPEN = frozenset({"shipped", "partially_received"})


def is_open(status: TransferStatus) -> bool:
    """Whether something may be on its way."""
    return status in _OPEN


def require_draft(transfer: Transfer) -> None:
    """Lines change, and goods leave, only while it is a draft."""
    if transfer.status != "draft":
        raise TransferNotDraft(f"It is {transfer.status}; make a new one for more.")


def require_open(transfer: Transfer) -> None:
    """Only what is on its way arrives."""
    if transfer.status == "draft":
        raise TransferNotShipped("Its source ships it first.")
    if transfer.status == "cancelled":
        raise TransferCancelled("Nothing of it is on its way any more.")
    if transfer.status == "accepted":
        raise TransferAccepted("All of it has been received or written off.")


def ship(transfer: Transfer) -> Transfer:
    """All of its lines leave."""
    require_draft(transfer)
    if not transfer.lines:
        raise WrongLines("There is nothing in it to ship: give it lines first.")
    lines = tuple(replace(line, status="shipped") for line in transfer.lines)
    return replace(transfer, status="shipped", lines=lines)


def settle(transfer: Transfer, receipts: Sequence[Receipt]) -> Settlement:
    """What arrived, whole or damaged, and what did not. Receiving only adds, up to what was shipped."""
    require_open(transfer)
    lines = {line.line_id: line for line in transfer.lines}
    taken: list[Taken] = []
    for index, receipt in enumerate(receipts):
        pointer = f"/lines/{index}"
        line = lines.get(receipt.line_id)
        if line is None:
            raise UnknownLine(faults=[FieldFault(f"{pointer}/lineId", "unknown", "Name a line of it.")])
        _check(receipt, line, pointer)
        parts = _take(line, receipt, pointer)
        taken += [Taken(line, parcel, receipt.outcome, part, receipt.reason) for parcel, part in parts]
        lines[line.line_id] = _with(line, receipt.outcome, parts)
    after = tuple(lines[line.line_id] for line in transfer.lines)
    return Settlement(replace(transfer, status=status_of(after), lines=after), tuple(taken))


def rest_of(line: Line) -> tuple[Receipt, ...]:
    """All that is still on its way, as received whole."""
    if line.outstanding == ZERO:
        return ()
    return (Receipt(line_id=line.line_id, outcome="received", quantity=line.outstanding),)


def cancel(transfer: Transfer, fate: Fate | None, reason: str) -> Settlement:
    """Nothing more will arrive. Once it is shipped, somebody must say where the rest of the units is."""
    if transfer.status in ("accepted", "cancelled"):
        require_open(transfer)
    if transfer.status == "draft":
        lines = tuple(replace(line, status="cancelled") for line in transfer.lines)
        return Settlement(replace(transfer, status="cancelled", lines=lines, close_reason=reason), ())
    if fate is None:
        fault = FieldFault("/fate", "required", "Say `returned`, or `lost`: the units have left the source.")
        raise FateNeeded(faults=[fault])
    if fate == "lost" and not reason:
        raise FateNeeded(faults=[FieldFault("/reason", "required", "Say why the units are written off.")])
    taken: list[Taken] = []
    after: list[Line] = []
    for line in transfer.lines:
        parts = [(parcel, parcel.outstanding) for parcel in line.parcels if parcel.outstanding]
        taken += [Taken(line, parcel, fate, part, reason) for parcel, part in parts]
        after.append(replace(_with(line, fate, parts), status="cancelled") if line.outstanding else line)
    done = replace(transfer, status="cancelled", lines=tuple(after), fate=fate, close_reason=reason)
    return Settlement(done, tuple(taken))


def status_of(lines: Sequence[Line]) -> TransferStatus:
    """The state of a shipped transfer is that of its lines."""
    if not any(line.outstanding for line in lines):
        return "accepted"
    return "partially_received" if any(line.settled for line in lines) else "shipped"


def _check(receipt: Receipt, line: Line, pointer: str) -> None:
    if receipt.quantity <= 0:
        raise WrongLines(faults=[FieldFault(f"{pointer}/quantity", "minimum", "Give more than nothing.")])
    if receipt.quantity > line.outstanding:
        words = f"Give at most {line.outstanding:f}: that is what is still on its way."
        raise OverReceipt(faults=[FieldFault(f"{pointer}/quantity", "maximum", words)])
    if receipt.outcome == "lost" and not receipt.reason:
        words = "Say why the units are written off."
        raise WrongLines(faults=[FieldFault(f"{pointer}/reason", "required", words)])


def _take(line: Line, receipt: Receipt, pointer: str) -> list[tuple[Parcel, Decimal]]:
    """Whose units these are: the named ones, else those that expire first."""
    there = sorted((p for p in line.parcels if p.outstanding), key=_expiry)
    if any(parcel.serial is not None for parcel in there):
        return _take_serials(there, receipt, pointer)
    if receipt.serials:
        words = "The line was shipped without serial numbers; leave them out."
        raise WrongLines(faults=[FieldFault(f"{pointer}/serialNumbers", "unknown", words)])
    if receipt.batch_no is not None:
        there = [parcel for parcel in there if parcel.batch_no == receipt.batch_no]
        left = sum((parcel.outstanding for parcel in there), ZERO)
        if left < receipt.quantity:
            words = f"Of this batch {left:f} are on their way."
            raise OverReceipt(faults=[FieldFault(f"{pointer}/batchNo", "maximum", words)])
    parts, wanted = [], receipt.quantity
    for parcel in there:
        part = min(wanted, parcel.outstanding)
        if part:
            parts.append((parcel, part))
            wanted -= part
    assert wanted == ZERO, "a line's parcels are less than what it says is on its way"
    return parts


def _take_serials(there: list[Parcel], receipt: Receipt, pointer: str) -> list[tuple[Parcel, Decimal]]:
    """Units with serial numbers arrive by name, unless all of the rest arrive."""
    names = set(receipt.serials)
    if not names and receipt.quantity == len(there):
        names = {parcel.serial for parcel in there if parcel.serial is not None}
    chosen = [(parcel, parcel.outstanding) for parcel in there if parcel.serial in names]
    if (
        len(chosen) != len(names)
        or len(chosen) != receipt.quantity
        or len(receipt.serials) not in (0, len(names))
    ):
        words = "Name each of these units once by a serial number that is on its way."
        raise WrongLines(faults=[FieldFault(f"{pointer}/serialNumbers", "serials", words)])
    return chosen


def _expiry(parcel: Parcel) -> tuple[bool, date, int]:
    return (parcel.expires_on is None, parcel.expires_on or date.max, parcel.number)


def _with(
    line: Line, outcome: Outcome | Literal["returned"], parts: Sequence[tuple[Parcel, Decimal]]
) -> Line:
    """The line after these parts of its parcels are settled."""
    gone = {parcel.number: part for parcel, part in parts}
    total = sum(gone.values(), ZERO)
    parcels = tuple(
        replace(parcel, outstanding=parcel.outstanding - gone.get(parcel.number, ZERO))
        for parcel in line.parcels
    )
    after = replace(line, parcels=parcels, **{outcome: getattr(line, outcome) + total})
    return replace(after, status="accepted" if after.settled == after.quantity else "partially_received")
