"""Changes of the category tree at the same time, of each other and of the products in it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import Unavailable
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue import actions, categories
from kasuwa.domain.catalogue.actions import ProductChange, remove_product, update_product
from kasuwa.domain.catalogue.categories import (
    CategoryChange,
    create_category,
    delete_category,
    update_category,
)
from kasuwa.domain.catalogue.category_lists import (
    CategoryWish,
    list_categories,
)
from kasuwa.domain.catalogue.errors import (
    CategoryLoop,
    CategoryNameTaken,
    CategoryNotFound,
    UnknownCategory,
)
from kasuwa.domain.catalogue.records import Category
from tests.base.database import Connection, connected, superuser_url
from tests.domain.test_catalogue import outcomes, own
from tests.domain.test_categories import cards_are_right, product_in, walked


@pytest.fixture
async def superuser(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    async with connected(superuser_url(database_urls)) as connection:
        yield connection


async def test_of_twenty_who_want_one_name_exactly_one_gets_it(context: Context) -> None:
    names = ["Drinks", "drinks", "DRÍNKS", " drinks "] * 5
    found = await outcomes([create_category(own(context), name) for name in names])
    assert sum(isinstance(outcome, UUID) for outcome in found) == 1
    assert sum(outcome is CategoryNameTaken for outcome in found) == 19


async def look_only(db: object) -> None:
    """Instead of a lock."""


async def _cross(context: Context) -> tuple[list[object], int]:
    """A is moved below what is below B, and before that is committed B below what is below A.

    What came of it, and how many of the four a walk from the top finds.
    """
    a, b = await create_category(context, "A"), await create_category(context, "B")
    below_a = await create_category(context, "Below A", parent_id=a)
    below_b = await create_category(context, "Below B", parent_id=b)
    moved = asyncio.Event()

    async def first() -> Any:
        mover = own(context)
        async with mover.transaction():
            category = await update_category(mover, a, CategoryChange(parent_id=below_b))
            moved.set()
            await asyncio.sleep(0.5)
            return category

    async def second() -> Any:
        await moved.wait()
        return await update_category(own(context), b, CategoryChange(parent_id=below_a))

    found = await outcomes([first(), second()])
    tree = await list_categories(context, CategoryWish())
    return found, len(list(walked(tree.rows)))


async def test_of_two_who_would_close_a_loop_the_second_is_refused(context: Context) -> None:
    found, reached = await _cross(context)
    assert found[1] is CategoryLoop
    assert reached == 4


async def test_without_the_lock_the_same_two_close_a_loop(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a build that looks at the tree without holding it."""
    monkeypatch.setattr(categories, "hold_tree", look_only)
    found, reached = await _cross(context)
    assert isinstance(found[1], Category)
    assert reached == 0


async def _rename_above_a_product(context: Context, superuser: Connection, *, locked: bool) -> bool:
    """A product is put below a category while that is renamed; whether its card is right in the end."""
    top = await create_category(context, "Drinks")
    malt = await create_category(context, "Malt", parent_id=top)
    product_id = await product_in(context)
    if not locked:
        # The foreign keys lock too.
        await superuser.execute("ALTER TABLE product_category DISABLE TRIGGER ALL")
    try:
        putting = own(context)
        async with putting.transaction():
            await update_product(putting, product_id, ProductChange(category_ids=(malt,)))
            renaming = update_category(own(context), top, CategoryChange(name="Cold drinks"))
            rename = asyncio.create_task(renaming)
            await asyncio.wait({rename}, timeout=0.5 if locked else 10)
            assert rename.done() is not locked
        await rename
    finally:
        if not locked:
            await superuser.execute("ALTER TABLE product_category ENABLE TRIGGER ALL")
    return await cards_are_right(context, product_id)


async def test_a_product_put_below_a_category_that_is_renamed_shows_the_new_name(
    context: Context, superuser: Connection
) -> None:
    assert await _rename_above_a_product(context, superuser, locked=True)


async def test_without_locks_the_same_product_shows_the_old_name(
    context: Context, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a build that links without holding anything."""
    monkeypatch.setattr(actions, "share_category_tree", look_only)
    assert not await _rename_above_a_product(context, superuser, locked=False)


async def _delete_under_a_product(context: Context, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A category goes and its products move, and between the two one of them is changed."""
    category_id, heir = await create_category(context, "Drinks"), await create_category(context, "Heir")
    product_id = await product_in(context, category_id)
    taken_out, go_on = asyncio.Event(), asyncio.Event()
    execute = Database.execute

    async def slowly(db: Database, sql: str, **values: object) -> int:
        if "INSERT INTO product_category" in sql and "unnest(:products" in sql:
            taken_out.set()
            await go_on.wait()
        return await execute(db, sql, **values)

    monkeypatch.setattr(Database, "execute", slowly)
    deleting = asyncio.create_task(delete_category(own(context), category_id, move_items_to=heir))
    await taken_out.wait()
    change = update_product(own(context), product_id, ProductChange(category_ids=(heir,)))
    changing = asyncio.create_task(change)
    await asyncio.sleep(0.3)
    go_on.set()
    return await outcomes([deleting, changing])


async def test_a_product_is_changed_while_its_category_goes(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Unavailable not in await _delete_under_a_product(context, monkeypatch)


async def test_without_sharing_the_tree_the_two_wait_for_each_other(
    context: Context, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a build that locks the product first."""
    monkeypatch.setattr(actions, "share_category_tree", look_only)
    await superuser.execute("ALTER TABLE product_category DISABLE TRIGGER share_tree")
    try:
        assert Unavailable in await _delete_under_a_product(context, monkeypatch)
    finally:
        await superuser.execute("ALTER TABLE product_category ENABLE TRIGGER share_tree")


async def test_products_come_and_go_while_categories_are_deleted_renamed_and_moved(context: Context) -> None:
    """Whatever wins, nobody waits for each other in a circle and every card is right in the end."""
    heir = await create_category(context, "Heir")
    shelves = [await create_category(context, f"Shelf {n}") for n in range(3)]
    products = [await product_in(context, shelves[n % 3], heir) for n in range(6)]
    work: list[Callable[[], Awaitable[Any]]] = []
    for n, shelf in enumerate(shelves):
        kept, gone = products[n], products[3 + n]
        change = CategoryChange(name=f"New {n}", parent_id=heir)
        put = ProductChange(category_ids=(shelf,), name="N")
        work += [
            partial(update_category, own(context), shelf, change),
            partial(update_product, own(context), kept, put),
            partial(remove_product, own(context), gone),
            partial(delete_category, own(context), shelf, move_items_to=heir),
            partial(product_in, own(context), shelf),
        ]
    found = await outcomes([_done(one) for one in work])
    assert [one for one in found if isinstance(one, BaseException)] == []
    assert {one for one in found if isinstance(one, type)} <= {UnknownCategory, CategoryNotFound}
    await context.services.jobs.run_due()
    async with own(context).reading() as db:
        left = await db.values("SELECT product_id FROM product WHERE merchant_id = current_merchant()")
        links = await db.values(
            "SELECT DISTINCT category_id FROM product_category WHERE merchant_id = current_merchant()"
        )
    assert set(links) <= {heir}
    assert await cards_are_right(context, *left)


async def _done(work: Callable[[], Awaitable[Any]]) -> Any:
    """What it comes to, however long the others are busy; a circle is a fault."""
    for _ in range(50):
        try:
            return await work()
        except Unavailable as problem:
            if isinstance(problem.__cause__, asyncpg.DeadlockDetectedError):
                raise AssertionError("they wait for each other") from problem
    raise AssertionError("it never gets its turn")
