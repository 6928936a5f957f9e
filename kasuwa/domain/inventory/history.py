"""What lay in a store when, and when it ran low."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.domain.permissions import Permission


class StockAsAt(Struct, frozen=True, kw_only=True):
    """The states of a variant at an instant."""

    variant_id: UUID
    product_id: UUID
    sku: str
    name: str
    on_hand: Decimal
    reserved: Decimal
    in_transit: Decimal
    damaged: Decimal
    shortfall: Decimal


class LowStock(Struct, frozen=True, kw_only=True):
    """What is available fell to the reorder level, or below it."""

    event_id: UUID
    at: datetime
    variant_id: UUID
    product_id: UUID
    sku: str
    name: str
    available: Decimal
    reorder_level: Decimal


async def list_stock_as_at(
    context: Context, at: datetime, *, after: UUID | None, size: int
) -> list[StockAsAt]:
    """Every variant that is counted at the caller's store, by id, with what lay there at the instant."""
    context.require(Permission.STOCK_AUDIT)
    async with context.reading() as db:
        return await db.all(AS_AT, into=StockAsAt, at=at, store_id=context.store_id, after=after, size=size)


# What lies there now, less what came since: a chain is read from its end to the instant, and no further. A
# state that a balance never had would be looked for to its beginning.
AS_AT = """
    SELECT b.variant_id, b.product_id, v.sku, concat_ws(', ', p.name, nullif(v.name, '')) AS name,
           b.on_hand - since.on_hand AS on_hand, b.reserved - since.reserved AS reserved,
           b.in_transit - since.in_transit AS in_transit, b.damaged - since.damaged AS damaged,
           b.shortfall - since.shortfall AS shortfall
    FROM (
      SELECT * FROM stock_balance
      WHERE merchant_id = current_merchant() AND store_id = :store_id
        AND (:after::uuid IS NULL OR variant_id > :after)
      ORDER BY variant_id LIMIT :size
    ) b
    JOIN variant v ON v.merchant_id = b.merchant_id AND v.variant_id = b.variant_id
    JOIN product p ON p.merchant_id = b.merchant_id AND p.product_id = b.product_id
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(m.quantity) FILTER (WHERE m.state = 'on_hand'), 0) AS on_hand,
             coalesce(sum(m.quantity) FILTER (WHERE m.state = 'reserved'), 0) AS reserved,
             coalesce(sum(m.quantity) FILTER (WHERE m.state = 'in_transit'), 0) AS in_transit,
             coalesce(sum(m.quantity) FILTER (WHERE m.state = 'damaged'), 0) AS damaged,
             coalesce(sum(m.quantity) FILTER (WHERE m.state = 'shortfall'), 0) AS shortfall
      FROM stock_movement m
      WHERE m.merchant_id = current_merchant() AND m.store_id = b.store_id AND m.variant_id = b.variant_id
        -- A query of its own: under row-level security no index is used for a condition with coalesce().
        AND m.seq > (SELECT coalesce((
          SELECT o.seq FROM stock_movement o
          WHERE o.merchant_id = current_merchant() AND o.store_id = b.store_id
            AND o.variant_id = b.variant_id AND o.at <= :at
          ORDER BY o.seq DESC LIMIT 1), 0))
    ) since
    ORDER BY b.variant_id
"""


async def list_low_stock(context: Context, *, after: UUID | None, size: int) -> list[LowStock]:
    """The events of the caller's store, the newest first, of products whose quantity is tracked."""
    context.require(Permission.STOCK_READ)
    async with context.reading() as db:
        return await db.all(LOW_EVENTS, into=LowStock, store_id=context.store_id, after=after, size=size)


LOW_EVENTS = """
    SELECT e.event_id, e.at, e.variant_id, e.product_id, v.sku,
           concat_ws(', ', p.name, nullif(v.name, '')) AS name, e.available, e.reorder_level
    FROM stock_low_event e
    JOIN variant v ON v.merchant_id = e.merchant_id AND v.variant_id = e.variant_id
    JOIN product p ON p.merchant_id = e.merchant_id AND p.product_id = e.product_id AND p.track_quantity
    WHERE e.merchant_id = current_merchant() AND e.store_id = :store_id
      AND (:after::uuid IS NULL OR e.event_id < :after)
    ORDER BY e.event_id DESC LIMIT :size
"""
