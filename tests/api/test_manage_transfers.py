"""Transfers over /manage: from the draft to the last unit."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.permissions import Role
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop
from tests.transfers import Held, Road, at_store, bring, held, ledger_faults, stocked, wanted

Json = dict[str, Any]


class End:
    """One location, with a session there."""

    def __init__(self, web: Web, store_id: object, session: str) -> None:
        self.web, self.base, self.headers = web, f"/manage/{store_id}/transfers", {"sessiontoken": session}

    async def call(
        self, method: str, path: str = "", body: Json | None = None, **more: Any
    ) -> httpx.Response:
        headers = self.headers | more.pop("headers", {})
        if body is not None:
            more["json"] = body
        return await self.web.call(method, self.base + path, headers=headers, **more)

    async def done(self, method: str, path: str = "", body: Json | None = None, **more: Any) -> Json:
        answer = await self.call(method, path, body, **more)
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found


@pytest.fixture
def here(web: Web, shop: Shop) -> End:
    return End(web, shop.store_id, shop.session)


@pytest.fixture
async def there(web: Web, shop: Shop) -> End:
    async with shop.owner.transaction() as db:
        session = await open_session(shop.owner, db, shop.user_id, shop.second_store_id)
    return End(web, shop.second_store_id, session.token)


@pytest.fixture
def road(shop: Shop) -> Road:
    return Road(shop.owner, at_store(shop.owner, shop.second_store_id))


@pytest.fixture
async def malt(shop: Shop) -> Product:
    return await stocked(shop.owner)


def new(shop: Shop, *lines: Json, **more: Any) -> Json:
    return {"destinationStoreId": str(shop.second_store_id), "lines": list(lines)} | more


def line(product: Product, quantity: float, **more: Any) -> Json:
    return {"variantId": str(product.main.variant_id), "quantity": quantity} | more


def pointers(answer: httpx.Response) -> list[str]:
    return [fault["pointer"] for fault in answer.json()["errors"]]


async def test_from_the_draft_to_the_last_unit(
    shop: Shop, here: End, there: End, road: Road, malt: Product
) -> None:
    made = await here.call("POST", body=new(shop, line(malt, 10), reference="T-1", note="Friday"))
    assert made.status_code == 201
    draft = made.json()
    path = f"/{draft['transferId']}"
    assert (draft["status"], draft["version"], draft["reference"]) == ("draft", 1, "T-1")
    assert (await there.call("GET", path)).status_code == 404

    changed = await here.done("PUT", path, {"lines": [line(malt, 8)], "version": 1})
    assert (changed["lines"][0]["quantity"], changed["note"], changed["version"]) == (8, "Friday", 2)
    old = await here.call("PUT", path, {"note": "Monday", "version": 1})
    assert old.status_code == 409

    shipped = await here.done("POST", f"{path}/ship")
    assert shipped["status"] == "shipped"
    (sent,) = shipped["lines"]
    assert (sent["quantity"], sent["outstanding"], sent["sku"]) == (8, 8, malt.main.sku)
    assert await there.done("GET", path) == shipped

    part = {"lineId": sent["lineId"]}
    receipt = {
        "lines": [
            part | {"outcome": "received", "quantity": 5},
            part | {"outcome": "damaged", "quantity": 1, "reason": "crushed"},
            part | {"outcome": "lost", "quantity": 0.5, "reason": "leaked"},
        ]
    }
    received = await there.done("POST", f"{path}/receive", receipt)
    assert received["status"] == "partially_received"
    figures = ("received", "damaged", "lost", "outstanding")
    assert [received["lines"][0][figure] for figure in figures] == [5, 1, 0.5, 1.5]

    cancelled = await here.done("POST", f"{path}/cancel", {"fate": "returned", "reason": "the van came back"})
    assert (cancelled["status"], cancelled["fate"]) == ("cancelled", "returned")
    assert cancelled["lines"][0]["returned"] == 1.5
    assert await held(road.here, malt) == Held(Decimal("93.5"))
    assert await held(road.there, malt) == Held(Decimal(5), Decimal(0), Decimal(1))
    assert await ledger_faults(road.here) == []


async def test_over_receipt_and_a_loss_without_a_reason_are_told_by_their_field(
    there: End, road: Road, malt: Product
) -> None:
    transfer = await road.send(wanted(malt, 4))
    path = f"/{transfer.transfer_id}/receive"
    one = {"lineId": str(transfer.lines[0].line_id)}
    over = await there.call(
        "POST",
        path,
        {
            "lines": [
                one | {"outcome": "received", "quantity": 4},
                one | {"outcome": "damaged", "quantity": 1},
            ]
        },
    )
    assert (over.status_code, pointers(over)) == (422, ["/lines/1/quantity"])
    lost = await there.call("POST", path, {"lines": [one | {"outcome": "lost", "quantity": 1}]})
    assert (lost.status_code, pointers(lost)) == (422, ["/lines/0/reason"])
    unknown = {"lineId": str(new_id()), "outcome": "received", "quantity": 1}
    missing = await there.call("POST", path, {"lines": [unknown]})
    assert (missing.status_code, pointers(missing)) == (422, ["/lines/0/lineId"])
    assert await held(road.there, malt) == Held(in_transit=Decimal(4))


async def test_who_cancels_what_has_left_must_say_where_it_is(here: End, road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 4))
    path = f"/{transfer.transfer_id}/cancel"
    for body, pointer in (({}, "/fate"), ({"fate": "lost"}, "/reason")):
        answer = await here.call("POST", path, body)
        assert (answer.status_code, pointers(answer)) == (422, [pointer])
    lost = await here.done("POST", path, {"fate": "lost", "reason": "stolen"})
    assert (lost["lines"][0]["lost"], lost["lines"][0]["outstanding"]) == (4, 0)
    assert (await here.call("POST", path, {"fate": "returned"})).status_code == 409


async def test_each_end_does_its_own_part(here: End, there: End, road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 4))
    path = f"/{transfer.transfer_id}"
    receipt = {"lines": [{"lineId": str(transfer.lines[0].line_id), "outcome": "received", "quantity": 1}]}
    for end, what, body in (
        (here, "/receive", receipt),
        (there, "/ship", None),
        (there, "/cancel", {"fate": "returned"}),
    ):
        assert (await end.call("POST", path + what, body)).status_code == 409
    assert (await there.call("PUT", path, {"note": "ours"})).status_code == 409


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"quantity": 0}, "/lines/0/quantity"),
        ({"quantity": 0.0001}, "/lines/0/quantity"),
        ({"variantId": "nonsense"}, "/lines/0/variantId"),
        ({"pack": "pallet"}, "/lines/0/pack"),
        ({"serialNumbers": ["A", "B"]}, "/lines/0/serialNumbers"),
    ],
)
async def test_a_line_that_cannot_be_is_told_by_its_field(
    shop: Shop, here: End, malt: Product, change: Json, pointer: str
) -> None:
    answer = await here.call("POST", body=new(shop, line(malt, 1) | change))
    assert (answer.status_code, pointers(answer)) == (422, [pointer])


async def test_one_line_that_there_is_not_enough_of_keeps_all_of_them(
    shop: Shop, here: End, road: Road, malt: Product
) -> None:
    bread = await stocked(shop.owner, "Bread", Decimal(2))
    draft = await here.done("POST", body=new(shop, line(malt, 5), line(bread, 3)))
    answer = await here.call("POST", f"/{draft['transferId']}/ship")
    assert (answer.status_code, pointers(answer)) == (409, ["/lines/1/quantity"])
    assert await held(road.here, malt) == Held(Decimal(100))
    assert (await here.done("GET", f"/{draft['transferId']}"))["status"] == "draft"


async def test_a_repeat_with_its_key_receives_once(there: End, road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 4))
    body = {"lines": [{"lineId": str(transfer.lines[0].line_id), "outcome": "received", "quantity": 1}]}
    key = {"idempotency-key": new_id().hex}
    path = f"/{transfer.transfer_id}/receive"
    answers = await asyncio.gather(*(there.done("POST", path, body, headers=key) for _ in range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert await held(road.there, malt) == Held(Decimal(1), Decimal(3))


async def test_the_list_goes_on_with_its_cursor(here: End, there: End, road: Road, malt: Product) -> None:
    sent = [str((await road.send(wanted(malt, 1))).transfer_id) for _ in range(3)]
    draft = str((await road.draft(wanted(malt, 1))).transfer_id)
    back = str((await Road(road.there, road.here).draft()).transfer_id)
    seen: list[str] = []
    cursor: Json = {}
    while True:
        page = await here.done("GET", params={"size": 2} | cursor)
        seen += [row["transferId"] for row in page["data"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert seen == [draft, *reversed(sent)]

    async def ids(end: End, **query: str) -> list[str]:
        return [row["transferId"] for row in (await end.done("GET", params=query or None))["data"]]

    assert await ids(there) == [back, *reversed(sent)]
    assert await ids(there, direction="incoming", status="shipped") == sent[::-1]
    assert await ids(there, direction="outgoing") == [back]
    assert await ids(here, status="draft") == [draft]
    assert await ids(there, status="draft") == [back]
    wrong = await here.call("GET", params={"cursor": "nonsense"})
    assert (wrong.status_code, pointers(wrong)) == (422, ["#/query/cursor"])


async def test_foreign_and_unknown_transfers_look_the_same(
    web: Web, other_shop: Shop, road: Road, malt: Product
) -> None:
    transfer = await road.send(wanted(malt, 4))
    stranger = End(web, other_shop.store_id, other_shop.session)
    told = []
    for transfer_id in (transfer.transfer_id, new_id(), "nonsense"):
        answer = await stranger.call("GET", f"/{transfer_id}")
        assert answer.status_code == 404
        told.append({k: v for k, v in answer.json().items() if k != "instance"})
    assert told[0] == told[1] == told[2]


async def test_costs_are_for_those_who_may_see_them(web: Web, shop: Shop, here: End, road: Road) -> None:
    rice = await stocked(shop.owner, "Rice", Decimal(0))
    await bring(road.here, rice, 8, 1050)
    transfer = await road.send(wanted(rice, 6))
    path = f"/{transfer.transfer_id}"
    assert (await here.done("GET", path))["lines"][0]["parcels"][0]["unitCost"] == 10.5
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    seen = await End(web, shop.store_id, cashier.session).done("GET", path)
    assert seen["lines"][0]["parcels"][0]["unitCost"] is None
    forbidden = await End(web, shop.store_id, cashier.session).call("POST", f"{path}/ship")
    assert forbidden.status_code == 403
