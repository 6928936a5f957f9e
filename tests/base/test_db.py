"""The layer over the driver: names for parameters, faults that pass, and connections that come back clean."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import Struct

from kasuwa.base import db as database
from kasuwa.base.db import (
    Database,
    Numbered,
    Pool,
    ValueBeyondReach,
    numbered,
    passing_faults,
    problem_of,
    settles,
)
from kasuwa.base.problems import Conflict, NotFound, Unavailable
from kasuwa.database import DatabaseUrls
from tests.base.database import Connection, connected, superuser_url

NEW_MERCHANT = """
    INSERT INTO merchant (merchant_id, business_name, country_code, currency) VALUES (:id, 'x', 'NG', 'NGN')
"""


class Pair(Struct, frozen=True):
    one: int
    two: str


@pytest.fixture
async def pool(database_urls: DatabaseUrls) -> AsyncIterator[Pool]:
    """Two connections: a leaked one is missed at once."""
    pool = await Pool.open(dsn=database_urls.application, max_size=2)
    yield pool
    await pool.close()


async def free_connections(pool: Pool) -> int:
    """How many connections can be had at the same time."""
    held = [await pool.acquire() for _ in range(2)]
    assert not any(connection.is_in_transaction() for connection in held)
    for connection in held:
        await pool.release(connection)
    return len(held)


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "text", "names"),
    [
        ("SELECT :a", "SELECT $1", ("a",)),
        ("SELECT :b, :a, :b", "SELECT $1, $2, $1", ("b", "a")),
        ("SELECT :a::text, x::uuid[]", "SELECT $1::text, x::uuid[]", ("a",)),
        ("SELECT ':a', :b", "SELECT ':a', $1", ("b",)),
        ("SELECT 'it''s :a', ' :a', :b", "SELECT 'it''s :a', ' :a', $1", ("b",)),
        ('SELECT ":a" FROM t', 'SELECT ":a" FROM t', ()),
        ("SELECT 1 -- :a\n, :b", "SELECT 1 -- :a\n, $1", ("b",)),
        ("SELECT /* :a\n :c */ :b", "SELECT /* :a\n :c */ $1", ("b",)),
        ("SELECT $$ :a $$, $x$ :b $$ $x$, :c", "SELECT $$ :a $$, $x$ :b $$ $x$, $1", ("c",)),
        ("SELECT '12:30'::time, a[1:2], :a_1", "SELECT '12:30'::time, a[1:2], $1", ("a_1",)),
        ("SELECT x=:a AND y=:b", "SELECT x=$1 AND y=$2", ("a", "b")),
    ],
)
def test_names_become_numbers_and_texts_stay(sql: str, text: str, names: tuple[str, ...]) -> None:
    found = Numbered(sql)
    assert (found.text, found.names) == (text, names)


def test_a_statement_is_read_once() -> None:
    assert numbered("SELECT :a") is numbered("SELECT :a")


async def test_rows_come_as_structs_values_and_counts(pool: Pool) -> None:
    async with pool.transaction() as db:
        sql = "SELECT n AS one, n::text AS two FROM generate_series(1, :most) n ORDER BY 1"
        assert await db.all(sql, into=Pair, most=2) == [Pair(1, "1"), Pair(2, "2")]
        assert await db.find(sql, into=Pair, most=2) == Pair(1, "1")
        assert await db.find(sql, into=Pair, most=0) is None
        assert await db.one(sql, into=Pair, most=1) == Pair(1, "1")
        with pytest.raises(NotFound):
            await db.one(sql, into=Pair, missing=NotFound(), most=0)
        with pytest.raises(AssertionError, match="no row from"):
            await db.one(sql, into=Pair, most=0)
        assert await db.value(sql, most=1) == 1
        assert await db.values(sql, most=3) == [1, 2, 3]
        assert await db.execute("UPDATE merchant SET status = status") == 0
        assert await db.execute("SET LOCAL work_mem = '4MB'") == 0


async def test_a_missing_or_strange_parameter_is_a_fault_of_ours(pool: Pool) -> None:
    async with pool.autocommit() as db:
        for values in ({}, {"b": 1}, {"a": 1, "b": 2}):
            with pytest.raises(AssertionError, match="parameters"):
                await db.value("SELECT :a::int", **values)


async def test_many_rows_go_in_one_call(pool: Pool) -> None:
    merchant_id = uuid4()
    async with pool.transaction(merchant_id) as db:
        await db.execute(NEW_MERCHANT, id=merchant_id)
        await db.execute_many(
            "INSERT INTO merchant_counter (merchant_id, name, value) VALUES (:id, :name, 1)",
            [{"id": merchant_id, "name": f"n{n}"} for n in range(5)],
        )
        assert await db.value("SELECT count(*) FROM merchant_counter") == 5


# Races that constraints settle -------------------------------------------------------------------

TAKEN = {"taken": Conflict("Taken already.")}


async def refuse(pool: Pool, constraint: str) -> None:
    async with pool.transaction() as db:
        with settles(TAKEN):
            await db.call(f"DO $$ BEGIN RAISE unique_violation USING CONSTRAINT = '{constraint}'; END $$")


async def test_a_constraint_says_which_problem_it_means(pool: Pool) -> None:
    with pytest.raises(Conflict, match="Taken already"):
        await refuse(pool, "taken")
    with pytest.raises(asyncpg.UniqueViolationError):
        await refuse(pool, "another")
    assert await free_connections(pool) == 2


async def test_a_problem_raised_again_does_not_keep_its_earlier_frames(pool: Pool) -> None:
    depths = []
    for _ in range(3):
        with pytest.raises(Conflict) as raised:
            await refuse(pool, "taken")
        depths.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert depths[0] == depths[2]
    assert TAKEN["taken"].__traceback__ is None


# Faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.DiskFullError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.QueryCanceledError("x"),
        asyncpg.SerializationError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.LockNotAvailableError("x"),
        asyncpg.IdleInTransactionSessionTimeoutError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.InterfaceError("the underlying connection is closed"),
        asyncpg.InterfaceError("pool is closing"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=repr,
)
def test_what_another_try_may_cure_is_503_with_retry_after(error: Exception) -> None:
    with pytest.raises(Unavailable) as raised, passing_faults():
        raise error
    assert (raised.value.status, raised.value.headers) == (503, {"Retry-After": "1"})
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("x"),
        asyncpg.UndefinedColumnError("x"),
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
        asyncpg.DivisionByZeroError("x"),
        ValueError("x"),
        Conflict("x"),
    ],
    ids=repr,
)
def test_a_fault_of_ours_stays_what_it_is(error: Exception) -> None:
    assert problem_of(error) is None
    with pytest.raises(type(error)), passing_faults():
        raise error


@pytest.mark.parametrize(
    ("sql", "value"), [("SELECT :n::integer", 2**70), ("SELECT :n::text::numeric(18, 3)", "1e18")]
)
async def test_a_value_beyond_a_column_is_refused_and_not_called_a_busy_database(
    pool: Pool, sql: str, value: object
) -> None:
    with pytest.raises(ValueBeyondReach):
        async with pool.transaction() as db:
            await db.value(sql, n=value)
    assert await free_connections(pool) == 2


async def test_a_transaction_commits_or_leaves_nothing(pool: Pool, database_urls: DatabaseUrls) -> None:
    kept, lost = uuid4(), uuid4()
    insert = NEW_MERCHANT
    async with pool.transaction(kept) as db:
        await db.execute(insert, id=kept)
    with pytest.raises(Conflict):
        async with pool.transaction(lost) as db:
            await db.execute(insert, id=lost)
            raise Conflict()
    async with connected(superuser_url(database_urls)) as admin:
        found = await admin.fetch(
            "SELECT merchant_id FROM merchant WHERE merchant_id = ANY($1)", [kept, lost]
        )
    assert [row["merchant_id"] for row in found] == [kept]


async def test_a_commit_that_fails_is_never_a_success(pool: Pool) -> None:
    with pytest.raises(Unavailable, match="not saved"):
        async with pool.transaction() as db:
            with pytest.raises(asyncpg.DivisionByZeroError):
                await db.value("SELECT 1 / 0")
    assert await free_connections(pool) == 2


async def killed(db: Database, admin: Connection) -> None:
    await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", await db.value("SELECT pg_backend_pid()"))


@pytest.mark.parametrize("last", ["statement", "commit", "refusal"])
async def test_a_backend_killed_amid_a_transaction_is_503_and_its_connection_is_replaced(
    pool: Pool, database_urls: DatabaseUrls, last: str
) -> None:
    async with connected(superuser_url(database_urls)) as admin:
        expected: type[Exception] = Conflict if last == "refusal" else Unavailable
        with pytest.raises(expected):
            async with pool.transaction() as db:
                await killed(db, admin)
                if last == "statement":
                    await db.value("SELECT 1")
                if last == "refusal":
                    raise Conflict()
        with pytest.raises(Unavailable):
            async with pool.autocommit() as db:
                await killed(db, admin)
                await db.value("SELECT 1")
    assert await free_connections(pool) == 2


async def test_a_connection_that_dies_while_nobody_uses_it_is_replaced_unseen(
    pool: Pool, database_urls: DatabaseUrls
) -> None:
    """What lies at hand after a restart of the server must not cost the next request anything."""
    async with connected(superuser_url(database_urls)) as admin:
        for _ in range(3):
            async with pool.autocommit() as db:
                pid = await db.value("SELECT pg_backend_pid()")
            await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
            await asyncio.sleep(0.1)  # its end is noticed
            async with pool.autocommit() as db:
                assert await db.value("SELECT 1") == 1
    assert await free_connections(pool) == 2


async def test_who_is_cancelled_leaves_no_open_transaction(pool: Pool, database_urls: DatabaseUrls) -> None:
    inside = asyncio.Event()
    pids: list[int] = []

    async def work() -> None:
        async with pool.transaction(uuid4()) as db:
            pids.append(await db.value("SELECT pg_backend_pid()"))
            inside.set()
            await db.value("SELECT pg_sleep(60)")

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with connected(superuser_url(database_urls)) as admin:
        left = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1) AND state LIKE '%transaction%'"
        assert await admin.fetchval(left, pids) == 0
    assert await free_connections(pool) == 2


async def test_cancelled_twice_it_still_gives_its_connection_back(pool: Pool) -> None:
    for _ in range(4):
        inside = asyncio.Event()

        async def work(inside: asyncio.Event = inside) -> None:
            async with pool.transaction() as db:
                inside.set()
                await db.value("SELECT pg_sleep(60)")

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await free_connections(pool) == 2


async def test_no_connection_within_the_time_is_503(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "ACQUIRE_SECONDS", 0.05)
    held = [await pool.acquire() for _ in range(2)]
    with pytest.raises(Unavailable, match="does not answer"):
        await pool.acquire()
    for connection in held:
        await pool.release(connection)


async def waiting(pool: Pool, count: int) -> list[asyncio.Task[object]]:
    """Tasks that wait for a connection, in this order; whoever gets one gives it back."""

    async def work() -> object:
        async with pool.autocommit() as db:
            return await db.value("SELECT 1")

    tasks = [asyncio.create_task(work()) for _ in range(count)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


async def test_who_waits_is_handed_the_next_connection(pool: Pool) -> None:
    held = [await pool.acquire() for _ in range(2)]
    tasks = await waiting(pool, 5)
    await pool.put_back(held.pop())
    assert await asyncio.gather(*tasks) == [1] * 5
    await pool.release(held.pop())
    assert await free_connections(pool) == 2


async def test_who_waits_gets_a_new_connection_for_one_that_broke(pool: Pool) -> None:
    held = [await pool.acquire() for _ in range(2)]
    tasks = await waiting(pool, 3)
    for connection in held:
        connection.terminate()
        await pool.put_back(connection)
    assert await asyncio.gather(*tasks) == [1] * 3
    assert await free_connections(pool) == 2


async def test_who_is_cancelled_while_being_handed_one_passes_it_on(pool: Pool) -> None:
    held = [await pool.acquire() for _ in range(2)]
    first, second = await waiting(pool, 2)
    # In the same moment: the task has not run since.
    await pool.put_back(held[0])
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == 1
    # And where nobody is left to take it, it stays at hand.
    held[0] = await pool.acquire()
    (last,) = await waiting(pool, 1)
    await pool.put_back(held[0])
    last.cancel()
    with pytest.raises(asyncio.CancelledError):
        await last
    await pool.put_back(held[1])
    assert await free_connections(pool) == 2


async def test_the_wait_for_a_connection_is_observed(database_urls: DatabaseUrls) -> None:
    waits: list[float] = []
    pool = await Pool.open(dsn=database_urls.application, max_size=1, on_wait=waits.append)
    async with pool.autocommit() as db:
        await db.value("SELECT 1")
    await pool.close()
    assert len(waits) == 1
    assert waits[0] >= 0


async def test_an_abandoned_pool_says_so(database_urls: DatabaseUrls) -> None:
    pool = await Pool.open(dsn=database_urls.application)
    pool.abandon()
    with pytest.raises(Unavailable):
        await pool.acquire()


# The tenant never outlives its transaction ---------------------------------------------------------


async def leaks_between(pool: Pool, merchants: list[UUID | None], fails: list[bool]) -> int:
    """How many of these transactions found another's merchant set on the connection they were given."""
    leaks = 0

    async def one(merchant_id: UUID | None, fail: bool) -> None:
        nonlocal leaks
        try:
            async with pool.transaction(merchant_id) as db:
                leaks += (await db.value("SELECT current_merchant()")) != merchant_id
                if fail:
                    raise Conflict()
        except Conflict:
            pass
        async with pool.autocommit() as db:
            leaks += (await db.value("SELECT current_merchant()")) is not None

    await asyncio.gather(
        *(one(merchant_id, fail) for merchant_id, fail in zip(merchants, fails, strict=True))
    )
    return leaks


def two_hundred(seed: int) -> tuple[list[UUID | None], list[bool]]:
    two = (uuid4(), uuid4(), None)
    return [two[(seed + n * 7) % 3] for n in range(200)], [(seed + n) % 5 == 0 for n in range(200)]


async def test_the_merchant_of_a_transaction_never_reaches_the_next_one(pool: Pool) -> None:
    for seed in range(5):
        assert await leaks_between(pool, *two_hundred(seed)) == 0


async def test_set_for_the_session_would_leak(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a build that forgets LOCAL."""
    right = database.set_merchant
    monkeypatch.setattr(
        database, "set_merchant", lambda merchant: right(merchant).replace("SET LOCAL", "SET")
    )
    assert await leaks_between(pool, *two_hundred(0)) > 0
