"""A shared till over /manage: who may open it, who enters by PIN, and how little that opens."""

from uuid import UUID

import httpx
import pytest

from kasuwa.base.ids import new_id, token_hash
from kasuwa.base.tries import Tries
from kasuwa.domain.permissions import NOT_BY_PIN, Role
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.contract.cast import Staff, hire
from tests.people import code_of, edit, hire_at_both, new_person, stock_status, users_of
from tests.shop import PASSWORD, Shop
from tests.ways_in import manage, sessions

PIN = "4829"


async def open_till(web: Web, shop: Shop) -> str:
    answer = await manage(web, shop, "POST", "till")
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["tillToken"]
    return token


async def with_pin(web: Web, shop: Shop, role: Role = Role.CASHIER, pin: str = PIN) -> Staff:
    staff = await hire(shop, role, shop.store_id)
    assert (await set_pin(web, shop, pin, staff.session)).json() == {"hasPin": True}
    return staff


async def set_pin(web: Web, shop: Shop, pin: str | None, session: str) -> httpx.Response:
    return await manage(web, shop, "PUT", "pin", session=session, json={"pin": pin, "password": PASSWORD})


async def enter(web: Web, shop: Shop, till: str, user_id: object, pin: str = PIN) -> httpx.Response:
    body = {"userId": str(user_id), "pin": pin}
    return await web.post(f"/manage/{shop.store_id}/till/enter", headers={"tilltoken": till}, json=body)


async def entered(web: Web, shop: Shop, till: str, user_id: object) -> str:
    answer = await enter(web, shop, till, user_id)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["sessiontoken"]
    return token


async def test_people_enter_one_after_the_other_as_themselves(web: Web, shop: Shop) -> None:
    till = await open_till(web, shop)
    first, second = await with_pin(web, shop), await with_pin(web, shop, Role.MANAGER)
    people = await web.get(f"/manage/{shop.store_id}/till/people", headers={"tilltoken": till})
    assert {one["userId"] for one in people.json()["data"]} == {str(first.user_id), str(second.user_id)}
    one = await entered(web, shop, till, first.user_id)
    assert await stock_status(web, shop.store_id, one) == 200
    [current] = [each for each in await sessions(web, shop, session=one) if each["isCurrent"]]
    assert (current["atTill"], current["kind"]) == (True, "store")
    other = await entered(web, shop, till, second.user_id)
    assert await stock_status(web, shop.store_id, one) == 401
    assert await stock_status(web, shop.store_id, other) == 200
    # Logging out leaves the till open for the next one.
    assert (await manage(web, shop, "DELETE", "sessions/current", session=other)).json() == {"ended": 1}
    assert await stock_status(web, shop.store_id, other) == 401
    await entered(web, shop, till, first.user_id)
    audit = await manage(web, shop, "GET", "audit", params={"action": "till.enter"})
    assert [entry["actor"]["id"] for entry in audit.json()["data"]] == [
        str(first.user_id),
        str(second.user_id),
        str(first.user_id),
    ]


async def test_a_pin_is_of_no_use_without_a_till(web: Web, shop: Shop, other_shop: Shop) -> None:
    staff = await with_pin(web, shop)
    till = await open_till(web, shop)
    path, body = f"/manage/{shop.store_id}/till/enter", {"userId": str(staff.user_id), "pin": PIN}
    for headers in (
        {},
        {"sessiontoken": shop.session},
        {"sessiontoken": till},
        {"tilltoken": shop.session},
        {"tilltoken": shop.token},
        {"tilltoken": "x" * 43},
    ):
        assert (await web.post(path, headers=headers, json=body)).status_code == 401
    # A till of another shop is told that there is no such store, or that the PIN is wrong.
    foreign = await open_till(web, other_shop)
    assert (await web.post(path, headers={"tilltoken": foreign}, json=body)).status_code == 404
    refused = await enter(web, other_shop, foreign, staff.user_id)
    assert (refused.status_code, code_of(refused)) == (422, "wrong-pin")
    # The till's token is no session of anybody's.
    assert await stock_status(web, shop.store_id, till) == 401
    assert (await manage(web, shop, "GET", "sessions", session=till)).status_code == 401
    assert (await enter(web, shop, till, staff.user_id)).status_code == 200


async def test_a_pin_holds_at_one_store(web: Web, shop: Shop) -> None:
    staff, there = await hire_at_both(shop, Role.CASHIER)
    await set_pin(web, shop, PIN, staff.session)
    opened = await web.post(f"/manage/{shop.second_store_id}/till", headers={"sessiontoken": shop.session})
    assert opened.status_code == 404
    path = f"/cloudapi/user/{shop.user_id}/switchStore/{shop.second_store_id}"
    owner = (await web.get(path, headers={"sessiontoken": shop.session})).json()["sessionId"]
    base = f"/manage/{shop.second_store_id}/till"
    till = (await web.post(base, headers={"sessiontoken": owner})).json()["tillToken"]
    body = {"userId": str(staff.user_id), "pin": PIN}
    refused = await web.post(f"{base}/enter", headers={"tilltoken": till}, json=body)
    assert (refused.status_code, code_of(refused)) == (422, "wrong-pin")
    pin = f"/manage/{shop.second_store_id}/pin"
    await web.put(pin, headers={"sessiontoken": there}, json={"pin": PIN, "password": PASSWORD})
    right = await web.post(f"{base}/enter", headers={"tilltoken": till}, json=body)
    assert right.status_code == 200


async def test_what_a_pin_opened_sells_and_changes_nothing_beyond_the_store(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    till = await open_till(web, shop)
    await set_pin(web, shop, PIN, shop.session)
    token = await entered(web, shop, till, shop.user_id)
    headers = {"sessiontoken": token}
    account = f"/cloudapi/user/{shop.user_id}"
    refused = [
        await web.get(f"{account}/switchStore/{shop.second_store_id}", headers=headers),
        await web.post(f"{account}/createNewLocation", headers=headers, json={}),
        await web.put(account, headers=headers, json={"email": "thief@shop.example"}),
        await web.post(users_of(shop.store_id), headers=headers, json=new_person()),
        await manage(web, shop, "POST", "till", session=token),
        await manage(web, shop, "GET", "tokens", session=token),
        await manage(web, shop, "DELETE", "sessions", session=token),
        await set_pin(web, shop, "7304", token),
        await manage(web, shop, "POST", "second-factor", session=token, json={"password": PASSWORD}),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused), [a.text for a in refused]
    for mine in await sessions(web, shop):
        if not mine["isCurrent"] and not mine["atTill"]:
            path = f"sessions/{mine['sessionId']}"
            assert (await manage(web, shop, "DELETE", path, session=token)).status_code == 403
    # The control: the same calls of a log-in are let in, and the till may do the shop's own work.
    assert (await manage(web, shop, "GET", "tokens")).status_code == 200
    assert await stock_status(web, shop.store_id, token) == 200
    row = await schema_owner.fetchrow(
        "SELECT idle_after, expires_at - created_at AS whole FROM session WHERE token_hash = $1",
        token_hash(token),
    )
    assert row is not None
    assert (row["idle_after"].total_seconds(), row["whole"].total_seconds()) == (15 * 60, 12 * 3600)


def test_the_rights_that_no_pin_brings_are_the_ones_over_people_money_and_proofs() -> None:
    assert sorted(NOT_BY_PIN) == [
        "audit.read",
        "bank.read",
        "bank.write",
        "complaint.write",
        "customer.erase",
        "customer.suspend",
        "message.send",
        "store.write",
        "till.open",
        "token.write",
        "user.write",
    ]


@pytest.mark.parametrize("ending", ["the till", "its opener", "role", "suspended", "removed PIN"])
async def test_what_ends_with_a_till_or_with_somebodys_standing(web: Web, shop: Shop, ending: str) -> None:
    opener = await hire(shop, Role.MANAGER, shop.store_id)
    answer = await manage(web, shop, "POST", "till", session=opener.session)
    till, till_id = answer.json()["tillToken"], answer.json()["sessionId"]
    staff = await with_pin(web, shop)
    token = await entered(web, shop, till, staff.user_id)
    assert await stock_status(web, shop.store_id, token) == 200
    if ending == "the till":
        await manage(web, shop, "DELETE", f"sessions/{till_id}", session=opener.session)
    elif ending == "its opener":
        await edit(web, shop, opener.user_id, status="suspended")
    elif ending == "role":
        await edit(web, shop, staff.user_id, role="MANAGER")
    elif ending == "suspended":
        await edit(web, shop, staff.user_id, status="suspended")
    else:
        await set_pin(web, shop, None, staff.session)
    assert await stock_status(web, shop.store_id, token) == 401
    again = (await enter(web, shop, till, staff.user_id)).status_code
    expected = {"the till": 401, "its opener": 401, "role": 200, "suspended": 422, "removed PIN": 422}
    assert again == expected[ending]


async def test_all_others_that_somebody_ends_leave_their_tills_open(web: Web, shop: Shop) -> None:
    till = await open_till(web, shop)
    staff = await with_pin(web, shop)
    assert (await manage(web, shop, "DELETE", "sessions")).status_code == 200
    await entered(web, shop, till, staff.user_id)


# PINs ----------------------------------------------------------------------------------------------

WEAK = ["1234", "0000", "9876", "7890", "1212", "123123", "345678", "1998", "2026", "2580", "1121", "121212"]


@pytest.mark.parametrize("pin", WEAK)
async def test_a_pin_that_anybody_would_try_first_is_refused(web: Web, shop: Shop, pin: str) -> None:
    refused = await set_pin(web, shop, pin, shop.session)
    assert (refused.status_code, code_of(refused)) == (422, "weak-pin")
    if pin == WEAK[0]:
        added = await web.post(
            users_of(shop.store_id), headers={"sessiontoken": shop.session}, json=new_person(posPin=pin)
        )
        assert (added.status_code, code_of(added)) == (422, "weak-pin")
        changed = await edit(web, shop, shop.user_id, posPin=pin)
        assert (changed.status_code, code_of(changed)) == (422, "weak-pin")


@pytest.mark.parametrize("pin", ["4829", "73041", "902817"])
async def test_other_pins_are_taken_with_the_password(web: Web, shop: Shop, pin: str) -> None:
    body = {"pin": pin, "password": "guess"}
    wrong = await manage(web, shop, "PUT", "pin", json=body)
    assert (wrong.status_code, code_of(wrong)) == (422, "wrong-password")
    assert (await set_pin(web, shop, pin, shop.session)).json() == {"hasPin": True}
    assert (await set_pin(web, shop, None, shop.session)).json() == {"hasPin": False}


async def test_tries_are_counted_for_one_person_over_all_tills_of_the_store(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    tills = [await open_till(web, shop) for _ in range(2)]
    staff, other = await with_pin(web, shop), await with_pin(web, shop)
    for number in range(5):
        refused = await enter(web, shop, tills[number % 2], staff.user_id, "9304")
        assert (refused.status_code, code_of(refused)) == (422, "wrong-pin")
    bucket = Tries("pin", f"{staff.user_id}\n{shop.store_id}", 5).bucket
    # As after four more, so that the wait outlasts this test.
    await schema_owner.execute(
        "UPDATE rate_bucket SET level = level + 4, since = clock_timestamp() WHERE bucket = $1", bucket
    )
    for till in tills:
        assert (await enter(web, shop, till, staff.user_id)).status_code == 429
    assert (await enter(web, shop, tills[0], other.user_id)).status_code == 200
    await schema_owner.execute(
        "UPDATE rate_bucket SET since = since - interval '1 hour' WHERE bucket = $1", bucket
    )
    assert (await enter(web, shop, tills[0], staff.user_id)).status_code == 200


async def test_whoever_is_not_there_is_answered_like_a_wrong_pin(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    till = await open_till(web, shop)
    bare = await hire(shop, Role.CASHIER, shop.store_id)
    elsewhere = await hire(shop, Role.CASHIER, shop.second_store_id)
    unknown: list[UUID | str] = [bare.user_id, elsewhere.user_id, other_shop.user_id, new_id(), "nonsense"]
    answers = [await enter(web, shop, till, one) for one in unknown]
    assert {(one.status_code, code_of(one)) for one in answers} == {(422, "wrong-pin")}
