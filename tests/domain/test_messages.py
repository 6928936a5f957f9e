"""Messages: they leave after the commit, by mail or into the outbox, and are then forgotten."""

import asyncio
import email
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from email.message import Message as Mail
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from kasuwa.base.context import Context, Services
from kasuwa.base.jobs import JobQueue, enqueue
from kasuwa.base.problems import Conflict
from kasuwa.database import DatabaseUrls
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.messages.jobs import SEND_JOB, run_send
from kasuwa.domain.messages.records import Message
from tests.base.database import Connection, connected, superuser_url


class Inbox:
    """A mail server's memory."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 OK"


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    """A real mail server on a port of its own."""
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield inbox, controller.port
    controller.stop()


@pytest.fixture
async def admin(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    async with connected(superuser_url(database_urls)) as connection:
        await connection.execute("DELETE FROM job")
        yield connection
        await connection.execute("DELETE FROM job")


def a_worker(services: Services, data: Path, smtp_url: str = "") -> JobQueue:
    settings = msgspec.structs.replace(
        services.settings, data=str(data), smtp_url=smtp_url, mail_from="Shop <shop@shop.example>"
    )
    own = Services(
        pool=services.pool,
        blobs=services.blobs,
        imaging=services.imaging,
        fetcher=services.fetcher,
        sealer=services.sealer,
        jobs=services.jobs,
        limits=services.limits,
        settings=settings,
    )
    jobs = JobQueue(services.pool, retries=(0.0, 100.0))
    jobs.handle(SEND_JOB, partial(run_send, own))
    return jobs


def a_message(**changed: Any) -> Message:
    facts: dict[str, Any] = {
        "channel": "email",
        "to": "ada@shop.example",
        "template": "verify",
        "subject": "Your code",
        "text": "Ẹ n lẹ! Your code is 123456.",
        "code": "123456",
    }
    return Message(**(facts | changed))


async def send(context: Context, message: Message) -> None:
    async with context.transaction() as db:
        await send_message(context, db, message)


async def kept(context: Context) -> dict[str, Any]:
    async with context.reading() as db:
        row: dict[str, Any] = await db.one(
            "SELECT status, sealed, last_error, sent_at IS NOT NULL AS is_sent FROM message", into=dict
        )
    return row


async def test_a_mail_really_leaves_and_is_then_forgotten(
    context: Context, services: Services, inbox: tuple[Inbox, int], admin: Connection, tmp_path: Path
) -> None:
    received, port = inbox
    await send(context, a_message(subject="Your\n code"))
    before = await kept(context)
    assert before["status"] == "queued"
    assert b"123456" not in before["sealed"]
    payloads = [str(row["payload"]) for row in await admin.fetch("SELECT payload FROM job")]
    assert "123456" not in "".join(payloads)
    assert await a_worker(services, tmp_path, f"smtp://127.0.0.1:{port}").run_due() == 1
    (mail,) = received.mails
    assert (mail["To"], mail["From"], mail["Subject"]) == (
        "ada@shop.example",
        "Shop <shop@shop.example>",
        "Your code",
    )
    assert mail["Date"]
    assert mail["Message-ID"].endswith("@shop.example>")
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().strip() == "Ẹ n lẹ! Your code is 123456."
    assert await kept(context) == {"status": "sent", "sealed": None, "last_error": "", "is_sent": True}
    assert not (tmp_path / "outbox.jsonl").exists()


async def test_a_refused_transaction_sends_nothing(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    with pytest.raises(Conflict):
        async with context.transaction() as db:
            await send_message(context, db, a_message())
            raise Conflict()
    assert await a_worker(services, tmp_path).run_due() == 0


async def test_a_server_that_is_down_is_tried_again_and_shows(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    port = free_port()
    await send(context, a_message())
    jobs = a_worker(services, tmp_path, f"smtp://127.0.0.1:{port}")
    assert await jobs.run_due() == 2
    row = await admin.fetchrow("SELECT status, attempts, last_error FROM job")
    assert row is not None
    assert (row["status"], row["attempts"]) == ("waiting", 2)
    assert "Connect" in row["last_error"]
    waiting = await kept(context)
    assert (waiting["status"], waiting["last_error"]) == ("queued", "SMTPConnectError")
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    await asyncio.to_thread(controller.start)
    await admin.execute("UPDATE job SET run_at = now()")
    assert await jobs.run_due() == 1
    await asyncio.to_thread(controller.stop)
    assert len(inbox.mails) == 1
    assert await kept(context) == {"status": "sent", "sealed": None, "last_error": "", "is_sent": True}


async def test_a_repeat_of_what_has_left_sends_nothing(
    context: Context, services: Services, inbox: tuple[Inbox, int], admin: Connection, tmp_path: Path
) -> None:
    received, port = inbox
    await send(context, a_message())
    await admin.execute(
        "INSERT INTO job (job_id, merchant_id, kind, payload)"
        " SELECT gen_random_uuid(), merchant_id, kind, payload FROM job"
    )
    assert await a_worker(services, tmp_path, f"smtp://127.0.0.1:{port}").run_due() == 2
    assert len(received.mails) in (1, 2)  # both may begin before one has ended
    sent = len(received.mails)
    async with context.transaction() as db:
        for message_id in (await db.value("SELECT message_id FROM message"), uuid4()):
            await enqueue(db, SEND_JOB, str(message_id))
    assert await a_worker(services, tmp_path, f"smtp://127.0.0.1:{port}").run_due() == 2
    assert len(received.mails) == sent


@pytest.mark.parametrize(("channel", "to"), [("email", "ada@shop.example"), ("sms", "+2348031234567")])
async def test_without_a_provider_it_is_a_line_in_the_outbox(
    context: Context, services: Services, admin: Connection, tmp_path: Path, channel: str, to: str
) -> None:
    for code in ("123456", None):
        await send(context, a_message(channel=channel, to=to, code=code, text="line\nbreak"))
    assert await a_worker(services, tmp_path).run_due() == 2
    outbox = tmp_path / "outbox.jsonl"
    lines = [msgspec.json.decode(line) for line in outbox.read_bytes().splitlines()]
    for line in lines:
        assert list(line) == ["at", "channel", "to", "template", "subject", "text", "code"]
        assert (line["channel"], line["to"], line["text"]) == (channel, to, "line\nbreak")
    assert {line["code"] for line in lines} == {"123456", None}
    assert stat.S_IMODE(outbox.stat().st_mode) == 0o600


async def test_an_sms_does_not_go_to_the_mail_server(
    context: Context, services: Services, inbox: tuple[Inbox, int], admin: Connection, tmp_path: Path
) -> None:
    received, port = inbox
    await send(context, a_message(channel="sms", to="+2348031234567"))
    assert await a_worker(services, tmp_path, f"smtp://127.0.0.1:{port}").run_due() == 1
    assert received.mails == []
    assert (tmp_path / "outbox.jsonl").exists()
