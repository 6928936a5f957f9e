"""Goods that come in at a new cost."""

from kasuwa.base.context import Context
from kasuwa.domain.catalogue.actions import lock_product, set_cost_price
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.queries import Counted
from kasuwa.domain.inventory.records import Move, Moved
from kasuwa.domain.permissions import Permission


async def receive_at_cost(context: Context, counted: Counted, move: Move) -> Moved:
    """Move what came in, and make what one unit cost the variant's cost price."""
    context.require(Permission.STOCK_PRICE)
    async with context.transaction() as db:
        # As everywhere: the product before its balances.
        await lock_product(db, counted.product_id)
        (moved,) = await move_stock(context, db, [move])
        assert moved.unit_cost_minor is not None
        await set_cost_price(context, counted.product_id, counted.variant_id, moved.unit_cost_minor)
    return moved
