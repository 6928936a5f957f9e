"""What still lies of variants that are taken off: refused, or booked out so that nothing is left behind."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.errors import StillStocked
from kasuwa.domain.inventory.actions import MOST_LINES, move_stock
from kasuwa.domain.inventory.records import Move, State

OnRemainingStock = Literal["reject", "write_off"]


class Level(Struct, frozen=True):
    """What lies of a variant at a store, held until the transaction ends."""

    variant_id: UUID
    store_id: UUID
    store_name: str
    on_hand: Decimal
    reserved: Decimal
    in_transit: Decimal
    damaged: Decimal
    has_moved: bool

    def refuse(self, quantity: Decimal, what: str, to_do: str, pointer: str | None = None) -> None:
        """Raise StillStocked if there is such a quantity. Without a pointer no field of the body says it."""
        if not quantity:
            return
        text = f"{quantity.normalize():f} {what} at {self.store_name}; {to_do}."
        if pointer is None:
            raise StillStocked(text)
        raise StillStocked(faults=[FieldFault(pointer, "stocked", text)])


async def hold_stock(db: Database, variant_ids: Sequence[UUID]) -> list[Level]:
    """The balances of the variants. Until the end nobody moves them, or begins to count them elsewhere."""
    await db.execute(HOLD_VARIANTS, variant_ids=list(variant_ids))
    return await db.all(HOLD_BALANCES, into=Level, variant_ids=list(variant_ids))


HOLD_VARIANTS = """
    SELECT 1 FROM variant
    WHERE merchant_id = current_merchant() AND variant_id = ANY(:variant_ids::uuid[])
    ORDER BY variant_id FOR UPDATE
"""

HOLD_BALANCES = """
    SELECT b.variant_id, b.store_id, s.name AS store_name, b.on_hand, b.reserved, b.in_transit, b.damaged,
           b.seq > 0 AS has_moved
    FROM variant v
    JOIN stock_balance b
      ON b.merchant_id = v.merchant_id AND b.product_id = v.product_id AND b.variant_id = v.variant_id
    JOIN store s ON s.merchant_id = b.merchant_id AND s.store_id = b.store_id
    WHERE v.merchant_id = current_merchant() AND v.variant_id = ANY(:variant_ids::uuid[])
    ORDER BY b.store_id, b.variant_id
    FOR NO KEY UPDATE OF b
"""


class _Named(Struct, frozen=True):
    variant_id: UUID
    store_id: UUID
    serials: list[str]


async def write_off(context: Context, db: Database, levels: Sequence[Level], *, reason: str) -> None:
    """Book out what is on hand and what is set aside as damaged, with the units that have serial numbers."""
    named = await db.all(
        """
        SELECT variant_id, store_id, array_agg(serial ORDER BY serial) AS serials FROM stock_serial
        WHERE merchant_id = current_merchant() AND store_id IS NOT NULL
          AND variant_id = ANY(:variant_ids::uuid[])
        GROUP BY variant_id, store_id
        """,
        into=_Named,
        variant_ids=[level.variant_id for level in levels],
    )
    serials = {(one.variant_id, one.store_id): tuple(one.serials) for one in named}
    moves = [
        move
        for level in levels
        for move in _moves_out(level, serials.get((level.variant_id, level.store_id), ()), reason)
    ]
    for start in range(0, len(moves), MOST_LINES):
        await move_stock(context, db, moves[start : start + MOST_LINES])


def _moves_out(level: Level, serials: tuple[str, ...], reason: str) -> Iterator[Move]:
    def out(quantity: Decimal, state: State = "on_hand", serials: tuple[str, ...] = ()) -> Move:
        return Move(
            store_id=level.store_id,
            variant_id=level.variant_id,
            kind="quantity_deducted",
            state=state,
            change=-quantity,
            serials=serials,
            reason=reason,
        )

    if level.on_hand != len(serials):
        yield out(level.on_hand - len(serials))
    if serials:
        yield out(Decimal(len(serials)), serials=serials)
    if level.damaged:
        yield out(level.damaged, "damaged")
