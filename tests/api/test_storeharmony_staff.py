"""People of a store over the StoreHarmony API: listing, adding, changing and removing them."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.merchants.actions import claim_login
from kasuwa.domain.permissions import Role
from kasuwa.domain.staff.actions import remove_staff
from tests.accounts import ACCESS, log_in, messages_to
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.mobiles import as_dialled, new_mobile
from tests.people import add, code_of, edit, hire_at_both, new_person, remove, stock_status, users_of
from tests.shop import Shop

# Adding -------------------------------------------------------------------------------------------


async def test_an_invited_person_sets_a_password_with_the_code_and_works_at_that_location_only(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    added = await add(web, shop, posPin="4821")
    assert added.status_code == 200, added.text
    user = added.json()
    assert (user["status"], user["role"], user["createdBy"]) == ("invited", "CASHIER", str(shop.user_id))
    assert user["userId"] == user["accountId"]
    assert "4821" not in added.text
    [mail] = await messages_to(web.services, user["email"])
    assert (mail["template"], mail["code"] in mail["text"]) == ("invitation-email", True)
    assert (await log_in(web, app_headers, user["email"])).status_code == 401
    body = {"username": user["email"], "code": mail["code"], "newPassword": "seven green baskets"}
    assert (await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)).status_code == 200
    entered = (await log_in(web, app_headers, user["email"])).json()
    [token] = entered["tokens"]
    assert (token["storeId"], token["role"]) == (str(shop.store_id), "CASHIER")
    assert await stock_status(web, shop.store_id, token["sessiontoken"]) == 200
    assert await stock_status(web, shop.second_store_id, token["sessiontoken"]) == 404
    headers = {"sessiontoken": token["sessiontoken"]}
    assert (await web.get(users_of(shop.store_id), headers=headers)).status_code == 403
    read = await web.get(users_of(shop.store_id, user["userId"]), headers={"sessiontoken": shop.session})
    assert read.json()["status"] == "active"
    assert read.json()["lastLoginAt"] is not None


async def test_further_locations_are_opened_with_the_same_role(web: Web, shop: Shop) -> None:
    added = await add(web, shop, role="MANAGER", storeIds=[str(shop.second_store_id)])
    places = {one["storeId"]: one["role"] for one in added.json()["stores"]}
    assert places == {str(shop.store_id): "MANAGER", str(shop.second_store_id): "MANAGER"}


async def test_a_password_and_a_user_name_open_the_account_at_once(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    name, email = f"till-{new_id().hex}", f"till.{new_id().hex}@shop.example"
    added = await add(web, shop, username=name, email=email, password="seven green baskets")
    assert added.json()["status"] == "active"
    assert (await log_in(web, app_headers, name)).status_code == 200
    # The address logs in once it is proved; until then its owner may open an account of their own.
    assert (await log_in(web, app_headers, email)).status_code == 401
    mails = await messages_to(web.services, email)
    proof = {"accountId": added.json()["accountId"], "channel": "email", "code": mails[0]["code"]}
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=proof)).status_code == 200
    assert (await log_in(web, app_headers, email)).status_code == 200


async def test_a_password_alone_works_when_the_address_is_proved(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    added = (await add(web, shop, password="seven green baskets")).json()
    assert added["status"] == "invited"
    refused = await log_in(web, app_headers, added["email"])
    assert (refused.status_code, code_of(refused)) == (401, "wrong-credentials")
    [mail] = await messages_to(web.services, added["email"])
    proof = {"accountId": added["accountId"], "channel": "email", "code": mail["code"]}
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=proof)).status_code == 200
    assert (await log_in(web, app_headers, added["email"])).status_code == 200


async def test_a_mobile_alone_is_enough(web: Web, shop: Shop, app_headers: dict[str, str]) -> None:
    number = new_mobile()
    added = (await add(web, shop, email=None, mobile=as_dialled(number))).json()
    assert (added["email"], added["mobile"]) == (None, number)
    [sms] = await messages_to(web.services, added["mobile"])
    assert (sms["channel"], sms["template"]) == ("sms", "invitation-mobile")
    body = {"username": number, "code": sms["code"], "newPassword": "seven green baskets"}
    assert (await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)).status_code == 200
    entered = await web.post(
        f"{ACCESS}login", headers=app_headers, json={"userToken": number, "passToken": "seven green baskets"}
    )
    assert entered.status_code == 200, entered.text
    # A lost code is no dead end: another one goes to the only address there is.
    ask = {"username": number, "channel": "email"}
    assert (await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=ask)).status_code == 200
    assert (await messages_to(web.services, added["mobile"]))[-1]["template"] == "reset-password"
    asked = {"accountId": added["accountId"], "channel": "email"}
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=asked)).status_code == 422


async def test_an_address_of_another_business_is_answered_like_a_new_one(
    web: Web, shop: Shop, other_shop: Shop, app_headers: dict[str, str]
) -> None:
    fresh, taken = await add(web, shop), await add(web, shop, email=other_shop.email)
    assert taken.status_code == fresh.status_code == 200
    own = {"userId", "accountId", "username", "email", "createdAt", "updatedAt"}
    assert {k: v for k, v in taken.json().items() if k not in own} == {
        k: v for k, v in fresh.json().items() if k not in own
    }
    mails = await messages_to(web.services, other_shop.email)
    assert [(mail["template"], mail["code"]) for mail in mails] == [("invitation-email", None)]
    # Their own account is as it was.
    entered = await log_in(web, app_headers, other_shop.email, "correct horse battery staple")
    assert {one["storeId"] for one in entered.json()["tokens"]} == {
        str(other_shop.store_id),
        str(other_shop.second_store_id),
    }


async def test_somebody_of_the_business_joins_another_location_as_they_are(web: Web, shop: Shop) -> None:
    staff = await hire(shop, Role.CASHIER, shop.second_store_id)
    added = await add(web, shop, email=staff.email.upper(), firstname="Somebody", role="MANAGER")
    assert added.status_code == 200, added.text
    user = added.json()
    assert (user["userId"], user["firstname"], user["status"]) == (str(staff.user_id), "Musa", "active")
    assert {one["role"] for one in user["stores"]} == {"MANAGER", "CASHIER"}
    again = await add(web, shop, email=staff.email)
    assert (again.status_code, code_of(again)) == (409, "user-there-already")
    # The session at the other location is as it was.
    assert await stock_status(web, shop.second_store_id, staff.session) == 200


async def test_seats_are_not_overbooked_however_many_come_at_once(web: Web, shop: Shop) -> None:
    answers = await asyncio.gather(*(add(web, shop) for _ in range(12)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 4 + [409] * 8  # five seats, one is the owner's
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert code_of(refused) == "seats-used-up"
    listed = await web.get(users_of(shop.store_id), headers={"sessiontoken": shop.session})
    assert listed.json()["totalElements"] == 5
    full = await add(web, shop, storeIds=[str(shop.second_store_id)])
    assert full.status_code == 409


async def test_one_key_adds_one_person(web: Web, shop: Shop) -> None:
    body, headers = new_person(), {"sessiontoken": shop.session, "idempotency-key": new_id().hex}
    answers = await asyncio.gather(
        *(web.post(users_of(shop.store_id), headers=headers, json=body) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(await messages_to(web.services, body["email"])) == 1


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"role": "CAPTAIN"}, "/role"),
        ({"role": "owner"}, "/role"),
        ({"extraPermissions": ["stock.read", "shop.burn"]}, "/extraPermissions/1"),
        ({"email": "ｂola@shop.example"}, "/email"),
        ({"email": "bola@localhost"}, "/email"),
        ({"email": "bola\u0000@shop.example"}, "/email"),
        ({"mobile": "12345678"}, "/mobile"),
        ({"mobile": "0803123456789012"}, "/mobile"),
        ({"mobile": "+999 803 123 4567"}, "/mobile"),
        ({"password": "1q2w3e4r5t"}, "/password"),
        ({"posPin": "12a4"}, "/posPin"),
        ({"username": "somebody@else.example"}, "/username"),
        ({"firstname": "x" * 81}, "/firstname"),
        ({"storeIds": ["nowhere"]}, "/storeIds/0"),
        ({"storeIds": [str(new_id())]}, "/storeIds/0"),
        ({"isOwner": True}, "/isOwner"),
    ],
)
async def test_a_value_that_cannot_be_is_named(
    web: Web, shop: Shop, change: dict[str, Any], pointer: str
) -> None:
    answer = await add(web, shop, **change)
    assert answer.status_code in (400, 422), answer.text
    if answer.status_code == 422:
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_a_foreign_location_is_as_unknown_as_any_other(web: Web, shop: Shop, other_shop: Shop) -> None:
    foreign = await add(web, shop, storeIds=[str(other_shop.store_id)])
    assert (foreign.status_code, code_of(foreign)) == (422, "unknown-location")


async def test_a_look_alike_address_is_somebody_else(web: Web, shop: Shop) -> None:
    """A Cyrillic letter that looks like a Latin one makes another address: it never joins the account."""
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    answer = await add(web, shop, email=staff.email.replace("staff", "st\u0430ff"))
    if answer.status_code == 200:
        assert answer.json()["userId"] != str(staff.user_id)
        assert answer.json()["status"] == "invited"
    else:
        assert answer.status_code == 422


async def test_neither_email_nor_mobile_and_a_huge_body_are_refused(web: Web, shop: Shop) -> None:
    assert (await add(web, shop, email=None)).status_code == 422
    assert (await add(web, shop, firstname="x" * 11 * 2**20)).status_code == 413


# Who may do what to whom --------------------------------------------------------------------------


async def test_nobody_makes_their_equal(web: Web, shop: Shop) -> None:
    refused = await add(web, shop, role="OWNER")
    assert (refused.status_code, code_of(refused)) == (403, "rank-too-high")
    staff = await hire(shop, Role.MANAGER, shop.store_id)
    assert (await edit(web, shop, staff.user_id, role="OWNER")).status_code == 403


async def test_a_manager_who_was_given_the_right_manages_those_below(web: Web, shop: Shop) -> None:
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    other = await hire(shop, Role.MANAGER, shop.store_id)
    assert (await add(web, shop, session=manager.session)).status_code == 403
    given = await edit(web, shop, manager.user_id, extraPermissions=["user.write"])
    assert "user.write" in given.json()["permissions"]
    # On the very next request, with the session that was open.
    added = await add(web, shop, session=manager.session)
    assert added.status_code == 200, added.text
    for refused in (
        await add(web, shop, session=manager.session, role="MANAGER"),
        await edit(web, shop, other.user_id, session=manager.session, role="CASHIER"),
        await remove(web, shop, shop.user_id, session=manager.session),
        await edit(web, shop, added.json()["userId"], session=manager.session, role="MANAGER"),
    ):
        assert (refused.status_code, code_of(refused)) in ((403, "rank-too-high"), (409, "last-owner"))
    more = await edit(
        web, shop, added.json()["userId"], session=manager.session, extraPermissions=["bank.write"]
    )
    assert more.status_code == 422
    taken = await edit(web, shop, manager.user_id, extraPermissions=[])
    assert "user.write" not in taken.json()["permissions"]
    assert (await add(web, shop, session=manager.session)).status_code == 403


async def test_nobody_removes_or_demotes_themselves_and_the_last_owner_stays(web: Web, shop: Shop) -> None:
    for answer in (
        await remove(web, shop, shop.user_id),
        await edit(web, shop, shop.user_id, role="CASHIER"),
        await edit(web, shop, shop.user_id, status="suspended"),
    ):
        assert (answer.status_code, code_of(answer)) == (409, "last-owner")
    second = await hire(shop, Role.OWNER, shop.store_id)
    for answer in (
        await remove(web, shop, shop.user_id),
        await edit(web, shop, shop.user_id, role="CASHIER"),
        await edit(web, shop, shop.user_id, status="suspended"),
    ):
        assert (answer.status_code, code_of(answer)) == (403, "own-standing")
    # Who says what they are already changes nothing.
    same = await edit(web, shop, shop.user_id, role="OWNER", status="active", firstname="Adaeze")
    assert (same.status_code, same.json()["firstname"]) == (200, "Adaeze")
    assert (await remove(web, shop, second.user_id)).status_code == 200


async def test_two_owners_cannot_take_each_other_off(web: Web, shop: Shop) -> None:
    second = await hire(shop, Role.OWNER, shop.store_id)
    answers = await asyncio.gather(
        remove(web, shop, second.user_id), remove(web, shop, shop.user_id, session=second.session)
    )
    assert sorted(answer.status_code for answer in answers)[0] == 200
    assert sorted(answer.status_code for answer in answers)[1] in (401, 409)


# Changes hold at once, and at one location --------------------------------------------------------


async def test_a_removed_person_is_out_there_at_once_and_stays_elsewhere(web: Web, shop: Shop) -> None:
    staff, elsewhere = await hire_at_both(shop, Role.CASHIER)
    removed = await remove(web, shop, staff.user_id)
    assert removed.status_code == 200, removed.text
    assert (removed.json()["userId"], removed.json()["sessionsEnded"]) == (str(staff.user_id), 1)
    assert await stock_status(web, shop.store_id, staff.session) == 401
    assert await stock_status(web, shop.second_store_id, elsewhere) == 200
    assert (await remove(web, shop, staff.user_id)).status_code == 404
    # Coming back does not bring an old session back.
    assert (await add(web, shop, email=staff.email)).json()["userId"] == str(staff.user_id)
    assert await stock_status(web, shop.store_id, staff.session) == 401


async def test_who_works_nowhere_any_more_cannot_log_in_and_frees_the_address(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    assert (await remove(web, shop, staff.user_id)).status_code == 200
    again = (await add(web, shop, email=staff.email)).json()
    assert again["userId"] != str(staff.user_id)
    [mail] = [m for m in await messages_to(web.services, staff.email) if m["code"]]
    body = {"username": staff.email, "code": mail["code"], "newPassword": "seven green baskets"}
    assert (await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)).status_code == 200
    assert (await log_in(web, app_headers, staff.email)).json()["accountId"] == again["accountId"]


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"role": "MANAGER"}])
async def test_a_change_of_role_or_status_ends_the_sessions_there(
    web: Web, shop: Shop, change: dict[str, Any]
) -> None:
    staff, elsewhere = await hire_at_both(shop, Role.CASHIER)
    changed = await edit(web, shop, staff.user_id, **change)
    assert changed.status_code == 200, changed.text
    assert changed.json().items() >= change.items()
    assert await stock_status(web, shop.store_id, staff.session) == 401
    assert await stock_status(web, shop.second_store_id, elsewhere) == 200


async def test_a_suspended_person_cannot_come_in_there_until_they_are_active_again(
    web: Web, shop: Shop
) -> None:
    staff, elsewhere = await hire_at_both(shop, Role.CASHIER)
    await edit(web, shop, staff.user_id, status="suspended")
    account, headers = f"/cloudapi/user/{staff.user_id}", {"sessiontoken": elsewhere}
    locations = await web.get(f"{account}/locations", headers=headers)
    assert [one["storeId"] for one in locations.json()] == [str(shop.second_store_id)]
    switched = await web.get(f"{account}/switchStore/{shop.store_id}", headers=headers)
    assert switched.status_code == 404
    assert (await edit(web, shop, staff.user_id, status="active")).json()["status"] == "active"
    switched = await web.get(f"{account}/switchStore/{shop.store_id}", headers=headers)
    assert switched.status_code == 200


async def test_a_name_is_changed_by_who_manages_all_that_the_person_works_at(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    boss = await hire(shop, Role.OWNER, shop.store_id)
    everywhere, _ = await hire_at_both(shop, Role.CASHIER)
    here = await hire(shop, Role.CASHIER, shop.store_id)
    refused = await edit(web, shop, everywhere.user_id, session=boss.session, lastname="Okafor")
    assert (refused.status_code, code_of(refused)) == (403, "person-of-others-too")
    done = await edit(web, shop, here.user_id, session=boss.session, lastname="Okafor")
    assert (done.status_code, done.json()["lastname"]) == (200, "Okafor")
    assert (await edit(web, shop, everywhere.user_id, lastname="Okafor")).status_code == 200


async def test_a_new_address_is_proved_before_it_logs_in(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    async with shop.owner.transaction() as db:
        await claim_login(db, staff.user_id, staff.email, "email", is_proved=True)
    new = f"musa.{new_id().hex}@shop.example"
    changed = await edit(web, shop, staff.user_id, email=new)
    assert (changed.status_code, changed.json()["email"]) == (200, new)
    [told] = await messages_to(web.services, staff.email)
    assert told["template"] == "address-changed"
    password = "correct horse battery staple"
    assert (await log_in(web, app_headers, staff.email, password)).status_code == 200
    assert (await log_in(web, app_headers, new, password)).status_code == 401
    [mail] = await messages_to(web.services, new)
    proof = {"accountId": str(staff.user_id), "channel": "email", "code": mail["code"]}
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=proof)).status_code == 200
    assert (await log_in(web, app_headers, new, password)).status_code == 200
    assert (await log_in(web, app_headers, staff.email, password)).status_code == 401
    other = await hire(shop, Role.CASHIER, shop.store_id)
    taken = await edit(web, shop, other.user_id, email=new)
    assert (taken.status_code, code_of(taken)) == (409, "login-name-taken")


async def test_a_mistyped_address_of_an_invited_person_is_put_right(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    wrong = (await add(web, shop)).json()
    [first] = await messages_to(web.services, wrong["email"])
    right = f"bola.{new_id().hex}@shop.example"
    changed = await edit(web, shop, wrong["userId"], email=right)
    assert (changed.json()["email"], changed.json()["status"]) == (right, "invited")
    [mail] = await messages_to(web.services, right)
    assert mail["template"] == "invitation-email"
    # Whoever got the first code by mistake has nothing from it.
    for name in (wrong["email"], right):
        body = {"username": name, "code": first["code"], "newPassword": "seven green baskets"}
        if first["code"] != mail["code"]:
            refused = await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)
            assert refused.status_code == 422
    body = {"username": right, "code": mail["code"], "newPassword": "seven green baskets"}
    assert (await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)).status_code == 200
    assert (await log_in(web, app_headers, right)).status_code == 200


async def test_if_match_guards_against_a_change_in_between(web: Web, shop: Shop) -> None:
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    path, headers = users_of(shop.store_id, staff.user_id), {"sessiontoken": shop.session}
    tag = (await web.get(path, headers=headers)).headers["etag"]
    first = await web.put(path, headers=headers | {"if-match": tag}, json={"lastname": "Okafor"})
    assert first.status_code == 200, first.text
    second = await web.put(path, headers=headers | {"if-match": tag}, json={"lastname": "Eze"})
    assert second.status_code == 412


# Lists --------------------------------------------------------------------------------------------


async def test_the_list_is_of_the_location_or_of_all_that_the_caller_may_see(web: Web, shop: Shop) -> None:
    here = await hire(shop, Role.CASHIER, shop.store_id)
    there = await hire(shop, Role.MANAGER, shop.second_store_id)

    async def listed(session: str = shop.session, **query: Any) -> list[str]:
        answer = await web.get(users_of(shop.store_id), headers={"sessiontoken": session}, params=query)
        assert answer.status_code == 200, answer.text
        return [user["userId"] for user in answer.json()["data"]]

    owner = str(shop.user_id)
    assert await listed() == [owner, str(here.user_id)]
    assert await listed(scope="account") == [owner, str(here.user_id), str(there.user_id)]
    assert await listed(scope="account", role="MANAGER") == [str(there.user_id)]
    assert await listed(search=here.email[:20].upper()) == [str(here.user_id)]
    assert await listed(search="musa bello") == [str(here.user_id)]
    assert await listed(search="%") == []
    assert await listed(status="suspended") == []
    # A manager of one location sees nobody of another.
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    assert str(there.user_id) not in await listed(manager.session, scope="account")


async def test_pages_follow_each_other_by_number_and_by_cursor(web: Web, shop: Shop) -> None:
    for _ in range(3):
        await hire(shop, Role.CASHIER, shop.store_id)
    headers = {"sessiontoken": shop.session}
    first = (await web.get(users_of(shop.store_id), headers=headers, params={"size": 3})).json()
    assert (first["totalElements"], first["totalPages"], len(first["data"])) == (4, 2, 3)
    by_number = await web.get(users_of(shop.store_id), headers=headers, params={"size": 3, "page": 2})
    by_cursor = await web.get(
        users_of(shop.store_id), headers=headers, params={"size": 3, "cursor": first["nextCursor"]}
    )
    assert by_number.json()["data"] == by_cursor.json()["data"]
    assert by_number.json()["nextCursor"] is None
    for query in ({"cursor": "x"}, {"role": "CAPTAIN"}, {"size": 200, "page": 51}, {"size": 0}):
        refused = await web.get(users_of(shop.store_id), headers=headers, params=query)
        assert refused.status_code == 400, refused.text


async def test_who_did_what_is_kept(web: Web, shop: Shop) -> None:
    user = (await add(web, shop)).json()
    await edit(web, shop, user["userId"], role="MANAGER")
    await remove(web, shop, user["userId"])
    audit = await web.get(
        f"/manage/{shop.store_id}/audit",
        headers={"sessiontoken": shop.session},
        params={"subjectid": user["userId"]},
    )
    assert [one["action"] for one in audit.json()["data"]] == ["user.remove", "user.change", "user.add"]
    change = audit.json()["data"][1]
    assert (change["before"]["role"], change["after"]["role"]) == ("CASHIER", "MANAGER")


async def kept_of(schema_owner: SchemaOwner, user_id: UUID) -> str:
    """Every word of the account's row."""
    found: str = await schema_owner.fetchval("SELECT u::text FROM user_account u WHERE user_id = $1", user_id)
    return found


async def test_whoever_works_nowhere_any_more_is_kept_by_name_alone(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    gone, (stays, _) = await hire(shop, Role.CASHIER, shop.store_id), await hire_at_both(shop, Role.CASHIER)
    facts = "UPDATE user_account SET mobile = $2, address = $3, birth_date = '1990-02-03' WHERE user_id = $1"
    words = {}
    for one in (gone, stays):
        words[one.user_id] = [one.email, new_mobile(), f"zqstreet {one.user_id.hex}", "1990-02-03"]
        await schema_owner.execute(facts, one.user_id, *words[one.user_id][1:3])
        before = await kept_of(schema_owner, one.user_id)
        assert all(word in before for word in words[one.user_id])
        await remove_staff(shop.owner, one.user_id)
    name = await schema_owner.fetchval("SELECT first_name FROM user_account WHERE user_id = $1", gone.user_id)
    kept = await kept_of(schema_owner, gone.user_id)
    assert name
    assert not any(word in kept for word in words[gone.user_id])
    # The control: whoever still works at another location keeps everything.
    whole = await kept_of(schema_owner, stays.user_id)
    assert all(word in whole for word in words[stays.user_id])
