"""Low stock is told once for each time that it falls through the level, whoever sells at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from kasuwa.base.context import Context
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import create_product
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
from kasuwa.domain.inventory.actions import set_reorder
from kasuwa.domain.inventory.errors import NotEnoughStock
from tests.base.database import connected, superuser_url
from tests.domain.stock_model import line
from tests.domain.test_stock_lines import goods, move, own, rows


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


async def test_low_stock_is_told_once_for_each_crossing(context: Context) -> None:
    await cross(context)


@asynccontextmanager
async def told_otherwise(urls: DatabaseUrls, right: str, wrong: str) -> AsyncIterator[None]:
    """A database whose trigger is wrong in these words."""
    async with connected(superuser_url(urls)) as admin:
        whole = await admin.fetchval("SELECT pg_get_functiondef('tell_low_stock'::regproc)")
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
