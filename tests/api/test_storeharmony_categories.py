"""The category tree over the StoreHarmony API."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.test_storeharmony_products import deduct, make, session, stock
from tests.client import Web
from tests.conftest import picture_bytes
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


async def upload(
    web: Web, shop: Shop, category: Json, content: bytes, *, kind: str = "image/png", **headers: str
) -> httpx.Response:
    return await web.post(
        categories(shop, f"/{category['categoryId']}/addpicture"),
        headers=session(shop, **{"content-type": kind}, **headers),
        content=content,
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


# Lists ---------------------------------------------------------------------------------------------


async def test_the_flat_view_is_the_tree_in_its_order_without_children(web: Web, shop: Shop) -> None:
    await a_market(web, shop)
    page = await listed(web, shop, view="flat")
    assert [(row["name"], row["depth"]) for row in page["data"]] == [
        ("Drinks", 0),
        ("Soft", 1),
        ("Malt", 2),
        ("Cola", 2),
        ("Water", 1),
        ("Skin care", 0),
    ]
    assert all("children" not in row for row in page["data"])
    assert (page["totalElements"], page["totalExact"]) == (6, True)


async def test_a_parent_shows_what_is_below_it_alone(web: Web, shop: Shop, other_shop: Shop) -> None:
    market = await a_market(web, shop)
    below = market["drinks"]["categoryId"]
    assert names((await listed(web, shop, parentid=below))["data"]) == [("Soft", ["Malt", "Cola"]), "Water"]
    assert names((await listed(web, shop, parentid=below, view="flat"))["data"]) == [
        "Soft",
        "Malt",
        "Cola",
        "Water",
    ]
    assert (await listed(web, shop, parentid=market["malt"]["categoryId"]))["data"] == []
    theirs = await add(web, other_shop, "Theirs")
    answers = []
    for nobodys in (str(uuid4()), theirs["categoryId"], "drinks"):
        answer = await web.get(categories(shop), headers=session(shop), params={"parentid": nobodys})
        assert answer.status_code == 404
        answers.append(answer.json()["errors"])
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0]["pointer"] == "#/query/parentid"


async def test_a_search_ignores_accents_and_case_and_keeps_the_way_down(web: Web, shop: Shop) -> None:
    market = await a_market(web, shop)
    await add(web, shop, "Crème brûlée", market["skin"])
    await add(web, shop, "100% malt", market["water"])
    found = await listed(web, shop, search="MALT")
    assert names(found["data"]) == [("Drinks", [("Soft", ["Malt"]), ("Water", ["100% malt"])])]
    assert found["totalElements"] == 1
    flat = await listed(web, shop, search="creme  BRU", view="flat")
    assert names(flat["data"]) == ["Crème brûlée"]
    assert flat["data"][0]["path"] == ["Skin care", "Crème brûlée"]
    below = market["soft"]["categoryId"]
    assert names((await listed(web, shop, search="malt", parentid=below))["data"]) == ["Malt"]
    # A sign that a pattern would read as anything is looked for as it stands.
    assert names((await listed(web, shop, search="%", view="flat"))["data"]) == ["100% malt"]
    assert (await listed(web, shop, search="_"))["data"] == []
    assert names((await listed(web, shop, search=" "))["data"])[0][0] == "Drinks"


@pytest.mark.parametrize("view", ["tree", "flat"])
@pytest.mark.parametrize("search", ["", "shelf"])
@pytest.mark.parametrize("by_cursor", [False, True])
async def test_pages_show_every_category_once(
    web: Web, shop: Shop, view: str, search: str, by_cursor: bool
) -> None:
    for number in range(7):
        top = await add(web, shop, f"Shelf {number}")
        await add(web, shop, f"Box {number}", top)
        await add(web, shop, f"Shelf below {number}", top)
    query: Json = {"view": view, "search": search, "size": 3}
    whole = await listed(web, shop, **(query | {"size": 200}))
    seen: list[Json] = []
    page = await listed(web, shop, **query)
    for number in range(2, 20):
        seen += page["data"]
        assert page["totalElements"] == len(whole["data"])
        if page["nextCursor"] is None:
            break
        way: Json = {"cursor": page["nextCursor"]} if by_cursor else {"page": number}
        page = await listed(web, shop, **query, **way)
    assert seen == whole["data"]
    assert len(seen) == {"tree": 7, "flat": 14 if search else 21}[view]


async def test_a_cursor_of_another_list_and_a_page_too_deep_are_refused(web: Web, shop: Shop) -> None:
    await a_market(web, shop)
    cursor = (await listed(web, shop, size=1))["nextCursor"]
    for query in (
        {"cursor": cursor, "view": "flat"},
        {"cursor": cursor, "search": "a"},
        {"cursor": "x"},
        {"cursor": ""},
        {"cursor": cursor[:-6]},
        {"page": 10_001, "size": 1},
        {"page": 0},
        {"size": 201},
        {"view": "forest"},
    ):
        answer = await web.get(categories(shop), headers=session(shop), params=query)
        assert answer.status_code in (400, 422), query
        assert answer.json()["errors"][0]["pointer"].startswith("#/query/"), query
    beyond = await listed(web, shop, page=3, size=5)
    assert (beyond["data"], beyond["totalElements"]) == ([], 2)


async def test_a_list_that_has_not_changed_is_not_sent_again(web: Web, shop: Shop) -> None:
    market = await a_market(web, shop)
    first = await web.get(categories(shop), headers=session(shop))
    again = {"headers": session(shop, **{"if-none-match": first.headers["etag"]})}
    assert (await web.get(categories(shop), **again)).status_code == 304
    await change(web, shop, market["cola"], name="Kola")
    assert (await web.get(categories(shop), **again)).status_code == 200


async def test_items_are_counted_where_they_are_without_archived_ones(web: Web, shop: Shop) -> None:
    market = await a_market(web, shop)
    soft, malt = market["soft"]["categoryId"], market["malt"]["categoryId"]
    await make(web, shop, categoryIds=[malt])
    both = await make(web, shop, categoryIds=[malt, soft], quantity=1)

    async def counts() -> dict[str, int]:
        rows = (await listed(web, shop, view="flat"))["data"]
        return {row["name"]: row["itemCount"] for row in rows if row["itemCount"]}

    assert await counts() == {"Malt": 2, "Soft": 1}
    await deduct(web, shop, both, quantity=1, reason="other")
    gone = await web.delete(stock(shop, f"/{both['itemId']}"), headers=session(shop))
    assert gone.json()["status"] == "archived"
    assert await counts() == {"Malt": 1}


# Making --------------------------------------------------------------------------------------------


async def test_every_field_comes_back_as_it_was_sent(web: Web, shop: Shop) -> None:
    fields: Json = {
        "name": "Ìyá’s kitchen",
        "description": "Pots.\nPans.",
        "position": 7,
        "visibleOnline": False,
    }
    made = await post(web, shop, **fields)
    assert {name: made.json()[name] for name in fields} == fields
    assert (made.json()["slug"], made.json()["version"]) == ("iya-s-kitchen", 1)
    assert made.headers["etag"] == '"1"'
    assert (await add(web, shop, "产品"))["slug"] == "category"
    assert (await add(web, shop, "Product"))["slug"] == "product"


async def test_siblings_stand_by_position_and_new_ones_come_last(web: Web, shop: Shop) -> None:
    for name, position in (("C", 3), ("A", 1), ("B", 1), ("D", None)):
        await add(web, shop, name, **({} if position is None else {"position": position}))
    page = await listed(web, shop)
    assert [(row["name"], row["position"]) for row in page["data"]] == [
        ("A", 1),
        ("B", 1),
        ("C", 3),
        ("D", 4),
    ]


@pytest.mark.parametrize("name", ["Crème", "CREME", "  creme ", "cre\u0300me", "Ｃｒｅｍｅ"])
async def test_a_name_is_taken_among_siblings_whatever_its_case_and_accents(
    web: Web, shop: Shop, name: str
) -> None:
    top = await add(web, shop, "Creme")
    answer = await post(web, shop, name=name)
    assert answer.status_code == 409, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/name"
    below = await add(web, shop, name, top)
    assert below["name"] == name
    answer = await change(web, shop, below, parentId=None)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/name")
    assert (await listed(web, shop, view="flat"))["totalElements"] == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": " \t "}, "/name"),
        ({"name": "x" * 121}, "/name"),
        ({"name": 7}, "/name"),
        ({"name": "x", "description": "x" * 1001}, "/description"),
        ({"name": "x", "position": -1}, "/position"),
        ({"name": "x", "position": 100_001}, "/position"),
        ({"name": "x", "position": 1.5}, "/position"),
        ({"name": "x", "visibleOnline": "yes"}, "/visibleOnline"),
        ({"name": "x", "parentId": None}, ""),
    ],
)
async def test_a_wrong_value_is_named_and_nothing_is_made(
    web: Web, shop: Shop, body: Json, pointer: str
) -> None:
    answer = await web.post(categories(shop), headers=session(shop), json=body)
    assert answer.status_code == 422, answer.text
    assert any(fault["pointer"].startswith(pointer) for fault in answer.json()["errors"])
    assert (await listed(web, shop))["totalElements"] == 0


async def test_six_levels_are_made_and_a_seventh_is_refused(web: Web, shop: Shop) -> None:
    parent: Json | None = None
    for level in range(6):
        parent = await add(web, shop, f"Level {level}", parent)
        assert parent["depth"] == level
    answer = await post(web, shop, parent, name="Level 6")
    assert answer.status_code == 409
    assert "six levels" in answer.json()["title"]
    assert (await listed(web, shop, view="flat"))["totalElements"] == 6


async def test_an_unknown_and_a_foreign_category_look_the_same(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    theirs = await add(web, other_shop, "Theirs")
    answers = []
    for nobodys in (str(uuid4()), theirs["categoryId"], "drinks"):
        category = {"categoryId": nobodys}
        for answer in (
            await post(web, shop, category, name="Mine"),
            await change(web, shop, category, name="Mine"),
            await delete(web, shop, category),
            await upload(web, shop, category, picture_bytes("PNG")),
        ):
            assert answer.status_code == 404
            answers.append(answer.json()["title"])
    assert set(answers) == {"There is no such category"}
    assert (await listed(web, other_shop))["data"][0] == theirs | {"children": []}
