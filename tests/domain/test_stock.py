"""The stock ledger: a chain that closes, sums that agree, and never below zero."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from kasuwa.base.context import Context
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price, Product
from kasuwa.domain.inventory.actions import move_stock, open_balance, set_reorder, set_stock
from kasuwa.domain.inventory.errors import NotEnoughStock, NotStocked
from kasuwa.domain.inventory.records import Move
from tests.base.database import Connection, superuser_url, undone
from tests.shop import Shop

OPENING = Decimal(100)


async def stocked(context: Context, quantity: Decimal = OPENING) -> Product:
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=1), opening=(OpeningStock(context.store_id, quantity),)
    )
    return await create_product(context, NewProduct(name="Malt", unit="kg", variants=(variant,)))


@pytest.fixture
async def malt(context: Context) -> Product:
    return await stocked(context)


@pytest.fixture
async def admin(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    """A superuser, to whom no rule applies; what it does is undone."""
    async with undone(superuser_url(database_urls)) as connection:
        yield connection


async def move(context: Context, product: Product, change: Decimal | int) -> Decimal:
    acting = context.acting_as(context.caller)
    line = Move(
        store_id=acting.store_id,
        variant_id=product.main.variant_id,
        kind="sold",
        change=Decimal(change),
        reason="a test",
        reference="R-1",
    )
    async with acting.transaction() as db:
        (moved,) = await move_stock(acting, db, [line])
    return moved.after


async def on_hand(context: Context, product: Product) -> Decimal:
    async with context.reading() as db:
        found: Decimal = await db.value(
            "SELECT on_hand FROM stock_balance WHERE variant_id = :id", id=product.main.variant_id
        )
    return found


async def faults(context: Context) -> list[str]:
    async with context.reading() as db:
        return await db.values("SELECT fault FROM stock_faults()")


async def faults_of(admin: Connection, merchant_id: UUID) -> list[str]:
    rows = await admin.fetch("SELECT fault FROM stock_faults() WHERE merchant_id = $1", merchant_id)
    return [row["fault"] for row in rows]


async def test_each_movement_says_who_why_and_what_it_left(context: Context, malt: Product) -> None:
    assert await move(context, malt, -30) == 70
    async with context.transaction() as db:
        after = await set_stock(
            context, db, context.store_id, malt.main.variant_id, Decimal("12.5"), reason="counted"
        )
    assert after == Decimal("12.5")
    async with context.reading() as db:
        rows: list[dict[str, Any]] = await db.all(
            "SELECT seq, kind, state, quantity, before, after, actor, user_id, reason, reference, request_id"
            " FROM stock_movement ORDER BY seq",
            into=dict,
        )
    who = (f"user:{context.caller.id}", context.caller.user_id)
    assert [tuple(row.values()) for row in rows] == [
        (1, "opening", "on_hand", 100, 0, 100, *who, "opening stock", "", "test"),
        (2, "sold", "on_hand", -30, 100, 70, *who, "a test", "R-1", "test"),
        (3, "set", "on_hand", Decimal("-57.5"), 70, Decimal("12.5"), *who, "counted", "", "test"),
    ]
    assert await faults(context) == []


async def test_a_hundred_movers_at_once_take_what_is_there_and_no_more(context: Context) -> None:
    malt = await stocked(context, Decimal(40))
    found = await asyncio.gather(*(move(context, malt, -1) for _ in range(100)), return_exceptions=True)
    left = sorted(after for after in found if isinstance(after, Decimal))
    assert left == [Decimal(n) for n in range(40)]
    assert sum(isinstance(refused, NotEnoughStock) for refused in found) == 60
    assert await on_hand(context, malt) == 0
    assert await faults(context) == []


async def test_read_then_write_sells_what_is_not_there(context: Context) -> None:
    """The control: a build that looks, and then sets what it has reckoned."""
    malt = await stocked(context, Decimal(4))
    sold = 0

    async def take() -> None:
        nonlocal sold
        acting = context.acting_as(context.caller)
        before = await on_hand(acting, malt)
        await asyncio.sleep(0.05)
        if before >= 1:
            async with acting.transaction() as db:
                await set_stock(
                    acting, db, acting.store_id, malt.main.variant_id, before - 1, reason="reckoned"
                )
            sold += 1

    await asyncio.gather(*(take() for _ in range(8)))
    assert sold > 4


async def test_a_hundred_movers_in_both_directions_leave_the_sum(context: Context, malt: Product) -> None:
    changes = [(-1) ** n * Decimal(n % 7 + 1) / 4 for n in range(100)]
    await asyncio.gather(*(move(context, malt, change) for change in changes))
    assert await on_hand(context, malt) == OPENING + sum(changes)
    assert await faults(context) == []
    async with context.reading() as db:
        assert await db.values("SELECT seq FROM stock_movement ORDER BY seq") == list(range(1, 102))


async def test_a_balance_that_may_go_below_zero_does(context: Context, malt: Product) -> None:
    async with context.transaction() as db:
        await db.execute("UPDATE stock_balance SET allow_negative = true")
    assert await move(context, malt, -150) == -50
    assert await faults(context) == []


async def test_what_is_reserved_cannot_be_taken(context: Context, malt: Product) -> None:
    hold = Move(
        store_id=context.store_id,
        variant_id=malt.main.variant_id,
        kind="reserved",
        state="reserved",
        change=Decimal(90),
    )
    async with context.transaction() as db:
        await move_stock(context, db, [hold])
    with pytest.raises(NotEnoughStock):
        await move(context, malt, -11)
    assert await move(context, malt, -10) == 90


async def test_what_is_not_counted_here_is_404(context: Context, malt: Product, other_shop: Shop) -> None:
    with pytest.raises(NotStocked):
        await move(other_shop.owner, malt, 1)
    with pytest.raises(NotStocked):
        await set_reorder(other_shop.owner, malt.main.variant_id, level=Decimal(1))
    assert await on_hand(context, malt) == OPENING


async def test_opening_a_balance_again_changes_nothing(context: Context, malt: Product) -> None:
    async with context.transaction() as db:
        await open_balance(context, db, malt.product_id, malt.main.variant_id, OpeningStock(context.store_id))
    assert await on_hand(context, malt) == OPENING


async def test_a_reorder_level_is_set_and_taken_away(context: Context, malt: Product) -> None:
    await set_reorder(context, malt.main.variant_id, level=Decimal(5), quantity=Decimal("10.5"))
    await set_reorder(context, malt.main.variant_id, level=None)
    async with context.reading() as db:
        row: dict[str, Any] = await db.one(
            "SELECT reorder_level, reorder_quantity FROM stock_balance", into=dict
        )
    assert row == {"reorder_level": None, "reorder_quantity": Decimal("10.5")}


async def test_another_fault_of_the_ledger_is_not_called_a_lack_of_stock(
    context: Context, malt: Product
) -> None:
    async with context.transaction() as db:
        await db.execute("UPDATE stock_balance SET seq = 0")
    with pytest.raises(asyncpg.UniqueViolationError):
        await move(context, malt, 1)


@pytest.mark.parametrize("command", ["UPDATE stock_movement SET quantity = 1", "DELETE FROM stock_movement"])
async def test_the_application_cannot_change_the_ledger(
    context: Context, malt: Product, command: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with context.transaction() as db:
            await db.call(command)


# Whoever can do everything is found out ------------------------------------------------------------

_WHERE = "WHERE merchant_id = $1 AND seq = 2"
_FORGERIES = {
    "quantity": f"UPDATE stock_movement SET quantity = quantity + 0.001, after = after + 0.001 {_WHERE}",
    "time": f"UPDATE stock_movement SET at = at + interval '1 microsecond' {_WHERE}",
    "who": f"UPDATE stock_movement SET actor = actor || ' ' {_WHERE}",
    "why": f"UPDATE stock_movement SET reason = 'b test' {_WHERE}",
    "paper": f"UPDATE stock_movement SET reference = 'r-1' {_WHERE}",
    "state": f"UPDATE stock_movement SET state = 'damaged' {_WHERE}",
    "cost": f"UPDATE stock_movement SET unit_cost = 1 {_WHERE}",
    "serial numbers": f"UPDATE stock_movement SET serials = '{{x}}' {_WHERE}",
    "request": f"UPDATE stock_movement SET request_id = 'x' {_WHERE}",
    "note": f"UPDATE stock_movement SET note = 'x' {_WHERE}",
    "user": f"UPDATE stock_movement SET user_id = gen_random_uuid() {_WHERE}",
    "device": f"UPDATE stock_movement SET device = 'x' {_WHERE}",
    "kind": f"UPDATE stock_movement SET kind = 'Sold' {_WHERE}",
    "id": f"UPDATE stock_movement SET movement_id = gen_random_uuid() {_WHERE}",
    "one byte of the hash": (
        f"UPDATE stock_movement SET hash = set_byte(hash, 7, get_byte(hash, 7) # 1) {_WHERE}"
    ),
    "one byte of the link": (
        f"UPDATE stock_movement SET previous_hash = set_byte(previous_hash, 31, 0 # 255) {_WHERE}"
    ),
    "a movement gone": f"DELETE FROM stock_movement {_WHERE}",
    "the last one gone": "DELETE FROM stock_movement WHERE merchant_id = $1 AND seq = 3",
    "all gone": "DELETE FROM stock_movement WHERE merchant_id = $1",
    "the balance": "UPDATE stock_balance SET on_hand = on_hand + 0.001 WHERE merchant_id = $1",
    "the head": r"UPDATE stock_balance SET head = '\x00' WHERE merchant_id = $1",
}


@pytest.mark.parametrize("forgery", _FORGERIES.values(), ids=_FORGERIES)
async def test_a_forgery_by_a_superuser_is_found(
    context: Context, malt: Product, admin: Connection, forgery: str
) -> None:
    for change in (-1, 2):
        await move(context, malt, change)
    assert await faults_of(admin, context.merchant_id) == []
    await admin.execute("SET LOCAL session_replication_role = replica")
    assert (await admin.execute(forgery, context.merchant_id)).split()[-1] != "0"
    assert await faults_of(admin, context.merchant_id)


async def test_a_forger_who_writes_the_hashes_anew_must_write_all_that_follow(
    context: Context, malt: Product, admin: Connection
) -> None:
    """The control of the chain: one movement with a right hash of its own still breaks the next link."""
    for change in (-1, 2):
        await move(context, malt, change)
    await admin.execute("SET LOCAL session_replication_role = replica")
    await admin.execute(
        """
        UPDATE stock_movement SET reason = 'forged' WHERE merchant_id = $1 AND seq = 2
        """,
        context.merchant_id,
    )
    await admin.execute(
        "UPDATE stock_movement m SET hash = movement_hash(m) WHERE merchant_id = $1 AND seq = 2",
        context.merchant_id,
    )
    assert await faults_of(admin, context.merchant_id) == ["movement 3 does not follow from the one before"]


LEVELS = {
    "above its level": (Decimal(1), Decimal(6)),
    "at its level": (Decimal("2.5"), None),
    "below its level": (Decimal(3), Decimal(6)),
    "with a level of none": (Decimal(0), None),
    "without a level": (None, Decimal(6)),
}


@pytest.mark.parametrize("levels", LEVELS.values(), ids=list(LEVELS))
async def test_many_openings_at_once_are_booked_as_one_alone_is(
    context: Context, shop: Shop, levels: tuple[Decimal | None, Decimal | None]
) -> None:
    def new(sku: str) -> NewProduct:
        opening = (
            OpeningStock(context.store_id, Decimal("2.5"), *levels),
            OpeningStock(shop.second_store_id, Decimal(0), Decimal(0)),
        )
        price = Price(currency="NGN", selling_minor=500, cost_minor=333)
        return NewProduct(
            name="Rice", unit="kg", variants=(NewVariant(price=price, sku=sku, opening=opening),)
        )

    await create_product(context, new("ALONE"))
    await write_products(context, [BulkProduct(new=new("MANY")), BulkProduct(new=new("MORE"))])
    tables = {
        "stock_balance": "store_id, variant_id",
        "stock_movement": "store_id, variant_id, seq",
        "stock_low_event": "store_id, variant_id",
    }
    own = {"variant_id", "product_id", "movement_id", "event_id", "at", "hash", "head", "updated_at"}
    async with context.reading() as db:
        for table, order in tables.items():
            rows: list[tuple[str, dict[str, Any]]] = await db.all(
                f"SELECT v.sku, to_jsonb(t) AS row FROM {table} t"
                f" JOIN variant v USING (merchant_id, variant_id) ORDER BY {order}",
                into=lambda sku, row: (sku, json.loads(row)),
            )
            found: dict[str, list[dict[str, Any]]] = {}
            for sku, row in rows:
                found.setdefault(sku, []).append({k: v for k, v in row.items() if k not in own})
            assert found["MANY"] == found["MORE"] == found["ALONE"]
            if table == "stock_balance":
                kept = [(row["reorder_level"], row["reorder_quantity"]) for row in found["MANY"]]
                assert [tuple(None if v is None else Decimal(str(v)) for v in pair) for pair in kept] == [
                    levels,
                    (Decimal(0), None),
                ]
    assert await faults(context) == []
