"""The feed of price changes: what it tells to whom, and that no reader misses what commits late."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest

from kasuwa.base.context import Context, StoreId
from kasuwa.base.cursors import CursorWrong
from kasuwa.base.problems import Invalid
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import ProductChange, create_product, remove_product, update_product
from kasuwa.domain.catalogue.errors import PageTooDeep
from kasuwa.domain.catalogue.price_feed import FeedWish, PriceChange, put_changes_together, read_price_changes
from kasuwa.domain.catalogue.price_rules import PriceWish
from kasuwa.domain.catalogue.pricing import change_prices
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    OptionValue,
    Price,
    Product,
    ProductOption,
)
from tests.base.database import connected, superuser_url
from tests.shop import Shop

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def a_product(name: str = "Basket", minor: int = 150_000) -> NewProduct:
    price = Price(currency="NGN", selling_minor=minor, cost_minor=90_000)
    return NewProduct(name=name, variants=(NewVariant(price=price),))


def of_store(shop: Shop, store_id: UUID) -> Context:
    """The owner with a request of their own at that store."""
    caller = msgspec.structs.replace(shop.owner.caller, store_id=StoreId(store_id))
    return shop.owner.acting_as(caller)


def here(shop: Shop) -> Context:
    return of_store(shop, shop.store_id)


def there(shop: Shop) -> Context:
    return of_store(shop, shop.second_store_id)


async def set_selling(context: Context, product: Product, amount: int, *, everywhere: bool = True) -> Product:
    wish = PriceWish(pointer="/prices", selling=Decimal(amount))
    return await change_prices(context, product.product_id, wish, everywhere=everywhere)


async def read_all(context: Context, since: datetime, size: int = 200) -> tuple[list[PriceChange], datetime]:
    """Every page to the end, and the time to go on from."""
    rows: list[PriceChange] = []
    cursor = None
    while True:
        page = await read_price_changes(context, FeedWish(since=since, size=size, cursor=cursor))
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return rows, page.as_of


def told(rows: list[PriceChange]) -> list[tuple[str, int | None, int | None]]:
    return [
        (
            row.kind,
            row.before.selling_minor if row.before else None,
            row.after.selling_minor if row.after else None,
        )
        for row in rows
    ]


# What is told to whom ------------------------------------------------------------------------------


async def test_a_product_is_told_from_its_making_to_its_end(shop: Shop) -> None:
    context = here(shop)
    product = await create_product(context, a_product())
    await set_selling(context, product, 1600)
    await set_selling(context, product, 1600)
    await update_product(context, product.product_id, ProductChange(name="Big basket"))
    price = Price(currency="NGN", selling_minor=170_000, cost_minor=90_000)
    await update_product(context, product.product_id, ProductChange(price=price))
    await remove_product(context, product.product_id)
    rows, _ = await read_all(context, LONG_AGO)
    assert told(rows) == [
        ("created", None, 150_000),
        ("price_changed", 150_000, 160_000),
        ("price_changed", 160_000, 170_000),
        ("removed", 170_000, None),
    ]
    assert {row.product_id for row in rows} == {product.product_id}
    assert [row.variant_id for row in rows] == [None] * 4
    assert rows[-1].name == "Big basket"
    assert rows == sorted(rows, key=lambda row: row.change_id)


async def test_a_product_that_is_archived_is_removed_for_a_till(shop: Shop) -> None:
    context = here(shop)
    new = a_product()
    stocked = msgspec.structs.replace(new.variants[0], opening=(OpeningStock(shop.store_id, Decimal(3)),))
    product = await create_product(context, msgspec.structs.replace(new, variants=(stocked,)))
    removal = await remove_product(context, product.product_id, on_remaining="write_off")
    assert removal.status == "archived"
    rows, _ = await read_all(context, LONG_AGO)
    assert [row.kind for row in rows] == ["created", "removed"]


async def test_each_variant_has_a_line_of_its_own(shop: Shop) -> None:
    context = here(shop)
    variants = tuple(
        NewVariant(
            price=Price(currency="NGN", selling_minor=minor),
            name=size,
            options=(OptionValue("Size", size),),
        )
        for size, minor in (("S", 100), ("M", 200))
    )
    options = (ProductOption("Size", ("S", "M")),)
    product = await create_product(
        context, NewProduct(name="Kaftan", kind="variant", options=options, variants=variants)
    )
    rows, _ = await read_all(context, LONG_AGO)
    assert [(row.variant_id, row.name, row.after and row.after.selling_minor) for row in rows] == [
        (product.variants[0].variant_id, "Kaftan – S", 100),
        (product.variants[1].variant_id, "Kaftan – M", 200),
    ]


async def test_a_store_hears_its_own_changes_and_those_for_everybody(shop: Shop) -> None:
    product = await create_product(here(shop), a_product())
    await set_selling(here(shop), product, 1600, everywhere=False)
    # The common price alone: `here` has one of its own by now, and `there` has not.
    price = Price(currency="NGN", selling_minor=140_000, cost_minor=90_000)
    await update_product(there(shop), product.product_id, ProductChange(price=price))
    await set_selling(there(shop), product, 1800)
    await remove_product(here(shop), product.product_id)
    mine, _ = await read_all(here(shop), LONG_AGO)
    theirs, _ = await read_all(there(shop), LONG_AGO)
    assert told(mine) == [
        ("created", None, 150_000),
        ("price_changed", 150_000, 160_000),
        ("price_changed", 160_000, 180_000),
        ("removed", 180_000, None),
    ]
    assert told(theirs) == [
        ("created", None, 150_000),
        ("price_changed", 150_000, 140_000),
        ("price_changed", 140_000, 180_000),
        ("removed", 180_000, None),
    ]


async def test_who_may_not_see_costs_hears_nothing_of_them(shop: Shop) -> None:
    product = await create_product(here(shop), a_product())
    wish = PriceWish(pointer="/prices", cost=Decimal(950))
    await change_prices(here(shop), product.product_id, wish, everywhere=True)
    owners, _ = await read_all(here(shop), LONG_AGO)
    cashiers, _ = await read_all(shop.cashier(), LONG_AGO)
    assert [row.kind for row in owners] == ["created", "price_changed"]
    assert [row.after and row.after.cost_minor for row in owners] == [90_000, 95_000]
    assert [row.kind for row in cashiers] == ["created"]
    assert cashiers[0].after is not None
    assert cashiers[0].after.cost_minor is None


async def test_another_merchant_hears_nothing(shop: Shop, other_shop: Shop) -> None:
    await create_product(here(shop), a_product())
    assert (await read_all(here(other_shop), LONG_AGO))[0] == []


# Pages and times -----------------------------------------------------------------------------------


async def test_pages_by_number_and_by_cursor_tell_the_same(shop: Shop) -> None:
    context = here(shop)
    product = await create_product(context, a_product())
    for amount in range(1600, 1606):
        await set_selling(context, product, amount)
    whole, as_of = await read_all(context, LONG_AGO)
    assert (await read_all(context, LONG_AGO, size=3))[0] == whole
    numbered: list[PriceChange] = []
    for number in (1, 2, 3):
        page = await read_price_changes(context, FeedWish(since=LONG_AGO, page=number, size=3))
        assert (page.total, page.total_is_exact) == (7, True)
        numbered += page.rows
    assert numbered == whole
    assert as_of == whole[-1].changed_at
    # A time is a whole millisecond: a client whose clock knows no more loses nothing and gets nothing twice.
    assert all(row.changed_at.microsecond % 1000 == 0 for row in whole)
    for place, row in enumerate(whole):
        assert (await read_all(context, row.changed_at))[0] == whole[place + 1 :]
        until = await read_price_changes(context, FeedWish(since=LONG_AGO, until=row.changed_at))
        assert list(until.rows) == whole[: place + 1]
        assert until.as_of == row.changed_at


async def test_nothing_new_is_the_same_answer_again(shop: Shop) -> None:
    context = here(shop)
    await create_product(context, a_product())
    _, as_of = await read_all(context, LONG_AGO)
    first = await read_price_changes(context, FeedWish(since=as_of))
    assert first == await read_price_changes(context, FeedWish(since=as_of))
    assert (first.rows, first.as_of, first.total) == ((), as_of, 0)


async def test_a_time_that_has_not_come_yet_skips_nothing(shop: Shop) -> None:
    context = here(shop)
    page = await read_price_changes(context, FeedWish(since=datetime.now(UTC) + timedelta(days=9000)))
    await create_product(context, a_product())
    assert len((await read_all(context, page.as_of))[0]) == 1


async def test_what_is_no_time_or_page_of_the_feed_is_refused(shop: Shop) -> None:
    context = here(shop)
    with pytest.raises(Invalid):
        await read_price_changes(context, FeedWish(since=LONG_AGO, until=LONG_AGO - timedelta(seconds=1)))
    with pytest.raises(PageTooDeep):
        await read_price_changes(context, FeedWish(since=LONG_AGO, page=201))
    with pytest.raises(CursorWrong):
        await read_price_changes(context, FeedWish(since=LONG_AGO, cursor="next"))
    for since in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert (await read_price_changes(context, FeedWish(since=since))).rows == ()


# Who commits late ----------------------------------------------------------------------------------


@asynccontextmanager
async def held_open(
    context: Context, product: Product, amount: int
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A change that is written and not committed; what is yielded lets it commit and waits for that."""
    written, go_on = asyncio.Event(), asyncio.Event()

    async def change() -> None:
        async with context.transaction():
            await set_selling(context, product, amount)
            written.set()
            await go_on.wait()

    task = asyncio.create_task(change())
    await asyncio.wait({task, asyncio.create_task(written.wait())}, return_when=asyncio.FIRST_COMPLETED)

    async def commit() -> None:
        go_on.set()
        await task

    try:
        yield commit
    finally:
        await commit()


# So that a horizon by the clock is past what has committed: changes are dated up to 2 ms ahead. In seconds.
A_CHANGE_IS_AHEAD = 0.003

Read = Callable[[Context, FeedWish], Awaitable[tuple[list[UUID], datetime]]]


async def read_rows(context: Context, wish: FeedWish) -> tuple[list[UUID], datetime]:
    """The products that a page tells of, and the time to go on from."""
    page = await read_price_changes(context, wish)
    return [row.product_id for row in page.rows], page.as_of


async def read_together(context: Context, wish: FeedWish) -> tuple[list[UUID], datetime]:
    """The same from the page that the database puts together."""
    page = await put_changes_together(context, wish)
    assert page is not None
    return [UUID(row["itemId"]) for row in msgspec.json.decode(b"[" + page.data + b"]")], page.as_of


async def late_commit(shop: Shop, read: Read) -> tuple[list[UUID], list[UUID]]:
    """A change begins, another one comes and commits, a till reads to the end; the first one commits, and the
    till reads on. Answers the products of the changes and those that the till has heard of."""
    context = here(shop)
    slow, quick = await create_product(context, a_product()), await create_product(context, a_product())
    await asyncio.sleep(A_CHANGE_IS_AHEAD)
    _, since = await read_all(context, LONG_AGO)
    async with held_open(here(shop), slow, 1700) as commit:
        await set_selling(here(shop), quick, 1800)
        await asyncio.sleep(A_CHANGE_IS_AHEAD)
        first, as_of = await read(context, FeedWish(since=since))
        await commit()
    second, _ = await read(context, FeedWish(since=as_of))
    return [slow.product_id, quick.product_id], first + second


@pytest.mark.parametrize("read", [read_rows, read_together])
async def test_a_change_that_commits_late_reaches_a_till_that_read_before(shop: Shop, read: Read) -> None:
    changed, heard = await late_commit(shop, read)
    assert heard == changed


@pytest.mark.parametrize("read", [read_rows, read_together])
async def test_a_feed_by_time_alone_misses_it(shop: Shop, database_urls: DatabaseUrls, read: Read) -> None:
    """The control: the same walk with a horizon that only looks at the clock, in the feed's milliseconds."""
    by_time = """
        CREATE OR REPLACE FUNCTION price_changes_settled(OUT settled timestamptz, OUT quiet_until timestamptz)
        LANGUAGE sql AS $$ SELECT m, m FROM date_trunc('milliseconds', clock_timestamp()) m $$
    """
    async with connected(superuser_url(database_urls)) as admin:
        right = await admin.fetchval("SELECT pg_get_functiondef('price_changes_settled'::regproc)")
        await admin.execute(by_time)
        try:
            (_, quick), heard = await late_commit(shop, read)
        finally:
            await admin.execute(right)
    assert heard == [quick]


async def test_a_writer_holds_the_feed_back_for_its_own_merchant_alone(shop: Shop, other_shop: Shop) -> None:
    product = await create_product(here(shop), a_product())
    async with held_open(here(shop), product, 1700):
        await create_product(here(other_shop), a_product())
        assert len((await read_all(here(other_shop), LONG_AGO))[0]) == 1


async def test_a_writer_who_gives_up_holds_nothing_back(shop: Shop) -> None:
    context = here(shop)
    product = await create_product(context, a_product())
    with pytest.raises(RuntimeError):
        async with context.transaction():
            await set_selling(context, product, 1700)
            raise RuntimeError
    await set_selling(context, product, 1800)
    rows, _ = await read_all(context, LONG_AGO)
    assert told(rows)[1:] == [("price_changed", 150_000, 180_000)]


async def test_many_writers_at_once_are_told_once_each_and_in_order(shop: Shop) -> None:
    """Tills read on while changes come and go; together they have heard everything, and nothing twice."""
    products = [await create_product(here(shop), a_product(f"Basket {n}")) for n in range(8)]
    _, since = await read_all(here(shop), LONG_AGO)
    heard: list[PriceChange] = []
    at_work = True

    async def listen() -> None:
        as_of = since
        while at_work:
            rows, as_of = await read_all(here(shop), as_of, size=3)
            heard.extend(rows)
        rows, _ = await read_all(here(shop), as_of)
        heard.extend(rows)

    async def write(product: Product) -> None:
        for amount in range(2000, 2010):
            await set_selling(here(shop), product, amount)

    listening = asyncio.create_task(listen())
    await asyncio.gather(*(write(product) for product in products))
    at_work = False
    await listening
    whole, _ = await read_all(here(shop), since)
    assert len(whole) == 80
    assert [row.change_id for row in heard] == [row.change_id for row in whole]


async def test_a_clock_that_was_set_back_loses_no_change(shop: Shop, database_urls: DatabaseUrls) -> None:
    """The last change lies in the future: the next one is dated after it all the same."""
    context = here(shop)
    product = await create_product(context, a_product())
    ahead = datetime(2040, 5, 1, tzinfo=UTC)
    async with connected(superuser_url(database_urls)) as admin, admin.transaction():
        await admin.execute("SET LOCAL session_replication_role = replica")
        await admin.execute(
            "UPDATE price_change SET changed_at = $2, change_id = price_change_id($2, 1)"
            " WHERE merchant_id = $1",
            shop.merchant_id,
            ahead,
        )
    rows, as_of = await read_all(context, LONG_AGO)
    assert (len(rows), as_of) == (1, ahead)
    await set_selling(context, product, 1700)
    async with held_open(here(shop), product, 1800):
        later, as_of = await read_all(context, as_of)
        assert told(later) == [("price_changed", 150_000, 170_000)]
    last, _ = await read_all(context, as_of)
    assert told(last) == [("price_changed", 170_000, 180_000)]
