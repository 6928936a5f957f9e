"""Checks of addresses by a one-time code over the StoreHarmony API."""

import asyncio
from typing import Any

import pytest

from kasuwa.base.ids import new_id
from tests.accounts import messages_to, other_code
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.mobiles import as_dialled, new_mobile
from tests.people import code_of
from tests.shop import Shop

EMAIL, MOBILE = "/cloudapi/utils/verify/email", "/cloudapi/utils/verify/mobile"


def new_email() -> str:
    return f"{new_id().hex}@shop.example"


async def sent_to(web: Web, address: str, headers: dict[str, str]) -> tuple[str, str]:
    """Reference and code of a check of that e-mail."""
    asked = await web.get(EMAIL, headers=headers, params={"email": address})
    assert asked.status_code == 200, asked.text
    [mail] = (await messages_to(web.services, address))[-1:]
    return asked.json()["reference"], mail["code"]


async def attempt(
    web: Web, headers: dict[str, str], address: str, reference: str, code: str
) -> dict[str, Any]:
    params = {"email": address, "reference": reference, "code": code}
    answer = await web.get(EMAIL, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


async def test_a_code_is_sent_and_proves_the_address_once(web: Web, app_headers: dict[str, str]) -> None:
    address = new_email()
    asked = await web.get(EMAIL, headers=app_headers, params={"email": address})
    state = asked.json()
    assert (state["codeSent"], state["verified"], state["attemptsLeft"]) == (True, False, 5)
    [mail] = await messages_to(web.services, address)
    assert mail["template"] == "check-email"
    assert mail["code"] not in asked.text
    right = await attempt(web, app_headers, address, state["reference"], mail["code"])
    assert (right["verified"], right["codeSent"]) == (True, False)
    again = await attempt(web, app_headers, address, state["reference"], mail["code"])
    assert (again["verified"], again["attemptsLeft"]) == (False, 0)


async def test_a_number_is_read_in_its_country_and_gets_an_sms(web: Web, app_headers: dict[str, str]) -> None:
    number = new_mobile()
    asked = (await web.get(MOBILE, headers=app_headers, params={"mobile": as_dialled(number)})).json()
    assert (asked["mobile"], asked["valid"], asked["codeSent"]) == (number, True, True)
    assert (asked["countryCode"], asked["nationalFormat"].replace(" ", "")) == ("NG", as_dialled(number))
    [sms] = await messages_to(web.services, asked["mobile"])
    assert sms["channel"] == "sms"
    params = {"mobile": asked["mobile"], "reference": asked["reference"], "code": sms["code"]}
    assert (await web.get(MOBILE, headers=app_headers, params=params)).json()["verified"] is True


async def test_numbers_of_the_wrong_country_get_no_code(web: Web, app_headers: dict[str, str]) -> None:
    ghana = await web.get(MOBILE, headers=app_headers, params={"mobile": "0244123456", "countrycode": "GH"})
    assert (ghana.json()["mobile"], ghana.json()["valid"]) == ("+233244123456", True)
    nigeria = await web.get(MOBILE, headers=app_headers, params={"mobile": "0244123456"})
    assert nigeria.status_code == 422 or nigeria.json()["codeSent"] is False
    for params in (
        {"mobile": "12345678"},
        {"mobile": "+9998031234567"},
        {"mobile": "0803123456789012"},
        {"mobile": "0803 123 4567", "countrycode": "ZZ"},
        {"mobile": "not a number"},
        {"mobile": "0803\u00001234567"},
    ):
        answer = await web.get(MOBILE, headers=app_headers, params=params)
        assert answer.status_code in (400, 422), answer.text


@pytest.mark.parametrize(
    "address", ["ａda@shop.example", "ada@localhost", "ada", "ada@shop.example\r\nBcc: all@shop.example"]
)
async def test_what_is_no_address_gets_no_code(web: Web, app_headers: dict[str, str], address: str) -> None:
    answer = await web.get(EMAIL, headers=app_headers, params={"email": address})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "#/query/email"


async def test_a_code_has_five_tries_also_when_they_come_at_once(
    web: Web, app_headers: dict[str, str]
) -> None:
    address = new_email()
    reference, code = await sent_to(web, address, app_headers)
    wrong = other_code(code)
    first = await attempt(web, app_headers, address, reference, wrong)
    assert (first["verified"], first["attemptsLeft"], first["reference"]) == (False, 4, reference)
    rest = await asyncio.gather(*(attempt(web, app_headers, address, reference, wrong) for _ in range(10)))
    assert not any(one["verified"] for one in rest)
    assert (await attempt(web, app_headers, address, reference, code))["verified"] is False


async def test_the_right_code_is_taken_once_by_twenty_at_once(web: Web, app_headers: dict[str, str]) -> None:
    address = new_email()
    reference, code = await sent_to(web, address, app_headers)
    answers = await asyncio.gather(*(attempt(web, app_headers, address, reference, code) for _ in range(20)))
    assert sum(one["verified"] for one in answers) == 1


async def test_a_code_proves_its_own_address_and_reference_only_and_for_ten_minutes(
    web: Web, app_headers: dict[str, str], schema_owner: SchemaOwner
) -> None:
    one, other = new_email(), new_email()
    reference, code = await sent_to(web, one, app_headers)
    foreign, _ = await sent_to(web, other, app_headers)
    assert (await attempt(web, app_headers, other, reference, code))["verified"] is False
    unknown = await attempt(web, app_headers, one, "x" * 43, code)
    assert (unknown["verified"], unknown["attemptsLeft"]) == (False, 0)
    missing = await web.get(EMAIL, headers=app_headers, params={"email": one, "code": code})
    assert (missing.status_code, missing.json()["errors"][0]["pointer"]) == (422, "#/query/reference")
    await schema_owner.execute("UPDATE address_check SET expires_at = now() WHERE tries_left <= 5")
    assert (await attempt(web, app_headers, one, reference, code))["verified"] is False
    # Each new one sweeps ten that are over.
    over = "SELECT count(*) FROM address_check WHERE expires_at <= now()"
    for left in range(await schema_owner.fetchval(over), 0, -10):
        await sent_to(web, new_email(), app_headers)
        assert await schema_owner.fetchval(over) == max(0, left - 10)
    assert foreign != reference


async def test_known_and_unknown_addresses_are_answered_alike(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    answers = [
        await web.get(EMAIL, headers=app_headers, params={"email": address})
        for address in (shop.email, new_email())
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    known, unknown = (answer.json() for answer in answers)
    told_apart = {"email", "reference", "expiresAt"}
    assert {k: v for k, v in known.items() if k not in told_apart} == {
        k: v for k, v in unknown.items() if k not in told_apart
    }
    assert tuple(known) == tuple(unknown)


async def test_codes_are_not_sent_without_end(web: Web, app_headers: dict[str, str]) -> None:
    address = new_email()
    answers = [await web.get(EMAIL, headers=app_headers, params={"email": address}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_user_who_proves_their_own_address_has_it_verified(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    headers = {"sessiontoken": shop.session}
    account = f"/cloudapi/user/{shop.user_id}"
    number = (await web.get(account, headers=headers)).json()["mobile"]
    new = new_mobile()
    assert number != new
    await web.put(account, headers=headers, json={"mobile": new})
    for session, is_verified in ((other_shop.session, False), (shop.session, True)):
        theirs = {"sessiontoken": session}
        asked = (await web.get(MOBILE, headers=theirs, params={"mobile": new})).json()
        sent = await messages_to(web.services, new)
        sms = [one for one in sent if one["template"] == "check-mobile"][-1]
        params = {"mobile": new, "reference": asked["reference"], "code": sms["code"]}
        assert (await web.get(MOBILE, headers=theirs, params=params)).json()["verified"] is True
        assert (await web.get(account, headers=headers)).json()["mobileVerified"] is is_verified


async def test_an_app_or_a_session_is_needed_and_head_does_nothing(
    web: Web, app_headers: dict[str, str]
) -> None:
    address = new_email()
    nobody = await web.get(EMAIL, params={"email": address})
    assert nobody.status_code == 401
    ended = await web.get(EMAIL, headers={"sessiontoken": "x" * 43}, params={"email": address})
    assert (ended.status_code, code_of(ended)) == (401, "not-authenticated")
    head = await web.client.head(EMAIL, headers=app_headers, params={"email": address})
    assert head.status_code == 405
    assert await messages_to(web.services, address) == []


async def test_neither_address_nor_code_is_kept_in_the_open(
    web: Web, app_headers: dict[str, str], schema_owner: SchemaOwner
) -> None:
    address = new_email()
    asked = await web.get(EMAIL, headers=app_headers, params={"email": address})
    rows = await schema_owner.fetch("SELECT c::text AS line FROM address_check c")
    jobs = await schema_owner.fetch("SELECT j::text AS line FROM job j")
    for row in [*rows, *jobs]:
        for secret in (address, address.encode().hex(), asked.json()["reference"]):
            assert secret not in row["line"]
