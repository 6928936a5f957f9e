"""Developer keys over /manage: made, listed, rotated and ended by an owner, for their merchant's people."""

from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.merchants.authentication import KeyFacts
from kasuwa.domain.permissions import KEY_SCOPES_OF_STORES, Role
from tests.accounts import ACCESS, Account, messages_to
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.people import code_of
from tests.shop import PASSWORD, Shop
from tests.ways_in import manage

Json = dict[str, Any]


async def make(web: Web, shop: Shop, *scopes: str) -> Json:
    body = {"name": "kiosk", "scopes": list(scopes) or sorted(KEY_SCOPES_OF_STORES)}
    answer = await manage(web, shop, "POST", "keys", json=body)
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    return made


async def listed(web: Web, shop: Shop) -> list[Json]:
    found: list[Json] = (await manage(web, shop, "GET", "keys")).json()["data"]
    return found


async def rotate(web: Web, shop: Shop, key_id: str, minutes: int) -> httpx.Response:
    return await manage(web, shop, "POST", f"keys/{key_id}/rotate", json={"overlapMinutes": minutes})


async def enter(web: Web, made: Json, name: str, *, password: str = PASSWORD) -> httpx.Response:
    body = {"username": name, "password": password, "platformId": "kiosk"}
    return await web.post("/cloudapi/app/access/", headers={"x-developer-key": made["key"]}, json=body)


async def names_banks(web: Web, made: Json) -> int:
    return (await web.get("/cloudapi/utils/banks", headers={"x-developer-key": made["key"]})).status_code


async def test_a_key_lets_in_people_of_its_merchant_alone_and_others_look_like_a_wrong_password(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    made = await make(web, shop, "open_session")
    assert (await enter(web, made, shop.email)).status_code == 200
    foreign = await enter(web, made, other_shop.email)
    wrong = await enter(web, made, shop.email, password="another one entirely")
    unknown = await enter(web, made, "nobody@shops.example")
    assert {one.status_code for one in (foreign, wrong, unknown)} == {401}
    assert code_of(foreign) == code_of(wrong) == code_of(unknown)
    assert foreign.json()["detail"] == wrong.json()["detail"] == unknown.json()["detail"]


async def test_a_key_that_forgets_its_merchant_is_found(
    web: Web, shop: Shop, other_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above, and of those of another merchant's sessions and passwords."""
    made = await make(web, shop, "open_session")
    monkeypatch.setattr(KeyFacts, "merchant", None)
    assert (await enter(web, made, other_shop.email)).status_code == 200


async def test_it_is_shown_once_and_does_what_its_scopes_say(web: Web, shop: Shop) -> None:
    made = await make(web, shop, "read_reference")
    assert await names_banks(web, made) == 200
    refused = await enter(web, made, shop.email)
    assert (refused.status_code, code_of(refused)) == (403, "key-scope-missing")
    assert "open_session" in refused.json()["detail"]
    [found] = [one for one in await listed(web, shop) if one["keyId"] == made["keyId"]]
    assert (found["name"], found["scopes"], found["endsAt"]) == ("kiosk", ["read_reference"], None)
    assert made["key"] not in str(await listed(web, shop))


@pytest.mark.parametrize("scope", ["register_store", "read_product"])
async def test_founding_merchants_is_no_scope_of_a_stores_key(web: Web, shop: Shop, scope: str) -> None:
    body = {"name": "kiosk", "scopes": [scope]}
    assert (await manage(web, shop, "POST", "keys", json=body)).status_code == 422


async def test_what_is_kept_of_it_is_a_hash(web: Web, shop: Shop, schema_owner: SchemaOwner) -> None:
    made = await make(web, shop)
    rows = await schema_owner.fetch("SELECT to_jsonb(k)::text AS row FROM developer_key k")
    assert any(made["keyId"] in one["row"] for one in rows)
    assert not any(made["key"] in one["row"] for one in rows)


async def test_a_rotated_key_works_for_the_overlap_and_then_ends(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    old = await make(web, shop, "read_reference")
    new: Json = (await rotate(web, shop, old["keyId"], 10)).json()
    assert new["scopes"] == ["read_reference"]
    assert [await names_banks(web, one) for one in (old, new)] == [200, 200]
    again = await rotate(web, shop, old["keyId"], 1440)
    assert (again.status_code, code_of(again)) == (409, "token-ending")
    # As if eleven minutes had passed; not before the tenth is over.
    for minutes, expected in ((9, 200), (2, 401)):
        await schema_owner.execute(
            "UPDATE developer_key SET revoked_at = revoked_at - make_interval(mins => $1) WHERE key_id = $2",
            minutes,
            old["keyId"],
        )
        assert await names_banks(web, old) == expected
    assert old["keyId"] not in {one["keyId"] for one in await listed(web, shop)}
    at_once = (await rotate(web, shop, new["keyId"], 0)).json()
    assert [await names_banks(web, one) for one in (new, at_once)] == [401, 200]


@pytest.mark.parametrize("is_ending", [False, True])
async def test_a_revoked_key_ends_at_once_also_while_it_is_ending(
    web: Web, shop: Shop, is_ending: bool
) -> None:
    made = await make(web, shop)
    if is_ending:
        await rotate(web, shop, made["keyId"], 60)
    assert await names_banks(web, made) == 200
    answer = await manage(web, shop, "DELETE", f"keys/{made['keyId']}")
    assert answer.json()["keyId"] == made["keyId"]
    assert await names_banks(web, made) == 401
    for refused in (
        await manage(web, shop, "DELETE", f"keys/{made['keyId']}"),
        await rotate(web, shop, made["keyId"], 5),
    ):
        assert (refused.status_code, code_of(refused)) == (404, "key-not-found")


async def test_making_rotating_and_revoking_stand_in_the_audit_trail_without_the_key(
    web: Web, shop: Shop
) -> None:
    made = await make(web, shop, "open_session")
    new = (await rotate(web, shop, made["keyId"], 7)).json()
    await manage(web, shop, "DELETE", f"keys/{new['keyId']}")
    trail = (await manage(web, shop, "GET", "audit?size=200")).json()["data"]
    keys = [one for one in reversed(trail) if one["subject"]["kind"] == "key"]
    noted = [(one["action"], one["subject"]["id"]) for one in keys]
    assert noted == [
        ("key.create", made["keyId"]),
        ("key.rotate", made["keyId"]),
        ("key.create", new["keyId"]),
        ("key.revoke", new["keyId"]),
    ]
    assert made["key"] not in str(trail)


async def test_only_an_owner_has_them_and_only_those_of_that_store(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    made = await make(web, shop)
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    assert (await manage(web, shop, "GET", "keys", session=manager.session)).status_code == 403
    path = f"/cloudapi/user/{shop.user_id}/switchStore/{shop.second_store_id}"
    there = (await web.get(path, headers={"sessiontoken": shop.session})).json()["sessionId"]
    at_second = f"/manage/{shop.second_store_id}/keys"
    assert (await web.get(at_second, headers={"sessiontoken": there})).json() == {"data": []}
    elsewhere = f"/manage/{other_shop.store_id}/keys"
    for base, session in ((at_second, there), (elsewhere, other_shop.session)):
        for key_id in (made["keyId"], str(new_id()), "nonsense"):
            refused = await web.delete(f"{base}/{key_id}", headers={"sessiontoken": session})
            assert (refused.status_code, code_of(refused)) == (404, "key-not-found")
    assert await names_banks(web, made) == 200


async def test_another_merchants_key_goes_with_no_session(web: Web, shop: Shop, other_shop: Shop) -> None:
    path = f"/cloudapi/utils/store/{shop.store_id}/credentials"
    for key_shop, expected in ((shop, 200), (other_shop, 401)):
        made = await make(web, key_shop, "read_credentials")
        headers = {"sessiontoken": shop.session, "x-developer-key": made["key"]}
        assert (await web.get(path, headers=headers)).status_code == expected


async def test_a_key_resets_no_password_of_another_merchant(
    web: Web, shop: Shop, app_headers: dict[str, str], ada: Account
) -> None:
    """Asking is answered alike, and a code that the user got elsewhere is none here."""
    own = {"x-developer-key": (await make(web, shop, "reset_password"))["key"]}
    name = ada.body["email"]
    before = len(await messages_to(web.services, name))
    asked = await web.post(f"{ACCESS}resetpassword", headers=own, json={"username": name})
    assert asked.status_code == 200
    assert len(await messages_to(web.services, name)) == before
    await web.post(f"{ACCESS}resetpassword", headers=app_headers, json={"username": name})
    code = (await messages_to(web.services, name))[-1]["code"]
    body = {"username": name, "code": code, "newPassword": "nine brown kettles"}
    unknown = await web.post(
        f"{ACCESS}resetpassword", headers=own, json=body | {"username": "no@one.example"}
    )
    refused = await web.post(f"{ACCESS}resetpassword", headers=own, json=body)
    assert refused.status_code == unknown.status_code != 200
    assert code_of(refused) == code_of(unknown)
    done = await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)
    assert done.status_code == 200, done.text


async def test_a_key_resets_the_password_of_its_own_people_and_sends_codes(web: Web, shop: Shop) -> None:
    own = {"x-developer-key": (await make(web, shop, "reset_password", "verify_address"))["key"]}
    asked = await web.post(f"{ACCESS}resetpassword", headers=own, json={"username": shop.email})
    assert asked.status_code == 200
    assert (await messages_to(web.services, shop.email))[-1]["template"] == "reset-password"
    address = f"{new_id().hex}@shops.example"
    sent = await web.get("/cloudapi/utils/verify/email", headers=own, params={"email": address})
    assert sent.status_code == 200, sent.text
    assert len(await messages_to(web.services, address)) == 1


async def test_a_key_of_a_disabled_store_or_a_suspended_merchant_proves_nothing(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    made = await make(web, shop)
    for table, off, of in (
        ("store", "disabled", ("store_id", shop.store_id)),
        ("merchant", "suspended", ("merchant_id", shop.merchant_id)),
    ):
        for status, expected in ((off, 401), ("active", 200)):
            await schema_owner.execute(f"UPDATE {table} SET status = $1 WHERE {of[0]} = $2", status, of[1])
            assert await names_banks(web, made) == expected


async def test_a_store_has_a_hundred_at_most(web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kasuwa.domain.merchants.keys.MOST_KEYS", len(await listed(web, shop)) + 1)
    made = await make(web, shop)
    body = {"name": "kiosk", "scopes": ["open_session"]}
    refused = await manage(web, shop, "POST", "keys", json=body)
    assert (refused.status_code, code_of(refused)) == (409, "too-many-keys")
    await manage(web, shop, "DELETE", f"keys/{made['keyId']}")
    await make(web, shop)
