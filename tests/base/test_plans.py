"""The plans of what every till asks all day, read as the application's role."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from typing import TypeVar, get_args
from uuid import UUID, uuid4

import pytest

from kasuwa.base.context import Services
from kasuwa.base.db import Database, Numbered
from kasuwa.base.ids import token_hash
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue import (
    bulk,
    lists,
    price_feed,
    price_list,
    queries,
    remains,
    variant_rows,
    variants,
)
from kasuwa.domain.catalogue.filters import conditions_of
from kasuwa.domain.catalogue.price_list import PriceListWish
from kasuwa.domain.catalogue.records import PageWish, ProductFilter, SortKey
from kasuwa.domain.exchange import exports
from kasuwa.domain.inventory import trail
from kasuwa.domain.inventory.actions import CLOSE_STOCK
from kasuwa.domain.inventory.trail import TrailFilter
from tests.base.database import Connection, connected, superuser_url
from tests.shop import Shop, new_shop

T = TypeVar("T")

EACH = 20_000
BIG = (
    "product",
    "variant",
    "price",
    "stock_balance",
    "product_card",
    "store_card",
    "price_change",
    "search_product",
    "search_word",
    "product_tag",
)

FILL = """
    SET LOCAL session_replication_role = replica;
    CREATE TEMP TABLE made ON COMMIT DROP AS
      SELECT n, gen_random_uuid() AS product_id, gen_random_uuid() AS variant_id
      FROM generate_series(1, {each}) n;
    INSERT INTO product (merchant_id, product_id, number, name, sort_name, slug, brand, tags)
      SELECT '{merchant}', product_id, n + 100, 'Malt ' || n, 'malt ' || md5(n::text), 'malt',
             CASE WHEN n % 2 = 0 THEN 'Common' ELSE 'Brand ' || n / 10 END,
             array['tag ' || n / 10, CASE WHEN n % 2 = 0 THEN 'common' ELSE 'other' END] FROM made;
    INSERT INTO product_tag (merchant_id, tag, product_id)
      SELECT '{merchant}', t.tag, p.product_id FROM product p, unnest(p.tags) t (tag)
      WHERE p.merchant_id = '{merchant}';
    INSERT INTO variant (merchant_id, variant_id, product_id, number, sku, sku_key, barcode)
      SELECT '{merchant}', variant_id, product_id, n + 100, 'SKU-' || n, 'sku-' || n, '5000' || n FROM made;
    INSERT INTO price (merchant_id, variant_id, currency, selling_minor)
      SELECT '{merchant}', variant_id, 'NGN', n FROM made;
    INSERT INTO stock_balance (merchant_id, store_id, variant_id, product_id)
      SELECT '{merchant}', '{store}', variant_id, product_id FROM made;
    INSERT INTO product_card (merchant_id, product_id, dialect, body)
      SELECT '{merchant}', product_id, 'storeharmony', '{{}}' FROM made;
    INSERT INTO search_product (merchant_id, product_id, words)
      SELECT '{merchant}', product_id,
             array_to_tsvector(search_marked('{merchant}', array['malt', left(md5(n::text), 8)])) FROM made;
    INSERT INTO search_word (merchant_id, word, product_id, losses)
      SELECT '{merchant}', w.word, product_id, search_marked('{merchant}', search_losses(w.word))
      FROM made, LATERAL (SELECT CASE n WHEN 10 THEN 'malt' ELSE left(md5(n::text), 8) END AS word) w
      WHERE n % 10 = 0;
    INSERT INTO store_card (merchant_id, store_id, product_id, dialect, body)
      SELECT '{merchant}', '{store}', product_id, 'storeharmony', '{{}}' FROM made;
    INSERT INTO price_change (merchant_id, change_id, store_id, changed_at, kind, product_id, sku, name,
                              is_cost_only)
      SELECT '{merchant}', price_change_id('2026-01-01', n), CASE WHEN n % 2 = 0 THEN '{store}'::uuid END,
             '2026-01-01', 'created', product_id, 'SKU', 'Malt', false FROM made;
    INSERT INTO merchant_counter (merchant_id, name, value) VALUES ('{merchant}', 'products.active', {each})
      ON CONFLICT (merchant_id, name, part) DO UPDATE SET value = excluded.value;
"""


@pytest.fixture(scope="module")
async def big_shop(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Shop]:
    """One merchant of three, with twenty thousand products."""
    shops = [await new_shop(services) for _ in range(3)]
    async with connected(superuser_url(database_urls)) as admin:
        for shop in shops:
            async with admin.transaction():
                await admin.execute(FILL.format(each=EACH, merchant=shop.merchant_id, store=shop.store_id))
        await vacuum(admin, *BIG)
        yield shops[1]
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            for table in (*reversed(BIG), "merchant_counter"):
                ids = [shop.merchant_id for shop in shops]
                await admin.execute(f"DELETE FROM {table} WHERE merchant_id = ANY($1)", ids)
        await vacuum(admin, *BIG)


async def vacuum(admin: Connection, *tables: str) -> None:
    """What autovacuum does within minutes.

    Without it a GIN index has what was inserted last in a list of its own. The planner counts that list's
    pages with each use of the index: whether it is used would depend on when autovacuum has come by.
    """
    await admin.execute(f"VACUUM ANALYZE {', '.join(tables)}")


@pytest.fixture
async def application(big_shop: Shop, database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    """The application's role in a transaction of the merchant, with the plans of functions in its notices."""
    async with connected(database_urls.application) as connection:
        await connection.execute("BEGIN; SET LOCAL jit = off")
        await connection.execute(f"SET LOCAL app.merchant_id = '{big_shop.merchant_id}'")
        yield connection


class Recorder(Database):
    """Keeps the statements that run through it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)  # type: ignore[arg-type]
        self.asked: list[tuple[str, list[object]]] = []

    async def all(self, sql: str, *, into: Callable[..., T], **values: object) -> list[T]:
        statement = Numbered(sql)
        self.asked.append((statement.text, [values[name] for name in statement.names]))
        return await super().all(sql, into=into, **values)


async def explain(connection: Connection, sql: str, *values: object) -> str:
    rows = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}", *values)
    return "\n".join(row[0] for row in rows)


def scanned(plan: str) -> set[str]:
    """Big tables that the plan reads from end to end."""
    return set(re.findall(r"Seq Scan on (\w+)", plan)) & set(BIG)


def most_rows(plan: str) -> float:
    """The most rows that any node of the plan gave in one go."""
    return max(float(n) for n in re.findall(r"actual rows=([\d.]+)", plan))


async def page_plan(application: Connection, shop: Shop, wish: PageWish, wanted: ProductFilter) -> str:
    """The plan of a page as list_products asks for it."""
    recorder = Recorder(application)
    conditions, values = await conditions_of(recorder, wanted, shop.store_id)
    await lists._page(shop.owner, recorder, "storeharmony", wish, conditions, values)
    sql, parameters = recorder.asked[-1]
    return await explain(application, sql, *parameters)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["name", "updated_at"])
async def test_a_page_in_an_indexed_order_reads_its_rows_and_no_more(
    application: Connection, big_shop: Shop, sort: SortKey, descending: bool
) -> None:
    plan = await page_plan(application, big_shop, PageWish(sort=sort, descending=descending), ProductFilter())
    assert scanned(plan) == set()
    assert most_rows(plan) <= 51, plan


@pytest.mark.parametrize("sort", get_args(SortKey))
async def test_no_order_reads_other_merchants_products(
    application: Connection, big_shop: Shop, sort: SortKey
) -> None:
    plan = await page_plan(application, big_shop, PageWish(sort=sort), ProductFilter())
    assert "Seq Scan on product " not in plan
    assert most_rows(plan) <= EACH


async def test_the_plain_page_is_one_walk_along_an_index(application: Connection, big_shop: Shop) -> None:
    body = await application.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'product_page'")
    query = body[body.index("SELECT convert_to(") : body.rindex(";", 0, body.rindex("END"))]
    query = re.sub(r"\n\s*INTO [^\n]*", "", query)
    places = {
        "for_merchant": f"'{big_shop.merchant_id}'::uuid",
        "in_dialect": "'storeharmony'::text",
        "at_store": f"'{big_shop.store_id}'::uuid",
        "wanted_status": "'active'::text",
        "with_cost": "true",
        "how_many": "50",
        "skipped": "0",
    }
    for name, value in places.items():
        query = re.sub(rf"(?<![.\w]){name}\b", value, query)
    query = re.sub(r"(?<![.\w])live\b", "'%s%s%s%s%s%s'", query)
    plan = await explain(application, query)
    assert scanned(plan) == set()
    assert most_rows(plan) <= 51, plan


async def test_a_product_without_store_cards_is_not_looked_for_among_them(
    application: Connection, big_shop: Shop
) -> None:
    plan = await page_plan(application, big_shop, PageWish(), ProductFilter())
    # The store has cards here, and no common card says so.
    assert re.search(r"store_card_pkey on store_card o \(never executed\)", plan), plan


async def price_list_plan(application: Connection, shop: Shop, wish: PriceListWish) -> str:
    """The plan of a page of prices as list_prices asks for it."""
    recorder = Recorder(application)
    await price_list._page(recorder, shop.owner, wish)
    sql, parameters = recorder.asked[-1]
    return await explain(application, sql, *parameters)


async def test_a_page_of_prices_reads_its_rows_and_no_more(application: Connection, big_shop: Shop) -> None:
    plan = await price_list_plan(application, big_shop, PriceListWish())
    assert scanned(plan) == set()
    assert most_rows(plan) <= 55, plan


async def test_a_page_of_prices_goes_on_by_an_index(application: Connection, big_shop: Shop) -> None:
    recorder = Recorder(application)
    rows = await price_list._page(recorder, big_shop.owner, PriceListWish(page=100))
    cursor = price_list._write_cursor(rows[-1])
    plan = await price_list_plan(application, big_shop, PriceListWish(cursor=cursor))
    assert scanned(plan) == set()
    assert most_rows(plan) <= 55, plan


async def test_a_page_of_price_changes_is_two_walks_along_indexes(
    application: Connection, big_shop: Shop
) -> None:
    values = {
        "store_id": big_shop.store_id,
        "begun_id": UUID(int=0),
        "end_id": UUID(int=2**128 - 1),
        "with_cost": True,
        "size": 51,
        "offset": 0,
        "most": 51,
    }
    statement = Numbered(price_feed._ROWS)
    plan = await explain(application, statement.text, *(values[name] for name in statement.names))
    assert scanned(plan) == set()
    assert "Sort Key: price_change.change_id" in plan
    assert "Merge Append" in plan
    assert "->  Sort" not in plan
    assert most_rows(plan) <= 102, plan


async def test_the_page_of_price_changes_in_one_call_is_the_same_walk(
    big_shop: Shop, database_urls: DatabaseUrls
) -> None:
    first, last = UUID(int=0), UUID(int=2**128 - 1)
    call = (
        f"SELECT * FROM price_change_page('{big_shop.merchant_id}', '{big_shop.store_id}', true, '',"
        f" '{last}', '{first}', '{last}', 50, 0, 10001)"
    )
    plans = "\n".join(await function_plans(database_urls, big_shop, call, 10))
    assert "Merge Append" in plans
    assert scanned(plans) == set()
    assert most_rows(plans.partition("pg_lock")[0]) <= 102


async def test_the_last_price_change_is_one_step_along_the_key(
    big_shop: Shop, database_urls: DatabaseUrls
) -> None:
    plans = "\n".join(await function_plans(database_urls, big_shop, "SELECT price_changes_settled()", 10))
    assert "price_change_pkey" in plans
    assert scanned(plans) == set()
    assert most_rows(plans.partition("pg_lock")[0]) <= 1


async def test_a_sku_is_found_by_its_index(application: Connection) -> None:
    plan = await explain(
        application,
        "SELECT product_id, variant_id FROM variant"
        " WHERE merchant_id = current_merchant() AND sku_key = $1 AND NOT archived",
        "sku-777",
    )
    assert "variant_sku" in plan
    assert most_rows(plan) <= 1


@pytest.fixture
async def a_product(application: Connection) -> dict[str, object]:
    """One of the twenty thousand."""
    row = await application.fetchrow("SELECT product_id, variant_id FROM variant ORDER BY number LIMIT 1")
    assert row is not None
    return dict(row)


@pytest.mark.parametrize(
    "statement",
    [
        queries._VARIANTS,
        queries.READ_STOCK,
        variants.NEXT_POSITION,
        remains.HOLD_VARIANTS,
        remains.HOLD_BALANCES,
        CLOSE_STOCK,
        variant_rows.FOLLOWERS,
        variant_rows.TAKEN_SKUS,
        variant_rows.TAKEN_BARCODES,
    ],
    ids=["variants", "stock", "position", "hold", "balances", "close", "followers", "skus", "barcodes"],
)
async def test_what_is_asked_of_a_products_variants_reads_its_rows_and_no_more(
    application: Connection, big_shop: Shop, a_product: dict[str, object], statement: str
) -> None:
    values = {
        "ids": [a_product["product_id"]],
        "product_id": a_product["product_id"],
        "variant_id": a_product["variant_id"],
        "variant_ids": [a_product["variant_id"]],
        "store_id": big_shop.store_id,
        "keys": ["sku-777"],
        "codes": ["5000777"],
    }
    numbered = Numbered(statement)
    await application.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    plan = await explain(application, numbered.text, *(values[name] for name in numbered.names))
    assert scanned(plan) == set(), plan
    assert most_rows(plan) <= 2, plan


@pytest.mark.parametrize("statement", [exports.NEXT_PRODUCTS, bulk.FIND_SKUS, bulk.FIND_BARCODES])
async def test_what_files_and_bulk_calls_ask_goes_by_an_index(
    application: Connection, statement: str
) -> None:
    keys = [f"sku-{n}" for n in range(1, 201)]
    values = {"after": 500, "how_many": 200, "keys": keys, "barcodes": [f"5000{n}" for n in range(1, 201)]}
    numbered = Numbered(statement)
    await application.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    plan = await explain(application, numbered.text, *(values[name] for name in numbered.names))
    assert scanned(plan) == set(), plan
    assert most_rows(plan) <= 200, plan


async def test_products_low_in_stock_are_found_without_reading_other_merchants(
    application: Connection, big_shop: Shop
) -> None:
    plan = await page_plan(application, big_shop, PageWish(), ProductFilter(low_stock=True))
    assert "Seq Scan on product " not in plan
    assert most_rows(plan) <= EACH


async def function_plans(urls: DatabaseUrls, shop: Shop, call: str, times: int) -> list[str]:
    """What the statements inside a function did, the last of `times` calls, from the server's own log."""
    notices: list[str] = []
    async with connected(superuser_url(urls)) as admin:
        admin.add_log_listener(lambda connection, message: notices.append(str(message.message)))
        await admin.execute(
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;"
            " SET auto_explain.log_timing = off; SET auto_explain.log_nested_statements = on;"
            " SET client_min_messages = log; SET ROLE kasuwa_app"
        )
        await admin.execute(f"SET app.merchant_id = '{shop.merchant_id}'")
        for _ in range(times):
            notices.clear()
            await admin.fetch(call)
    return notices


_MOVED = """
    SET LOCAL session_replication_role = replica;
    INSERT INTO stock_movement (merchant_id, store_id, variant_id, seq, movement_id, product_id, at, kind,
                                state, quantity, before, after, value_change, serials, actor, device, reason,
                                reference, note, party, request_id, previous_hash, hash)
      SELECT b.merchant_id, b.store_id, b.variant_id, n, gen_random_uuid(), b.product_id,
             now() - n * interval '1 minute', 'sold', 'on_hand', -1, 1, 0, 0, '{{}}', 'user:x', '', '', '',
             '', '', '', '', ''
      FROM (SELECT * FROM stock_balance WHERE merchant_id = '{merchant}' LIMIT 20) b
      CROSS JOIN generate_series(1, 1000) n;
    INSERT INTO audit_entry (merchant_id, audit_id, at, actor_kind, actor_id, action, subject_kind,
                             subject_id, request_id)
      SELECT b.merchant_id, gen_random_uuid(), now() - n * interval '1 minute', 'user', 'x', 'product.update',
             'product', b.product_id::text, ''
      FROM (SELECT * FROM stock_balance WHERE merchant_id = '{merchant}' LIMIT 20) b
      CROSS JOIN generate_series(1, 1000) n;
"""


@pytest.fixture(scope="module")
async def moved_product(big_shop: Shop, database_urls: DatabaseUrls) -> AsyncIterator[UUID]:
    """One of twenty products with a thousand movements and a thousand changes each."""
    tables = ("stock_movement", "audit_entry")
    async with connected(superuser_url(database_urls)) as admin:
        async with admin.transaction():
            await admin.execute(_MOVED.format(merchant=big_shop.merchant_id))
        await admin.execute(f"ANALYZE {', '.join(tables)}")
        yield await admin.fetchval(
            "SELECT product_id FROM stock_movement WHERE merchant_id = $1 LIMIT 1", big_shop.merchant_id
        )
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            for table in tables:
                await admin.execute(f"DELETE FROM {table} WHERE merchant_id = $1", big_shop.merchant_id)
        await admin.execute(f"VACUUM ANALYZE {', '.join(tables)}")


async def test_a_page_of_a_trail_reads_its_lines_and_no_more(
    application: Connection, moved_product: UUID
) -> None:
    statement = Numbered(trail.PAGE)
    after_at, after_id = trail._END
    values = trail._values(moved_product, TrailFilter()) | {
        "size": 51,
        "offset": 0,
        "most": 51,
        "after_at": after_at,
        "after_id": after_id,
    }
    plan = await explain(application, statement.text, *(values[name] for name in statement.names))
    assert "stock_movement_of_product" in plan
    assert "audit_entry_trail" in plan
    assert most_rows(plan) <= 102, plan


_SEARCHES = {
    # A text, the indexes that answer it, and the most rows that any step gives.
    "words": ("malt {word}", {"search_product_words", "variant_sku_begins", "variant_barcode_begins"}, 2),
    "last word begun": ("malt {begun}", {"search_product_words", "search_word_pkey"}, 60),
    "typing error": ("mlat {wrong}", {"search_product_words", "search_word_losses"}, 60),
    "SKU": ("SKU-777", {"variant_sku_begins"}, 60),
    "barcode": ("5000777", {"variant_barcode_begins"}, 60),
    "beginning of a SKU": ("sku-77", {"variant_sku_begins"}, 300),
    "part of a SKU": ("ku-7777", {"variant_sku_parts", "variant_barcode_parts"}, 60),
    "part of a word": ("{part}", {"search_word_parts"}, 60),
}


@pytest.mark.parametrize(("text", "indexes", "most"), _SEARCHES.values(), ids=_SEARCHES)
async def test_every_way_of_searching_uses_its_index_whatever_was_asked_before(
    big_shop: Shop, database_urls: DatabaseUrls, text: str, indexes: set[str], most: int
) -> None:
    """Ten times, since a function's generic plan comes after five."""
    word = hashlib.md5(b"770", usedforsecurity=False).hexdigest()[:8]
    wrong = word[:3] + word[4] + word[3] + word[5:]
    text = text.format(word=word, begun=word[:6], wrong=wrong, part=word[2:7])
    call = f"SELECT * FROM search_products('{text}', 10000, true, true)"
    plans = "\n".join(await function_plans(database_urls, big_shop, call, 10))
    assert {index for index in indexes if index not in plans} == set(), plans
    assert scanned(plans) == set()
    assert most_rows(plans) <= most, plans


async def test_under_row_level_security_the_same_search_reads_every_product(
    application: Connection, big_shop: Shop
) -> None:
    """The control: why the search has a role of its own."""
    plan = await explain(
        application,
        "SELECT product_id FROM search_product WHERE merchant_id = current_merchant()"
        " AND words @@ $1::text::tsquery",
        "'malt' & 'abc1'",
    )
    assert "search_product_words" not in plan
    assert float(max(re.findall(r"Rows Removed by Filter: (\d+)", plan), key=int)) > EACH / 2


async def test_a_session_is_resolved_by_keys_alone(big_shop: Shop, database_urls: DatabaseUrls) -> None:
    call = f"SELECT * FROM resolve_session('\\x{token_hash(big_shop.session).hex()}', 'store')"
    async with connected(superuser_url(database_urls)) as admin:
        await admin.execute(
            """
            INSERT INTO session (token_hash, kind, merchant_id, user_id, store_id, original_store_id,
                                 idle_after, expires_at)
            SELECT sha256(n::text::bytea), 'store', $1, $1, $1, $1, '1 d', now() - interval '1 s'
            FROM generate_series(1, 20000) n
            """,
            uuid4(),
        )
        await admin.execute("ANALYZE session")
    plans = "\n".join(await function_plans(database_urls, big_shop, call, 1))
    assert "session_pkey" in plans
    assert "Seq Scan on session" not in plans
    assert most_rows(plans) <= 1


def test_the_checks_of_plans_see_what_they_look_for() -> None:
    """The control of the readers themselves."""
    plan = (
        "Limit (actual rows=51 loops=1)\n  -> Sort (actual rows=51 loops=1)\n"
        "    -> Seq Scan on product p (actual rows=20000 loops=1)"
    )
    assert scanned(plan) == {"product"}
    assert most_rows(plan) == 20_000
    assert scanned("Index Scan using product_by_name on product p (actual rows=1 loops=1)") == set()
