"""Jobs: queued inside the business transaction, run after its commit, at least once.

See docs/decisions/jobs.md for why the queue is ours. A handler must be safe to repeat.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from kasuwa.base.db import Database, Pool
from kasuwa.base.ids import new_id
from kasuwa.base.problems import Problem

log = structlog.get_logger("kasuwa.jobs")

# Seconds until each further try; then the job stays in the queue as failed, for `kasuwa doctor` to show.
RETRIES = (1, 5, 30, 120, 600, 1800, 3600, 7200, 14400)
_LEASE_SECONDS = 300
_BATCH = 20


class Job(Struct, frozen=True):
    job_id: UUID
    merchant_id: UUID | None
    kind: str
    payload: str
    attempts: int


class Queue(Struct, frozen=True):
    """Jobs that are due, jobs given up, and how long the oldest due one has waited."""

    waiting: int
    failed: int
    oldest_seconds: float


Handler = Callable[[UUID | None, Any], Awaitable[None]]


async def enqueue(
    db: Database, kind: str, payload: object, *, due: datetime | None = None, unique_key: str | None = None
) -> None:
    """Queue a job in this transaction. A waiting job with the same `unique_key` does for both."""
    await db.value(
        "SELECT enqueue_job(:job_id, :kind, :payload, :due, :unique_key)",
        job_id=new_id(),
        kind=kind,
        payload=msgspec.json.encode(payload).decode(),
        due=due,
        unique_key=unique_key,
    )
    db.jobs_queued = True


class JobQueue:
    """Takes due jobs and runs their handlers, several at a time, in this process."""

    def __init__(self, pool: Pool, *, poll_seconds: float = 1.0, at_once: int = 4) -> None:
        self._pool = pool
        self._handlers: dict[str, Handler] = {}
        self._poll_seconds = poll_seconds
        self._slots = asyncio.Semaphore(at_once)
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def handle(self, kind: str, handler: Handler) -> None:
        assert kind not in self._handlers, f"two handlers for {kind}"
        self._handlers[kind] = handler

    def wake(self) -> None:
        """A transaction of this process queued something: look now."""
        self._wake.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="jobs")

    async def stop(self) -> None:
        """Finish what runs; what is leased comes up again elsewhere if this takes too long."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def queue(self) -> Queue:
        async with self._pool.autocommit() as db:
            return await db.one("SELECT waiting, failed, oldest_seconds FROM job_queue()", into=Queue)

    async def run_due(self) -> int:
        """Take a batch and run it; answer how many there were."""
        async with self._pool.autocommit() as db:
            jobs = await db.all(
                """
                SELECT job_id, merchant_id, kind, payload, attempts
                FROM claim_jobs(:how_many, make_interval(secs => :lease))
                """,
                into=Job,
                how_many=_BATCH,
                lease=_LEASE_SECONDS,
            )
        await asyncio.gather(*(self._run_one(job) for job in jobs))
        return len(jobs)

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                while not self._stopping and await self.run_due() == _BATCH:
                    pass
            except Problem as problem:
                log.warning("jobs.unavailable", reason=str(problem))
            try:
                await asyncio.wait_for(self._wake.wait(), self._poll_seconds)
            except TimeoutError:
                continue

    async def _run_one(self, job: Job) -> None:
        async with self._slots:
            handler = self._handlers.get(job.kind)
            try:
                if handler is None:
                    raise LookupError(f"no handler for {job.kind}")
                async with asyncio.timeout(_LEASE_SECONDS - 30):
                    await handler(job.merchant_id, msgspec.json.decode(job.payload))
            except Exception as error:
                await self._give_back(job, error)
                return
        async with self._pool.autocommit() as db:
            await db.value("SELECT finish_job(:job_id)", job_id=job.job_id)

    async def _give_back(self, job: Job, error: Exception) -> None:
        give_up = job.attempts > len(RETRIES)
        after = RETRIES[min(job.attempts, len(RETRIES)) - 1]
        log.warning(
            "jobs.failed", kind=job.kind, job_id=str(job.job_id), attempts=job.attempts, error=repr(error)
        )
        async with self._pool.autocommit() as db:
            await db.value(
                "SELECT retry_job(:job_id, :after, :error, :give_up)",
                job_id=job.job_id,
                after=timedelta(seconds=after),
                error=repr(error),
                give_up=give_up,
            )
