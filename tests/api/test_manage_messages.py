"""What became of messages, sending one again, and their language, over /manage."""

from typing import Any

import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.messages.actions import refuse_message, send_message
from kasuwa.domain.permissions import Role
from tests.accounts import messages_to, open_account
from tests.client import Web
from tests.contract.cast import hire
from tests.messaging import a_message, an_sms
from tests.shop import Shop, new_developer_key

Json = dict[str, Any]


async def ask(
    web: Web, shop: Shop, path: str, *, method: str = "GET", status: int = 200, **options: Any
) -> Json:
    session = options.pop("session", shop.session)
    answer = await web.call(
        method, f"/manage/{shop.store_id}/{path}", headers={"sessiontoken": session}, **options
    )
    assert answer.status_code == status, answer.text
    body: Json = answer.json()
    return body


async def failed_mail(shop: Shop, to: str) -> None:
    async with shop.owner.transaction() as db:
        await send_message(shop.owner, db, a_message(to=to, code=None, subject="zqSubject", text="zqText"))
        await db.execute("UPDATE message SET status = 'failed', failed_at = now(), last_error = 'Refused.'")
        await refuse_message(shop.owner, db, an_sms(text="zqText 739164", code="739164"), "Too many.")


async def test_a_message_is_seen_without_its_words_and_sent_again(web: Web, shop: Shop) -> None:
    to = f"ada.{new_id().hex}@shop.example"
    await failed_mail(shop, to)
    listed = await ask(web, shop, "messages")
    sms, mail = listed["data"]
    assert (mail["to"], mail["status"], mail["lastError"]) == ("a***@shop.example", "failed", "Refused.")
    assert (sms["to"], sms["channel"], sms["canResend"]) == ("+234***4567", "sms", False)
    assert not any(word in str(listed) for word in ("zq", "739164", to, "+2348031234567"))
    queued = await ask(web, shop, f"messages/{mail['messageId']}/resend", method="POST")
    assert (queued["status"], queued["canResend"]) == ("queued", False)
    assert [one["text"] for one in await messages_to(web.services, to)] == ["zqText"]
    [sent] = (await ask(web, shop, "messages", params={"status": "sent"}))["data"]
    assert (sent["messageId"], sent["attempts"], sent["lastError"]) == (mail["messageId"], 1, "")
    assert sent["sentAt"] >= sent["createdAt"]
    for message_id, code in (
        (mail["messageId"], "message-not-failed"),
        (sms["messageId"], "message-forgotten"),
    ):
        refused = await ask(web, shop, f"messages/{message_id}/resend", method="POST", status=409)
        assert refused["type"].endswith(f"#{code}")
    for message_id in (str(new_id()), "nonsense"):
        await ask(web, shop, f"messages/{message_id}/resend", method="POST", status=404)
    entries = (await ask(web, shop, "audit", params={"action": "message.resend"}))["data"]
    assert [entry["subject"]["id"] for entry in entries] == [mail["messageId"]]


async def test_the_list_is_filtered_and_goes_on_and_misses_nothing(web: Web, shop: Shop) -> None:
    for _ in range(3):
        await failed_mail(shop, "ada@shop.example")
    whole = [one["messageId"] for one in (await ask(web, shop, "messages", params={"size": "200"}))["data"]]
    assert len(whole) == 6
    found: list[str] = []
    cursor: Json = {}
    while True:
        page = await ask(web, shop, "messages", params={"size": "4", **cursor})
        found += [one["messageId"] for one in page["data"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert found == whole
    sms = await ask(web, shop, "messages", params={"channel": "sms", "status": "failed"})
    assert {one["channel"] for one in sms["data"]} == {"sms"}
    assert (await ask(web, shop, "messages", params={"status": "sent"}))["data"] == []
    await ask(web, shop, "messages", params={"cursor": "nonsense"}, status=422)


async def test_a_cashier_sees_none_and_sends_none(web: Web, shop: Shop) -> None:
    await failed_mail(shop, "ada@shop.example")
    [mail] = (await ask(web, shop, "messages", params={"channel": "email"}))["data"]
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    await ask(web, shop, "messages", session=cashier.session, status=403)
    resend = f"messages/{mail['messageId']}/resend"
    await ask(web, shop, resend, method="POST", session=cashier.session, status=403)
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    await ask(web, shop, resend, method="POST", session=manager.session)


async def test_another_merchant_sees_and_sends_none_of_them(web: Web, shop: Shop, other_shop: Shop) -> None:
    await failed_mail(shop, "ada@shop.example")
    [mail] = (await ask(web, shop, "messages", params={"channel": "email"}))["data"]
    assert (await ask(web, other_shop, "messages"))["data"] == []
    await ask(web, other_shop, f"messages/{mail['messageId']}/resend", method="POST", status=404)


async def test_people_choose_their_own_language_and_the_owner_the_shops(web: Web, shop: Shop) -> None:
    assert await ask(web, shop, "message-language") == {"known": ["en", "fr"], "shop": "en", "own": None}
    cashier = await hire(shop, Role.CASHIER, shop.store_id)

    async def choose(scope: str, language: str | None, status: int = 200, **options: Any) -> Json:
        body = {"scope": scope, "language": language}
        return await ask(web, shop, "message-language", method="PUT", json=body, status=status, **options)

    assert (await choose("shop", "fr"))["shop"] == "fr"
    assert (await choose("me", "en", session=cashier.session))["own"] == "en"
    await choose("shop", "en", status=403, session=cashier.session)
    assert await ask(web, shop, "message-language") == {"known": ["en", "fr"], "shop": "fr", "own": None}
    assert (await choose("me", "xx", status=422))["type"].endswith("#language-unknown")
    assert (await choose("me", None, session=cashier.session))["own"] is None


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_a_reset_is_written_in_the_readers_language(web: Web, language: str) -> None:
    headers = {"authorization": f"Bearer {await new_developer_key(web.services)}"}
    account = await open_account(web, headers)
    assert account.mail["subject"] == "Confirm your e-mail address"
    merchant = await web.services.pool.acquire()
    try:
        found = await merchant.fetchval("SELECT find_account($1)", account.account_id)
        async with merchant.transaction():
            await merchant.execute(f"SET LOCAL app.merchant_id = '{found}'")
            await merchant.execute(
                "INSERT INTO message_language VALUES ($1, $2, $3)", found, account.account_id, language
            )
    finally:
        await web.services.pool.release(merchant)
    body = {"username": account.body["email"], "channel": "email"}
    answer = await web.post("/cloudapi/app/access/resetpassword", headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    *_, mail = await messages_to(web.services, account.body["email"])
    expected = {"en": "Your code for a new password", "fr": "Votre code pour un nouveau mot de passe"}
    assert mail["subject"] == expected[language]
