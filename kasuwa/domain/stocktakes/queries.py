"""Questions about stocktakes."""

from uuid import UUID

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stocktakes.errors import StocktakeNotFound
from kasuwa.domain.stocktakes.records import Line, Status, Stocktake

_COLUMNS = """
    s.stocktake_id, s.store_id, s.name, s.note, s.status, s.blind, s.started_at, s.started_by, s.ended_at,
    s.ended_by,
    (SELECT count(DISTINCT c.variant_id) FROM stocktake_count c
     WHERE c.merchant_id = s.merchant_id AND c.stocktake_id = s.stocktake_id)::integer AS counted,
    (SELECT count(*) FROM stocktake_line l
     WHERE l.merchant_id = s.merchant_id AND l.stocktake_id = s.stocktake_id AND l.problem IS NOT NULL
    )::integer AS unbooked
"""

COUNTED = """
    SELECT l.variant_id, sum(l.quantity) AS counted, max(l.counted_at) AS counted_at,
           min(l.counted_at) AS first_counted_at
    FROM (
      SELECT DISTINCT ON (c.variant_id, c.zone) c.variant_id, c.quantity, c.counted_at
      FROM stocktake_count c
      WHERE c.merchant_id = current_merchant() AND c.stocktake_id = :stocktake_id
        AND (:after::uuid IS NULL OR c.variant_id > :after)
      ORDER BY c.variant_id, c.zone, c.counted_at DESC, c.count_id DESC
    ) l
    GROUP BY l.variant_id
"""
"""What holds of the counts: the latest of each zone, zones added up."""

PROBLEM = """
    CASE WHEN c.first_counted_at < c.counted_at
              AND shelf_moved(:store_id, c.variant_id, c.first_counted_at, c.counted_at)
         THEN 'It moved between its counts: count all its zones again'
         WHEN EXISTS (
           SELECT FROM variant v
           JOIN product p ON p.merchant_id = v.merchant_id AND p.product_id = v.product_id
           WHERE v.merchant_id = current_merchant() AND v.variant_id = c.variant_id AND NOT p.track_quantity
         )
         THEN 'Nobody tracks its quantity any more: switch on trackQuantity and count it again' END
"""
"""Why a line of the counts `c` is not booked: what moved may have been counted twice, or not at all; and what
is not tracked has no quantity to be right."""


async def get_stocktake(context: Context, stocktake_id: UUID) -> Stocktake:
    """The stocktake of the caller's store. Raises StocktakeNotFound."""
    context.require(Permission.STOCK_COUNT)
    async with context.reading() as db:
        return await read_stocktake(context, db, stocktake_id)


async def read_stocktake(context: Context, db: Database, stocktake_id: UUID) -> Stocktake:
    return await db.one(
        f"""
        SELECT {_COLUMNS} FROM stocktake s
        WHERE s.merchant_id = current_merchant() AND s.stocktake_id = :stocktake_id
          AND s.store_id = :store_id
        """,  # noqa: S608 - our own columns
        into=Stocktake,
        missing=StocktakeNotFound(),
        stocktake_id=stocktake_id,
        store_id=context.store_id,
    )


async def list_stocktakes(
    context: Context, *, status: Status | None, after: UUID | None, size: int
) -> list[Stocktake]:
    """Those of the caller's store, the newest first, after the one that a page ended with."""
    context.require(Permission.STOCK_COUNT)
    async with context.reading() as db:
        return await db.all(
            f"""
            SELECT {_COLUMNS} FROM stocktake s
            WHERE s.merchant_id = current_merchant() AND s.store_id = :store_id
              AND (:status::text IS NULL OR s.status = :status)
              AND (:after::uuid IS NULL OR s.stocktake_id < :after)
            ORDER BY s.stocktake_id DESC LIMIT :size
            """,  # noqa: S608 - our own columns
            into=Stocktake,
            store_id=context.store_id,
            status=status,
            after=after,
            size=size,
        )


async def list_lines(
    context: Context, stocktake_id: UUID, *, only_different: bool, after: UUID | None, size: int
) -> list[Line]:
    """What was counted beside the books, by variant. Of a closed stocktake: as it was booked.

    A blind one shows it only to who may change quantities: others count what lies there, not what they read.
    """
    context.require(Permission.STOCK_COUNT)
    async with context.reading() as db:
        stocktake = await read_stocktake(context, db, stocktake_id)
        if stocktake.blind:
            context.require(Permission.STOCK_QUANTITY)
        return await db.all(
            _OPEN_LINES if stocktake.status != "closed" else _CLOSED_LINES,
            into=Line,
            stocktake_id=stocktake_id,
            store_id=context.store_id,
            only_different=only_different,
            after=after,
            size=size,
        )


_NAMED = """
    SELECT l.variant_id, v.product_id, v.sku, concat_ws(', ', p.name, nullif(v.name, '')) AS name, l.counted,
           l.counted_at, l.expected, l.booked, l.problem
    FROM lines l
    JOIN variant v ON v.merchant_id = current_merchant() AND v.variant_id = l.variant_id
    JOIN product p ON p.merchant_id = current_merchant() AND p.product_id = v.product_id
    WHERE NOT :only_different OR l.counted <> l.expected OR l.problem IS NOT NULL
    ORDER BY l.variant_id LIMIT :size
"""
_OPEN_LINES = f"""
    WITH lines AS (
      SELECT c.variant_id, c.counted, c.counted_at,
             stock_expected(:store_id, c.variant_id, 'on_hand', c.counted_at) AS expected,
             0::numeric AS booked, {PROBLEM} AS problem
      FROM ({COUNTED}) c
    )
    {_NAMED}
"""  # noqa: S608 - our own words
_CLOSED_LINES = f"""
    WITH lines AS (
      SELECT l.variant_id, l.counted, l.counted_at, l.expected, l.booked, l.problem
      FROM stocktake_line l
      JOIN stocktake s USING (merchant_id, stocktake_id)
      WHERE l.merchant_id = current_merchant() AND l.stocktake_id = :stocktake_id AND s.store_id = :store_id
        AND (:after::uuid IS NULL OR l.variant_id > :after)
    )
    {_NAMED}
"""  # noqa: S608 - our own words
