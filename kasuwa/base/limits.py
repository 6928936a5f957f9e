"""Quotas that hold over all workers: leased from the database in blocks, spent in memory."""

import asyncio
import hashlib
from datetime import timedelta
from time import monotonic

from msgspec import Struct

from kasuwa.base.db import Database, Pool
from kasuwa.base.problems import Unavailable

# How long a block of a leaking quota can be spent.
_LEASE_SECONDS = 60.0


class Quota(Struct, frozen=True):
    """`requests` in each `seconds` (a fixed window), or a bucket of them that leaks `leak_per_second`."""

    name: str
    requests: int
    seconds: float = 0.0
    leak_per_second: float = 0.0


class Allowance(Struct, frozen=True):
    """What is left after this request. `accepted` says whether it may go on."""

    accepted: bool
    quota: int
    remaining: int
    resets_in_seconds: float


class _Grant(Struct, frozen=True):
    granted: int
    remaining: int
    resets_in: timedelta


class _Lease:
    __slots__ = ("asked_at", "asking", "left", "refused_until", "remaining", "until")

    def __init__(self) -> None:
        # One question at a time: many at once would each lease a block and forget all but the last.
        self.asking = asyncio.Lock()
        self.asked_at = 0.0
        self.left = 0
        self.remaining = 0
        self.until = 0.0
        self.refused_until = 0.0

    def allowance(self, quota: Quota, now: float, resets_in: float) -> Allowance:
        """One more request is accepted. What has leaked away since the block was leased is free again."""
        leaked = int(quota.leak_per_second * (now - self.asked_at))
        remaining = min(quota.requests - 1, self.remaining + self.left + leaked)
        return Allowance(True, quota.requests, remaining, resets_in)


class Limits:
    """The quotas of one process.

    What a worker has leased and does not spend is lost to the others, so all blocks together are at most a
    twenty-fifth of the quota. A worker that is alone leases an eighth. A refusal is remembered until it ends:
    a flood does not reach the database.
    """

    def __init__(self, pool: Pool, *, workers: int = 1, most_subjects: int = 50_000) -> None:
        self._pool = pool
        self._workers = workers
        self._most_subjects = most_subjects
        self._leases: dict[bytes, _Lease] = {}

    async def take(self, quota: Quota, subject: str, *, open_on_failure: bool = False) -> Allowance:
        """Spend one request of the subject's quota (a token's id, a store's id, an address).

        While the database does not answer, Unavailable is raised; with `open_on_failure` the request goes on.
        That is for reads; a log-in whose tries nobody counts must wait.
        """
        bucket = _bucket(quota, subject)
        lease = self._leases.get(bucket)
        if lease is None:
            if len(self._leases) >= self._most_subjects:
                # The one that came first; the little it held is lost.
                del self._leases[next(iter(self._leases))]
            lease = self._leases[bucket] = _Lease()
        known = self._spend(quota, lease)
        if known is not None:
            return known
        async with lease.asking:
            known = self._spend(quota, lease)
            if known is not None:
                return known
            try:
                return await self._renew(quota, bucket, lease)
            except Unavailable:
                if not open_on_failure:
                    raise
                return Allowance(True, quota.requests, 0, 0.0)

    async def take_within(self, db: Database, quota: Quota, subject: str) -> bool:
        """Spend one request of a fixed window in the open transaction, so that it is undone with it.

        Others who want the last ones of the subject wait for its end.
        """
        grant = await self._ask(db, quota, _bucket(quota, subject), 1)
        return grant.granted > 0

    def _spend(self, quota: Quota, lease: _Lease) -> Allowance | None:
        """What is known without asking the database."""
        now = monotonic()
        if now < lease.refused_until:
            return Allowance(False, quota.requests, 0, lease.refused_until - now)
        if lease.left > 0 and now < lease.until:
            lease.left -= 1
            return lease.allowance(quota, now, lease.until - now if quota.seconds else 0.0)
        return None

    async def _renew(self, quota: Quota, bucket: bytes, lease: _Lease) -> Allowance:
        asked = monotonic()
        most = max(1, quota.requests // (8 if self._workers == 1 else 25 * self._workers))
        grant = await self._lease(quota, bucket, most)
        resets_in = max(0.0, grant.resets_in.total_seconds())
        if grant.granted == 0:
            lease.left, lease.refused_until = 0, asked + resets_in
            return Allowance(False, quota.requests, 0, resets_in)
        lease.left = grant.granted - 1
        lease.remaining = grant.remaining
        # What has a window is void when it ends. A block of what leaks may be spent late: it was counted when
        # it was leased, so that a caller gets at most one block beyond the quota, and one who asks now and
        # then does not cost a write each time.
        lasts = resets_in if quota.seconds else max(_LEASE_SECONDS, grant.granted / quota.leak_per_second)
        lease.asked_at, lease.until = asked, asked + lasts
        return lease.allowance(quota, asked, resets_in)

    async def _lease(self, quota: Quota, bucket: bytes, most: int) -> _Grant:
        async with self._pool.autocommit() as db:
            return await self._ask(db, quota, bucket, most)

    async def _ask(self, db: Database, quota: Quota, bucket: bytes, most: int) -> _Grant:
        if quota.seconds:
            return await db.one(
                "SELECT * FROM lease_window(:bucket, :requests, :span, :most)",
                into=_Grant,
                bucket=bucket,
                requests=quota.requests,
                span=timedelta(seconds=quota.seconds),
                most=most,
            )
        return await db.one(
            "SELECT * FROM lease_leaky(:bucket, :requests, :leak, :most)",
            into=_Grant,
            bucket=bucket,
            requests=quota.requests,
            leak=quota.leak_per_second,
            most=most,
        )


def _bucket(quota: Quota, subject: str) -> bytes:
    return hashlib.sha256(f"{quota.name}\n{subject}".encode()).digest()
