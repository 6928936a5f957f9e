"""Idempotency-Key: one key, one effect, and the same answer again.

The answer is kept in the transaction of the effect, so no crash can part them. It is sealed with a key
made from the caller's own key, so a stolen database does not give answers (and the tokens in them) away.
"""

import hashlib

import asyncpg
from msgspec import Struct, msgpack

from kasuwa.base.db import Database, Pool
from kasuwa.base.problems import Conflict, Problem
from kasuwa.base.secrets import Sealer


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


class StillRunning(Problem):
    status = 409
    code = "still-running"
    title = "The first request with this Idempotency-Key is still running"


class Once:
    """One Idempotency-Key of one caller, for one request."""

    def __init__(
        self, sealer: Sealer, *, caller: str, key: str, request: bytes, seconds: int = 86_400
    ) -> None:
        scope = f"{caller}\n{key}".encode()
        self._scope_hash = hashlib.sha256(scope).digest()
        self._fingerprint = hashlib.sha256(request).digest()
        self._sealer = sealer.derived(scope)
        self._seconds = seconds

    async def find(self, pool: Pool) -> KeptAnswer | None:
        """The answer of an earlier request, before any work is done for this one."""
        async with pool.autocommit() as db:
            return await self._read(db)

    async def claim(self, db: Database) -> None:
        """Take the key in this transaction; waits up to 10 s for one that holds it."""
        await db.call("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '12s'")
        try:
            is_ours = await db.value(
                "SELECT claim_once(:scope_hash, :fingerprint, make_interval(secs => :seconds))",
                scope_hash=self._scope_hash,
                fingerprint=self._fingerprint,
                seconds=self._seconds,
            )
        except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError):
            raise StillRunning(
                "Ask again in a few seconds with the same key.", headers={"Retry-After": "5"}
            ) from None
        if not is_ours:
            answer = await self._read(db)
            if answer is None:
                raise StillRunning("Ask again with the same key.", headers={"Retry-After": "1"})
            raise Replay(answer)
        await db.call("RESET lock_timeout; RESET statement_timeout")

    async def keep(self, db: Database, answer: bytes) -> None:
        await db.value(
            "SELECT keep_once(:scope_hash, :sealed)",
            scope_hash=self._scope_hash,
            sealed=self._sealer.seal(answer),
        )

    async def _read(self, db: Database) -> KeptAnswer | None:
        kept = await db.find(
            "SELECT fingerprint, sealed FROM find_once(:scope_hash)", into=_Kept, scope_hash=self._scope_hash
        )
        if kept is None or kept.sealed is None:
            return None
        if kept.fingerprint != self._fingerprint:
            raise KeyReused("Use a new key for a new request.")
        return msgpack.decode(self._sealer.open(kept.sealed), type=KeptAnswer)


class _Kept(Struct, frozen=True):
    fingerprint: bytes
    sealed: bytes | None


def packed(answer: KeptAnswer) -> bytes:
    return msgpack.encode(answer)
