"""The first movements of many variants that are made in the same transaction: nobody can have moved them.

What `move_stock` does line by line is here one statement: each balance begins with its opening quantity, and
its chain with the movement that says so. Tests compare the two.
"""

from collections.abc import Sequence
from uuid import UUID

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.domain.inventory.actions import Opening, has_levels, set_levels
from kasuwa.domain.permissions import Permission
from kasuwa.domain.staff.queries import read_ranks
from kasuwa.domain.stores.queries import read_store_ids


async def may_open_at(context: Context, db: Database) -> set[UUID]:
    """Where the caller may open stock: a person at the locations where they may write it."""
    if context.caller.user_id is None:
        return set(await read_store_ids(db))
    ranks = await read_ranks(db, context.caller.user_id)
    return {store_id for store_id, rank in ranks.items() if Permission.STOCK_WRITE in rank.permissions}


async def open_new_balances(context: Context, db: Database, openings: Sequence[Opening]) -> None:
    """Begin to count variants that were inserted in this transaction; quantities fit their units."""
    ordered = sorted(openings, key=lambda one: (one.stock.store_id, one.variant_id))
    if not ordered:
        return
    # What begins at or below its level crosses it, which a change of the balance notices.
    later = [one for one in ordered if has_levels(one) and _begins_low(one)]
    at_once = [None if _begins_low(one) else one.stock for one in ordered]
    await db.execute(
        _OPEN,
        store_ids=[one.stock.store_id for one in ordered],
        variant_ids=[one.variant_id for one in ordered],
        product_ids=[one.product_id for one in ordered],
        movement_ids=[new_id() for _ in ordered],
        quantities=[one.stock.quantity for one in ordered],
        costs=[one.cost_minor for one in ordered],
        levels=[stock and stock.reorder_level for stock in at_once],
        reorder_quantities=[stock and stock.reorder_quantity for stock in at_once],
        sold=[one.is_sold for one in ordered],
        actor=f"{context.caller.kind}:{context.caller.id}",
        user_id=context.caller.user_id,
        request_id=context.request_id,
    )
    await set_levels(db, later)


def _begins_low(one: Opening) -> bool:
    level = one.stock.reorder_level
    return level is not None and one.stock.quantity <= level


# The columns of a movement in their order: `movement_hash` takes a whole row.
_OPEN = """
    WITH opened AS MATERIALIZED (
      SELECT o.*, unit_decimals(p.unit) AS decimals, p.kind = 'variant' AS is_part,
             CASE WHEN o.quantity > 0 THEN ROW(
               p.merchant_id, o.store_id, o.variant_id, 1, o.movement_id, o.product_id, clock.at, 'opening',
               'on_hand', o.quantity, 0, o.quantity, o.cost, coalesce(o.quantity * o.cost, 0), o.cost, NULL,
               NULL, '{}'::text[], :actor::text, :user_id::uuid, '', 'opening stock', '', '', '',
               :request_id::text, '\\x'::bytea, NULL)::stock_movement END AS m
      FROM unnest(:store_ids::uuid[], :variant_ids::uuid[], :product_ids::uuid[], :movement_ids::uuid[],
                  :quantities::numeric[], :costs::numeric[], :levels::numeric[],
                  :reorder_quantities::numeric[], :sold::boolean[])
             AS o (store_id, variant_id, product_id, movement_id, quantity, cost, reorder_level,
                   reorder_quantity, is_sold)
      -- One by one, along the index: statistics of a shop that is being filled know nothing of its products.
      CROSS JOIN LATERAL (
        SELECT p.merchant_id, p.unit, p.kind FROM product p
        WHERE p.merchant_id = current_merchant() AND p.product_id BETWEEN o.product_id AND o.product_id
        ORDER BY p.product_id LIMIT 1
      ) p
      CROSS JOIN (SELECT clock_timestamp() AS at) clock
    ), hashed AS MATERIALIZED (
      SELECT o.*, movement_hash(o.m) AS hash FROM opened o
    ), balances AS (
      INSERT INTO stock_balance (merchant_id, store_id, variant_id, product_id, decimals, on_hand, cost_value,
                                 average_cost, seq, head, reorder_level, reorder_quantity, closed,
                                 is_part)
      SELECT current_merchant(), store_id, variant_id, product_id, decimals, quantity,
             coalesce((m).value_change, 0), (m).average_cost, coalesce((m).seq, 0), coalesce(hash, '\\x'),
             reorder_level, reorder_quantity, NOT is_sold, is_part
      FROM hashed
    )
    INSERT INTO stock_movement
    SELECT (m).merchant_id, (m).store_id, (m).variant_id, (m).seq, (m).movement_id, (m).product_id, (m).at,
           (m).kind, (m).state, (m).quantity, (m).before, (m).after, (m).unit_cost, (m).value_change,
           (m).average_cost, (m).batch_no, (m).expires_on, (m).serials, (m).actor, (m).user_id, (m).device,
           (m).reason, (m).reference, (m).note, (m).party, (m).request_id, (m).previous_hash, hash
    FROM hashed WHERE quantity > 0
"""
