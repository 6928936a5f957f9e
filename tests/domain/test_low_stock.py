"""Low stock is told once for each time that it falls through the level, whoever sells at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from uuid import UUID

import pytest

from kasuwa.base.context import Context
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import ProductChange, create_product, update_product
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    OptionValue,
    Price,
    ProductOption,
)
from kasuwa.domain.inventory.actions import move_stock, set_reorder
from kasuwa.domain.inventory.errors import NotEnoughStock
from kasuwa.domain.inventory.history import list_low_stock
from tests.base.database import connected, superuser_url
from tests.domain.stock_model import line
from tests.domain.test_stock_lines import faults, goods, move, own, rows


async def low_events(context: Context) -> list[int]:
    found = await rows(context, "SELECT available::int AS n FROM stock_low_event ORDER BY event_id")
    return [row["n"] for row in found]


async def cross(context: Context) -> None:
    """Down through the level, further down, up, down again; and then the level itself goes down and up."""
    rice = (await goods(context, quantity=10)).main.variant_id
    await set_reorder(own(context), rice, level=Decimal(5))
    for change, told in ((-4, []), (-1, [5]), (-2, [5]), (4, [5]), (-3, [5, 4]), (-1, [5, 4])):
        await move(context, line(context.store_id, rice, change=Decimal(change)))
        assert await low_events(context) == told
    await set_reorder(own(context), rice, level=Decimal(1))
    await set_reorder(own(context), rice, level=Decimal(3))
    assert await low_events(context) == [5, 4, 3]


async def test_what_nobody_tracks_is_not_listed_as_low(context: Context) -> None:
    rice = await goods(context, quantity=10)
    await set_reorder(own(context), rice.main.variant_id, level=Decimal(20))
    listed = await list_low_stock(context, after=None, size=10)
    assert [one.variant_id for one in listed] == [rice.main.variant_id]
    await update_product(own(context), rice.product_id, ProductChange(track_quantity=False))
    assert await list_low_stock(context, after=None, size=10) == []


async def test_low_stock_is_told_once_for_each_crossing(context: Context) -> None:
    await cross(context)


@asynccontextmanager
async def told_otherwise(
    urls: DatabaseUrls, right: str, wrong: str, function: str = "tell_low_stock"
) -> AsyncIterator[None]:
    """A database whose trigger is wrong in these words."""
    async with connected(superuser_url(urls)) as admin:
        whole = await admin.fetchval("SELECT pg_get_functiondef($1::regproc)", function)
        assert right in whole
        await admin.execute(whole.replace(right, wrong))
        try:
            yield
        finally:
            await admin.execute(whole)


FLIP = "NEW.is_low := NOT NEW.is_low;"
TELL = "IF NEW.is_low THEN"
BROKEN = {
    "at each sale while it is low": (f"{FLIP}\n  {TELL}", "IF NOT NEW.is_low THEN"),
    "also on the way up": (TELL, "IF true THEN"),
    "once for ever": (FLIP, "IF NEW.is_low THEN RETURN NEW; END IF; NEW.is_low := true;"),
    "never": (TELL, "IF false THEN"),
}


@pytest.mark.parametrize(("right", "wrong"), BROKEN.values(), ids=BROKEN)
async def test_the_control_a_trigger_that_tells_otherwise_is_found(
    context: Context, database_urls: DatabaseUrls, right: str, wrong: str
) -> None:
    async with told_otherwise(database_urls, right, wrong):
        with pytest.raises(AssertionError):
            await cross(context)


async def test_what_is_reserved_is_no_longer_there_to_be_sold(context: Context) -> None:
    rice = (await goods(context, quantity=10)).main.variant_id
    await set_reorder(own(context), rice, level=Decimal(5))
    await move(context, line(context.store_id, rice, kind="reserved", state="reserved", change=Decimal(6)))
    assert await low_events(context) == [4]


async def test_a_crossing_that_is_undone_is_not_told(context: Context) -> None:
    rice = (await goods(context, quantity=10)).main.variant_id
    await set_reorder(own(context), rice, level=Decimal(5))
    with pytest.raises(NotEnoughStock):
        await move(
            context,
            line(context.store_id, rice, change=Decimal(-8)),
            line(context.store_id, rice, change=Decimal(-8)),
        )
    assert await low_events(context) == []


@pytest.mark.parametrize("way", ["alone", "in bulk"])
async def test_a_product_is_not_low_itself_while_its_variants_are_sold(context: Context, way: str) -> None:
    """Its level is for all of them together, as lists and filters reckon; nothing of its own is counted."""
    price = Price(currency="NGN", selling_minor=100)
    new = NewProduct(
        name="Shirt",
        kind="variant",
        options=(ProductOption("Size", ("S", "M")),),
        main=NewVariant(price=price, opening=(OpeningStock(context.store_id, reorder_level=Decimal(5)),)),
        variants=tuple(
            NewVariant(
                options=(OptionValue("Size", size),),
                opening=(OpeningStock(context.store_id, Decimal(4), reorder_level=Decimal(4)),),
            )
            for size in "SM"
        ),
    )
    if way == "alone":
        await create_product(context, new)
    else:
        await write_products(context, [BulkProduct(new=new)])
    assert await low_events(context) == [4, 4]


async def fifty_tills(context: Context) -> list[int]:
    """What is told while fifty tills sell one each at once; the level is twenty."""
    rice = (await goods(context, quantity=50)).main.variant_id
    await set_reorder(own(context), rice, level=Decimal(20))
    await asyncio.gather(
        *(move(context, line(context.store_id, rice, change=Decimal(-1))) for _ in range(50))
    )
    return await low_events(context)


async def test_fifty_tills_at_once_cross_the_level_once(
    context: Context, database_urls: DatabaseUrls
) -> None:
    assert await fifty_tills(context) == [20]
    async with told_otherwise(database_urls, *BROKEN["at each sale while it is low"]):
        assert len(await fifty_tills(context)) > 2


# A product with variants, by the level that is its own ----------------------------------------------


async def shirts(context: Context, *quantities: int, level: int | None = 5) -> tuple[UUID, list[UUID]]:
    """A product with so many of each size and perhaps a level of its own: what is not sold, and the sizes."""
    reorder_level = None if level is None else Decimal(level)
    sizes = tuple(str(size) for size in range(len(quantities)))
    product = await create_product(
        context,
        NewProduct(
            name="Shirt",
            kind="variant",
            options=(ProductOption("Size", sizes),),
            main=NewVariant(
                price=Price(currency="NGN", selling_minor=100),
                opening=(OpeningStock(context.store_id, reorder_level=reorder_level),),
            ),
            variants=tuple(
                NewVariant(
                    options=(OptionValue("Size", size),),
                    opening=(OpeningStock(context.store_id, Decimal(quantity)),),
                )
                for size, quantity in zip(sizes, quantities, strict=True)
            ),
        ),
    )
    return product.main.variant_id, [variant.variant_id for variant in product.variants]


async def cross_together(context: Context) -> None:
    """All sizes fall through the level and rise, then the level itself moves and is taken away."""
    base, (small, large) = await shirts(context, 4, 4)
    assert await low_events(context) == []
    for size, change, told in (
        (small, -2, []),
        (large, -2, [4]),
        (small, -1, [4]),
        (large, 9, [4]),
        (large, -8, [4, 4]),
    ):
        await move(context, line(context.store_id, size, change=Decimal(change)))
        assert await low_events(context) == told
    await set_reorder(own(context), base, level=Decimal(1))
    await set_reorder(own(context), base, level=Decimal(6))
    assert await low_events(context) == [4, 4, 4]
    await set_reorder(own(context), base, level=None)
    await set_reorder(own(context), base, level=Decimal(4))
    assert await low_events(context) == [4, 4, 4, 4]
    of_product = await rows(context, "SELECT DISTINCT variant_id FROM stock_low_event")
    assert [row["variant_id"] for row in of_product] == [base]
    assert await faults(context) == []


async def test_a_product_is_told_low_once_for_each_crossing_of_all_its_variants(context: Context) -> None:
    await cross_together(context)


TOLD = "IF FOUND THEN"
KEPT = "DELETE FROM stock_low_product l"
BROKEN_TOGETHER = {
    "at each sale while it is low": (TOLD, "IF true THEN"),
    "once for ever": (KEPT, "PERFORM FROM stock_low_product l"),
    "never": (TOLD, "IF false THEN"),
}


@pytest.mark.parametrize(("right", "wrong"), BROKEN_TOGETHER.values(), ids=BROKEN_TOGETHER)
async def test_the_control_a_product_that_is_told_otherwise_is_found(
    context: Context, database_urls: DatabaseUrls, right: str, wrong: str
) -> None:
    async with told_otherwise(database_urls, right, wrong, function="tell_low_product"):
        with pytest.raises(AssertionError):
            await cross_together(context)


async def test_a_product_that_begins_low_is_told_and_one_without_a_level_never(context: Context) -> None:
    await shirts(context, 2, 3)
    assert await low_events(context) == [5]
    _, (small, large) = await shirts(context, 3, 3, level=None)
    await move(context, *(line(context.store_id, size, change=Decimal(-3)) for size in (small, large)))
    assert await low_events(context) == [5]
    assert await faults(context) == []


async def test_a_product_that_says_wrongly_whether_it_is_low_is_found(
    context: Context, database_urls: DatabaseUrls
) -> None:
    await shirts(context, 2, 3)
    async with connected(superuser_url(database_urls)) as admin:
        await admin.execute("DELETE FROM stock_low_product WHERE merchant_id = $1", context.merchant_id)
    wrong = "the product says of itself wrongly whether it is low"
    assert [row["fault"] for row in await faults(context)] == [wrong]


async def two_sizes_at_once(context: Context) -> list[int]:
    """What is told when two of each size are sold in two transactions that end at the same moment."""
    _, sizes = await shirts(context, 4, 4)
    met = asyncio.Barrier(2)

    async def sell(size: UUID) -> None:
        acting = own(context)
        async with acting.transaction() as db:
            await move_stock(acting, db, [line(context.store_id, size, change=Decimal(-2))])
            await met.wait()

    await asyncio.gather(*(sell(size) for size in sizes))
    return await low_events(context)


async def test_two_variants_sold_at_once_cross_the_products_level_once(
    context: Context, database_urls: DatabaseUrls
) -> None:
    assert await two_sizes_at_once(context) == [4]
    lock = "PERFORM pg_advisory_xact_lock(hashtextextended(NEW.merchant_id::text || '/low', 0));"
    look = "SELECT * INTO p FROM product_level(NEW.merchant_id, NEW.store_id, NEW.product_id);"
    alone = f"{look} PERFORM pg_sleep(1);"
    async with told_otherwise(database_urls, f"{lock}\n  {look}", alone, function="tell_low_product"):
        # The control: neither sees what the other sells, since both look before either ends.
        assert await two_sizes_at_once(context) == [4]


async def test_fifty_tills_that_sell_several_variants_cross_the_products_level_once(context: Context) -> None:
    _, sizes = await shirts(context, *([50] * 4), level=100)
    lines = [line(context.store_id, size, change=Decimal(-1)) for size in sizes]
    await asyncio.gather(*(move(context, *lines[n % 3 :]) for n in range(50)))
    (told,) = await low_events(context)
    assert told <= 100
    assert await faults(context) == []
