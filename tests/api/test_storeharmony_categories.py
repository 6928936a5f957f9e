"""The category tree over the StoreHarmony API."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.test_storeharmony_products import make, session, stock
from tests.client import Web
from tests.shop import Shop

Json = dict[str, Any]


def categories(shop: Shop, path: str = "") -> str:
    return f"/cloudapi/app/{shop.store_id}/categories{path}"


async def post(web: Web, shop: Shop, parent: Json | None = None, /, **body: Any) -> httpx.Response:
    path = "" if parent is None else f"/{parent['categoryId']}/subcategories"
    return await web.post(categories(shop, path), headers=session(shop), json=body)


async def add(web: Web, shop: Shop, name: str, parent: Json | None = None, /, **body: Any) -> Json:
    made = await post(web, shop, parent, name=name, **body)
    assert made.status_code == 200, made.text
    category: Json = made.json()
    return category


async def change(web: Web, shop: Shop, category: Json, /, **body: Any) -> httpx.Response:
    return await web.put(categories(shop, f"/{category['categoryId']}"), headers=session(shop), json=body)


async def delete(web: Web, shop: Shop, category: Json, /, **query: Any) -> httpx.Response:
    return await web.delete(
        categories(shop, f"/{category['categoryId']}"), headers=session(shop), params=query
    )


async def listed(web: Web, shop: Shop, **query: Any) -> Json:
    answer = await web.get(categories(shop), headers=session(shop), params=query)
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page


def names(rows: list[Json]) -> list[Any]:
    """The names of a tree: a category with others below it is a pair."""
    return [(row["name"], names(row["children"])) if row.get("children") else row["name"] for row in rows]


async def a_market(web: Web, shop: Shop) -> dict[str, Json]:
    """Drinks (Soft (Malt, Cola), Water) and Skin care."""
    drinks = await add(web, shop, "Drinks")
    soft = await add(web, shop, "Soft", drinks)
    return {
        "drinks": drinks,
        "soft": soft,
        "malt": await add(web, shop, "Malt", soft),
        "cola": await add(web, shop, "Cola", soft),
        "water": await add(web, shop, "Water", drinks),
        "skin": await add(web, shop, "Skin care"),
    }


MARKET = [("Drinks", [("Soft", ["Malt", "Cola"]), "Water"]), "Skin care"]


async def test_a_tree_is_made_and_read_back(web: Web, shop: Shop) -> None:
    market = await a_market(web, shop)
    page = await listed(web, shop)
    assert names(page["data"]) == MARKET
    assert (page["totalElements"], page["totalPages"], page["nextCursor"]) == (2, 1, None)
    malt = page["data"][0]["children"][0]["children"][0]
    assert malt == market["malt"] | {"children": []}
    assert (malt["path"], malt["depth"], malt["parentId"]) == (
        ["Drinks", "Soft", "Malt"],
        2,
        market["soft"]["categoryId"],
    )
