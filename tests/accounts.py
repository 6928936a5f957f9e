"""People who open accounts, for tests: what they send, and what reaches them."""

import json
from typing import Any

import httpx
from msgspec import Struct

from kasuwa.base.context import Services
from kasuwa.base.ids import new_id
from tests.client import Web
from tests.mobiles import as_dialled, new_mobile

ACCESS = "/cloudapi/app/access/"


def registration(**changes: Any) -> dict[str, Any]:
    """A body for registerNewStore with addresses that nobody else has."""
    return {
        "firstname": "Ngozi",
        "lastname": "Eze",
        "password": "seven green baskets",
        "email": f"ngozi.{new_id().hex}@shop.example",
        "mobile": as_dialled(new_mobile()),
        "storeName": "Ngozi Fabrics",
        "storeCountryCode": "NG",
        "acceptTerms": True,
    } | changes


async def messages_to(services: Services, *addresses: str) -> list[dict[str, Any]]:
    """What has left for these addresses, after everything queued was sent."""
    while await services.jobs.run_due():
        pass
    outbox = services.settings.data_folder() / "outbox.jsonl"
    lines = [json.loads(line) for line in outbox.read_text("utf-8").splitlines()] if outbox.exists() else []
    return [line for line in lines if line["to"] in addresses]


def in_e164(body: dict[str, Any]) -> str:
    """The mobile of a registration as it is kept."""
    mobile: str = body["mobile"]
    return mobile if mobile.startswith("+") else f"+234{mobile[1:]}"


def other_code(code: str) -> str:
    """Six digits that are not the code."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


class Account(Struct):
    """A registered owner: what they sent, what they were told, and what reached them."""

    body: dict[str, Any]
    account_id: str
    store_id: str
    mail: dict[str, Any]
    sms: dict[str, Any]


async def open_account(web: Web, headers: dict[str, str], **changes: Any) -> Account:
    body = registration(**changes)
    answer = await web.post(f"{ACCESS}register", headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    sent = await messages_to(web.services, body["email"], in_e164(body))
    [mail] = [one for one in sent if one["channel"] == "email"]
    [sms] = [one for one in sent if one["channel"] == "sms"]
    return Account(body, answer.json()["accountId"], answer.json()["storeId"], mail, sms)


async def confirm(web: Web, headers: dict[str, str], account: Account) -> None:
    body = {"accountId": account.account_id, "channel": "email", "code": account.mail["code"]}
    answer = await web.post(f"{ACCESS}verify", headers=headers, json=body)
    assert answer.json()["status"] == "active", answer.text


async def log_in(
    web: Web, headers: dict[str, str], name: str, password: str = "seven green baskets"
) -> httpx.Response:
    return await web.post(ACCESS, headers=headers, json={"username": name, "password": password})
