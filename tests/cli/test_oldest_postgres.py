"""The oldest PostgreSQL that we support: a shop on a server of it by address, and one that leaves it."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from msgspec import Struct

from tests import checked
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


class Work(Struct, frozen=True):
    """What a day's work leaves: a session, and a product with its picture."""

    session: dict[str, str]
    stock: str
    picture: str

    def is_listed_by(self, client: httpx.Client) -> None:
        assert client.get(self.picture).headers["content-type"] == "image/jpeg"
        listed = done(client.get(self.stock, headers=self.session))
        [shown] = listed["data"]
        assert (shown["name"], listed["totalElements"]) == ("Woven basket", 1)
        assert [urlsplit(image["url"]).path for image in shown["images"]] == [urlsplit(self.picture).path]


def test_a_shop_is_opened_filled_and_listed(new_installation: Callable[..., Installation]) -> None:
    assert DEBIAN is not None
    with addressed_server(new_installation(empty=True).data, DEBIAN) as address:
        assert asyncio.run(version_of(address)) == 15
        do_a_days_work(new_installation(KASUWA_DATABASE_URL=address))


def test_data_of_an_older_major_moves_over_by_the_steps_that_are_printed(
    new_installation: Callable[..., Installation], tmp_path: Path
) -> None:
    """The refusal's own lines, run by a shell as they are printed."""
    assert DEBIAN is not None
    older = new_installation(empty=True, KASUWA_PG_BIN=str(DEBIAN.bin))
    work = do_a_days_work(older)
    newer = Installation(older.data)
    refused = newer.run("serve", "--port", "0")
    assert refused.returncode != 0
    steps = [line.strip() for line in refused.stderr.splitlines() if line.startswith("  ")]
    assert len(steps) == 3, refused.stderr
    backup = tmp_path / "shop.kasuwa"
    environment = newer.environment
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for step in steps:
        words = step.replace("FILE", str(backup))
        done = subprocess.run(
            ["sh", "-c", words], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    assert json.loads(newer.ask("doctor", "--json"))["ok"] is True
    with serving(newer) as running, checked.Client(base_url=running.url, timeout=60) as client:
        work.is_listed_by(client)


def do_a_days_work(installation: Installation) -> Work:
    with serving(installation, "--workers", "2") as running:
        key = json.loads(installation.ask("key", "create", "--name", "till", "--json"))["key"]
        app = {"authorization": f"Bearer {key}"}
        with checked.Client(base_url=running.url, timeout=60) as client:
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
            work = Work(session, stock, path)
            work.is_listed_by(client)
    assert json.loads(installation.ask("doctor", "--json"))["ok"] is True
    return work
