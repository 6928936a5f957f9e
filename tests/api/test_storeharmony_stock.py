"""Quantities over the StoreHarmony API."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from kasuwa.base.context import Context
from kasuwa.domain.catalogue.queries import get_product
from kasuwa.domain.inventory.actions import set_packs
from kasuwa.domain.inventory.records import Pack
from kasuwa.domain.merchants.actions import join_store
from kasuwa.domain.permissions import Role
from tests.api.test_storeharmony_products import make, session, stock
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop

Json = dict[str, Any]


async def add(web: Web, shop: Shop, item: Json, quantity: float = 24, **more: Any) -> httpx.Response:
    headers = session(shop, **more.pop("headers", {}))
    body = {"quantity": quantity} | more
    return await web.post(stock(shop, f"/{item['itemId']}/addquantity"), headers=headers, json=body)


async def deduct(web: Web, shop: Shop, item: Json, quantity: float = 1, **more: Any) -> httpx.Response:
    headers = session(shop, **more.pop("headers", {}))
    body = {"quantity": quantity, "reason": "other"} | more
    return await web.post(stock(shop, f"/{item['itemId']}/deductquantity"), headers=headers, json=body)


async def quantity_of(web: Web, shop: Shop, item: Json) -> Any:
    return (await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))).json()["quantity"]


async def movements(context: Context) -> list[Json]:
    async with context.reading() as db:
        return await db.all(
            "SELECT kind, state, quantity, reason, reference, note, party FROM stock_movement"
            " WHERE merchant_id = current_merchant() ORDER BY at, seq",
            into=dict,
        )


async def test_what_comes_in_is_told_with_what_was_there(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=10)
    more = {
        "unitCost": 350,
        "supplierName": "Dangote",
        "batchNo": "L-7",
        "expiryDate": "2031-05-31",
        "reference": "GRN-1042",
        "note": "two boxes wet",
    }
    moved = (await add(web, shop, item, 24, **more)).json()
    at = moved.pop("performedAt")
    assert moved.pop("movementId")
    assert at.endswith("Z")
    assert moved == {
        "itemId": item["itemId"],
        "variantId": None,
        "storeId": str(shop.store_id),
        "direction": "in",
        "quantity": 24,
        "quantityBefore": 10,
        "quantityAfter": 34,
        "reason": "purchase",
        "reference": "GRN-1042",
        "note": "two boxes wet",
        "unitCost": 350,
        "batchNo": "L-7",
        "expiryDate": "2031-05-31",
        "performedBy": {"userId": str(shop.user_id), "name": "Ada Obi", "role": "OWNER"},
        "transfer": None,
    }
    assert await quantity_of(web, shop, item) == 34
    assert (await movements(shop.owner))[-1] == {
        "kind": "quantity_added",
        "state": "on_hand",
        "quantity": 24,
        "reason": "purchase",
        "reference": "GRN-1042",
        "note": "two boxes wet",
        "party": "Dangote",
    }


@pytest.mark.parametrize(
    "reason", ["theft", "expired", "internal_use", "count_loss", "supplier_return", "correction", "other"]
)
async def test_what_goes_out_for_any_reason_leaves_the_shelf(web: Web, shop: Shop, reason: str) -> None:
    item = await make(web, shop, quantity=10)
    moved = (await deduct(web, shop, item, 4, reason=reason, note="shelf 3")).json()
    assert (moved["direction"], moved["quantity"], moved["quantityAfter"]) == ("out", 4, 6)
    assert (moved["reason"], moved["note"]) == (reason, "shelf 3")
    assert await quantity_of(web, shop, item) == 6


async def test_what_is_damaged_leaves_the_shelf_and_stays_counted(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=10)
    moved = (await deduct(web, shop, item, 3, reason="damage")).json()
    assert (moved["quantityBefore"], moved["quantityAfter"]) == (10, 7)
    assert [(m["state"], m["quantity"]) for m in await movements(shop.owner)][1:] == [
        ("on_hand", -3),
        ("damaged", 3),
    ]


async def test_more_than_there_is_is_refused_with_what_there_is(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=10)
    refused = await deduct(web, shop, item, 11)
    assert refused.status_code == 409
    assert refused.json()["errors"] == [
        {"pointer": "/quantity", "code": "maximum", "detail": "Only 10 can be taken."}
    ]
    assert await quantity_of(web, shop, item) == 10


async def test_a_carton_is_its_pieces_and_costs_what_they_cost(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=0)
    refused = await add(web, shop, item, 2, pack="carton")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/pack")
    variant_id = (await get_product(shop.owner, UUID(item["itemId"]))).main.variant_id
    await set_packs(shop.owner, variant_id, [Pack("Carton", Decimal(24))])
    moved = (await add(web, shop, item, 2, pack="carton", unitCost=4800)).json()
    assert (moved["quantity"], moved["quantityAfter"], moved["unitCost"]) == (48, 48, 200)
    assert (await deduct(web, shop, item, 0.5, pack="CARTON")).json()["quantityAfter"] == 36
    part = await deduct(web, shop, item, 0.3, pack="carton")
    assert (part.status_code, part.json()["errors"][0]["pointer"]) == (422, "/quantity")


async def test_a_new_cost_becomes_the_cost_price_where_that_is_asked(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=10, prices={"sellingPrice": 500, "costPrice": 300})
    await add(web, shop, item, 10, unitCost=400)
    read = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    assert read.json()["prices"]["costPrice"] == 300
    moved = await add(web, shop, item, 10, unitCost=380.5, updateCostPrice=True)
    assert moved.json()["unitCost"] == 380.5
    read = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    assert (read.json()["prices"]["costPrice"], read.json()["quantity"]) == (380.5, 30)
    assert read.json()["version"] == item["version"] + 1
    # Twenty at 350 on average and ten at 380.50.
    assert (await deduct(web, shop, item)).json()["unitCost"] == 360.17


async def test_a_cost_price_needs_a_cost(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    refused = await add(web, shop, item, updateCostPrice=True)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/unitCost")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"quantity": 0}, "/quantity"),
        ({"quantity": -1}, "/quantity"),
        ({"quantity": 1.5}, "/quantity"),
        ({"quantity": 0.0001}, "/quantity"),
        ({"quantity": 10**9 + 1}, "/quantity"),
        ({"quantity": "1"}, "/quantity"),
        ({"unitCost": 1.005}, "/unitCost"),
        ({"unitCost": -1}, "/unitCost"),
        ({"variantId": "x"}, "/variantId"),
        ({"variantId": str(uuid4())}, "/variantId"),
        ({"reason": "gift"}, "/reason"),
        ({"expiryDate": "2026-02-30"}, "/expiryDate"),
        ({"serialNumbers": ["a"]}, "/serialNumbers"),
        ({"serialNumbers": ["a", "a"]}, "/serialNumbers"),
        ({"serialNumbers": ["a\u001fb"]}, "/serialNumbers/0"),
        ({"quantityAfter": 5}, "/quantityAfter"),
    ],
)
async def test_a_wrong_value_is_named_and_nothing_moves(
    web: Web, shop: Shop, fields: Json, pointer: str
) -> None:
    item = await make(web, shop, quantity=10)
    refused = await add(web, shop, item, **fields)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert await quantity_of(web, shop, item) == 10


async def test_serial_numbers_come_in_and_go_out_by_name(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    assert (await add(web, shop, item, 2, serialNumbers=["A1", "B2"])).status_code == 200
    twice = await add(web, shop, item, 1, serialNumbers=["B2"])
    assert (twice.status_code, twice.json()["errors"][0]["detail"]) == (409, "B2 is in stock already.")
    unnamed = await deduct(web, shop, item, 1)
    assert (unnamed.status_code, unnamed.json()["errors"][0]["code"]) == (409, "required")
    strange = await deduct(web, shop, item, 1, serialNumbers=["C3"])
    assert (strange.status_code, strange.json()["errors"][0]["detail"]) == (409, "C3 is not in stock here.")
    assert (await deduct(web, shop, item, 1, serialNumbers=["A1"])).status_code == 200
    assert (await add(web, shop, item, 1, serialNumbers=["A1"])).status_code == 200


async def test_a_product_that_is_not_counted_is_409(web: Web, shop: Shop) -> None:
    item = await make(web, shop, trackQuantity=False)
    for refused in (await add(web, shop, item), await deduct(web, shop, item)):
        assert (refused.status_code, refused.json()["type"]) == (409, "/docs/problems#not-tracked")


async def test_what_is_not_the_shops_is_404(web: Web, shop: Shop, other_shop: Shop) -> None:
    item = await make(web, other_shop, quantity=10)
    for refused in (
        await add(web, shop, item),
        await deduct(web, shop, item),
        await add(web, shop, {"itemId": "x"}),
    ):
        assert refused.status_code == 404
    removed = await make(web, shop, quantity=1)
    assert (await deduct(web, shop, removed)).status_code == 200
    await web.delete(stock(shop, f"/{removed['itemId']}"), headers=session(shop))
    assert (await add(web, shop, removed)).status_code == 404


async def test_a_repeat_with_the_key_moves_once(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=10)
    headers = {"Idempotency-Key": uuid4().hex}
    answers = await asyncio.gather(*(deduct(web, shop, item, 4, headers=headers) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert await quantity_of(web, shop, item) == 6


async def test_a_manager_may_and_a_cashier_may_not(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=10)
    for role, status in ((Role.MANAGER, 200), (Role.CASHIER, 403)):
        staff = await hire(shop, role, shop.store_id)
        answer = await web.post(
            stock(shop, f"/{item['itemId']}/addquantity"),
            headers={"sessiontoken": staff.session},
            json={"quantity": 1},
        )
        assert answer.status_code == status


async def test_what_lies_there_may_have_cost_so_much_and_no_more(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    for more in ({"quantity": 1e9, "unitCost": 1e12}, {"quantity": 2, "unitCost": 500_000_000_000.01}):
        answer = await add(web, shop, item, **more)
        assert answer.status_code == 422, answer.text
        assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("/quantity", "maximum")]
    assert await movements(shop.owner) == []
    assert (await add(web, shop, item, quantity=2, unitCost=500_000_000_000)).status_code == 200
    assert (await add(web, shop, item, quantity=1)).status_code == 422, "at what one cost on average"
    assert await quantity_of(web, shop, item) == 2
    priced = {"name": "Gold", "prices": {"sellingPrice": 1, "costPrice": 1e12}}
    for quantity, status in ((2, 422), (1, 200)):
        new = await web.post(stock(shop), headers=session(shop), json=priced | {"quantity": quantity})
        assert new.status_code == status, new.text
        assert [e["pointer"] for e in new.json().get("errors", [])] == ["/quantity"] * (status == 422)


async def test_a_hundred_buyers_at_once_get_what_there_is(web: Web, shop: Shop) -> None:
    item = await make(web, shop, quantity=40)
    answers = await asyncio.gather(*(deduct(web, shop, item) for _ in range(100)))
    assert sorted(answer.status_code for answer in answers) == [200] * 40 + [409] * 60
    left = sorted(answer.json()["quantityAfter"] for answer in answers if answer.status_code == 200)
    assert left == list(range(40))
    assert await quantity_of(web, shop, item) == 0


async def test_opening_stock_lies_where_somebody_may_write_it(web: Web, shop: Shop) -> None:
    """Here and at every location of theirs; elsewhere it is refused like a location that nobody has."""
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    headers = {"sessiontoken": manager.session}

    async def created(where: UUID) -> tuple[int, str]:
        elsewhere = [{"storeId": str(where), "quantity": 3}]
        body = {"name": f"Lamp {uuid4()}", "prices": {"sellingPrice": 500}, "locationQuantities": elsewhere}
        answer = await web.post(stock(shop), headers=headers, json=body)
        return answer.status_code, answer.json().get("type", "").rpartition("#")[2]

    assert await created(shop.second_store_id) == await created(uuid4()) == (422, "unknown-location")
    async with shop.owner.transaction() as db:
        await join_store(db, manager.user_id, shop.second_store_id, Role.CASHIER)
    assert (await created(shop.second_store_id))[0] == 422
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE membership SET role = 'MANAGER'"
            " WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=manager.user_id,
        )
    assert (await created(shop.second_store_id))[0] == 200
