"""The queue: nothing before the commit, nothing lost, nothing run twice at once."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from kasuwa.base import jobs as queues
from kasuwa.base.db import Pool
from kasuwa.base.jobs import JobQueue, Queue, enqueue
from kasuwa.base.problems import Conflict
from kasuwa.database import DatabaseUrls
from tests.base.database import Connection, connected, superuser_url


@pytest.fixture
async def admin(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    """A superuser; the queue is empty before and after."""
    async with connected(superuser_url(database_urls)) as connection:
        await connection.execute("DELETE FROM job")
        yield connection
        await connection.execute("DELETE FROM job")


@pytest.fixture
async def pool(database_urls: DatabaseUrls, admin: Connection) -> AsyncIterator[Pool]:
    pool = await Pool.open(dsn=database_urls.application, max_size=8)
    yield pool
    await pool.close()


class Worker:
    """A queue whose one handler notes what it was given."""

    def __init__(self, pool: Pool, **options: Any) -> None:
        self.jobs = JobQueue(pool, poll_seconds=0.02, **options)
        self.jobs.handle("note", self.note)
        self.seen: list[Any] = []
        self.merchants: list[UUID | None] = []
        self.act: Callable[[Any], Awaitable[None]] | None = None

    async def note(self, merchant_id: UUID | None, payload: Any) -> None:
        self.seen.append(payload)
        self.merchants.append(merchant_id)
        if self.act is not None:
            await self.act(payload)


async def queue_up(pool: Pool, payload: Any = None, *, kind: str = "note", **options: Any) -> None:
    async with pool.transaction() as db:
        await enqueue(db, kind, payload, **options)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - other processes tell us nothing
            await asyncio.sleep(0.02)


async def rows(admin: Connection) -> list[dict[str, Any]]:
    found = await admin.fetch("SELECT status, attempts, last_error, run_at FROM job ORDER BY run_at, job_id")
    return [dict(row) for row in found]


async def test_a_job_is_there_after_the_commit_and_never_without_it(pool: Pool) -> None:
    worker, merchant_id = Worker(pool), uuid4()
    with pytest.raises(Conflict):
        async with pool.transaction() as db:
            await enqueue(db, "note", "lost")
            raise Conflict()
    async with pool.transaction(merchant_id) as db:
        await enqueue(db, "note", {"n": 1})
        assert await worker.jobs.run_due() == 0
    assert await worker.jobs.run_due() == 1
    assert (worker.seen, worker.merchants) == ([{"n": 1}], [merchant_id])
    assert await worker.jobs.queue() == Queue(0, 0, 0.0)


async def test_jobs_are_begun_in_the_order_of_their_time(pool: Pool) -> None:
    worker = Worker(pool, at_once=1)
    now = datetime.now(UTC)
    for n in (3, 1, 2):
        await queue_up(pool, n, due=now - timedelta(seconds=10 - n))
    await queue_up(pool, "later", due=now + timedelta(hours=1))
    assert await worker.jobs.run_due() == 3
    assert worker.seen == [1, 2, 3]


async def test_a_job_of_the_future_waits_for_its_time(pool: Pool) -> None:
    worker = Worker(pool)
    await queue_up(pool, due=datetime.now(UTC) + timedelta(seconds=0.3))
    assert await worker.jobs.run_due() == 0
    assert (await worker.jobs.queue()).waiting == 0
    await asyncio.sleep(0.35)
    assert await worker.jobs.run_due() == 1


async def test_one_that_nobody_has_begun_does_for_both(pool: Pool, admin: Connection) -> None:
    worker = Worker(pool)
    later, sooner = (datetime.now(UTC) + timedelta(hours=hours) for hours in (2, 1))
    await queue_up(pool, "first", due=later, unique_key="k")
    await queue_up(pool, "second", due=later + timedelta(hours=1), unique_key="k")
    await queue_up(pool, "other", due=later, unique_key="k2")
    assert [row["run_at"] for row in await rows(admin)] == [later, later]
    await queue_up(pool, "third", due=sooner, unique_key="k")
    assert [row["run_at"] for row in await rows(admin)] == [sooner, later]
    assert worker.seen == []


async def test_after_a_job_has_begun_the_same_key_queues_another(pool: Pool) -> None:
    """The one that runs may have looked before this change was there to see."""
    worker = Worker(pool)

    async def queue_again(payload: Any) -> None:
        if payload == "first":
            await queue_up(pool, "second", unique_key="k")

    worker.act = queue_again
    await queue_up(pool, "first", unique_key="k")
    assert await worker.jobs.run_due() == 2
    assert worker.seen == ["first", "second"]


async def test_a_job_that_does_for_a_transaction_waits_for_its_commit(pool: Pool) -> None:
    worker = Worker(pool)
    await queue_up(pool, "first", unique_key="k")
    async with pool.transaction() as one, pool.transaction() as two:
        await enqueue(one, "note", "of one", unique_key="k")
        await enqueue(two, "note", "of two", unique_key="k")  # they do not wait for each other
        assert await worker.jobs.run_due() == 0
    assert await worker.jobs.run_due() == 1


async def test_a_broken_handler_is_tried_again_on_schedule_and_given_up(
    pool: Pool, admin: Connection
) -> None:
    worker = Worker(pool, retries=(0.0, 100.0))

    async def fail(payload: Any) -> None:
        if payload == "bad":
            raise ValueError("with a \0 in it")

    worker.act = fail
    await queue_up(pool, "bad")
    await queue_up(pool, "good")
    assert await worker.jobs.run_due() == 3
    (row,) = await rows(admin)
    assert (row["status"], row["attempts"]) == ("waiting", 2)
    assert "ValueError" in row["last_error"]
    wait = (row["run_at"] - datetime.now(UTC)).total_seconds()
    assert 50 < wait <= 100
    await admin.execute("UPDATE job SET run_at = now()")
    queue = await worker.jobs.queue()
    assert (queue.waiting, queue.failed) == (1, 0)
    assert await worker.jobs.run_due() == 1
    assert (await rows(admin))[0]["status"] == "failed"
    assert await worker.jobs.queue() == Queue(0, 1, 0.0)
    assert worker.seen.count("bad") == 3
    assert worker.seen.count("good") == 1


async def test_the_schedule_is_long_enough_for_a_mail_server_to_come_back() -> None:
    assert list(queues.RETRIES) == sorted(queues.RETRIES)
    assert sum(queues.RETRIES) > 7 * 3600


async def test_a_kind_that_nobody_handles_is_a_failure_that_shows(pool: Pool, admin: Connection) -> None:
    worker = Worker(pool, retries=())
    await queue_up(pool, kind="unknown")
    assert await worker.jobs.run_due() == 1
    assert "no handler for unknown" in (await rows(admin))[0]["last_error"]


async def test_the_queue_says_how_long_the_oldest_has_waited(pool: Pool) -> None:
    await queue_up(pool, due=datetime.now(UTC) - timedelta(minutes=5))
    queue = await Worker(pool).jobs.queue()
    assert queue.waiting == 1
    assert queue.oldest_seconds >= 300


# The loop ----------------------------------------------------------------------------------------


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    worker.jobs.start()
    try:
        yield worker
    finally:
        await worker.jobs.stop(seconds=0.2)


async def test_a_slow_job_does_not_hold_the_others_up(pool: Pool) -> None:
    worker = Worker(pool, at_once=2)

    async def linger(payload: Any) -> None:
        if payload == "slow":
            await asyncio.sleep(60)

    worker.act = linger
    async with running(worker):
        await queue_up(pool, "slow")
        for n in range(20):
            await queue_up(pool, n)
        worker.jobs.wake()
        await until(lambda: _equal(set(worker.seen), {"slow", *range(20)}))


async def _equal(one: object, two: object) -> bool:
    return one == two


async def test_what_still_runs_at_a_stop_is_given_back_at_once(pool: Pool, admin: Connection) -> None:
    worker = Worker(pool)

    async def linger(payload: Any) -> None:
        await asyncio.sleep(60)

    worker.act = linger
    async with running(worker):
        await queue_up(pool, "slow")
        await until(lambda: _equal(worker.seen, ["slow"]))
    other = Worker(pool)
    assert await other.jobs.run_due() == 1
    assert other.seen == ["slow"]


async def test_what_ends_in_time_is_finished_at_a_stop(pool: Pool, admin: Connection) -> None:
    worker = Worker(pool)

    async def linger(payload: Any) -> None:
        await asyncio.sleep(0.1)

    worker.act = linger
    async with running(worker):
        await queue_up(pool, "quick")
        await until(lambda: _equal(worker.seen, ["quick"]))
    assert await rows(admin) == []


async def test_the_loop_lives_through_a_database_that_goes_away_and_faults_of_ours(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, admin: Connection
) -> None:
    worker = Worker(pool)
    claim, faults = worker.jobs._claim, iter([OSError("x"), ValueError("x")])

    async def failing(how_many: int) -> Any:
        for fault in faults:
            raise fault
        return await claim(how_many)

    monkeypatch.setattr(worker.jobs, "_claim", failing)
    async with running(worker):
        await admin.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'kasuwa_app'"
            " AND pid <> pg_backend_pid()"
        )
        await asyncio.sleep(0.1)
        await queue_up(await _reopened(pool), "after")
        await until(lambda: _equal(worker.seen, ["after"]))


async def _reopened(pool: Pool) -> Pool:
    """The pool after it has thrown dead connections away."""
    for _ in range(8):
        try:
            async with pool.autocommit() as db:
                await db.value("SELECT 1")
        except Exception:
            continue
    return pool


async def test_a_job_whose_end_could_not_be_noted_comes_up_again(
    pool: Pool, database_urls: DatabaseUrls, admin: Connection
) -> None:
    other = await Pool.open(dsn=database_urls.application, max_size=1)
    worker = Worker(other, lease_seconds=0.3)

    async def lose_the_pool(payload: Any) -> None:
        other.abandon()

    worker.act = lose_the_pool
    await queue_up(pool, "again")
    await asyncio.gather(*(worker.jobs._run_one(job) for job in await worker.jobs._claim(1)))
    await asyncio.sleep(0.35)
    again = Worker(pool)
    assert await again.jobs.run_due() == 1
    assert (worker.seen, again.seen) == (["again"], ["again"])


async def test_the_loop_forgets_what_is_past_its_time(pool: Pool, admin: Connection) -> None:
    await admin.execute(
        """
        INSERT INTO once (scope_hash, fingerprint, expires_at)
          SELECT sha256(('old' || n)::bytea), '', now() - interval '1 s' FROM generate_series(1, 2500) n;
        INSERT INTO rate_bucket SELECT sha256(('old' || n)::bytea), 1, now() - interval '2 d'
          FROM generate_series(1, 10) n;
        INSERT INTO once (scope_hash, fingerprint, expires_at) VALUES ('\\x00', '', now() + interval '1 h');
        """
    )
    old = (
        "SELECT (SELECT count(*) FROM once WHERE expires_at <= now()) + (SELECT count(*) FROM rate_bucket"
        " WHERE since < now() - interval '1 d')"
    )

    async def gone() -> bool:
        return bool(await admin.fetchval(old) == 0)

    async with running(Worker(pool)):
        await until(gone)
    assert await admin.fetchval("DELETE FROM once WHERE scope_hash = '\\x00' RETURNING 1") == 1


# Leases ------------------------------------------------------------------------------------------


async def test_whoever_lost_its_lease_has_no_say_any_more(pool: Pool, admin: Connection) -> None:
    late, next_one = Worker(pool, lease_seconds=0.05), Worker(pool)
    await queue_up(pool, "job")
    (stale,) = await late.jobs._claim(1)
    await asyncio.sleep(0.1)
    (fresh,) = await next_one.jobs._claim(1)
    assert (stale.job_id, stale.attempts, fresh.attempts) == (fresh.job_id, 1, 2)
    await late.jobs._give_back(stale, "late", give_up=True)
    async with pool.autocommit() as db:
        await db.value("SELECT finish_job(:job_id, :attempt)", job_id=stale.job_id, attempt=stale.attempts)
    (row,) = await rows(admin)
    assert (row["status"], row["last_error"]) == ("waiting", "")
    await next_one.jobs._run_one(fresh)
    assert await rows(admin) == []


async def test_a_handler_ends_before_its_lease(pool: Pool, admin: Connection) -> None:
    worker = Worker(pool, lease_seconds=0.3, retries=())

    async def linger(payload: Any) -> None:
        await asyncio.sleep(60)

    worker.act = linger
    await queue_up(pool)
    assert await worker.jobs.run_due() == 1
    assert "TimeoutError" in (await rows(admin))[0]["last_error"]


async def test_a_job_that_kills_every_worker_is_given_up(pool: Pool, admin: Connection) -> None:
    await queue_up(pool)
    await admin.execute("UPDATE job SET attempts = 10")
    worker = Worker(pool)
    assert await worker.jobs.run_due() == 1
    assert worker.seen == []
    assert "died" in (await rows(admin))[0]["last_error"]


async def start(urls: DatabaseUrls, folder: Path, lease_seconds: float) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.base.working_process",
        urls.application,
        str(folder),
        str(lease_seconds),
        "linger",
        stdin=asyncio.subprocess.PIPE,
    )


def begun(folder: Path) -> dict[str, list[str]]:
    return {path.name: path.read_text().split() for path in folder.iterdir()}


async def test_a_job_of_a_killed_process_comes_up_again_and_two_never_run_one(
    pool: Pool, database_urls: DatabaseUrls, admin: Connection, tmp_path: Path
) -> None:
    await queue_up(pool, {"name": "killed", "seconds": 30}, kind="linger")
    first = await start(database_urls, tmp_path, 2.0)
    await until(lambda: _equal(list(begun(tmp_path)), ["killed"]))
    first.kill()
    await first.wait()
    assert (await rows(admin))[0]["status"] == "waiting"
    await admin.execute("UPDATE job SET payload = jsonb_set(payload, '{seconds}', '0')")
    for n in range(30):
        await queue_up(pool, {"name": f"n{n}", "seconds": 0.02}, kind="linger")
    others = [await start(database_urls, tmp_path, 30.0) for _ in range(2)]

    async def empty() -> bool:
        return not await rows(admin)

    await until(empty)
    for process in others:
        await process.communicate(b"")
    runs = begun(tmp_path)
    assert len(runs.pop("killed")) == 2
    assert len(runs) == 30
    assert all(len(pids) == 1 for pids in runs.values())


async def test_two_who_claim_in_the_same_moment_get_different_jobs(pool: Pool, admin: Connection) -> None:
    """And the control: a build that looks for a job first, and takes it later, gives both the same."""
    await queue_up(pool, "job")
    look = "SELECT job_id FROM job WHERE status = 'waiting' AND run_at <= now()"
    assert await admin.fetchval(look) == await admin.fetchval(look)
    claim = "SELECT count(*) FROM claim_jobs(5, interval '1 min')"
    async with pool.transaction() as one, pool.transaction() as two:
        assert [await one.value(claim), await two.value(claim)] == [1, 0]
