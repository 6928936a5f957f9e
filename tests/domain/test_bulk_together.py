"""Many products written by several at once: nobody waits for another, and the totals are right."""

from decimal import Decimal
from itertools import pairwise

import pytest

from kasuwa.base.context import Context
from kasuwa.base.problems import Unavailable
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct
from kasuwa.domain.catalogue.numbers import Numbers, NumbersAhead
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from tests.domain.test_catalogue import check_books
from tests.shop import Shop


def rows(shop: Shop, begin: str, count: int = 3) -> list[BulkProduct]:
    return [
        BulkProduct(
            new=NewProduct(
                name=f"Malt {begin} {n}",
                variants=(
                    NewVariant(
                        sku=f"{begin}-{n}",
                        price=Price(currency="NGN", selling_minor=500),
                        opening=(OpeningStock(shop.owner.store_id, Decimal(n)),),
                    ),
                ),
            )
        )
        for n in range(count)
    ]


async def write_side_by_side(shop: Shop, *, ahead: bool) -> None:
    """One writes and stays open, another writes and ends; that one waits a little for any lock."""
    first, second = (shop.owner.acting_as(shop.owner.caller) for _ in range(2))

    def numbers(context: Context) -> Numbers:
        return NumbersAhead(context) if ahead else Numbers()

    async with first.transaction():
        await write_products(first, rows(shop, "A"), numbers=numbers(first))
        async with second.transaction() as db:
            await db.call("SET LOCAL lock_timeout = '300ms'")
            await write_products(second, rows(shop, "B"), numbers=numbers(second))


async def test_two_write_side_by_side_and_the_totals_stay_right(shop: Shop) -> None:
    await write_side_by_side(shop, ahead=True)
    await check_books(shop.owner)
    async with shop.owner.reading() as db:
        parts = "SELECT count(*) FROM merchant_counter WHERE name = 'products.active'"
        assert await db.value(parts) == 2
        assert await db.value("SELECT count(DISTINCT number) FROM product") == 6
    # With the total in two parts each change goes to one of them.
    for begin in "CDE":
        await write_products(shop.owner, rows(shop, begin))
        await check_books(shop.owner)


async def test_numbers_of_the_same_transaction_keep_others_waiting(shop: Shop) -> None:
    """The control: a lock that one holds is seen."""
    with pytest.raises(Unavailable):
        await write_side_by_side(shop, ahead=False)


async def test_numbers_ahead_are_never_given_twice(shop: Shop) -> None:
    ahead = NumbersAhead(shop.owner)
    async with shop.owner.reading() as db:
        taken = [await ahead.take(db, "product", n) for n in (1, 400, 700, 1500, 2)]
        spans = sorted(zip(taken, (1, 400, 700, 1500, 2), strict=True))
        assert all(first + n <= after for (first, n), (after, _) in pairwise(spans))
        assert await Numbers().take(db, "product", 1) > max(first + n - 1 for first, n in spans)
