"""Idempotency-Key: one key, one effect, and the same answer again.

The answer is kept in the transaction of the effect, so no crash can part them. It is sealed with a key
made from the caller's own key, so a stolen database does not give answers (and the tokens in them) away.
"""

import asyncio
import hashlib
from time import monotonic
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg
from msgspec import Struct, msgpack

from kasuwa.base.db import Database, Pool
from kasuwa.base.problems import Conflict, Problem
from kasuwa.base.secrets import Sealer

# How long a second request waits for the first one with its key.
WAIT_SECONDS = 10.0
KEPT_SECONDS = 86_400

# Those of this process wait for each other here: only one of them waits in the database, on a connection.
_turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()


class KeptAnswer(Struct, frozen=True):
    """An answer as it was first given."""

    status: int
    headers: dict[str, str]
    body: bytes


class Replay(Exception):
    """The effect has been: give this answer."""

    def __init__(self, answer: KeptAnswer) -> None:
        super().__init__("answered before")
        self.answer = answer


class KeyReused(Conflict):
    code = "idempotency-key-reused"
    title = "This Idempotency-Key came before with another request"


class AnswerForgotten(Conflict):
    """The effect has been, and whom its answer told of was erased since."""

    code = "answer-forgotten"
    title = "The answer to this Idempotency-Key is no longer kept"


class StillRunning(Problem):
    status = 409
    code = "still-running"
    title = "The first request with this Idempotency-Key is still running"


class Once:
    """One Idempotency-Key of one caller, for one request."""

    def __init__(
        self,
        sealer: Sealer,
        *,
        caller: str,
        key: str,
        request: bytes,
        kept_seconds: float = KEPT_SECONDS,
        wait_seconds: float | None = None,
    ) -> None:
        scope = f"{caller}\n{key}".encode()
        self._scope_hash = hashlib.sha256(scope).digest()
        self._fingerprint = hashlib.sha256(request).digest()
        self._sealer = sealer.derived(scope)
        self._kept_seconds = kept_seconds
        self._until = monotonic() + (WAIT_SECONDS if wait_seconds is None else wait_seconds)
        self._turn = _turns.setdefault(self._scope_hash, asyncio.Lock())

    async def find(self, pool: Pool) -> KeptAnswer | None:
        """The answer of an earlier request, before any work is done for this one."""
        async with pool.autocommit() as db:
            return await self._read(db)

    async def wait_turn(self) -> None:
        """Wait until no other request of this process holds the key. Then `end_turn` must follow."""
        try:
            async with asyncio.timeout(self._until - monotonic()):
                await self._turn.acquire()
        except TimeoutError:
            raise _still_running() from None

    def end_turn(self) -> None:
        self._turn.release()

    async def claim(self, db: Database) -> None:
        """Take the key in this transaction; waits while another process holds it."""
        wait_ms = max(1, round((self._until - monotonic()) * 1000))
        await db.call(f"SET LOCAL lock_timeout = {wait_ms}; SET LOCAL statement_timeout = {wait_ms + 2000}")
        try:
            is_ours = await db.value(
                "SELECT claim_once(:scope_hash, :fingerprint, make_interval(secs => :seconds))",
                scope_hash=self._scope_hash,
                fingerprint=self._fingerprint,
                seconds=self._kept_seconds,
            )
        except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError):
            raise _still_running() from None
        if not is_ours:
            answer = await self._read(db)
            if answer is None:
                raise _still_running()
            raise Replay(answer)
        await db.call("RESET lock_timeout; RESET statement_timeout")

    async def keep(self, db: Database, answer: bytes) -> None:
        await db.value(
            "SELECT keep_once(:scope_hash, :sealed)",
            scope_hash=self._scope_hash,
            sealed=self._sealer.seal(answer),
        )

    async def note_person(self, db: Database, person_id: UUID) -> None:
        """Let the answer go with the person that it tells of."""
        await db.value(
            "SELECT name_once(:scope_hash, :person_id)", scope_hash=self._scope_hash, person_id=person_id
        )

    async def _read(self, db: Database) -> KeptAnswer | None:
        kept = await db.find(
            "SELECT fingerprint, sealed FROM find_once(:scope_hash)", into=_Kept, scope_hash=self._scope_hash
        )
        if kept is None or kept.sealed is None:
            return None
        if not kept.sealed:
            raise AnswerForgotten("The answer is kept no longer. Use a new key for a new request.")
        if kept.fingerprint != self._fingerprint:
            raise KeyReused("Use a new key for a new request.")
        return msgpack.decode(self._sealer.open(kept.sealed), type=KeptAnswer)


class _Kept(Struct, frozen=True):
    fingerprint: bytes
    sealed: bytes | None


async def forget_answers(db: Database, person_id: UUID) -> None:
    """Empty the kept answers that tell of the person; their keys stay used until their day is over."""
    await db.value("SELECT forget_once(:person_id)", person_id=person_id)


def _still_running() -> StillRunning:
    return StillRunning("Ask again in a few seconds with the same key.", headers={"Retry-After": "5"})


def packed(answer: KeptAnswer) -> bytes:
    return msgpack.encode(answer)
