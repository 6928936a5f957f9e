"""The plans of a search by conditions without a text, read as the application's role."""

import re
from decimal import Decimal
from typing import Any

import pytest

from kasuwa.base.db import Numbered
from kasuwa.domain.catalogue import stock_query
from kasuwa.domain.catalogue.conditions import Condition
from kasuwa.domain.catalogue.stock_query import Order, StockQuery
from tests.base.database import Connection
from tests.base.test_plans import EACH, Recorder, application, big_shop, explain, most_rows, scanned
from tests.shop import Shop

__all__ = ["application", "big_shop"]


class Listener(Recorder):
    """Keeps the statements that count, too."""

    async def value(self, sql: str, **values: object) -> Any:
        statement = Numbered(sql)
        self.asked.append((statement.text, [values[name] for name in statement.names]))
        return await super().value(sql, **values)


async def condition_plans(application: Connection, shop: Shop, *conditions: Condition) -> list[str]:
    """The plans of the page and of the count."""
    listener = Listener(application)
    await application.execute(stock_query.BY_INDEXES)
    orders = (Order("name"),)
    wanted = StockQuery(conditions=conditions, orders=orders)
    choice = stock_query._choice(shop.owner, wanted, (shop.store_id,), "NGN")
    await stock_query._page(shop.owner, listener, "storeharmony", wanted, orders, choice)
    plans = [await explain(application, sql, *parameters) for sql, parameters in listener.asked]
    assert len(plans) == 2
    return plans


def looked_at(plan: str) -> float:
    """The most rows that any node of the plan read, those included that it threw away."""
    thrown = (float(n) for n in re.findall(r"Rows Removed by [\w ]+: ([\d.]+)", plan))
    return max(most_rows(plan), *thrown, 0.0)


def is_(field: str, *values: object, operator: str = "eq") -> Condition:
    return Condition(field=field, operator=operator, values=values)  # type: ignore[arg-type]


# Ten to forty products of the twenty thousand.
RARE = {
    "brand": is_("brand", "Brand 777"),
    "one of two brands": is_("brand", "Brand 777", "Brand 778", operator="in"),
    "tag": is_("tag", "tag 777"),
    "one of two tags": is_("tag", "tag 777", "tag 778", operator="in"),
    "price": is_("sellingPrice", Decimal("77.77")),
    "low prices": is_("sellingPrice", Decimal("0.20"), operator="lte"),
    "high prices": is_("sellingPrice", Decimal("199.80"), operator="gt"),
    "prices between": is_("sellingPrice", Decimal("50"), Decimal("50.20"), operator="between"),
}
COMMON = {
    "brand": is_("brand", "Common"),
    "tag": is_("tag", "common"),
    "price": is_("sellingPrice", Decimal(100), operator="gt"),
}


@pytest.mark.parametrize("condition", RARE.values(), ids=RARE)
async def test_what_few_products_have_is_found_without_reading_the_others(
    application: Connection, big_shop: Shop, condition: Condition
) -> None:
    for plan in await condition_plans(application, big_shop, condition):
        assert scanned(plan) == set(), plan
        assert looked_at(plan) <= 60, plan


async def test_two_such_conditions_are_found_by_one_of_them(application: Connection, big_shop: Shop) -> None:
    for plan in await condition_plans(application, big_shop, RARE["tag"], COMMON["brand"], COMMON["price"]):
        assert scanned(plan) == set(), plan
        assert looked_at(plan) <= 60, plan


@pytest.mark.parametrize("condition", COMMON.values(), ids=COMMON)
async def test_of_what_many_products_have_a_page_reads_little_more_than_its_rows(
    application: Connection, big_shop: Shop, condition: Condition
) -> None:
    page, count = await condition_plans(application, big_shop, condition)
    assert looked_at(page) <= EACH / 20, page
    # Counting ends at ten thousand.
    assert most_rows(count) <= EACH, count


async def test_a_condition_without_an_index_reads_every_product(
    application: Connection, big_shop: Shop
) -> None:
    """The control."""
    page, count = await condition_plans(application, big_shop, is_("unit", "carton"))
    assert looked_at(page) > EACH / 2
    assert looked_at(count) > EACH / 2
