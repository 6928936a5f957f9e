"""The words of stocktakes."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.problems import FieldFault

Status = Literal["open", "closed", "cancelled"]


class Stocktake(Struct, frozen=True, kw_only=True):
    """A count of a store. `counted` variants have a count, `unbooked` lines could not be booked."""

    stocktake_id: UUID
    store_id: UUID
    name: str
    note: str
    status: Status
    blind: bool
    started_at: datetime
    started_by: UUID | None
    ended_at: datetime | None
    ended_by: UUID | None
    counted: int
    unbooked: int


class Count(Struct, frozen=True, kw_only=True):
    """What somebody counted of one variant in one zone, named by one of three. None as time: just now."""

    variant_id: UUID | None = None
    sku: str | None = None
    barcode: str | None = None
    quantity: Decimal
    zone: str = ""
    counted_at: datetime | None = None


class CountResult(Struct, frozen=True):
    """What became of a count; without faults it is kept."""

    variant_id: UUID | None
    faults: tuple[FieldFault, ...] = ()


class Line(Struct, frozen=True, kw_only=True):
    """A variant's count beside the books at `counted_at`, with corrections since; `booked` once it is closed.

    `problem`: why the count cannot be booked, or could not be.
    """

    variant_id: UUID
    product_id: UUID
    sku: str
    name: str
    counted: Decimal
    counted_at: datetime
    expected: Decimal
    booked: Decimal
    problem: str | None

    @property
    def difference(self) -> Decimal:
        return self.counted - self.expected
