"""Functions that keep one plan: one made while the tables were small must still serve when they are big.

A connection keeps such a plan until the tables are analyzed, and the first import does not wait for that.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from kasuwa.base.migrate import migrate, read_migrations
from kasuwa.base.postgres.bootstrap import bootstrap
from kasuwa.cli.backup.programs import with_database
from kasuwa.database import MIGRATIONS, DatabaseUrls
from tests.base.database import Connection, connected, superuser_url
from tests.base.test_plans import BIG, FILL

EACH = 3000
# What each may touch of all big tables together; read whole, the smallest has as many rows as this.
MOST_ROWS = 250

_TEMPLATE = "kept_plans"
_WORD = hashlib.md5(b"20", usedforsecurity=False).hexdigest()[:8]  # a word of the vocabulary
_CALLS = {
    "product_page": [
        "SELECT product_page($1, 'storeharmony', $2, 'active', true, '%s%s%s%s%s%s', 50, 0)",
    ],
    "price_change_page": [
        "SELECT price_change_page($1, $2, true, '', last_price_change_id('2025-01-01'),"
        " last_price_change_id('2025-01-01'), last_price_change_id('2027-01-01'), 50, 0, 100)",
    ],
    "last_price_change": ["SELECT last_price_change() WHERE $1::uuid <> $2::uuid"],
    "write_search_words": [
        "SELECT write_search_words($1, ARRAY(SELECT product_id FROM product"
        " WHERE merchant_id = $1 ORDER BY merchant_id, number LIMIT 3)) WHERE $2::uuid IS NOT NULL",
    ],
}
# These ask nobody for the merchant: the parameters are there so that all are called alike.
_CALLS |= {
    name: [f"SELECT {name}({given}) WHERE $1::uuid <> $2::uuid" for given in all_given]
    for name, all_given in {
        "search_meant": ["'mlat'", "'maltmalt'"],
        "search_begun": ["'m'", "'ma'"],
        "search_idle_words": ["'', 20"],
        "search_products": [
            f"'{wanted}', 20, true, true" for wanted in ("sku-20", "50002", _WORD, _WORD[:4], _WORD + "x")
        ],
    }.items()
}


@pytest.fixture(scope="module")
async def empty_database(database_urls: DatabaseUrls) -> AsyncIterator[str]:
    """Migrated, never filled and never analyzed: others are copied from it."""
    await bootstrap(database_urls.admin, _TEMPLATE)
    async with connected(with_database(database_urls.owner, _TEMPLATE)) as owner:
        await migrate(owner, read_migrations(MIGRATIONS))
    yield _TEMPLATE
    async with connected(database_urls.admin) as admin:
        await admin.execute(f"DROP DATABASE {_TEMPLATE} WITH (FORCE)")


@asynccontextmanager
async def new_database(urls: DatabaseUrls, template: str) -> AsyncIterator[Connection]:
    """The superuser in a transaction of a copy: nobody analyzes what is not committed."""
    name = f"{template}_{uuid4().hex[:8]}"
    async with connected(urls.admin) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            async with connected(with_database(superuser_url(urls), name)) as connection:
                await connection.execute("BEGIN")
                yield connection
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def fill(connection: Connection, merchant: UUID, store: UUID, each: int) -> None:
    await connection.execute(FILL.format(each=each, merchant=merchant, store=store))
    await connection.execute("DROP TABLE made")


async def rows_touched(connection: Connection, function: str, merchant: UUID, store: UUID) -> int:
    """Rows of the big tables that the calls of the application look at, by their keys or not."""
    await connection.execute(f"SET LOCAL app.merchant_id = '{merchant}'; SET LOCAL ROLE kasuwa_app")
    before = await _touched(connection)
    for sql in _CALLS[function]:
        await connection.fetch(sql, merchant, store)
    await connection.execute("RESET ROLE")
    return await _touched(connection) - before


async def _touched(connection: Connection) -> int:
    rows: int = await connection.fetchval(
        "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint FROM pg_stat_xact_user_tables"
        " WHERE relname = ANY($1)",
        list(BIG),
    )
    return rows


@pytest.mark.parametrize("small", [0, 3])
@pytest.mark.parametrize("function", _CALLS)
async def test_a_plan_made_while_the_tables_were_small_still_goes_by_keys(
    database_urls: DatabaseUrls, empty_database: str, function: str, small: int
) -> None:
    async with new_database(database_urls, empty_database) as connection:
        first, merchant, store = uuid4(), uuid4(), uuid4()
        if small:
            await fill(connection, first, store, small)
        await rows_touched(connection, function, first, store)
        await fill(connection, merchant, store, EACH)
        assert 0 < await rows_touched(connection, function, merchant, store) <= MOST_ROWS


@pytest.mark.parametrize("function", _CALLS)
async def test_a_plan_that_reads_whole_tables_is_kept_and_seen(
    database_urls: DatabaseUrls, empty_database: str, function: str
) -> None:
    """The control: the plan is made while nothing but whole tables may be read."""
    async with new_database(database_urls, empty_database) as connection:
        first, merchant, store = uuid4(), uuid4(), uuid4()
        await connection.execute(f"ALTER FUNCTION {function} RESET enable_seqscan")
        await connection.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
        await connection.execute("SET LOCAL enable_indexonlyscan = off")
        await fill(connection, first, store, 3)
        await rows_touched(connection, function, first, store)
        await connection.execute("SET LOCAL enable_indexscan = on; SET LOCAL enable_bitmapscan = on")
        await connection.execute("SET LOCAL enable_indexonlyscan = on")
        await fill(connection, merchant, store, EACH)
        assert await rows_touched(connection, function, merchant, store) > MOST_ROWS


async def test_no_function_that_keeps_its_plan_is_left_out(database_urls: DatabaseUrls) -> None:
    async with connected(database_urls.owner) as connection:
        found = await connection.fetch(
            "SELECT proname FROM pg_proc"
            " WHERE proconfig && '{plan_cache_mode=force_generic_plan,enable_seqscan=off}'"
            " AND prorettype <> 'trigger'::regtype"
        )
    assert {row["proname"] for row in found} == set(_CALLS)
