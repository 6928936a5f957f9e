"""Prices over the StoreHarmony API: changed at one store or all, listed, and told as they change."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from kasuwa.domain.permissions import Role
from tests.api.test_storeharmony_products import change, make, session, stock
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop

START = "2026-01-01T00:00:00Z"


async def second_till(shop: Shop, role: Role = Role.OWNER) -> tuple[str, dict[str, str]]:
    """Address and session of somebody at the shop's second store."""
    staff = await hire(shop, role, shop.second_store_id)
    return f"/cloudapi/app/{shop.second_store_id}/stock", {"sessiontoken": staff.session}


async def price(web: Web, shop: Shop, item: dict[str, Any], **body: Any) -> httpx.Response:
    path = stock(shop, f"/{item['itemId']}/updateprices")
    return await web.post(path, headers=session(shop), json=body)


async def feed(web: Web, shop: Shop, since: str = START, **query: Any) -> dict[str, Any]:
    answer = await web.get(
        stock(shop, "/prices/changes"), params={"since": since, **query}, headers=session(shop)
    )
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_a_price_of_this_store_is_shown_here_and_nowhere_else(web: Web, shop: Shop) -> None:
    item = await make(web, shop, sku="MALT", prices={"sellingPrice": 500, "costPrice": 350})
    told = await price(web, shop, item, prices={"sellingPrice": 550.5}, reason="rent")
    assert told.status_code == 200, told.text
    (line,) = told.json()["data"]
    assert (line["itemId"], line["variantId"], line["prices"]["sellingPrice"]) == (item["itemId"], None, 550.5)
    there, who = await second_till(shop)
    for path, query in (
        (f"/{item['itemId']}", {}),
        ("", {}),
        ("", {"search": "malt"}),
        ("/findbysku", {"sku": "malt"}),
        ("/prices", {}),
    ):
        here = (await web.get(stock(shop, path), params=query, headers=session(shop))).json()
        other = (await web.get(there + path, params=query, headers=who)).json()
        shown = [(page["data"][0] if "data" in page else page)["prices"] for page in (here, other)]
        assert [prices["sellingPrice"] for prices in shown] == [550.5, 500], path
        assert [prices["costPrice"] for prices in shown] == [350, 350], path
