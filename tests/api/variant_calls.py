"""Calls about products with variants over the StoreHarmony API."""

from decimal import Decimal
from typing import Any

import httpx

from kasuwa.domain.inventory.actions import set_stock
from tests.client import Web
from tests.shop import Shop

SIZES = [{"name": "Size", "values": ["M", "L"]}]
SIZE_M = [{"name": "Size", "value": "M"}]


def stock(shop: Shop, path: str = "") -> str:
    return f"/cloudapi/app/{shop.store_id}/stock{path}"


def session(shop: Shop, **more: str) -> dict[str, str]:
    return {"sessiontoken": shop.session, **more}


def size(value: str, **more: Any) -> dict[str, Any]:
    return {"options": [{"name": "Size", "value": value}], **more}


async def post(web: Web, shop: Shop, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return await web.post(stock(shop, path), headers=session(shop, **headers), json=body)


async def make(web: Web, shop: Shop, **fields: Any) -> dict[str, Any]:
    body = {
        "name": "Ankara shirt",
        "prices": {"sellingPrice": 9000},
        "options": SIZES,
        "variants": [
            size("M", sku="ANK-M", quantity=5),
            size("L", sku="ANK-L", quantity=3, prices={"sellingPrice": 9500}),
        ],
    } | fields
    made = await post(web, shop, "/createwithvariants", body)
    assert made.status_code == 200, made.text
    item: dict[str, Any] = made.json()
    return item


async def read(web: Web, shop: Shop, item: dict[str, Any]) -> dict[str, Any]:
    answer = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    found: dict[str, Any] = answer.json()
    return found


async def make_simple(web: Web, shop: Shop, **fields: Any) -> dict[str, Any]:
    made = await post(web, shop, "", {"name": "Shirt", "prices": {"sellingPrice": 500}} | fields)
    assert made.status_code == 200, made.text
    item: dict[str, Any] = made.json()
    return item


async def remove(web: Web, shop: Shop, item: dict[str, Any], **body: Any) -> httpx.Response:
    return await web.put(stock(shop, f"/{item['itemId']}/removevariants"), headers=session(shop), json=body)


async def sell_everything(shop: Shop) -> None:
    """What the till would do."""
    async with shop.owner.transaction() as db:
        variant_ids = await db.values("SELECT variant_id FROM stock_balance WHERE on_hand > 0")
        for variant_id in variant_ids:
            await set_stock(shop.owner, db, shop.owner.store_id, variant_id, Decimal(0), reason="sold")


def code(answer: httpx.Response) -> str:
    """What kind of no it is."""
    return str(answer.json()["type"]).rpartition("#")[2]
