"""Changes of stock: every one is a movement in the ledger."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

import asyncpg
from msgspec import UNSET, UnsetType

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
        CLOSE_STOCK,
        variant_ids=list(variant_ids),
    )


# By way of the product, for which balances have an index.
CLOSE_STOCK = """
    UPDATE stock_balance b SET closed = true
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
