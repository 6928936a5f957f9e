"""Changes of stock: every one is a movement in the ledger."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.records import OpeningStock
from kasuwa.domain.inventory.errors import NoSuchVariant, NotStocked, WrongQuantity
from kasuwa.domain.inventory.lines import COLUMNS, MovedRow, settled, write_lines
from kasuwa.domain.inventory.records import Move, Moved, Pack
from kasuwa.domain.permissions import Permission

MOST_LINES = 5_000


async def move_stock(
    context: Context, db: Database, moves: Sequence[Move], *, all_or_nothing: bool = True
) -> list[Moved]:
    """Move the lines, at most 5,000; answer what became of each, in their order.

    All or nothing: if a line cannot be, none is moved and the Problem of the first such line is raised, with
    the faults of all. Otherwise each line that cannot be carries its Problem and the others are moved.
    Raises NotEnoughStock, NotStocked, StockChanged, WrongQuantity, SerialElsewhere, BatchDiffers.
    """
    assert len(moves) <= MOST_LINES, f"at most {MOST_LINES} lines at once"
    lines = write_lines([(context, move) for move in moves])
    with settled():
        rows = await db.all(_TOGETHER if all_or_nothing else _EACH, into=MovedRow, lines=lines)
    found = [row.moved(moves[row.line].pointer) for row in sorted(rows, key=lambda row: row.line)]
    problems = [moved.problem for moved in found if moved.problem is not None]
    if all_or_nothing and problems:
        first = problems[0]
        first.faults = tuple(fault for problem in problems for fault in problem.faults)
        raise first
    return found


_EACH = f"SELECT {COLUMNS} FROM move_stock(:lines)"  # noqa: S608 - our own words
_TOGETHER = f"SELECT {COLUMNS} FROM move_stock_together(:lines)"  # noqa: S608 - our own words


async def set_stock(
    context: Context, db: Database, store_id: UUID, variant_id: UUID, target: Decimal, *, reason: str
) -> Decimal:
    """Book what makes the shelf `target`, under the balance's lock; answer the figure."""
    move = Move(store_id=store_id, variant_id=variant_id, kind="set", target=target, reason=reason)
    (moved,) = await move_stock(context, db, [move])
    return moved.after


class Opening(Struct, frozen=True):
    """Where a variant begins to be counted, and with what. The cost is of one unit, in minor units.

    What is not sold, because its variants are, has a balance that is closed and empty from the beginning.
    """

    product_id: UUID
    variant_id: UUID
    stock: OpeningStock
    cost_minor: int | None = None
    is_sold: bool = True


async def open_balance(
    context: Context,
    db: Database,
    product_id: UUID,
    variant_id: UUID,
    opening: OpeningStock,
    *,
    cost_minor: int | None = None,
) -> None:
    """Begin to count a variant at a store, with what lies there. What is counted already stays as it is."""
    await open_balances(context, db, [Opening(product_id, variant_id, opening, cost_minor)])


async def open_balances(context: Context, db: Database, openings: Sequence[Opening]) -> None:
    """Begin to count variants at stores, in the order of their ids."""
    ordered = sorted(openings, key=lambda one: (one.stock.store_id, one.variant_id))
    rows = await db.all(
        """
        INSERT INTO stock_balance (merchant_id, store_id, variant_id, product_id, decimals, closed, is_part)
        SELECT current_merchant(), o.store_id, o.variant_id, o.product_id, unit_decimals(p.unit),
               NOT o.is_sold, p.kind = 'variant'
        FROM unnest(:store_ids::uuid[], :variant_ids::uuid[], :product_ids::uuid[], :sold::boolean[])
          AS o (store_id, variant_id, product_id, is_sold)
        JOIN product p ON p.merchant_id = current_merchant() AND p.product_id = o.product_id
        ORDER BY o.store_id, o.variant_id
        ON CONFLICT (merchant_id, store_id, variant_id) DO NOTHING
        RETURNING store_id, variant_id
        """,
        into=lambda store_id, variant_id: (store_id, variant_id),
        store_ids=[one.stock.store_id for one in ordered],
        variant_ids=[one.variant_id for one in ordered],
        product_ids=[one.product_id for one in ordered],
        sold=[one.is_sold for one in ordered],
    )
    begun = set(rows)
    opened = [one for one in ordered if (one.stock.store_id, one.variant_id) in begun]
    moves = [
        Move(
            store_id=one.stock.store_id,
            variant_id=one.variant_id,
            kind="opening",
            change=one.stock.quantity,
            unit_cost_minor=one.cost_minor,
            reason="opening stock",
            pointer=one.stock.pointer,
        )
        for one in opened
        if one.stock.quantity
    ]
    for start in range(0, len(moves), MOST_LINES):
        await move_stock(context, db, moves[start : start + MOST_LINES])
    await set_levels(db, [one for one in opened if has_levels(one)])


def has_levels(one: Opening) -> bool:
    """Whether it says when or how much to order again; a level of 0 is one."""
    return one.stock.reorder_level is not None or one.stock.reorder_quantity is not None


async def set_levels(db: Database, opened: Sequence[Opening]) -> None:
    """When to order each again. After what lies there is booked: a level is crossed by what happens to it."""
    if not opened:
        return
    await db.execute(
        """
        UPDATE stock_balance b SET reorder_level = o.level, reorder_quantity = o.quantity
        FROM unnest(:store_ids::uuid[], :variant_ids::uuid[], :levels::numeric[], :quantities::numeric[])
          AS o (store_id, variant_id, level, quantity)
        WHERE b.merchant_id = current_merchant() AND b.store_id = o.store_id AND b.variant_id = o.variant_id
        """,
        store_ids=[one.stock.store_id for one in opened],
        variant_ids=[one.variant_id for one in opened],
        levels=[one.stock.reorder_level for one in opened],
        quantities=[one.stock.reorder_quantity for one in opened],
    )


async def set_packs(context: Context, variant_id: UUID, packs: Sequence[Pack]) -> None:
    """The packs of a variant, in place of those it had. What was moved stays as it was counted.

    Raises NoSuchVariant, WrongQuantity (a pack named twice, or without units).
    """
    context.require(Permission.STOCK_WRITE)
    names = [pack.name.strip().lower() for pack in packs]
    units = [round(pack.units, 3) for pack in packs]
    if len(set(names)) != len(names) or not all(names) or any(one <= 0 for one in units):
        fault = FieldFault("/packs", "pack", "Give each pack once, with a name and more than no units.")
        raise WrongQuantity(faults=[fault])
    async with context.transaction() as db:
        product_id = await db.value(
            "SELECT product_id FROM variant"
            " WHERE merchant_id = current_merchant() AND variant_id = :variant_id AND NOT archived"
            " FOR UPDATE",
            variant_id=variant_id,
        )
        if product_id is None:
            raise NoSuchVariant()
        await db.execute(
            "DELETE FROM variant_pack WHERE merchant_id = current_merchant() AND variant_id = :variant_id",
            variant_id=variant_id,
        )
        await db.execute(
            """
            INSERT INTO variant_pack (merchant_id, variant_id, pack, units)
            SELECT current_merchant(), :variant_id, lower(p.name), p.units
            FROM unnest(:names::text[], :units::numeric[]) AS p (name, units)
            """,
            variant_id=variant_id,
            names=names,
            units=units,
        )
        await write_audit(
            context, db, "product.set_packs", "product", product_id, after={"packs": list(packs)}
        )


class Count(Struct, frozen=True):
    """What was counted of a variant at a store, and when to order it again.

    Of what is not sold, because its variants are, there is only the latter.
    """

    product_id: UUID
    variant_id: UUID
    stock: OpeningStock
    with_quantity: bool
    with_reorder: bool
    is_sold: bool = True


async def set_stocks(context: Context, db: Database, counts: Sequence[Count], *, reason: str) -> None:
    """Book what makes each shelf as it was counted, where it is as the count expects (None: anyhow).

    Variants not counted there begin to be, with nothing.

    Raises what `move_stock` raises.
    """
    begun = [
        Opening(c.product_id, c.variant_id, OpeningStock(c.stock.store_id), is_sold=c.is_sold) for c in counts
    ]
    await open_balances(context, db, begun)
    moves = [
        Move(
            store_id=c.stock.store_id,
            variant_id=c.variant_id,
            kind="set",
            target=c.stock.quantity,
            expected=c.stock.expected,
            reason=reason,
            pointer=c.stock.pointer,
        )
        for c in counts
        if c.with_quantity
    ]
    for start in range(0, len(moves), MOST_LINES):
        await move_stock(context, db, moves[start : start + MOST_LINES])
    levels = [Opening(c.product_id, c.variant_id, c.stock) for c in counts if c.with_reorder]
    await set_levels(db, levels)


async def close_stock(db: Database, variant_ids: Sequence[UUID]) -> None:
    """End the counting of variants that are no longer sold. Their balances are empty, and stay so."""
    await db.execute(
        CLOSE_STOCK,
        variant_ids=list(variant_ids),
    )


# By way of the product, for which balances have an index. What was taken off is not to be ordered again.
CLOSE_STOCK = """
    UPDATE stock_balance b
    SET closed = true, reorder_level = CASE WHEN v.removed_at IS NULL THEN b.reorder_level END
    FROM variant v
    WHERE v.merchant_id = current_merchant() AND v.variant_id = ANY(:variant_ids::uuid[])
      AND b.merchant_id = v.merchant_id AND b.product_id = v.product_id AND b.variant_id = v.variant_id
"""


async def set_reorder(
    context: Context,
    variant_id: UUID,
    *,
    level: Decimal | UnsetType | None = UNSET,
    quantity: Decimal | UnsetType | None = UNSET,
) -> None:
    """When to order again at the caller's store, and how much; what is UNSET stays."""
    async with context.transaction() as db:
        columns = {
            name: value
            for name, value in (("reorder_level", level), ("reorder_quantity", quantity))
            if value is not UNSET
        }
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        changed = await db.execute(
            f"UPDATE stock_balance SET {assignments}"  # noqa: S608 - our own column names
            " WHERE merchant_id = current_merchant() AND store_id = :store_id AND variant_id = :variant_id",
            store_id=context.store_id,
            variant_id=variant_id,
            **columns,
        )
        if not changed:
            raise NotStocked()
