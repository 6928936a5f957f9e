"""The way out: by the mail server, the SMS provider or, where none is set, into outbox.jsonl."""

import asyncio
import fcntl
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

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

    async def forget(self, ids: Sequence[UUID], addresses: Sequence[str]) -> None:
        """Take the lines of customers or complaints out of the outbox, and checks of the addresses."""
        marks = [f'"{field}":"{one}"'.encode() for field in ("customer_id", "complaint_id") for one in ids]
        await asyncio.to_thread(
            _forget,
            self._outbox,
            lambda line: any(mark in line for mark in marks) or _checks(line, addresses),
        )


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
    """Take the lines of a merchant's messages out of the outbox; how many there were."""
    theirs = f'"merchant":"{merchant_id}"'.encode()
    return _forget(outbox, lambda line: theirs in line)


def _append(outbox: Path, message: Message, merchant_id: UUID | None) -> None:
    shown = msgspec.structs.asdict(message)
    del shown["expires_at"]
    for owner in ("customer_id", "complaint_id"):
        if shown[owner] is None:
            del shown[owner]
    # Whose it is, so that it can go with them.
    owned = {} if merchant_id is None else {"merchant": merchant_id}
    line = msgspec.json.encode({"at": datetime.now(UTC), **shown, **owned}) + b"\n"
    with _held(outbox, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
        # One write with O_APPEND: lines of several workers do not mix.
        os.write(descriptor, line)


class _Line(Struct, frozen=True):
    """Of a line of the outbox."""

    to: str
    template: str


def _checks(line: bytes, addresses: Sequence[str]) -> bool:
    """Whether it is the check of one of the addresses: an app asked for it, and no merchant owns it."""
    if b'"template":"check-' not in line:
        return False
    found = msgspec.json.decode(line, type=_Line)
    return found.template in ("check-email", "check-mobile") and found.to.lower() in addresses


def _forget(outbox: Path, is_theirs: Callable[[bytes], bool]) -> int:
    """Write the file anew without the lines of somebody, and put it in the old one's place."""
    count = 0
    try:
        with _held(outbox, os.O_RDONLY) as descriptor, open(descriptor, "rb", closefd=False) as lines:
            # Always the same name: what a crash left there is written over, and not kept for good.
            new = outbox.with_suffix(".new")
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                for line in lines:
                    if is_theirs(line):
                        count += 1
                    else:
                        out.write(line)
                out.flush()
                os.fsync(out.fileno())
            os.replace(new, outbox)
    except FileNotFoundError:
        return 0  # nothing has ever gone there
    return count


@contextmanager
def _held(outbox: Path, flags: int) -> Iterator[int]:
    """The open outbox, for nobody else until the end.

    Whoever waited may find that the file was written anew meanwhile: then it is the new one that they need.
    """
    while True:
        descriptor = os.open(outbox, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, outbox):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, outbox: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(outbox))
    except FileNotFoundError:
        return False
