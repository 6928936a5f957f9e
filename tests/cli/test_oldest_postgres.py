"""The server on the oldest PostgreSQL that it supports, by address: a shop is opened, filled and listed."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest

from tests.accounts import ACCESS, registration
from tests.base.postgres.addressed import DEBIAN, addressed_server
from tests.cli.staging import DEADLINE_SECONDS, Installation, serving
from tests.client import check_answer
from tests.conftest import picture_bytes

pytestmark = pytest.mark.skipif(DEBIAN is None, reason="PostgreSQL 15 is not installed here")


def code_sent_to(installation: Installation, name: str) -> str:
    """The code of the mail that the server's jobs have sent by now, or send soon."""
    outbox = installation.data / "outbox.jsonl"
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        lines = outbox.read_text("utf-8").splitlines() if outbox.exists() else []
        for line in map(json.loads, lines):
            if line["to"] == name:
                return str(line["code"])
        time.sleep(0.05)
    raise AssertionError(f"nothing was sent to {name}")


def done(answer: httpx.Response) -> Any:
    """What a call answers that did what it should, in the words of its contract."""
    check_answer(answer)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def version_of(address: str) -> int:
    connection = await asyncpg.connect(address)
    try:
        return int(await connection.fetchval("SHOW server_version_num")) // 10_000
    finally:
        await connection.close()


def test_a_shop_is_opened_filled_and_listed(new_installation: Callable[..., Installation]) -> None:
    assert DEBIAN is not None
    with addressed_server(new_installation().data, DEBIAN) as address:
        assert asyncio.run(version_of(address)) == 15
        do_a_days_work(new_installation(KASUWA_DATABASE_URL=address))


def do_a_days_work(installation: Installation) -> None:
    with serving(installation, "--workers", "2") as running:
        key = json.loads(installation.ask("key", "create", "--name", "till", "--json"))["key"]
        app = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=running.url, timeout=60) as client:
            body = registration()
            made = done(client.post(f"{ACCESS}register", headers=app, json=body))
            confirmation = {
                "accountId": made["accountId"],
                "channel": "email",
                "code": code_sent_to(installation, body["email"]),
            }
            assert done(client.post(f"{ACCESS}verify", headers=app, json=confirmation))["status"] == "active"
            credentials = {"username": body["email"], "password": body["password"]}
            entered = done(client.post(ACCESS, headers=app, json=credentials))
            session = {"sessiontoken": entered["tokens"][0]["sessiontoken"]}
            stock = f"/cloudapi/app/{made['storeId']}/stock"
            new = {"name": "Woven basket", "prices": {"sellingPrice": 1500}, "quantity": 7}
            item = done(client.post(stock, headers=session, json=new))
            png = {**session, "content-type": "image/png"}
            path = done(
                client.post(f"{stock}/{item['itemId']}/addpicture", headers=png, content=picture_bytes("PNG"))
            )
            assert client.get(path).headers["content-type"] == "image/jpeg"
            listed = done(client.get(stock, headers=session))
            [shown] = listed["data"]
            assert (shown["name"], listed["totalElements"]) == ("Woven basket", 1)
            assert [image["url"] for image in shown["images"]] == [path]
    assert json.loads(installation.ask("doctor", "--json"))["ok"] is True
