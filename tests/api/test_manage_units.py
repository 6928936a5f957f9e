"""Packs and serial numbers of a variant over /manage."""

from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.permissions import Role
from tests.api.test_manage_stock import product
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop

Json = dict[str, Any]


async def call(web: Web, shop: Shop, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"sessiontoken": shop.session} | options.pop("headers", {})
    return await web.call(method, f"/manage/{shop.store_id}{path}", headers=headers, **options)


async def variant_of(web: Web, shop: Shop, sku: str, quantity: float = 0) -> str:
    await product(web, shop, sku, quantity)
    async with shop.owner.reading() as db:
        return str(await db.value("SELECT variant_id FROM variant WHERE sku = :sku", sku=sku))


async def change(web: Web, shop: Shop, line: Json) -> Json:
    answer = await call(web, shop, "POST", "/stock/changes", json={"lines": [line]})
    row: Json = answer.json()["rows"][0]
    assert row["errors"] == []
    return row


async def test_packs_are_set_read_and_counted_in(web: Web, shop: Shop) -> None:
    variant = await variant_of(web, shop, "MALT")
    path = f"/variants/{variant}/packs"
    assert (await call(web, shop, "GET", path)).json() == {"variantId": variant, "packs": []}
    wanted = [{"name": "Pallet", "units": 960}, {"name": "carton", "units": 24}]
    answer = await call(web, shop, "PUT", path, json={"packs": wanted})
    assert answer.json()["packs"] == [{"name": "carton", "units": 24}, {"name": "pallet", "units": 960}]
    read = await call(web, shop, "GET", path)
    assert read.json() == answer.json()
    same = await call(web, shop, "GET", path, headers={"if-none-match": read.headers["etag"]})
    assert same.status_code == 304
    assert (await change(web, shop, {"sku": "MALT", "change": 2, "pack": "Carton"}))["after"] == 48
    await call(web, shop, "PUT", path, json={"packs": [{"name": "half", "units": 0.5}]})
    assert (await call(web, shop, "GET", path)).json()["packs"] == [{"name": "half", "units": 0.5}]
    async with shop.owner.reading() as db:
        query = "SELECT count(*) FROM audit_entry WHERE action = 'product.set_packs'"
        assert await db.value(query) == 2


@pytest.mark.parametrize(
    "packs",
    [
        [{"name": "a", "units": 1}, {"name": "A ", "units": 2}],
        [{"name": " ", "units": 1}],
        [{"name": "a", "units": 0}],
        [{"name": "a", "units": 0.0001}],
        [{"name": "a", "units": 1e9 + 1}],
        [{"name": "a"}],
        [{"name": "a", "units": 1, "colour": "red"}],
        [{"name": f"p{n}", "units": 1} for n in range(51)],
    ],
)
async def test_packs_without_a_clear_meaning_are_refused(web: Web, shop: Shop, packs: list[Json]) -> None:
    variant = await variant_of(web, shop, "MALT")
    path = f"/variants/{variant}/packs"
    await call(web, shop, "PUT", path, json={"packs": [{"name": "carton", "units": 24}]})
    assert (await call(web, shop, "PUT", path, json={"packs": packs})).status_code == 422
    assert len((await call(web, shop, "GET", path)).json()["packs"]) == 1


async def test_serial_numbers_are_listed_where_they_lie_with_their_batch(web: Web, shop: Shop) -> None:
    variant = await variant_of(web, shop, "PHONE")
    first = {"sku": "PHONE", "change": 3, "serials": ["S-3", "S-1", "S-2"], "batchNo": "LOT-1"}
    await change(web, shop, first | {"expiryDate": "2031-01-01"})
    await change(web, shop, {"sku": "PHONE", "change": 1, "serials": ["4"]})
    path = f"/variants/{variant}/serials"
    page = (await call(web, shop, "GET", path, params={"size": 2})).json()
    rest = (await call(web, shop, "GET", path, params={"size": 2, "cursor": page["nextCursor"]})).json()
    assert rest["nextCursor"] is None
    listed = [*page["data"], *rest["data"]]
    assert [(one["serialNumber"], one["batchNo"], one["expiryDate"]) for one in listed] == [
        ("4", None, None),
        ("S-1", "LOT-1", "2031-01-01"),
        ("S-2", "LOT-1", "2031-01-01"),
        ("S-3", "LOT-1", "2031-01-01"),
    ]
    await change(web, shop, {"sku": "PHONE", "change": -1, "serials": ["S-2"], "batchNo": "LOT-1"})

    async def numbers(status: str) -> list[tuple[str, str]]:
        found = (await call(web, shop, "GET", path, params={"status": status})).json()["data"]
        return [(one["serialNumber"], one["status"]) for one in found]

    here = [("4", "in_stock"), ("S-1", "in_stock"), ("S-3", "in_stock")]
    assert await numbers("in_stock") == here
    assert await numbers("gone") == [("S-2", "gone")]
    assert await numbers("all") == sorted([*here, ("S-2", "gone")])


async def test_another_locations_units_are_not_in_the_list(web: Web, shop: Shop) -> None:
    variant = await variant_of(web, shop, "PHONE")
    await change(web, shop, {"sku": "PHONE", "change": 1, "serials": ["S-1"]})
    there = await hire(shop, Role.OWNER, shop.second_store_id)
    for status in ("in_stock", "gone", "all"):
        answer = await web.get(
            f"/manage/{shop.second_store_id}/variants/{variant}/serials",
            headers={"sessiontoken": there.session},
            params={"status": status},
        )
        assert answer.json()["data"] == []


async def test_foreign_unknown_and_odd_variants_look_the_same(web: Web, shop: Shop, other_shop: Shop) -> None:
    variant = await variant_of(web, shop, "PHONE")
    for one in (variant, str(new_id()), "nothing"):
        for name in ("packs", "serials"):
            answer = await call(web, other_shop, "GET", f"/variants/{one}/{name}")
            assert (answer.status_code, answer.json()["title"]) == (404, "There is no such variant")
        put = await call(web, other_shop, "PUT", f"/variants/{one}/packs", json={"packs": []})
        assert put.status_code == 404
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    path, headers = f"/manage/{shop.store_id}/variants/{variant}/packs", {"sessiontoken": cashier.session}
    assert (await web.get(path, headers=headers)).status_code == 200
    assert (await web.put(path, headers=headers, json={"packs": []})).status_code == 403


@pytest.mark.parametrize("cursor", ["nonsense", "====", "AA==", "w6Q=x"])
async def test_a_cursor_that_no_list_gave_is_refused(web: Web, shop: Shop, cursor: str) -> None:
    variant = await variant_of(web, shop, "PHONE")
    answer = await call(web, shop, "GET", f"/variants/{variant}/serials", params={"cursor": cursor})
    assert answer.status_code == 422
