"""Who asks, on whose behalf, and the one way to the database: the first argument of every verb."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, NewType
from uuid import UUID

import asyncpg
from msgspec import Struct

from kasuwa.base import db as database
from kasuwa.base.db import Database, Pool
from kasuwa.base.problems import Forbidden, Unauthenticated

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

    `original_store_id` is where a session began, before it was moved to another store. `session_id` and
    `login_id` name a user's session and the log-in that opened it; `is_at_till`: it was opened by PIN.
    """

    kind: str
    id: str = ""
    merchant_id: MerchantId | None = None
    store_id: StoreId | None = None
    original_store_id: StoreId | None = None
    user_id: UserId | None = None
    role: str = ""
    permissions: frozenset[str] = frozenset()
    session_id: UUID | None = None
    login_id: UUID | None = None
    is_at_till: bool = False


class Sender(Struct, frozen=True):
    """Where a request came from: its address, for IPv6 the /64, and its User-Agent as it was sent."""

    address: str = ""
    user_agent: str = ""


NOWHERE = Sender()
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

    __slots__ = ("_find_sender", "_keyed", "_open", "caller", "request_id", "services", "url_base")

    def __init__(
        self,
        services: Services,
        caller: Caller = NOBODY,
        *,
        request_id: str = "",
        url_base: str = "",
        find_sender: Callable[[], Sender] = lambda: NOWHERE,
    ) -> None:
        self.services = services
        self.caller = caller
        self.request_id = request_id
        # Scheme and host for absolute links in answers, without a slash at the end.
        self.url_base = url_base
        # Few ask where a request came from, so it is found out only then.
        self._find_sender = find_sender
        self._open: Transaction | None = None
        self._keyed: KeyedTransaction | None = None

    @property
    def sender(self) -> Sender:
        return self._find_sender()

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
        context = Context(
            self.services,
            caller,
            request_id=self.request_id,
            url_base=self.url_base,
            find_sender=self._find_sender,
        )
        context._keyed = self._keyed
        return context

    def answer_once(self, once: "Once") -> None:
        """From here on the request has an Idempotency-Key: `complete` says what becomes of its changes."""
        self._keyed = KeyedTransaction(self.services, once)

    @property
    def has_key(self) -> bool:
        return self._keyed is not None

    @property
    def is_in_transaction(self) -> bool:
        return self._open is not None

    def require(self, permission: str) -> None:
        if permission not in self.caller.permissions:
            raise Forbidden(f"This needs the permission {permission}.")

    def may(self, permission: str) -> bool:
        return permission in self.caller.permissions

    def transaction(self) -> AbstractAsyncContextManager[Database]:
        """One short transaction of the caller's merchant; inside another one it joins it.

        For a request with an Idempotency-Key it is a part of one that stays open until the answer is kept.
        """
        if self._keyed is not None:
            return self._keyed.part(self.caller.merchant_id)
        return self._open if self._open is not None else Transaction(self)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Database]:
        """A short transaction for questions; inside another one it joins it, so that it sees its changes.

        It claims no Idempotency-Key: what is slow may follow it.
        """
        if self._open is not None or (self._keyed is not None and self._keyed.is_open):
            async with self.transaction() as db:
                yield db
        else:
            async with self.services.pool.transaction(self.caller.merchant_id) as db:
                yield db

    def single_call(self) -> AbstractAsyncContextManager[Database]:
        """For one call of a function that sets the merchant itself: no transaction of ours around it.

        Inside a transaction it joins it, so that it sees its changes.
        """
        is_open = self._open is not None or (self._keyed is not None and self._keyed.is_open)
        return self.transaction() if is_open else self.services.pool.autocommit()

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Inside an open transaction: what fails within is undone alone, and the error goes on."""
        if self._keyed is not None:
            async with self._keyed.part(self.caller.merchant_id):
                yield
        else:
            assert self._open is not None, "attempt() stands inside transaction()"
            async with self._open.attempt():
                yield

    async def note_person(self, db: Database, person_id: UUID) -> None:
        """Note in the open transaction that the answer, where it is kept for repeats, tells of the person."""
        if self._keyed is not None:
            await self._keyed.note_person(db, person_id)

    async def complete(self, answer: bytes | None) -> None:
        """Commit what a keyed request left open, with its answer (None: undo it)."""
        if self._keyed is not None:
            await self._keyed.complete(answer)


class Transaction:
    """BEGIN with the tenant set, and COMMIT. Only the boundary commits."""

    __slots__ = ("_connection", "_context", "_db", "_depth", "_failed")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._connection: database.Connection[asyncpg.Record] | None = None
        self._db: Database | None = None
        self._depth = 0
        self._failed = False

    async def __aenter__(self) -> Database:
        if self._db is None:
            pool = self._context.services.pool
            connection = await pool.acquire()
            try:
                with database.passing_faults():
                    await database.begin(connection, self._context.caller.merchant_id)
            except BaseException:
                await pool.end(connection, keep=False)
                raise
            self._connection, self._db, self._context._open = connection, Database(connection), self
        self._depth += 1
        return self._db

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        self._failed = self._failed or error is not None
        if self._depth == 0:
            await self._end(keep=not self._failed)
        if error is not None:
            problem = database.problem_of(error)
            if problem is not None:
                raise problem from error
        elif self._depth == 0:
            assert not self._failed, "a failure inside a transaction was caught: its changes are undone"

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """A savepoint: a failure within leaves the rest of the transaction as it was."""
        db, failed, name = self._db, self._failed, f"attempt_{self._depth}"
        assert db is not None
        await db.call(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            self._failed = failed
            # A connection that cannot has nothing to keep either, and must not hide why.
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await db.call(f"ROLLBACK TO SAVEPOINT {name}")
            raise
        await db.call(f"RELEASE SAVEPOINT {name}")

    async def _end(self, *, keep: bool) -> None:
        connection, db = self._connection, self._db
        assert connection is not None
        assert db is not None
        self._connection = self._db = self._context._open = None
        await self._context.services.pool.end(connection, keep=keep)
        if keep and db.jobs_queued:
            self._context.services.jobs.wake()


class KeyedTransaction:
    """The one transaction of a request with an Idempotency-Key, from its first change to its kept answer.

    Each part is a savepoint: a refusal that the request survives undoes its own part alone, as it would
    without a key. Contexts of the same request that act for other callers share it.
    """

    __slots__ = ("_connection", "_db", "_merchants", "_once", "_services")

    def __init__(self, services: Services, once: "Once") -> None:
        self._services = services
        self._once = once
        self._connection: database.Connection[asyncpg.Record] | None = None
        self._db: Database | None = None
        # Whose part runs, and inside of whose.
        self._merchants: list[MerchantId | None] = []

    @property
    def is_open(self) -> bool:
        return self._db is not None

    @asynccontextmanager
    async def part(self, merchant_id: MerchantId | None) -> AsyncIterator[Database]:
        db = self._db or await self._begin(merchant_id)
        savepoint = f"part_{len(self._merchants)}"
        with database.passing_faults():
            await db.call(f"SAVEPOINT {savepoint}; {database.set_merchant(merchant_id)}")
            self._merchants.append(merchant_id)
            try:
                yield db
            except BaseException:
                self._merchants.pop()
                # What was set inside the savepoint is undone with it. A connection that cannot is of no use
                # to `complete` either.
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await db.call(f"ROLLBACK TO SAVEPOINT {savepoint}")
                raise
            self._merchants.pop()
            outer = self._merchants[-1] if self._merchants else merchant_id
            await db.call(f"RELEASE SAVEPOINT {savepoint}; {database.set_merchant(outer)}")

    async def note_person(self, db: Database, person_id: UUID) -> None:
        await self._once.note_person(db, person_id)

    async def complete(self, answer: bytes | None) -> None:
        db = self._db
        if db is None:
            return
        if answer is None:
            await self._end(keep=False)
            return
        try:
            with database.passing_faults():
                await self._once.keep(db, answer)
        except BaseException:
            await self._end(keep=False)
            raise
        await self._end(keep=True)
        if db.jobs_queued:
            self._services.jobs.wake()

    async def _begin(self, merchant_id: MerchantId | None) -> Database:
        await self._once.wait_turn()
        try:
            self._connection = await self._services.pool.acquire()
        except BaseException:
            self._once.end_turn()
            raise
        db = self._db = Database(self._connection)
        try:
            with database.passing_faults():
                await database.begin(self._connection, merchant_id)
                await self._once.claim(db)
        except BaseException:
            await self._end(keep=False)
            raise
        return db

    async def _end(self, *, keep: bool) -> None:
        connection = self._connection
        assert connection is not None
        self._connection = self._db = None
        try:
            await self._services.pool.end(connection, keep=keep)
        finally:
            self._once.end_turn()
