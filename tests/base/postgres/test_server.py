"""Starts, stops and several processes on one folder."""

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kasuwa.base.postgres.binaries import Binaries
from kasuwa.base.postgres.errors import AlreadyRunning, StartFailed
from kasuwa.base.postgres.process import processes_in
from kasuwa.base.postgres.server import EmbeddedPostgres, attach, running
from tests.base.postgres.servers import (
    WAIT_LIMIT_S,
    ask,
    ask_server,
    attached,
    in_thread,
    served,
    wait_for,
)


def test_a_first_start_makes_a_private_cluster_with_checksums_and_code_point_order(
    empty: Path, binaries: Binaries
) -> None:
    with EmbeddedPostgres(empty, binaries, max_connections=37) as server:
        assert ask_server(server, "SHOW data_checksums") == "on"
        assert ask_server(server, "SHOW listen_addresses") == ""
        assert ask_server(server, "SHOW max_connections") == "37"
        assert ask_server(server, "SHOW server_encoding") == "UTF8"
        assert ask_server(server, "SHOW timezone") == "UTC"
        assert ask_server(server, "SELECT 'Z' < 'a' AND lower('Ẹ') = 'ẹ'")
        if binaries.major >= 17:
            assert ask_server(server, "SELECT datlocale FROM pg_database LIMIT 1") == "C.UTF-8"
        for path in (empty, empty / "postgres", Path(server.address.host)):
            assert path.stat().st_mode & 0o777 == 0o700
        assert server.pid is not None
        assert os.getsid(server.pid) == server.pid, "Ctrl-C in the terminal must not reach it"


def test_a_second_start_finds_what_the_first_one_kept(data: Path, binaries: Binaries) -> None:
    with EmbeddedPostgres(data, binaries) as server:
        ask_server(server, "CREATE TABLE kept AS SELECT 41 AS number")
        made = (data / "postgres").stat().st_ino
    with EmbeddedPostgres(data, binaries) as server:
        assert ask_server(server, "SELECT number FROM kept") == 41
        assert (data / "postgres").stat().st_ino == made


def test_a_clean_stop_leaves_no_process_no_socket_and_no_lock(data: Path, binaries: Binaries) -> None:
    server = EmbeddedPostgres(data, binaries)
    server.start()
    socket_path = Path(server.address.host) / ".s.PGSQL.5432"
    assert processes_in(data / "postgres")
    assert socket_path.exists()
    server.stop()
    assert processes_in(data / "postgres") == []
    assert not socket_path.exists()
    assert server.pid is None
    server.stop()  # once more does no harm
    server.start()  # and the same object may serve again
    server.stop()


def test_a_stop_does_not_wait_for_open_transactions(data: Path, binaries: Binaries) -> None:
    server = EmbeddedPostgres(data, binaries)
    server.start()
    address = server.address

    async def hang() -> None:
        connection = await asyncpg.connect(address.dsn("postgres", "postgres"))
        asyncio.get_running_loop().run_in_executor(None, server.stop)
        with contextlib.suppress(asyncpg.PostgresError, OSError):
            await connection.execute("SELECT pg_sleep(600)")

    in_thread(lambda: asyncio.run(hang()))
    wait_for(lambda: processes_in(data / "postgres") == [], "the server ends")


def test_the_rest_of_a_half_made_cluster_is_no_obstacle(empty: Path, binaries: Binaries) -> None:
    half = empty / ".postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(empty, binaries) as server:
        assert ask_server(server, "SELECT 1") == 1
    assert not half.exists()


def test_owners_settings_win_over_ours(data: Path, binaries: Binaries) -> None:
    with (data / "postgres/postgresql.conf").open("a") as file:
        file.write("work_mem = '7MB'\nmax_wal_size = '300MB'\n")
    with EmbeddedPostgres(data, binaries) as server:
        assert ask_server(server, "SHOW work_mem") == "7MB"
        assert ask_server(server, "SHOW max_wal_size") == "300MB"


def test_a_server_that_cannot_start_says_what_postgresql_said(data: Path, binaries: Binaries) -> None:
    with (data / "postgres/postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    server = EmbeddedPostgres(data, binaries)
    with pytest.raises(StartFailed, match="no_such_setting"):
        server.start()
    with pytest.raises(StartFailed, match="no_such_setting"):  # not AlreadyRunning: the lock is free again
        server.start()


def test_the_log_keeps_no_values_of_failed_statements(data: Path, binaries: Binaries) -> None:
    double = "INSERT INTO one VALUES ('canary'), ('canary')"
    with EmbeddedPostgres(data, binaries) as server:
        ask_server(server, "CREATE TABLE one (name text UNIQUE)")
        with pytest.raises(asyncpg.UniqueViolationError, match="one_name_key"):
            ask_server(server, double)
        assert b"canary" not in (data / "postgres.log").read_bytes()
        # The control: with PostgreSQL's own settings the same statement leaves its values there.
        ask_server(server, "ALTER DATABASE postgres SET log_min_messages = 'warning'")
        ask_server(server, "ALTER DATABASE postgres SET log_error_verbosity = 'default'")
        with pytest.raises(asyncpg.UniqueViolationError):
            ask_server(server, double)
        assert b"canary" in (data / "postgres.log").read_bytes()


def test_a_second_serve_is_refused_by_the_firsts_id(data: Path, binaries: Binaries) -> None:
    with served(data, binaries) as (host, _pid, _pipe):
        second = EmbeddedPostgres(data, binaries)
        with pytest.raises(AlreadyRunning, match=f"Process {host.pid} ") as refused:
            second.start()
        assert refused.value.pid == host.pid
        second.stop()  # what did not start does not stop the other
        assert ask(attached(data).dsn("postgres", "postgres"), "SELECT 1") == 1
    wait_for(lambda: processes_in(data / "postgres") == [], "the first server ends")
    with second:
        assert ask_server(second, "SELECT 1") == 1


def test_short_commands_join_a_running_server_and_leave_it_running(data: Path, binaries: Binaries) -> None:
    assert attach(data) is None
    with served(data, binaries) as (_host, pid, pipe):
        with running(data, binaries) as address:
            assert ask(address.dsn("postgres", "postgres"), "SELECT 1") == 1
        assert pid in processes_in(data / "postgres")
        pipe.send("stop")
        assert pipe.recv() == "stopped"
    assert attach(data) is None


def test_short_commands_share_the_server_that_the_first_of_them_started(
    data: Path, binaries: Binaries
) -> None:
    joined, leave = threading.Event(), threading.Event()
    answers: list[Any] = []

    def second_command() -> None:
        with running(data, binaries) as address:
            joined.set()
            leave.wait(WAIT_LIMIT_S)
            answers.append(ask(address.dsn("postgres", "postgres"), "SELECT 'still there'"))

    def first_command() -> None:
        with running(data, binaries):
            second.start()
            joined.wait(WAIT_LIMIT_S)

    second = threading.Thread(target=second_command)
    first = threading.Thread(target=first_command)
    first.start()
    joined.wait(WAIT_LIMIT_S)
    first.join(0.3)
    assert first.is_alive(), "the command that started the server waits for the one that joined"
    leave.set()
    first.join()
    second.join()
    assert answers == ["still there"]
    assert processes_in(data / "postgres") == []


def test_many_short_commands_at_once_all_get_a_server(data: Path, binaries: Binaries) -> None:
    answers: list[Any] = []

    def command() -> None:
        with running(data, binaries) as address:
            answers.append(ask(address.dsn("postgres", "postgres"), "SELECT 1"))

    threads = [threading.Thread(target=command) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1] * 6
    assert processes_in(data / "postgres") == []
