"""Who asks, on whose behalf, and the one way to the database: the first argument of every verb."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NewType
from uuid import UUID

import asyncpg
from msgspec import Struct

from kasuwa.base import db as database
from kasuwa.base.db import Database, Pool
from kasuwa.base.problems import Forbidden, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from kasuwa.base.fetch import Fetcher
    from kasuwa.base.imaging import Imaging
    from kasuwa.base.jobs import JobQueue
    from kasuwa.base.limits import Limits
    from kasuwa.base.once import Once
    from kasuwa.base.secrets import Sealer
    from kasuwa.base.storage import Blobs

MerchantId = NewType("MerchantId", UUID)
StoreId = NewType("StoreId", UUID)
UserId = NewType("UserId", UUID)


class Caller(Struct, frozen=True, kw_only=True):
    """Whoever proved themselves: a user's session at a store, an API token of a store, an app, or nobody.

    `original_store_id` is where a session began, before it was moved to another store.
    """

    kind: str
    id: str = ""
    merchant_id: MerchantId | None = None
    store_id: StoreId | None = None
    original_store_id: StoreId | None = None
    user_id: UserId | None = None
    role: str = ""
    permissions: frozenset[str] = frozenset()


NOBODY = Caller(kind="nobody")


class Services:
    """What every verb may use, made once for each process."""

    def __init__(
        self,
        *,
        pool: Pool,
        blobs: "Blobs",
        imaging: "Imaging",
        fetcher: "Fetcher",
        sealer: "Sealer",
        jobs: "JobQueue",
        limits: "Limits",
        settings: Any,
    ) -> None:
        self.pool = pool
        self.blobs = blobs
        self.imaging = imaging
        self.fetcher = fetcher
        self.sealer = sealer
        self.jobs = jobs
        self.limits = limits
        self.settings = settings


class Context:
    """One request, job or command."""

    __slots__ = ("_open", "_others", "after_commit", "caller", "once", "request_id", "services", "url_base")

    def __init__(
        self, services: Services, caller: Caller = NOBODY, *, request_id: str = "", url_base: str = ""
    ) -> None:
        self.services = services
        self.caller = caller
        self.request_id = request_id
        # Scheme and host for absolute links in answers, without a slash at the end.
        self.url_base = url_base
        self.once: Once | None = None
        self._open: Transaction | None = None
        # The same request as other callers: what a key holds open may have been begun by one of them.
        self._others: list[Context] = []
        self.after_commit: list[Callable[[], None]] = []

    @property
    def blobs(self) -> "Blobs":
        return self.services.blobs

    @property
    def merchant_id(self) -> MerchantId:
        if self.caller.merchant_id is None:
            raise Unauthenticated()
        return self.caller.merchant_id

    @property
    def store_id(self) -> StoreId:
        if self.caller.store_id is None:
            raise Unauthenticated()
        return self.caller.store_id

    def acting_as(self, caller: Caller) -> "Context":
        """The same request for another caller, once somebody has proved who they are."""
        context = Context(self.services, caller, request_id=self.request_id, url_base=self.url_base)
        context.once = self.once
        self._others.append(context)
        return context

    def require(self, permission: str) -> None:
        if permission not in self.caller.permissions:
            raise Forbidden(f"This needs the permission {permission}.")

    def may(self, permission: str) -> bool:
        return permission in self.caller.permissions

    def transaction(self) -> "Transaction":
        """One short transaction of the caller's merchant; inside another one it joins it.

        For a request with an Idempotency-Key it stays open until the answer is kept with it.
        """
        return self._open if self._open is not None else Transaction(self)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Database]:
        """A short transaction for questions; inside another one it joins it, so that it sees its changes.

        It claims no Idempotency-Key: what is slow may follow it.
        """
        if self._open is not None:
            async with self._open as db:
                yield db
        else:
            async with self.services.pool.transaction(self.caller.merchant_id) as db:
                yield db

    async def complete(self, answer: Callable[[], bytes] | None) -> None:
        """Commit what a keyed request left open, with its answer (None: undo it)."""
        if self._open is not None:
            await self._open.complete(answer)
        for other in self._others:
            await other.complete(answer)


class Transaction:
    """BEGIN with the tenant set, and COMMIT. Only the boundary commits."""

    __slots__ = ("_connection", "_context", "_db", "_depth")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._connection: database.Connection[asyncpg.Record] | None = None
        self._db: Database | None = None
        self._depth = 0

    async def __aenter__(self) -> Database:
        self._depth += 1
        if self._db is not None:
            return self._db
        context = self._context
        pool = context.services.pool
        self._connection = await pool.acquire()
        try:
            with database.passing_faults():
                await database.begin(self._connection, context.caller.merchant_id)
                self._db = Database(self._connection)
                context._open = self
                if context.once is not None:
                    await context.once.claim(self._db)
        except BaseException:
            await self._end(keep=False)
            raise
        return self._db

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if error is not None:
            await self._end(keep=False)
            with database.passing_faults():
                raise error.with_traceback(trace)
        if self._depth == 0 and self._context.once is None:
            await self._end(keep=True)

    async def complete(self, answer: Callable[[], bytes] | None) -> None:
        if answer is None or self._context.once is None or self._db is None:
            await self._end(keep=False)
            return
        try:
            with database.passing_faults():
                await self._context.once.keep(self._db, answer())
        except BaseException:
            await self._end(keep=False)
            raise
        await self._end(keep=True)

    async def _end(self, *, keep: bool) -> None:
        connection, db, context = self._connection, self._db, self._context
        if connection is None:
            return
        self._connection = self._db = None
        context._open = None
        try:
            if keep:
                with database.passing_faults():
                    await database.commit(connection)
            elif not database.is_lost(connection):
                try:
                    await connection.execute("ROLLBACK")
                except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    database.drop(connection)
        except Unavailable:
            database.drop(connection)
            raise
        finally:
            await context.services.pool.release(connection)
        if keep:
            if db is not None and db.jobs_queued:
                context.services.jobs.wake()
            for act in context.after_commit:
                act()
        context.after_commit = []
