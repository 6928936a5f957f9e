"""Customers of a store: registered, signed in, verified and given a new password by its people."""

from typing import Any

import httpx
import pytest

from kasuwa.base.context import Caller
from kasuwa.base.ids import new_id
from kasuwa.domain.customers.sessions import resolve_customer_session
from kasuwa.domain.merchants.authentication import resolve_session
from kasuwa.domain.messages.actions import choose_language
from tests.accounts import in_e164, messages_to, other_code
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.mobiles import as_dialled, new_mobile
from tests.shop import Shop

Json = dict[str, Any]


def person(**changes: Any) -> Json:
    """A body for crmRegisterCustomer with addresses that nobody else has."""
    mark = new_id().hex
    return {
        "firstname": "Efe",
        "lastname": "Umar",
        "username": f"efe.{mark}",
        "password": "four slow canoes",
        "email": f"efe.{mark}@shop.example",
        "mobile": as_dialled(new_mobile()),
    } | changes


async def ask(
    web: Web, shop: Shop, verb: str, body: Json, *, status: int = 200, store: object = None, key: str = ""
) -> Json:
    sent = {"sessiontoken": shop.session} | ({"idempotency-key": key} if key else {})
    path = f"/cloudapi/crm/{store or shop.store_id}/customers/{verb}"
    answer = await web.post(path, headers=sent, json=body)
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found


async def code_for(web: Web, address: str) -> str:
    code: str = (await messages_to(web.services, address))[-1]["code"]
    return code


def pointers(problem: Json) -> list[str]:
    return [fault["pointer"] for fault in problem["errors"]]


async def test_a_customer_is_registered_verified_and_logs_in_by_each_name(web: Web, shop: Shop) -> None:
    body = person(address="3 Marina", countryCode="NG", birthday=29, birthmonth=2, birthyear=1996)
    made = await ask(web, shop, "register", body)
    assert made["mobile"] == in_e164(body)
    assert (made["birthday"], made["birthmonth"], made["birthyear"]) == (29, 2, 1996)
    assert (made["storeId"], made["country"], made["status"]) == (str(shop.store_id), "Nigeria", "active")
    assert not made["emailVerified"]
    assert not made["mobileVerified"]
    assert "password" not in str(made)
    for verb, name, address in (
        ("verifyemail", "email", body["email"]),
        ("verifymobile", "mobile", in_e164(body)),
    ):
        code = await code_for(web, address)
        await ask(web, shop, verb, {name: body[name], "code": other_code(code)}, status=422)
        proved = await ask(web, shop, verb, {name: body[name], "code": code})
        assert (proved["status"], proved["customerId"]) == ("verified", made["customerId"])
        # It is proved: nobody asks for a code again.
        assert (await ask(web, shop, verb, {name: body[name]}))["status"] == "verified"
        # Nor is any code right: an app that takes "verified" for a proof of the caller is not told so.
        for spent in (code, other_code(code)):
            await ask(web, shop, verb, {name: body[name], "code": spent}, status=422)
    for name in (body["username"].upper(), body["email"], body["mobile"], in_e164(body)):
        entered = await ask(web, shop, "login", {"username": name, "password": body["password"]})
        assert entered["customer"]["emailVerified"]
        assert entered["customer"]["mobileVerified"]
        assert entered["customerId"] == made["customerId"]
    refused = await ask(
        web, shop, "login", {"username": body["email"], "password": "another one"}, status=401
    )
    unknown = await ask(
        web, shop, "login", {"username": f"x{body['email']}", "password": "another one"}, status=401
    )
    assert {**refused, "instance": ""} == {**unknown, "instance": ""}


async def test_a_new_code_is_sent_five_times_an_hour_and_five_guesses_end_it(web: Web, shop: Shop) -> None:
    body = person()
    await ask(web, shop, "register", body)
    code = await code_for(web, body["email"])
    for _ in range(5):
        await ask(web, shop, "verifyemail", {"email": body["email"], "code": other_code(code)}, status=422)
    await ask(web, shop, "verifyemail", {"email": body["email"], "code": code}, status=422)
    for _ in range(5):
        sent = await ask(web, shop, "verifyemail", {"email": body["email"]})
        assert (sent["status"], sent["customerId"], sent["attemptsLeft"]) == ("code_sent", None, 5)
        assert sent["codeExpires"]
        newest = await code_for(web, body["email"])
    await ask(web, shop, "verifyemail", {"email": body["email"]}, status=429)
    assert (await ask(web, shop, "verifyemail", {"email": body["email"], "code": newest}))[
        "status"
    ] == "verified"
    await ask(web, shop, "verifyemail", {"email": f"x{body['email']}"}, status=404)
    await ask(web, shop, "verifymobile", {"mobile": "0803 000 0001"}, status=404)


async def test_a_customers_token_opens_nothing_of_the_staffs_and_theirs_nothing_of_a_customers(
    web: Web, shop: Shop
) -> None:
    body = person()
    made = await ask(web, shop, "register", body)
    entered = await ask(web, shop, "login", {"username": body["email"], "password": body["password"]})
    token, pool = entered["customertoken"], web.services.pool
    assert entered["accessToken"] == token
    assert len(token) >= 43
    session = await resolve_customer_session(pool, token)
    assert session is not None
    assert str(session.customer_id) == made["customerId"]
    assert session.caller("x").permissions == frozenset()
    for kind in ("store", "account", "web"):
        assert await resolve_session(pool, token, kind=kind) is None
    assert await resolve_customer_session(pool, shop.session) is None
    answer = await web.get(f"/manage/{shop.store_id}/customers", headers={"sessiontoken": token})
    assert answer.status_code == 401
    answer = await web.get("/cloudapi/utils/countries", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_tokens_and_codes_are_kept_as_hashes(web: Web, shop: Shop, schema_owner: SchemaOwner) -> None:
    body = person()
    await ask(web, shop, "register", body)
    code = await code_for(web, body["email"])
    entered = await ask(web, shop, "login", {"username": body["email"], "password": body["password"]})
    rows = [
        str(row)
        for table in ("customer_session", "verification_code", "customer", "message")
        for row in await schema_owner.fetch(
            f"SELECT t::text FROM {table} t WHERE merchant_id = $1", shop.merchant_id
        )
    ]
    assert any("argon2id" in row for row in rows)
    for secret in (entered["customertoken"], body["password"]):
        assert not any(secret in row for row in rows)
    assert not any(f",{code}," in row for row in rows)


async def test_one_person_of_a_merchant_whichever_store_and_another_at_the_next_merchant(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    body = person()
    await ask(web, shop, "register", body)
    for name, address in (("email", body["email"]), ("mobile", in_e164(body))):
        proof = {name: body[name], "code": await code_for(web, address)}
        await ask(web, shop, f"verify{name}", proof)
    for name, other in (("email", "mobile"), ("mobile", "email"), ("username", "email")):
        again = person(**{name: body[name].upper() if name == "username" else body[name]})
        taken = await ask(web, shop, "register", again, status=409)
        assert taken["type"].endswith("#customer-name-taken")
        assert pointers(taken) == [f"/{name}"]
        # Nothing of the refused one is kept.
        again[name] = person()[name]
        assert (await ask(web, shop, "register", again))[other]
    theirs = await ask(web, other_shop, "register", body)
    login = {"username": body["email"], "password": body["password"]}
    assert (await ask(web, other_shop, "login", login))["customerId"] == theirs["customerId"]
    # An address alone is enough, and is the user name then.
    alone = await ask(web, shop, "register", {"firstname": "Ife", "mobile": "0805 123 4567"})
    assert (alone["username"], alone["email"], alone["lastname"]) == ("+2348051234567", None, "")


async def test_a_forgotten_password_and_a_first_one_come_by_a_code(web: Web, shop: Shop) -> None:
    body = person()
    del body["password"], body["username"]
    await ask(web, shop, "register", body)
    login = {"username": body["email"], "password": "six tired donkeys"}
    await ask(web, shop, "login", login, status=401)
    asked = await ask(web, shop, "resetpassword", {"username": body["email"]})
    stranger = f"e{new_id().hex}@shop.example"
    unknown = await ask(web, shop, "resetpassword", {"username": stranger})
    assert asked["sentTo"] == unknown["sentTo"] == "e***@shop.example"
    assert not await messages_to(web.services, stranger)
    code = await code_for(web, body["email"])
    finish = {"username": body["email"], "code": code, "newPassword": "six tired donkeys"}
    weak = await ask(web, shop, "resetpassword", finish | {"newPassword": "password123"}, status=422)
    assert pointers(weak) == ["/newPassword"]
    await ask(web, shop, "resetpassword", finish | {"code": other_code(code)}, status=422)
    assert (await ask(web, shop, "resetpassword", finish))["status"] == "password_changed"
    await ask(web, shop, "resetpassword", finish, status=422)
    entered = await ask(web, shop, "login", login)
    assert entered["customer"]["emailVerified"]
    # Another new password ends what the last one opened.
    await ask(web, shop, "resetpassword", {"username": body["email"]})
    code = await code_for(web, body["email"])
    await ask(web, shop, "resetpassword", finish | {"code": code, "newPassword": "nine loud geese"})
    assert await resolve_customer_session(web.services.pool, entered["customertoken"]) is None


async def test_guesses_of_a_password_have_to_wait(web: Web, shop: Shop) -> None:
    body = person()
    await ask(web, shop, "register", body)
    guess = {"username": body["email"], "password": "another one"}
    for _ in range(5):
        await ask(web, shop, "login", guess, status=401)
    await ask(web, shop, "login", guess | {"password": body["password"]}, status=429)


async def test_messages_are_in_the_shops_language(web: Web, shop: Shop) -> None:
    await choose_language(shop.owner, "fr", for_shop=True)
    body = person()
    await ask(web, shop, "register", body)
    subjects = {one["subject"] for one in await messages_to(web.services, body["email"], in_e164(body))}
    assert subjects == {"Confirmez votre adresse e-mail", "Confirmez votre mobile"}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"email": "ｅｆｅ@shop.example"}, "/email"),
        ({"email": "efe@shop..example"}, "/email"),
        ({"mobile": "12"}, "/mobile"),
        ({"countryCode": "GH", "mobile": "08031234567890"}, "/mobile"),
        ({"countryCode": "ZZ"}, "/countryCode"),
        ({"country": "Atlantis"}, "/country"),
        ({"birthday": 29, "birthmonth": 2, "birthyear": 1900}, "/birthday"),
        ({"birthday": 31, "birthmonth": 4}, "/birthday"),
        ({"birthday": 3}, "/birthmonth"),
        ({"birthmonth": 3}, "/birthday"),
        ({"birthyear": 2100}, "/birthyear"),
        ({"password": "password123"}, "/password"),
        ({"username": "somebody.else@shop.example"}, "/username"),
        ({"username": "+2348099999999"}, "/username"),
        ({"consents": ["everything"]}, "/consents/0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
async def test_a_wrong_value_is_named_and_nothing_is_kept(
    web: Web, shop: Shop, schema_owner: SchemaOwner, changes: Json, pointer: str
) -> None:
    problem = await ask(web, shop, "register", person(**changes), status=422)
    assert pointers(problem) == [pointer]
    count = "SELECT count(*) FROM customer WHERE merchant_id = $1"
    assert await schema_owner.fetchval(count, shop.merchant_id) == 0


async def test_a_birthday_may_lack_its_year_or_be_a_year_alone(web: Web, shop: Shop) -> None:
    leap = await ask(web, shop, "register", person(birthday=29, birthmonth=2))
    assert (leap["birthday"], leap["birthmonth"], "birthyear" in leap) == (29, 2, False)
    year = await ask(web, shop, "register", person(birthyear=1990))
    assert (year["birthyear"], "birthday" in year) == (1990, False)


async def test_a_repeat_with_the_same_key_registers_once(web: Web, shop: Shop) -> None:
    body, key = person(), new_id().hex
    first = await ask(web, shop, "register", body, key=key)
    assert await ask(web, shop, "register", body, key=key) == first
    await ask(web, shop, "register", person(), status=409, key=key)


async def test_another_merchants_store_and_a_session_without_the_permission_are_refused(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    await ask(web, shop, "register", person(), status=404, store=other_shop.store_id)
    answer: httpx.Response = await web.post(
        f"/cloudapi/crm/{shop.store_id}/customers/register", json=person()
    )
    assert answer.status_code == 401
    assert "customer.write" not in Caller(kind="customer").permissions


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE customer_session SET expires_at = now() WHERE customer_id = $1",
        "UPDATE customer_session SET last_seen_at = now() - idle_after WHERE customer_id = $1",
        "UPDATE customer SET status = 'suspended' WHERE customer_id = $1",
        "UPDATE store SET status = 'disabled' FROM customer c"
        " WHERE store.merchant_id = c.merchant_id AND c.customer_id = $1",
    ],
    ids=["over", "idle", "suspended", "store-disabled"],
)
async def test_a_customers_session_ends_at_once(
    web: Web, shop: Shop, schema_owner: SchemaOwner, change: str
) -> None:
    body = person()
    made = await ask(web, shop, "register", body)
    entered = await ask(web, shop, "login", {"username": body["email"], "password": body["password"]})
    assert await resolve_customer_session(web.services.pool, entered["customertoken"]) is not None
    await schema_owner.execute(change, made["customerId"])
    assert await resolve_customer_session(web.services.pool, entered["customertoken"]) is None
