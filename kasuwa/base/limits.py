"""Quotas that hold over all workers: leased from the database in blocks, spent in memory."""

import asyncio
import hashlib
from datetime import timedelta
from time import monotonic

from msgspec import Struct

from kasuwa.base.db import Pool


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
    __slots__ = ("asking", "left", "remaining", "until")

    def __init__(self) -> None:
        # One question at a time: many at once would each lease a block and forget all but the last.
        self.asking = asyncio.Lock()
        self.left = 0
        self.remaining = 0
        self.until = 0.0


class Limits:
    """The quotas of one process.

    A block is an eighth of what this worker's share of the rest would be, and one request near the end:
    so the workers together spend the quota whole and hold little back from each other.
    """

    def __init__(self, pool: Pool, *, workers: int = 1) -> None:
        self._pool = pool
        self._workers = workers
        self._leases: dict[bytes, _Lease] = {}

    async def take(self, quota: Quota, subject: str) -> Allowance:
        """Spend one request of the subject's quota (a token's id, a store's id, an address)."""
        bucket = hashlib.sha256(f"{quota.name}\n{subject}".encode()).digest()
        now = monotonic()
        lease = self._leases.get(bucket)
        if lease is None:
            if len(self._leases) > 50_000:
                self._forget(now)
            lease = self._leases[bucket] = _Lease()
        if lease.left > 0 and now < lease.until:
            return self._spend(quota, lease, now)
        async with lease.asking:
            now = monotonic()
            if lease.left > 0 and now < lease.until:
                return self._spend(quota, lease, now)
            return await self._renew(quota, bucket, lease, now)

    def _spend(self, quota: Quota, lease: _Lease, now: float) -> Allowance:
        lease.left -= 1
        return Allowance(True, quota.requests, lease.remaining + lease.left, lease.until - now)

    async def _renew(self, quota: Quota, bucket: bytes, lease: _Lease, now: float) -> Allowance:
        grant = await self._lease(quota, bucket, self._block(quota, lease))
        resets_in = max(0.0, grant.resets_in.total_seconds())
        if grant.granted == 0:
            lease.left, lease.remaining, lease.until = 0, 0, 0.0
            return Allowance(False, quota.requests, 0, resets_in)
        lease.left = grant.granted - 1
        lease.remaining = grant.remaining
        # What leaks is worth nothing for long; what has a window is void when it ends.
        lease.until = now + (resets_in if quota.seconds else 1.0)
        return Allowance(True, quota.requests, lease.remaining + lease.left, resets_in)

    def _block(self, quota: Quota, lease: _Lease) -> int:
        known = lease.remaining if lease.until else quota.requests
        return max(1, known // (8 * self._workers)) if self._workers > 1 else max(1, known // 8)

    async def _lease(self, quota: Quota, bucket: bytes, most: int) -> _Grant:
        async with self._pool.autocommit() as db:
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

    def _forget(self, now: float) -> None:
        self._leases = {bucket: lease for bucket, lease in self._leases.items() if lease.until > now}
