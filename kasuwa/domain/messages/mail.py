"""Mail by SMTP: one message to one person, and never a password where others can read it."""

import asyncio
import ipaddress
import re
import ssl
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import getaddresses, localtime
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

import idna
from msgspec import Struct

from kasuwa.domain.messages.errors import DeliveryFailed
from kasuwa.domain.messages.records import Message
from kasuwa.settings import SettingWrong

_QUIT_SECONDS = 2.0
# Atoms parted by dots (RFC 5322, 6531), without quotes: nobody's real address needs them, and a trick may.
_ATOM = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f\s])+"
_NAME = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_EXAMPLE = "such as smtp://user:password@host:587 or smtps://user:password@host"


class MailServer(Struct, frozen=True):
    """Where mail is handed over. `starttls`: True and False are orders, None takes what the server offers."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    starttls: bool | None
    sender: Address


def read_mail_server(url: str, password_file_text: str, sender: str) -> MailServer | None:
    """The server that KASUWA_SMTP_URL names, or None when it is empty. Raises SettingWrong."""
    address = _read_sender(sender)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise SettingWrong(f"KASUWA_SMTP_URL cannot be read: write it {_EXAMPLE}") from None
    starttls = options.pop("starttls", "")
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or options or parts.path not in ("", "/"):
        raise SettingWrong(f"KASUWA_SMTP_URL must be smtp:// or smtps:// with a host, {_EXAMPLE}")
    if starttls not in ("", "required", "never"):
        raise SettingWrong("KASUWA_SMTP_URL knows ?starttls=required and ?starttls=never")
    username = unquote(parts.username) if parts.username else None
    password = password_file_text or (unquote(parts.password) if parts.password else None)
    if (username is None) != (password is None):
        raise SettingWrong(
            "KASUWA_SMTP_URL must name a user and a password (or KASUWA_SMTP_PASSWORD_FILE), or neither"
        )
    tls, near = parts.scheme == "smtps", is_loopback(parts.hostname)
    if username and starttls == "never" and not tls and not near:
        raise SettingWrong(
            "KASUWA_SMTP_URL would send the password in the clear: leave out ?starttls=never, or use smtps://"
        )
    return MailServer(
        host=parts.hostname,
        port=port or (465 if tls else 587),
        username=username,
        password=password,
        tls=tls,
        starttls=None if tls else _starttls(starttls, has_user=username is not None, near=near),
        sender=address,
    )


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def compose(server: MailServer, message_id: UUID, message: Message) -> EmailMessage:
    """The mail. Raises DeliveryFailed for an address that is not exactly one."""
    mail = EmailMessage()
    mail["From"], mail["To"] = server.sender, _read_recipient(message.to)
    # A header is one line, whatever a text brings.
    mail["Subject"] = _one_line(message.subject)
    # The same id again tells a repeat.
    mail["Date"], mail["Message-ID"] = localtime(), f"<{message_id}@{server.sender.domain}>"
    # Machines that are away must not answer (RFC 3834).
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    return mail


async def send_mail(
    server: MailServer,
    message_id: UUID,
    message: Message,
    *,
    seconds: float,
    ssl_context: ssl.SSLContext | None = None,
) -> None:
    """Hand the message over within `seconds`. Raises DeliveryFailed."""
    import aiosmtplib  # late: only a worker that sends pays for it

    mail = compose(server, message_id, message)
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.username,
        password=server.password,
        use_tls=server.tls,
        start_tls=server.starttls,
        tls_context=ssl_context,
        timeout=seconds,
    )
    try:
        async with asyncio.timeout(seconds):
            await client.connect()
            await client.send_message(
                mail, sender=server.sender.addr_spec, recipients=[mail["To"].addresses[0].addr_spec]
            )
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise _failure(error) from None
    else:
        # It has left: whether the goodbye is heard does not matter any more.
        with suppress(aiosmtplib.SMTPException, OSError):
            await client.quit(timeout=_QUIT_SECONDS)
    finally:
        client.close()


def _failure(error: Exception) -> DeliveryFailed:
    """What became of the mail in words of ours; a server's own may repeat an address.

    For good: the server refuses this recipient or these words. What concerns us (log-in, sender, TLS) is
    tried again: the operator can put it right meanwhile.
    """
    import aiosmtplib

    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        code = error.recipients[0].code
        return DeliveryFailed(f"The mail server refuses the recipient ({code}).", permanent=code >= 500)
    if isinstance(error, aiosmtplib.SMTPDataError):
        return DeliveryFailed(
            f"The mail server refuses the message ({error.code}).", permanent=error.code >= 500
        )
    if isinstance(error, aiosmtplib.SMTPNotSupported):
        return DeliveryFailed("The mail server does not take an address with such letters.", permanent=True)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return DeliveryFailed(f"The mail server refuses the log-in ({error.code}): check KASUWA_SMTP_URL.")
    if isinstance(error, aiosmtplib.SMTPSenderRefused):
        return DeliveryFailed(f"The mail server refuses the sender ({error.code}): check KASUWA_MAIL_FROM.")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return DeliveryFailed(f"The mail server answered {error.code}.")
    if isinstance(error, TimeoutError):
        return DeliveryFailed("The mail server did not answer in time.")
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return DeliveryFailed("The mail server's certificate is not one that we trust.")
    if isinstance(error, OSError):
        return DeliveryFailed("The mail server cannot be reached.")
    if isinstance(error, aiosmtplib.SMTPException):
        return DeliveryFailed("The mail server offers no STARTTLS or no log-in: check KASUWA_SMTP_URL.")
    return DeliveryFailed("The mail cannot be written.", permanent=True)


def _starttls(wish: str, *, has_user: bool, near: bool) -> bool | None:
    if wish:
        return wish == "required"
    if near:
        # Nobody else reads there, and a mail server of this machine rarely has a certificate to trust.
        return False
    return True if has_user else None


def _read_sender(text: str) -> Address:
    found = getaddresses([text])
    try:
        if len(found) != 1 or not text.isprintable():
            raise ValueError("not one address")
        address = _read_address(found[0][1])
        return Address(display_name=_one_line(found[0][0]), username=address.username, domain=address.domain)
    except ValueError:
        raise SettingWrong(
            f"KASUWA_MAIL_FROM must be one address, such as Shop <shop@shop.example>, not {text!r}"
        ) from None


def _read_recipient(text: str) -> Address:
    try:
        return _read_address(text)
    except ValueError:
        raise DeliveryFailed("The recipient is not one e-mail address.", permanent=True) from None


def _read_address(text: str) -> Address:
    """One address, its domain in ASCII where that says the same. Raises ValueError."""
    name, _, domain = text.rpartition("@")
    if not domain or not text.isprintable() or not _NAME.fullmatch(name):
        raise ValueError("no address")
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode("ascii")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError("no domain")
    return Address(username=name, domain=domain)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
