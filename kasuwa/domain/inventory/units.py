"""The units of a variant: in what packs they come, and which of them have serial numbers."""

from datetime import date, datetime
from typing import Literal, TypeAlias
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.inventory.errors import NoSuchVariant
from kasuwa.domain.inventory.records import Pack
from kasuwa.domain.permissions import Permission

SerialStatus: TypeAlias = Literal["in_stock", "gone"]


class Serial(Struct, frozen=True):
    """A unit with a serial number. Batch and time are those of its last movement, at whichever store.

    `gone` lies nowhere: it was sold, broke, was taken out, or is on its way.
    """

    serial: str
    status: SerialStatus
    batch_no: str | None
    expires_on: date | None
    moved_at: datetime | None


async def read_packs(context: Context, variant_id: UUID) -> list[Pack]:
    """The packs of a variant, by name. Raises NoSuchVariant."""
    context.require(Permission.STOCK_READ)
    async with context.reading() as db:
        await _product_of(db, variant_id)
        return await db.all(
            """
            SELECT pack AS name, units FROM variant_pack
            WHERE merchant_id = current_merchant() AND variant_id = :variant_id ORDER BY pack
            """,
            into=Pack,
            variant_id=variant_id,
        )


async def list_serials(
    context: Context, variant_id: UUID, *, wanted: SerialStatus | None, after: str | None, size: int
) -> list[Serial]:
    """Serial numbers of a variant in their order: those at the caller's store, those that are gone, or both.

    `after` is the last one of the page before. Raises NoSuchVariant.
    """
    context.require(Permission.STOCK_READ)
    async with context.reading() as db:
        product_id = await _product_of(db, variant_id)
        return await db.all(
            SERIALS,
            into=Serial,
            variant_id=variant_id,
            product_id=product_id,
            store_id=context.store_id,
            here=wanted != "gone",
            gone=wanted != "in_stock",
            after=after,
            size=size,
        )


async def _product_of(db: Database, variant_id: UUID) -> UUID:
    return await db.one(
        """
        SELECT product_id FROM variant
        WHERE merchant_id = current_merchant() AND variant_id = :variant_id AND NOT archived
        """,
        into=lambda product_id: UUID(int=product_id.int),
        missing=NoSuchVariant(),
        variant_id=variant_id,
    )


# The movements are read once for a page, by way of the product, for which they have an index.
SERIALS = """
    WITH shown AS MATERIALIZED (
      SELECT s.serial, s.store_id FROM stock_serial s
      WHERE s.merchant_id = current_merchant() AND s.variant_id = :variant_id
        AND (:after::text IS NULL OR s.serial > :after)
        AND ((:here AND s.store_id = :store_id) OR (:gone AND s.store_id IS NULL))
      ORDER BY s.serial LIMIT :size
    ), moved AS (
      SELECT DISTINCT ON (n.serial) n.serial, m.batch_no, m.expires_on, m.at
      FROM stock_movement m CROSS JOIN LATERAL unnest(m.serials) n (serial)
      WHERE m.merchant_id = current_merchant() AND m.product_id = :product_id
        AND m.variant_id = :variant_id AND m.state = 'on_hand'
        AND n.serial IN (SELECT serial FROM shown)
      ORDER BY n.serial, m.at DESC, m.movement_id DESC
    )
    SELECT s.serial, CASE WHEN s.store_id IS NULL THEN 'gone' ELSE 'in_stock' END AS status,
           m.batch_no, m.expires_on, m.at AS moved_at
    FROM shown s LEFT JOIN moved m USING (serial)
    ORDER BY s.serial
"""
