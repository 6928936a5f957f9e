"""Products: made, changed and taken off; races settled by the database; lists complete in every order."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kasuwa.base.context import Context
from kasuwa.base.problems import Forbidden, Problem
from kasuwa.domain.catalogue import cards
from kasuwa.domain.catalogue.actions import ProductChange, create_product, remove_product, update_product
from kasuwa.domain.catalogue.cards import refresh_cards, refresh_stale_cards
from kasuwa.domain.catalogue.errors import (
    BarcodeTaken,
    NameTaken,
    ProductNotFound,
    SkuTaken,
    StillStocked,
    UnknownCategory,
    UnknownLocation,
    VersionOld,
)
from kasuwa.domain.catalogue.lists import count_products, list_products
from kasuwa.domain.catalogue.queries import find_sku, get_product
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    PageWish,
    Price,
    Product,
    ProductFilter,
    Removal,
)
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.errors import NotStocked
from kasuwa.domain.inventory.records import Move
from tests.shop import Shop

DIALECT = "storeharmony"
EVERYTHING = ProductFilter(statuses=("active", "inactive", "archived"))


def a_product(name: str = "Basket", *, price: Price | None = None, **variant: Any) -> NewProduct:
    price = price or Price(currency="NGN", selling_minor=150_000)
    return NewProduct(name=name, variants=(NewVariant(price=price, **variant),))


def own(context: Context) -> Context:
    """The same caller with a request of their own."""
    return context.acting_as(context.caller)


async def outcomes(work: Sequence[Any]) -> list[object]:
    """What each of these at once came to: a product, or the kind of refusal."""
    return [
        type(found) if isinstance(found, Problem) else found
        for found in await asyncio.gather(*work, return_exceptions=True)
    ]


# Making, changing, taking off ----------------------------------------------------------------------


async def test_who_may_only_sell_changes_nothing(shop: Shop) -> None:
    product = await create_product(shop.owner, a_product())
    for refused in (
        create_product(shop.cashier(), a_product()),
        update_product(shop.cashier(), product.product_id, ProductChange(name="x")),
        remove_product(shop.cashier(), product.product_id),
    ):
        with pytest.raises(Forbidden):
            await refused


async def test_a_product_without_a_sku_is_given_one_that_is_free(context: Context) -> None:
    first = await create_product(context, a_product())
    number = first.main.number
    await create_product(context, a_product(sku=f"k-{number + 2:06d}"))
    third = await create_product(context, a_product())
    assert third.main.sku.startswith(f"K-{number + 2:06d}-")


async def test_only_known_categories_and_locations_are_taken(context: Context, other_shop: Shop) -> None:
    with pytest.raises(UnknownCategory):
        await create_product(context, msgspec.structs.replace(a_product(), category_ids=(uuid4(),)))
    for store_id in (uuid4(), other_shop.store_id):
        with pytest.raises(UnknownLocation):
            await create_product(context, a_product(opening=(OpeningStock(store_id, Decimal(1)),)))
    async with context.reading() as db:
        assert await count_products(db, ("active",)) == 0


async def test_a_product_without_history_is_deleted_and_one_with_history_is_archived(
    context: Context,
) -> None:
    new, sold = (
        await create_product(context, a_product(sku="A", barcode="1")),
        await create_product(
            context, a_product(sku="B", opening=(OpeningStock(context.store_id, Decimal(2)),))
        ),
    )
    assert (await remove_product(context, new.product_id)).status == "deleted"
    removal = await remove_product(context, sold.product_id, on_remaining="write_off")
    assert removal.status == "archived"
    with pytest.raises(ProductNotFound):
        await get_product(context, new.product_id)
    assert (await get_product(context, sold.product_id)).status == "archived"
    for gone in (new, sold):
        with pytest.raises(ProductNotFound):
            await remove_product(context, gone.product_id)
        with pytest.raises(ProductNotFound):
            await update_product(context, gone.product_id, ProductChange(name="x"))
    # Both have given their SKUs free.
    async with context.reading() as db:
        assert await find_sku(db, "A") is None
        assert await find_sku(db, "B") is None
    await create_product(context, a_product(sku="a", barcode="1"))
    await create_product(context, a_product(sku="b"))


async def test_a_change_keeps_what_it_does_not_name(context: Context) -> None:
    product = await create_product(
        context, a_product(sku="S-1", barcode="123", price=Price(currency="NGN", selling_minor=5))
    )
    await update_product(context, product.product_id, ProductChange())
    changed = await update_product(context, product.product_id, ProductChange(barcode=None, tags=("a", "b")))
    assert (changed.main.barcode, changed.tags, changed.main.sku) == (None, ("a", "b"), "S-1")
    assert changed.version == 3
    assert changed.main.price == product.main.price


async def test_everything_of_a_product_can_be_changed(context: Context) -> None:
    product = await create_product(context, a_product())
    change: dict[str, Any] = {
        "name": "Ìyàwó's Basket",
        "sku": "NEW",
        "description": "d",
        "brand": "b",
        "unit": "kg",
        "track_quantity": False,
        "visible_online": True,
        "weight_grams": 7,
        "status": "inactive",
        "extra": {"a": 1},
    }
    changed = await update_product(context, product.product_id, ProductChange(**change))
    assert {name: getattr(changed, name, None) for name in change if name != "sku"} == {
        name: value for name, value in change.items() if name != "sku"
    }
    assert (changed.main.sku, changed.slug) == ("NEW", "iyawo-s-basket")


async def test_a_version_that_is_old_is_refused_and_changes_nothing(context: Context) -> None:
    product = await create_product(context, a_product())
    await update_product(context, product.product_id, ProductChange(name="First"), version=1)
    with pytest.raises(VersionOld, match="now 2"):
        await update_product(context, product.product_id, ProductChange(name="Second"), version=1)
    assert (await get_product(context, product.product_id)).name == "First"


# Races -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "unique_name", "refusal"),
    [
        ({"sku": "Race"}, False, SkuTaken),
        ({"barcode": "5000112637922"}, False, BarcodeTaken),
        ({}, True, NameTaken),
    ],
    ids=["sku", "barcode", "name"],
)
async def test_of_twenty_who_want_the_same_exactly_one_gets_it(
    context: Context, variant: dict[str, Any], unique_name: bool, refusal: type[Problem]
) -> None:
    found = await outcomes(
        [create_product(own(context), a_product(**variant), name_is_unique=unique_name) for _ in range(20)]
    )
    assert sum(isinstance(outcome, Product) for outcome in found) == 1
    assert sum(outcome is refusal for outcome in found) == 19
    async with context.reading() as db:
        assert await db.value("SELECT count(*) FROM product") == 1


async def test_without_its_constraint_the_same_race_gives_a_sku_twice(context: Context) -> None:
    """The control: a build that looks first and writes later."""

    async def look_then_write() -> None:
        async with own(context).reading() as db:
            taken = await find_sku(db, "Race")
        if taken is None:
            await asyncio.sleep(0.1)
            await create_product(own(context), a_product(sku=f"Race{random.random()}"))

    await asyncio.gather(*(look_then_write() for _ in range(2)))
    async with context.reading() as db:
        assert await db.value("SELECT count(*) FROM variant WHERE sku_key LIKE 'race%'") > 1


async def test_of_ten_editors_with_one_version_exactly_one_wins(context: Context) -> None:
    product = await create_product(context, a_product())
    found = await outcomes(
        [
            update_product(own(context), product.product_id, ProductChange(name=f"n{n}"), version=1)
            for n in range(10)
        ]
    )
    assert sum(isinstance(outcome, Product) for outcome in found) == 1
    assert sum(outcome is VersionOld for outcome in found) == 9


async def test_a_removal_that_meets_a_movement_is_refused_or_comes_first(context: Context) -> None:
    for _ in range(8):
        product = await create_product(context, a_product(opening=(OpeningStock(context.store_id),)))

        async def move(product: Product = product) -> Decimal:
            acting = own(context)
            async with acting.transaction() as db:
                line = Move(
                    store_id=acting.store_id,
                    variant_id=product.main.variant_id,
                    kind="quantity_added",
                    change=Decimal(1),
                )
                (moved,) = await move_stock(acting, db, [line])
                return moved.after

        moved, removed = await asyncio.gather(
            move(), remove_product(own(context), product.product_id), return_exceptions=True
        )
        assert isinstance(moved, Decimal | NotStocked), moved
        if isinstance(moved, Decimal):
            assert isinstance(removed, StillStocked), removed
        else:
            assert isinstance(removed, Removal), removed
            assert removed.status == "deleted"


async def test_what_is_written_off_takes_its_serial_numbers_and_batches_along(context: Context) -> None:
    product = await create_product(context, a_product(opening=(OpeningStock(context.store_id, Decimal(2)),)))

    def line(quantity: int, **more: Any) -> Move:
        return Move(
            store_id=context.store_id,
            variant_id=product.main.variant_id,
            kind="quantity_added",
            change=Decimal(quantity),
            **more,
        )

    async with context.transaction() as db:
        lines = [
            line(2, serials=("S1", "S2")),
            line(4, batch_no="B"),
            line(-1, becomes="damaged"),
        ]
        await move_stock(context, db, lines)
    assert (await remove_product(context, product.product_id, on_remaining="write_off")).status == "archived"
    async with context.transaction() as db:
        assert await db.values("SELECT on_hand + damaged + serials + batched FROM stock_balance") == [0]
        assert await db.values("SELECT * FROM stock_faults()") == []
        with pytest.raises(NotStocked):
            await move_stock(context, db, [line(1)])


# Counters and cards --------------------------------------------------------------------------------


async def check_books(context: Context) -> None:
    """The counters are the counts, and every card is what it would be if it were written now."""
    async with context.transaction() as db:
        for status in ("active", "inactive", "archived"):
            count = await db.value("SELECT count(*) FROM product WHERE status = :status", status=status)
            assert await count_products(db, (status,)) == count, status
        sql = "SELECT product_id, dialect, body, body_without_cost, stale_at FROM product_card ORDER BY 1, 2"
        before: list[dict[str, Any]] = await db.all(sql, into=dict)
        ids = await db.values("SELECT product_id FROM product")
        assert {row["product_id"] for row in before} == set(ids)
        await refresh_cards(db, ids)
        assert await db.all(sql, into=dict) == before


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "stocked", "rename", "status", "price", "clash", "remove"]),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=12,
)


async def take_step(context: Context, products: list[Product], step: str, pick: int) -> None:
    if step in ("create", "stocked"):
        opening = (OpeningStock(context.store_id, Decimal(3)),) if step == "stocked" else ()
        products.append(await create_product(context, a_product(f"Thing {pick}", opening=opening)))
        return
    if not products:
        return
    product = products[pick % len(products)]
    if step == "remove":
        products.remove(product)
        await remove_product(context, product.product_id, on_remaining="write_off")
        return
    change = {
        "rename": ProductChange(name=f"Named {pick}"),
        "status": ProductChange(status="inactive" if pick % 2 else "active"),
        "price": ProductChange(price=Price(currency="NGN", selling_minor=pick * 100, cost_minor=pick)),
        "clash": ProductChange(sku=products[0].main.sku, status="inactive"),
    }[step]
    try:
        await update_product(context, product.product_id, change)
    except SkuTaken:
        assert step == "clash"


async def test_counters_and_cards_are_right_after_any_history(shop: Shop) -> None:
    """Property: forty random histories, checked after each step that has changed something."""
    loop = asyncio.get_running_loop()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(STEPS)
    def run(steps: list[tuple[str, int]]) -> None:
        asyncio.run_coroutine_threadsafe(history(steps), loop).result(60)

    async def history(steps: list[tuple[str, int]]) -> None:
        products: list[Product] = []
        for step, pick in steps:
            await take_step(shop.owner, products, step, pick)
        await check_books(shop.owner)
        for product in products:
            await remove_product(shop.owner, product.product_id, on_remaining="write_off")

    await asyncio.to_thread(run)


async def test_a_card_that_nobody_wrote_is_found_by_that_check(context: Context) -> None:
    """The control: a change that forgets the cards, and one that forgets the counters."""
    product = await create_product(context, a_product())
    async with context.transaction() as db:
        await db.execute("UPDATE product SET name = 'Changed' WHERE product_id = :id", id=product.product_id)
    with pytest.raises(AssertionError):
        await check_books(context)
    async with context.transaction() as db:
        await refresh_cards(db, [product.product_id])
    await check_books(context)
    async with context.transaction() as db:
        await db.execute("UPDATE merchant_counter SET value = value + 1 WHERE name = 'products.active'")
    with pytest.raises(AssertionError, match="active"):
        await check_books(context)


def promoted(**times: timedelta | None) -> Price:
    now = datetime.now(UTC)
    at: dict[str, Any] = {name: None if after is None else now + after for name, after in times.items()}
    return Price(currency="NGN", selling_minor=1000, promo_minor=700, **at)


@pytest.mark.parametrize(
    ("starts", "ends", "effective", "changes"),
    [
        (None, None, 700, None),
        (timedelta(-1), None, 700, None),
        (timedelta(1), None, 1000, "promo_starts_at"),
        (timedelta(1), timedelta(2), 1000, "promo_starts_at"),
        (timedelta(-1), timedelta(1), 700, "promo_ends_at"),
        (timedelta(-2), timedelta(-1), 1000, None),
    ],
)
def test_a_promotion_has_its_time(
    starts: timedelta | None, ends: timedelta | None, effective: int, changes: str | None
) -> None:
    price = promoted(promo_starts_at=starts, promo_ends_at=ends)
    now = datetime.now(UTC)
    assert price.effective_minor(now) == effective
    assert price.changes_at(now) == (getattr(price, changes) if changes else None)
    assert Price(currency="NGN", selling_minor=5).changes_at(now) is None
    assert Price(currency="NGN", selling_minor=5).effective_minor(now) == 5


async def effective_prices(context: Context) -> list[float]:
    page = await list_products(context, DIALECT, ProductFilter(), PageWish())
    return [msgspec.json.decode(row.body)["prices"]["effectivePrice"] for row in page.rows]


async def test_a_list_shows_the_promotion_from_its_minute_on(context: Context) -> None:
    price = promoted(promo_starts_at=timedelta(seconds=0.4), promo_ends_at=timedelta(seconds=0.9))
    await create_product(context, a_product(price=price))
    assert await effective_prices(context) == [10]
    await asyncio.sleep(0.5)
    assert await effective_prices(context) == [7]
    await asyncio.sleep(0.5)
    assert await effective_prices(context) == [10]


async def test_a_stale_card_is_not_written_over_a_change_that_comes_meanwhile(context: Context) -> None:
    product = await create_product(context, a_product(price=promoted(promo_starts_at=timedelta(hours=1))))
    async with context.transaction() as db:
        await db.execute("UPDATE product_card SET stale_at = now() - interval '1 s'")
    async with context.transaction() as db:
        await db.value("SELECT 1 FROM product FOR UPDATE")  # somebody changes it
        async with own(context).transaction() as other:
            assert await refresh_stale_cards(other) == 0
        page = await list_products(own(context), DIALECT, ProductFilter(), PageWish())
        assert [row.product_id for row in page.rows] == [product.product_id]
    async with context.transaction() as db:
        assert await refresh_stale_cards(db) == 1


def test_a_card_is_registered_for_each_api() -> None:
    assert DIALECT in cards._renderers
