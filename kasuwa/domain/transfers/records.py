"""The words of transfers between locations."""

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.domain.inventory.records import Moved

TransferStatus = Literal["draft", "shipped", "partially_received", "accepted", "cancelled"]
# What became of units that arrived, or did not.
Outcome = Literal["received", "damaged", "lost"]
# Where the units of a cancelled transfer are.
Fate = Literal["returned", "lost"]
# As a store sees it.
Direction = Literal["incoming", "outgoing", "all"]

ZERO = Decimal(0)
MOST_LINES = 1_000


class Parcel(Struct, frozen=True, kw_only=True):
    """What left the shelf together: of one batch, at one cost. `outstanding` is still on its way."""

    number: int
    quantity: Decimal
    outstanding: Decimal
    batch_no: str | None = None
    expires_on: date | None = None
    serial: str | None = None
    unit_cost_minor: Decimal | None = None


class Line(Struct, frozen=True, kw_only=True):
    """One variant of a transfer, in its unit."""

    line_id: UUID
    position: int
    product_id: UUID
    variant_id: UUID
    quantity: Decimal
    batch_no: str | None = None
    serials: tuple[str, ...] = ()
    received: Decimal = ZERO
    damaged: Decimal = ZERO
    lost: Decimal = ZERO
    returned: Decimal = ZERO
    status: TransferStatus = "draft"
    # As the catalogue has them now.
    sku: str = ""
    name: str = ""
    unit: str = ""
    parcels: tuple[Parcel, ...] = ()

    @property
    def settled(self) -> Decimal:
        """What is no longer on its way."""
        return self.received + self.damaged + self.lost + self.returned

    @property
    def outstanding(self) -> Decimal:
        """What left and has not arrived."""
        return self.quantity - self.settled if self.status not in ("draft", "cancelled") else ZERO


class Transfer(Struct, frozen=True, kw_only=True):
    """Goods that go from one location to another; `fate` says where those of a cancelled one went."""

    transfer_id: UUID
    source_id: UUID
    destination_id: UUID
    status: TransferStatus
    reference: str
    note: str
    version: int
    created_at: datetime
    created_by: UUID | None
    shipped_at: datetime | None
    shipped_by: UUID | None
    closed_at: datetime | None
    closed_by: UUID | None
    fate: Fate | None
    close_reason: str
    lines: tuple[Line, ...] = ()


class WantedLine(Struct, frozen=True, kw_only=True):
    """A variant to send, and how much of it: in its unit, or in packs where `pack` names one.

    Serial numbers, where the variant has them, name the units; `batch_no` the batch that they are taken from.
    """

    variant_id: UUID
    quantity: Decimal
    pack: str | None = None
    batch_no: str | None = None
    serials: tuple[str, ...] = ()


class NewTransfer(Struct, frozen=True, kw_only=True):
    """A transfer from the caller's store."""

    destination_id: UUID
    lines: tuple[WantedLine, ...]
    reference: str = ""
    note: str = ""


class Sent(Struct, frozen=True):
    """A transfer that was shipped, and what its source's ledger says of each line."""

    transfer: Transfer
    moved: tuple[Moved, ...]


class Receipt(Struct, frozen=True, kw_only=True):
    """What became of a part of a line. `reason` says why units are lost.

    `batch_no` or `serials` name which units; else the first to expire come first.
    """

    line_id: UUID
    outcome: Outcome
    quantity: Decimal
    batch_no: str | None = None
    serials: tuple[str, ...] = ()
    reason: str = ""


class Taken(Struct, frozen=True):
    """A part of a parcel that has arrived, or will not."""

    line: Line
    parcel: Parcel
    outcome: Outcome | Literal["returned"]
    quantity: Decimal
    reason: str


class Settlement(Struct, frozen=True):
    """A step of a transfer as the rules allow it: the transfer after it, and every unit that it settles."""

    after: Transfer
    taken: tuple[Taken, ...]


class ListedLine(Struct, frozen=True, kw_only=True):
    """A line that was shipped, as a list shows it. The cost is what one unit cost on average, if known."""

    line_id: UUID
    transfer_id: UUID
    status: TransferStatus
    source_id: UUID
    source_name: str
    destination_id: UUID
    destination_name: str
    product_id: UUID
    variant_id: UUID
    has_variants: bool
    sku: str
    name: str
    unit: str
    quantity: Decimal
    received: Decimal
    damaged: Decimal
    lost: Decimal
    unit_cost_minor: Decimal | None
    currency: str
    reference: str
    note: str
    shipped_at: datetime
    shipped_by: UUID | None
    shipped_by_name: str
    closed_at: datetime | None
    closed_by: UUID | None
    closed_by_name: str
    out_movement_id: UUID
    in_movement_id: UUID | None


class LineFilter(Struct, frozen=True, kw_only=True):
    """Which lines a store's list shows."""

    direction: Direction = "all"
    # Any of these; none says any at all.
    statuses: tuple[TransferStatus, ...] = ()
    product_id: UUID | None = None
    shipped_from: datetime | None = None
    shipped_before: datetime | None = None


class ListedTransfer(Struct, frozen=True, kw_only=True):
    """A transfer as a list shows it: without its lines, but with how many there are."""

    transfer_id: UUID
    source_id: UUID
    source_name: str
    destination_id: UUID
    destination_name: str
    status: TransferStatus
    reference: str
    note: str
    version: int
    created_at: datetime
    shipped_at: datetime | None
    closed_at: datetime | None
    line_count: int
