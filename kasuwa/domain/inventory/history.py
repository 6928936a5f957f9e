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
        return await db.all(
            """
            SELECT b.variant_id, b.product_id, v.sku, concat_ws(', ', p.name, nullif(v.name, '')) AS name,
                   stock_as_at(b.store_id, b.variant_id, 'on_hand', :at) AS on_hand,
                   stock_as_at(b.store_id, b.variant_id, 'reserved', :at) AS reserved,
                   stock_as_at(b.store_id, b.variant_id, 'in_transit', :at) AS in_transit,
                   stock_as_at(b.store_id, b.variant_id, 'damaged', :at) AS damaged,
                   stock_as_at(b.store_id, b.variant_id, 'shortfall', :at) AS shortfall
            FROM (
              SELECT merchant_id, store_id, variant_id, product_id FROM stock_balance
              WHERE merchant_id = current_merchant() AND store_id = :store_id
                AND (:after::uuid IS NULL OR variant_id > :after)
              ORDER BY variant_id LIMIT :size
            ) b
            JOIN variant v ON v.merchant_id = b.merchant_id AND v.variant_id = b.variant_id
            JOIN product p ON p.merchant_id = b.merchant_id AND p.product_id = b.product_id
            ORDER BY b.variant_id
            """,
            into=StockAsAt,
            at=at,
            store_id=context.store_id,
            after=after,
            size=size,
        )


async def list_low_stock(context: Context, *, after: UUID | None, size: int) -> list[LowStock]:
    """The events of the caller's store, the newest first."""
    context.require(Permission.STOCK_READ)
    async with context.reading() as db:
        return await db.all(
            """
            SELECT e.event_id, e.at, e.variant_id, e.product_id, v.sku,
                   concat_ws(', ', p.name, nullif(v.name, '')) AS name, e.available, e.reorder_level
            FROM stock_low_event e
            JOIN variant v ON v.merchant_id = e.merchant_id AND v.variant_id = e.variant_id
            JOIN product p ON p.merchant_id = e.merchant_id AND p.product_id = e.product_id
            WHERE e.merchant_id = current_merchant() AND e.store_id = :store_id
              AND (:after::uuid IS NULL OR e.event_id < :after)
            ORDER BY e.event_id DESC LIMIT :size
            """,
            into=LowStock,
            store_id=context.store_id,
            after=after,
            size=size,
        )
