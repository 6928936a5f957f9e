"""Registration, its confirmation, log-in and new passwords over the StoreHarmony API."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from kasuwa.handover import WorkerSetup
from tests.accounts import (
    ACCESS,
    Account,
    confirm,
    in_e164,
    log_in,
    messages_to,
    open_account,
    other_code,
    registration,
)
from tests.client import Web, running_web
from tests.people import code_of
from tests.shop import Shop


async def stock(web: Web, store_id: str, token: str) -> int:
    """The status of a call with that session."""
    answer = await web.get(f"/cloudapi/app/{store_id}/stock", headers={"sessiontoken": token})
    return answer.status_code


# Registration -------------------------------------------------------------------------------------


async def test_an_account_opens_with_a_store_and_a_code_for_each_address(
    web: Web, app_headers: dict[str, str]
) -> None:
    body = registration(taxRate=0.075, vatType="inclusive", currency="GHS", storeCity="Lagos")
    answer = await web.post(f"{ACCESS}register", headers=app_headers, json=body)
    opened = answer.json()
    assert opened["status"] == "pending_verification"
    assert opened["verificationChannels"] == ["email", "mobile"]
    assert body["password"] not in answer.text
    sent = await messages_to(web.services, body["email"], in_e164(body))
    assert {one["channel"] for one in sent} == {"email", "sms"}
    for one in sent:
        assert list(one)[:7] == ["at", "channel", "to", "template", "subject", "text", "code"]
        assert re.fullmatch(r"[0-9]{6}", one["code"])
        assert one["code"] in one["text"]
    assert sent[0]["code"] != sent[1]["code"] or sent[0]["template"] != sent[1]["template"]


@pytest.mark.parametrize(
    "written", ["0803 {}", "+234 803 {}", "+234(803){}", "234803{}", "0803-{}", "+234 0803 {}"]
)
async def test_a_mobile_is_read_as_people_write_it(
    web: Web, app_headers: dict[str, str], written: str
) -> None:
    digits = registration()["mobile"][-7:]
    body = registration(mobile=written.format(digits))
    answer = await web.post(f"{ACCESS}register", headers=app_headers, json=body)
    assert answer.status_code == 200, answer.text
    [sms] = await messages_to(web.services, f"+234803{digits}")
    assert sms["channel"] == "sms"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"password": "1q2w3e4r5t"}, "/password"),
        ({"password": "ngozi fabrics 2026!"}, "/password"),
        ({"password": "short"}, "/password"),
        ({"password": "aaaaaaaaaaaa"}, "/password"),
        ({"email": "not an address"}, "/email"),
        ({"email": "ngozi@localhost"}, "/email"),
        ({"mobile": "12345678"}, "/mobile"),
        ({"storeCountryCode": "ZZ"}, "/storeCountryCode"),
        ({"currency": "QQQ"}, "/currency"),
        ({"taxRate": 7.1234567}, "/taxRate"),
        ({"taxRate": 101}, "/taxRate"),
        ({"storeLocLat": "north"}, "/storeLocLat"),
        ({"storeLocLng": "181"}, "/storeLocLng"),
        ({"username": "somebody@else.example"}, "/username"),
        ({"username": "08031234567"}, "/username"),
        ({"acceptTerms": False}, "/acceptTerms"),
    ],
)
async def test_a_value_that_cannot_be_is_named(
    web: Web, app_headers: dict[str, str], change: dict[str, Any], pointer: str
) -> None:
    answer = await web.post(f"{ACCESS}register", headers=app_headers, json=registration(**change))
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_a_taken_user_name_is_refused_and_leaves_nothing(web: Web, app_headers: dict[str, str]) -> None:
    first = await open_account(web, app_headers, username=f"ngozi-{registration()['mobile']}")
    body = registration(username=first.body["username"].upper())
    answer = await web.post(f"{ACCESS}register", headers=app_headers, json=body)
    assert answer.status_code == 409, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/username"
    assert await messages_to(web.services, body["email"], in_e164(body)) == []


async def test_one_key_opens_one_account_however_often_it_comes(
    web: Web, app_headers: dict[str, str]
) -> None:
    body = registration()
    headers = app_headers | {"idempotency-key": f"register-{body['mobile']}"}
    answers = await asyncio.gather(
        *(web.post(f"{ACCESS}register", headers=headers, json=body) for _ in range(100))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(await messages_to(web.services, body["email"])) == 1
    other = await web.post(f"{ACCESS}register", headers=headers, json=body | {"lastname": "Obi"})
    assert (other.status_code, other.json()["type"]) == (409, "/docs/problems#idempotency-key-reused")
    # The control: without the key it is another account.
    again = await web.post(f"{ACCESS}register", headers=app_headers, json=body)
    assert again.json()["accountId"] != answers[0].json()["accountId"]


# Confirmation -------------------------------------------------------------------------------------


async def test_a_code_confirms_its_own_address_and_a_link_the_e_mail(
    web: Web, app_headers: dict[str, str], account: Account
) -> None:
    wrong_channel = {"accountId": account.account_id, "channel": "mobile", "code": account.mail["code"]}
    if account.mail["code"] != account.sms["code"]:
        assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=wrong_channel)).status_code == 422
    body = {"accountId": account.account_id, "channel": "mobile", "code": account.sms["code"]}
    answer = (await web.post(f"{ACCESS}verify", headers=app_headers, json=body)).json()
    assert (answer["status"], answer["mobileVerified"], answer["emailVerified"]) == ("active", True, False)
    [token] = [word for word in account.mail["text"].split() if len(word) == 43]
    linked = await web.post(f"{ACCESS}verifyweb", headers=app_headers, json={"token": token})
    assert (linked.json()["status"], linked.json()["emailVerified"]) == ("active", True)
    again = await web.post(f"{ACCESS}verifyweb", headers=app_headers, json={"token": token})
    assert again.status_code == 409
    unknown = await web.post(f"{ACCESS}verifyweb", headers=app_headers, json={"token": "x" * 43})
    assert unknown.status_code == 404


async def test_the_browser_is_only_sent_where_the_operator_said(
    web: Web, app_headers: dict[str, str]
) -> None:
    async def redirected(url: str) -> Any:
        account = await open_account(web, app_headers)
        [token] = [word for word in account.mail["text"].split() if len(word) == 43]
        body = {"token": token, "redirectUrl": url}
        answer = await web.post(f"{ACCESS}verifyweb", headers=app_headers, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["webRedirectUrl"]

    assert await redirected("http://localhost:3000/done") == "http://localhost:3000/done"
    for foreign in ("https://evil.example/", "javascript:alert(1)", "https://localhost@evil.example/"):
        assert await redirected(foreign) is None


async def test_a_new_code_takes_the_place_of_the_old_one(
    web: Web, app_headers: dict[str, str], account: Account
) -> None:
    ask = {"accountId": account.account_id, "channel": "email"}
    sent = await web.post(f"{ACCESS}verify", headers=app_headers, json=ask)
    assert (sent.json()["status"], sent.json()["attemptsLeft"]) == ("code_sent", 5)
    mails = await messages_to(web.services, account.body["email"])
    old, new = mails[0]["code"], mails[1]["code"]
    if old != new:
        answer = await web.post(f"{ACCESS}verify", headers=app_headers, json=ask | {"code": old})
        assert answer.status_code == 422
    answer = await web.post(f"{ACCESS}verify", headers=app_headers, json=ask | {"code": new})
    assert answer.json()["status"] == "active"
    # Nothing more is sent to an address that is proved.
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=ask)).json()["status"] == "active"
    assert len(await messages_to(web.services, account.body["email"])) == 2


async def test_codes_are_not_sent_without_end(
    web: Web, app_headers: dict[str, str], account: Account
) -> None:
    ask = {"accountId": account.account_id, "channel": "mobile"}
    statuses = [
        (await web.post(f"{ACCESS}verify", headers=app_headers, json=ask)).status_code for _ in range(6)
    ]
    assert statuses == [200] * 5 + [429]


async def test_an_unknown_account_is_not_found(web: Web, app_headers: dict[str, str]) -> None:
    for account_id in ("0198c7a0-0000-7000-8000-000000000000", "nobody"):
        body = {"accountId": account_id, "channel": "email", "code": "123456"}
        assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=body)).status_code == 404


# Log-in -------------------------------------------------------------------------------------------


async def test_every_operation_needs_a_developer_key(web: Web, account: Account) -> None:
    bodies = {
        "": {"username": "x", "password": "y"},
        "login": {"userToken": "x", "passToken": "y"},
        "register": registration(),
        "verify": {"accountId": account.account_id, "channel": "email"},
        "verifyweb": {"token": "x" * 43},
        "resetpassword": {"username": account.body["email"]},
    }
    for path, body in bodies.items():
        for headers in ({}, {"authorization": "Bearer " + "A" * 43}, {"x-developer-key": "A" * 43}):
            answer = await web.post(ACCESS + path, headers=headers, json=body)
            assert answer.status_code == 401, path
    assert len(await messages_to(web.services, account.body["email"])) == 1


async def test_log_in_gives_a_session_for_each_open_store(web: Web, app_headers: dict[str, str]) -> None:
    shop_headers = app_headers
    owner = await open_account(web, shop_headers)
    await confirm(web, shop_headers, owner)
    first = (await log_in(web, shop_headers, owner.body["email"])).json()
    headers = {"sessiontoken": first["tokens"][0]["sessiontoken"]}
    path = f"/cloudapi/user/{owner.account_id}/createNewLocation"
    second = (await web.post(path, headers=headers, json={})).json()
    entered = (await log_in(web, shop_headers, owner.body["email"].upper())).json()
    assert [token["storeId"] for token in entered["tokens"]] == [owner.store_id, second["id"]]
    assert {token["role"] for token in entered["tokens"]} == {"OWNER"}
    for token in entered["tokens"]:
        assert await stock(web, token["storeId"], token["sessiontoken"]) == 200
        assert len(token["sessiontoken"]) >= 43  # 256 bits in base64
    # The account's token proves an app as a developer key does.
    bearer = {"authorization": f"Bearer {entered['accessToken']}"}
    assert (await log_in(web, bearer, owner.body["email"])).status_code == 200
    assert entered["webRedirectUrl"].startswith("http://127.0.0.1:8000/enter?token=")


async def test_a_mobile_logs_in_as_it_is_dialled_once_it_is_proved(
    web: Web, app_headers: dict[str, str], ada: Account
) -> None:
    mobile = ada.body["mobile"]
    assert (await log_in(web, app_headers, mobile)).status_code == 401
    body = {"accountId": ada.account_id, "channel": "mobile", "code": ada.sms["code"]}
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=body)).status_code == 200
    for written in (mobile, in_e164(ada.body), f"{mobile[:4]} {mobile[4:]}", f"+234 (0){mobile[1:]}"):
        assert (await log_in(web, app_headers, written)).status_code == 200, written


async def test_one_store_is_opened_by_its_id_or_by_default(
    web: Web, app_headers: dict[str, str], ada: Account, other_shop: Shop
) -> None:
    body = {"userToken": ada.body["email"], "passToken": ada.body["password"]}
    answer = await web.post(f"{ACCESS}login", headers=app_headers, json=body)
    user = answer.json()["user"]
    assert user["accountId"] == ada.account_id
    assert (user["email"], user["mobile"]) == (ada.body["email"], in_e164(ada.body))
    assert (user["emailVerified"], user["mobileVerified"], user["role"]) == (True, False, "OWNER")
    assert (user["defStore"]["id"], user["defStore"]["currency"]) == (ada.store_id, "NGN")
    assert await stock(web, ada.store_id, user["sessionId"]) == 200
    by_id = await web.post(f"{ACCESS}login?storeid={ada.store_id}", headers=app_headers, json=body)
    assert by_id.json()["user"]["defStore"]["id"] == ada.store_id
    refused = []
    for store_id in (str(other_shop.store_id), "0198c7a0-0000-7000-8000-000000000000", "shop"):
        foreign = await web.post(f"{ACCESS}login?storeid={store_id}", headers=app_headers, json=body)
        refused.append((foreign.status_code, without_request(foreign)))
    assert {status for status, _ in refused} == {403}
    assert len({body for _, body in refused}) == 1


async def test_an_account_nobody_confirmed_is_told_so_by_its_user_name_and_the_right_password_alone(
    web: Web, app_headers: dict[str, str]
) -> None:
    account = await open_account(web, app_headers, username=f"ngozi-{registration()['mobile']}")
    right = await log_in(web, app_headers, account.body["username"])
    assert (right.status_code, code_of(right)) == (401, "not-verified")
    for name, password in (
        (account.body["username"], "not the password"),
        # An address may be another's: see test_storeharmony_taken_addresses.py.
        (account.body["email"], account.body["password"]),
        (account.body["mobile"], account.body["password"]),
    ):
        refused = await log_in(web, app_headers, name, password)
        assert (refused.status_code, code_of(refused)) == (401, "wrong-credentials")


def without_request(answer: httpx.Response) -> str:
    """The body without what differs in every answer."""
    return re.sub(r"urn:request:\w+", "", answer.text)


def shape(answer: httpx.Response) -> tuple[int, str, frozenset[str]]:
    return answer.status_code, without_request(answer), frozenset(answer.headers.keys())


async def test_known_and_unknown_names_are_answered_alike(
    web: Web, app_headers: dict[str, str], ada: Account
) -> None:
    unknown = registration()["email"]
    known_log_in = await log_in(web, app_headers, ada.body["email"], "not the password")
    assert shape(known_log_in) == shape(await log_in(web, app_headers, unknown, "not the password"))

    async def reset(body: dict[str, str]) -> tuple[int, str, frozenset[str]]:
        answer = await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)
        status, text, headers = shape(answer)
        return status, re.sub(r'"codeExpires":"[^"]+"', "", text), headers

    # The same first letter and domain, so that the mask made of what was typed is the same too.
    assert unknown[0] == ada.body["email"][0]
    assert await reset({"username": ada.body["email"]}) == await reset({"username": unknown})
    finish = {"code": "000000", "newPassword": "nine brown kettles"}
    [_, sent] = await messages_to(web.services, ada.body["email"])
    finish["code"] = other_code(sent["code"])
    assert await reset({"username": ada.body["email"]} | finish) == await reset(
        {"username": unknown} | finish
    )
    # What a difference would look like: the right password of a known user.
    assert shape(await log_in(web, app_headers, ada.body["email"])) != shape(known_log_in)


# New password -------------------------------------------------------------------------------------


async def test_a_new_password_ends_every_session_on_every_worker(
    web: Web, worker_setup: WorkerSetup, app_headers: dict[str, str], ada: Account
) -> None:
    async with running_web(worker_setup) as other_worker:
        entered = (await log_in(web, app_headers, ada.body["email"])).json()
        token = entered["tokens"][0]["sessiontoken"]
        assert await stock(other_worker, ada.store_id, token) == 200
        asked = await web.post(
            f"{ACCESS}resetpassword", headers=app_headers, json={"username": ada.body["email"]}
        )
        assert asked.json()["status"] == "code_sent"
        assert asked.json()["sentTo"] == "n***@shop.example"
        sent = (await messages_to(web.services, ada.body["email"]))[-1]
        assert sent["template"] == "reset-password"
        assert await stock(other_worker, ada.store_id, token) == 200
        finish = {"username": ada.body["email"], "code": sent["code"], "newPassword": "nine brown kettles"}
        done = await other_worker.post(f"{ACCESS}resetpassword", headers=app_headers, json=finish)
        assert done.json()["status"] == "password_changed", done.text
        for worker in (web, other_worker):
            assert await stock(worker, ada.store_id, token) == 401
        bearer = {"authorization": f"Bearer {entered['accessToken']}"}
        assert (await log_in(web, bearer, ada.body["email"])).status_code == 401
        assert (await log_in(web, app_headers, ada.body["email"])).status_code == 401
        assert (await log_in(web, app_headers, ada.body["email"], "nine brown kettles")).status_code == 200
        once = await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=finish)
        assert once.status_code == 422
    assert (await messages_to(web.services, ada.body["email"]))[-1]["template"] == "password-changed"


async def test_a_weak_new_password_costs_no_try_and_no_code(
    web: Web, app_headers: dict[str, str], ada: Account
) -> None:
    await web.post(f"{ACCESS}resetpassword", headers=app_headers, json={"username": ada.body["email"]})
    sent = (await messages_to(web.services, ada.body["email"]))[-1]
    finish = {"username": ada.body["email"], "code": sent["code"]}
    for _ in range(6):
        weak = await web.post(
            f"{ACCESS}resetpassword", headers=app_headers, json=finish | {"newPassword": "1q2w3e4r5t"}
        )
        assert weak.status_code == 422
    done = await web.post(
        f"{ACCESS}resetpassword", headers=app_headers, json=finish | {"newPassword": "nine brown kettles"}
    )
    assert done.json()["status"] == "password_changed", done.text


async def test_a_reset_by_mail_confirms_an_account_that_lost_its_first_code(
    web: Web, app_headers: dict[str, str], account: Account
) -> None:
    name = account.body["email"]
    await web.post(f"{ACCESS}resetpassword", headers=app_headers, json={"username": name})
    sent = (await messages_to(web.services, name))[-1]
    finish = {"username": name, "code": sent["code"], "newPassword": "nine brown kettles"}
    await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=finish)
    assert (await log_in(web, app_headers, name, "nine brown kettles")).status_code == 200


async def test_a_code_goes_to_a_proved_address_though_another_was_wished(
    web: Web, app_headers: dict[str, str], ada: Account
) -> None:
    body = {"username": ada.body["email"], "channel": "mobile"}
    await web.post(f"{ACCESS}resetpassword", headers=app_headers, json=body)
    assert len(await messages_to(web.services, in_e164(ada.body))) == 1
    assert (await messages_to(web.services, ada.body["email"]))[-1]["template"] == "reset-password"
