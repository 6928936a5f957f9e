"""The other side of messages: a mail server and an SMS provider on loopback, and a worker that sends."""

import asyncio
import email
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email import policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from kasuwa.base.context import Context, Services
from kasuwa.base.fetch import Resolver
from kasuwa.base.jobs import JobQueue
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.messages.courier import Courier
from kasuwa.domain.messages.jobs import SEND_JOB, run_send
from kasuwa.domain.messages.records import Message


class Inbox:
    """A mail server's memory. `refuse` are answers by command (RCPT, DATA), given while they stand there."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str], bytes]] = []
        self.logins: list[tuple[str, str, bool]] = []
        self.password = "let the mail out"
        self.refuse: dict[str, str] = {}
        self.wait_seconds = 0.0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "RCPT" in self.refuse:
            return self.refuse["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(self.wait_seconds)
        if "DATA" in self.refuse:
            return self.refuse["DATA"]
        assert isinstance(envelope.content, bytes)
        self.mails.append(email.message_from_bytes(envelope.content, policy=policy.SMTPUTF8))
        self.envelopes.append((str(envelope.mail_from), list(envelope.rcpt_tos), envelope.content))
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        assert server.transport is not None
        over_tls = server.transport.get_extra_info("sslcontext") is not None
        self.logins.append((data.login.decode(), data.password.decode(), over_tls))
        return AuthResult(success=data.password.decode() == self.password, handled=False)


@asynccontextmanager
async def mail_server(
    inbox: Inbox,
    *,
    port: int = 0,
    starttls: ssl.SSLContext | None = None,
    smtps: ssl.SSLContext | None = None,
    log_in: bool = False,
    utf8: bool = True,
) -> AsyncIterator[int]:
    """A real mail server on a port of its own; with `log_in` it takes mail of users alone."""
    port = port or free_port()
    controller = Controller(
        inbox,
        hostname="127.0.0.1",
        port=port,
        ssl_context=smtps,
        tls_context=starttls,
        authenticator=inbox.authenticate,
        auth_required=log_in,
        auth_require_tls=False,
        enable_SMTPUTF8=utf8,
    )
    await asyncio.to_thread(controller.start)
    try:
        yield port
    finally:
        await asyncio.to_thread(controller.stop)


class SmsSink:
    """A provider that keeps each request as it came, byte for byte, and answers what it is told to."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.status = "200 OK"
        self.headers: dict[str, str] = {}
        self.body = b'{"message":"Successfully Sent"}'
        self.wait_seconds = 0.0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            self.requests.append(head + await reader.readexactly(length))
            await asyncio.sleep(self.wait_seconds)
            extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            writer.write(
                f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.body)}\r\n{extra}\r\n".encode()
                + self.body
            )
            await writer.drain()
        writer.close()


@asynccontextmanager
async def sms_sink(tls: ssl.SSLContext | None = None) -> AsyncIterator[SmsSink]:
    sink = SmsSink()
    server = await asyncio.start_server(sink.answer, "127.0.0.1", 0, ssl=tls)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


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


def an_sms(**changed: Any) -> Message:
    return a_message(**({"channel": "sms", "to": "+2348031234567", "text": "Your code is 123456."} | changed))


def a_courier(
    services: Services,
    data: Path,
    *,
    ssl_context: ssl.SSLContext | None = None,
    resolver: Resolver | None = None,
    **settings: Any,
) -> Courier:
    changed = {"data": str(data), "mail_from": "Shop <shop@shop.example>", "message_seconds": 5.0} | settings
    courier = Courier(
        msgspec.structs.replace(services.settings, **changed), ssl_context=ssl_context, resolver=resolver
    )
    _OPEN.append(courier)
    return courier


_OPEN: list[Courier] = []


async def close_couriers() -> None:
    """End what `a_courier` opened."""
    while _OPEN:
        await _OPEN.pop().close()


def a_worker(services: Services, courier: Courier) -> JobQueue:
    jobs = JobQueue(services.pool, retries=(0.0, 100.0))
    jobs.handle(SEND_JOB, partial(run_send, services, courier))
    return jobs


async def send(context: Context, *messages: Message) -> None:
    async with context.transaction() as db:
        for message in messages:
            await send_message(context, db, message)


async def kept(context: Context) -> dict[str, Any]:
    """What is known of the shop's only message."""
    async with context.reading() as db:
        row: dict[str, Any] = await db.one(
            """
            SELECT status, sealed IS NOT NULL AS has_words, last_error, attempts,
                   sent_at IS NOT NULL AS is_sent
            FROM message
            """,
            into=dict,
        )
    return row


SENT = {"status": "sent", "has_words": False, "last_error": "", "attempts": 1, "is_sent": True}


def waiting(reason: str, *, attempts: int = 1) -> dict[str, Any]:
    return {
        "status": "queued",
        "has_words": True,
        "last_error": reason,
        "attempts": attempts,
        "is_sent": False,
    }


def failed(reason: str, *, attempts: int = 1) -> dict[str, Any]:
    return waiting(reason, attempts=attempts) | {"status": "failed"}
