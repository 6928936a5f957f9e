"""What lies at a location may have cost 10^12 in all: how a stocktake and a transfer meet that end."""

from decimal import Decimal
from uuid import UUID

import pytest

from kasuwa.base.context import Context
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price, Product
from kasuwa.domain.inventory.errors import WrongQuantity
from kasuwa.domain.stocktakes.actions import add_counts, close_stocktake, start_stocktake
from kasuwa.domain.stocktakes.queries import list_lines
from kasuwa.domain.stocktakes.records import Count
from kasuwa.domain.transfers.actions import accept_line
from tests.shop import Shop
from tests.transfers import Road, at_store, bring, held, ledger_faults, wanted

# In kobo: so much for one, and so many of them are worth 10^12 naira.
COST_MINOR, MOST = 10**9 * 100, 1000


async def dear(context: Context, *store_ids: UUID) -> Product:
    """A product with as many as may lie there at each of these stores."""
    opening = tuple(OpeningStock(one, Decimal(MOST)) for one in store_ids)
    price = Price(currency="NGN", selling_minor=1, cost_minor=COST_MINOR)
    return await create_product(
        context, NewProduct(name="Ring", variants=(NewVariant(price=price, opening=opening),))
    )


async def test_a_delivery_ends_at_it(shop: Shop) -> None:
    ring = await dear(shop.owner, shop.store_id)
    with pytest.raises(WrongQuantity):
        await bring(shop.owner, ring, 1, COST_MINOR)
    assert (await held(shop.owner, ring)).on_hand == MOST


@pytest.mark.parametrize(("counted", "booked"), [(MOST, 0), (MOST + 1, 0), (MOST - 1, -1)])
async def test_a_count_beyond_it_is_named_at_its_line_and_not_booked(
    shop: Shop, counted: int, booked: int
) -> None:
    ring = await dear(shop.owner, shop.store_id)
    begun = await start_stocktake(shop.owner, name=None, blind=False)
    count = Count(variant_id=ring.main.variant_id, quantity=Decimal(counted))
    await add_counts(shop.owner, begun.stocktake_id, [count])
    await close_stocktake(shop.owner, begun.stocktake_id)
    (line,) = await list_lines(shop.owner, begun.stocktake_id, only_different=False, after=None, size=10)
    assert [line.counted, line.booked] == [counted, booked]
    assert (line.problem is not None) == (counted > MOST)
    if line.problem is not None:
        assert "1000000000000" in line.problem
    assert (await held(shop.owner, ring)).on_hand == MOST + booked
    assert await ledger_faults(shop.owner) == []


async def test_a_parcel_arrives_all_the_same(shop: Shop) -> None:
    road = Road(shop.owner, at_store(shop.owner, shop.second_store_id))
    ring = await dear(shop.owner, shop.store_id, shop.second_store_id)
    transfer = await road.send(wanted(ring, 5))
    await accept_line(road.there, transfer.lines[0].line_id)
    assert (await held(road.there, ring)).on_hand == MOST + 5
    assert await ledger_faults(shop.owner) == []
