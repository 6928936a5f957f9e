"""Changes of stock: every one is a movement in the ledger."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

import asyncpg
from msgspec import UNSET, Struct, UnsetType

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.domain.catalogue.records import OpeningStock
from kasuwa.domain.inventory.errors import NotEnoughStock, NotStocked


async def open_balance(
    context: Context, db: Database, product_id: UUID, variant_id: UUID, opening: OpeningStock
) -> None:
    """Begin to count a variant at a store, with what lies there."""
    await db.execute(
        """
        INSERT INTO stock_balance (merchant_id, store_id, variant_id, product_id, reorder_level,
                                   reorder_quantity)
        VALUES (current_merchant(), :store_id, :variant_id, :product_id, :reorder_level, :reorder_quantity)
        ON CONFLICT (merchant_id, store_id, variant_id) DO NOTHING
        """,
        store_id=opening.store_id,
        variant_id=variant_id,
        product_id=product_id,
        reorder_level=opening.reorder_level,
        reorder_quantity=opening.reorder_quantity,
    )
    if opening.quantity:
        await move_stock(
            context,
            db,
            opening.store_id,
            variant_id,
            kind="opening",
            change=opening.quantity,
            reason="opening stock",
        )


class Opening(Struct, frozen=True):
    """A variant that begins to be counted at a store."""

    product_id: UUID
    variant_id: UUID
    stock: OpeningStock


async def open_balances(context: Context, db: Database, openings: Sequence[Opening]) -> None:
    """Begin to count variants that nobody can have counted yet; what lies there is their first movement.

    For variants inserted in this transaction. Balances and movements are one statement each.
    """
    ordered = sorted(openings, key=lambda o: (o.stock.store_id, o.variant_id))
    if not ordered:
        return
    await db.execute(
        _OPEN_BALANCES,
        store_ids=[o.stock.store_id for o in ordered],
        variant_ids=[o.variant_id for o in ordered],
        product_ids=[o.product_id for o in ordered],
        movement_ids=[new_id() for _ in ordered],
        quantities=[o.stock.quantity for o in ordered],
        levels=[o.stock.reorder_level for o in ordered],
        orders=[o.stock.reorder_quantity for o in ordered],
        actor=f"{context.caller.kind}:{context.caller.id}",
        document=context.request_id,
    )


_OPEN_BALANCES = """
    WITH opened AS (
      SELECT o.*, :actor::text AS actor, :document::text AS document, clock.at,
             CASE WHEN o.quantity = 0 THEN '\\x'::bytea ELSE movement_hash(
               '\\x', current_merchant(), o.store_id, o.variant_id, 1, o.movement_id, clock.at, 'opening',
               o.quantity, 0, o.quantity, :actor, '', 'opening stock', :document) END AS hash
      FROM (SELECT clock_timestamp() AS at) clock,
           unnest(:store_ids::uuid[], :variant_ids::uuid[], :product_ids::uuid[], :movement_ids::uuid[],
                  :quantities::numeric(18, 3)[], :levels::numeric[], :orders::numeric[])
             AS o (store_id, variant_id, product_id, movement_id, quantity, level, to_order)
    ), balances AS (
      INSERT INTO stock_balance (merchant_id, store_id, variant_id, product_id, on_hand, reorder_level,
                                 reorder_quantity, seq, head, updated_at)
      SELECT current_merchant(), store_id, variant_id, product_id, quantity, level, to_order,
             (quantity <> 0)::integer, hash, at
      FROM opened
    )
    INSERT INTO stock_movement (merchant_id, store_id, variant_id, seq, movement_id, at, kind, quantity,
                                before, after, actor, device, reason, document, previous_hash, hash)
    SELECT current_merchant(), store_id, variant_id, 1, movement_id, at, 'opening', quantity, 0, quantity,
           actor, '', 'opening stock', document, '\\x', hash
    FROM opened WHERE quantity <> 0
"""


class Count(Struct, frozen=True):
    """What was counted of a variant at a store; None where only the reorder figures are said."""

    product_id: UUID
    variant_id: UUID
    stock: OpeningStock
    with_quantity: bool
    with_reorder: bool


async def set_stocks(context: Context, db: Database, counts: Sequence[Count], *, reason: str) -> None:
    """Book what makes each shelf as it was counted, in the order of the balances' ids; see `set_stock`.

    A variant that was not counted at a store begins to be. Raises NotEnoughStock when more is reserved.
    """
    for count in sorted(counts, key=lambda c: (c.stock.store_id, c.variant_id)):
        stock = count.stock
        if count.with_quantity or count.with_reorder:
            empty = OpeningStock(stock.store_id)
            await open_balance(context, db, count.product_id, count.variant_id, empty)
        if count.with_reorder:
            await db.execute(
                """
                UPDATE stock_balance SET reorder_level = :level, reorder_quantity = :quantity
                WHERE merchant_id = current_merchant() AND store_id = :store_id AND variant_id = :variant_id
                """,
                store_id=stock.store_id,
                variant_id=count.variant_id,
                level=stock.reorder_level,
                quantity=stock.reorder_quantity,
            )
        if count.with_quantity:
            await set_stock(context, db, stock.store_id, count.variant_id, stock.quantity, reason=reason)


async def set_stock(
    context: Context, db: Database, store_id: UUID, variant_id: UUID, target: Decimal, *, reason: str
) -> Decimal:
    """Book what makes the shelf `target`, under the balance's lock; answer the figure."""
    return await move_stock(context, db, store_id, variant_id, kind="set", target=target, reason=reason)


async def move_stock(
    context: Context,
    db: Database,
    store_id: UUID,
    variant_id: UUID,
    *,
    kind: str,
    change: Decimal | None = None,
    target: Decimal | None = None,
    reason: str,
    document: str = "",
) -> Decimal:
    """One guarded movement: by `change`, or to `target`. Raises NotEnoughStock, NotStocked."""
    try:
        after: Decimal | None = await db.value(
            """
            SELECT move_stock(:store_id, :variant_id, :movement_id, :kind, :change, :target, :actor, :device,
                              :reason, :document)
            """,
            store_id=store_id,
            variant_id=variant_id,
            movement_id=new_id(),
            kind=kind,
            change=change,
            target=target,
            actor=f"{context.caller.kind}:{context.caller.id}",
            device="",
            reason=reason,
            document=document or context.request_id,
        )
    except asyncpg.CheckViolationError as error:
        if error.constraint_name == "stock_never_below_zero":
            raise NotEnoughStock() from None
        if error.constraint_name == "stock_closed_is_empty":
            raise NotStocked() from None
        raise
    if after is None:
        raise NotStocked()
    return after


async def close_stock(db: Database, variant_ids: Sequence[UUID]) -> None:
    """End the counting of variants that are no longer sold. Their balances are empty, and stay so."""
    await db.execute(
        "UPDATE stock_balance SET closed = true"
        " WHERE merchant_id = current_merchant() AND variant_id = ANY(:variant_ids::uuid[])",
        variant_ids=list(variant_ids),
    )


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
