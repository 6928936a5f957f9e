"""The way out: by the mail server, the SMS provider or, where none is set, into outbox.jsonl."""

import asyncio
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from kasuwa.base.fetch import Resolver
from kasuwa.domain.messages.errors import DeliveryFailed
from kasuwa.domain.messages.mail import read_mail_server, send_mail
from kasuwa.domain.messages.records import Message
from kasuwa.domain.messages.sms import open_fetcher, read_provider, send_sms
from kasuwa.settings import SettingWrong


class Courier:
    """Takes messages to where the settings say, one at a time and each to one person.

    `left` are messages that have gone out and could not be noted as sent: they do not go a second time.
    """

    def __init__(
        self,
        settings: Any,
        *,
        ssl_context: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """`ssl_context` and `resolver` replace the machine's own. Raises SettingWrong."""
        password = read_secret("", settings.smtp_password_file, "KASUWA_SMTP_PASSWORD_FILE")
        key = read_secret(settings.sms_key, settings.sms_key_file, "KASUWA_SMS_KEY_FILE")
        self.left: set[UUID] = set()
        self._mail = read_mail_server(settings.smtp_url, password, settings.mail_from)
        self._provider = read_provider(settings, key)
        self._seconds = float(settings.message_seconds)
        self._outbox: Path = settings.data_folder() / "outbox.jsonl"
        self._ssl_context = ssl_context
        self._fetcher = (
            open_fetcher(self._provider, ssl_context=ssl_context, resolver=resolver)
            if self._provider is not None
            else None
        )

    async def close(self) -> None:
        if self._fetcher is not None:
            await self._fetcher.close()

    async def deliver(self, message_id: UUID, message: Message, *, merchant_id: UUID | None = None) -> None:
        """Hand the message over. Raises DeliveryFailed."""
        if message.channel == "email" and self._mail is not None:
            await send_mail(
                self._mail, message_id, message, seconds=self._seconds, ssl_context=self._ssl_context
            )
        elif message.channel == "sms" and self._provider is not None and self._fetcher is not None:
            await send_sms(self._provider, self._fetcher, message_id, message, seconds=self._seconds)
        else:
            try:
                await asyncio.to_thread(_append, self._outbox, message, merchant_id)
            except OSError as error:
                raise DeliveryFailed(f"outbox.jsonl cannot be written ({error.strerror}).") from None


def check_couriers(settings: Any) -> None:
    """Raise SettingWrong for what would keep messages from leaving; connects to nobody."""
    Courier(settings)


def read_secret(text: str, file: str, name: str) -> str:
    """The secret of a setting, or of the file that another setting names; empty without both."""
    if not file:
        return text
    if text:
        raise SettingWrong(f"Set {name.removesuffix('_FILE')} or {name}, not both")
    try:
        secret = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingWrong(f"{name} must name a file that can be read, not {file!r}") from None
    if not secret or not secret.isprintable():
        raise SettingWrong(f"{name} must name a file with one line, the secret: {file!r} has none or several")
    return secret


def forget_lines(outbox: Path, merchant_id: UUID) -> int:
    """Blank what the outbox says of a merchant's messages; how many lines.

    Each line is written over in its place: it keeps its length, so that workers may go on appending.
    """
    if not outbox.exists():
        return 0
    mark, count, place = str(merchant_id).encode(), 0, 0
    with outbox.open("r+b") as file:
        for line in file.read().splitlines(keepends=True):
            if mark in line and (kept := _blanked(line, str(merchant_id))) is not None:
                file.seek(place)
                file.write(kept.ljust(len(line) - 1))
                count += 1
            place += len(line)
        file.flush()
        os.fsync(file.fileno())
    return count


def _blanked(line: bytes, merchant_id: str) -> bytes | None:
    try:
        said = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    if said.pop("merchant", None) != merchant_id:
        return None
    return msgspec.json.encode(said | {"to": "", "subject": "", "text": "", "code": None})


def _append(outbox: Path, message: Message, merchant_id: UUID | None) -> None:
    shown = {name: value for name, value in msgspec.structs.asdict(message).items() if name != "expires_at"}
    # Whose it is, so that it can go with them.
    owned = {} if merchant_id is None else {"merchant": merchant_id}
    line = msgspec.json.encode({"at": datetime.now(UTC), **shown, **owned}) + b"\n"
    descriptor = os.open(outbox, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # One write with O_APPEND: lines of several workers do not mix.
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
