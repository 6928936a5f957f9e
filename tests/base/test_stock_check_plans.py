"""What the check of all stock and its rebuilding look at grows with the stock, not with its square."""

import re
from decimal import Decimal
from uuid import UUID

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from tests.base.database import connected, superuser_url, undone
from tests.domain.stock_model import line
from tests.domain.test_stock_lines import move, rows
from tests.domain.test_stocktakes import books_otherwise
from tests.shop import new_shop

MODELS, OF_ONE = 400, 400
# All nodes of all plans together look at a row about 25 times.
MOST_TIMES = 40


async def phones(context: Context) -> None:
    """Many models with a serial number each, and one model with as many."""
    price = Price(currency="NGN", selling_minor=100)
    new = [
        BulkProduct(
            new=NewProduct(
                name=f"Phone {n}",
                variants=(NewVariant(price=price, opening=(OpeningStock(context.store_id),)),),
            )
        )
        for n in range(MODELS)
    ]
    await write_products(context, new)
    found = await rows(
        context, "SELECT variant_id FROM stock_balance WHERE store_id = :id", id=context.store_id
    )
    ids: list[UUID] = [row["variant_id"] for row in found]
    each = [line(context.store_id, one, change=Decimal(1), serials=(f"E{n}",)) for n, one in enumerate(ids)]
    many = [line(context.store_id, ids[0], change=Decimal(1), serials=(f"M{n}",)) for n in range(OF_ONE)]
    await move(context, *each, *many)


async def rows_looked_at(urls: DatabaseUrls, merchant_id: UUID, sql: str) -> int:
    """How many rows all nodes of the statement's plans gave and threw away, those of functions included.

    A scan that is made once may pass by other merchants' rows, however many this database has by now.
    """
    plans: list[str] = []
    async with undone(superuser_url(urls)) as admin:
        await admin.execute("LOAD 'auto_explain'")
        admin.add_log_listener(lambda _, message: plans.append(str(message)))
        for name, value in (
            ("auto_explain.log_min_duration", "0"),
            ("auto_explain.log_nested_statements", "on"),
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_timing", "off"),
            ("client_min_messages", "log"),
            ("jit", "off"),
            ("role", "kasuwa_app"),
            ("app.merchant_id", str(merchant_id)),
        ):
            await admin.execute("SELECT set_config($1, $2, true)", name, value)
        await admin.fetch(sql)
    total, loops = 0.0, 0.0
    for part in re.finditer(
        r"actual rows=([\d.]+) loops=(\d+)|Rows Removed by ([\w ]+): (\d+)", "\n".join(plans)
    ):
        if part[3]:
            total += float(part[4]) * loops if loops > 1 or part[3] != "Filter" else 0
        else:
            loops = float(part[2])
            total += float(part[1]) * loops
    return round(total)


@pytest.fixture
async def shop_of_phones(services: Services, database_urls: DatabaseUrls) -> Context:
    """One of two, in a database that knows what it has."""
    for _ in range(2):
        shop = await new_shop(services)
        await phones(shop.owner)
    async with connected(superuser_url(database_urls)) as admin:
        await admin.execute("ANALYZE stock_balance, stock_movement, stock_serial")
    return shop.owner


@pytest.mark.parametrize("sql", ["SELECT * FROM stock_faults()", "SELECT rebuild_stock()"])
async def test_each_row_is_looked_at_a_few_times(
    shop_of_phones: Context, database_urls: DatabaseUrls, sql: str
) -> None:
    looked = await rows_looked_at(database_urls, shop_of_phones.merchant_id, sql)
    assert MODELS + OF_ONE < looked <= MOST_TIMES * (MODELS + OF_ONE)


@pytest.mark.parametrize("way", ["nestloop", "mergejoin"])
async def test_the_control_a_check_that_looks_at_all_for_each_is_found(
    shop_of_phones: Context, database_urls: DatabaseUrls, way: str
) -> None:
    words = (f"SET enable_{way} TO 'off'", f"SET enable_{way} TO 'on'")
    async with books_otherwise(database_urls, "rebuild_stock", *words):
        looked = await rows_looked_at(database_urls, shop_of_phones.merchant_id, "SELECT rebuild_stock()")
    assert looked > MOST_TIMES * (MODELS + OF_ONE)
