"""A shop that is being filled: what a product costs the database must not grow with those that are there.

The first import of a shop runs on connections whose plans are made while its tables are empty, and long
before anybody analyzes them.
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from kasuwa.base.context import Services
from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls, serving_database
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from kasuwa.settings import Settings, read_settings
from tests.base.database import connected, superuser_url
from tests.shop import Shop, new_shop

EACH = 200
PARTS = 4
# For each product of the last part; all products before it are six hundred.
MOST_ROWS = 40
_TOUCHED = """
    SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
"""


@pytest.fixture
def settings() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-growing-"))
    folder.chmod(0o755)
    yield read_settings({"KASUWA_DATABASE_CONNECTIONS": "1"}, data=str(folder))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def urls(settings: Settings) -> Iterator[DatabaseUrls]:
    with serving_database(settings) as found:
        yield found


@asynccontextmanager
async def new_services(settings: Settings, urls: DatabaseUrls, broken: str) -> AsyncIterator[Services]:
    """One connection, whose plans are still to be made; nobody analyzes a table behind it."""
    async with connected(superuser_url(urls)) as admin:
        await admin.execute("ALTER SYSTEM SET autovacuum = off")
        await admin.execute(f"SELECT pg_reload_conf(); {broken}")
    async with everything(settings, urls) as services:
        yield services


def products(shop: Shop, part: int) -> list[BulkProduct]:
    opening = (OpeningStock(shop.owner.store_id, Decimal(7), Decimal(2)),)
    price = Price(currency="NGN", selling_minor=500, cost_minor=300)
    return [
        BulkProduct(
            new=NewProduct(
                name=f"Clay bowl {part}-{n}",
                tags=("home",),
                variants=(
                    NewVariant(sku=f"B-{part}-{n}", barcode=f"B{part}{n}", price=price, opening=opening),
                ),
            )
        )
        for n in range(EACH)
    ]


async def rows_touched(shop: Shop, part: int) -> int:
    """Rows that the database looked at to write a part, by keys or not."""
    async with shop.owner.transaction() as db:
        before: int = await db.value(_TOUCHED)
        outcomes = await write_products(shop.owner, products(shop, part))
        assert {outcome.status for outcome in outcomes} == {"created"}
        after: int = await db.value(_TOUCHED)
    return after - before


async def rows_for_a_product(settings: Settings, urls: DatabaseUrls, broken: str = "") -> float:
    """What a product of the last part cost."""
    async with new_services(settings, urls, broken) as services:
        shop = await new_shop(services)
        touched = [await rows_touched(shop, part) for part in range(PARTS)]
    return touched[-1] / EACH


async def test_a_product_costs_the_same_however_many_there_are(
    settings: Settings, urls: DatabaseUrls
) -> None:
    assert 0 < await rows_for_a_product(settings, urls) <= MOST_ROWS


async def test_plans_of_empty_tables_are_seen(settings: Settings, urls: DatabaseUrls) -> None:
    """The control: nobody tells the planner what the tables hold by now."""
    silent = "CREATE OR REPLACE FUNCTION refresh_statistics() RETURNS integer LANGUAGE sql AS 'SELECT 0'"
    assert await rows_for_a_product(settings, urls, silent) > 10 * MOST_ROWS
