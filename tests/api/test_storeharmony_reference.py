"""Countries, states, areas, banks, roles, kinds of store and credentials over the StoreHarmony API."""

from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.permissions import Role
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.shop import Shop, new_developer_key

PUBLIC = ("countries", "countries/NG/states", "countries/NG/states/NG-LA/lgas")


def here(shop: Shop) -> dict[str, str]:
    return {"sessiontoken": shop.session}


async def utils(web: Web, shop: Shop, path: str, **query: str) -> Any:
    answer = await web.get(f"/cloudapi/utils/{path}", headers=here(shop), params=query or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def estore(web: Web, store: object, path: str, **query: str) -> httpx.Response:
    return await web.get(f"/cloudapi/estore/{store}/{path}", params=query or None)


# Who may ask --------------------------------------------------------------------------------------


async def test_an_app_without_a_user_and_a_user_without_an_app_may_ask(web: Web, shop: Shop) -> None:
    key = await new_developer_key(web.services)
    for path in ("countries", "countries/NG/states", "countries/NG/states/NG-FC/regions", "banks"):
        answers = [
            await web.get(f"/cloudapi/utils/{path}", headers=headers)
            for headers in (
                here(shop),
                {"authorization": f"Bearer {key}"},
                {"x-developer-key": key},
                # A session that has ended beside a key that holds: the key is enough.
                {"sessiontoken": "ended", "x-developer-key": key},
            )
        ]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        for headers in ({}, {"sessiontoken": "x"}, {"x-developer-key": "x"}, {"authorization": "Bearer x"}):
            assert (await web.get(f"/cloudapi/utils/{path}", headers=headers)).status_code == 401
    assert (await web.get("/cloudapi/utils/roles", headers={"x-developer-key": key})).status_code == 401


async def test_lists_are_answered_304_when_they_are_known(web: Web, shop: Shop) -> None:
    first = await web.get("/cloudapi/utils/banks", headers=here(shop))
    again = await web.get(
        "/cloudapi/utils/banks", headers=here(shop) | {"if-none-match": first.headers["etag"]}
    )
    assert again.status_code == 304


# Places -------------------------------------------------------------------------------------------


async def test_countries_states_and_areas(web: Web, shop: Shop) -> None:
    countries = await utils(web, shop, "countries")
    assert len(countries) == 243
    assert {
        "code": "NG",
        "code3": "NGA",
        "numericCode": "566",
        "name": "Nigeria",
        "currency": "NGN",
        "dialCode": "+234",
        "hasStates": True,
    } in countries
    states = await utils(web, shop, "countries/NG/states")
    assert (len(states), sum(state["regionCount"] for state in states)) == (37, 774)
    assert {
        "code": "NG-LA",
        "name": "Lagos",
        "countryCode": "NG",
        "capital": "Ikeja",
        "zone": "SOUTH_WEST",
        "regionCount": 20,
    } in states
    areas = await utils(web, shop, "countries/NG/states/NG-LA/regions")
    assert areas[0] == {
        "code": "NG-LA-01",
        "name": "Agege",
        "stateCode": "NG-LA",
        "countryCode": "NG",
        "type": "LGA",
    }
    councils = await utils(web, shop, "countries/NG/states/NG-FC/regions")
    assert {one["type"] for one in councils} == {"AREA_COUNCIL"}
    ghana = await utils(web, shop, "countries/GH/states")
    assert {"code": "GH-AA", "name": "Greater Accra", "countryCode": "GH", "regionCount": 0} in ghana
    assert await utils(web, shop, "countries/GH/states/GH-AA/regions") == []
    assert await utils(web, shop, "countries/PN/states") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("countries/XX/states", 404),
        ("countries/AQ/states", 404),
        ("countries/ng/states", 422),
        ("countries/NGA/states", 422),
        ("countries/N%00/states", 422),
        ("countries/ＮＧ/states", 422),
        ("countries/NG/states/NG-XX/regions", 404),
        ("countries/GH/states/NG-LA/regions", 404),
        ("countries/NG/states/LA/regions", 422),
        ("countries/NG/states/" + "NG-LA" * 400 + "/regions", 422),
    ],
)
async def test_a_place_that_is_not_there(web: Web, shop: Shop, path: str, status: int) -> None:
    answer = await web.get(f"/cloudapi/utils/{path}", headers=here(shop))
    # These operations document 400 and no 422.
    assert answer.status_code == (400 if status == 422 else status)


# The shop's pages ---------------------------------------------------------------------------------


async def test_a_shopper_reads_the_same_places_page_by_page(web: Web, shop: Shop) -> None:
    for path in PUBLIC:
        codes: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await estore(web, shop.store_id, path, size="7", **cursor)).json()
            codes += [next(iter(row.values())) for row in page["data"]]
            if page["nextCursor"] is None:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert len(codes) == len(set(codes)) == page["totalElements"]
        assert page["totalPages"] == -(-len(codes) // 7)
        beyond = (await estore(web, shop.store_id, path, page="2147483647")).json()
        assert (beyond["data"], beyond["nextCursor"]) == ([], None)
        second = (await estore(web, shop.store_id, path, size="7", page="2")).json()
        assert [next(iter(row.values())) for row in second["data"]] == codes[7:14]
    areas = (await estore(web, shop.store_id, PUBLIC[2])).json()
    assert (areas["totalElements"], areas["data"][0]["lga"], areas["nextCursor"]) == (20, "Agege", None)


async def test_a_shopper_finds_a_country(web: Web, shop: Shop) -> None:
    page = (await estore(web, shop.store_id, "countries", q="niger")).json()
    assert [row["country"] for row in page["data"]] == ["Niger", "Nigeria"]
    assert page["data"][1] == {
        "countryCode": "NG",
        "country": "Nigeria",
        "dialCode": "+234",
        "currency": "NGN",
    }
    assert (await estore(web, shop.store_id, "countries", q="%_")).json()["data"] == []
    assert (await estore(web, shop.store_id, "countries", q="a\0")).status_code == 400
    assert (await estore(web, shop.store_id, "countries", cursor="nobody's")).status_code == 400


async def test_a_shop_that_is_not_open_has_no_pages(
    web: Web, shop: Shop, other_shop: Shop, schema_owner: SchemaOwner
) -> None:
    await schema_owner.execute("UPDATE store SET status = 'closed' WHERE store_id = $1", shop.second_store_id)
    await schema_owner.execute(
        "UPDATE merchant SET status = 'suspended' WHERE merchant_id = $1", other_shop.merchant_id
    )
    for path in PUBLIC:
        for store in (shop.second_store_id, other_shop.store_id, new_id(), "x", "0" * 64):
            assert (await estore(web, store, path)).status_code == 404
        assert (await estore(web, "a b", path)).status_code == 400
    for path in ("countries/XX/states", "countries/NG/states/XX/lgas", "countries/GH/states/NG-LA/lgas"):
        assert (await estore(web, shop.store_id, path)).status_code == 404


# Banks, roles, kinds of store ---------------------------------------------------------------------


async def test_banks_are_listed_with_their_codes(web: Web, shop: Shop) -> None:
    banks = await utils(web, shop, "banks")
    assert len(banks) == 131
    assert [bank["bankFullName"] for bank in banks[:2]] == [
        "5TT Microfinance Bank Limited",
        "Above Only Microfinance Bank",
    ]
    assert {
        "bankCode": "058",
        "nipCode": "000013",
        "nubanPrefix": "000058",
        "bankFullName": "Guaranty Trust Bank Plc",
        "shortName": "GTBank",
        "category": "COMMERCIAL",
        "ussdCode": "*737#",
        "active": True,
    } in banks
    kuda = await utils(web, shop, "banks", q="KUDA", category="MICROFINANCE")
    assert [(bank["bankCode"], bank["nubanPrefix"]) for bank in kuda] == [("50211", "950211")]
    ended = await utils(web, shop, "banks", active="false")
    assert {bank["bankCode"] for bank in ended} == {"030", "063"}
    assert await utils(web, shop, "banks", category="MOBILE_MONEY") == []


@pytest.mark.parametrize("query", [{"q": "x"}, {"q": "x" * 61}, {"category": "X"}, {"active": "1"}])
async def test_a_filter_of_banks_that_cannot_be_read_is_refused(
    web: Web, shop: Shop, query: dict[str, str]
) -> None:
    answer = await web.get("/cloudapi/utils/banks", headers=here(shop), params=query)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("role", "assignable"),
    [(Role.OWNER, ["MANAGER", "CASHIER"]), (Role.MANAGER, []), (Role.CASHIER, [])],
)
async def test_roles_say_what_they_may_and_who_grants_them(
    web: Web, shop: Shop, role: Role, assignable: list[str]
) -> None:
    headers = {"sessiontoken": (await hire(shop, role, shop.store_id)).session}
    roles = (await web.get("/cloudapi/utils/roles", headers=headers)).json()
    assert [one["roleCode"] for one in roles] == ["OWNER", "MANAGER", "CASHIER"]
    assert [one["level"] for one in roles] == sorted((one["level"] for one in roles), reverse=True)
    assert "bank.write" in roles[0]["permissions"]
    assert "bank.write" not in roles[1]["permissions"]
    assert "bank.read" not in roles[2]["permissions"]
    for wanted, expected in (("true", assignable), ("false", [r for r in Role if r not in assignable])):
        answer = await web.get("/cloudapi/utils/roles", headers=headers, params={"assignable": wanted})
        assert [one["roleCode"] for one in answer.json()] == expected


async def test_each_kind_of_store_can_be_opened(web: Web, shop: Shop) -> None:
    kinds = await utils(web, shop, "storeprofiles")
    assert len({kind["code"] for kind in kinds}) == len(kinds) > 5
    rates = {kind["code"]: kind["defaultTaxRate"] for kind in kinds}
    assert (rates["RETAIL"], rates["PHARMACY"]) == (7.5, 0)
    for kind in kinds:
        opened = await web.post(
            f"/cloudapi/user/{shop.user_id}/createNewLocation",
            headers=here(shop),
            json={"storeProfileType": kind["code"]},
        )
        assert opened.json()["category"] == kind["code"]


# Credentials --------------------------------------------------------------------------------------


async def test_credentials_name_a_store_and_hold_no_secret(web: Web, shop: Shop) -> None:
    key = await new_developer_key(web.services)
    path = f"/cloudapi/utils/store/{shop.store_id}/credentials"
    answer = await web.get(path, headers=here(shop) | {"x-developer-key": key})
    told = answer.json()
    assert told["publicKey"] == f"pk_{shop.store_id.hex}"
    assert told["scopes"] == ["stock.cost", "stock.price", "stock.quantity", "stock.read", "stock.write"]
    assert (told["businessname"], told["active"]) == ("Ada's Corner", True)
    assert told["rotatedAt"] >= told["createdAt"]
    for secret in (shop.token, shop.read_token, shop.session, key):
        assert secret not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


async def test_credentials_need_a_session_and_an_app(web: Web, shop: Shop, other_shop: Shop) -> None:
    key = await new_developer_key(web.services)
    path = f"/cloudapi/utils/store/{shop.store_id}/credentials"
    for headers in (here(shop), {"x-developer-key": key}, here(shop) | {"x-developer-key": "x"}, {}):
        assert (await web.get(path, headers=headers)).status_code == 401
    both = {"x-developer-key": key}
    assert (await web.get(path, headers=here(other_shop) | both)).status_code == 404
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    refused = await web.get(path, headers={"sessiontoken": manager.session} | both)
    assert refused.status_code == 403


async def test_a_store_without_tokens_has_no_scopes(web: Web, shop: Shop, schema_owner: SchemaOwner) -> None:
    await schema_owner.execute(
        "UPDATE access_token SET revoked_at = now() WHERE merchant_id = $1", shop.merchant_id
    )
    key = await new_developer_key(web.services)
    told = (
        await web.get(
            f"/cloudapi/utils/store/{shop.store_id}/credentials",
            headers=here(shop) | {"x-developer-key": key},
        )
    ).json()
    assert (told["scopes"], "rotatedAt" in told) == ([], False)
