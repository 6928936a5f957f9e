"""The audit trail of a product over the StoreHarmony API."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from kasuwa.domain.catalogue.actions import remove_product
from kasuwa.domain.permissions import Role
from tests.api.test_storeharmony_products import change, make, session, stock
from tests.api.test_storeharmony_stock import add, deduct
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop

Json = dict[str, Any]


async def trail(web: Web, shop: Shop, item: Json, **query: Any) -> httpx.Response:
    return await web.get(stock(shop, f"/{item['itemId']}/audit"), headers=session(shop), params=query)


async def lines(web: Web, shop: Shop, item: Json, **query: Any) -> list[Json]:
    found: list[Json] = (await trail(web, shop, item, **query)).json()["data"]
    return found


@pytest.fixture
async def item(web: Web, shop: Shop) -> Json:
    """A product with a history: made, counted, renamed, sold from and delivered."""
    made = await make(web, shop, quantity=10, prices={"sellingPrice": 500, "costPrice": 300})
    await change(web, shop, made, name="Malt 50cl", tax={"taxable": True, "taxRate": 7.5})
    await deduct(web, shop, made, 4, reason="damage", note="fell", reference="D-1")
    await add(web, shop, made, 12, unitCost=310, updateCostPrice=True)
    return made


async def test_changes_and_movements_are_one_trail_the_newest_first(web: Web, shop: Shop, item: Json) -> None:
    found = await lines(web, shop, item)
    assert [(line["action"], line.get("state"), line["quantityDelta"]) for line in found] == [
        ("quantity_added", "on_hand", 12),
        ("price_changed", None, None),
        ("quantity_deducted", "damaged", 4),
        ("quantity_deducted", "on_hand", -4),
        ("updated", None, None),
        ("quantity_added", "on_hand", 10),
        ("created", None, None),
    ]
    times = [line["performedAt"] for line in found]
    assert times == sorted(times, reverse=True)
    fell = found[3]
    assert (fell["quantityBefore"], fell["quantityAfter"], fell["reason"]) == (10, 6, "damage")
    assert (fell["note"], fell["reference"], fell["storeId"]) == ("fell", "D-1", str(shop.store_id))
    assert fell["performedBy"] == {"userId": str(shop.user_id), "name": "Ada Obi", "role": "OWNER"}
    assert {line["storeId"] for line in found} == {str(shop.store_id)}


async def test_a_change_names_its_fields_in_the_words_of_the_product(
    web: Web, shop: Shop, item: Json
) -> None:
    found = await lines(web, shop, item)
    assert found[1]["changes"] == [{"field": "prices.costPrice", "before": 300, "after": 310}]
    changed = {one["field"]: (one["before"], one["after"]) for one in found[4]["changes"]}
    assert changed["name"] == ("Malt drink 33cl", "Malt 50cl")
    assert changed["tax.rate"] == (None, 7.5)
    made = {one["field"]: one["after"] for one in found[-1]["changes"]}
    assert (made["name"], made["prices.sellingPrice"], made["sku"]) == ("Malt drink 33cl", 500, item["sku"])


async def test_each_filter_leaves_what_it_says(web: Web, shop: Shop, item: Json) -> None:
    found = await lines(web, shop, item)
    assert [one["auditId"] for one in await lines(web, shop, item, action="updated")] == [found[4]["auditId"]]
    assert len(await lines(web, shop, item, action="quantity_added")) == 2
    assert await lines(web, shop, item, action="sold") == []
    at = found[3]["performedAt"]
    since = await lines(web, shop, item, **{"from": at})
    until = await lines(web, shop, item, to=at)
    assert len(since) + len(until) == 7
    assert found[3] in since
    assert found[4] in until
    moved = await lines(web, shop, item, variantid=found[0]["variantId"])
    assert [one["quantityDelta"] for one in moved] == [12, 4, -4, 10]
    assert len(await lines(web, shop, item, userid=str(shop.user_id))) == 7
    for nobody in (str(uuid4()), "x"):
        assert await lines(web, shop, item, userid=nobody) == []
        assert await lines(web, shop, item, variantid=nobody) == []


async def test_pages_and_cursors_walk_the_whole_trail(web: Web, shop: Shop, item: Json) -> None:
    whole = await lines(web, shop, item)
    pages = [await lines(web, shop, item, size=3, page=page) for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [line for page in pages for line in page] == whole
    walked, answer = [], (await trail(web, shop, item, size=2)).json()
    walked += answer["data"]
    while answer["nextCursor"]:
        answer = (await trail(web, shop, item, size=2, cursor=answer["nextCursor"])).json()
        walked += answer["data"]
    assert walked == whole
    assert (answer["totalElements"], answer["totalPages"], answer["totalExact"]) == (7, 4, True)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"cursor": "x"}, "#/query/cursor"),
        ({"cursor": "kgEB"}, "#/query/cursor"),
        ({"page": 51, "size": 200}, "#/query/page"),
        ({"page": 0}, "#/query/page"),
        ({"size": 201}, "#/query/size"),
        ({"action": "eaten"}, "#/query/action"),
        ({"from": "yesterday"}, "#/query/from"),
    ],
)
async def test_a_wrong_query_is_named(web: Web, shop: Shop, item: Json, query: Json, pointer: str) -> None:
    refused = await trail(web, shop, item, **query)
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == pointer


async def test_a_product_that_is_gone_has_its_trail_still(web: Web, shop: Shop, item: Json) -> None:
    never_moved = await make(web, shop)
    for one in (item, never_moved):
        await remove_product(shop.owner, UUID(one["itemId"]), on_remaining="write_off")
    told = [line["action"] for line in await lines(web, shop, item)]
    # Everything of a transaction is told with its beginning, a movement with its own instant.
    assert told[:3] == ["quantity_deducted", "quantity_deducted", "removed"]
    assert (await lines(web, shop, never_moved))[0]["action"] == "removed"


async def test_somebody_elses_product_has_none(web: Web, shop: Shop, other_shop: Shop, item: Json) -> None:
    for stranger in (item, {"itemId": str(uuid4())}, {"itemId": "x"}):
        assert (await trail(web, other_shop, stranger)).status_code == 404


async def test_a_cashier_may_not_read_it(web: Web, shop: Shop, item: Json) -> None:
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    refused = await web.get(stock(shop, f"/{item['itemId']}/audit"), headers={"sessiontoken": staff.session})
    assert refused.status_code == 403


async def test_times_are_of_the_clock(web: Web, shop: Shop, item: Json) -> None:
    newest = datetime.fromisoformat((await lines(web, shop, item))[0]["performedAt"])
    assert abs(datetime.now().astimezone() - newest) < timedelta(minutes=5)


async def test_a_price_of_this_store_is_told_with_its_reason(web: Web, shop: Shop) -> None:
    made = await make(web, shop)
    for body in ({"prices": {"sellingPrice": 550}, "reason": "rent"}, {"prices": {"sellingPrice": 560}}):
        changed = await web.post(
            stock(shop, f"/{made['itemId']}/updateprices"), headers=session(shop), json=body
        )
        assert changed.status_code == 200, changed.text
    answer = await web.get(stock(shop, f"/{made['itemId']}/audit"), headers=session(shop))
    entries = [entry for entry in answer.json()["data"] if entry["action"] == "price_changed"]
    told = [
        (entry["reason"], change["before"], change["after"])
        for entry in entries
        for change in entry["changes"]
        if change["field"] == "prices.sellingPrice"
    ]
    assert sorted(told, key=str) == [("rent", 500, 550), (None, 550, 560)]
    assert "reason" not in {change["field"] for entry in entries for change in entry["changes"]}
