"""Files that callers send to a real server: a worker killed amid an import, and bodies without an end."""

import asyncio
import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.faults.installation import DEADLINE_SECONDS, Installation, Server
from tests.faults.uploads import Stage, staged
from tests.put_aside import put_aside
from tests.shop import Shop

ROWS = 6000
_MEBIBYTE = 1024 * 1024
# In the data folder: PostgreSQL's own, counters, pictures and mails.
_OTHERS = re.compile(r"postgres.*|run|metrics|files|outbox\.jsonl")


def content() -> bytes:
    lines = ["sku,name,price,quantity", *(f"S-{n},Item {n},{n},{n % 50}" for n in range(ROWS))]
    return "\n".join(lines).encode()


async def progress(client: httpx.AsyncClient, import_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/product-imports/{import_id}")).json()
    return found


def caller(server: Server, shop: Shop) -> httpx.AsyncClient:
    return server.installation.client(
        base_url=f"{server.url}/manage/{shop.store_id}", headers={"sessiontoken": shop.session}, timeout=60
    )


async def test_a_killed_worker_s_import_is_gone_on_with_and_nothing_is_made_twice(
    install: Callable[..., Installation],
) -> None:
    installation = install()
    async with staged(installation) as stage, caller(stage.server, stage.shop) as client:
        answer = await client.post(
            "/product-imports", content=content(), headers={"content-type": "text/csv"}
        )
        assert answer.status_code == 202, answer.text
        import_id = answer.json()["importId"]
        seen = await progress(client, import_id)
        while not seen["rowsDone"]:
            await asyncio.sleep(0.02)
            seen = await progress(client, import_id)
        stage.server.kill_worker()
        assert seen["status"] == "running"
        await stage.server.first_answer()
        half = await progress(client, import_id)
        assert 0 < half["created"] < ROWS
        async with installation.as_owner() as owner:
            # The five minutes after which the queue gives it to another worker.
            await owner.execute("UPDATE job SET run_at = now() WHERE kind = 'exchange.import'")
        while (done := await progress(client, import_id))["status"] == "running":
            assert done["created"] >= half["created"]
            await asyncio.sleep(0.1)
        assert (done["status"], done["created"], done["failed"]) == ("done", ROWS, 0), done
        exported = (await client.get("/product-exports")).content.decode("utf-8-sig").splitlines()
        assert len(exported) == ROWS + 1
        async with installation.as_owner() as owner:
            assert await owner.fetchval("SELECT count(*) FROM stock_movement") == ROWS - ROWS // 50
            assert await owner.fetchval("SELECT count(*) FROM import_file") == 0
    assert installation.examine() == []


def files_beside_the_database(*folders: Path) -> set[Path]:
    """Every file below the folders but those that come and go by themselves."""
    return {
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not _OTHERS.fullmatch(path.relative_to(folder).parts[0])
    }


def bytes_aside(server: Server) -> int:
    """How much the worker has put aside, with a name or without."""
    data = server.installation.data
    named = [path.stat().st_size for path in files_beside_the_database(data)]
    return max([*(size for pid in server.workers() for size in put_aside(pid, data)), *named], default=0)


async def until_aside(server: Server, size_bytes: int) -> None:
    deadline = monotonic() + DEADLINE_SECONDS
    while bytes_aside(server) < size_bytes:
        assert monotonic() < deadline, server.said()[-4000:]
        await asyncio.sleep(0.01)


@contextmanager
def half_an_upload(server: Server, shop: Shop) -> Iterator[None]:
    """A caller who has sent two of eight megabytes, and waits."""
    with socket.create_connection(("127.0.0.1", server.installation.port), timeout=60) as line:
        line.sendall(_head(shop, f"Content-Length: {8 * _MEBIBYTE}") + b"A" * 2 * _MEBIBYTE)
        yield


async def killed_amid_an_upload_and_an_import(stage: Stage) -> None:
    with half_an_upload(stage.server, stage.shop):
        await until_aside(stage.server, _MEBIBYTE)
        stage.server.kill_worker()
    await stage.server.first_answer()
    async with caller(stage.server, stage.shop) as client:
        file = content()
        answer = await client.post("/product-imports", content=file, headers={"content-type": "text/csv"})
        assert answer.status_code == 202, answer.text
        seen = await progress(client, answer.json()["importId"])
        while not seen["rowsDone"]:
            await asyncio.sleep(0.02)
            seen = await progress(client, answer.json()["importId"])
        await until_aside(stage.server, len(file))
        stage.server.kill_worker()
        await stage.server.first_answer()


@pytest.mark.parametrize(("broken", "left"), [("", 0), ("name-what-is-put-aside", 2)], ids=["ours", "broken"])
async def test_a_worker_that_is_killed_leaves_nothing_that_it_had_put_aside(
    broken: str, left: int, install: Callable[..., Installation], tmp_path: Path
) -> None:
    """Twice killed: amid an upload, and amid an import. The control is a build whose files have names."""
    installation = install(broken, TMPDIR=str(tmp_path))
    async with staged(installation) as stage:
        before = files_beside_the_database(installation.data, tmp_path)
        await killed_amid_an_upload_and_an_import(stage)
        assert len(files_beside_the_database(installation.data, tmp_path) - before) == left


def _head(shop: Shop, header: str) -> bytes:
    return (
        f"POST /manage/{shop.store_id}/product-imports HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"sessiontoken: {shop.session}\r\nContent-Type: text/csv\r\n{header}\r\n\r\n"
    ).encode()


def raw_post(server: Server, shop: Shop, header: str, piece: bytes = b"") -> tuple[str, int]:
    """Send the head, then the piece again and again until somebody has enough; the answer, and MB sent."""
    sent = 0
    with socket.create_connection(("127.0.0.1", server.installation.port), timeout=60) as line:
        line.sendall(_head(shop, header))
        # Once it is refused, the rest is read and dropped for a while: the answer tells.
        while piece and sent < 400 * _MEBIBYTE and not select.select([line], [], [], 0)[0]:
            line.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            sent += len(piece)
        return line.recv(65536).decode(), sent // _MEBIBYTE


async def test_a_body_of_two_gigabytes_and_one_without_an_end_are_cut(
    install: Callable[..., Installation],
) -> None:
    async with staged(install()) as stage:
        before = stage.server.resident_bytes()
        for header in (f"Content-Length: {2 * 1024**3}", f"Content-Length: {256 * _MEBIBYTE + 1}"):
            answer, _ = await asyncio.to_thread(raw_post, stage.server, stage.shop, header)
            assert answer.startswith("HTTP/1.1 413 "), answer
            assert "at most 256 MB" in answer
        row = b"sku,name,price\n" + b"A" * _MEBIBYTE
        answer, sent = await asyncio.to_thread(
            raw_post, stage.server, stage.shop, "Transfer-Encoding: chunked", row
        )
        assert answer.startswith("HTTP/1.1 413 "), answer
        assert 250 < sent < 400
        assert stage.server.resident_bytes() < before + 100 * _MEBIBYTE
        async with stage.server.installation.as_owner() as owner:
            assert await owner.fetchval("SELECT count(*) FROM import_run") == 0
