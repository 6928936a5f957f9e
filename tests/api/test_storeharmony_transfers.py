"""Transfers over the StoreHarmony API."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.inventory.actions import set_packs
from kasuwa.domain.inventory.records import Pack
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.permissions import Role
from kasuwa.domain.transfers.actions import cancel_transfer, receive_transfer
from kasuwa.domain.transfers.records import Transfer
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop
from tests.transfers import Held, Road, at_store, bring, held, movements, receipt, stocked, wanted


@pytest.fixture
def road(shop: Shop) -> Road:
    return Road(shop.owner, at_store(shop.owner, shop.second_store_id))


@pytest.fixture
async def malt(shop: Shop) -> Product:
    return await stocked(shop.owner)


@pytest.fixture
async def there(shop: Shop) -> dict[str, str]:
    """The owner's session at the second location."""
    async with shop.owner.transaction() as db:
        session = await open_session(shop.owner, db, shop.user_id, shop.second_store_id)
    return {"sessiontoken": session.token}


def here(shop: Shop) -> dict[str, str]:
    return {"sessiontoken": shop.session}


def transfers(shop: Shop, *, second: bool = False) -> str:
    return f"/cloudapi/app/{shop.second_store_id if second else shop.store_id}/transfers"


async def listed(web: Web, path: str, headers: dict[str, str], **query: Any) -> dict[str, Any]:
    answer = await web.get(path, headers=headers, params=query or None)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def ids(page: dict[str, Any]) -> list[str]:
    return [row["transferId"] for row in page["data"]]


def line_id(transfer: Transfer, index: int = 0) -> str:
    return str(transfer.lines[index].line_id)


async def accept(web: Web, shop: Shop, transfer_id: str, headers: dict[str, str]) -> httpx.Response:
    return await web.get(f"{transfers(shop, second=True)}/{transfer_id}/accept", headers=headers)


async def test_a_transfer_is_listed_at_both_ends(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    transfer = await road.send(wanted(malt, "6.5"), reference="T-1", note="for the weekend")
    out = await listed(web, transfers(shop), here(shop))
    (row,) = out["data"]
    assert (out["totalElements"], out["totalExact"], out["nextCursor"]) == (1, True, None)
    assert row["transferId"] == str(transfer.transfer_id)
    assert (row["status"], row["quantity"], row["receivedQuantity"]) == ("pending", 6.5, 0)
    assert (row["sourceStoreId"], row["destinationStoreId"]) == (
        str(shop.store_id),
        str(shop.second_store_id),
    )
    assert (row["itemId"], row["variantId"], row["sku"]) == (str(malt.product_id), None, malt.main.sku)
    assert (row["name"], row["unit"], row["reference"], row["note"]) == (
        "Malt",
        "litre",
        "T-1",
        "for the weekend",
    )
    assert row["initiatedBy"] == {"userId": str(shop.user_id), "name": "Ada Obi"}
    assert (row["acceptedBy"], row["acceptedAt"], row["inMovementId"]) == (None, None, None)
    assert await listed(web, transfers(shop, second=True), there) == out


async def test_directions_and_statuses(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    waiting = await road.send(wanted(malt, 1))
    some = await road.send(wanted(malt, 2))
    await receive_transfer(road.there, some.transfer_id, [receipt(some, "damaged", 1)])
    done = await road.send(wanted(malt, 3))
    await receive_transfer(road.there, done.transfer_id, [receipt(done, "received", 3)])
    gone = await road.send(wanted(malt, 4))
    await cancel_transfer(road.here, gone.transfer_id, fate="returned")
    back = await Road(road.there, road.here).send(wanted(malt, 1))
    draft = await road.draft(wanted(malt, 1))
    path = transfers(shop)
    expected = {
        "": [back, gone, done, some, waiting],
        "direction=incoming": [back],
        "direction=outgoing": [gone, done, some, waiting],
        "status=pending": [back, some, waiting],
        "status=partially_received": [some],
        "status=accepted": [done],
        "status=cancelled": [gone],
        "status=pending&direction=outgoing": [some, waiting],
        f"itemid={malt.product_id}": [back, gone, done, some, waiting],
        f"itemid={new_id()}": [],
        "itemid=nonsense": [],
    }
    for query, found in expected.items():
        page = await listed(web, f"{path}?{query}", here(shop))
        assert ids(page) == [line_id(one) for one in found], query
        assert page["totalElements"] == len(found), query
        assert line_id(draft) not in ids(page)
    rows = {row["transferId"]: row for row in (await listed(web, path, here(shop)))["data"]}
    assert [rows[line_id(one)]["status"] for one in (waiting, some, done, gone)] == [
        "pending",
        "partially_received",
        "accepted",
        "cancelled",
    ]
    assert rows[line_id(some)]["damagedQuantity"] == 1
    assert rows[line_id(gone)]["acceptedAt"] is None
    assert ids(await listed(web, transfers(shop, second=True), there, direction="outgoing")) == [
        line_id(back)
    ]


async def test_the_list_is_cut_by_time(web: Web, shop: Shop, road: Road, malt: Product) -> None:
    first, second = [await road.send(wanted(malt, 1)) for _ in range(2)]
    assert second.shipped_at is not None
    cut = second.shipped_at.isoformat()
    path = transfers(shop)
    assert ids(await listed(web, path, here(shop), **{"from": cut})) == [line_id(second)]
    assert ids(await listed(web, path, here(shop), to=cut)) == [line_id(first)]
    later = (second.shipped_at + timedelta(days=1)).isoformat()
    assert ids(await listed(web, path, here(shop), **{"from": later})) == []
    for odd in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        await listed(web, path, here(shop), **{"from": odd, "to": odd})


async def test_pages_and_cursors_show_each_transfer_once(
    web: Web, shop: Shop, road: Road, malt: Product
) -> None:
    sent = [line_id(await road.send(wanted(malt, 1))) for _ in range(5)]
    newest_first = sent[::-1]
    path = transfers(shop)
    pages = [await listed(web, path, here(shop), page=page, size=2) for page in (1, 2, 3, 4)]
    assert [ids(page) for page in pages] == [newest_first[:2], newest_first[2:4], newest_first[4:], []]
    assert {page["totalPages"] for page in pages} == {3}
    seen, cursor = [], None
    while True:
        query = {"size": 2} | ({} if cursor is None else {"cursor": cursor})
        page = await listed(web, path, here(shop), **query)
        seen += ids(page)
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == newest_first


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=draft", "status"),
        ("direction=up", "direction"),
        ("page=0", "page"),
        ("page=2000&size=200", "page"),
        ("size=201", "size"),
        ("from=yesterday", "from"),
        ("cursor=AAAA", "cursor"),
        ("cursor=%00", "cursor"),
    ],
)
async def test_a_wrong_query_is_told_by_its_field(web: Web, shop: Shop, query: str, field: str) -> None:
    answer = await web.get(f"{transfers(shop)}?{query}", headers=here(shop))
    assert answer.status_code == 400, answer.text
    assert f"#/query/{field}" in {fault.get("pointer") for fault in answer.json()["errors"]}


async def test_accepting_takes_it_in_once_and_answers_the_same(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    transfer = await road.send(wanted(malt, 6))
    first = await accept(web, shop, line_id(transfer), there)
    assert first.status_code == 200, first.text
    assert first.headers["cache-control"] == "no-store"
    assert "etag" not in first.headers
    answer = first.json()
    assert (answer["status"], answer["receivedQuantity"]) == ("accepted", 6)
    assert answer["acceptedBy"] == {"userId": str(shop.user_id), "name": "Ada Obi"}
    assert answer["inMovementId"] is not None
    again = await accept(web, shop, line_id(transfer), there)
    assert again.json() == answer
    assert await held(road.there, malt) == Held(Decimal(6))
    item = await web.get(f"/cloudapi/app/{shop.second_store_id}/stock/{malt.product_id}", headers=there)
    assert item.json()["quantity"] == 6


async def test_a_head_accepts_nothing(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    transfer = await road.send(wanted(malt, 6))
    path = f"{transfers(shop, second=True)}/{line_id(transfer)}/accept"
    answer = await web.call("HEAD", path, headers=there)
    assert answer.status_code == 405
    assert await held(road.there, malt) == Held(in_transit=Decimal(6))


async def test_what_is_left_of_a_part_is_accepted(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    transfer = await road.send(wanted(malt, 6))
    receipts = [receipt(transfer, "damaged", 1), receipt(transfer, "lost", 2, reason="torn bag")]
    await receive_transfer(road.there, transfer.transfer_id, receipts)
    answer = (await accept(web, shop, line_id(transfer), there)).json()
    figures = ("quantity", "receivedQuantity", "damagedQuantity", "lostQuantity")
    assert [answer[figure] for figure in figures] == [6, 3, 1, 2]


async def test_each_product_of_a_larger_transfer_is_accepted_for_itself(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    bread = await stocked(shop.owner, "Bread")
    transfer = await road.send(wanted(malt, 6), wanted(bread, 2))
    page = await listed(web, transfers(shop), here(shop))
    assert sorted(ids(page)) == sorted(line_id(transfer, n) for n in (0, 1))
    assert (await accept(web, shop, str(transfer.transfer_id), there)).status_code == 404
    answer = (await accept(web, shop, line_id(transfer, 1), there)).json()
    assert (answer["itemId"], answer["status"]) == (str(bread.product_id), "accepted")
    assert await held(road.there, malt) == Held(in_transit=Decimal(6))


async def test_only_the_destination_accepts(
    web: Web, shop: Shop, other_shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    transfer = await road.send(wanted(malt, 6))
    at_source = await web.get(f"{transfers(shop)}/{line_id(transfer)}/accept", headers=here(shop))
    assert (at_source.status_code, at_source.json()["type"].rpartition("/")[2]) != (200, "")
    assert at_source.status_code == 409
    assert await held(road.there, malt) == Held(in_transit=Decimal(6))
    unknown = await accept(web, shop, str(new_id()), there)
    assert unknown.status_code == 404
    foreign = await web.get(
        f"{transfers(other_shop)}/{line_id(transfer)}/accept", headers={"sessiontoken": other_shop.session}
    )
    assert foreign.status_code == 404
    told = [{k: v for k, v in one.json().items() if k != "instance"} for one in (unknown, foreign)]
    assert told[0] == told[1]
    for nonsense in ("nonsense", "0" * 64):
        assert (await accept(web, shop, nonsense, there)).status_code == 404


async def test_a_cancelled_transfer_is_not_accepted(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    transfer = await road.send(wanted(malt, 6))
    await cancel_transfer(road.here, transfer.transfer_id, fate="returned")
    answer = await accept(web, shop, line_id(transfer), there)
    assert answer.status_code == 409
    assert await held(road.there, malt) == Held()


async def test_two_tills_that_accept_at_once_get_the_same_answer(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    transfer = await road.send(wanted(malt, 6))
    answers = await asyncio.gather(*(accept(web, shop, line_id(transfer), there) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert await movements(road.there, "transfer_accepted", "on_hand") == 1


async def test_costs_are_for_those_who_may_see_them(web: Web, shop: Shop, road: Road) -> None:
    rice = await stocked(shop.owner, "Rice", Decimal(0))
    await bring(road.here, rice, 8, 1050)
    await road.send(wanted(rice, 6))
    (row,) = (await listed(web, transfers(shop), here(shop)))["data"]
    assert row["unitCost"] == 10.5
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    (row,) = (await listed(web, transfers(shop), {"sessiontoken": cashier.session}))["data"]
    assert row["unitCost"] is None


# Sending: a deduction with the reason transfer_out --------------------------------------------------


async def send_out(web: Web, shop: Shop, product: Product, **fields: Any) -> httpx.Response:
    body = {"quantity": 6, "reason": "transfer_out", "destinationStoreId": str(shop.second_store_id)} | fields
    path = f"/cloudapi/app/{shop.store_id}/stock/{product.product_id}/deductquantity"
    return await web.post(path, headers=here(shop), json=body)


async def test_a_transfer_begins_with_a_deduction(
    web: Web, shop: Shop, road: Road, malt: Product, there: dict[str, str]
) -> None:
    answer = await send_out(web, shop, malt, note="for the weekend", reference="T-9")
    assert answer.status_code == 200, answer.text
    moved = answer.json()
    transfer = moved["transfer"]
    assert (moved["direction"], moved["quantity"], moved["reason"]) == ("out", 6, "transfer_out")
    assert (moved["quantityBefore"], moved["quantityAfter"]) == (100, 94)
    assert (moved["reference"], moved["note"]) == ("T-9", "for the weekend")
    assert moved["movementId"] == transfer["outMovementId"]
    assert (transfer["status"], transfer["destinationStoreId"]) == ("pending", str(shop.second_store_id))
    assert (await listed(web, transfers(shop), here(shop)))["data"] == [transfer]
    assert await held(road.there, malt) == Held(in_transit=Decimal(6))
    accepted = await accept(web, shop, transfer["transferId"], there)
    assert accepted.json()["status"] == "accepted"
    assert await held(road.there, malt) == Held(Decimal(6))


@pytest.mark.parametrize(
    ("fields", "status", "pointer"),
    [
        ({"quantity": 101}, 409, "/quantity"),
        ({"quantity": 0.0005}, 422, "/quantity"),
        ({"destinationStoreId": "nonsense"}, 422, "/destinationStoreId"),
        ({"destinationStoreId": "01900000-0000-7000-8000-000000000000"}, 422, "/destinationStoreId"),
        ({"serialNumbers": ["A1"]}, 422, "/serialNumbers"),
        ({"batchNo": "L9"}, 409, "/batchNo"),
        ({"pack": "carton"}, 422, "/pack"),
    ],
)
async def test_what_cannot_be_sent_is_told_by_its_field(
    web: Web, shop: Shop, road: Road, malt: Product, fields: dict[str, Any], status: int, pointer: str
) -> None:
    answer = await send_out(web, shop, malt, **fields)
    assert answer.status_code == status, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    assert await held(road.here, malt) == Held(Decimal(100))
    assert (await listed(web, transfers(shop), here(shop)))["data"] == []


async def test_a_location_sends_nothing_to_itself_or_to_a_stranger(
    web: Web, shop: Shop, other_shop: Shop, malt: Product
) -> None:
    own = await send_out(web, shop, malt, destinationStoreId=str(shop.store_id))
    foreign = await send_out(web, shop, malt, destinationStoreId=str(other_shop.store_id))
    unknown = await send_out(web, shop, malt, destinationStoreId=str(new_id()))
    assert own.status_code == foreign.status_code == unknown.status_code == 422
    told = [{k: v for k, v in one.json().items() if k != "instance"} for one in (foreign, unknown)]
    assert told[0] == told[1]


async def test_cartons_are_sent_as_the_pieces_they_hold(
    web: Web, shop: Shop, road: Road, malt: Product
) -> None:
    await set_packs(shop.owner, malt.main.variant_id, [Pack("carton", Decimal(24))])
    moved = (await send_out(web, shop, malt, quantity=2, pack="Carton")).json()
    assert (moved["quantity"], moved["transfer"]["quantity"]) == (48, 48)
    assert await held(road.there, malt) == Held(in_transit=Decimal(48))


async def test_a_key_sends_once(web: Web, shop: Shop, road: Road, malt: Product) -> None:
    path = f"/cloudapi/app/{shop.store_id}/stock/{malt.product_id}/deductquantity"
    body = {"quantity": 6, "reason": "transfer_out", "destinationStoreId": str(shop.second_store_id)}
    headers = here(shop) | {"idempotency-key": new_id().hex}
    answers = await asyncio.gather(*(web.post(path, headers=headers, json=body) for _ in range(4)))
    assert len({answer.text for answer in answers}) == 1
    assert await held(road.there, malt) == Held(in_transit=Decimal(6))
