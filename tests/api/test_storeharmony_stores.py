"""Locations over the StoreHarmony API: opening, listing, switching, details; and the life of a session."""

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from kasuwa.api.storeharmony.contract import StoreProfile
from kasuwa.domain.reference.places import effective_percent
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.shop import Shop

# All sixteen fields of the request and three of storeinfo.
EVERYTHING = {
    "storeinfo": {"taxRate": 0.075, "vatType": "inclusive", "currency": "GHS"},
    "storeName": "Accra Mall",
    "storeCountry": "Ghana",
    "storeState": "Greater Accra",
    "storeCity": "Accra",
    "storeFullAddress": "Spintex Road 12",
    "storeLocLat": "5.6226",
    "storeLocLng": "-0.1734",
    "storeCountryCode": "GHA",
    "storeStateCode": "AA",
    "storeCityCode": "ACC",
    "email": "Accra@Shop.example",
    "mobile": "024 412 3456",
    "storeProfileType": "FASHION",
    "storeUsers": 12,
    "licensePlan": "growth",
}


def user(shop: Shop, path: str) -> str:
    return f"/cloudapi/user/{shop.user_id}/{path}"


async def open_location(web: Web, shop: Shop, body: dict[str, Any], **headers: str) -> httpx.Response:
    return await web.post(
        user(shop, "createNewLocation"), headers={"sessiontoken": shop.session} | headers, json=body
    )


async def status(web: Web, store_id: str | UUID, token: str) -> int:
    answer = await web.get(f"/cloudapi/app/{store_id}/stock", headers={"sessiontoken": token})
    return answer.status_code


# Opening ------------------------------------------------------------------------------------------


async def test_every_field_of_the_request_is_kept_and_shown(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    made = await open_location(web, shop, EVERYTHING)
    assert made.status_code == 200, made.text
    store = made.json()
    expected = {
        "success": True,
        "originalStoreId": str(shop.store_id),
        "businessname": "Accra Mall",
        "country": "Ghana",
        "stateOfCountry": "Greater Accra",
        "address": "Spintex Road 12",
        "storeGpsLatitude": 5.6226,
        "storeGpsLongitude": -0.1734,
        "emailAddress": "Accra@shop.example",
        "contactPhone": "+233244123456",
        "category": "FASHION",
        "licensePlan": "growth",
        "currency": "GHS",
        "taxRate": 0.075,
        "taxType": "inclusive",
        "storeRole": "OWNER",
        "userClass": "OWNER",
        "staffId": str(shop.user_id),
    }
    assert {name: store[name] for name in expected} == expected
    assert store["sitename"].startswith("accra-mall")
    row = await schema_owner.fetchrow("SELECT * FROM store WHERE store_id = $1", UUID(store["id"]))
    assert row is not None
    assert (row["country_code"], row["state_code"], row["city_code"]) == ("GH", "AA", "ACC")
    assert (row["city"], row["seats"], row["merchant_id"]) == ("Accra", 12, shop.merchant_id)


async def test_the_answer_has_every_field_that_can_be_known(web: Web, shop: Shop) -> None:
    store = (await open_location(web, shop, EVERYTHING)).json()
    absent = set(StoreProfile.__struct_fields__) - set(store)
    # Passwords are never shown; the others are absent until there is such a thing.
    assert absent == {"newPassword", "oldPassword", "defaultGateway", "defaultBank", "expireDate"}
    assert len(StoreProfile.__struct_fields__) == 71


def test_the_documentation_says_where_each_field_comes_from() -> None:
    page = (Path(__file__).parents[2] / "docs" / "storeharmony.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(StoreProfile.__struct_fields__)


async def test_an_empty_request_takes_the_merchants_own(web: Web, shop: Shop) -> None:
    first = (await open_location(web, shop, {})).json()
    second = (await open_location(web, shop, {})).json()
    assert [first["businessname"], second["businessname"]] == ["Ada's Corner 3", "Ada's Corner 4"]
    assert (first["currency"], first["country"], first["taxRate"], first["taxType"]) == (
        "NGN",
        "Nigeria",
        0,
        "exclusive",
    )
    assert "storeGpsLatitude" not in first


async def test_the_new_session_works_and_the_callers_own_stays(web: Web, shop: Shop) -> None:
    store = (await open_location(web, shop, {"storeName": "Yaba"})).json()
    assert await status(web, store["id"], store["sessionId"]) == 200
    assert await status(web, shop.store_id, shop.session) == 200
    # Each of them is good for its own store alone.
    assert await status(web, shop.store_id, store["sessionId"]) == 404
    assert await status(web, store["id"], shop.session) == 404


@pytest.mark.parametrize(
    ("sent", "percent"),
    [(0, "0"), (0.075, "7.5"), (0.999999, "99.9999"), (1, "1"), (7.5, "7.5"), (100, "100")],
)
async def test_a_tax_rate_is_shown_as_sent_and_means_percent(
    web: Web, shop: Shop, sent: float, percent: str
) -> None:
    info = {"taxRate": sent, "vatType": "exclusive", "currency": "NGN"}
    store = (await open_location(web, shop, {"storeinfo": info})).json()
    assert store["taxRate"] == sent
    assert effective_percent(Decimal(str(store["taxRate"]))) == Decimal(percent)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"storeCountryCode": "ZZ"}, "/storeCountryCode"),
        ({"storeCountry": "Atlantis"}, "/storeCountry"),
        ({"storeLocLat": "91"}, "/storeLocLat"),
        ({"storeLocLng": "west"}, "/storeLocLng"),
        ({"email": "nobody"}, "/email"),
        ({"mobile": "123"}, "/mobile"),
        ({"storeUsers": 0}, "/storeUsers"),
        ({"storeinfo": {"taxRate": 7.5, "vatType": "exclusive", "currency": "QQQ"}}, "/storeinfo/currency"),
        ({"storeinfo": {"taxRate": 101, "vatType": "exclusive", "currency": "NGN"}}, "/storeinfo/taxRate"),
        (
            {"storeinfo": {"taxRate": 1.2345678, "vatType": "exclusive", "currency": "NGN"}},
            "/storeinfo/taxRate",
        ),
        ({"storeinfo": {"taxRate": 7.5, "vatType": "none", "currency": "NGN"}}, "/storeinfo/vatType"),
        ({"storeinfo": {"taxRate": 7.5, "currency": "NGN"}}, "/storeinfo/vatType"),
    ],
)
async def test_a_value_that_cannot_be_is_named_and_opens_nothing(
    web: Web, shop: Shop, body: dict[str, Any], pointer: str
) -> None:
    refused = await open_location(web, shop, body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer
    listed = await web.get(user(shop, "locations"), headers={"sessiontoken": shop.session})
    assert len(listed.json()) == 2


async def test_one_key_opens_one_location_however_often_it_comes(web: Web, shop: Shop) -> None:
    key = {"idempotency-key": "open-yaba-0001"}
    answers = await asyncio.gather(
        *(open_location(web, shop, {"storeName": "Yaba"}, **key) for _ in range(100))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert await status(web, answers[0].json()["id"], answers[0].json()["sessionId"]) == 200
    other = await open_location(web, shop, {"storeName": "Ikeja"}, **key)
    assert other.status_code == 409
    # What one effect is measured against: another key opens another one.
    await open_location(web, shop, {"storeName": "Yaba"}, **{"idempotency-key": "open-yaba-0002"})
    listed = await web.get(user(shop, "locations"), headers={"sessiontoken": shop.session})
    assert [one["businessname"] for one in listed.json()].count("Yaba") == 2


async def test_only_an_owner_opens_a_location_and_a_changed_role_counts_at_once(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    assert (await open_location(web, shop, {})).status_code == 200
    for role in ("MANAGER", "CASHIER"):
        await schema_owner.execute(
            "UPDATE membership SET role = $1 WHERE user_id = $2 AND store_id = $3",
            role,
            shop.user_id,
            shop.store_id,
        )
        assert (await open_location(web, shop, {})).status_code == 403
    assert (await web.get(user(shop, "locations"), headers={"sessiontoken": shop.session})).status_code == 200


# Listing and reading ------------------------------------------------------------------------------


async def test_locations_are_listed_with_the_default_first_and_the_current_marked(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    store = (await open_location(web, shop, EVERYTHING | {"storeName": "A first name"})).json()
    headers = {"sessiontoken": store["sessionId"]}
    listed = (await web.get(user(shop, "locations"), headers=headers)).json()
    assert [one["storeId"] for one in listed][:2] == [str(shop.store_id), store["id"]]
    assert [one["defaultStore"] for one in listed] == [True, False, False]
    assert [one["currentStore"] for one in listed] == [False, True, False]
    assert (listed[1]["storeGpsLatitude"], listed[1]["storeProfileType"]) == (5.6226, "FASHION")
    await schema_owner.execute("UPDATE store SET status = 'closed' WHERE store_id = $1", shop.second_store_id)

    async def ids(query: str) -> list[str]:
        answer = await web.get(user(shop, f"locations?{query}"), headers=headers)
        assert answer.status_code == 200, answer.text
        return [one["storeId"] for one in answer.json()]

    assert await ids("active=false") == [str(shop.second_store_id)]
    assert await ids("active=true") == [str(shop.store_id), store["id"]]
    assert await ids("page=2&size=1") == [store["id"]]
    assert await ids("page=2147483647&size=200") == []


async def test_details_are_the_same_as_at_the_opening_without_tokens(web: Web, shop: Shop) -> None:
    store = (await open_location(web, shop, EVERYTHING)).json()
    path = user(shop, f"store/{store['id']}")
    details = await web.get(path, headers={"sessiontoken": shop.session})
    tokens = {"success", "sessionId", "accessToken", "originalStoreId"}
    assert details.json() == {name: value for name, value in store.items() if name not in tokens}
    again = await web.get(
        path, headers={"sessiontoken": shop.session, "if-none-match": details.headers["etag"]}
    )
    assert again.status_code == 304


async def test_another_merchant_finds_nothing_and_unknown_looks_the_same(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    headers = {"sessiontoken": shop.session}
    foreign, unknown = str(other_shop.store_id), "0198c7a0-0000-7000-8000-000000000000"

    def told(answer: httpx.Response) -> tuple[int, dict[str, Any]]:
        return answer.status_code, {k: v for k, v in answer.json().items() if k != "instance"}

    for path in ("store", "switchStore"):
        answers = [
            told(await web.get(user(shop, f"{path}/{store_id}"), headers=headers))
            for store_id in (foreign, unknown, "shop")
        ]
        assert [code for code, _ in answers] == [404, 404, 404]
        assert answers[0] == answers[1] == answers[2]
    for path in ("locations", f"store/{foreign}", f"switchStore/{foreign}"):
        assert (await web.get(user(other_shop, path), headers=headers)).status_code == 404
    assert (
        await web.post(user(other_shop, "createNewLocation"), headers=headers, json={})
    ).status_code == 404
    # The control: the owner of the other shop does find it.
    own = await web.get(user(other_shop, f"store/{foreign}"), headers={"sessiontoken": other_shop.session})
    assert own.status_code == 200


async def test_a_store_of_the_merchant_without_a_place_in_it_is_unknown(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    await schema_owner.execute(
        "DELETE FROM membership WHERE user_id = $1 AND store_id = $2", shop.user_id, shop.second_store_id
    )
    headers = {"sessiontoken": shop.session}
    for path in ("store", "switchStore"):
        answer = await web.get(user(shop, f"{path}/{shop.second_store_id}"), headers=headers)
        assert answer.status_code == 404
    assert len((await web.get(user(shop, "locations"), headers=headers)).json()) == 1


# Switching ----------------------------------------------------------------------------------------


async def switch(web: Web, shop: Shop, store_id: UUID, token: str) -> dict[str, Any]:
    answer = await web.get(user(shop, f"switchStore/{store_id}"), headers={"sessiontoken": token})
    assert answer.status_code == 200, answer.text
    assert "no-store" in answer.headers["cache-control"]
    assert "etag" not in answer.headers
    body: dict[str, Any] = answer.json()
    return body


async def test_the_old_session_ends_when_the_new_one_is_first_used(web: Web, shop: Shop) -> None:
    moved = await switch(web, shop, shop.second_store_id, shop.session)
    assert (moved["success"], moved["id"]) == (True, str(shop.second_store_id))
    assert moved["originalStoreId"] == str(shop.store_id)
    assert await status(web, shop.store_id, shop.session) == 200
    assert await status(web, shop.second_store_id, moved["sessionId"]) == 200
    assert await status(web, shop.store_id, shop.session) == 401
    back = await switch(web, shop, shop.store_id, moved["sessionId"])
    # Where the session began, not where it was last.
    assert back["originalStoreId"] == str(shop.store_id)
    assert await status(web, shop.store_id, back["sessionId"]) == 200
    assert await status(web, shop.second_store_id, moved["sessionId"]) == 401


async def test_switching_may_be_repeated_and_only_the_used_session_stays(web: Web, shop: Shop) -> None:
    answers = [await switch(web, shop, shop.second_store_id, shop.session) for _ in range(3)]
    tokens = [answer["sessionId"] for answer in answers]
    assert len(set(tokens)) == 3
    assert await status(web, shop.second_store_id, tokens[1]) == 200
    assert [await status(web, shop.second_store_id, token) for token in tokens] == [401, 200, 401]
    assert await status(web, shop.store_id, shop.session) == 401


async def test_switching_is_not_done_for_head_nor_into_a_closed_store(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    path = user(shop, f"switchStore/{shop.second_store_id}")
    headers = {"sessiontoken": shop.session}
    before = await schema_owner.fetchval("SELECT count(*) FROM session WHERE user_id = $1", shop.user_id)
    assert (await web.call("HEAD", path, headers=headers)).status_code == 405
    await schema_owner.execute("UPDATE store SET status = 'closed' WHERE store_id = $1", shop.second_store_id)
    assert (await web.get(path, headers=headers)).status_code == 409
    after = await schema_owner.fetchval("SELECT count(*) FROM session WHERE user_id = $1", shop.user_id)
    assert after == before
    # The control: a switch that is done does add sessions.
    await switch(web, shop, shop.store_id, shop.session)
    assert before < await schema_owner.fetchval(
        "SELECT count(*) FROM session WHERE user_id = $1", shop.user_id
    )
