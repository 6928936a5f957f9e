"""A shop keeps a customer out, and lets them in again."""

from typing import Any

import pytest

from kasuwa.domain.customers import standing
from kasuwa.domain.customers.sessions import resolve_customer_session
from kasuwa.domain.permissions import Role
from tests.accounts import messages_to
from tests.api.test_manage_customers import ask
from tests.api.test_storeharmony_customers import ask as crm
from tests.api.test_storeharmony_customers import code_for, person
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop

Json = dict[str, Any]


async def set_standing(web: Web, shop: Shop, customer: Json, verb: str, **options: Any) -> Json:
    return await ask(web, shop, f"customers/{customer['customerId']}/{verb}", method="POST", **options)


async def test_a_suspended_customer_is_answered_like_nobody_and_their_sessions_end_at_once(
    web: Web, shop: Shop
) -> None:
    body = person()
    made = await crm(web, shop, "register", body)
    login = {"username": body["email"], "password": body["password"]}
    token = (await crm(web, shop, "login", login))["customertoken"]
    await crm(web, shop, "resetpassword", {"username": body["email"]})
    reset_code = await code_for(web, body["email"])
    suspended = await set_standing(web, shop, made, "suspend")
    assert suspended["customer"]["status"] == "suspended"
    assert await resolve_customer_session(web.services.pool, token) is None
    refused = await crm(web, shop, "login", login, status=401)
    unknown = await crm(web, shop, "login", login | {"username": f"x{body['email']}"}, status=401)
    assert {**refused, "instance": ""} == {**unknown, "instance": ""}
    # Nor does a reset let them in: neither the code that was sent before, nor a new one, which is not sent.
    finish = {"username": body["email"], "code": reset_code, "newPassword": "six tired donkeys"}
    await crm(web, shop, "resetpassword", finish, status=422)
    sent = len(await messages_to(web.services, body["email"]))
    await crm(web, shop, "resetpassword", {"username": body["email"]})
    assert len(await messages_to(web.services, body["email"])) == sent
    # Let in again they log in anew: what had ended stays so.
    resumed = await set_standing(web, shop, made, "resume")
    assert resumed["customer"]["status"] == "active"
    assert await resolve_customer_session(web.services.pool, token) is None
    assert (await crm(web, shop, "login", login))["customerId"] == made["customerId"]


async def test_without_ending_them_the_sessions_would_come_back(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a suspension that only changes the status."""

    async def broken(*args: object) -> int:
        return 0

    monkeypatch.setattr(standing, "end_customer_sessions", broken)
    body = person()
    made = await crm(web, shop, "register", body)
    login = {"username": body["email"], "password": body["password"]}
    token = (await crm(web, shop, "login", login))["customertoken"]
    for verb in ("suspend", "resume"):
        await set_standing(web, shop, made, verb)
    assert await resolve_customer_session(web.services.pool, token) is not None


async def test_a_suspension_is_in_the_trail_once_and_a_repeat_changes_nothing(web: Web, shop: Shop) -> None:
    made = await crm(web, shop, "register", person())
    answers = [await set_standing(web, shop, made, "suspend") for _ in range(2)]
    assert answers[0] == answers[1]
    await set_standing(web, shop, made, "resume")
    trail = (await ask(web, shop, "audit", params={"subject": "customer"}))["data"]
    assert [(one["action"], one["before"], one["after"]) for one in trail[:2]] == [
        ("customer.resume", {"status": "suspended"}, {"status": "active"}),
        ("customer.suspend", {"status": "active"}, {"status": "suspended"}),
    ]
    assert trail[2]["action"] == "customer.register"


async def test_managers_suspend_and_cashiers_do_not_and_nobody_elsewhere(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    made = await crm(web, shop, "register", person())
    for role, status in ((Role.CASHIER, 403), (Role.MANAGER, 200), (Role.OWNER, 200)):
        session = (await hire(shop, role, shop.store_id)).session
        for verb in ("suspend", "resume"):
            await set_standing(web, shop, made, verb, session=session, status=status)
    await set_standing(web, other_shop, made, "suspend", status=404)
    await set_standing(web, shop, {"customerId": "nonsense"}, "suspend", status=404)
    await ask(web, shop, f"customers/{made['customerId']}/erase", method="POST")
    await set_standing(web, shop, made, "suspend", status=404)
