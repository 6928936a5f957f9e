"""Transactions of a context: they join, they end, and a keyed request keeps whole or nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest

from kasuwa.base.audit import write_audit
from kasuwa.base.context import NOBODY, Caller, Context, MerchantId, Services
from kasuwa.base.db import Database, Pool
from kasuwa.base.jobs import JobQueue, enqueue
from kasuwa.base.once import KeptAnswer, Once, Replay, packed
from kasuwa.base.problems import Conflict, Forbidden, Unauthenticated, Unavailable
from kasuwa.database import DatabaseUrls
from tests.base.database import connected, superuser_url
from tests.shop import Shop


@pytest.fixture
async def alone(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Services]:
    """Services with two connections of their own: a leaked one is missed at once."""
    pool = await Pool.open(dsn=database_urls.application, max_size=2)
    yield Services(
        pool=pool,
        blobs=services.blobs,
        imaging=services.imaging,
        fetcher=services.fetcher,
        sealer=services.sealer,
        jobs=JobQueue(pool),
        limits=services.limits,
        settings=services.settings,
    )
    for connection in [await pool.acquire() for _ in range(2)]:
        assert not connection.is_in_transaction()
        await pool.release(connection)
    await pool.close()


@pytest.fixture
def acting(alone: Services, shop: Shop) -> Context:
    return Context(alone, shop.owner.caller, request_id="test")


def keyed(context: Context, key: str = "key") -> Context:
    """The same caller with a new request that has an Idempotency-Key."""
    again = Context(context.services, context.caller)
    who = f"{context.caller.merchant_id}"
    again.answer_once(Once(context.services.sealer, caller=who, key=key, request=b"same"))
    return again


async def note(db: Database, name: str) -> None:
    await db.value("SELECT take_numbers(:name)", name=name)


async def noted(context: Context) -> set[str]:
    async with context.services.pool.transaction(context.merchant_id) as db:
        return set(await db.values("SELECT name FROM merchant_counter WHERE name LIKE 'n.%'"))


# Who asks ----------------------------------------------------------------------------------------


def test_nobody_has_no_merchant_and_no_store(alone: Services) -> None:
    context = Context(alone)
    with pytest.raises(Unauthenticated):
        _ = context.merchant_id
    with pytest.raises(Unauthenticated):
        _ = context.store_id
    with pytest.raises(Forbidden, match=r"stock\.write"):
        context.require("stock.write")
    assert context.caller is NOBODY


def test_a_caller_has_what_they_proved(acting: Context, shop: Shop) -> None:
    acting.require("stock.write")
    assert acting.may("stock.write")
    assert (acting.merchant_id, acting.store_id) == (shop.merchant_id, shop.store_id)
    assert acting.blobs is acting.services.blobs


# Without a key -----------------------------------------------------------------------------------


async def test_a_transaction_inside_another_joins_it(acting: Context) -> None:
    async with acting.transaction() as outer:
        async with acting.transaction() as inner, acting.reading() as reading:
            assert inner is outer
            assert reading is outer
            await note(inner, "n.inner")
        await note(outer, "n.outer")
    assert await noted(acting) == {"n.inner", "n.outer"}


async def test_a_refusal_leaves_nothing(acting: Context) -> None:
    with pytest.raises(Conflict):
        async with acting.transaction() as db:
            await note(db, "n.lost")
            raise Conflict()
    assert await noted(acting) == set()


async def test_a_failure_inside_that_is_caught_is_no_success(acting: Context) -> None:
    """Whoever catches it outside would commit a half."""
    with pytest.raises(AssertionError, match="undone"):
        async with acting.transaction() as outer:
            await note(outer, "n.outer")
            try:
                async with acting.transaction() as inner:
                    await note(inner, "n.half")
                    raise Conflict()
            except Conflict:
                pass
    assert await noted(acting) == set()
    async with acting.transaction() as db:
        await note(db, "n.later")
    assert await noted(acting) == {"n.later"}


async def test_a_server_that_goes_away_is_503_at_every_depth(
    acting: Context, database_urls: DatabaseUrls
) -> None:
    async with connected(superuser_url(database_urls)) as admin:
        with pytest.raises(Unavailable):
            async with acting.transaction(), acting.transaction() as db:
                pid = await db.value("SELECT pg_backend_pid()")
                await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
                await db.value("SELECT 1")


async def test_the_jobs_of_a_transaction_are_looked_for_after_its_commit(acting: Context) -> None:
    jobs = acting.services.jobs
    for refused in (True, False):
        jobs._wake.clear()
        try:
            async with acting.transaction() as db:
                await enqueue(db, "test.none", {}, unique_key=str(uuid4()))
                assert not jobs._wake.is_set()
                if refused:
                    raise Conflict()
        except Conflict:
            assert not jobs._wake.is_set()
    assert jobs._wake.is_set()


async def test_a_change_leaves_word_in_the_audit_trail(acting: Context, shop: Shop) -> None:
    async with acting.transaction() as db:
        await write_audit(acting, db, "test.act", "thing", 7, before=None, after={"name": "new"})
        entry: dict[str, object] = await db.one(
            "SELECT actor_kind, actor_id, before, after, request_id FROM audit_entry"
            " WHERE action = 'test.act' AND subject_id = '7'",
            into=dict,
        )
    assert entry == {
        "actor_kind": "user",
        "actor_id": shop.owner.caller.id,
        "before": None,
        "after": '{"name":"new"}',
        "request_id": "test",
    }


@pytest.mark.parametrize("has_key", [False, True])
async def test_what_fails_in_an_attempt_is_undone_alone(acting: Context, has_key: bool) -> None:
    request = keyed(acting) if has_key else acting
    async with request.transaction() as db:
        await note(db, "n.before")
        for refused in (True, False):
            with suppress(Conflict):
                async with request.attempt(), request.transaction() as inner:
                    await note(inner, "n.refused" if refused else "n.attempted")
                    if refused:
                        raise Conflict()
        await note(db, "n.after")
    await request.complete(packed_answer(b"done"))
    assert await noted(acting) == {"n.before", "n.attempted", "n.after"}


async def test_an_attempt_stands_inside_a_transaction(acting: Context) -> None:
    with pytest.raises(AssertionError, match="stands inside"):
        async with acting.attempt():
            pass


async def test_an_attempt_that_is_cancelled_is_cancelled(acting: Context) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with acting.transaction() as db, acting.attempt():
            inside.set()
            await db.value("SELECT pg_sleep(60)")

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# With a key --------------------------------------------------------------------------------------


async def test_a_keyed_request_keeps_all_its_parts_with_its_answer(acting: Context) -> None:
    request = keyed(acting)
    assert request.has_key
    for name in ("n.one", "n.two"):
        async with request.transaction() as db:
            await note(db, name)
    assert await noted(acting) == set()
    await request.complete(packed_answer(b"done"))
    assert await noted(acting) == {"n.one", "n.two"}
    again = keyed(acting)
    with pytest.raises(Replay) as replay:
        async with again.transaction():
            pass
    assert replay.value.answer.body == b"done"


async def test_a_keyed_request_that_is_undone_keeps_nothing(acting: Context) -> None:
    for _ in range(2):
        request = keyed(acting)
        async with request.transaction() as db:
            await note(db, "n.lost")
        await request.complete(None)
        await request.complete(None)
    assert await noted(acting) == set()


async def test_a_keyed_request_that_changed_nothing_has_nothing_to_keep(acting: Context) -> None:
    request = keyed(acting)
    async with request.reading() as db:
        assert await db.value("SELECT 1") == 1
    await request.complete(packed_answer(b"read"))
    again = keyed(acting)
    async with again.transaction() as db:
        await note(db, "n.free")
    await again.complete(None)


async def test_a_refusal_that_a_keyed_request_survives_undoes_its_own_part_alone(acting: Context) -> None:
    """As it would be without a key: each part stands for itself."""
    request = keyed(acting)
    async with request.transaction() as db:
        await note(db, "n.before")
    for error in (Conflict(), asyncpg.UndefinedColumnError("x")):
        with pytest.raises(type(error)):
            async with request.transaction() as db:
                await note(db, "n.refused")
                if isinstance(error, Conflict):
                    raise error
                await db.value("SELECT nothing")
    async with request.transaction() as outer:
        await note(outer, "n.after")
        with pytest.raises(Conflict):
            async with request.transaction() as inner:
                await note(inner, "n.inner")
                raise Conflict()
    async with request.reading() as db:
        assert "n.before" in await db.values("SELECT name FROM merchant_counter")
    await request.complete(packed_answer(b"done"))
    assert await noted(acting) == {"n.before", "n.after"}


async def test_who_acts_for_another_in_a_keyed_request_shares_its_transaction(
    acting: Context, other_shop: Shop
) -> None:
    """An account that is opened by the request, for one: its changes and the answer are kept together."""
    request = keyed(acting)
    theirs = request.acting_as(other_shop.owner.caller)
    async with request.transaction() as db:
        await note(db, "n.ours")
        async with theirs.transaction() as other:
            assert await other.value("SELECT current_merchant()") == other_shop.merchant_id
            await note(other, "n.theirs")
        assert await db.value("SELECT current_merchant()") == acting.merchant_id
    async with theirs.transaction() as other:
        assert await other.value("SELECT current_merchant()") == other_shop.merchant_id
    other_context = Context(acting.services, other_shop.owner.caller)
    assert await noted(other_context) == set()
    await request.complete(packed_answer(b"done"))
    assert await noted(acting) == {"n.ours"}
    assert await noted(other_context) == {"n.theirs"}


async def test_a_keyed_request_without_a_merchant_may_found_one(acting: Context) -> None:
    request = Context(acting.services)
    request.answer_once(Once(acting.services.sealer, caller=str(uuid4()), key="key", request=b""))
    merchant_id = MerchantId(uuid4())
    founder = request.acting_as(Caller(kind="user", merchant_id=merchant_id))
    async with founder.transaction() as db:
        await db.execute(
            "INSERT INTO merchant (merchant_id, business_name, country_code, currency)"
            " VALUES (current_merchant(), 'x', 'NG', 'NGN')"
        )
    await request.complete(packed_answer(b"done"))
    async with acting.services.pool.transaction(merchant_id) as db:
        assert await db.value("SELECT count(*) FROM merchant") == 1


async def test_a_keyed_request_whose_server_goes_away_is_503_and_frees_its_key(
    acting: Context, database_urls: DatabaseUrls
) -> None:
    request = keyed(acting)
    async with connected(superuser_url(database_urls)) as admin:
        async with request.transaction() as db:
            await note(db, "n.lost")
            pid = await db.value("SELECT pg_backend_pid()")
        await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
        with pytest.raises(Unavailable):
            await request.complete(packed_answer(b"lost"))
        request = keyed(acting)
        with pytest.raises(Unavailable):
            async with request.transaction() as db:
                pid = await db.value("SELECT pg_backend_pid()")
                await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
                await note(db, "n.lost")
        await request.complete(None)
    assert await noted(acting) == set()
    request = keyed(acting)
    async with request.transaction() as db:
        await note(db, "n.again")
    await request.complete(packed_answer(b"done"))
    assert await noted(acting) == {"n.again"}


async def test_a_keyed_request_without_a_connection_frees_its_turn(
    acting: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kasuwa.base.db.ACQUIRE_SECONDS", 0.05)
    held = [await acting.services.pool.acquire() for _ in range(2)]
    for _ in range(2):
        with pytest.raises(Unavailable):
            async with keyed(acting).transaction():
                pass
    for connection in held:
        await acting.services.pool.release(connection)


@pytest.mark.parametrize("has_key", [False, True])
async def test_a_caller_who_hangs_up_amid_a_transaction_leaves_none_open(
    acting: Context, database_urls: DatabaseUrls, has_key: bool
) -> None:
    inside = asyncio.Event()
    pids: list[int] = []

    async def serve(request: Context) -> None:
        try:
            async with request.transaction() as db:
                pids.append(await db.value("SELECT pg_backend_pid()"))
                await note(db, "n.lost")
                inside.set()
                await db.value("SELECT pg_sleep(60)")
        finally:
            await request.complete(None)

    task = asyncio.create_task(serve(keyed(acting) if has_key else acting))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with connected(superuser_url(database_urls)) as admin:
        states = await admin.fetch("SELECT state FROM pg_stat_activity WHERE pid = ANY($1)", pids)
    assert not [row for row in states if "transaction" in row["state"]]
    assert await noted(acting) == set()


def packed_answer(body: bytes) -> bytes:
    return packed(KeptAnswer(200, {}, body))
