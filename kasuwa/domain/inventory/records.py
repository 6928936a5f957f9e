"""The words of the inventory."""

from datetime import date, datetime
from decimal import Decimal
from typing import Literal, TypeAlias
from uuid import UUID

from msgspec import Struct

from kasuwa.base.problems import Problem

State: TypeAlias = Literal["on_hand", "reserved", "in_transit", "damaged", "shortfall"]
"""Where the units of a balance are. `reserved` is a claim on what is on hand; the others are piles of their
own: sent here and not accepted yet, broken, and what sales took that the shelf did not have by the books."""

Kind: TypeAlias = Literal[
    "opening",
    "quantity_added",
    "quantity_deducted",
    "set",
    "counted",
    "imported",
    "sold",
    "returned",
    "reserved",
    "released",
    "transfer_initiated",
    "transfer_received",
    "transfer_accepted",
    "transfer_cancelled",
]
"""What a movement is, in the words of the audit trail."""


class Move(Struct, frozen=True, kw_only=True):
    """A line to be moved: by `change`, or to `target`. Quantities are in units, or in packs of a named kind.

    A target comes with what the caller last saw (`expected`), unless it shall be so whatever it was (`set`).
    What goes out names its batch, or is taken from the batches that expire first; `spare_expired` leaves
    those alone whose day has passed. `becomes`: what goes out stays here in that state.
    `beyond="shortfall"`: what the shelf does not have is booked as a shortfall instead of refused.
    """

    store_id: UUID
    variant_id: UUID
    kind: Kind
    change: Decimal | None = None
    target: Decimal | None = None
    expected: Decimal | None = None
    state: State = "on_hand"
    becomes: State | None = None
    beyond: Literal["shortfall"] | None = None
    pack: str | None = None
    # Of one unit or one pack, in minor units of the store's currency; up to six decimals.
    unit_cost_minor: Decimal | int | None = None
    batch_no: str | None = None
    expires_on: date | None = None
    spare_expired: bool = False
    serials: tuple[str, ...] = ()
    reason: str = ""
    reference: str = ""
    note: str = ""
    party: str = ""
    # The JSON pointer of the line in the caller's body: its faults begin with it.
    pointer: str = ""

    def __post_init__(self) -> None:
        assert (self.change is None) != (self.target is None), "a line moves by a change or to a target"
        assert self.target is None or self.expected is not None or self.kind == "set", (
            "a target comes with what was expected"
        )


class Moved(Struct, frozen=True, kw_only=True):
    """What became of a line: what was booked, or why it could not be.

    `before` and `after` are of the line's state. A line is several movements where several batches or states
    took part in it.
    """

    movement_ids: tuple[UUID, ...] = ()
    at: datetime | None = None
    quantity: Decimal = Decimal(0)
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)
    # Of one unit, in minor units of the store's currency: what came in cost it, what went out did on average.
    # For callers with the permission stock.cost alone.
    unit_cost_minor: Decimal | None = None
    # Of the first movement.
    batch_no: str | None = None
    expires_on: date | None = None
    problem: Problem | None = None


class Pack(Struct, frozen=True):
    """A way in which the variant is bought or sold by the many: a carton of 24 units. Case does not count."""

    name: str
    units: Decimal


class Batch(Struct, frozen=True):
    """What lies of a batch at a store. `is_expired` on the store's own day."""

    batch_no: str
    expires_on: date | None
    quantity: Decimal
    received_at: datetime
    is_expired: bool
