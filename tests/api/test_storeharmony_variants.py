"""Products with variants over the StoreHarmony API."""

from typing import Any

import httpx

from tests.client import Web
from tests.shop import Shop

SIZES = [{"name": "Size", "values": ["M", "L"]}]


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


async def test_a_product_with_variants_is_made_and_read_back(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    medium, large = item["variants"]
    assert (item["type"], item["quantity"], item["options"]) == ("variant", 8, SIZES)
    assert (medium["sku"], medium["name"], medium["quantity"], medium["prices"]["sellingPrice"]) == (
        "ANK-M",
        "M",
        5,
        9000,
    )
    assert (large["prices"]["sellingPrice"], large["options"]) == (9500, [{"name": "Size", "value": "L"}])
    assert await read(web, shop, item) == item
