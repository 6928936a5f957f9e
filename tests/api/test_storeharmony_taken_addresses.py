"""Registering with an address that logs in to somebody's account: nobody but its owner learns of that.

A stranger goes every way that a registration opens, with an address that is free and with one that is taken;
what they see has to be the same.
"""

import re
from typing import Any, Literal

import pytest
from msgspec import structs

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.messages.records import Message
from kasuwa.domain.users import actions, login
from tests.accounts import ACCESS, Account, in_e164, log_in, messages_to, registration
from tests.client import Web

Field = Literal["email", "mobile"]
FIELDS: tuple[Field, ...] = ("email", "mobile")

_UNLIKE = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
    (r"urn:request:\w+", "<request>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"[\w-]{43}", "<token>"),
    (r"ngozi-fabrics\S*?(?=\")", "<shop>"),
    (r'"requestId":"\w+"', "<request>"),
]


class Stranger:
    """Somebody with one address of their own and one that may be another's, and what they were answered."""

    def __init__(self, web: Web, headers: dict[str, str], claimed: Field, body: dict[str, Any]) -> None:
        self.web, self.headers, self.claimed, self.body = web, headers, claimed, body
        self.own: Field = "mobile" if claimed == "email" else "email"
        self.seen: list[str] = []

    async def call(self, method: str, path: str, headers: dict[str, str] | None = None, **json: Any) -> Any:
        options = {"json": json} if json else {}
        answer = await self.web.call(method, path, headers=headers or self.headers, **options)
        text = f"{method} {path} {answer.status_code} {sorted(answer.headers)} {answer.text}"
        for value in (self.body["email"], in_e164(self.body), self.body["mobile"]):
            text = text.replace(value, "<address>")
        text = text.replace(f"***{self.body['mobile'][-4:]}", "***<end>")
        for pattern, word in _UNLIKE:
            text = re.sub(pattern, word, text)
        self.seen.append(text)
        return answer.json()

    async def access(self, path: str, **json: Any) -> Any:
        return await self.call("POST", f"{ACCESS}{path}", **json)

    async def log_in(self, name: str, password: str = "") -> Any:
        password = password or self.body["password"]
        await self.access("login", userToken=name, passToken=password)
        return await self.access("", username=name, password=password)

    async def go_every_way(self) -> None:
        claimed = self.body[self.claimed]
        opened = await self.access("register", **self.body)
        await self.log_in(claimed)
        proof = {"accountId": opened["accountId"], "channel": self.claimed}
        await self.access("verify", **proof)
        await self.access("verify", **proof, code="000000")
        await self.access("resetpassword", username=claimed, channel=self.claimed)
        await self.access("resetpassword", username=claimed, code="000000", newPassword="nine brown kettles")
        # Another account with the same address, as if nothing had been.
        await self.access("register", **self.body)
        own = self.body["email"] if self.own == "email" else in_e164(self.body)
        sent = [one for one in await messages_to(self.web.services, own) if one["code"]]
        await self.access("verify", accountId=opened["accountId"], channel=self.own, code=sent[0]["code"])
        await self.log_in(claimed)
        entered = await self.log_in(self.body[self.own])
        session = {"sessiontoken": entered["tokens"][0]["sessiontoken"]}
        await self.call("GET", f"/cloudapi/user/{opened['accountId']}", session)
        for what in ("messages", "audit"):
            await self.call("GET", f"/manage/{opened['storeId']}/{what}", session)


async def seen_by_a_stranger(
    web: Web, headers: dict[str, str], claimed: Field, ada: Account | None
) -> list[str]:
    """What they see who claim Ada's address, or one that nobody has."""
    taken = {} if ada is None else {claimed: ada.body[claimed]}
    stranger = Stranger(web, headers, claimed, registration(password="three odd parcels", **taken))
    await stranger.go_every_way()
    return stranger.seen


@pytest.fixture
async def known(web: Web, app_headers: dict[str, str], ada: Account) -> Account:
    """Ada, who logs in by both of her addresses."""
    body = {"accountId": ada.account_id, "channel": "mobile", "code": ada.sms["code"]}
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=body)).status_code == 200
    return ada


@pytest.mark.parametrize("claimed", FIELDS)
async def test_a_stranger_sees_the_same_of_a_taken_address_and_of_a_free_one(
    web: Web, app_headers: dict[str, str], known: Account, claimed: Field
) -> None:
    free = await seen_by_a_stranger(web, app_headers, claimed, None)
    taken = await seen_by_a_stranger(web, app_headers, claimed, known)
    assert [pair for pair in zip(free, taken, strict=True) if pair[0] != pair[1]] == []
    assert [line.split()[2] for line in free][:3] == ["200", "401", "401"]


@pytest.mark.parametrize("fault", ["pending-addresses-log-in", "the-list-of-messages-names-it"])
async def test_the_comparison_sees_what_tells_them_apart(
    web: Web, app_headers: dict[str, str], known: Account, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async def name_it(context: Context, db: Database, message: Message) -> None:
        named = message if message.code else structs.replace(message, template="address-in-use")
        await send_message(context, db, named)

    if fault == "pending-addresses-log-in":
        monkeypatch.setattr(login, "is_address", lambda name: False)
    else:
        monkeypatch.setattr(actions, "send_message", name_it)
    free = await seen_by_a_stranger(web, app_headers, "email", None)
    assert await seen_by_a_stranger(web, app_headers, "email", known) != free


@pytest.mark.parametrize("claimed", FIELDS)
async def test_the_owner_of_the_address_is_told_and_keeps_everything(
    web: Web, app_headers: dict[str, str], known: Account, claimed: Field
) -> None:
    entered = (await log_in(web, app_headers, known.body["email"])).json()
    session = {"sessiontoken": entered["tokens"][0]["sessiontoken"]}
    path = f"/cloudapi/user/{known.account_id}"
    before = (await web.get(path, headers=session)).json()
    address = known.body["email"] if claimed == "email" else in_e164(known.body)
    old = len(await messages_to(web.services, address))
    await seen_by_a_stranger(web, app_headers, claimed, known)
    told = (await messages_to(web.services, address))[old:]
    assert ["logs in to your" in one["text"] for one in told if one["code"] is None] == [True] * 3
    assert {one["template"] for one in told if one["code"]} == {"reset-password"}
    assert not [one for one in told if re.search(r"\b\d{6}\b", one["text"]) and not one["code"]]
    after = (await web.get(path, headers=session)).json()
    assert after == before | {"lastLoginAt": after["lastLoginAt"]}
    assert (await log_in(web, app_headers, known.body["email"])).status_code == 200
    assert (await log_in(web, app_headers, known.body["mobile"])).status_code == 200


async def test_an_inbox_is_not_filled_by_registrations(web: Web, app_headers: dict[str, str]) -> None:
    """Nobody keeps count of who asks, only of where it goes: each comes with a number of their own."""
    email = registration()["email"]
    channels = []
    for _ in range(21):
        answer = await web.post(f"{ACCESS}register", headers=app_headers, json=registration(email=email))
        assert answer.status_code == 200
        channels.append(answer.json()["verificationChannels"])
    assert channels == [["email", "mobile"]] * 20 + [["mobile"]]
    assert len(await messages_to(web.services, email)) == 20
    ask = {"accountId": answer.json()["accountId"], "channel": "email"}
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=ask)).status_code == 429


async def test_whoever_proves_an_address_has_it_though_another_gave_it_first(
    web: Web, app_headers: dict[str, str]
) -> None:
    body = registration()
    squatter = registration(email=body["email"], password="three odd parcels")
    for one in (squatter, body):
        assert (await web.post(f"{ACCESS}register", headers=app_headers, json=one)).status_code == 200
        *_, mail = await messages_to(web.services, body["email"])
    [token] = [word for word in mail["text"].split() if len(word) == 43]
    assert (
        await web.post(f"{ACCESS}verifyweb", headers=app_headers, json={"token": token})
    ).status_code == 200
    assert (await log_in(web, app_headers, body["email"])).status_code == 200
    assert (await log_in(web, app_headers, body["email"], "three odd parcels")).status_code == 401
