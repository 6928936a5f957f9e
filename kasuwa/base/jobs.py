"""Jobs: queued inside the business transaction, run after its commit, at least once.

See docs/decisions/jobs.md for why the queue is ours. A handler must be safe to repeat.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
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
_SWEPT_AT_ONCE = 1000


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
    """Queue a job in this transaction. One with the same `unique_key` that nobody has begun does for both.

    The earlier of the two times holds.
    """
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
    """Takes due jobs and runs their handlers, several at a time, in this process.

    A job is leased for `lease_seconds`, and its handler ends before that: so no other process runs it at the
    same time, and it comes up again when this process dies.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        poll_seconds: float = 1.0,
        at_once: int = 4,
        lease_seconds: float = 300.0,
        retries: Sequence[float] = RETRIES,
        sweep_seconds: float = 300.0,
    ) -> None:
        self._pool = pool
        self._handlers: dict[str, Handler] = {}
        self._poll_seconds = poll_seconds
        self._at_once = at_once
        self._lease_seconds = lease_seconds
        self._retries = tuple(retries)
        self._sweep_seconds = sweep_seconds
        self._sweep_at = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def handle(self, kind: str, handler: Handler) -> None:
        assert kind not in self._handlers, f"two handlers for {kind}"
        self._handlers[kind] = handler

    def wake(self) -> None:
        """A transaction of this process queued something: look now."""
        self._wake.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="jobs")

    async def stop(self, *, seconds: float = 20.0) -> None:
        """Let what runs finish; what takes longer than that is given back to the queue."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def queue(self) -> Queue:
        async with self._pool.autocommit() as db:
            return await db.one("SELECT waiting, failed, oldest_seconds FROM job_queue()", into=Queue)

    async def run_due(self) -> int:
        """Run everything that is due, in this task; answer how many there were."""
        count = 0
        while jobs := await self._claim(self._at_once):
            await asyncio.gather(*(self._run_one(job) for job in jobs))
            count += len(jobs)
        return count

    async def sweep(self) -> int:
        """Forget what is past its time in the directory: kept answers, sessions, links, quotas."""
        gone = 0
        while True:
            async with self._pool.autocommit() as db:
                batch: int = await db.value("SELECT sweep_directory(:how_many)", how_many=_SWEPT_AT_ONCE)
            gone += batch
            if batch < _SWEPT_AT_ONCE:
                return gone

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                free = self._at_once - len(self._running)
                for job in await self._claim(free) if free else ():
                    task = asyncio.create_task(self._run_one(job), name=f"job {job.kind}")
                    self._running.add(task)
                    task.add_done_callback(self._ended)
                if monotonic() >= self._sweep_at:
                    self._sweep_at = monotonic() + self._sweep_seconds
                    await self.sweep()
            except Problem as problem:
                log.warning("jobs.unavailable", reason=str(problem))
            except Exception:
                # Whatever it was: without this loop no message would leave any more.
                log.exception("jobs.loop_failed")
            try:
                await asyncio.wait_for(self._wake.wait(), self._poll_seconds)
            except TimeoutError:
                continue

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _claim(self, how_many: int) -> list[Job]:
        async with self._pool.autocommit() as db:
            return await db.all(
                """
                SELECT job_id, merchant_id, kind, payload, attempts
                FROM claim_jobs(:how_many, make_interval(secs => :lease))
                """,
                into=Job,
                how_many=how_many,
                lease=self._lease_seconds,
            )

    async def _run_one(self, job: Job) -> None:
        try:
            if await self._handled(job):
                async with self._pool.autocommit() as db:
                    await db.value(
                        "SELECT finish_job(:job_id, :attempt)", job_id=job.job_id, attempt=job.attempts
                    )
        except Problem as problem:
            # It comes up again when its lease ends.
            log.warning("jobs.unavailable", kind=job.kind, job_id=str(job.job_id), reason=str(problem))

    async def _handled(self, job: Job) -> bool:
        if job.attempts > len(self._retries) + 1:
            await self._give_back(job, "every process that tried it died", give_up=True)
            return False
        try:
            handler = self._handlers.get(job.kind)
            if handler is None:
                raise LookupError(f"no handler for {job.kind}")
            async with asyncio.timeout(self._lease_seconds * 0.9):
                await handler(job.merchant_id, msgspec.json.decode(job.payload))
        except asyncio.CancelledError:
            await self._give_back(job, "this process was stopped")
            raise
        except Exception as error:
            log.warning(
                "jobs.failed",
                kind=job.kind,
                job_id=str(job.job_id),
                attempts=job.attempts,
                error=repr(error),
            )
            again = job.attempts <= len(self._retries)
            after = self._retries[job.attempts - 1] if again else 0.0
            await self._give_back(job, repr(error), after_seconds=after, give_up=not again)
            return False
        return True

    async def _give_back(
        self, job: Job, error: str, *, after_seconds: float = 0.0, give_up: bool = False
    ) -> None:
        async with self._pool.autocommit() as db:
            await db.value(
                "SELECT retry_job(:job_id, :attempt, :after, :error, :give_up)",
                job_id=job.job_id,
                attempt=job.attempts,
                after=timedelta(seconds=after_seconds),
                error=error.replace("\0", ""),
                give_up=give_up,
            )
