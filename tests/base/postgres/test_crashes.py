"""Killed servers, killed parents and what they leave behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import asyncpg
import pytest

from kasuwa.base.postgres import folder, process
from kasuwa.base.postgres.binaries import Binaries
from kasuwa.base.postgres.folder import Layout
from kasuwa.base.postgres.process import PlainUser, processes_in
from kasuwa.base.postgres.server import EmbeddedPostgres, attach
from tests.base.postgres.servers import (
    WAIT_LIMIT_S,
    ask,
    ask_server,
    attached,
    served,
    wait_for,
)


class Writer:
    """Writes rows one by one, keeps what was acknowledged, and connects again after a crash."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.acknowledged: list[int] = []
        self.done = asyncio.Event()

    async def write_more(self, rows: int) -> None:
        enough = len(self.acknowledged) + rows
        async with asyncio.timeout(WAIT_LIMIT_S):
            while len(self.acknowledged) < enough:  # noqa: ASYNC110 - the lanes know nothing of this wait
                await asyncio.sleep(0.01)

    async def run(self, lane: int) -> None:
        number = lane * 1_000_000
        while not self.done.is_set():
            try:
                connection = await asyncpg.connect(self.dsn)
                while not self.done.is_set():
                    number += 1
                    await connection.execute("INSERT INTO logged VALUES ($1)", number)
                    await connection.execute("INSERT INTO volatile VALUES ($1)", number)
                    self.acknowledged.append(number)
                await connection.close()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
                # The last but one is what asyncpg makes of a connection that breaks between two messages.
                await asyncio.sleep(0.02)


def wait_for_another(server: EmbeddedPostgres, gone_pid: int) -> None:
    wait_for(lambda: server.pid not in (None, gone_pid), "a new server")


async def test_a_killed_postgres_comes_back_by_itself_with_every_acknowledged_row(
    data: Path, binaries: Binaries
) -> None:
    server = EmbeddedPostgres(data, binaries)
    await asyncio.to_thread(server.start)
    dsn = server.dsn("postgres", "postgres")
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE logged (n int); CREATE UNLOGGED TABLE volatile (n int)")
    await connection.close()
    writer = Writer(dsn)
    lanes = [asyncio.create_task(writer.run(lane)) for lane in range(4)]
    for _ in range(3):
        await writer.write_more(50)
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await asyncio.to_thread(wait_for_another, server, killed)
    await writer.write_more(50)
    writer.done.set()
    await asyncio.gather(*lanes)
    connection = await asyncpg.connect(dsn)
    logged = {row["n"] for row in await connection.fetch("SELECT n FROM logged")}
    volatile = {row["n"] for row in await connection.fetch("SELECT n FROM volatile")}
    await connection.close()
    await asyncio.to_thread(server.stop)
    assert set(writer.acknowledged) - logged == set()
    # The control: the same comparison sees the loss in a table that a crash empties.
    assert set(writer.acknowledged) - volatile


def test_the_server_ends_with_its_killed_parent_and_the_next_start_is_fine(
    data: Path, binaries: Binaries
) -> None:
    with served(data, binaries) as (host, pid, _pipe):
        ask(attached(data).dsn("postgres", "postgres"), "CREATE TABLE kept AS SELECT 42 AS number")
        host.kill()
        host.join()
        wait_for(lambda: processes_in(data / "postgres") == [], f"server {pid} ends with its parent")
    assert "shut down" in (data / "postgres.log").read_text().splitlines()[-1], "a clean shutdown, no crash"
    with EmbeddedPostgres(data, binaries) as server:
        assert ask_server(server, "SELECT number FROM kept") == 42


def test_a_server_that_outlived_its_parent_is_ended_by_the_next_start(
    data: Path, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The control for the test above: without the signal at its parent's death the server stays.
    monkeypatch.setattr(process, "dies_with", lambda _pid, _signal: lambda: None)
    with served(data, binaries) as (host, pid, _pipe):
        host.kill()
        host.join()
    time.sleep(0.3)
    assert pid in processes_in(data / "postgres")
    with EmbeddedPostgres(data, binaries) as server:
        assert server.pid != pid
        assert pid not in processes_in(data / "postgres")
        assert ask_server(server, "SELECT 1") == 1


def test_parent_and_server_killed_together_leave_a_busy_child_that_is_ended(
    data: Path, binaries: Binaries
) -> None:
    with served(data, binaries) as (host, pid, _pipe):
        dsn = attached(data).dsn("postgres", "postgres")
        busy_pids: list[int] = []

        async def keep_busy() -> None:
            connection = await asyncpg.connect(dsn)
            busy_pids.append(connection.get_server_pid())
            with contextlib.suppress(asyncpg.PostgresError, OSError):
                await connection.execute("DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$")  # never looks up

        thread = threading.Thread(target=lambda: asyncio.run(keep_busy()))
        thread.start()
        wait_for(
            lambda: (
                bool(busy_pids)
                and ask(
                    dsn,
                    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %'",
                )
                == 1
            ),
            "the query runs",
        )
        assert host.pid is not None
        # Held first: with a moment between the two kills the server would still tell its children to go.
        os.kill(pid, signal.SIGSTOP)
        os.kill(host.pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        host.join()
        wait_for(lambda: not process.is_alive(pid), "the server is dead")
        assert busy_pids[0] in processes_in(data / "postgres"), "nobody told the busy child"
        with EmbeddedPostgres(data, binaries) as server:
            assert busy_pids[0] not in processes_in(data / "postgres")
            assert ask_server(server, "SELECT 1") == 1
        thread.join()


def test_a_stale_lock_file_that_names_a_living_stranger_is_no_obstacle(
    data: Path, binaries: Binaries
) -> None:
    owner = (data / "postgres").stat()
    stranger = subprocess.Popen(["sleep", "600"], user=owner.st_uid, group=owner.st_gid, extra_groups=[])
    try:
        stale = f"{stranger.pid}\n{data}/postgres\n1700000000\n5432\n{data}/run\n\n  0  0\nready   \n"
        folder.write_file(
            data / "postgres/postmaster.pid", stale, PlainUser(uid=owner.st_uid, gid=owner.st_gid)
        )
        assert attach(data) is None
        # The control: PostgreSQL alone takes the stranger for a server.
        user = PlainUser(uid=owner.st_uid, gid=owner.st_gid) if os.geteuid() == 0 else None
        usable = folder.reachable_binaries(binaries, Layout(data=data), user)
        with tempfile.TemporaryFile() as output:
            code = process.spawn(
                [str(usable.postgres), "-D", str(data / "postgres")], user, output=output.fileno()
            ).wait()
            output.seek(0)
            said = output.read().decode()
        assert code != 0
        assert "postmaster.pid" in said
        with EmbeddedPostgres(data, binaries) as server:
            assert ask_server(server, "SELECT 1") == 1
        assert stranger.poll() is None, "the stranger was left alone"
    finally:
        stranger.kill()
        stranger.wait()
