"""Categories renamed, moved, deleted and shown with a picture over StoreHarmony, and their products."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.bigcommerce_calls import BigCommerceCalls
from tests.api.test_storeharmony_categories import (
    MARKET,
    a_market,
    add,
    categories,
    change,
    delete,
    listed,
    names,
    upload,
)
from tests.api.test_storeharmony_pictures import bodies
from tests.api.test_storeharmony_products import deduct, make, session, stock
from tests.client import Web
from tests.conftest import picture_bytes
from tests.shop import Shop

Json = dict[str, Any]


# Changing ------------------------------------------------------------------------------------------


async def test_a_change_touches_what_it_names(web: Web, shop: Shop) -> None:
    category = await add(web, shop, "Drinks", description="Cold", position=3)
    changed = (await change(web, shop, category, name="Cold drinks")).json()
    differs = {name for name in changed if changed[name] != category[name]}
    assert differs == {"name", "slug", "path", "version", "updatedAt"}
    assert changed["version"] == 2
    changed = (await change(web, shop, category, description=None, visibleOnline=False)).json()
    assert (changed["description"], changed["visibleOnline"], changed["name"]) == (None, False, "Cold drinks")
    assert (await change(web, shop, category)).status_code == 422


async def test_a_move_takes_the_tree_below_along(web: Web, shop: Shop) -> None:
    market = await a_market(web, shop)
    moved = await change(web, shop, market["soft"], parentId=market["skin"]["categoryId"])
    assert (moved.json()["path"], moved.json()["depth"]) == (["Skin care", "Soft"], 1)
    page = await listed(web, shop)
    assert names(page["data"]) == [("Drinks", ["Water"]), ("Skin care", [("Soft", ["Malt", "Cola"])])]
    assert page["data"][1]["children"][0]["children"][0]["path"] == ["Skin care", "Soft", "Malt"]
    # What is below has not changed itself.
    assert page["data"][1]["children"][0]["children"][0]["version"] == 1
    await change(web, shop, market["soft"], parentId=None)
    assert names((await listed(web, shop))["data"]) == [
        ("Drinks", ["Water"]),
        "Skin care",
        ("Soft", ["Malt", "Cola"]),
    ]
    await change(web, shop, market["soft"], position=0)
    assert names((await listed(web, shop))["data"])[0] == ("Soft", ["Malt", "Cola"])


async def test_a_loop_is_refused_and_nothing_moves(web: Web, shop: Shop) -> None:
    market = await a_market(web, shop)
    for moved, below in (("drinks", "drinks"), ("drinks", "soft"), ("drinks", "malt"), ("soft", "cola")):
        answer = await change(
            web, shop, market[moved], parentId=market[below]["categoryId"], name="Looped", position=0
        )
        assert answer.status_code == 409, answer.text
        assert answer.json()["errors"][0]["pointer"] == "/parentId"
    assert names((await listed(web, shop))["data"]) == MARKET


async def test_a_move_that_makes_the_tree_too_deep_is_refused(web: Web, shop: Shop) -> None:
    market = await a_market(web, shop)
    parent: Json | None = None
    for level in range(4):
        parent = await add(web, shop, f"Level {level}", parent)
    assert parent is not None
    answer = await change(web, shop, market["drinks"], parentId=parent["categoryId"])
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/parentId")
    assert (await change(web, shop, market["soft"], parentId=parent["categoryId"])).status_code == 200


async def test_an_unknown_and_a_foreign_parent_look_the_same(web: Web, shop: Shop, other_shop: Shop) -> None:
    mine, theirs = await add(web, shop, "Mine"), await add(web, other_shop, "Theirs")
    answers = []
    for nobodys in (str(uuid4()), theirs["categoryId"], "drinks"):
        answer = await change(web, shop, mine, parentId=nobodys)
        assert answer.status_code == 422
        answers.append(answer.json()["errors"])
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0]["pointer"] == "/parentId"


async def test_if_match_lets_only_the_version_that_was_read_be_changed(web: Web, shop: Shop) -> None:
    category = await add(web, shop, "Drinks")
    path, body = categories(shop, f"/{category['categoryId']}"), {"name": "Cold drinks"}
    read = f'"{category["version"]}"'
    changed = await web.put(path, headers=session(shop, **{"if-match": read}), json=body)
    assert changed.headers["etag"] == f'"{changed.json()["version"]}"' != read
    for stale in (
        await web.put(path, headers=session(shop, **{"if-match": read}), json={"name": "Late"}),
        await web.delete(path, headers=session(shop, **{"if-match": read})),
        await upload(web, shop, category, picture_bytes("PNG"), **{"if-match": read}),
    ):
        assert stale.status_code == 412
    # A product that comes in leaves the category as it was.
    await make(web, shop, categoryIds=[category["categoryId"]])
    now = session(shop, **{"if-match": changed.headers["etag"]})
    assert (await web.delete(path, headers=now)).status_code == 200


async def test_a_repeat_with_the_same_key_makes_one_category(web: Web, shop: Shop) -> None:
    answers = [
        await web.post(
            categories(shop),
            headers=session(shop, **{"Idempotency-Key": "category-0001"}),
            json={"name": "Drinks"},
        )
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert (await listed(web, shop))["totalElements"] == 1


# Products ------------------------------------------------------------------------------------------


async def test_products_show_and_lists_find_a_category_as_it_is_now(
    web: Web, shop: Shop, bc: BigCommerceCalls
) -> None:
    market = await a_market(web, shop)
    malt, drinks = market["malt"]["categoryId"], market["drinks"]["categoryId"]
    item = await make(web, shop, categoryIds=[malt])

    async def shown() -> list[Json]:
        read = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
        page = await web.get(stock(shop), headers=session(shop), params={"search": "malt"})
        (row,) = page.json()["data"]
        assert row["categories"] == read.json()["categories"]
        assert row["version"] == read.json()["version"]
        found: list[Json] = row["categories"]
        return found

    async def found_in(category_id: str) -> int:
        page = await web.get(stock(shop), headers=session(shop), params={"categoryid": category_id})
        count: int = page.json()["totalElements"]
        return count

    assert await shown() == [{"categoryId": malt, "name": "Malt", "path": ["Drinks", "Soft", "Malt"]}]
    assert await found_in(drinks) == await found_in(malt) == 1
    before = (await bc.get("/catalog/products")).json()["data"][0]["categories"]
    assert len(before) == 1

    await change(web, shop, market["malt"], name="Malta")
    await change(web, shop, market["soft"], parentId=market["skin"]["categoryId"], name="Sweet")
    assert await shown() == [{"categoryId": malt, "name": "Malta", "path": ["Skin care", "Sweet", "Malta"]}]
    assert await found_in(drinks) == 0
    assert await found_in(market["skin"]["categoryId"]) == 1
    assert (await bc.get("/catalog/products")).json()["data"][0]["categories"] == before

    heir = {"moveitemsto": market["cola"]["categoryId"]}
    assert (await delete(web, shop, market["malt"], **heir)).json()["movedItems"] == 1
    (now,) = await shown()
    assert now["path"] == ["Skin care", "Sweet", "Cola"]
    moved = (await bc.get("/catalog/products")).json()["data"][0]["categories"]
    assert (len(moved), moved == before) == (1, False)


# Deleting ------------------------------------------------------------------------------------------


async def test_what_has_categories_below_is_deleted_only_with_them(web: Web, shop: Shop) -> None:
    market = await a_market(web, shop)
    item = await make(web, shop, categoryIds=[market["malt"]["categoryId"], market["skin"]["categoryId"]])
    lone = await make(web, shop, categoryIds=[market["cola"]["categoryId"], market["soft"]["categoryId"]])
    refused = await delete(web, shop, market["drinks"])
    assert refused.status_code == 409
    assert "withchildren" in refused.json()["detail"]
    assert names((await listed(web, shop))["data"]) == MARKET
    gone = (await delete(web, shop, market["drinks"], withchildren="true")).json()
    assert gone["deletedCategoryIds"] == [
        market[name]["categoryId"] for name in ("drinks", "soft", "malt", "cola", "water")
    ]
    assert (gone["movedItems"], gone["uncategorisedItems"]) == (0, 1)
    for one, left in ((item, ["Skin care"]), (lone, [])):
        read = (await web.get(stock(shop, f"/{one['itemId']}"), headers=session(shop))).json()
        assert [category["name"] for category in read["categories"]] == left
        assert read["version"] == one["version"] + 1
    assert names((await listed(web, shop))["data"]) == ["Skin care"]


async def test_items_move_to_a_category_that_stays(web: Web, shop: Shop, other_shop: Shop) -> None:
    market = await a_market(web, shop)
    theirs = await add(web, other_shop, "Theirs")
    both = [market["malt"]["categoryId"], market["skin"]["categoryId"]]
    await make(web, shop, categoryIds=both)
    await make(web, shop, categoryIds=[market["malt"]["categoryId"]])
    archived = await make(web, shop, categoryIds=[market["malt"]["categoryId"]], quantity=1)
    await deduct(web, shop, archived, quantity=1, reason="other")
    await web.delete(stock(shop, f"/{archived['itemId']}"), headers=session(shop))
    errors = []
    for nobodys in (str(uuid4()), theirs["categoryId"], "x", market["malt"]["categoryId"]):
        answer = await delete(web, shop, market["drinks"], withchildren="true", moveitemsto=nobodys)
        assert answer.status_code == 400
        errors.append(answer.json()["errors"])
    assert all(error == errors[0] for error in errors)
    assert errors[0][0]["pointer"] == "#/query/moveitemsto"
    gone = await delete(
        web, shop, market["drinks"], withchildren="true", moveitemsto=market["skin"]["categoryId"]
    )
    assert (gone.json()["movedItems"], gone.json()["uncategorisedItems"]) == (2, 0)
    (left,) = (await listed(web, shop))["data"]
    assert left["itemCount"] == 2


# Pictures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(bodies(b"")))
async def test_every_form_of_the_body_sets_the_picture(web: Web, shop: Shop, form: str) -> None:
    category = await add(web, shop, "Drinks")
    kind, body = bodies(picture_bytes("PNG", size=(64, 48)))[form]
    answer = await upload(web, shop, category, body, kind=kind)
    assert answer.status_code == 200, answer.text
    (row,) = (await listed(web, shop))["data"]
    assert row["pictureUrl"] == answer.json()
    assert answer.headers["etag"] == f'"{row["version"]}"'
    assert (await web.get(answer.json())).status_code == 200


async def test_a_second_picture_replaces_the_first_and_the_same_one_changes_nothing(
    web: Web, shop: Shop
) -> None:
    category = await add(web, shop, "Drinks")
    paths = [
        (await upload(web, shop, category, picture_bytes("PNG", seed=seed))).json() for seed in (1, 2, 2)
    ]
    assert paths[0] != paths[1] == paths[2]
    (row,) = (await listed(web, shop))["data"]
    assert (row["pictureUrl"], row["version"]) == (paths[1], 3)


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("image/png", b"", 400),
        ("image/png", b"<html>no picture</html>", 400),
        ("application/json", b"[]", 400),
        ("application/json", b'["not base64!"]', 400),
        ("text/plain", b"x", 415),
        ("image/png", b"\x89PNG" + bytes(8 * 1024 * 1024), 413),
    ],
)
async def test_what_is_no_picture_is_refused_and_the_old_one_stays(
    web: Web, shop: Shop, kind: str, content: bytes, status: int
) -> None:
    category = await add(web, shop, "Drinks")
    path = (await upload(web, shop, category, picture_bytes("PNG"))).json()
    answer = await upload(web, shop, category, content, kind=kind)
    assert answer.status_code in ({400, 422} if status == 400 else {status}), answer.text
    assert (await listed(web, shop))["data"][0]["pictureUrl"] == path
