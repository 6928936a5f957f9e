"""Questions about one transfer and its lines."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.transfers.errors import TransferNotFound
from kasuwa.domain.transfers.records import Line, Parcel, Transfer, TransferStatus

# Seen from one of its two ends; the destination learns of it when it is shipped.
_TRANSFER = """
    SELECT transfer_id, source_id, destination_id, status, reference, note, version, created_at, created_by,
           shipped_at, shipped_by, closed_at, closed_by, fate, close_reason
    FROM stock_transfer
    WHERE merchant_id = current_merchant() AND transfer_id = :transfer_id
      AND (source_id = :store_id OR (destination_id = :store_id AND shipped_at IS NOT NULL))
"""

_LINES = """
    SELECT l.line_id, l.position, l.product_id, l.variant_id, l.quantity, l.batch_no, l.serials, l.received,
           l.damaged, l.lost, l.returned, l.status, v.sku, p.name, p.unit
    FROM stock_transfer_line l
    JOIN variant v ON v.merchant_id = l.merchant_id AND v.variant_id = l.variant_id
    JOIN product p ON p.merchant_id = l.merchant_id AND p.product_id = l.product_id
    WHERE l.merchant_id = current_merchant() AND l.transfer_id = :transfer_id
    ORDER BY l.position
"""

_PARCELS = """
    SELECT p.line_id, p.number, p.quantity, p.outstanding, p.batch_no, p.expires_on, p.serial,
           p.unit_cost_minor
    FROM stock_transfer_parcel p
    JOIN stock_transfer_line l ON l.merchant_id = p.merchant_id AND l.line_id = p.line_id
    WHERE l.merchant_id = current_merchant() AND l.transfer_id = :transfer_id
    ORDER BY p.line_id, p.number
"""


async def get_transfer(context: Context, transfer_id: UUID) -> Transfer:
    """A transfer from or to the caller's store, with its lines. Raises TransferNotFound."""
    async with context.reading() as db:
        return await _read(db, _TRANSFER, transfer_id, context.store_id)


async def lock_transfer(db: Database, transfer_id: UUID, store_id: UUID) -> Transfer:
    """The same, held until the transaction ends: whoever else wants to change it waits, and then sees it."""
    return await _read(db, f"{_TRANSFER} FOR UPDATE", transfer_id, store_id)


async def find_transfer_of(db: Database, line_id: UUID) -> UUID | None:
    """The transfer that the line belongs to."""
    found: UUID | None = await db.value(
        "SELECT transfer_id FROM stock_transfer_line"
        " WHERE merchant_id = current_merchant() AND line_id = :line_id",
        line_id=line_id,
    )
    return found


async def holds_product(db: Database, product_id: UUID) -> bool:
    """Whether a transfer that is not done speaks of the product."""
    found: bool = await db.value(
        """
        SELECT EXISTS (
          SELECT FROM stock_transfer_line
          WHERE merchant_id = current_merchant() AND product_id = :product_id
            AND status IN ('draft', 'shipped', 'partially_received')
        )
        """,
        product_id=product_id,
    )
    return found


async def _read(db: Database, statement: str, transfer_id: UUID, store_id: UUID) -> Transfer:
    transfer: Transfer = await db.one(
        statement,
        into=Transfer,
        missing=TransferNotFound(),
        transfer_id=transfer_id,
        store_id=store_id,
    )
    lines = await db.all(_LINES, into=_LineRow, transfer_id=transfer_id)
    parcels: dict[UUID, list[Parcel]] = {}
    for row in await db.all(_PARCELS, into=_parcel_of_line, transfer_id=transfer_id):
        parcels.setdefault(row[0], []).append(row[1])
    return replace(transfer, lines=tuple(row.line(tuple(parcels.get(row.line_id, ()))) for row in lines))


def _parcel_of_line(line_id: UUID, **row: Any) -> tuple[UUID, Parcel]:
    return line_id, Parcel(**row)


class _LineRow(Struct, frozen=True):
    line_id: UUID
    position: int
    product_id: UUID
    variant_id: UUID
    quantity: Decimal
    batch_no: str | None
    serials: list[str]
    received: Decimal
    damaged: Decimal
    lost: Decimal
    returned: Decimal
    status: TransferStatus
    sku: str
    name: str
    unit: str

    def line(self, parcels: tuple[Parcel, ...]) -> Line:
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return Line(**(fields | {"serials": tuple(self.serials), "parcels": parcels}))
