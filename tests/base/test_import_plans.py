"""The plans of lists of imports and of serial numbers, read as the application's role."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from kasuwa.base.context import Services
from kasuwa.base.db import Numbered
from kasuwa.database import DatabaseUrls
from kasuwa.domain.exchange.runs import LIST_RUNS
from kasuwa.domain.inventory.units import SERIALS
from tests.base.database import Connection, connected, superuser_url
from tests.base.test_plans import explain, most_rows
from tests.shop import Shop, new_shop

EACH, SIZE = 20_000, 50
TABLES = ("import_run", "stock_serial", "stock_movement")
VARIANT = UUID("00000000-0000-7000-8000-000000000007")

# Every second import is another store's; half of the units are gone; each hundred of them came together.
_FILL = """
    SET LOCAL session_replication_role = replica;
    INSERT INTO import_run (merchant_id, import_id, store_id, file_name, file_sha256, size_bytes, options,
                            status)
      SELECT '{merchant}', gen_random_uuid(),
             CASE WHEN n % 2 = 0 THEN '{store}'::uuid ELSE '{other}'::uuid END,
             'a.csv', n::text, 1, '{{}}', 'done' FROM generate_series(1, {each}) n;
    INSERT INTO stock_serial (merchant_id, variant_id, serial, store_id)
      SELECT '{merchant}', '{variant}', 'S-' || lpad(n::text, 6, '0'),
             CASE WHEN n % 2 = 0 THEN '{store}'::uuid END FROM generate_series(1, {each}) n;
    INSERT INTO stock_movement (merchant_id, store_id, variant_id, seq, movement_id, product_id, at, kind,
                                state, quantity, before, after, value_change, serials, actor, device,
                                reason, reference, note, party, request_id, previous_hash, hash)
      SELECT '{merchant}', '{store}', '{variant}', g, gen_random_uuid(), '{variant}', now(), 'quantity_added',
             'on_hand', 100, g * 100, (g + 1) * 100, 0,
             ARRAY(SELECT 'S-' || lpad((g * 100 + n)::text, 6, '0') FROM generate_series(1, 100) n),
             '', '', '', '', '', '', '', '', '' FROM generate_series(0, {each} / 100 - 1) g;
    -- And as many of other goods: the table is never so small that reading it whole costs nothing.
    INSERT INTO stock_movement (merchant_id, store_id, variant_id, seq, movement_id, product_id, at, kind,
                                state, quantity, before, after, value_change, serials, actor, device,
                                reason, reference, note, party, request_id, previous_hash, hash)
      SELECT '{merchant}', '{store}', id, 0, gen_random_uuid(), id, now(), 'quantity_added', 'on_hand',
             1, 0, 1, 0, '{{}}', '', '', '', '', '', '', '', '', ''
      FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, {each})) other;
"""


@pytest.fixture(scope="module")
async def busy_shop(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Shop]:
    """One merchant of two, with twenty thousand imports and as many serial numbers of one variant."""
    shops = [await new_shop(services) for _ in range(2)]
    async with connected(superuser_url(database_urls)) as admin:
        for shop in shops:
            places = {"merchant": shop.merchant_id, "store": shop.store_id, "other": shop.second_store_id}
            async with admin.transaction():
                await admin.execute(_FILL.format(each=EACH, variant=VARIANT, **places))
        await admin.execute(f"ANALYZE {', '.join(TABLES)}")
        yield shops[1]
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            for table in TABLES:
                ids = [shop.merchant_id for shop in shops]
                await admin.execute(f"DELETE FROM {table} WHERE merchant_id = ANY($1)", ids)
        await admin.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")


@pytest.fixture
async def application(busy_shop: Shop, database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    """The application's role in a transaction of the merchant."""
    async with connected(database_urls.application) as connection:
        await connection.execute("BEGIN; SET LOCAL jit = off")
        await connection.execute(f"SET LOCAL app.merchant_id = '{busy_shop.merchant_id}'")
        yield connection


async def plan_of(application: Connection, sql: str, **values: object) -> str:
    statement = Numbered(sql)
    return await explain(application, statement.text, *(values[name] for name in statement.names))


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_page_of_imports_reads_its_rows_and_no_more(
    application: Connection, busy_shop: Shop, goes_on: bool
) -> None:
    ids = await application.fetch("SELECT import_id FROM import_run ORDER BY import_id DESC LIMIT 9000")
    before = ids[-1]["import_id"] if goes_on else None
    plan = await plan_of(application, LIST_RUNS, store_id=busy_shop.store_id, before=before, size=SIZE)
    assert "import_run_of_store" in plan
    assert most_rows(plan) <= SIZE, plan


@pytest.mark.parametrize(("here", "gone"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("after", [None, "S-010000"])
async def test_a_page_of_serial_numbers_looks_through_the_movements_once(
    application: Connection, busy_shop: Shop, here: bool, gone: bool, after: str | None
) -> None:
    plan = await plan_of(
        application,
        SERIALS,
        variant_id=VARIANT,
        product_id=VARIANT,
        store_id=busy_shop.store_id,
        here=here,
        gone=gone,
        after=after,
        size=SIZE,
    )
    assert "Seq Scan on stock_serial" not in plan
    assert "Seq Scan on stock_movement" not in plan
    # All numbers of the variant's movements, once.
    assert most_rows(plan) <= EACH, plan
