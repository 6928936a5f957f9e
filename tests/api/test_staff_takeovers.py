"""Nobody comes into another's place: by an address they wrote into their profile, or by managing a person."""

import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.merchants.actions import claim_login
from kasuwa.domain.permissions import Role
from tests.accounts import ACCESS, log_in, messages_to
from tests.client import Web
from tests.contract.cast import Staff, hire
from tests.mobiles import new_mobile
from tests.people import add, code_of, edit, hire_at_both, new_person, remove, users_of
from tests.shop import PASSWORD, Shop

GIVEN = "seven green baskets"


async def let_log_in(shop: Shop, staff: Staff) -> None:
    async with shop.owner.transaction() as db:
        assert await claim_login(db, staff.user_id, staff.email, "email", is_proved=True)


async def test_an_address_that_nobody_proved_joins_no_account(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    bob = f"bob.{new_id().hex}@shop.example"
    eve = await hire(shop, Role.CASHIER, shop.second_store_id)
    await let_log_in(shop, eve)
    path = f"/cloudapi/user/{eve.user_id}"
    written = await web.put(path, headers={"sessiontoken": eve.session}, json={"email": bob})
    assert written.status_code == 200, written.text
    added = await add(web, shop, email=bob, role="MANAGER")
    assert added.status_code == 200, added.text
    assert added.json()["userId"] != str(eve.user_id)
    places = (await log_in(web, app_headers, eve.email, PASSWORD)).json()["tokens"]
    assert {one["storeId"] for one in places} == {str(shop.second_store_id)}
    # Who has the address is invited to it, and comes in.
    told = await messages_to(web.services, bob)
    [invitation] = [one for one in told if one["template"] == "invitation-email"]
    body = {"username": bob, "code": invitation["code"], "newPassword": GIVEN}
    assert (await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)).status_code == 200
    [place] = (await log_in(web, app_headers, bob)).json()["tokens"]
    assert (place["storeId"], place["role"]) == (str(shop.store_id), "MANAGER")


async def test_an_open_account_with_an_address_that_nobody_proved_is_not_joined(web: Web, shop: Shop) -> None:
    bob = f"bob.{new_id().hex}@shop.example"
    opened = await add(web, shop, username=f"till-{new_id().hex}", email=bob, password=GIVEN)
    added = await add(web, shop, email=bob, role="MANAGER")
    assert added.status_code == 200, added.text
    assert added.json()["userId"] != opened.json()["userId"]


@pytest.mark.parametrize(
    ("beside", "chooses"),
    [
        pytest.param({}, "neither", id="alike"),
        pytest.param({"password": "nine brown kettles"}, "the first", id="password, the first"),
        pytest.param({"password": "nine brown kettles"}, "the second", id="password, the second"),
        pytest.param({"mobile": True}, "the first", id="mobile, the first"),
        pytest.param({"mobile": True}, "the second", id="mobile, the second"),
    ],
)
async def test_who_is_invited_twice_has_one_account_that_only_they_can_open(
    web: Web, shop: Shop, app_headers: dict[str, str], beside: dict[str, object], chooses: str
) -> None:
    bob = f"bob.{new_id().hex}@shop.example"
    facts = {"mobile": new_mobile()} if "mobile" in beside else beside
    first_facts, second_facts = (facts, {}) if chooses == "the first" else ({}, facts)
    at_both = await hire_at_both(shop, Role.OWNER)
    first = await web.post(
        users_of(shop.second_store_id),
        headers={"sessiontoken": at_both[1]},
        json=new_person(email=bob, **first_facts),
    )
    assert first.status_code == 200, first.text
    again = await add(web, shop, email=bob, role="MANAGER", **second_facts)
    assert again.status_code == 200, again.text
    # With another address beside it the invitation could be taken by whoever has that one.
    assert (again.json()["userId"] == first.json()["userId"]) == ("mobile" not in beside)
    if "password" in beside:
        for mail in await messages_to(web.services, bob):
            proof = {"accountId": first.json()["accountId"], "channel": "email", "code": mail["code"]}
            await web.post(f"{ACCESS}verify", headers=app_headers, json=proof)
        assert (await log_in(web, app_headers, bob, "nine brown kettles")).status_code == 401
    if not beside:
        statuses = []
        for mail in await messages_to(web.services, bob):
            body = {"username": bob, "code": mail["code"], "newPassword": GIVEN}
            answer = await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)
            statuses.append(answer.status_code)
        # The second code took the first one's place; which mail left first is the queue's affair.
        assert sorted(statuses) == [200, 422]
        places = (await log_in(web, app_headers, bob)).json()["tokens"]
        assert {one["role"] for one in places} == {"MANAGER", "CASHIER"}


async def test_nobody_changes_the_address_or_pin_of_who_may_do_more(web: Web, shop: Shop) -> None:
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    await edit(web, shop, manager.user_id, extraPermissions=["user.write"])
    mail = f"eve.{new_id().hex}@shop.example"
    # The control: of who may do no more the manager changes both.
    for change in ({"email": f"a{mail}"}, {"posPin": "4821"}):
        allowed = await edit(web, shop, cashier.user_id, session=manager.session, **change)
        assert allowed.status_code == 200, allowed.text
    await edit(web, shop, cashier.user_id, extraPermissions=["bank.write"])
    for change, code in (({"email": mail}, "person-of-others-too"), ({"posPin": "4822"}, "rank-too-high")):
        refused = await edit(web, shop, cashier.user_id, session=manager.session, **change)
        assert (refused.status_code, code_of(refused)) == (403, code), refused.text
    suspended = await edit(web, shop, cashier.user_id, session=manager.session, status="suspended")
    assert suspended.status_code == 200


async def test_ones_own_pin_takes_the_password(web: Web, shop: Shop) -> None:
    refused = await edit(web, shop, shop.user_id, posPin="4821")
    assert (refused.status_code, code_of(refused)) == (403, "own-standing")
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    await edit(web, shop, staff.user_id, posPin="4821")
    trail = await web.get(
        f"/manage/{shop.store_id}/audit",
        headers={"sessiontoken": shop.session},
        params={"action": "user.set_pin"},
    )
    [entry] = trail.json()["data"]
    assert (entry["subject"]["id"], entry["after"]) == (str(staff.user_id), {"hasPin": True})


async def test_a_manager_removes_no_owner_though_another_is_left(web: Web, shop: Shop) -> None:
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    owner = await hire(shop, Role.OWNER, shop.store_id)
    await edit(web, shop, manager.user_id, extraPermissions=["user.write"])
    refused = await remove(web, shop, owner.user_id, session=manager.session)
    assert (refused.status_code, code_of(refused)) == (403, "rank-too-high")
    assert (await remove(web, shop, owner.user_id)).status_code == 200


async def test_a_log_in_opens_where_one_may_be(web: Web, shop: Shop, app_headers: dict[str, str]) -> None:
    staff, _ = await hire_at_both(shop, Role.MANAGER)
    await let_log_in(shop, staff)
    assert (await edit(web, shop, staff.user_id, status="suspended")).status_code == 200
    entered = await log_in(web, app_headers, staff.email, PASSWORD)
    [place] = entered.json()["tokens"]
    assert place["storeId"] == str(shop.second_store_id)
    mine = await web.get(f"/cloudapi/user/{staff.user_id}", headers={"sessiontoken": place["sessiontoken"]})
    assert mine.status_code == 200
    with_account = {"authorization": f"Bearer {entered.json()['accessToken']}"}
    countries = await web.get("/cloudapi/utils/countries", headers=with_account)
    assert countries.status_code == 200, countries.text
