"""Variants added and removed: races settled by the database, nothing moved that is no longer sold."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import Forbidden, Problem
from kasuwa.cli.doctor.rows import VARIANTS
from kasuwa.domain.catalogue import variants as actions
from kasuwa.domain.catalogue.actions import ProductChange, create_product, update_product
from kasuwa.domain.catalogue.errors import (
    BarcodeTaken,
    ChoiceTaken,
    LastVariant,
    SkuTaken,
    StillStocked,
    UnknownLocation,
)
from kasuwa.domain.catalogue.queries import get_product, read_products, read_stock
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    OptionValue,
    Price,
    Product,
    ProductOption,
    Variant,
)
from kasuwa.domain.catalogue.variants import add_variants, remove_variants
from kasuwa.domain.inventory.actions import move_stock, set_reorder
from kasuwa.domain.inventory.errors import NotStocked
from kasuwa.domain.inventory.records import Kind, Move
from tests.conftest import SchemaOwner
from tests.domain.test_catalogue import a_product, check_books, outcomes, own
from tests.shop import Shop

PRICE = Price(currency="NGN", selling_minor=900_000)
SIZES = tuple(f"{n}" for n in range(40))


def size(value: str, **more: Any) -> NewVariant:
    return NewVariant(options=(OptionValue("Size", value),), **more)


def a_shirt(*variants: NewVariant, **more: Any) -> NewProduct:
    return NewProduct(
        name="Shirt",
        kind="variant",
        options=(ProductOption("Size", SIZES),),
        variants=variants or (size("0"),),
        main=NewVariant(price=PRICE),
        **more,
    )


def stocked(context: Context, quantity: int = 0) -> tuple[OpeningStock, ...]:
    return (OpeningStock(context.store_id, Decimal(quantity)),)


async def move(context: Context, variant: Variant, change: int, *, store_id: UUID | None = None) -> Decimal:
    """What a till does, in a request of its own."""
    acting = own(context)
    kind: Kind = "quantity_added" if change > 0 else "quantity_deducted"
    line = Move(
        store_id=store_id or acting.store_id,
        variant_id=variant.variant_id,
        kind=kind,
        change=Decimal(change),
    )
    async with acting.transaction() as db:
        (moved,) = await move_stock(acting, db, [line])
    return moved.after


async def sold(context: Context, product: Product) -> list[str]:
    return [variant.name for variant in (await get_product(context, product.product_id)).variants]


# Rights, and all or nothing ------------------------------------------------------------------------


async def test_who_may_only_sell_changes_nothing(shop: Shop) -> None:
    product = await create_product(shop.owner, a_shirt())
    ids = [product.variants[0].variant_id]
    for refused in (
        add_variants(shop.cashier(), product.product_id, [size("1")]),
        remove_variants(shop.cashier(), product.product_id, ids),
        actions.show_variant_pictures(shop.cashier(), product.product_id, {}),
    ):
        with pytest.raises(Forbidden):
            await refused


async def test_of_variants_that_cannot_all_be_added_none_is(context: Context, other_shop: Shop) -> None:
    product = await create_product(context, a_shirt())
    elsewhere = (OpeningStock(other_shop.store_id, Decimal(1)),)
    with pytest.raises(UnknownLocation) as refused:
        await add_variants(
            context,
            product.product_id,
            [size("1", opening=stocked(context, 4)), size("2", opening=elsewhere)],
        )
    assert [fault.pointer for fault in refused.value.faults] == ["/variants/1/locationQuantities"]
    assert await sold(context, product) == ["0"]
    async with context.reading() as db:
        assert await db.value("SELECT count(*) FROM stock_movement") == 0


async def test_of_variants_that_cannot_all_be_removed_none_is(context: Context) -> None:
    product = await create_product(
        context, a_shirt(size("0"), size("1"), size("2", opening=stocked(context, 3)))
    )
    ids = [variant.variant_id for variant in product.variants[1:]]
    with pytest.raises(StillStocked):
        await remove_variants(context, product.product_id, ids)
    assert await sold(context, product) == ["0", "1", "2"]


@pytest.mark.parametrize("state", ["reserved", "in_transit", "damaged"])
@pytest.mark.parametrize("on_remaining", ["reject", "write_off"])
async def test_what_is_promised_or_on_its_way_is_never_written_off(
    context: Context, state: str, on_remaining: Any
) -> None:
    product = await create_product(context, a_shirt(size("0"), size("1", opening=stocked(context, 3))))
    async with context.transaction() as db:
        await db.execute(f"UPDATE stock_balance SET {state} = 1 WHERE on_hand > 0")
    with pytest.raises(StillStocked) as refused:
        await remove_variants(
            context, product.product_id, [product.variants[1].variant_id], on_remaining=on_remaining
        )
    assert [fault.pointer for fault in refused.value.faults] == ["/variantIds/0"]
    assert await sold(context, product) == ["0", "1"]


# Prices ----------------------------------------------------------------------------------------------


async def test_a_variant_without_a_price_follows_the_products(context: Context) -> None:
    dear = msgspec.structs.replace(PRICE, selling_minor=950_000)
    product = await create_product(context, a_shirt(size("0"), size("1", price=dear)))
    (third,) = (await add_variants(context, product.product_id, [size("2")])).variants
    assert (third.price, third.own_price) == (PRICE, False)
    new = Price(currency="NGN", selling_minor=800_000, cost_minor=5)
    changed = await update_product(context, product.product_id, ProductChange(price=new))
    assert changed.main.price == new
    assert [variant.price for variant in changed.variants] == [new, dear, new]
    await check_books(context)


async def test_a_products_promotion_makes_its_cards_stale_though_no_variant_has_it(context: Context) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    promoted = msgspec.structs.replace(PRICE, promo_minor=1, promo_ends_at=until)
    new = msgspec.structs.replace(a_shirt(size("0", price=PRICE)), main=NewVariant(price=promoted))
    await create_product(context, new)
    async with context.reading() as db:
        stale = await db.values("SELECT stale_at FROM product_card")
    assert stale
    assert set(stale) == {until}


# Races -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "values", "refusal"),
    [
        ({}, ["1"] * 12, ChoiceTaken),
        ({"sku": "Race"}, [f"{n}" for n in range(1, 13)], SkuTaken),
        ({"barcode": "5000112637922"}, [f"{n}" for n in range(1, 13)], BarcodeTaken),
    ],
    ids=["combination", "sku", "barcode"],
)
async def test_of_twelve_who_add_the_same_exactly_one_does(
    context: Context, fields: dict[str, Any], values: list[str], refusal: type[Problem]
) -> None:
    product = await create_product(context, a_shirt())
    found = await outcomes(
        [add_variants(own(context), product.product_id, [size(value, **fields)]) for value in values]
    )
    assert sum(isinstance(outcome, actions.Added) for outcome in found) == 1
    assert sum(outcome is refusal for outcome in found) == 11
    after = await get_product(context, product.product_id)
    assert (len(after.variants), after.version) == (2, 2)
    await check_books(context)


async def test_one_sku_for_variants_of_two_products_is_given_once(context: Context) -> None:
    products = [await create_product(context, a_shirt()) for _ in range(6)]
    found = await outcomes(
        [add_variants(own(context), one.product_id, [size("1", sku="Race")]) for one in products]
    )
    assert sum(isinstance(outcome, actions.Added) for outcome in found) == 1
    assert sum(outcome is SkuTaken for outcome in found) == 5


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that does not hold the product: both adders have looked before one of them writes."""
    looked = asyncio.Barrier(2)

    async def look(db: Database, product_id: UUID) -> Product:
        (product,) = await read_products(db, [product_id])
        await looked.wait()
        return product

    monkeypatch.setattr(actions, "lock_product", look)


async def two_adders(context: Context, product: Product) -> list[object]:
    return await outcomes([add_variants(own(context), product.product_id, [size("1")]) for _ in range(2)])


async def test_who_looked_too_early_is_told_by_the_database(context: Context, unlocked: None) -> None:
    product = await create_product(context, a_shirt())
    found = await two_adders(context, product)
    assert sum(isinstance(outcome, actions.Added) for outcome in found) == 1
    assert sum(outcome is ChoiceTaken for outcome in found) == 1
    assert await sold(context, product) == ["0", "1"]


@pytest.fixture
async def without_index(schema_owner: SchemaOwner) -> AsyncIterator[None]:
    """A build whose database does not know that a combination is sold once."""
    definition = await schema_owner.fetchval("SELECT pg_get_indexdef('variant_choice'::regclass)")
    await schema_owner.execute("DROP INDEX variant_choice")
    yield
    await schema_owner.execute(
        "DELETE FROM variant v USING variant w WHERE w.merchant_id = v.merchant_id"
        " AND w.product_id = v.product_id AND w.options = v.options AND w.variant_id < v.variant_id"
    )
    await schema_owner.execute(definition)


async def test_without_lock_and_index_the_same_race_sells_a_combination_twice(
    context: Context, unlocked: None, without_index: None
) -> None:
    """The control."""
    product = await create_product(context, a_shirt())
    found = await two_adders(context, product)
    assert sum(isinstance(outcome, actions.Added) for outcome in found) == 2
    assert await sold(context, product) == ["0", "1", "1"]


async def test_of_two_who_give_a_simple_product_its_options_one_widens_the_others(context: Context) -> None:
    product = await create_product(context, a_product())
    wanted = [
        add_variants(
            own(context), product.product_id, [size(value)], options=[ProductOption("Size", (value,))]
        )
        for value in ("S", "M")
    ]
    found = await outcomes(wanted)
    assert all(isinstance(outcome, actions.Added) for outcome in found)
    after = await get_product(context, product.product_id)
    assert sorted(after.options[0].values) == ["M", "S"]
    assert sorted(variant.name for variant in after.variants) == ["M", "S"]
    assert after.main.variant_id == product.main.variant_id


async def test_two_who_remove_one_each_leave_one(context: Context) -> None:
    for _ in range(4):
        product = await create_product(context, a_shirt(size("0"), size("1")))
        found = await outcomes(
            [
                remove_variants(own(context), product.product_id, [variant.variant_id])
                for variant in product.variants
            ]
        )
        assert sum(isinstance(outcome, Product) for outcome in found) == 1
        assert sum(outcome is LastVariant for outcome in found) == 1


async def check_race(context: Context, removal: Awaitable[object], movement: Awaitable[Decimal]) -> None:
    moved, removed = await asyncio.gather(movement, removal, return_exceptions=True)
    assert isinstance(moved, Decimal | NotStocked), moved
    assert isinstance(removed, Product | actions.Added | StillStocked), removed
    assert isinstance(moved, Decimal) == isinstance(removed, StillStocked), (moved, removed)
    async with context.reading() as db:
        assert await db.value("SELECT count(*) FROM stock_faults()") == 0


@pytest.mark.parametrize("has_moved", [False, True])
async def test_a_removal_that_meets_a_movement_is_refused_or_comes_first(
    context: Context, has_moved: bool
) -> None:
    for _ in range(6):
        product = await create_product(context, a_shirt(size("0"), size("1", opening=stocked(context))))
        variant = product.variants[1]
        if has_moved:
            await move(context, variant, 1)
            await move(context, variant, -1)
        await check_race(
            context,
            remove_variants(own(context), product.product_id, [variant.variant_id]),
            move(context, variant, 1),
        )


async def test_a_movement_of_a_product_that_just_got_variants_is_refused_or_comes_first(
    context: Context,
) -> None:
    for _ in range(6):
        product = await create_product(context, a_product(opening=stocked(context)))
        await check_race(
            context,
            add_variants(
                own(context), product.product_id, [size("S")], options=[ProductOption("Size", ("S",))]
            ),
            move(context, product.main, 1),
        )


async def test_nothing_is_moved_that_is_no_longer_sold(context: Context, shop: Shop) -> None:
    simple = await create_product(context, a_product(opening=stocked(context, 2)))
    await move(context, simple.main, -2)
    await add_variants(context, simple.product_id, [size("S")], options=[ProductOption("Size", ("S",))])
    shirt = await create_product(context, a_shirt(size("0"), size("1", opening=stocked(context, 2))))
    await move(context, shirt.variants[1], -2)
    await remove_variants(context, shirt.product_id, [shirt.variants[1].variant_id])
    for gone in (simple.main, shirt.main, shirt.variants[1]):
        for store_id in (context.store_id, shop.second_store_id):
            with pytest.raises(NotStocked):
                await move(context, gone, 1, store_id=store_id)
    # The product's own level stays, and can be changed: nothing lies there, but it speaks of the sum.
    await set_reorder(context, simple.main.variant_id, level=Decimal(3))
    async with context.transaction() as db:
        levels = await read_stock(db, [simple.product_id, shirt.product_id])
        assert {level.on_hand for level in levels} == {0}
        assert shirt.variants[1].variant_id not in {level.variant_id for level in levels}


async def test_an_open_balance_of_something_gone_would_be_moved(context: Context) -> None:
    """The control: the same movement where nobody closed the balance."""
    simple = await create_product(context, a_product(opening=stocked(context)))
    await add_variants(context, simple.product_id, [size("S")], options=[ProductOption("Size", ("S",))])
    async with context.transaction() as db:
        await db.execute("UPDATE stock_balance SET closed = false")
    assert await move(context, simple.main, 1) == 1


# Counters and cards --------------------------------------------------------------------------------


async def test_counters_and_cards_are_right_after_each_change(context: Context) -> None:
    simple = await create_product(context, a_product())
    await check_books(context)
    added = await add_variants(
        context, simple.product_id, [size("S"), size("M")], options=[ProductOption("Size", ("S", "M"))]
    )
    await check_books(context)
    await remove_variants(context, simple.product_id, [added.variants[0].variant_id])
    await check_books(context)
    await create_product(context, a_shirt())
    await check_books(context)


# The doctor ------------------------------------------------------------------------------------------

BREAKS = {
    "UPDATE variant SET position = 9 WHERE merchant_id = $1 AND position = 0": "no row of its own",
    "UPDATE product SET options = '[]' WHERE merchant_id = $1": "that its product has not",
    "UPDATE product SET options = jsonb_set(options, '{0,values}', '[\"?\"]') WHERE merchant_id = $1": (
        "that its product has not"
    ),
    "UPDATE price SET cost_minor = 1 WHERE merchant_id = $1 AND selling_minor = 900000 AND variant_id IN"
    " (SELECT variant_id FROM variant WHERE position = 0)": "does not have the price of its product",
    "UPDATE stock_balance SET closed = false WHERE merchant_id = $1": "can be moved",
}


@pytest.mark.parametrize("broken", BREAKS)
async def test_the_doctor_finds_what_does_not_fit(
    context: Context, schema_owner: SchemaOwner, broken: str
) -> None:
    simple = await create_product(context, a_product(opening=stocked(context)))
    await add_variants(context, simple.product_id, [size("S")], options=[ProductOption("Size", ("S",))])
    await create_product(context, a_shirt(size("0"), size("1", price=PRICE)))

    async def findings() -> list[str]:
        rows = await schema_owner.fetch(VARIANTS.faults)
        return [row[1] for row in rows if row[0] == context.merchant_id]

    assert await findings() == []
    change = schema_owner.transaction()
    await change.start()
    await schema_owner.execute(broken, context.merchant_id)
    assert BREAKS[broken] in (await findings())[0]
    await change.rollback()
