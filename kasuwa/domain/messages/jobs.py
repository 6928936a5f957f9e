"""After the commit: a message leaves by mail or, without a provider, into outbox.jsonl."""

import asyncio
import os
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import localtime, parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

import aiosmtplib
import msgspec
from msgspec import Struct

from kasuwa.base.context import MerchantId, Services
from kasuwa.domain.messages.records import Message

SEND_JOB = "message.send"


SEND_SEALED_JOB = "message.send_sealed"

_SEALED = UUID("0192f5a4-7c1b-7d5e-9a60-5f1f3c0d7e11")


class _Queued(Struct, frozen=True):
    sealed: bytes | None


async def run_send(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Send one message. It may leave twice if the process dies between sending and noting it."""
    assert merchant_id is not None
    tenant = MerchantId(merchant_id)
    message_id = UUID(payload)
    async with services.pool.transaction(tenant) as db:
        queued = await db.find(
            """
            SELECT sealed FROM message
            WHERE merchant_id = current_merchant() AND message_id = :message_id AND status = 'queued'
            """,
            into=_Queued,
            message_id=message_id,
        )
    if queued is None or queued.sealed is None:
        return
    message = msgspec.json.decode(services.sealer.open(queued.sealed), type=Message)
    try:
        await _send(services.settings, message_id, message)
    except Exception as error:
        await _note_failure(services, tenant, message_id, error)
        raise
    async with services.pool.transaction(tenant) as db:
        # What has left need not be kept: it may carry a code.
        await db.execute(
            """
            UPDATE message SET status = 'sent', sent_at = now(), sealed = NULL, last_error = ''
            WHERE merchant_id = current_merchant() AND message_id = :message_id
            """,
            message_id=message_id,
        )


async def run_send_sealed(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Send a message of no merchant's: an app's check of an address. The job is all that knows of it.

    `payload` has the sealed message, and until when (ISO 8601) its code works: later it is not sent.
    """
    if datetime.now(UTC) >= datetime.fromisoformat(payload["until"]):
        return
    message = msgspec.json.decode(services.sealer.open(payload["sealed"].encode()), type=Message)
    # The same for each try of the same job: a repeat can be told by it.
    await _send(services.settings, uuid5(_SEALED, payload["sealed"]), message)


async def _note_failure(
    services: Services, merchant_id: MerchantId, message_id: UUID, error: Exception
) -> None:
    """Leave word where the merchant can see it; the job tries again."""
    async with services.pool.transaction(merchant_id) as db:
        await db.execute(
            """
            UPDATE message SET last_error = :error
            WHERE merchant_id = current_merchant() AND message_id = :message_id
            """,
            error=type(error).__name__,
            message_id=message_id,
        )


async def _send(settings: Any, message_id: UUID, message: Message) -> None:
    if message.channel == "email" and settings.smtp_url:
        await _send_mail(settings.smtp_url, settings.mail_from, message_id, message)
    else:
        await asyncio.to_thread(_append, settings.data_folder() / "outbox.jsonl", message)


async def _send_mail(smtp_url: str, sender: str, message_id: UUID, message: Message) -> None:
    parts = urlsplit(smtp_url)
    mail = EmailMessage()
    # A header is one line; the same id again tells a repeat.
    mail["From"], mail["To"], mail["Subject"] = sender, message.to, " ".join(message.subject.split())
    mail["Date"], mail["Message-ID"] = localtime(), f"<{message_id}@{_domain(sender)}>"
    mail.set_content(message.text)
    await aiosmtplib.send(
        mail,
        hostname=parts.hostname,
        port=parts.port or (465 if parts.scheme == "smtps" else 587),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        use_tls=parts.scheme == "smtps",
        timeout=20,
    )


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"


def _append(outbox: Path, message: Message) -> None:
    line = msgspec.json.encode({"at": datetime.now(UTC), **msgspec.structs.asdict(message)}) + b"\n"
    descriptor = os.open(outbox, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # One write with O_APPEND: lines of several workers do not mix.
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
