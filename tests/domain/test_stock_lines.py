"""Lines of stock: several at once, in any order, with batches, costs, units and crossings of their own."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import structs

from kasuwa.base.context import Context
from kasuwa.base.money import currencies, decimals
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import ProductChange, create_product, update_product
from kasuwa.domain.catalogue.errors import UnitTooCoarse
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    Price,
    Product,
)
from kasuwa.domain.inventory import actions
from kasuwa.domain.inventory.actions import (
    Opening,
    move_stock,
    open_balances,
    set_packs,
    set_stock,
)
from kasuwa.domain.inventory.errors import (
    NoSuchVariant,
    NotEnoughStock,
    NotStocked,
    SerialElsewhere,
    StockChanged,
    WrongQuantity,
)
from kasuwa.domain.inventory.queries import read_batches, read_serials
from kasuwa.domain.inventory.records import Move, Moved, Pack
from tests.base.database import connected, superuser_url
from tests.domain.stock_model import line
from tests.shop import Shop


def own(context: Context) -> Context:
    return context.acting_as(context.caller)


async def goods(
    context: Context, *, quantity: int = 100, unit: str = "each", cost: int | None = None
) -> Product:
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=1, cost_minor=cost),
        opening=(OpeningStock(context.store_id, Decimal(quantity)),),
    )
    return await create_product(context, NewProduct(name="Rice", unit=unit, variants=(variant,)))


async def move(context: Context, *lines: Move, together: bool = True) -> list[Moved]:
    acting = own(context)
    async with acting.transaction() as db:
        return await move_stock(acting, db, lines, all_or_nothing=together)


async def rows(context: Context, sql: str, **values: object) -> list[dict[str, Any]]:
    async with context.reading() as db:
        return await db.all(sql, into=dict, **values)


async def on_hand(context: Context) -> list[int]:
    found = await rows(context, "SELECT on_hand FROM stock_balance ORDER BY store_id, variant_id")
    return [int(row["on_hand"]) for row in found]


async def faults(context: Context) -> list[dict[str, Any]]:
    return await rows(context, "SELECT * FROM stock_faults()")


# Several at once -----------------------------------------------------------------------------------


async def test_five_thousand_lines_are_one_call_and_each_is_answered_in_its_place(context: Context) -> None:
    products = [await goods(context, quantity=0) for _ in range(3)]
    ids = [product.main.variant_id for product in products]
    lines = [line(context.store_id, ids[n % 3], change=Decimal(n % 7 + 1)) for n in range(5000)]
    found = await move(context, *lines)
    assert [moved.quantity for moved in found] == [one.change for one in lines]
    assert sum(await on_hand(context)) == sum(one.change or 0 for one in lines)
    for n in range(3):
        mine = found[n::3]
        assert all(a.after == b.before for a, b in itertools.pairwise(mine))
    with pytest.raises(AssertionError):
        await move(context, *lines, lines[0])


async def test_a_refusal_of_many_names_each_line_that_cannot_be(context: Context) -> None:
    rice = (await goods(context, quantity=5)).main.variant_id
    lines = [
        line(context.store_id, rice, change=Decimal(-6), pointer="/lines/0"),
        line(context.store_id, rice, change=Decimal(-1), pointer="/lines/1"),
        line(context.store_id, rice, change=Decimal("-1.5"), pointer="/lines/2"),
    ]
    with pytest.raises(NotEnoughStock) as refused:
        await move(context, *lines)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [
        ("/lines/0/quantity", "maximum"),
        ("/lines/2/quantity", "decimals"),
    ]
    assert await on_hand(context) == [5]


async def test_a_refusal_leaves_the_transaction_as_it_was(context: Context) -> None:
    """Whoever catches it may go on: what the other lines had done is undone in the database."""
    rice, beans = [(await goods(context, quantity=5)).main.variant_id for _ in range(2)]
    async with context.transaction() as db:
        await move_stock(context, db, [line(context.store_id, beans, change=Decimal(-1))])
        with pytest.raises(NotEnoughStock):
            await move_stock(
                context,
                db,
                [
                    line(context.store_id, rice, change=Decimal(-1)),
                    line(context.store_id, beans, change=Decimal(-9)),
                ],
            )
    assert sorted(await on_hand(context)) == [4, 5]
    assert await faults(context) == []


async def test_lines_in_opposite_orders_never_lock_each_other_up(context: Context, shop: Shop) -> None:
    ids = [(await goods(context, quantity=1000)).main.variant_id for _ in range(6)]
    lines = [
        line(store, one, change=Decimal(1)) for one in ids for store in (shop.store_id, shop.second_store_id)
    ]

    async def shuffle(n: int) -> None:
        for turn in range(6):
            await move(context, *(lines[::-1] if (n + turn) % 2 else lines), together=n % 3 != 0)

    await asyncio.gather(*(shuffle(n) for n in range(8)))
    assert sum(await on_hand(context)) == 6 * 1000 + 48 * 12
    assert await faults(context) == []


async def test_locks_in_the_order_of_the_caller_do_lock_up(
    context: Context, database_urls: DatabaseUrls
) -> None:
    """The control: two transactions that take two balances one after the other, in opposite orders."""
    ids = [(await goods(context)).main.variant_id for _ in range(2)]
    met = asyncio.Barrier(2)

    async def take(order: Sequence[UUID]) -> None:
        async with connected(database_urls.application) as connection, connection.transaction():
            await connection.execute(f"SET LOCAL app.merchant_id = '{context.merchant_id}'")
            for n, one in enumerate(order):
                await connection.execute("UPDATE stock_balance SET on_hand = 1 WHERE variant_id = $1", one)
                if n == 0:
                    await met.wait()

    found = await asyncio.gather(take(ids), take(ids[::-1]), return_exceptions=True)
    assert any(isinstance(one, asyncpg.DeadlockDetectedError) for one in found)


async def test_what_comes_in_where_nothing_was_counted_begins_to_be(context: Context, shop: Shop) -> None:
    rice = (await goods(context)).main.variant_id
    there = line(shop.second_store_id, rice, change=Decimal(-1))
    with pytest.raises(NotEnoughStock):
        await move(context, there)
    (moved,) = await move(context, line(shop.second_store_id, rice, change=Decimal(3), state="in_transit"))
    assert [moved.before, moved.after] == [0, 3]
    for nobody in (line(uuid4(), rice, change=Decimal(1)), line(shop.store_id, uuid4(), change=Decimal(1))):
        with pytest.raises(NotStocked):
            await move(context, nobody)


async def test_what_two_stores_take_in_at_once_has_a_serial_number_once(context: Context, shop: Shop) -> None:
    rice = (await goods(context, quantity=0)).main.variant_id
    takes = [
        move(context, line(store, rice, change=Decimal(2), serials=("A", "B")))
        for store in (shop.store_id, shop.second_store_id) * 4
    ]
    found = await asyncio.gather(*takes, return_exceptions=True)
    assert sum(isinstance(one, list) for one in found) == 1
    assert sum(isinstance(one, SerialElsewhere) for one in found) == 7
    async with context.reading() as db:
        here = [await read_serials(db, store, rice) for store in (shop.store_id, shop.second_store_id)]
    assert sorted(here) == [[], ["A", "B"]]
    assert await faults(context) == []


# To a figure ---------------------------------------------------------------------------------------


async def test_a_figure_is_set_only_over_the_one_that_was_seen(context: Context) -> None:
    rice = (await goods(context)).main.variant_id

    async def edit(figure: int) -> Decimal:
        seen = line(context.store_id, rice, target=Decimal(figure), expected=Decimal(100))
        return (await move(context, seen))[0].after

    found = await asyncio.gather(*(edit(n) for n in range(10)), return_exceptions=True)
    won = [one for one in found if isinstance(one, Decimal)]
    assert len(won) == 1
    assert sum(isinstance(one, StockChanged) for one in found) == 9
    assert await on_hand(context) == [int(won[0])]


async def test_of_many_who_set_a_figure_the_ledger_keeps_each(context: Context) -> None:
    rice = (await goods(context)).main.variant_id

    async def put(figure: int) -> Decimal:
        acting = own(context)
        async with acting.transaction() as db:
            return await set_stock(
                acting, db, context.store_id, rice, Decimal(figure), reason="inventory_level"
            )

    assert await asyncio.gather(*(put(n) for n in range(10))) == list(range(10))
    assert (await rows(context, "SELECT count(*) AS n FROM stock_movement WHERE kind = 'set'"))[0]["n"] == 10
    assert await faults(context) == []


def test_a_figure_without_what_was_expected_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError):
        line(uuid4(), uuid4(), target=Decimal(1))
    with pytest.raises(AssertionError):
        line(uuid4(), uuid4(), target=Decimal(1), change=Decimal(1))


# Batches -------------------------------------------------------------------------------------------


async def test_what_expires_first_goes_first_and_what_has_no_batch_last(context: Context) -> None:
    rice = (await goods(context, quantity=5)).main.variant_id
    for name, day in (("late", date(2035, 1, 1)), ("soon", date(2031, 1, 1)), ("past", date(2020, 1, 1))):
        await move(context, line(context.store_id, rice, change=Decimal(4), batch_no=name, expires_on=day))
    (moved,) = await move(context, line(context.store_id, rice, change=Decimal(-14)))
    assert [moved.before, moved.after, len(moved.movement_ids)] == [17, 3, 4]
    parts = await rows(
        context, "SELECT quantity::int AS n, batch_no, expires_on FROM stock_movement ORDER BY seq OFFSET 4"
    )
    assert [tuple(part.values()) for part in parts] == [
        (-4, "past", date(2020, 1, 1)),
        (-4, "soon", date(2031, 1, 1)),
        (-4, "late", date(2035, 1, 1)),
        (-2, None, None),
    ]


async def test_what_has_expired_is_told_apart_and_may_be_spared(context: Context) -> None:
    rice = (await goods(context, quantity=0)).main.variant_id
    for name, day in (("past", date(2020, 1, 1)), ("good", date(2035, 1, 1))):
        await move(context, line(context.store_id, rice, change=Decimal(4), batch_no=name, expires_on=day))
    async with context.reading() as db:
        lots = await read_batches(db, context.store_id, rice)
    assert [(lot.batch_no, lot.is_expired) for lot in lots] == [("past", True), ("good", False)]
    with pytest.raises(NotEnoughStock, match="Only 4 has not expired"):
        await move(context, line(context.store_id, rice, change=Decimal(-5), spare_expired=True))
    (moved,) = await move(context, line(context.store_id, rice, change=Decimal(-3), spare_expired=True))
    assert moved.batch_no == "good"


async def test_a_batch_without_a_number_is_known_by_its_day(context: Context) -> None:
    rice = (await goods(context, quantity=0)).main.variant_id
    for _ in range(2):
        await move(context, line(context.store_id, rice, change=Decimal(2), expires_on=date(2031, 5, 31)))
    async with context.reading() as db:
        (lot,) = await read_batches(db, context.store_id, rice)
    assert (lot.batch_no, lot.expires_on) == ("2031-05-31", date(2031, 5, 31))
    assert lot.quantity == 4


# Cost ----------------------------------------------------------------------------------------------


async def test_the_average_is_exact_over_a_thousand_deliveries(context: Context) -> None:
    rice = (await goods(context, quantity=0)).main.variant_id
    third = Decimal(100) / 3
    costs = [round(third * (n % 11 + 1), 6) for n in range(1000)]
    await move(
        context, *(line(context.store_id, rice, change=Decimal(3), unit_cost_minor=cost) for cost in costs)
    )
    (balance,) = await rows(context, "SELECT cost_value, average_cost FROM stock_balance")
    assert balance["cost_value"] == sum(3 * cost for cost in costs)
    assert balance["average_cost"] == round(sum(costs) / 1000, 6)
    await move(context, *(line(context.store_id, rice, change=Decimal(-7)) for _ in range(428)))
    await move(context, line(context.store_id, rice, change=Decimal(-4)))
    (empty,) = await rows(context, "SELECT on_hand, cost_value FROM stock_balance")
    assert (empty["on_hand"], empty["cost_value"]) == (0, 0)
    assert await faults(context) == []


async def test_opening_stock_is_worth_its_cost_price(context: Context) -> None:
    rice = (await goods(context, quantity=10, cost=350_00)).main.variant_id
    (moved,) = await move(context, line(context.store_id, rice, change=Decimal(-1)))
    assert moved.unit_cost_minor == 350_00


# Units ---------------------------------------------------------------------------------------------


async def test_a_unit_decides_how_a_quantity_may_be_split(context: Context) -> None:
    rice = await goods(context)
    half = line(context.store_id, rice.main.variant_id, change=Decimal("0.5"))
    with pytest.raises(WrongQuantity):
        await move(context, half)
    await update_product(own(context), rice.product_id, ProductChange(unit="kg"))
    assert (await move(context, half))[0].after == Decimal("100.5")
    each = ProductChange(unit="each")
    with pytest.raises(UnitTooCoarse):
        await update_product(own(context), rice.product_id, each)
    # In each pile, and in batches that are whole units only together.
    loaf = line(context.store_id, rice.main.variant_id, change=Decimal("0.5"), batch_no="B")
    await move(context, loaf)
    with pytest.raises(UnitTooCoarse):
        await update_product(own(context), rice.product_id, each)
    broken = structs.replace(half, change=Decimal("-0.5"), becomes="damaged")
    await move(context, broken)
    await move(context, half)
    with pytest.raises(UnitTooCoarse):
        await update_product(own(context), rice.product_id, each)
    await move(context, structs.replace(half, change=Decimal("-0.5"), state="damaged"))
    await update_product(own(context), rice.product_id, each)
    with pytest.raises(WrongQuantity):
        await move(context, half)
    assert await faults(context) == []


async def test_packs_are_the_variants_own(context: Context, other_shop: Shop) -> None:
    rice = (await goods(context, quantity=0)).main.variant_id
    await set_packs(own(context), rice, [Pack("carton", Decimal(24)), Pack("pallet", Decimal(960))])
    (moved,) = await move(context, line(context.store_id, rice, change=Decimal(2), pack="Pallet"))
    assert moved.quantity == 1920
    await set_packs(own(context), rice, [Pack("carton", Decimal(12))])
    for name in ("pallet", "crate"):
        with pytest.raises(WrongQuantity):
            await move(context, line(context.store_id, rice, change=Decimal(1), pack=name))
    for wrong in (
        [Pack("a", Decimal(1)), Pack("A ", Decimal(2))],
        [Pack("a", Decimal(0))],
        [Pack(" ", Decimal(1))],
    ):
        with pytest.raises(WrongQuantity):
            await set_packs(own(context), rice, wrong)
    with pytest.raises(NoSuchVariant):
        await set_packs(other_shop.owner, rice, [Pack("carton", Decimal(24))])


async def test_the_database_knows_the_decimals_of_every_currency(context: Context) -> None:
    known = await rows(
        context,
        "SELECT c, money_decimals(c) AS n FROM unnest(:codes::text[]) c",
        codes=[*currencies(), "QQQ"],
    )
    assert {row["c"]: row["n"] for row in known} == {row["c"]: decimals(row["c"]) for row in known}


# The ledger itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE stock_movement SET note = 'x'",
        "DELETE FROM stock_movement",
        "TRUNCATE stock_movement",
        "TRUNCATE stock_balance CASCADE",
        "DELETE FROM stock_balance",
    ],
)
async def test_nobody_changes_the_ledger(context: Context, database_urls: DatabaseUrls, command: str) -> None:
    """Neither the owner of the tables nor a superuser, unless they take the guard away first."""
    await goods(context)
    for url in (database_urls.owner, superuser_url(database_urls)):
        async with connected(url) as connection:
            with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
                await connection.execute(command)
    assert await on_hand(context) == [100]


@pytest.mark.parametrize("pile", ["on_hand", "reserved", "in_transit", "damaged", "shortfall", "batched"])
async def test_the_database_itself_keeps_piles_from_going_below_zero(context: Context, pile: str) -> None:
    """What stands behind the checks of move_stock()."""
    await goods(context)
    with pytest.raises(asyncpg.CheckViolationError):
        async with own(context).transaction() as db:
            await db.execute(f"UPDATE stock_balance SET {pile} = -1")


async def test_many_balances_open_at_once_and_once(context: Context, shop: Shop) -> None:
    products = [await goods(context, quantity=1) for _ in range(3)]
    openings = [
        Opening(product.product_id, product.main.variant_id, OpeningStock(store, Decimal(7), Decimal(9)), 100)
        for product in products
        for store in (shop.second_store_id, shop.store_id)
    ]
    for _ in range(2):
        acting = own(context)
        async with acting.transaction() as db:
            await open_balances(acting, db, openings)
    assert sorted(await on_hand(context)) == [1, 1, 1, 7, 7, 7]
    told = await rows(context, "SELECT available::int FROM stock_low_event")
    assert [row["available"] for row in told] == [7, 7, 7]
    assert actions.MOST_LINES == 5_000


# Serial numbers ------------------------------------------------------------------------------------


async def two_lots(context: Context) -> UUID:
    """A and one unit without a name in L1, which expires first, B in L2, C and one without a name in none."""
    phone = (await goods(context, quantity=1)).main.variant_id
    first, second = date(2030, 1, 1), date(2031, 1, 1)
    await move(
        context,
        line(context.store_id, phone, change=Decimal(1), batch_no="L1", expires_on=first, serials=("A",)),
        line(context.store_id, phone, change=Decimal(1), batch_no="L1"),
        line(context.store_id, phone, change=Decimal(1), batch_no="L2", expires_on=second, serials=("B",)),
        line(context.store_id, phone, change=Decimal(1), serials=("C",)),
    )
    return phone


async def left_by(context: Context, *lines: Move) -> list[tuple[str | None, int, list[str]]]:
    """The batch, quantity and serial numbers of each movement that the lines are."""
    begun = len(await rows(context, "SELECT 1 FROM stock_movement"))
    await move(context, *lines)
    assert await faults(context) == []
    sql = "SELECT batch_no, quantity::int AS n, serials FROM stock_movement ORDER BY seq OFFSET :begun"
    return [tuple(row.values()) for row in await rows(context, sql, begun=begun)]


async def codes_of(context: Context, refused: Move) -> list[str]:
    with pytest.raises(SerialElsewhere) as refusal:
        await move(context, refused)
    return [fault.code for fault in refusal.value.faults]


async def test_a_unit_with_a_name_leaves_the_batch_it_came_in(context: Context) -> None:
    phone = await two_lots(context)
    (only,) = await left_by(context, line(context.store_id, phone, change=Decimal(-1), serials=("B",)))
    assert only == ("L2", -1, ["B"])
    back = line(context.store_id, phone, change=Decimal(1), serials=("B",), batch_no="L1")
    await left_by(context, back)
    out = line(context.store_id, phone, change=Decimal(-3), serials=("C", "B", "A"))
    assert await left_by(context, out) == [("L1", -2, ["A", "B"]), (None, -1, ["C"])]


async def test_what_has_no_name_leaves_those_that_have_one_in_their_batches(context: Context) -> None:
    phone = await two_lots(context)
    assert await left_by(context, line(context.store_id, phone, change=Decimal(-2))) == [
        ("L1", -1, []),
        (None, -1, []),
    ]
    assert await codes_of(context, line(context.store_id, phone, change=Decimal(-1))) == ["required"]
    for serial, batch in (("A", "L1"), ("B", "L2"), ("C", None)):
        out = line(context.store_id, phone, change=Decimal(-1), serials=(serial,))
        assert await left_by(context, out) == [(batch, -1, [serial])]


async def test_a_named_unit_is_not_taken_from_another_batch_nor_twice_nor_expired(context: Context) -> None:
    phone = await two_lots(context)
    wrong = line(context.store_id, phone, change=Decimal(-1), serials=("B",), batch_no="L1")
    assert await codes_of(context, wrong) == ["batch"]
    nameless = line(context.store_id, phone, change=Decimal(-1), batch_no="L2")
    assert await codes_of(context, nameless) == ["required"]
    with pytest.raises(WrongQuantity):
        await move(context, line(context.store_id, phone, change=Decimal(-2), serials=("A", "A")))
    past = line(
        context.store_id,
        phone,
        change=Decimal(1),
        batch_no="L0",
        expires_on=date(2020, 1, 1),
        serials=("D",),
    )
    await move(context, past)
    out = line(context.store_id, phone, change=Decimal(-2), serials=("A", "D"), spare_expired=True)
    with pytest.raises(NotEnoughStock, match="Only 1 has not expired"):
        await move(context, out)
    assert await faults(context) == []


async def test_a_serial_number_in_a_wrong_batch_is_found_and_put_right(
    context: Context, database_urls: DatabaseUrls
) -> None:
    await two_lots(context)
    async with connected(superuser_url(database_urls)) as admin:
        of_it = f"merchant_id = '{context.merchant_id}'"
        await admin.execute(f"UPDATE stock_serial SET batch_no = 'L2' WHERE {of_it} AND serial = 'A'")
        wrong = "serial number A is not where its movements left it"
        assert [row["fault"] for row in await faults(context)] == [wrong]
        await admin.execute("SELECT rebuild_stock()")
    assert await faults(context) == []
