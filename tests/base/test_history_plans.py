"""The plans of stock as it was, and of what ran low, read as the application's role."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from kasuwa.base.context import Services
from kasuwa.base.db import Numbered
from kasuwa.database import DatabaseUrls
from kasuwa.domain.inventory.history import AS_AT, LOW_EVENTS
from tests.base.database import Connection, connected, superuser_url
from tests.shop import Shop, new_shop

EACH, SIZE, MOVED = 20_000, 50, 500
TABLES = ("product", "variant", "stock_balance", "stock_movement", "stock_low_event")

# Everything ran low once, all but a hundredth at the other store. A hundred variants have moved for days.
_FILL = """
    SET LOCAL session_replication_role = replica;
    CREATE TEMP TABLE made ON COMMIT DROP AS
      SELECT n, ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid AS id
      FROM generate_series(1, {each}) n;
    INSERT INTO product (merchant_id, product_id, number, name, sort_name, slug)
      SELECT '{merchant}', id, n + 100, 'Malt', 'malt', 'malt' FROM made;
    INSERT INTO variant (merchant_id, variant_id, product_id, number, sku, sku_key)
      SELECT '{merchant}', id, id, n + 100, 'S' || n, 's' || n FROM made;
    INSERT INTO stock_balance (merchant_id, store_id, variant_id, product_id, on_hand)
      SELECT '{merchant}', '{store}', id, id, 5 FROM made;
    INSERT INTO stock_low_event (merchant_id, event_id, store_id, variant_id, product_id, at, available,
                                 reorder_level)
      SELECT '{merchant}', gen_random_uuid(),
             CASE WHEN n % 100 = 0 THEN '{store}'::uuid ELSE '{other}'::uuid END, id, id, now(), 1, 1
      FROM made;
    INSERT INTO stock_movement (merchant_id, store_id, variant_id, seq, movement_id, product_id, at, kind,
                                state, quantity, before, after, value_change, serials, actor, device,
                                reason, reference, note, party, request_id, previous_hash, hash)
      SELECT '{merchant}', '{store}', id, g, gen_random_uuid(), id, now() - ({moved} - g) * interval '1 hour',
             'sold', 'on_hand', -1, 1, 0, 0, '{{}}', '', '', '', '', '', '', '', '', ''
      FROM made CROSS JOIN generate_series(1, {moved}) g WHERE n <= 100;
"""


@pytest.fixture(scope="module")
async def long_open(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Shop]:
    """One merchant of two, each with twenty thousand variants."""
    shops = [await new_shop(services) for _ in range(2)]
    async with connected(superuser_url(database_urls)) as admin:
        for shop in shops:
            places = {"merchant": shop.merchant_id, "store": shop.store_id, "other": shop.second_store_id}
            async with admin.transaction():
                await admin.execute(_FILL.format(each=EACH, moved=MOVED, **places))
        await admin.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")
        yield shops[1]
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            for table in reversed(TABLES):
                ids = [shop.merchant_id for shop in shops]
                await admin.execute(f"DELETE FROM {table} WHERE merchant_id = ANY($1)", ids)
        await admin.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")


async def touched(connection: Connection, sql: str, **values: object) -> int:
    """How many rows the statement's steps looked at, whether they gave them on or not."""
    statement = Numbered(sql)
    rows = await connection.fetch(
        f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {statement.text}",
        *(values[name] for name in statement.names),
    )
    total = loops = 0.0
    for (text,) in rows:
        if given := re.search(r"actual rows=([\d.]+) loops=(\d+)", text):
            loops = float(given[2])
            total += float(given[1]) * loops
        elif removed := re.search(r"Rows Removed by .*: (\d+)", text):
            total += float(removed[1]) * loops
    return int(total)


@pytest.fixture
async def application(long_open: Shop, database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    """The application's role in a transaction of the merchant; at its end everything is undone."""
    async with connected(superuser_url(database_urls)) as connection:
        await connection.execute("BEGIN; SET LOCAL jit = off; SET LOCAL ROLE kasuwa_app")
        await connection.execute(f"SET LOCAL app.merchant_id = '{long_open.merchant_id}'")
        yield connection


@pytest.mark.parametrize("goes_on", [False, True], ids=["first", "next"])
async def test_a_page_of_stock_as_it_was_reads_its_balances_and_what_came_since(
    application: Connection, long_open: Shop, goes_on: bool
) -> None:
    ids = await application.fetch("SELECT variant_id FROM stock_balance ORDER BY variant_id LIMIT 40")
    after = ids[-1]["variant_id"] if goes_on else None
    wanted = {"store_id": long_open.store_id, "after": after, "size": SIZE}
    now = datetime.now(UTC)
    # A balance passes some fifteen steps: its variant, its product, its last movement, an empty sum.
    assert await touched(application, AS_AT, at=now, **wanted) <= 20 * SIZE
    hours = 10
    since = await touched(application, AS_AT, at=now - timedelta(hours=hours), **wanted)
    assert since <= (20 + 4 * hours) * SIZE
    # The control: the measure sees what is read of a chain.
    assert await touched(application, AS_AT, at=now - timedelta(days=90), **wanted) >= MOVED * SIZE


@pytest.mark.parametrize("goes_on", [False, True], ids=["first", "next"])
async def test_a_page_of_what_ran_low_reads_its_own_stores_events_alone(
    application: Connection, long_open: Shop, goes_on: bool
) -> None:
    ids = await application.fetch("SELECT event_id FROM stock_low_event ORDER BY event_id DESC LIMIT 2000")
    after = ids[-1]["event_id"] if goes_on else None
    wanted = {"store_id": long_open.store_id, "after": after, "size": SIZE}
    assert await touched(application, LOW_EVENTS, **wanted) <= 8 * SIZE
    # The control: by the key alone those of the other store are read and left out.
    await application.execute("RESET ROLE; DROP INDEX stock_low_event_of_store; SET LOCAL ROLE kasuwa_app")
    assert await touched(application, LOW_EVENTS, **wanted) > 8 * SIZE
