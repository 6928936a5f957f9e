"""Stocktakes: the figure on the screen becomes the figure on the shelf, also while the shop sells."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Self
from uuid import UUID

import pytest

from kasuwa.base.context import Context
from kasuwa.base.problems import Forbidden
from kasuwa.cli.doctor.rows import Owner
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.queries import read_stock
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price, StockLevel
from kasuwa.domain.inventory.actions import move_stock, set_stock
from kasuwa.domain.inventory.changes import Change, change_stock
from kasuwa.domain.inventory.history import list_stock_as_at
from kasuwa.domain.inventory.records import Kind, Move
from kasuwa.domain.stocktakes import actions
from kasuwa.domain.stocktakes.actions import add_counts, cancel_stocktake, close_stocktake, start_stocktake
from kasuwa.domain.stocktakes.errors import StocktakeEnded, StocktakeNotFound
from kasuwa.domain.stocktakes.queries import get_stocktake, list_lines, list_stocktakes
from kasuwa.domain.stocktakes.records import Count
from tests.base.database import connected, superuser_url
from tests.shop import Shop


async def stocked(shop: Shop, quantity: int, *, unit: str = "each", sku: str | None = None) -> UUID:
    """A variant with so many on the shelf of the first store."""
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=50_000),
        sku=sku,
        opening=(OpeningStock(shop.store_id, Decimal(quantity)),),
    )
    product = await create_product(shop.owner, NewProduct(name="Kettle", variants=(variant,), unit=unit))
    return product.main.variant_id


async def sell(shop: Shop, variant_id: UUID, quantity: int, *, kind: Kind = "sold") -> None:
    async with shop.owner.transaction() as db:
        move = Move(
            store_id=shop.store_id,
            variant_id=variant_id,
            kind=kind,
            change=Decimal(-quantity),
            beyond="shortfall" if kind == "sold" else None,
        )
        await move_stock(shop.owner, db, [move])


async def level(shop: Shop, variant_id: UUID) -> StockLevel:
    async with shop.owner.reading() as db:
        product_id = await db.value(
            "SELECT product_id FROM variant WHERE merchant_id = current_merchant() AND variant_id = :id",
            id=variant_id,
        )
        (found,) = [one for one in await read_stock(db, [product_id]) if one.store_id == shop.store_id]
        return found


async def count(
    context: Context, stocktake_id: UUID, variant_id: UUID, quantity: str, zone: str = ""
) -> None:
    (result,) = await add_counts(
        context, stocktake_id, [Count(variant_id=variant_id, quantity=Decimal(quantity), zone=zone)]
    )
    assert result.faults == ()


async def begun(shop: Shop) -> UUID:
    return (await start_stocktake(shop.owner, name=None, blind=True)).stocktake_id


async def faults_of_ledger(schema_owner: Owner, shop: Shop) -> Sequence[object]:
    return list(
        await schema_owner.fetch("SELECT * FROM stock_faults() WHERE merchant_id = $1", shop.merchant_id)
    )


async def test_sales_after_the_count_are_replayed_on_top(shop: Shop, schema_owner: Owner) -> None:
    kettle = await stocked(shop, 20)
    stocktake_id = await begun(shop)
    await sell(shop, kettle, 3)  # before the count: the books say 17
    await count(shop.owner, stocktake_id, kettle, "15")
    await sell(shop, kettle, 4)  # after it
    (line,) = await list_lines(shop.owner, stocktake_id, only_different=False, after=None, size=10)
    assert (line.counted, line.expected, line.difference) == (Decimal(15), Decimal(17), Decimal(-2))
    closed = await close_stocktake(shop.owner, stocktake_id)
    assert (closed.status, closed.counted, closed.unbooked) == ("closed", 1, 0)
    assert (await level(shop, kettle)).on_hand == 11
    (line,) = await list_lines(shop.owner, stocktake_id, only_different=True, after=None, size=10)
    assert (line.booked, line.problem) == (Decimal(-2), None)
    assert await faults_of_ledger(schema_owner, shop) == []


async def test_what_was_counted_offline_is_compared_with_the_books_of_that_time(shop: Shop) -> None:
    kettle = await stocked(shop, 10)
    stocktake_id = await begun(shop)
    counted_at = datetime.now(UTC)
    await sell(shop, kettle, 6)
    late = Count(variant_id=kettle, quantity=Decimal(10), counted_at=counted_at)
    await add_counts(shop.owner, stocktake_id, [late])
    await close_stocktake(shop.owner, stocktake_id)
    assert (await level(shop, kettle)).on_hand == 4


async def test_zones_are_added_up_and_a_later_count_of_a_zone_replaces_the_earlier(shop: Shop) -> None:
    kettle = await stocked(shop, 10)
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, kettle, "9", "window")
    await count(shop.cashier(), stocktake_id, kettle, "2", "window")
    await count(shop.cashier(), stocktake_id, kettle, "5", "cellar")
    await close_stocktake(shop.owner, stocktake_id)
    assert (await level(shop, kettle)).on_hand == 7


async def test_many_people_count_at_once_and_nothing_is_lost(shop: Shop) -> None:
    kettle = await stocked(shop, 1)
    stocktake_id = await begun(shop)
    await asyncio.gather(
        *(count(shop.cashier(), stocktake_id, kettle, "2", f"shelf {number}") for number in range(20))
    )
    await close_stocktake(shop.owner, stocktake_id)
    assert (await level(shop, kettle)).on_hand == 40


async def test_who_only_counts_does_not_see_what_the_books_expect(shop: Shop) -> None:
    kettle = await stocked(shop, 5)
    stocktake_id = await begun(shop)
    await count(shop.cashier(), stocktake_id, kettle, "5")
    with pytest.raises(Forbidden):
        await list_lines(shop.cashier(), stocktake_id, only_different=False, after=None, size=10)
    with pytest.raises(Forbidden):
        await close_stocktake(shop.cashier(), stocktake_id)
    open_to_all = (await start_stocktake(shop.owner, name="Yard", blind=False)).stocktake_id
    await count(shop.cashier(), open_to_all, kettle, "5")
    (line,) = await list_lines(shop.cashier(), open_to_all, only_different=False, after=None, size=10)
    assert line.expected == 5


async def test_what_nobody_counted_stays_or_becomes_nothing_as_it_is_asked(shop: Shop) -> None:
    seen, unseen = await stocked(shop, 5), await stocked(shop, 7)
    first = await begun(shop)
    await count(shop.owner, first, seen, "5")
    await close_stocktake(shop.owner, first)
    assert (await level(shop, unseen)).on_hand == 7
    second = await begun(shop)
    await count(shop.owner, second, seen, "5")
    await close_stocktake(shop.owner, second, zero_uncounted=True)
    assert ((await level(shop, seen)).on_hand, (await level(shop, unseen)).on_hand) == (
        Decimal(5),
        Decimal(0),
    )


async def test_a_count_settles_what_sales_took_beyond_the_books(shop: Shop, schema_owner: Owner) -> None:
    kettle = await stocked(shop, 2)
    await sell(shop, kettle, 5)
    assert await shortfall(shop, kettle) == 3
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, kettle, "4")
    await close_stocktake(shop.owner, stocktake_id)
    assert ((await level(shop, kettle)).on_hand, await shortfall(shop, kettle)) == (Decimal(4), Decimal(0))
    assert await faults_of_ledger(schema_owner, shop) == []


async def shortfall(shop: Shop, variant_id: UUID) -> Decimal:
    rows = await list_stock_as_at(shop.owner, datetime.now(UTC), after=None, size=200)
    return next(row.shortfall for row in rows if row.variant_id == variant_id)


async def test_fewer_than_are_reserved_become_a_shortfall_that_somebody_sees(shop: Shop) -> None:
    kettle = await stocked(shop, 5)
    async with shop.owner.transaction() as db:
        move = Move(
            store_id=shop.store_id, variant_id=kettle, kind="reserved", state="reserved", change=Decimal(4)
        )
        await move_stock(shop.owner, db, [move])
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, kettle, "1")
    await close_stocktake(shop.owner, stocktake_id)
    found = await level(shop, kettle)
    assert (found.on_hand, found.reserved, await shortfall(shop, kettle)) == (
        Decimal(4),
        Decimal(4),
        Decimal(3),
    )


async def test_each_wrong_line_is_named_and_the_others_are_kept(shop: Shop, other_shop: Shop) -> None:
    kettle, foreign = await stocked(shop, 5, sku="KET-1"), await stocked(other_shop, 5)
    stocktake_id = await begun(shop)
    now = datetime.now(UTC)
    results = await add_counts(
        shop.owner,
        stocktake_id,
        [
            Count(sku="ket-1", quantity=Decimal(4)),
            Count(variant_id=foreign, quantity=Decimal(4)),
            Count(sku="none", quantity=Decimal(4)),
            Count(barcode="none", quantity=Decimal(4)),
            Count(variant_id=kettle, quantity=Decimal("1.5")),
            Count(variant_id=kettle, quantity=Decimal(1), counted_at=now - timedelta(days=1)),
            Count(variant_id=kettle, quantity=Decimal(1), counted_at=now + timedelta(hours=1)),
        ],
    )
    assert [tuple(fault.pointer for fault in result.faults) for result in results] == [
        (),
        ("/variantId",),
        ("/sku",),
        ("/barcode",),
        ("/quantity",),
        ("/countedAt",),
        ("/countedAt",),
    ]
    assert (await get_stocktake(shop.owner, stocktake_id)).counted == 1


async def test_what_has_serial_numbers_is_not_written_off_unnamed(shop: Shop) -> None:
    phone, kettle = await stocked(shop, 0), await stocked(shop, 5)
    async with shop.owner.transaction() as db:
        move = Move(
            store_id=shop.store_id,
            variant_id=phone,
            kind="quantity_added",
            change=Decimal(2),
            serials=("S-1", "S-2"),
        )
        await move_stock(shop.owner, db, [move])
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, phone, "1")
    await count(shop.owner, stocktake_id, kettle, "4")
    closed = await close_stocktake(shop.owner, stocktake_id)
    assert closed.unbooked == 1
    assert ((await level(shop, phone)).on_hand, (await level(shop, kettle)).on_hand) == (
        Decimal(2),
        Decimal(4),
    )
    lines = await list_lines(shop.owner, stocktake_id, only_different=True, after=None, size=10)
    assert [line.variant_id for line in lines if line.problem and "serial numbers" in line.problem] == [phone]


async def test_a_stocktake_ends_once(shop: Shop) -> None:
    kettle = await stocked(shop, 5)
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, kettle, "3")
    ended = await asyncio.gather(
        *(close_stocktake(shop.owner, stocktake_id) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, StocktakeEnded) for one in ended) == 4
    assert (await level(shop, kettle)).on_hand == 3
    with pytest.raises(StocktakeEnded):
        await add_counts(shop.owner, stocktake_id, [Count(variant_id=kettle, quantity=Decimal(1))])
    with pytest.raises(StocktakeEnded):
        await cancel_stocktake(shop.owner, stocktake_id)


async def test_a_cancelled_one_books_nothing(shop: Shop) -> None:
    kettle = await stocked(shop, 5)
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, kettle, "0")
    assert (await cancel_stocktake(shop.owner, stocktake_id, note="wrong day")).note == "wrong day"
    assert (await level(shop, kettle)).on_hand == 5
    assert await list_stocktakes(shop.owner, status="open", after=None, size=10) == []


async def test_another_merchants_and_another_stores_stocktakes_are_not_there(
    shop: Shop, other_shop: Shop
) -> None:
    stocktake_id = await begun(other_shop)
    for act in (get_stocktake, close_stocktake, cancel_stocktake):
        with pytest.raises(StocktakeNotFound):
            await act(shop.owner, stocktake_id)


async def test_a_sale_that_is_not_committed_yet_is_waited_for(shop: Shop) -> None:
    """Its movement may be older than the count, although the count is closed before it is committed."""
    kettle = await stocked(shop, 10)
    stocktake_id = await begun(shop)
    async with shop.owner.services.pool.transaction(shop.merchant_id) as db:
        move = Move(store_id=shop.store_id, variant_id=kettle, kind="sold", change=Decimal(-4))
        await move_stock(shop.owner, db, [move])
        await count(shop.owner, stocktake_id, kettle, "6")
        closing = asyncio.create_task(close_stocktake(shop.owner, stocktake_id))
        await asyncio.sleep(0.3)
        assert not closing.done()
    await closing
    assert (await level(shop, kettle)).on_hand == 6


async def correct(shop: Shop, variant_id: UUID, expected: int, target: int) -> None:
    move = Move(
        store_id=shop.store_id,
        variant_id=variant_id,
        kind="counted",
        target=Decimal(target),
        expected=Decimal(expected),
    )
    await change_stock(shop.owner, [Change(move=move)], all_or_nothing=True)


async def set_to(shop: Shop, variant_id: UUID, target: int) -> None:
    async with shop.owner.transaction() as db:
        await set_stock(shop.owner, db, shop.store_id, variant_id, Decimal(target), reason="seen")


async def deliver(shop: Shop, variant_id: UUID, quantity: int) -> None:
    async with shop.owner.transaction() as db:
        move = Move(
            store_id=shop.store_id, variant_id=variant_id, kind="quantity_added", change=Decimal(quantity)
        )
        await move_stock(shop.owner, db, [move])


async def corrected_since(shop: Shop, way: str) -> Decimal:
    """Eight lie there, ten are in the books; somebody counts and corrects before the stocktake is closed."""
    kettle = await stocked(shop, 10)
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, kettle, "8")
    if way == "compared and set":
        await correct(shop, kettle, 10, 8)
    elif way == "set":
        await set_to(shop, kettle, 8)
    else:
        other = await begun(shop)
        await count(shop.cashier(), other, kettle, "8")
        await close_stocktake(shop.owner, other)
    (line,) = await list_lines(shop.owner, stocktake_id, only_different=False, after=None, size=10)
    assert line.difference == 0
    await sell(shop, kettle, 1)
    await close_stocktake(shop.owner, stocktake_id)
    return (await level(shop, kettle)).on_hand


CORRECTIONS = ("compared and set", "set", "another stocktake")


@pytest.mark.parametrize("way", CORRECTIONS)
async def test_a_correction_since_the_count_moved_nothing_on_the_shelf(shop: Shop, way: str) -> None:
    assert await corrected_since(shop, way) == 7


@asynccontextmanager
async def books_otherwise(urls: DatabaseUrls, function: str, right: str, wrong: str) -> AsyncIterator[None]:
    """A database whose function is wrong in these words."""
    async with connected(superuser_url(urls)) as admin:
        whole = await admin.fetchval("SELECT pg_get_functiondef($1::regproc)", function)
        assert right in whole
        await admin.execute(whole.replace(right, wrong))
        try:
            yield
        finally:
            await admin.execute(whole)


@pytest.mark.parametrize("way", CORRECTIONS)
async def test_the_control_a_correction_that_counts_as_moved_is_found(
    shop: Shop, database_urls: DatabaseUrls, way: str
) -> None:
    nothing = ("kind IN ('opening', 'set', 'counted', 'imported')", "false")
    async with books_otherwise(database_urls, "is_correction", *nothing):
        with pytest.raises(AssertionError):
            assert await corrected_since(shop, way) == 7


async def test_reserved_units_that_two_stocktakes_miss_are_missed_once(
    shop: Shop, schema_owner: Owner
) -> None:
    kettle = await stocked(shop, 5)
    async with shop.owner.transaction() as db:
        move = Move(
            store_id=shop.store_id, variant_id=kettle, kind="reserved", state="reserved", change=Decimal(4)
        )
        await move_stock(shop.owner, db, [move])
    both = [await begun(shop), await begun(shop)]
    for stocktake_id in both:
        await count(shop.owner, stocktake_id, kettle, "1")
    for stocktake_id in both:
        await close_stocktake(shop.owner, stocktake_id)
    assert ((await level(shop, kettle)).on_hand, await shortfall(shop, kettle)) == (Decimal(4), Decimal(3))
    assert await faults_of_ledger(schema_owner, shop) == []


async def test_what_is_found_serves_the_sales_since_the_count_that_the_books_did_not_have(
    shop: Shop, schema_owner: Owner
) -> None:
    """Five lie there, two are in the books, four are sold after the count: one is left."""
    kettle = await stocked(shop, 2)
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, kettle, "5")
    await sell(shop, kettle, 4)
    await close_stocktake(shop.owner, stocktake_id)
    assert ((await level(shop, kettle)).on_hand, await shortfall(shop, kettle)) == (Decimal(1), Decimal(0))
    assert await faults_of_ledger(schema_owner, shop) == []


@pytest.mark.parametrize(
    ("at_the_beginning", "delivered", "sold", "left"),
    [
        pytest.param(0, 50, 0, 50, id="delivered"),
        pytest.param(10, 50, 20, 30, id="delivered and sold"),
        pytest.param(10, 0, 4, 0, id="sold"),
        pytest.param(10, 0, 0, 0, id="not there"),
    ],
)
async def test_what_came_in_since_the_beginning_is_not_written_off_uncounted(
    shop: Shop, schema_owner: Owner, at_the_beginning: int, delivered: int, sold: int, left: int
) -> None:
    kettle = await stocked(shop, at_the_beginning)
    stocktake_id = await begun(shop)
    if delivered:
        await deliver(shop, kettle, delivered)
    if sold:
        await sell(shop, kettle, sold)
    closed = await close_stocktake(shop.owner, stocktake_id, zero_uncounted=True)
    assert closed.unbooked == 0
    assert ((await level(shop, kettle)).on_hand, await shortfall(shop, kettle)) == (Decimal(left), Decimal(0))
    assert await faults_of_ledger(schema_owner, shop) == []


async def counted_in_turn(shop: Shop, between: str) -> tuple[Decimal, list[str]]:
    """Of ten, five are counted in the window, then something happens, then those in the cellar."""
    kettle = await stocked(shop, 10)
    stocktake_id = await begun(shop)
    await count(shop.owner, stocktake_id, kettle, "5", "window")
    if between == "sold":
        await sell(shop, kettle, 2)
    elif between == "sold beyond the books":
        await set_to(shop, kettle, 0)
        await sell(shop, kettle, 2)
    elif between == "corrected":
        await correct(shop, kettle, 10, 9)
    await count(shop.cashier(), stocktake_id, kettle, "5", "cellar")
    if between == "sold, all counted again":
        await sell(shop, kettle, 2)
        await count(shop.owner, stocktake_id, kettle, "3", "window")
        await count(shop.cashier(), stocktake_id, kettle, "5", "cellar")
    lines = await list_lines(shop.owner, stocktake_id, only_different=True, after=None, size=10)
    before = [line.problem for line in lines if line.problem]
    closed = await close_stocktake(shop.owner, stocktake_id)
    lines = await list_lines(shop.owner, stocktake_id, only_different=True, after=None, size=10)
    assert before == [line.problem for line in lines if line.problem]
    assert closed.unbooked == len(before)
    return (await level(shop, kettle)).on_hand, before


MOVED = ["It moved between its counts: count all its zones again"]


@pytest.mark.parametrize(
    ("between", "books", "problems"),
    [
        pytest.param("sold", 8, MOVED, id="sold"),
        pytest.param("sold beyond the books", 0, MOVED, id="sold beyond the books"),
        pytest.param("corrected", 10, [], id="corrected"),
        pytest.param("nothing", 10, [], id="nothing"),
        pytest.param("sold, all counted again", 8, [], id="counted again"),
    ],
)
async def test_what_moved_between_its_counts_is_named_and_not_booked(
    shop: Shop, between: str, books: int, problems: list[str]
) -> None:
    assert await counted_in_turn(shop, between) == (Decimal(books), problems)


async def test_the_control_a_sale_between_two_counts_that_nobody_sees_is_found(
    shop: Shop, database_urls: DatabaseUrls
) -> None:
    async with books_otherwise(database_urls, "shelf_moved", "SELECT EXISTS", "SELECT false AND EXISTS"):
        assert await counted_in_turn(shop, "sold") == (Decimal(10), [])  # two more than lie there


@pytest.mark.parametrize("hours", [-1, 1], ids=["behind", "ahead"])
async def test_a_count_has_the_time_of_the_clock_that_movements_have(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(hours=hours)

    kettle = await stocked(shop, 10)
    stocktake_id = await begun(shop)
    monkeypatch.setattr(actions, "datetime", Wrong)
    await sell(shop, kettle, 1)
    await count(shop.owner, stocktake_id, kettle, "8")
    await sell(shop, kettle, 2)
    await close_stocktake(shop.owner, stocktake_id)
    assert (await level(shop, kettle)).on_hand == 6
