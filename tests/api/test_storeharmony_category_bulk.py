"""Many categories at once over the StoreHarmony API."""

from typing import Any

import httpx
import pytest

from tests.api.test_storeharmony_categories import add, categories, listed, names
from tests.api.test_storeharmony_products import make, session, stock
from tests.client import Web
from tests.shop import Shop

Json = dict[str, Any]


def node(name: str, *children: Json, **fields: Any) -> Json:
    return {"name": name, **fields, **({"children": list(children)} if children else {})}


async def send(web: Web, shop: Shop, *nodes: Json, **options: Any) -> httpx.Response:
    body = {"categories": list(nodes), **options}
    return await web.post(categories(shop, "/createbulk"), headers=session(shop), json=body)


async def bulk(web: Web, shop: Shop, *nodes: Json, **options: Any) -> Json:
    answer = await send(web, shop, *nodes, **options)
    assert answer.status_code == 200, answer.text
    result: Json = answer.json()
    for status in ("created", "updated", "skipped", "failed"):
        assert result[status] == sum(row["status"] == status for row in result["rows"])
    return result


def outcomes(result: Json) -> list[tuple[str, str]]:
    return [(row["pointer"], row["status"]) for row in result["rows"]]


async def test_trees_are_made_and_every_node_is_reported(web: Web, shop: Shop) -> None:
    tree = [
        node("Drinks", node("Soft", node("Malt"), node("Cola")), node("Water", visibleOnline=False)),
        node("Skin care", description="Creams", position=40),
        node("Toys"),
    ]
    result = await bulk(web, shop, *tree)
    assert outcomes(result) == [
        ("/categories/0", "created"),
        ("/categories/0/children/0", "created"),
        ("/categories/0/children/0/children/0", "created"),
        ("/categories/0/children/0/children/1", "created"),
        ("/categories/0/children/1", "created"),
        ("/categories/1", "created"),
        ("/categories/2", "created"),
    ]
    rows = (await listed(web, shop, view="flat"))["data"]
    assert [row["categoryId"] for row in result["rows"]] == [row["categoryId"] for row in rows]
    assert names((await listed(web, shop))["data"]) == [
        ("Drinks", [("Soft", ["Malt", "Cola"]), "Water"]),
        "Skin care",
        "Toys",
    ]
    facts = {row["name"]: (row["description"], row["visibleOnline"], row["position"]) for row in rows}
    assert facts["Water"] == (None, False, 2)
    assert facts["Skin care"] == ("Creams", True, 40)
    assert facts["Toys"][2] == 41


async def test_a_refused_node_refuses_its_tree_and_no_other(web: Web, shop: Shop) -> None:
    await add(web, shop, "Drínks")
    result = await bulk(
        web, shop, node("drinks", node("Soft", node("Malt"))), node("Toys", node("Cars"), node("CARS"))
    )
    assert outcomes(result) == [
        ("/categories/0", "failed"),
        ("/categories/0/children/0", "failed"),
        ("/categories/0/children/0/children/0", "failed"),
        ("/categories/1", "created"),
        ("/categories/1/children/0", "created"),
        ("/categories/1/children/1", "failed"),
    ]
    failed = [row for row in result["rows"] if row["status"] == "failed"]
    assert [row["errors"][0].get("field") for row in failed] == ["/name", None, None, "/name"]
    assert all(row["categoryId"] is None and row["errors"][0]["message"] for row in failed)
    assert names((await listed(web, shop))["data"]) == ["Drínks", ("Toys", ["Cars"])]


async def test_skip_takes_what_is_there_and_goes_on_in_it(web: Web, shop: Shop) -> None:
    drinks = await add(web, shop, "Drinks", description="Cold")
    result = await bulk(
        web, shop, node("DRINKS", node("Soft"), node("soft"), description="Hot"), onDuplicate="skip"
    )
    assert [status for _, status in outcomes(result)] == ["skipped", "created", "skipped"]
    assert result["rows"][0]["categoryId"] == drinks["categoryId"]
    assert result["rows"][1]["categoryId"] == result["rows"][2]["categoryId"]
    (row,) = (await listed(web, shop))["data"]
    assert (row["name"], row["description"], names(row["children"])) == ("Drinks", "Cold", ["Soft"])


async def test_update_writes_what_was_sent_and_leaves_the_rest(web: Web, shop: Shop) -> None:
    drinks = await add(web, shop, "drinks", description="Cold", visibleOnline=False, position=5)
    malt = await add(web, shop, "Malt", drinks, description="Sweet")
    item = await make(web, shop, categoryIds=[malt["categoryId"]])
    result = await bulk(
        web,
        shop,
        node("Drinks", node("Malt", description=None, position=9), node("Cola"), position=2),
        node("DRINKS"),
        onDuplicate="update",
    )
    assert [status for _, status in outcomes(result)] == ["updated", "updated", "created", "updated"]
    rows = (await listed(web, shop, view="flat"))["data"]
    facts = [(row["name"], row["description"], row["visibleOnline"], row["position"]) for row in rows]
    assert facts == [
        ("DRINKS", "Cold", False, 2),
        ("Malt", None, True, 9),
        ("Cola", None, True, 10),
    ]
    assert [row["version"] for row in rows] == [2, 2, 1]
    # The products' cards know the new spelling too.
    page = await web.get(stock(shop), headers=session(shop))
    assert page.json()["data"][0]["categories"][0]["path"] == ["DRINKS", "Malt"]
    assert page.json()["data"][0]["itemId"] == item["itemId"]


async def test_what_is_sent_twice_in_one_request_is_one_category(web: Web, shop: Shop) -> None:
    result = await bulk(
        web,
        shop,
        node("Toys", node("Cars"), description="Old"),
        node("toys", node("Dolls"), description="New", visibleOnline=False),
        onDuplicate="update",
    )
    assert [status for _, status in outcomes(result)] == ["created", "created", "updated", "created"]
    (row,) = (await listed(web, shop))["data"]
    assert (row["name"], row["description"], row["visibleOnline"]) == ("toys", "New", False)
    assert names(row["children"]) == ["Cars", "Dolls"]


async def test_a_seventh_level_is_refused_and_six_are_made(web: Web, shop: Shop) -> None:
    tree = node("Level 7")
    for level in range(6, -1, -1):
        tree = node(f"Level {level}", tree)
    result = await bulk(web, shop, tree)
    assert [status for _, status in outcomes(result)] == ["created"] * 6 + ["failed"] * 2
    top = await add(web, shop, "Another")
    answer = await send(web, shop, node("Another", tree), onDuplicate="skip")
    assert [row["status"] for row in answer.json()["rows"]][:2] == ["skipped", "created"]
    assert answer.json()["rows"][0]["categoryId"] == top["categoryId"]


async def test_two_hundred_trees_are_made_in_one_request(web: Web, shop: Shop) -> None:
    wanted = [node(f"Shelf {n}", *(node(f"Box {m}", position=10 - m) for m in range(9))) for n in range(200)]
    result = await bulk(web, shop, *wanted)
    assert (result["created"], result["failed"], len(result["rows"])) == (2000, 0, 2000)
    page = await listed(web, shop, size=200)
    assert (page["totalElements"], len(page["data"])) == (200, 200)
    assert all(len(row["children"]) == 9 for row in page["data"])
    assert [row["name"] for row in page["data"][0]["children"]] == [f"Box {m}" for m in range(8, -1, -1)]
    again = await bulk(web, shop, *wanted, onDuplicate="skip")
    assert again["skipped"] == 2000
    too_many = await send(web, shop, *(node(f"Tree {n}") for n in range(201)))
    assert too_many.status_code == 422


@pytest.mark.parametrize(
    ("nodes", "pointer"),
    [
        ([], "/categories"),
        ([node("")], "/categories/0/name"),
        ([node("A", node("B", node(" ")))], "/categories/0/children/0/children/0/name"),
        ([node("A", colour="red")], "/categories/0"),
        ([node("A", node("B", position=-1))], "/categories/0/children/0/position"),
        ([{"name": "A", "children": None}], "/categories/0/children"),
    ],
)
async def test_a_wrong_value_is_named_and_nothing_is_made(
    web: Web, shop: Shop, nodes: list[Json], pointer: str
) -> None:
    answer = await send(web, shop, node("Good"), *nodes) if nodes else await send(web, shop)
    assert answer.status_code == 422, answer.text
    wanted = pointer.replace("/categories/0", "/categories/1", 1)
    assert any(fault["pointer"].startswith(wanted) for fault in answer.json()["errors"]), answer.text
    assert (await listed(web, shop))["totalElements"] == 0


async def test_a_repeat_with_the_same_key_makes_each_once(web: Web, shop: Shop) -> None:
    body = {"categories": [node("Drinks", node("Malt"))]}
    headers = session(shop, **{"Idempotency-Key": "categories-0001"})
    answers = [
        (await web.post(categories(shop, "/createbulk"), headers=headers, json=body)).json() for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert (await listed(web, shop, view="flat"))["totalElements"] == 2
