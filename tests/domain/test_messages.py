"""Messages: they leave after the commit, each once, and what became of them can be seen."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.problems import Conflict, Forbidden, Unavailable
from kasuwa.database import DatabaseUrls
from kasuwa.domain.messages.actions import choose_language, refuse_message, resend_message, send_message
from kasuwa.domain.messages.courier import Courier
from kasuwa.domain.messages.errors import (
    DeliveryFailed,
    LanguageUnknown,
    MessageForgotten,
    MessageNotFailed,
    MessageNotFound,
)
from kasuwa.domain.messages.jobs import DEAD_TRIES, MOST_TRIES, WAITS, enqueue_sending, run_send
from kasuwa.domain.messages.queries import MessageFilter, language_of, list_messages
from kasuwa.domain.messages.records import Message
from tests.base.database import Connection, connected, superuser_url
from tests.messaging import SENT, a_courier, a_message, a_worker, an_sms, failed, kept, send, waiting
from tests.numbers import number_of
from tests.shop import Shop


@pytest.fixture
async def admin(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    async with connected(superuser_url(database_urls)) as connection:
        await connection.execute("DELETE FROM job")
        yield connection
        await connection.execute("DELETE FROM job")


class Recorder(Courier):
    """Keeps what it is given; fails as often as `failures` says."""

    def __init__(self, services: Services, data: Path, *failures: DeliveryFailed) -> None:
        super().__init__(msgspec.structs.replace(services.settings, data=str(data)))
        self.failures = list(failures)
        self.given: list[Message] = []
        self.began = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def deliver(self, message_id: UUID, message: Message, *, merchant_id: UUID | None = None) -> None:
        self.given.append(message)
        self.began.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)


async def test_what_is_queued_is_sealed_and_a_refused_transaction_sends_nothing(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    with pytest.raises(Conflict):
        async with context.transaction() as db:
            await send_message(context, db, a_message())
            raise Conflict()
    courier = Recorder(services, tmp_path)
    assert await a_worker(services, courier).run_due() == 0
    await send(context, a_message())
    assert b"123456" not in await admin.fetchval("SELECT sealed FROM message WHERE sealed IS NOT NULL")
    assert "123456" not in str(await admin.fetch("SELECT payload FROM job"))
    assert await a_worker(services, courier).run_due() == 1
    assert courier.given == [a_message()]
    assert await kept(context) == SENT


@pytest.mark.parametrize("message", [a_message(), an_sms()], ids=["email", "sms"])
async def test_without_a_provider_it_is_a_line_in_the_outbox(
    context: Context, services: Services, admin: Connection, tmp_path: Path, message: Message
) -> None:
    for code in ("123456", None):
        await send(context, msgspec.structs.replace(message, code=code, text="line\nbreak"))
    assert await a_worker(services, a_courier(services, tmp_path)).run_due() == 2
    outbox = tmp_path / "outbox.jsonl"
    lines = [msgspec.json.decode(line) for line in outbox.read_bytes().splitlines()]
    for line in lines:
        assert list(line) == ["at", "channel", "to", "template", "subject", "text", "code", "merchant"]
        assert (line["channel"], line["to"], line["text"]) == (message.channel, message.to, "line\nbreak")
    assert {line["code"] for line in lines} == {"123456", None}
    assert stat.S_IMODE(outbox.stat().st_mode) == 0o600


async def test_an_outbox_that_cannot_be_written_is_tried_again(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    (tmp_path / "outbox.jsonl").mkdir()
    await send(context, a_message())
    assert await a_worker(services, a_courier(services, tmp_path)).run_due() == 1
    assert await kept(context) == waiting("outbox.jsonl cannot be written (Is a directory).")


# Tried again, or not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "failures"),
    [
        ("sent", []),
        ("retried", [DeliveryFailed("It is down.")]),
        ("failed", [DeliveryFailed("No such person.", permanent=True)]),
    ],
    ids=["sent", "retried", "failed"],
)
async def test_each_try_is_counted(
    context: Context,
    services: Services,
    admin: Connection,
    tmp_path: Path,
    outcome: str,
    failures: list[DeliveryFailed],
) -> None:
    def counted() -> dict[str, float]:
        outcomes = ("sent", "retried", "failed")
        return {one: number_of("kasuwa_messages_total", channel="email", outcome=one) for one in outcomes}

    before = counted()
    await send(context, a_message())
    assert await a_worker(services, Recorder(services, tmp_path, *failures)).run_due() == 1
    assert counted() == before | {outcome: before[outcome] + 1}


async def test_a_failure_and_the_next_try_are_one_and_the_waits_grow(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    courier = Recorder(services, tmp_path, *[DeliveryFailed("It is down.")] * MOST_TRIES)
    await send(context, a_message(code=None))
    jobs, waits = a_worker(services, courier), []
    for tried in range(1, MOST_TRIES):
        assert await jobs.run_due() == 1
        assert await kept(context) == waiting("It is down.", attempts=tried)
        waits.append(await admin.fetchval("SELECT extract(epoch FROM run_at - now())::float FROM job"))
        await admin.execute("UPDATE job SET run_at = now()")
    assert [round(wait / planned, 1) for wait, planned in zip(waits[2:], WAITS[2:], strict=True)] == [1.0] * (
        MOST_TRIES - 3
    )
    assert timedelta(days=4) < timedelta(seconds=sum(WAITS)) < timedelta(days=6)
    assert await jobs.run_due() == 1
    assert await kept(context) == failed("It is down.", attempts=MOST_TRIES)
    assert await admin.fetchval("SELECT count(*) FROM job") == 0


async def test_who_asks_to_wait_longer_is_left_alone_for_so_long_but_not_for_ever(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    for asked, expected in ((90.0, 90), (1e6, 3600)):
        courier = Recorder(services, tmp_path, DeliveryFailed("Busy.", retry_after_seconds=asked))
        await send(context, a_message())
        assert await a_worker(services, courier).run_due() == 1
        wait = await admin.fetchval("SELECT extract(epoch FROM run_at - now())::float FROM job")
        assert expected - 20 < wait <= expected
        await admin.execute("DELETE FROM job")


async def test_a_refusal_for_good_is_not_tried_again(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    courier = Recorder(services, tmp_path, DeliveryFailed("No such person.", permanent=True))
    await send(context, a_message())
    assert await a_worker(services, courier).run_due() == 1
    assert await kept(context) == failed("No such person.")
    assert await admin.fetchval("SELECT count(*) FROM job") == 0


async def test_a_code_that_has_run_out_does_not_leave_and_is_forgotten(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    courier = Recorder(services, tmp_path)
    await send(context, a_message(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert await a_worker(services, courier).run_due() == 1
    assert courier.given == []
    assert await kept(context) == failed("Too late: its code had run out.") | {"has_words": False}


# Once ---------------------------------------------------------------------------------------------


async def test_two_jobs_of_one_message_send_it_once(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    courier = Recorder(services, tmp_path)
    courier.gate = asyncio.Event()
    await send(context, a_message())
    await admin.execute(
        "INSERT INTO job (job_id, merchant_id, kind, payload)"
        " SELECT gen_random_uuid(), merchant_id, kind, payload FROM job"
    )
    running = asyncio.create_task(a_worker(services, courier).run_due())
    await courier.began.wait()
    async with asyncio.timeout(30):
        # The other one has queued itself for later.
        while await admin.fetchval("SELECT count(*) FROM job WHERE attempts = 0") == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    courier.gate.set()
    assert await running == 2
    assert len(courier.given) == 1
    assert await kept(context) == SENT
    # The second one looks again when the first one's time is over, and finds nothing to do.
    await admin.execute("UPDATE job SET run_at = now()")
    assert await a_worker(services, courier).run_due() == 1
    assert len(courier.given) == 1


async def test_a_repeat_of_what_has_left_and_a_message_that_is_unknown_send_nothing(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    courier = Recorder(services, tmp_path)
    await send(context, a_message())
    assert await a_worker(services, courier).run_due() == 1
    async with context.transaction() as db:
        for message_id in (await db.value("SELECT message_id FROM message"), uuid4()):
            await enqueue_sending(db, message_id)
    assert await a_worker(services, courier).run_due() == 2
    assert len(courier.given) == 1


async def test_what_has_left_while_the_database_was_away_does_not_leave_again(
    context: Context, services: Services, admin: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    courier = Recorder(services, tmp_path)
    await send(context, a_message())
    message_id = str(await only(context))
    monkeypatch.setattr("kasuwa.domain.messages.jobs._NOTE_WAITS_SECONDS", (0.0, 0.0))
    transaction, calls = services.pool.transaction, 0

    def breaking(merchant_id: Any = None) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise Unavailable()
        return transaction(merchant_id)

    with monkeypatch.context() as broken, pytest.raises(Unavailable):
        broken.setattr(services.pool, "transaction", breaking)
        await run_send(services, courier, context.merchant_id, message_id)
    assert calls == 4  # held once, noted three times in vain
    assert (await kept(context))["status"] == "queued"
    await run_send(services, courier, context.merchant_id, message_id)
    assert len(courier.given) == 1
    assert await kept(context) == SENT
    assert courier.left == set()


async def test_a_try_that_is_stopped_in_the_middle_leaves_the_message_to_others(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    courier = Recorder(services, tmp_path)
    courier.gate = asyncio.Event()
    await send(context, a_message())
    message_id = str(await only(context))
    running = asyncio.create_task(run_send(services, courier, context.merchant_id, message_id))
    await courier.began.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    courier.gate = None
    await run_send(services, courier, context.merchant_id, message_id)
    assert await kept(context) == SENT | {"attempts": 2}


# Again, and forgotten -----------------------------------------------------------------------------


async def only(context: Context) -> UUID:
    [summary] = await list_messages(context, MessageFilter(), after=None, size=2)
    return summary.message_id


async def test_a_failed_message_is_sent_again_with_all_its_tries(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    courier = Recorder(services, tmp_path, DeliveryFailed("No.", permanent=True), DeliveryFailed("Busy."))
    jobs = a_worker(services, courier)
    await send(context, a_message())
    await jobs.run_due()
    message_id = await only(context)
    assert (await resend_message(context, message_id)).status == "queued"
    with pytest.raises(MessageNotFailed):
        await resend_message(context, message_id)
    await jobs.run_due()
    assert await kept(context) == waiting("Busy.", attempts=2)
    await admin.execute("UPDATE job SET run_at = now()")
    await jobs.run_due()
    assert await kept(context) == SENT | {"attempts": 3}
    with pytest.raises(MessageNotFailed):
        await resend_message(context, message_id)


async def test_one_whose_every_process_died_can_be_sent_again(
    context: Context, services: Services, admin: Connection, schema_owner: Connection, tmp_path: Path
) -> None:
    await send(context, a_message())
    # What ten deaths leave behind: attempts that were begun, and nobody who noted how they ended.
    await admin.execute("UPDATE job SET attempts = $1", DEAD_TRIES)
    await schema_owner.execute(
        "UPDATE message SET tries = $1 WHERE merchant_id = $2", DEAD_TRIES, context.merchant_id
    )
    nobody = Recorder(services, tmp_path)
    await a_worker(services, nobody).run_due()
    assert (await kept(context))["status"] == "queued"
    assert await a_worker(services, nobody).run_due() == 0
    assert (await resend_message(context, await only(context))).status == "queued"
    assert await a_worker(services, Recorder(services, tmp_path)).run_due() == 1
    assert (await kept(context))["status"] == "sent"


async def test_what_is_forgotten_or_somebody_elses_is_not_sent_again(
    context: Context, services: Services, admin: Connection, other_shop: Shop, tmp_path: Path
) -> None:
    async with context.transaction() as db:
        await refuse_message(context, db, an_sms(), "Not sent.")
    message_id = await only(context)
    with pytest.raises(MessageForgotten):
        await resend_message(context, message_id)
    with pytest.raises(MessageNotFound):
        await resend_message(other_shop.owner, message_id)
    assert await list_messages(other_shop.owner, MessageFilter(), after=None, size=10) == []
    powerless = context.acting_as(msgspec.structs.replace(context.caller, permissions=frozenset()))
    with pytest.raises(Forbidden):
        await resend_message(powerless, message_id)
    with pytest.raises(Forbidden):
        await list_messages(powerless, MessageFilter(), after=None, size=10)


async def test_words_go_when_their_time_is_over_and_rows_when_the_list_ends(
    context: Context, services: Services, admin: Connection, schema_owner: Connection
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=10)
    await send(context, a_message(subject="new"), a_message(expires_at=soon), a_message(template="old"))
    await schema_owner.execute(
        "UPDATE message SET status = 'failed', failed_at = now() WHERE merchant_id = $1", context.merchant_id
    )

    async def words() -> list[bool]:
        async with services.pool.transaction() as db:
            await db.value("SELECT forget_messages(:keep)", keep=timedelta(days=90))
        rows = await list_messages(context, MessageFilter(), after=None, size=10)
        return sorted(row.can_resend for row in rows)

    assert await words() == [True, True, True]
    await schema_owner.execute(
        "UPDATE message SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL"
    )
    await schema_owner.execute(
        "UPDATE message SET failed_at = now() - interval '31 days' WHERE template = 'old'"
    )
    assert await words() == [False, False, True]
    await schema_owner.execute(
        "UPDATE message SET created_at = now() - interval '91 days' WHERE template = 'old'"
    )
    assert await words() == [False, True]


# Languages ----------------------------------------------------------------------------------------


async def test_a_user_reads_their_own_language_else_the_shops_else_english(
    context: Context, shop: Shop, other_shop: Shop
) -> None:
    async def language() -> str:
        async with context.reading() as db:
            return await language_of(db, shop.user_id)

    assert await language() == "en"
    assert (await choose_language(context, "fr", for_shop=True)).shop == "fr"
    assert await language() == "fr"
    assert (await choose_language(context, "en", for_shop=False)).own == "en"
    assert await language() == "en"
    assert (await choose_language(context, None, for_shop=False)).own is None
    assert await language() == "fr"
    assert (await choose_language(context, None, for_shop=True)).shop == "en"
    with pytest.raises(LanguageUnknown):
        await choose_language(context, "xx", for_shop=True)
    async with other_shop.owner.reading() as db:
        assert await language_of(db, shop.user_id) == "en"
    powerless = context.acting_as(msgspec.structs.replace(context.caller, permissions=frozenset()))
    with pytest.raises(Forbidden):
        await choose_language(powerless, "fr", for_shop=True)
