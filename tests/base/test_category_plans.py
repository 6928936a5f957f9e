"""The plans of what reads categories, as the application's role, beside other merchants with as many."""

import re
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from uuid import UUID

import pytest

from kasuwa.base.context import Services
from kasuwa.base.db import Numbered
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue import category_lists, lists
from kasuwa.domain.catalogue.category_lists import CategoryWish
from kasuwa.domain.catalogue.filters import conditions_of
from kasuwa.domain.catalogue.following import read_products_of
from kasuwa.domain.catalogue.records import PageWish, ProductFilter
from tests.base.database import Connection, connected, superuser_url
from tests.base.test_plans import Recorder, explain, function_plans, most_rows
from tests.shop import Shop, new_shop

T = TypeVar("T")

TOPS, BELOW, ITEMS = 50, 100, 20
EACH = TOPS * (BELOW + 1)
TABLES = ("category", "product", "product_category")

# Fifty trees of two levels; every category has products, every tenth product is archived.
_FILL = """
    SET LOCAL session_replication_role = replica;
    CREATE TEMP TABLE made ON COMMIT DROP AS
      SELECT n, gen_random_uuid() AS id FROM generate_series(1, {tops} * ({below} + 1)) n;
    INSERT INTO category (merchant_id, category_id, number, parent_id, name, name_key, slug, position,
                          path, tree_key)
      SELECT '{merchant}', m.id, m.n, p.id, 'Shelf ' || m.n, 'shelf ' || md5(m.n::text), 'shelf', m.n,
             CASE WHEN p.id IS NULL THEN ARRAY['Shelf ' || m.n]
                  ELSE ARRAY['Shelf ' || p.n, 'Shelf ' || m.n] END,
             coalesce(tree_key_of(p.n, p.n), '') || tree_key_of(m.n, m.n)
      FROM made m LEFT JOIN made p ON m.n > {tops} AND p.n = m.n % {tops} + 1;
    CREATE TEMP TABLE sold ON COMMIT DROP AS
      SELECT n, gen_random_uuid() AS id FROM generate_series(1, {tops} * {items} * 10) n;
    INSERT INTO product (merchant_id, product_id, number, name, sort_name, slug, status)
      SELECT '{merchant}', id, n, 'Malt ' || n, 'malt ' || md5(n::text), 'malt',
             CASE WHEN n % 10 = 0 THEN 'archived' ELSE 'active' END FROM sold;
    INSERT INTO product_category (merchant_id, product_id, category_id)
      SELECT '{merchant}', s.id, m.id FROM sold s JOIN made m ON m.n = s.n % ({tops} * ({below} + 1)) + 1;
"""


@pytest.fixture(scope="module")
async def big_shop(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Shop]:
    """One merchant of three, with five thousand categories and ten thousand products."""
    shops = [await new_shop(services) for _ in range(3)]
    async with connected(superuser_url(database_urls)) as admin:
        for shop in shops:
            async with admin.transaction():
                await admin.execute(
                    _FILL.format(tops=TOPS, below=BELOW, items=ITEMS, merchant=shop.merchant_id)
                )
        await admin.execute(f"ANALYZE {', '.join(TABLES)}")
        yield shops[1]
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            for table in ("product_category", "category", "product"):
                ids = [shop.merchant_id for shop in shops]
                await admin.execute(f"DELETE FROM {table} WHERE merchant_id = ANY($1)", ids)
        await admin.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")


@pytest.fixture
async def application(big_shop: Shop, database_urls: DatabaseUrls) -> AsyncIterator["Listener"]:
    async with connected(database_urls.application) as connection:
        await connection.execute("BEGIN; SET LOCAL jit = off")
        await connection.execute(f"SET LOCAL app.merchant_id = '{big_shop.merchant_id}'")
        yield Listener(connection)


class Listener(Recorder):
    """Keeps every statement that answers rows, and reads their plans."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.connection = connection

    async def values(self, sql: str, **values: object) -> list[Any]:
        self._note(sql, values)
        return await super().values(sql, **values)

    async def value(self, sql: str, **values: object) -> Any:
        self._note(sql, values)
        return await super().value(sql, **values)

    def _note(self, sql: str, values: dict[str, object]) -> None:
        statement = Numbered(sql)
        self.asked.append((statement.text, [values[name] for name in statement.names]))

    async def plans(self) -> list[str]:
        found = [await explain(self.connection, sql, *values) for sql, values in self.asked]
        self.asked.clear()
        return found

    async def any_category(self, condition: str) -> UUID:
        found = await self.connection.fetchval(f"SELECT category_id FROM category WHERE {condition} LIMIT 1")
        return UUID(int=found.int)


def scanned(plan: str) -> set[str]:
    return set(re.findall(r"Seq Scan on (\w+)", plan)) & set(TABLES)


async def read_list(
    shop: Shop, db: Listener, monkeypatch: pytest.MonkeyPatch, wish: CategoryWish
) -> list[str]:
    """The plans of all that the list asks, in the order it asks."""

    class Reading:
        async def __aenter__(self) -> Listener:
            return db

        async def __aexit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(type(shop.owner), "reading", lambda _: Reading())
    page = await category_lists.list_categories(shop.owner, wish)
    assert page.rows
    return await db.plans()


@pytest.mark.parametrize("within", ["", "a tree"])
@pytest.mark.parametrize("as_tree", [True, False])
async def test_a_page_of_categories_reads_its_own_rows(
    application: Listener,
    big_shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    as_tree: bool,
    within: str,
) -> None:
    parent_id = await application.any_category("parent_id IS NULL") if within else None
    wish = CategoryWish(as_tree=as_tree, parent_id=parent_id, size=20)
    *before, count, keys, rows = await read_list(big_shop, application, monkeypatch, wish)
    for plan in (*before, count, keys, rows):
        assert scanned(plan) == set(), plan
    # The tops are sorted: a NULL gives PostgreSQL no order.
    assert most_rows(keys) <= (TOPS if as_tree and not within else 21), keys
    # Counting reads the index of what is counted; only the flat view of everything counts everything.
    assert most_rows(count) <= (EACH if not (as_tree or within) else max(TOPS, BELOW)), count
    assert "category_place" in rows, rows


async def test_a_search_of_categories_reads_no_other_merchants(
    big_shop: Shop, database_urls: DatabaseUrls
) -> None:
    """Ten times, since a function's generic plan comes after five."""
    call = "SELECT find_categories('shelf abc1', 100)"
    plans = "\n".join(await function_plans(database_urls, big_shop, call, 10))
    assert scanned(plans) == set()
    assert float(max(re.findall(r"Rows Removed by Filter: (\d+)", plans), key=int)) <= EACH


async def test_the_tree_below_and_its_products_are_found_by_indexes(
    application: Listener, big_shop: Shop
) -> None:
    top = await application.any_category("parent_id IS NULL")
    tree = await category_lists.read_tree_ids(application, top)
    assert len(tree) == BELOW + 1
    assert await read_products_of(application, tree)
    below, products = await application.plans()
    assert scanned(below) == scanned(products) == set()
    assert most_rows(below) <= BELOW + 1, below
    assert "product_category_products" in products


async def test_products_of_a_category_are_found_by_its_index(application: Listener, big_shop: Shop) -> None:
    leaf = await application.any_category("parent_id IS NOT NULL")
    conditions, values = await conditions_of(application, ProductFilter(category_id=leaf), big_shop.store_id)
    application.asked.clear()
    await lists._page(big_shop.owner, application, "storeharmony", PageWish(), conditions, values)
    (plan,) = await application.plans()
    assert scanned(plan) == set()
    assert most_rows(plan) <= ITEMS, plan
    assert "product_category_products" in plan
