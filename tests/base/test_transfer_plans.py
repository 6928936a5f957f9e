"""The plans of lists of transfers, read as the application's role: each reads its page and hardly more."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kasuwa.base.context import Services
from kasuwa.database import DatabaseUrls
from kasuwa.domain.transfers import lists
from kasuwa.domain.transfers.records import LineFilter
from tests.base.database import Connection, connected, superuser_url
from tests.base.test_plans import Recorder, explain, most_rows
from tests.shop import Shop, new_shop

EACH, SIZE = 20_000, 50
TABLES = ("product", "variant", "stock_transfer", "stock_transfer_line")

# One in fifty is still on its way; a product is in a hundred of them; half of them come here.
_FILL = """
    SET LOCAL session_replication_role = replica;
    CREATE TEMP TABLE made ON COMMIT DROP AS
      SELECT gen_random_uuid() AS transfer_id,
             timestamptz '2026-01-01 00:00Z' + n * interval '1 minute' AS at,
             CASE WHEN n % 50 = 0 THEN 'shipped' ELSE 'accepted' END AS status,
             ('00000000-0000-7000-8000-' || lpad((n % 200)::text, 12, '0'))::uuid AS goods_id,
             CASE WHEN n % 4 < 2 THEN '{store}'::uuid ELSE '{other}'::uuid END AS source_id,
             CASE WHEN n % 4 < 2 THEN '{other}'::uuid ELSE '{store}'::uuid END AS destination_id
      FROM generate_series(1, {each}) n;
    INSERT INTO product (merchant_id, product_id, number, name, sort_name, slug)
      SELECT '{merchant}', goods_id, 100 + row_number() OVER (), 'Malt', 'malt', 'malt'
      FROM (SELECT DISTINCT goods_id FROM made) g;
    INSERT INTO variant (merchant_id, variant_id, product_id, number, sku, sku_key)
      SELECT merchant_id, product_id, product_id, number, 'S' || number, 's' || number FROM product
      WHERE merchant_id = '{merchant}';
    INSERT INTO stock_transfer (merchant_id, transfer_id, source_id, destination_id, status, created_at,
                                shipped_at, closed_at)
      SELECT '{merchant}', transfer_id, source_id, destination_id, status, at, at,
             CASE status WHEN 'accepted' THEN at END FROM made;
    INSERT INTO stock_transfer_line (merchant_id, line_id, transfer_id, source_id, destination_id, position,
                                     product_id, variant_id, quantity, received, status, shipped_at,
                                     out_movement_id)
      SELECT '{merchant}', transfer_id, transfer_id, source_id, destination_id, 1, goods_id, goods_id, 1,
             CASE status WHEN 'accepted' THEN 1 ELSE 0 END, status, at, transfer_id FROM made;
"""
GOODS = "00000000-0000-7000-8000-000000000007"


@pytest.fixture(scope="module")
async def busy_shop(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Shop]:
    """One merchant of two, with twenty thousand transfers."""
    shops = [await new_shop(services) for _ in range(2)]
    async with connected(superuser_url(database_urls)) as admin:
        for shop in shops:
            filled = _FILL.format(
                each=EACH, merchant=shop.merchant_id, store=shop.store_id, other=shop.second_store_id
            )
            async with admin.transaction():
                await admin.execute(filled)
        await admin.execute(f"ANALYZE {', '.join(TABLES)}")
        yield shops[1]
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            for table in reversed(TABLES):
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


def middle(minutes: int = 0) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=EACH // 2 + minutes)


FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    "incoming": {"direction": "incoming"},
    "outgoing": {"direction": "outgoing"},
    "pending": {"statuses": ("shipped", "partially_received")},
    "pending here": {"direction": "incoming", "statuses": ("shipped", "partially_received")},
    "accepted": {"statuses": ("accepted",)},
    "none of it": {"statuses": ("cancelled",)},
    "one product": {"product_id": GOODS},
    "since the middle": {"shipped_from": middle()},
    "until the middle": {"shipped_before": middle()},
    "an hour of the middle": {"shipped_from": middle(), "shipped_before": middle(60)},
    "pending until the middle": {"statuses": ("shipped",), "shipped_before": middle()},
}


async def page_plan(application: Connection, shop: Shop, wanted: LineFilter, *extra: str, **more: Any) -> str:
    """The plan of a page as list_lines asks for it."""
    recorder = Recorder(application)
    places, values = lists._places(wanted.direction, wanted.statuses)
    conditions, chosen = lists._conditions(wanted)
    values |= chosen | more | {"store_id": shop.store_id}
    await lists._read_page(recorder, places, [*conditions, *extra], values, size=SIZE + 1, offset=0)
    sql, parameters = recorder.asked[-1]
    return await explain(application, sql, *parameters)


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
async def test_a_page_of_lines_reads_its_rows_along_an_index(
    application: Connection, busy_shop: Shop, wanted: dict[str, Any]
) -> None:
    plan = await page_plan(application, busy_shop, LineFilter(**wanted))
    assert (most_rows(plan) >= SIZE) == ("cancelled" not in wanted.get("statuses", ())), plan
    assert "Seq Scan on stock_transfer" not in plan
    assert most_rows(plan) <= 4 * (SIZE + 1), plan


async def test_a_cursor_goes_on_in_the_middle_without_reading_what_was_before(
    application: Connection, busy_shop: Shop
) -> None:
    after = {"after_at": middle(), "after_id": busy_shop.store_id}
    condition = "(shipped_at, line_id) < (:after_at::timestamptz, :after_id::uuid)"
    plan = await page_plan(application, busy_shop, LineFilter(), condition, **after)
    assert "Seq Scan on stock_transfer" not in plan
    assert most_rows(plan) <= 2 * (SIZE + 1), plan


@pytest.mark.parametrize("status", [None, "shipped", "cancelled"])
@pytest.mark.parametrize("direction", ["incoming", "outgoing", "all"])
async def test_a_page_of_transfers_reads_its_rows_along_an_index(
    application: Connection, busy_shop: Shop, direction: Any, status: Any
) -> None:
    recorder = Recorder(application)
    await lists._read_transfers(
        recorder, busy_shop.store_id, direction=direction, status=status, after=None, size=SIZE + 1
    )
    sql, parameters = recorder.asked[-1]
    plan = await explain(application, sql, *parameters)
    assert "Seq Scan on stock_transfer" not in plan
    assert most_rows(plan) <= 2 * (SIZE + 1), plan


async def test_without_an_index_the_same_page_reads_all_of_the_shop(
    application: Connection, busy_shop: Shop
) -> None:
    """The control: what the check says of a list that sorts what it has read."""
    plan = await explain(
        application,
        "SELECT line_id FROM stock_transfer_line WHERE merchant_id = current_merchant()"
        " AND source_id = $1 ORDER BY received, line_id LIMIT 51",
        busy_shop.store_id,
    )
    assert most_rows(plan) > EACH / 4
