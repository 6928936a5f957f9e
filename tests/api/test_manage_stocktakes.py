"""Stocktakes over /manage: several people count, blind; what is sold meanwhile is replayed on top."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from kasuwa.base import db
from kasuwa.domain.permissions import Role
from tests.api.test_manage_stock import change, product, quantity_of
from tests.api.variant_calls import make
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop

Json = dict[str, Any]


class Counter:
    """Somebody with a session, at the stocktakes of a store."""

    def __init__(self, web: Web, shop: Shop, token: str, store_id: object = None) -> None:
        self._web, self._token = web, token
        self._path = f"/manage/{store_id or shop.store_id}/stocktakes"

    async def ask(self, method: str, path: str = "", body: Json | None = None, **more: Any) -> httpx.Response:
        headers = {"sessiontoken": self._token} | more.pop("headers", {})
        return await self._web.call(method, f"{self._path}{path}", json=body, headers=headers, **more)

    async def told(self, method: str, path: str = "", body: Json | None = None, **more: Any) -> Json:
        answer = await self.ask(method, path, body, **more)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def count(self, stocktake: Json, sku: str, quantity: float, **more: Any) -> Json:
        body = {"counts": [{"sku": sku, "quantity": quantity, **more}]}
        return await self.told("POST", f"/{stocktake['stocktakeId']}/counts", body)

    async def lines(self, stocktake: Json, **query: Any) -> list[Json]:
        page = await self.told("GET", f"/{stocktake['stocktakeId']}/lines", params=query)
        lines: list[Json] = page["data"]
        return lines


@pytest.fixture
def owner(web: Web, shop: Shop) -> Counter:
    return Counter(web, shop, shop.session)


async def cashier(web: Web, shop: Shop) -> Counter:
    return Counter(web, shop, (await hire(shop, Role.CASHIER, shop.store_id)).session)


async def test_several_people_count_zones_and_the_difference_is_booked(
    web: Web, shop: Shop, owner: Counter
) -> None:
    rice, beans = await product(web, shop, "RICE", 10), await product(web, shop, "BEANS", 6)
    stocktake = await owner.told("POST", body={"name": "Whole shop"})
    assert (stocktake["status"], stocktake["blind"], stocktake["counted"]) == ("open", True, 0)
    first, second = await cashier(web, shop), await cashier(web, shop)
    await first.count(stocktake, "RICE", 5, zone="window")
    await second.count(stocktake, "RICE", 4, zone="cellar")
    # Who counts a zone again is right.
    await second.count(stocktake, "RICE", 3, zone="window")
    await first.count(stocktake, "BEANS", 6)
    different = [
        (line["sku"], line["expected"], line["counted"], line["difference"])
        for line in await owner.lines(stocktake, different=True)
    ]
    assert different == [("RICE", 10, 7, -3)]
    closed = await owner.told("POST", f"/{stocktake['stocktakeId']}/close", {"note": "done"})
    assert (closed["status"], closed["counted"], closed["unbooked"]) == ("closed", 2, 0)
    assert (closed["note"], closed["endedBy"]) == ("done", str(shop.user_id))
    assert [await quantity_of(web, shop, item) for item in (rice, beans)] == [7, 6]
    assert {line["sku"]: line["booked"] for line in await owner.lines(stocktake)} == {"RICE": -3, "BEANS": 0}


async def test_who_counts_blind_sees_nothing_of_the_books_and_ends_nothing(
    web: Web, shop: Shop, owner: Counter
) -> None:
    await product(web, shop, "RICE", 10)
    blind, seeing = [await owner.told("POST", body={"blind": is_blind}) for is_blind in (True, False)]
    counter = await cashier(web, shop)
    answer = await counter.count(blind, "RICE", 9)
    assert (answer["accepted"], set(answer["rows"][0])) == (1, {"index", "status", "variantId", "errors"})
    assert (await counter.ask("GET", f"/{blind['stocktakeId']}/lines")).status_code == 403
    for verb in ("close", "cancel"):
        assert (await counter.ask("POST", f"/{blind['stocktakeId']}/{verb}", {})).status_code == 403
    assert (await counter.ask("POST", body={"name": "Mine"})).status_code == 403
    # One that is not blind shows it to them.
    await counter.count(seeing, "RICE", 9)
    assert [line["expected"] for line in await counter.lines(seeing)] == [10]
    assert (await counter.told("GET", f"/{blind['stocktakeId']}"))["counted"] == 1


async def counted_before_a_sale(web: Web, shop: Shop, owner: Counter) -> float:
    """Ten are there, nine are counted, four go out before and after that is sent; what is then there."""
    rice = await product(web, shop, "RICE", 10)
    stocktake = await owner.told("POST", body={})
    counted_at = datetime.now(UTC).isoformat()
    await change(web, shop, [{"sku": "RICE", "change": -2, "reason": "damage"}])
    # A till without a line sends it late, with the time of its count.
    await owner.count(stocktake, "RICE", 9, countedAt=counted_at)
    await change(web, shop, [{"sku": "RICE", "change": -2, "reason": "damage"}])
    await owner.told("POST", f"/{stocktake['stocktakeId']}/close", {})
    return await quantity_of(web, shop, rice)


async def test_what_moved_after_the_count_is_replayed_on_top(web: Web, shop: Shop, owner: Counter) -> None:
    assert await counted_before_a_sale(web, shop, owner) == 5


async def test_the_control_a_close_that_compares_with_the_books_of_now_is_found(
    web: Web, shop: Shop, owner: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered, of_then = db.numbered, "'on_hand', c.counted_at)"
    asked: list[str] = []

    def of_now(sql: str) -> db.Numbered:
        if of_then in sql:
            asked.append(sql)
        return numbered(sql.replace(of_then, "'on_hand', clock_timestamp())"))

    monkeypatch.setattr(db, "numbered", of_now)
    assert await counted_before_a_sale(web, shop, owner) == 9
    assert asked


async def test_each_wrong_count_is_refused_alone(
    web: Web, shop: Shop, other_shop: Shop, owner: Counter
) -> None:
    await product(web, shop, "RICE", 10)
    await product(web, other_shop, "FOREIGN", 10)
    stocktake = await owner.told("POST", body={})
    now = datetime.now(UTC)
    body = {
        "counts": [
            {"sku": "RICE", "quantity": 1, "countedAt": (now - timedelta(hours=1)).isoformat()},
            {"sku": "RICE", "quantity": 1, "countedAt": (now + timedelta(hours=1)).isoformat()},
            {"sku": "RICE", "quantity": 1.5},
            {"variantId": str(uuid4()), "quantity": 1},
            {"sku": "FOREIGN", "quantity": 1},
            {"sku": "RICE", "quantity": 8},
        ],
        "device": "till 2",
    }
    answer = await owner.told("POST", f"/{stocktake['stocktakeId']}/counts", body)
    assert (answer["accepted"], answer["refused"]) == (1, 5)
    assert [row["errors"][0]["pointer"] if row["errors"] else "" for row in answer["rows"]] == [
        "/countedAt",
        "/countedAt",
        "/quantity",
        "/variantId",
        "/sku",
        "",
    ]
    both = {"counts": [{"sku": "RICE", "barcode": "1", "quantity": 1}]}
    assert (await owner.ask("POST", f"/{stocktake['stocktakeId']}/counts", both)).status_code == 422


@pytest.mark.parametrize("end", ["close", "cancel"])
async def test_what_has_ended_takes_no_counts_and_ends_once(
    web: Web, shop: Shop, owner: Counter, end: str
) -> None:
    rice = await product(web, shop, "RICE", 10)
    stocktake = await owner.told("POST", body={})
    await owner.count(stocktake, "RICE", 3)
    key = {"idempotency-key": f"till-{uuid4().hex}"}
    path = f"/{stocktake['stocktakeId']}"
    ended = await owner.told("POST", f"{path}/{end}", {}, headers=key)
    # The same request again, because the line broke, is answered again.
    assert await owner.told("POST", f"{path}/{end}", {}, headers=key) == ended
    for verb, body in (
        ("close", {}),
        ("cancel", {}),
        ("counts", {"counts": [{"sku": "RICE", "quantity": 1}]}),
    ):
        answer = await owner.ask("POST", f"{path}/{verb}", body)
        assert answer.status_code == 409, verb
        assert answer.json()["type"].endswith("stocktake-ended")
    assert await quantity_of(web, shop, rice) == (3 if end == "close" else 10)
    listed = (await owner.told("GET", params={"status": "open"}))["data"]
    assert stocktake["stocktakeId"] not in [one["stocktakeId"] for one in listed]


async def test_what_nobody_counted_becomes_nothing_when_that_is_asked_for(
    web: Web, shop: Shop, owner: Counter
) -> None:
    rice, beans = await product(web, shop, "RICE", 10), await product(web, shop, "BEANS", 6)
    stocktake = await owner.told("POST", body={})
    await owner.count(stocktake, "RICE", 10)
    await owner.told("POST", f"/{stocktake['stocktakeId']}/close", {"uncounted": "zero"})
    assert [await quantity_of(web, shop, item) for item in (rice, beans)] == [10, 0]


async def test_stocktakes_of_others_are_not_there(
    web: Web, shop: Shop, other_shop: Shop, owner: Counter
) -> None:
    await product(web, shop, "RICE", 10)
    stocktake = await owner.told("POST", body={})
    elsewhere = await hire(shop, Role.OWNER, shop.second_store_id)
    strangers = (
        Counter(web, other_shop, other_shop.session),
        Counter(web, shop, elsewhere.session, shop.second_store_id),
    )
    counts = {"counts": [{"sku": "RICE", "quantity": 1}]}
    for stranger in strangers:
        for of in (stocktake["stocktakeId"], str(uuid4()), "nothing"):
            answers = [
                await stranger.ask("GET", f"/{of}"),
                await stranger.ask("GET", f"/{of}/lines"),
                await stranger.ask("POST", f"/{of}/counts", counts),
                await stranger.ask("POST", f"/{of}/close", {}),
                await stranger.ask("POST", f"/{of}/cancel", {}),
            ]
            assert [answer.status_code for answer in answers] == [404] * 5
        assert (await stranger.told("GET"))["data"] == []
    assert (await owner.told("GET", f"/{stocktake['stocktakeId']}"))["status"] == "open"
    assert (await web.get(f"/manage/{shop.store_id}/stocktakes")).status_code == 401


async def test_stocktakes_and_their_lines_are_told_page_by_page(web: Web, shop: Shop, owner: Counter) -> None:
    for number in range(3):
        await product(web, shop, f"SKU-{number}", 1)
    taken = [await owner.told("POST", body={"name": f"No. {number}"}) for number in range(3)]
    for number in range(3):
        await owner.count(taken[0], f"SKU-{number}", 2)
    for path, name, wanted in (
        ("", "name", ["No. 2", "No. 1", "No. 0"]),
        (f"/{taken[0]['stocktakeId']}/lines", "sku", ["SKU-0", "SKU-1", "SKU-2"]),
    ):
        first = await owner.told("GET", path, params={"size": 2})
        rest = await owner.told("GET", path, params={"size": 2, "cursor": first["nextCursor"]})
        assert [one[name] for one in first["data"] + rest["data"]] == wanted
        assert (len(first["data"]), rest["nextCursor"]) == (2, None)


async def test_what_is_not_counted_itself_is_refused_at_the_count(
    web: Web, shop: Shop, owner: Counter
) -> None:
    await make(web, shop, sku="SHIRT")
    advice = await product(web, shop, "ADVICE", 4)
    stocktake = await owner.told("POST", body={})
    await untrack(web, shop, advice)
    for sku, code in (("SHIRT", "has_variants"), ("ADVICE", "not_tracked")):
        (row,) = (await owner.count(stocktake, sku, 3))["rows"]
        assert [(error["pointer"], error["code"]) for error in row["errors"]] == [("/sku", code)]
    (row,) = (await owner.count(stocktake, "ANK-M", 3))["rows"]
    assert row["errors"] == []
    closed = await owner.told("POST", f"/{stocktake['stocktakeId']}/close", {"uncounted": "zero"})
    assert closed["unbooked"] == 0
    async with shop.owner.reading() as db:
        left = "SELECT on_hand::int FROM stock_balance WHERE product_id = :id"
        assert await db.value(left, id=advice["itemId"]) == 4  # nobody could count it


async def untrack(web: Web, shop: Shop, item: Json) -> None:
    path = f"/cloudapi/app/{shop.store_id}/stock/{item['itemId']}"
    headers = {"sessiontoken": shop.session}
    answer = await web.put(path, json={"trackQuantity": False}, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_what_nobody_tracks_since_it_was_counted_is_named_and_not_booked(
    web: Web, shop: Shop, owner: Counter
) -> None:
    advice = await product(web, shop, "ADVICE", 4)
    await product(web, shop, "RICE", 4)
    stocktake = await owner.told("POST", body={})
    for sku in ("ADVICE", "RICE"):
        await owner.count(stocktake, sku, 3)
    assert [line.get("problem") for line in await owner.lines(stocktake)] == [None, None]
    await untrack(web, shop, advice)
    closed = await owner.told("POST", f"/{stocktake['stocktakeId']}/close", {})
    assert closed["unbooked"] == 1
    named = {line["sku"]: (line["booked"], line["problem"]) for line in await owner.lines(stocktake)}
    assert named["RICE"] == (-1, None)
    booked, problem = named["ADVICE"]
    assert booked == 0
    assert "trackQuantity" in problem


@pytest.mark.parametrize("end", ["close", "cancel"])
async def test_who_has_nothing_to_say_sends_no_body(owner: Counter, end: str) -> None:
    begun = await owner.told("POST")
    ended = await owner.told("POST", f"/{begun['stocktakeId']}/{end}")
    assert (begun["status"], ended["status"]) == ("open", "closed" if end == "close" else "cancelled")


async def test_a_thousand_counts_with_refusals_among_them_have_each_its_own_result(
    web: Web, shop: Shop, owner: Counter
) -> None:
    await product(web, shop, "RICE", 0)
    stocktake = await owner.told("POST", body={})
    counts = [
        {"sku": "NONE" if place % 100 == 0 else "RICE", "quantity": 1, "zone": str(place)}
        for place in range(1000)
    ]
    told = await owner.told("POST", f"/{stocktake['stocktakeId']}/counts", {"counts": counts})
    assert (told["accepted"], told["refused"]) == (990, 10)
    assert [row["index"] for row in told["rows"] if row["errors"]] == list(range(0, 1000, 100))
    await owner.told("POST", f"/{stocktake['stocktakeId']}/close", {})
    async with shop.owner.reading() as db:
        assert await db.value("SELECT on_hand::int FROM stock_balance") == 990
