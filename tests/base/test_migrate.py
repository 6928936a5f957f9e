"""Migrations: forward only, whole or not at all, one process at a time, the same on every PostgreSQL."""

import asyncio
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from kasuwa.base.migrate import (
    DatabaseTooNew,
    Migration,
    MigrationChanged,
    applied,
    migrate,
    read_migrations,
)
from kasuwa.base.postgres.binaries import find_binaries
from kasuwa.base.postgres.bootstrap import OWNER, bootstrap
from kasuwa.base.postgres.server import EmbeddedPostgres
from kasuwa.database import MIGRATIONS, DatabaseUrls
from tests.base.database import Connection, connected
from tests.base.postgres.servers import in_thread

ONE = Migration("0001_one", "CREATE TABLE one (n int); INSERT INTO one VALUES (1)")
TWO = Migration("0002_two", "CREATE TABLE two (n int); INSERT INTO one VALUES (2)")


@pytest.fixture
async def empty(database_urls: DatabaseUrls) -> AsyncIterator[str]:
    """The address of an empty database that the owner of the schema may fill."""
    name = f"migrated_{uuid4().hex}"
    async with connected(database_urls.admin) as admin:
        await admin.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    parts = urlsplit(database_urls.owner)
    yield urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))
    async with connected(database_urls.admin) as admin:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def tables(connection: Connection) -> list[str]:
    rows = await connection.fetch("SELECT relname FROM pg_class WHERE relname IN ('one', 'two') ORDER BY 1")
    return [row["relname"] for row in rows]


async def test_each_runs_once_and_is_remembered(empty: str) -> None:
    async with connected(empty) as connection:
        assert await migrate(connection, [ONE]) == ["0001_one"]
        assert await migrate(connection, [ONE, TWO]) == ["0002_two"]
        assert await migrate(connection, [ONE, TWO]) == []
        assert await applied(connection) == {"0001_one": ONE.sha256, "0002_two": TWO.sha256}
        assert await connection.fetch("SELECT n FROM one ORDER BY n") == [(1,), (2,)]


async def test_a_file_that_was_edited_after_it_ran_is_refused(empty: str) -> None:
    edited = Migration(ONE.name, ONE.sql + " ")
    async with connected(empty) as connection:
        await migrate(connection, [ONE])
        with pytest.raises(MigrationChanged, match="0001_one was edited"):
            await migrate(connection, [edited, TWO])
        assert await tables(connection) == ["one"]
        assert await migrate(connection, [ONE, TWO]) == ["0002_two"]  # the lock is free again


async def test_a_database_of_a_newer_version_is_refused(empty: str) -> None:
    async with connected(empty) as connection:
        await migrate(connection, [ONE, TWO])
        with pytest.raises(DatabaseTooNew, match="0002_two"):
            await migrate(connection, [ONE])


async def test_one_that_fails_leaves_nothing_of_itself_and_keeps_those_before(empty: str) -> None:
    broken = Migration("0002_two", "CREATE TABLE two (n int); SELECT 1 / 0")
    async with connected(empty) as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(connection, [ONE, broken])
        assert await tables(connection) == ["one"]
        assert list(await applied(connection)) == ["0001_one"]
        assert await migrate(connection, [ONE, TWO]) == ["0002_two"]


async def test_a_server_that_goes_away_is_not_hidden_by_the_lock(empty: str) -> None:
    gone = Migration("0001_one", "SELECT pg_terminate_backend(pg_backend_pid())")
    async with connected(empty) as connection:
        with pytest.raises(asyncpg.PostgresConnectionError):
            await migrate(connection, [gone])
        connection.terminate()  # the driver leaves the socket of a connection that broke open


async def test_two_that_start_at_once_do_it_one_after_the_other(empty: str) -> None:
    slow = Migration("0001_one", ONE.sql + "; SELECT pg_sleep(0.2)")
    async with connected(empty) as first, connected(empty) as second, connected(empty) as third:
        done = await asyncio.gather(*(migrate(one, [slow, TWO]) for one in (first, second, third)))
        assert sorted(done) == [[], [], ["0001_one", "0002_two"]]
        assert await first.fetch("SELECT n FROM one ORDER BY n") == [(1,), (2,)]


def test_files_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name, sql in (("0010_b.sql", "b"), ("0002_a.sql", "a"), ("notes.md", "x"), ("read.sql", "x")):
        (tmp_path / name).write_text(sql)
    assert [(found.name, found.sql) for found in read_migrations(tmp_path)] == [
        ("0002_a", "a"),
        ("0010_b", "b"),
    ]


def test_no_migration_of_ours_ends_its_own_transaction() -> None:
    found = read_migrations(MIGRATIONS)
    assert len(found) >= 7
    for migration in found:
        lines = [line.strip().upper() for line in migration.sql.splitlines()]
        assert not [line for line in lines if line in ("COMMIT;", "BEGIN;", "ROLLBACK;")], migration.name
        assert "CONCURRENTLY" not in migration.sql.upper(), migration.name


# Killed amid a migration ---------------------------------------------------------------------------

# What there may be after a kill: tables of the step, and notes that it ran.
BEFORE, AFTER = (0, 0), (5, 1)
# A lock that a step asks for between its second table and its third.
GATE = 4_711
_AT_THE_GATE = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted"


def write_step(folder: Path, n: int, amid: str = "") -> None:
    """A migration of five tables, and a statement amid them."""
    parts = [
        f"CREATE TABLE t{n}_{i} (n int); INSERT INTO t{n}_{i} VALUES (1); SELECT pg_sleep(0.02);"
        for i in range(5)
    ]
    (folder / f"{n:04}_step.sql").write_text("".join([*parts[:2], amid, *parts[2:]]))


async def kill_amid(url: str, folder: Path, moment: Callable[[], Awaitable[None]], broken: str = "") -> None:
    """Migrate in a process of its own, and kill it when the moment has come."""
    words = ["-m", "tests.base.migrating_process", url, str(folder), broken]
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begin\n"
    await moment()
    if process.returncode is None:
        process.kill()
    await process.wait()


async def left_of_step(url: str, n: int) -> tuple[int, int]:
    """How many of the step's tables there are, and how many notes that it ran."""
    async with connected(url) as connection:
        # The server notices a dead client at its next word: its lock says when it has.
        await connection.execute("SELECT pg_advisory_lock(7305211846)")
        found = await connection.fetchval(
            "SELECT count(*) FROM pg_class WHERE relname LIKE $1 AND relkind = 'r'", f"t{n}\\_%"
        )
        noted = await connection.fetchval(
            "SELECT count(*) FROM pg_class WHERE relname = 'schema_migration' AND relkind = 'r'"
        ) and await connection.fetchval(
            "SELECT count(*) FROM schema_migration WHERE name = $1", f"{n:04}_step"
        )
    return found, noted


async def test_a_kill_leaves_the_old_schema_or_the_new_one(empty: str, tmp_path: Path) -> None:
    """Twenty times amid a migration of several tables; each is seen before or after, never between."""
    dice = random.Random(7)
    left = Counter[tuple[int, int]]()
    for n in range(20):
        write_step(tmp_path, n)
        await kill_amid(empty, tmp_path, lambda: asyncio.sleep(dice.random() * 0.25))
        left[await left_of_step(empty, n)] += 1
        async with connected(empty) as connection:
            await migrate(connection, read_migrations(tmp_path))
    assert set(left) <= {BEFORE, AFTER}
    assert left[BEFORE] > 0


@pytest.mark.parametrize(
    ("broken", "left"),
    [("", BEFORE), ("commit-each-statement", (2, 0)), ("note-first", (0, 1))],
    ids=["ours", "commit-each-statement", "note-first"],
)
async def test_the_check_sees_a_migrator_that_a_kill_leaves_between(
    empty: str, tmp_path: Path, broken: str, left: tuple[int, int]
) -> None:
    """The control: each is killed while it waits amid its step, so that no luck is needed."""
    write_step(tmp_path, 0, amid=f"SELECT pg_advisory_xact_lock({GATE});")
    async with connected(empty) as keeper:
        await keeper.execute("SELECT pg_advisory_lock($1)", GATE)

        async def at_the_gate() -> None:
            for _ in range(6_000):
                if await keeper.fetchval(_AT_THE_GATE):
                    return
                await asyncio.sleep(0.01)
            raise AssertionError("nobody asks for the lock")

        await kill_amid(empty, tmp_path, at_the_gate, broken)
    assert await left_of_step(empty, 0) == left
    assert (left in (BEFORE, AFTER)) is not bool(broken)


# The same on every PostgreSQL ----------------------------------------------------------------------

DEBIAN = Path("/usr/lib/postgresql/15/bin")
_CATALOGUE = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position
    """,
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2
    """,
    "policies": """
        SELECT tablename, policyname, cmd, roles::text, qual, with_check FROM pg_policies ORDER BY 1, 2
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2
    """,
    "functions": """
        SELECT p.oid::regprocedure::text, prosecdef, proconfig::text, pg_get_userbyid(proowner)
        FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') ORDER BY 1
    """,
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE NOT tgisinternal ORDER BY 1, 2
    """,
}


async def catalogue(url: str) -> dict[str, list[tuple[object, ...]]]:
    async with connected(url) as connection:
        return {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in _CATALOGUE.items()}


@contextmanager
def debians_own() -> Iterator[str]:
    place = Path(tempfile.mkdtemp(prefix="kasuwa-test-"))
    place.chmod(0o755)
    try:
        with EmbeddedPostgres(place / "data", find_binaries(str(DEBIAN))) as server:
            asyncio.run(bootstrap(server.dsn(server.superuser, "postgres")))
            yield server.dsn(OWNER, "kasuwa")
    finally:
        shutil.rmtree(place)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="PostgreSQL 15 is not installed here")
async def test_the_oldest_postgresql_gets_the_same_schema(database_urls: DatabaseUrls) -> None:
    async def filled(url: str) -> dict[str, list[tuple[object, ...]]]:
        async with connected(url) as connection:
            assert await connection.fetchval("SHOW server_version_num") < "160000"
            await migrate(connection, read_migrations(MIGRATIONS))
        return await catalogue(url)

    def run() -> dict[str, list[tuple[object, ...]]]:
        with debians_own() as url:
            return asyncio.run(filled(url))

    ours = await catalogue(database_urls.owner)
    theirs = await asyncio.to_thread(lambda: in_thread(run))
    assert len(ours["columns"]) > 100
    for name, rows in ours.items():
        assert theirs[name] == rows, name
