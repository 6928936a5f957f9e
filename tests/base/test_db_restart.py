"""PostgreSQL killed under load: whoever waits gets 503 or success, and nothing acknowledged is lost."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from kasuwa.base.db import Pool
from kasuwa.base.postgres.process import end_processes_in
from kasuwa.base.problems import Unavailable
from kasuwa.database import DatabaseUrls, serving_database
from kasuwa.settings import read_settings

WRITERS = 8
HANG_SECONDS = 10.0


@pytest.fixture
def own_server() -> Iterator[tuple[DatabaseUrls, Path]]:
    """A PostgreSQL of the test's own, and the file that holds its process's number."""
    with tempfile.TemporaryDirectory(prefix="kasuwa-test-") as folder:
        Path(folder).chmod(0o755)
        with serving_database(read_settings({}, data=folder)) as urls:
            (number,) = Path(folder).rglob("postmaster.pid")
            yield urls, number
        end_processes_in(number.parent, None)


async def test_a_killed_server_costs_503_and_nothing_that_was_acknowledged(
    own_server: tuple[DatabaseUrls, Path],
) -> None:
    urls, number = own_server
    pool = await Pool.open(dsn=urls.application, max_size=4)
    merchant_id = uuid4()
    async with pool.transaction(merchant_id) as db:
        await db.execute(
            "INSERT INTO merchant (merchant_id, business_name, country_code, currency)"
            " VALUES (current_merchant(), 'x', 'NG', 'NGN')"
        )
    acknowledged, ending = 0, asyncio.Event()
    hints: list[str] = []

    async def write(writer: int) -> None:
        nonlocal acknowledged
        while not ending.is_set():
            try:
                async with asyncio.timeout(HANG_SECONDS), pool.transaction(merchant_id) as db:
                    await db.value("SELECT take_numbers(:name)", name=f"writer {writer}")
                acknowledged += 1
            except Unavailable as problem:
                hints.append(problem.headers.get("Retry-After", ""))
                await asyncio.sleep(0.02)

    writers = [asyncio.create_task(write(writer)) for writer in range(WRITERS)]
    for _ in range(3):
        before = acknowledged
        async with asyncio.timeout(60):
            while acknowledged < before + 100:  # noqa: ASYNC110 - the writers are many
                await asyncio.sleep(0.01)
        os.kill(int(number.read_text().split()[0]), signal.SIGKILL)
        lost = len(hints)
        async with asyncio.timeout(60):
            while len(hints) == lost:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    before = acknowledged
    async with asyncio.timeout(60):
        while acknowledged < before + 100:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    ending.set()
    await asyncio.gather(*writers)
    async with pool.transaction(merchant_id) as db:
        kept = await db.value("SELECT sum(value)::bigint FROM merchant_counter WHERE name LIKE 'writer %'")
    # A commit whose answer was lost may stand: no more than one for each writer and kill.
    assert acknowledged <= kept <= acknowledged + 3 * WRITERS
    assert hints
    assert all(hints)
    held = [await pool.acquire() for _ in range(4)]
    assert not any(connection.is_in_transaction() for connection in held)
    for connection in held:
        await pool.release(connection)
    await pool.close()
