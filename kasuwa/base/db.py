"""Our thin layer over asyncpg: SQL written out, parameters by name, rows as Structs.

A `Database` is one connection inside one transaction. Nobody but `Pool.transaction` begins or ends one.
"""

import copy
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from time import perf_counter
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from kasuwa.base.problems import Invalid, Problem, Unavailable

log = structlog.get_logger("kasuwa.database")

T = TypeVar("T")
# How long a request waits for a free connection.
ACQUIRE_SECONDS = 5.0
Connection = PoolConnectionProxy  # what the pool lends

# A `:name`, or what may look like one and is none: a text, a quoted name, a comment.
_NAMED = re.compile(
    r"""
    '(?:[^']|'')*' | "[^"]*" | --[^\n]* | /\*.*?\*/ | (?P<quote>\$\w*\$).*?(?P=quote)
    | (?<![:\w]) : (?P<name>[a-z_][a-z0-9_]*)
    """,
    re.VERBOSE | re.DOTALL,
)

# What another try may cure: the server went away, or another transaction was in the way.
_PASSING = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,  # connections, memory, disk
    asyncpg.OperatorInterventionError,  # a shutdown, a start, a cancelled statement
    asyncpg.TransactionRollbackError,  # a deadlock, a serialization failure
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # the main server has become a replica
    asyncpg.InvalidCachedStatementError,
    asyncpg.InternalClientError,  # what 0.32 raises when the server dies amid a message
    ConnectionError,
    TimeoutError,
)
_BEYOND_REACH = (
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.DatetimeFieldOverflowError,
    asyncpg.IntervalFieldOverflowError,
    asyncpg.StringDataRightTruncationError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.CharacterNotInRepertoireError,
)


class ValueBeyondReach(Invalid):
    code = "value-beyond-reach"
    title = "A value is beyond what can be kept"


class Numbered:
    """A statement with `:name` turned into the driver's `$1`, once."""

    __slots__ = ("named", "names", "text")

    def __init__(self, sql: str) -> None:
        names: list[str] = []

        def number(match: re.Match[str]) -> str:
            name = match["name"]
            if name is None:
                return match[0]
            if name not in names:
                names.append(name)
            return f"${names.index(name) + 1}"

        self.text = _NAMED.sub(number, sql)
        self.names = tuple(names)
        self.named = frozenset(names)


@lru_cache(maxsize=4096)
def numbered(sql: str) -> Numbered:
    return Numbered(sql)


def _ordered(statement: Numbered, values: Mapping[str, object]) -> list[object]:
    assert values.keys() == statement.named, (
        f"parameters {sorted(values)} are not those of the statement, {sorted(statement.names)}"
    )
    return [values[name] for name in statement.names]


class Database:
    """One connection inside one transaction of one merchant (or of none)."""

    __slots__ = ("_connection", "jobs_queued")

    def __init__(self, connection: "Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self.jobs_queued = False

    async def all(self, sql: str, *, into: Callable[..., T], **values: object) -> list[T]:
        """Every row as `into(**row)`."""
        statement = numbered(sql)
        rows = await self._connection.fetch(statement.text, *_ordered(statement, values))
        return [into(**row) for row in rows]

    async def find(self, sql: str, *, into: Callable[..., T], **values: object) -> T | None:
        """The first row, or None."""
        statement = numbered(sql)
        row = await self._connection.fetchrow(statement.text, *_ordered(statement, values))
        return None if row is None else into(**row)

    async def one(
        self, sql: str, *, into: Callable[..., T], missing: Problem | None = None, **values: object
    ) -> T:
        """The first row; without one `missing` is raised."""
        row = await self.find(sql, into=into, **values)
        if row is None:
            if missing is not None:
                raise missing
            raise AssertionError(f"no row from: {sql.strip()[:200]}")
        return row

    async def value(self, sql: str, **values: object) -> Any:
        """The first column of the first row, or None."""
        statement = numbered(sql)
        return await self._connection.fetchval(statement.text, *_ordered(statement, values))

    async def values(self, sql: str, **values: object) -> list[Any]:
        """The first column of every row."""
        statement = numbered(sql)
        rows = await self._connection.fetch(statement.text, *_ordered(statement, values))
        return [row[0] for row in rows]

    async def execute(self, sql: str, **values: object) -> int:
        """Run a change and answer how many rows it touched."""
        statement = numbered(sql)
        status = await self._connection.execute(statement.text, *_ordered(statement, values))
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def execute_many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> None:
        statement = numbered(sql)
        await self._connection.executemany(statement.text, [_ordered(statement, row) for row in rows])

    async def call(self, command: str) -> None:
        """A command without parameters, or several in one message."""
        await self._connection.execute(command)


@contextmanager
def settles(refusals: Mapping[str, Problem]) -> Iterator[None]:
    """Let a constraint settle a race: its name says which Problem it means."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        problem = refusals.get(error.constraint_name or "")
        if problem is None:
            raise
        # A copy: one that is raised again and again would keep the frames of every time.
        raise copy.copy(problem) from None


class Pool:
    """The connections of one process, as the application's role."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", on_wait: Callable[[float], None]) -> None:
        self._pool = pool
        self._on_wait = on_wait

    @classmethod
    async def open(
        cls,
        *,
        on_wait: Callable[[float], None] = lambda seconds: None,
        min_size: int = 1,
        max_size: int = 10,
        **address: Any,
    ) -> "Pool":
        """Connect. `address` is what asyncpg takes: `dsn`, or `host`, `user`, `database` …"""
        pool = await asyncpg.create_pool(
            min_size=min_size,
            max_size=max_size,
            max_inactive_connection_lifetime=60.0,
            command_timeout=15.0,
            server_settings={"application_name": "kasuwa", "jit": "off", "timezone": "UTC"},
            reset=_leave_clean,
            **address,
        )
        return cls(pool, on_wait)

    async def close(self) -> None:
        await self._pool.close()

    def abandon(self) -> None:
        """Drop the connections without a farewell, when the server behind them is gone."""
        self._pool.terminate()

    async def acquire(self) -> "Connection[asyncpg.Record]":
        begun = perf_counter()
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except (OSError, asyncpg.InterfaceError, *_PASSING) as error:
            raise Unavailable("The database does not answer. Try again in a moment.") from error
        self._on_wait(perf_counter() - begun)
        return connection

    async def release(self, connection: "Connection[asyncpg.Record]") -> None:
        try:
            await self._pool.release(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            # It broke while it was put back and is gone; what it did before stands.
            log.warning("database.connection_lost")

    async def end(self, connection: "Connection[asyncpg.Record]", *, keep: bool) -> None:
        """Commit or roll back, and give the connection back, whatever happens."""
        try:
            if keep:
                with passing_faults():
                    await _commit(connection)
            else:
                await _roll_back(connection)
        except BaseException:
            # Whether it was kept is unknown: nobody may go on with this connection.
            drop(connection)
            raise
        finally:
            await self.release(connection)

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Database]:
        """For single statements that stand alone: a look-up in the directory, a hot read."""
        connection = await self.acquire()
        try:
            with passing_faults():
                yield Database(connection)
        finally:
            await self.release(connection)

    @asynccontextmanager
    async def transaction(self, merchant_id: UUID | None = None) -> AsyncIterator[Database]:
        """One transaction of this merchant; it commits at the end or leaves nothing."""
        connection = await self.acquire()
        try:
            with passing_faults():
                await begin(connection, merchant_id)
                yield Database(connection)
        except BaseException:
            await self.end(connection, keep=False)
            raise
        await self.end(connection, keep=True)


async def _leave_clean(connection: "asyncpg.Connection[Any]") -> None:
    """All we set is set for one transaction: without an open one there is nothing to undo."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


async def begin(connection: "Connection[asyncpg.Record]", merchant_id: UUID | None) -> None:
    """BEGIN and the tenant in one message."""
    await connection.execute(f"BEGIN; {set_merchant(merchant_id)}")


def set_merchant(merchant_id: UUID | None) -> str:
    """The command that makes the transaction one of this merchant; a UUID needs no quoting."""
    return f"SET LOCAL app.merchant_id = '{UUID(int=merchant_id.int) if merchant_id else ''}'"


async def _commit(connection: "Connection[asyncpg.Record]") -> None:
    """COMMIT; a transaction that had failed answers ROLLBACK, which must never look like success."""
    status = await connection.execute("COMMIT")
    if status != "COMMIT":
        raise Unavailable("The change was not saved. Try again.")


async def _roll_back(connection: "Connection[asyncpg.Record]") -> None:
    """ROLLBACK. It never hides the error that led here: a connection that cannot is dropped."""
    try:
        await connection.execute("ROLLBACK")
    except Exception:
        drop(connection)


def drop(connection: "Connection[asyncpg.Record]") -> None:
    """End a connection in an unknown state. One that broke is back in the pool: then asking it raises."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


def problem_of(error: BaseException) -> Problem | None:
    """503 with Retry-After for what another try may cure, 422 for a value no column can hold, else None."""
    if isinstance(error, _BEYOND_REACH) or (
        # What the driver refuses to send is a DataError too; only a number too large is the caller's.
        isinstance(error, asyncpg.DataError) and isinstance(error.__cause__, OverflowError)
    ):
        return ValueBeyondReach()
    passes = isinstance(error, _PASSING)
    if isinstance(error, asyncpg.InterfaceError):
        # A connection that is gone; a wrong parameter or two statements at once are faults of ours.
        passes = "closed" in str(error) or "closing" in str(error) or "released" in str(error)
    return Unavailable("The database is busy or restarting. Try again in a moment.") if passes else None


@contextmanager
def passing_faults() -> Iterator[None]:
    """Turn what the database refuses for the caller's or the moment's sake into a Problem."""
    try:
        yield
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        raise problem from error
