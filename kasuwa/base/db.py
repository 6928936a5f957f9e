"""Our thin layer over asyncpg: SQL written out, parameters by name, rows as Structs.

A `Database` is one connection inside one transaction. Nobody but `Pool.transaction` begins or ends one.
"""

import asyncio
import copy
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache, partial
from time import perf_counter
from types import TracebackType
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from kasuwa.base.problems import FileQuotaReached, Invalid, Problem, QuotaReached, Unavailable

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


# What `refuse_beyond` of migration 0090 raises; its detail is the kind and how many are allowed.
_QUOTA_STATE = "KW507"
_BEYOND = (asyncpg.NumericValueOutOfRangeError, asyncpg.DatetimeFieldOverflowError)


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


_Waiter: TypeAlias = "asyncio.Future[Connection[asyncpg.Record] | None]"

# Connections that stay outside of the driver's pool between two look-ups.
_AT_HAND = 4


class Pool:
    """The connections of one process, as the application's role."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", most: int, on_wait: Callable[[float], None]
    ) -> None:
        self._pool = pool
        self._most = most
        self._on_wait = on_wait
        # How many have been taken out of the driver's pool: those in use, and those at hand.
        self._taken = 0
        self._ready: list[Connection[asyncpg.Record]] = []
        self._waiters: deque[_Waiter] = deque()

    @classmethod
    async def open(
        cls,
        *,
        on_wait: Callable[[float], None] = lambda seconds: None,
        min_size: int = 1,
        max_size: int = 10,
        quotas: Mapping[str, int] | None = None,
        name: str = "kasuwa",
        passwords: Sequence[str] = (),
        **address: Any,
    ) -> "Pool":
        """Connect. `address` is what asyncpg takes: `dsn`, or `host`, `user`, `database` …

        `quotas`, by kind, hold for each merchant that has none of its own; 0 allows any number. `name` is
        what the server shows the connections as. Where the address's password is refused, each of
        `passwords` is tried: the role's changes with the sealing key, while this process runs.
        """
        told = {f"app.quota_{kind}": str(allowed) for kind, allowed in (quotas or {}).items()}
        pool = await asyncpg.create_pool(
            connect=partial(_connected, passwords),
            min_size=min_size,
            max_size=max_size,
            max_inactive_connection_lifetime=60.0,
            command_timeout=15.0,
            server_settings={"application_name": name, "jit": "off", "timezone": "UTC", **told},
            reset=_leave_clean,
            **address,
        )
        return cls(pool, max_size, on_wait)

    async def close(self) -> None:
        while self._ready:
            await self.release(self._ready.pop())
        await self._pool.close()

    def abandon(self) -> None:
        """Drop the connections without a farewell, when the server behind them is gone."""
        self._ready.clear()
        self._pool.terminate()

    async def acquire(self) -> "Connection[asyncpg.Record]":
        while self._ready:
            connection = self._ready.pop()
            if not _is_gone(connection):
                return connection
            await self.release(connection)
        begun = perf_counter()
        found = None
        while found is None:
            found = await (self._handed_over() if self._taken >= self._most else self._take())
        self._on_wait(perf_counter() - begun)
        return found

    async def _take(self) -> "Connection[asyncpg.Record]":
        """One from the driver's pool, which has one left."""
        self._taken += 1
        try:
            return await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except BaseException as error:
            self._taken -= 1
            self._give(None)
            if isinstance(error, (OSError, asyncpg.InterfaceError, *_PASSING)):
                raise _no_answer() from error
            raise

    async def _handed_over(self) -> "Connection[asyncpg.Record] | None":
        """The one that somebody gives back next; None when there may be one in the driver's pool instead."""
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                return await waiter
        except BaseException as error:
            # Who is cancelled in the moment of being given one passes it on.
            if waiter.done() and not waiter.cancelled() and not self._give(waiter.result()):
                connection = waiter.result()
                if connection is not None:
                    await self.put_back(connection)
            if isinstance(error, TimeoutError):
                raise _no_answer() from error
            raise

    def _give(self, connection: "Connection[asyncpg.Record] | None") -> bool:
        """Give it to whoever has waited longest; False when nobody waits."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def release(self, connection: "Connection[asyncpg.Record]") -> None:
        """Give back a connection in whatever state to the driver's pool, which looks after it."""
        try:
            await self._pool.release(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            # It broke while it was put back and is gone; what it did before stands.
            log.warning("database.connection_lost")
        finally:
            self._taken -= 1
            self._give(None)

    async def put_back(self, connection: "Connection[asyncpg.Record]") -> None:
        """Give back a connection that has nothing to undo: its transaction has ended, or it never had one.

        It goes to whoever waits, or stays at hand with a few others, past the driver's pool, whose tasks and
        timers cost as much as a look-up.
        """
        if _is_gone(connection):
            await self.release(connection)
        elif not self._give(connection):
            if len(self._ready) < _AT_HAND:
                self._ready.append(connection)
            else:
                await self.release(connection)

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
            await self.put_back(connection)

    def autocommit(self) -> "Autocommit":
        """For single statements that stand alone: a look-up in the directory, a hot read."""
        return Autocommit(self)

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


async def _connected(
    passwords: Sequence[str], *place: Any, **options: Any
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection by the address's own password, else by the first of the others that is let in."""
    try:
        return await asyncpg.connect(*place, **options)
    except asyncpg.InvalidPasswordError:
        for password in passwords:
            try:
                return await asyncpg.connect(*place, **options | {"password": password})
            except asyncpg.InvalidPasswordError:
                continue
        raise


def _no_answer() -> Unavailable:
    return Unavailable("The database does not answer. Try again in a moment.")


def _is_gone(connection: "Connection[asyncpg.Record]") -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # it closed while it lay here, and the driver's pool has taken it away


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
    """503 with Retry-After for what another try may cure, 422 for a value no column can hold, a quota that is
    reached, else None."""
    # A date beyond the calendar, a number beyond its column: what the contracts do not bound. The driver's
    # own refusal is of the general class, a fault in our SQL (a division by zero) is not.
    if type(error) is asyncpg.DataError or isinstance(error, _BEYOND):
        return ValueBeyondReach()
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate == _QUOTA_STATE:
        return _quota_reached(error.as_dict()["detail"])
    passes = isinstance(error, _PASSING)
    if isinstance(error, asyncpg.InterfaceError):
        # A connection that is gone; a wrong parameter or two statements at once are faults of ours.
        passes = "closed" in str(error) or "closing" in str(error) or "released" in str(error)
    return Unavailable("The database is busy or restarting. Try again in a moment.") if passes else None


def _quota_reached(detail: str) -> Problem:
    kind, _, allowed = detail.partition(" ")
    what = f"{int(allowed) / 1e6:g} MB of files" if kind == "file_bytes" else f"{allowed} {kind}"
    verb = "Erase" if kind == "customers" else "Delete"
    advice = f"This business may keep {what} here. {verb} some, or ask whoever runs this server for more."
    return FileQuotaReached(advice) if kind.startswith("file") else QuotaReached(advice)


class Autocommit:
    """`async with` a connection of the pool, each of whose statements stands alone."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Database:
        self._connection = await self._pool.acquire()
        return Database(self._connection)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self._pool.put_back(self._connection)
            return
        await self._pool.release(self._connection)
        with passing_faults():
            raise error.with_traceback(trace)


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
