"""Many quantities at once, stock as it was, and what ran low, over /manage."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.api.variant_calls import make
from tests.client import Web
from tests.shop import Shop

Json = dict[str, Any]


async def product(web: Web, shop: Shop, sku: str, quantity: float, **more: Any) -> Json:
    body = {"name": f"Product {sku}", "sku": sku, "prices": {"sellingPrice": 500}, "quantity": quantity}
    answer = await web.call(
        "POST", f"/cloudapi/app/{shop.store_id}/stock", json=body | more, headers=session(shop)
    )
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    return made


def session(shop: Shop) -> dict[str, str]:
    return {"sessiontoken": shop.session}


async def change(web: Web, shop: Shop, lines: list[Json], **more: Any) -> httpx.Response:
    return await web.call(
        "POST",
        f"/manage/{shop.store_id}/stock/changes",
        json={"lines": lines} | more,
        headers=session(shop),
    )


async def quantity_of(web: Web, shop: Shop, item: Json) -> float:
    answer = await web.call(
        "GET", f"/cloudapi/app/{shop.store_id}/stock/{item['itemId']}", headers=session(shop)
    )
    return float(answer.json()["quantity"])


async def test_each_line_has_its_own_result(web: Web, shop: Shop, other_shop: Shop) -> None:
    rice, beans = await product(web, shop, "RICE", 10), await product(web, shop, "BEANS", 10)
    await product(web, other_shop, "FOREIGN", 10)
    answer = await change(
        web,
        shop,
        [
            {"sku": "RICE", "change": -4, "reason": "damage"},
            {"sku": "BEANS", "change": -11},
            {"sku": "FOREIGN", "change": 1},
            {"sku": "beans", "quantity": 12, "expectedQuantity": 10},
            {"sku": "BEANS", "quantity": 20, "expectedQuantity": 10},
            {"variantId": "nobody", "change": 1},
        ],
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["changed"], body["refused"]) == (2, 4)
    rows = body["rows"]
    assert [row["status"] for row in rows] == ["done", "refused", "refused", "done", "refused", "refused"]
    assert [(row["before"], row["after"]) for row in rows if row["status"] == "done"] == [(10, 6), (10, 12)]
    assert [row["errors"][0]["pointer"] for row in rows if row["errors"]] == [
        "/lines/1/quantity",
        "/lines/2/sku",
        "/lines/4/expectedQuantity",
        "/lines/5/variantId",
    ]
    assert (await quantity_of(web, shop, rice), await quantity_of(web, shop, beans)) == (6, 12)


async def test_all_or_nothing_changes_nothing_when_one_cannot_be(web: Web, shop: Shop) -> None:
    rice = await product(web, shop, "RICE", 10)
    lines = [{"sku": "RICE", "change": 5}, {"sku": "RICE", "change": -16}]
    refused = await change(web, shop, lines, allOrNothing=True)
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["pointer"] == "/lines/1/quantity"
    unknown = await change(web, shop, [lines[0], {"sku": "NONE", "change": 1}], allOrNothing=True)
    assert unknown.status_code == 422
    assert await quantity_of(web, shop, rice) == 10
    assert (await change(web, shop, lines[:1], allOrNothing=True)).json()["changed"] == 1
    assert await quantity_of(web, shop, rice) == 15


async def test_a_line_beyond_the_largest_total_is_refused_alone(web: Web, shop: Shop) -> None:
    gold, malt = await product(web, shop, "G", 0), await product(web, shop, "M", 0)
    lines = [
        {"sku": "G", "change": 2, "unitCost": 1e12, "reason": "delivery"},
        {"sku": "M", "change": 2, "unitCost": 5e11, "reason": "delivery"},
    ]
    refused, done = (await change(web, shop, lines)).json()["rows"]
    assert (refused["status"], done["status"]) == ("refused", "done")
    assert [e["pointer"] for e in refused["errors"]] == ["/lines/0/quantity"]
    assert (await quantity_of(web, shop, gold), await quantity_of(web, shop, malt)) == (0, 2)


async def test_five_thousand_lines_go_at_once_and_one_more_is_refused(web: Web, shop: Shop) -> None:
    rice = await product(web, shop, "RICE", 0)
    answer = await change(web, shop, [{"sku": "RICE", "change": 1}] * 5000)
    assert (answer.json()["changed"], answer.json()["refused"]) == (5000, 0)
    assert await quantity_of(web, shop, rice) == 5000
    assert (await change(web, shop, [{"sku": "RICE", "change": 1}] * 5001)).status_code == 422


# What the line at each hundredth place is: its words, and the pointer of its fault.
REFUSED = (
    ({"sku": "NONE", "change": 1}, "sku"),
    ({"sku": "RICE", "change": -9000}, "quantity"),
    ({"sku": "RICE", "change": 0.5}, "quantity"),
    ({"sku": "BEANS", "quantity": 1, "expectedQuantity": 7}, "expectedQuantity"),
    ({"sku": "SHIRT", "change": 1}, "sku"),
    ({"sku": "ADVICE", "change": 1}, "sku"),
)


async def test_five_thousand_lines_with_refusals_among_them_have_each_its_own_result(
    web: Web, shop: Shop
) -> None:
    rice, beans = await product(web, shop, "RICE", 0, unit="each"), await product(web, shop, "BEANS", 5)
    await make(web, shop, sku="SHIRT")
    await product(web, shop, "ADVICE", 0, trackQuantity=False)
    lines: list[Json] = [{"sku": "RICE", "change": 1}] * 5000
    refused = {place: REFUSED[place // 100 % len(REFUSED)] for place in range(0, 5000, 100)}
    for place, (line, _) in refused.items():
        lines[place] = line
    answer = await change(web, shop, lines)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["changed"], body["refused"]) == (4950, 50)
    assert [row["index"] for row in body["rows"]] == list(range(5000))
    assert {row["index"]: row["errors"][0]["pointer"] for row in body["rows"] if row["errors"]} == {
        place: f"/lines/{place}/{field}" for place, (_, field) in refused.items()
    }
    done = [row for row in body["rows"] if row["status"] == "done"]
    assert [row["after"] - row["before"] for row in done] == [1] * 4950
    assert [row["before"] for row in done] == list(range(4950))
    assert (await quantity_of(web, shop, rice), await quantity_of(web, shop, beans)) == (4950, 5)


@pytest.mark.parametrize("place", [0, 2500, 4999], ids=["first", "middle", "last"])
async def test_one_bad_line_of_five_thousand_leaves_everything_as_it_was(
    web: Web, shop: Shop, place: int
) -> None:
    rice, beans = await product(web, shop, "RICE", 3), await product(web, shop, "BEANS", 5)
    lines: list[Json] = [{"sku": "RICE", "change": 1}] * 5000
    lines[place] = {"sku": "BEANS", "change": -6}
    answer = await change(web, shop, lines, allOrNothing=True)
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/lines/{place}/quantity"]
    assert (await quantity_of(web, shop, rice), await quantity_of(web, shop, beans)) == (3, 5)
    async with shop.owner.reading() as db:
        assert await db.value("SELECT count(*)::int FROM stock_movement") == 2


@pytest.mark.parametrize(
    ("sku", "status", "code"), [("SHIRT", 422, "has_variants"), ("ADVICE", 409, "not_tracked")]
)
async def test_what_is_not_counted_itself_cannot_be_changed(
    web: Web, shop: Shop, sku: str, status: int, code: str
) -> None:
    await product(web, shop, "RICE", 10)
    await make(web, shop, sku="SHIRT")
    await product(web, shop, "ADVICE", 0, trackQuantity=False)
    lines = [{"sku": "RICE", "change": 1}, {"sku": sku, "change": 1}]
    answer = await change(web, shop, lines)
    assert [row["status"] for row in answer.json()["rows"]] == ["done", "refused"]
    assert [(e["pointer"], e["code"]) for e in answer.json()["rows"][1]["errors"]] == [("/lines/1/sku", code)]
    answer = await change(web, shop, lines, allOrNothing=True)
    assert answer.status_code == status
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("/lines/1/sku", code)]


@pytest.mark.parametrize(
    "line",
    [
        {"sku": "RICE"},
        {"sku": "RICE", "quantity": 3},
        {"sku": "RICE", "change": 1, "quantity": 3, "expectedQuantity": 10},
        {"sku": "RICE", "variantId": "x", "change": 1},
        {"change": 1},
        {"sku": "RICE", "change": 1, "state": "reserved"},
    ],
)
async def test_a_line_without_a_clear_meaning_is_refused(web: Web, shop: Shop, line: Json) -> None:
    assert (await change(web, shop, [line])).status_code == 422


async def test_an_offline_sale_is_booked_whatever_the_books_say(web: Web, shop: Shop) -> None:
    rice = await product(web, shop, "RICE", 2)
    sold = await change(web, shop, [{"sku": "RICE", "change": -5, "offlineSale": True}])
    assert sold.json()["changed"] == 1
    assert await quantity_of(web, shop, rice) == 0
    (row,) = (await as_at(web, shop, datetime.now(UTC)))["data"]
    assert (row["onHand"], row["shortfall"]) == (0, 3)


async def as_at(web: Web, shop: Shop, at: datetime, **query: str) -> Json:
    answer = await web.call(
        "GET",
        f"/manage/{shop.store_id}/stock/asat",
        params={"at": at.isoformat(), **query},
        headers=session(shop),
    )
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def test_stock_is_told_as_it_was_at_any_instant(web: Web, shop: Shop) -> None:
    before = datetime.now(UTC)
    await product(web, shop, "RICE", 10)
    made = datetime.now(UTC)
    await change(web, shop, [{"sku": "RICE", "change": -3, "becomes": "damaged"}])
    broken = datetime.now(UTC)
    await change(web, shop, [{"sku": "RICE", "change": -2}])
    figures = []
    for at in (before, made, broken, datetime.now(UTC)):
        (row,) = (await as_at(web, shop, at))["data"]
        figures.append((row["onHand"], row["damaged"]))
    assert figures == [(0, 0), (10, 0), (7, 3), (5, 3)]


async def test_stock_as_at_is_paged_by_its_cursor(web: Web, shop: Shop) -> None:
    for number in range(5):
        await product(web, shop, f"SKU-{number}", number)
    now, found, cursor = datetime.now(UTC), [], None
    while True:
        page = await as_at(web, shop, now, size="2", **({"cursor": cursor} if cursor else {}))
        found += [row["sku"] for row in page["data"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert sorted(found) == [f"SKU-{number}" for number in range(5)]


async def test_low_stock_is_told_once_for_each_crossing(web: Web, shop: Shop) -> None:
    await product(web, shop, "RICE", 10, reorderLevel=5)
    for step in (-3, -2, -1, 10, -9, -1):
        assert (await change(web, shop, [{"sku": "RICE", "change": step}])).json()["changed"] == 1
    answer = await web.call("GET", f"/manage/{shop.store_id}/stock/lowevents", headers=session(shop))
    events = answer.json()["data"]
    assert [(event["sku"], event["available"]) for event in events] == [("RICE", 5), ("RICE", 5)]
