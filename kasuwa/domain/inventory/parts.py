"""What of a line left together: a line that takes from several batches is a movement of each."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.db import Database
from kasuwa.domain.inventory.records import Moved


class Part(Struct, frozen=True):
    """One movement of the line with that number. `quantity` is signed; the cost is of one unit, if known."""

    line: int
    movement_id: UUID
    quantity: Decimal
    batch_no: str | None
    expires_on: date | None
    unit_cost_minor: Decimal | None
    serials: list[str]


async def read_parts(db: Database, lines: Sequence[tuple[UUID, Moved]]) -> list[Part]:
    """The movements of lines that were just moved, each given with its product, in their order."""
    named = [
        (number, product_id, moved.at, movement_id)
        for number, (product_id, moved) in enumerate(lines)
        for movement_id in moved.movement_ids
    ]
    return await db.all(
        """
        SELECT w.line, m.movement_id, m.quantity, m.batch_no, m.expires_on, m.unit_cost AS unit_cost_minor,
               m.serials
        FROM unnest(:lines::integer[], :product_ids::uuid[], :times::timestamptz[], :movement_ids::uuid[])
          AS w (line, product_id, at, movement_id)
        -- The first movement has the line's time; the others follow, by a clock that may be set meanwhile.
        JOIN stock_movement m ON m.merchant_id = current_merchant() AND m.product_id = w.product_id
          AND m.at >= w.at - interval '1 minute' AND m.movement_id = w.movement_id
        ORDER BY w.line, m.seq
        """,
        into=Part,
        lines=[line for line, _, _, _ in named],
        product_ids=[product_id for _, product_id, _, _ in named],
        times=[at for _, _, at, _ in named],
        movement_ids=[movement_id for _, _, _, movement_id in named],
    )


async def read_batch_dates(
    db: Database, wanted: Sequence[tuple[UUID, UUID, str]]
) -> dict[tuple[UUID, UUID, str], date | None]:
    """When the batches expire that lie at a store now, by store, variant and number."""
    found = await db.all(
        """
        SELECT b.store_id, b.variant_id, b.batch_no, b.expires_on
        FROM unnest(:store_ids::uuid[], :variant_ids::uuid[], :batches::text[])
          AS w (store_id, variant_id, batch_no)
        JOIN stock_batch b ON b.merchant_id = current_merchant() AND b.store_id = w.store_id
          AND b.variant_id = w.variant_id AND b.batch_no = w.batch_no AND b.quantity > 0
        """,
        into=_BatchDate,
        store_ids=[store_id for store_id, _, _ in wanted],
        variant_ids=[variant_id for _, variant_id, _ in wanted],
        batches=[batch_no for _, _, batch_no in wanted],
    )
    return {(row.store_id, row.variant_id, row.batch_no): row.expires_on for row in found}


class _BatchDate(Struct, frozen=True):
    store_id: UUID
    variant_id: UUID
    batch_no: str
    expires_on: date | None


async def read_pack_units(db: Database, packs: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Decimal]:
    """How many units the packs hold, each by its variant and its name in lower case."""
    found = await db.all(
        """
        SELECT p.variant_id, p.pack, p.units
        FROM unnest(:variant_ids::uuid[], :names::text[]) AS w (variant_id, pack)
        JOIN variant_pack p ON p.merchant_id = current_merchant() AND p.variant_id = w.variant_id
          AND p.pack = w.pack
        """,
        into=_PackUnits,
        variant_ids=[variant_id for variant_id, _ in packs],
        names=[name for _, name in packs],
    )
    return {(row.variant_id, row.pack): row.units for row in found}


class _PackUnits(Struct, frozen=True):
    variant_id: UUID
    pack: str
    units: Decimal
