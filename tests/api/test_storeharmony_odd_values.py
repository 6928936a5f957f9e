"""Values that fit the contract and yet go beyond what a column or an index can hold."""

import pytest

from tests.api.test_storeharmony_products import make, session, stock
from tests.client import Web
from tests.shop import Shop


async def test_a_name_whose_characters_become_many_is_kept(web: Web, shop: Shop) -> None:
    name = "\ufdfa" * 255
    item = await make(web, shop, name=name)
    assert item["name"] == name
    page = await web.get(stock(shop), headers=session(shop))
    assert page.json()["data"][0]["name"] == name


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_time_beyond_the_calendar_is_refused(web: Web, shop: Shop, at: str) -> None:
    body = {"name": "Malt", "prices": {"sellingPrice": 5, "promoPrice": 4, "promoStartsAt": at}}
    answer = await web.post(stock(shop), headers=session(shop), json=body)
    assert answer.status_code in (200, 422), answer.text
    assert (await web.get(stock(shop), headers=session(shop))).status_code == 200
