"""Products over the StoreHarmony API."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.client import Web
from tests.shop import Shop


def stock(shop: Shop, path: str = "") -> str:
    return f"/cloudapi/app/{shop.store_id}/stock{path}"


def session(shop: Shop, **more: str) -> dict[str, str]:
    return {"sessiontoken": shop.session, **more}


async def make(web: Web, shop: Shop, **fields: Any) -> dict[str, Any]:
    body = {"name": "Malt drink 33cl", "prices": {"sellingPrice": 500}} | fields
    made = await web.post(stock(shop), headers=session(shop), json=body)
    assert made.status_code == 200, made.text
    item: dict[str, Any] = made.json()
    return item


async def change(web: Web, shop: Shop, item: dict[str, Any], **fields: Any) -> httpx.Response:
    return await web.put(stock(shop, f"/{item['itemId']}"), headers=session(shop), json=fields)


async def test_a_product_is_made_and_read_back(web: Web, shop: Shop) -> None:
    item = await make(web, shop, prices={"sellingPrice": 500, "costPrice": 350.5}, quantity=48)
    assert (item["quantity"], item["prices"]["sellingPrice"], item["prices"]["costPrice"]) == (48, 500, 350.5)
    read = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    assert read.json() == item


async def test_every_field_comes_back_as_it_was_sent(web: Web, shop: Shop) -> None:
    fields: dict[str, Any] = {
        "name": "Shea butter, crème",
        "sku": "SHEA-250",
        "barcode": "6001234567890",
        "description": "From Niger State.\nUnrefined.",
        "brand": "Ori",
        "unit": "tin",
        "tags": ["skin", "hair"],
        "tax": {"taxable": True, "taxRate": 0.075, "vatType": "inclusive", "taxCode": "VAT"},
        "trackQuantity": True,
        "reorderLevel": 4.5,
        "reorderQuantity": 24,
        "visibleOnline": True,
        "weightGrams": 250,
        "expiryDate": "2028-02-29",
    }
    item = await make(web, shop, **fields)
    assert {name: item[name] for name in fields} == fields


async def test_opening_quantities_lie_where_they_were_said_to(web: Web, shop: Shop) -> None:
    other = {"storeId": str(shop.second_store_id), "quantity": 2.125, "reorderLevel": 3}
    item = await make(web, shop, unit="kg", quantity=10, locationQuantities=[other])
    at = {location["storeId"]: location["quantity"] for location in item["locations"]}
    assert at == {str(shop.store_id): 10, str(shop.second_store_id): 2.125}
    assert item["quantity"] == item["available"] == 10


async def test_a_sku_is_given_where_none_is_sent_and_found_in_any_case(web: Web, shop: Shop) -> None:
    item = await make(web, shop, sku="Malt-33")
    assert (await make(web, shop))["sku"]
    found = await web.get(stock(shop, "/findbysku"), params={"sku": "mALT-33"}, headers=session(shop))
    assert found.json()["itemId"] == item["itemId"]
    assert found.json()["matchedVariantId"] is None
    missing = await web.get(stock(shop, "/findbysku"), params={"sku": "malt"}, headers=session(shop))
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"prices": {"sellingPrice": 10.005}}, "/prices/sellingPrice"),
        ({"prices": {"sellingPrice": 10**12 + 1}}, "/prices/sellingPrice"),
        ({"prices": {"sellingPrice": -1}}, "/prices/sellingPrice"),
        ({"prices": {"sellingPrice": "10"}}, "/prices/sellingPrice"),
        ({"prices": {"sellingPrice": 10, "promoPrice": 10}}, "/prices/promoPrice"),
        (
            {
                "prices": {
                    "sellingPrice": 10,
                    "promoPrice": 9,
                    "promoStartsAt": "2026-02-01T00:00:00Z",
                    "promoEndsAt": "2026-01-01T00:00:00Z",
                }
            },
            "/prices/promoEndsAt",
        ),
        ({"prices": {"sellingPrice": 10, "promoEndsAt": "2026-01-01T00:00:00Z"}}, "/prices"),
        ({"prices": {}}, "/prices/sellingPrice"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 256}, "/name"),
        ({"quantity": 1.0005}, "/quantity"),
        ({"quantity": -1}, "/quantity"),
        ({"quantity": 1e400}, ""),
        ({"tags": ["a", "a"]}, "/tags"),
        ({"categoryIds": ["cat_1"]}, "/categoryIds/0"),
        ({"categoryIds": [str(uuid4())]}, "/categoryIds"),
        ({"locationQuantities": [{"storeId": str(uuid4()), "quantity": 1}]}, "/locationQuantities"),
        ({"locationQuantities": [{"storeId": "x", "quantity": 1}]}, "/locationQuantities/0/storeId"),
        ({"expiryDate": "2026-02-30"}, "/expiryDate"),
        ({"weightGrams": 2**31}, "/weightGrams"),
        ({"colour": "red"}, ""),
    ],
)
async def test_a_wrong_value_is_named_and_nothing_is_made(
    web: Web, shop: Shop, fields: dict[str, Any], pointer: str
) -> None:
    body = {"name": "Malt", "prices": {"sellingPrice": 500}} | fields
    headers = session(shop, **{"content-type": "application/json"})
    answer = await web.post(stock(shop), headers=headers, content=_json(body))
    assert answer.status_code in (400, 422), answer.text
    if pointer:
        assert any(fault["pointer"].startswith(pointer) for fault in answer.json()["errors"]), answer.text
    page = await web.get(stock(shop), headers=session(shop))
    assert page.json()["totalElements"] == 0


def _json(body: dict[str, Any]) -> bytes:
    """JSON with a number that no float can hold where Python has infinity."""
    return json.dumps(body).replace("Infinity", "1e400").encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"name": "a\x00", "prices": {"sellingPrice": 1}}',
        b'{"name": "a\\u0000", "prices": {"sellingPrice": 1}}',
        b'{"name": "\\ud800", "prices": {"sellingPrice": 1}}',
        b'{"name": "\xff\xfe", "prices": {"sellingPrice": 1}}',
        b'{"name": NaN}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"name": "a", "prices": {"sellingPrice": 1}} trailing',
        b'{"name": "a", "name": "b", "prices": {"sellingPrice": 1}}',
        b"[1, 2]",
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_clearly(web: Web, shop: Shop, content: bytes) -> None:
    headers = session(shop, **{"content-type": "application/json"})
    answer = await web.post(stock(shop), headers=headers, content=content)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["title"]


async def test_another_media_type_and_a_huge_body_are_refused(web: Web, shop: Shop) -> None:
    text = await web.post(stock(shop), headers=session(shop, **{"content-type": "text/plain"}), content=b"{}")
    assert text.status_code == 415
    headers = session(shop, **{"content-type": "application/json"})
    huge = await web.post(stock(shop), headers=headers, content=b" " * (10 * 1024 * 1024 + 1))
    assert huge.status_code == 413


async def test_a_taken_sku_or_barcode_is_a_conflict_that_names_it(web: Web, shop: Shop) -> None:
    await make(web, shop, sku="ONE", barcode="111")
    for fields, pointer in (({"sku": "one"}, "/sku"), ({"barcode": "111"}, "/barcode")):
        body = {"name": "Other", "prices": {"sellingPrice": 5}} | fields
        answer = await web.post(stock(shop), headers=session(shop), json=body)
        assert answer.status_code == 409
        assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_change_touches_what_it_names_and_raises_the_version(web: Web, shop: Shop) -> None:
    item = await make(web, shop, brand="Maltina", description="Sweet", reorderLevel=5)
    answer = await change(web, shop, item, name="Malt drink 50cl", brand=None, reorderLevel=7)
    changed = answer.json()
    assert (changed["name"], changed["brand"], changed["reorderLevel"]) == ("Malt drink 50cl", None, 7)
    assert changed["description"] == "Sweet"
    assert changed["version"] > item["version"]


async def test_an_old_version_or_etag_changes_nothing(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    read = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    assert (await change(web, shop, item, name="First", version=item["version"])).status_code == 200
    assert (await change(web, shop, item, name="Second", version=item["version"])).status_code == 409
    stale = await web.put(
        stock(shop, f"/{item['itemId']}"),
        headers=session(shop, **{"if-match": read.headers["etag"]}),
        json={"name": "Third"},
    )
    assert stale.status_code == 412
    now = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    assert now.json()["name"] == "First"
    fresh = await web.put(
        stock(shop, f"/{item['itemId']}"),
        headers=session(shop, **{"if-match": now.headers["etag"]}),
        json={"name": "Third"},
    )
    assert fresh.status_code == 200


async def test_of_two_editors_with_the_same_version_one_is_told(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    answers = await asyncio.gather(
        *(change(web, shop, item, name=f"Name {n}", version=item["version"]) for n in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7


async def test_what_has_not_changed_is_not_sent_again(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    read = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    again = await web.client.get(
        stock(shop, f"/{item['itemId']}"), headers=session(shop, **{"if-none-match": read.headers["etag"]})
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_a_product_of_which_something_lies_is_not_removed(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=3, sku="HELD")

    async def refused(text: str) -> None:
        answer = await web.delete(stock(shop, f"/{item['itemId']}"), headers=session(shop))
        assert (answer.status_code, answer.json()["detail"].startswith(text)) == (409, True), answer.text

    async def book(**line: Any) -> None:
        answer = await web.post(
            f"/manage/{shop.store_id}/stock/changes",
            headers=session(shop),
            json={"lines": [{"sku": "HELD"} | line], "allOrNothing": True},
        )
        assert answer.status_code == 200, answer.text

    await refused("3 lie at ")
    await deduct(web, shop, item, quantity=3, reason="damage")
    await refused("3 are set aside as damaged at ")
    await book(state="damaged", change=-3, reason="thrown away")
    kept = await web.delete(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    assert kept.json()["status"] == "archived"
    async with shop.owner.transaction() as db:
        assert await db.values("SELECT * FROM stock_faults()") == []


async def test_a_unit_that_the_stock_does_not_fit_is_refused(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=1.5, unit="kg")
    answer = await change(web, shop, item, unit="each")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/unit"), answer.text
    await deduct(web, shop, item, quantity=0.5, reason="other")
    assert (await change(web, shop, item, unit="each")).status_code == 200


async def deduct(web: Web, shop: Shop, item: dict[str, Any], **body: Any) -> None:
    path = stock(shop, f"/{item['itemId']}/deductquantity")
    answer = await web.post(path, headers=session(shop), json=body)
    assert answer.status_code == 200, answer.text


async def test_a_product_without_history_is_deleted_and_one_with_history_archived(
    web: Web, shop: Shop
) -> None:
    plain, counted = await make(web, shop), await make(web, shop, quantity=3, sku="KEPT")
    await deduct(web, shop, counted, quantity=3, reason="other")
    gone = await web.delete(stock(shop, f"/{plain['itemId']}"), headers=session(shop))
    kept = await web.delete(stock(shop, f"/{counted['itemId']}"), headers=session(shop))
    assert (gone.json()["status"], kept.json()["status"]) == ("deleted", "archived")
    assert (await web.get(stock(shop, f"/{plain['itemId']}"), headers=session(shop))).status_code == 404
    read = await web.get(stock(shop, f"/{counted['itemId']}"), headers=session(shop))
    assert read.json()["status"] == "archived"
    assert (await web.delete(stock(shop, f"/{counted['itemId']}"), headers=session(shop))).status_code == 404
    assert (await make(web, shop, sku="KEPT"))["sku"] == "KEPT"


async def test_the_list_pages_sorts_and_filters(web: Web, shop: Shop) -> None:
    for number in range(7):
        await make(web, shop, name=f"Item {number}", quantity=number, reorderLevel=2)
    page = (await web.get(stock(shop), params={"size": 3, "page": 2}, headers=session(shop))).json()
    assert [row["name"] for row in page["data"]] == ["Item 3", "Item 4", "Item 5"]
    assert (page["totalElements"], page["totalPages"], page["totalExact"]) == (7, 3, True)
    rest = await web.get(stock(shop), params={"size": 3, "cursor": page["nextCursor"]}, headers=session(shop))
    assert [row["name"] for row in rest.json()["data"]] == ["Item 6"]
    assert rest.json()["nextCursor"] is None
    down = await web.get(stock(shop), params={"sort": "-quantity", "size": 2}, headers=session(shop))
    assert [row["quantity"] for row in down.json()["data"]] == [6, 5]
    low = await web.get(stock(shop), params={"lowstock": "true"}, headers=session(shop))
    assert sorted(row["quantity"] for row in low.json()["data"]) == [0, 1, 2]
    found = await web.get(stock(shop), params={"search": "item 4"}, headers=session(shop))
    assert [row["name"] for row in found.json()["data"]] == ["Item 4"]


async def test_the_list_and_the_product_say_the_same(web: Web, shop: Shop) -> None:
    item = await make(
        web, shop, unit="kg", quantity=3.5, reorderLevel=4, prices={"sellingPrice": 9.5, "costPrice": 4}
    )
    (row,) = (await web.get(stock(shop), headers=session(shop))).json()["data"]
    assert row == {name: value for name, value in item.items() if name != "locations"}
    sorted_row = (await web.get(stock(shop), params={"sort": "sku"}, headers=session(shop))).json()["data"][0]
    assert sorted_row == row


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=x",
        "page=1.0",
        "page=9999999999",
        "size=201",
        "size=0",
        "sort=price",
        "status=gone",
        "lowstock=yes",
        "updatedsince=yesterday",
        "cursor=AAAA",
        "page=1&page=2",
        "page=100&size=200",
        "search=%00",
    ],
)
async def test_a_wrong_query_is_named(web: Web, shop: Shop, query: str) -> None:
    answer = await web.get(f"{stock(shop)}?{query}", headers=session(shop))
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["pointer"].startswith("#/query/")


@pytest.mark.parametrize("token", [None, "", "wrong", "x" * 5000])
async def test_without_a_session_nothing_is_told(web: Web, shop: Shop, token: str | None) -> None:
    headers = {} if token is None else {"sessiontoken": token}
    answer = await web.get(stock(shop), headers=headers)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


async def test_another_shops_session_finds_nothing(web: Web, shop: Shop, other_shop: Shop) -> None:
    item = await make(web, shop)
    theirs = {"sessiontoken": other_shop.session}
    foreign_store = await web.get(stock(shop, f"/{item['itemId']}"), headers=theirs)
    foreign_item = await web.get(stock(other_shop, f"/{item['itemId']}"), headers=theirs)
    unknown_item = await web.get(stock(other_shop, f"/{uuid4()}"), headers=theirs)
    assert {foreign_store.status_code, foreign_item.status_code, unknown_item.status_code} == {404}
    first, second = foreign_item.json(), unknown_item.json()
    assert first | {"instance": ""} == second | {"instance": ""}


async def test_a_repeat_with_the_same_key_makes_one_product(web: Web, shop: Shop) -> None:
    headers = session(shop, **{"Idempotency-Key": "till-7-order-1"})
    body = {"name": "Malt", "prices": {"sellingPrice": 500}}
    first = await web.post(stock(shop), headers=headers, json=body)
    second = await web.post(stock(shop), headers=headers, json=body)
    assert first.content == second.content
    assert (await web.post(stock(shop), headers=headers, json=body | {"name": "B"})).status_code == 409
    assert (await web.get(stock(shop), headers=session(shop))).json()["totalElements"] == 1


async def test_unknown_paths_and_methods_answer_in_the_apis_words(web: Web, shop: Shop) -> None:
    path = await web.get("/cloudapi/app/nothing/here/at/all")
    method = await web.call("PATCH", stock(shop))
    assert (path.status_code, method.status_code) == (404, 405)
    assert path.headers["content-type"] == method.headers["content-type"] == "application/problem+json"
    assert path.headers["x-request-id"]
