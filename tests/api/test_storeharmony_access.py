"""Registration, log-in and new passwords over the StoreHarmony API."""

import json
from typing import Any

import pytest

from kasuwa.base.ids import new_id
from tests.client import Web
from tests.shop import PASSWORD, Shop, new_developer_key


@pytest.fixture(scope="session")
async def app_headers(web: Web) -> dict[str, str]:
    return {"authorization": f"Bearer {await new_developer_key(web.services)}"}


def registration(**changes: Any) -> dict[str, Any]:
    mark = new_id().hex
    return {
        "firstname": "Ngozi",
        "lastname": "Eze",
        "password": "seven green baskets",
        "email": f"ngozi.{mark}@shop.example",
        "mobile": f"0803{int(mark[-12:], 16) % 10**7:07d}",
        "storeName": "Ngozi Fabrics",
        "storeCountryCode": "NG",
        "acceptTerms": True,
    } | changes


async def messages_to(web: Web, *addresses: str) -> list[dict[str, Any]]:
    """What has left for these addresses, after everything queued was sent."""
    while await web.services.jobs.run_due():
        pass
    outbox = web.services.settings.data_folder() / "outbox.jsonl"
    lines = [json.loads(line) for line in outbox.read_text("utf-8").splitlines()] if outbox.exists() else []
    return [line for line in lines if line["to"] in addresses]


async def test_an_account_is_opened_confirmed_and_logged_into(web: Web, app_headers: dict[str, str]) -> None:
    body = registration()
    opened = await web.post("/cloudapi/app/access/register", headers=app_headers, json=body)
    assert opened.status_code == 200, opened.text
    assert opened.json()["verificationChannels"] == ["email", "mobile"]
    mail = (await messages_to(web, body["email"]))[-1]
    assert mail["code"] in mail["text"]
    verify = {"accountId": opened.json()["accountId"], "channel": "email", "code": mail["code"]}
    verified = await web.post("/cloudapi/app/access/verify", headers=app_headers, json=verify)
    assert verified.status_code == 200, verified.text
    assert (verified.json()["status"], verified.json()["emailVerified"]) == ("active", True)
    login = {"username": body["email"], "password": body["password"], "platformId": "android"}
    entered = await web.post("/cloudapi/app/access/", headers=app_headers, json=login)
    assert entered.status_code == 200, entered.text
    [store] = entered.json()["tokens"]
    assert store["storeId"] == opened.json()["storeId"]
    read = await web.get(
        f"/cloudapi/app/{store['storeId']}/stock", headers={"sessiontoken": store["sessiontoken"]}
    )
    assert read.status_code == 200, read.text
    query = f"/cloudapi/app/access/login?storeid={store['storeId']}"
    at_store = await web.post(
        query, headers=app_headers, json={"userToken": body["mobile"], "passToken": body["password"]}
    )
    assert at_store.status_code == 200, at_store.text
    assert at_store.json()["user"]["defStore"]["businessname"] == "Ngozi Fabrics"


async def test_stores(web: Web, shop: Shop) -> None:
    headers = {"sessiontoken": shop.session}
    made = await web.post(
        f"/cloudapi/user/{shop.user_id}/createNewLocation", headers=headers, json={"storeName": "Yaba"}
    )
    assert made.status_code == 200, made.text
    listed = await web.get(f"/cloudapi/user/{shop.user_id}/locations", headers=headers)
    assert listed.status_code == 200, listed.text
    details = await web.get(f"/cloudapi/user/{shop.user_id}/store/{made.json()['id']}", headers=headers)
    assert details.status_code == 200, details.text
    moved = await web.get(f"/cloudapi/user/{shop.user_id}/switchStore/{made.json()['id']}", headers=headers)
    assert moved.status_code == 200, moved.text
    assert PASSWORD
