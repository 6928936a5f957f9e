"""Mail by SMTP, against real mail servers on loopback: with and without TLS, log-in, refusals, odd texts."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiosmtplib
import pytest
import trustme

from kasuwa.base.context import Context, Services
from kasuwa.domain.messages.errors import DeliveryFailed
from kasuwa.domain.messages.mail import compose, read_mail_server
from kasuwa.settings import SettingWrong
from tests.base.database import Connection
from tests.domain.test_messages import admin
from tests.messaging import (
    SENT,
    Inbox,
    a_courier,
    a_message,
    a_worker,
    an_sms,
    failed,
    free_port,
    kept,
    mail_server,
    send,
    waiting,
)

__all__ = ["admin"]

# The server's warning to itself: one of these tests proves that we send no password to such a server.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

USER = "shop%40shop.example:let%20the%20mail%20out"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def inbox() -> AsyncIterator[tuple[Inbox, int]]:
    inbox = Inbox()
    async with mail_server(inbox) as port:
        yield inbox, port


async def deliver(services: Services, data: Path, smtp_url: str, **options: Any) -> None:
    courier = a_courier(services, data, smtp_url=smtp_url, **options)
    await courier.deliver(uuid4(), a_message())


# It leaves ----------------------------------------------------------------------------------------


async def test_a_mail_really_leaves_to_one_person_and_is_then_forgotten(
    context: Context, services: Services, inbox: tuple[Inbox, int], admin: Connection, tmp_path: Path
) -> None:
    received, port = inbox
    await send(context, a_message())
    courier = a_courier(services, tmp_path, smtp_url=f"smtp://127.0.0.1:{port}")
    assert await a_worker(services, courier).run_due() == 1
    [mail] = received.mails
    assert (mail["To"], mail["From"], mail["Subject"]) == (
        "ada@shop.example",
        "Shop <shop@shop.example>",
        "Your code",
    )
    assert mail["Date"]
    assert mail["Message-ID"].endswith("@shop.example>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().strip() == "Ẹ n lẹ! Your code is 123456."
    [(sender, recipients, _)] = received.envelopes
    assert (sender, recipients) == ("shop@shop.example", ["ada@shop.example"])
    assert await kept(context) == SENT
    assert not (tmp_path / "outbox.jsonl").exists()


async def test_an_sms_does_not_go_to_the_mail_server(
    context: Context, services: Services, inbox: tuple[Inbox, int], admin: Connection, tmp_path: Path
) -> None:
    received, port = inbox
    await send(context, an_sms())
    courier = a_courier(services, tmp_path, smtp_url=f"smtp://127.0.0.1:{port}")
    assert await a_worker(services, courier).run_due() == 1
    assert received.mails == []
    assert (tmp_path / "outbox.jsonl").exists()


# TLS and log-in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["starttls", "smtps"])
async def test_with_a_user_the_password_goes_over_tls_alone(
    services: Services, server_tls: ssl.SSLContext, trusting: ssl.SSLContext, tmp_path: Path, kind: str
) -> None:
    inbox = Inbox()
    tls: dict[str, Any] = {kind: server_tls}
    async with mail_server(inbox, log_in=True, **tls) as port:
        scheme, query = ("smtps", "") if kind == "smtps" else ("smtp", "?starttls=required")
        await deliver(services, tmp_path, f"{scheme}://{USER}@127.0.0.1:{port}{query}", ssl_context=trusting)
    assert inbox.logins == [("shop@shop.example", "let the mail out", True)]
    assert len(inbox.mails) == 1


async def test_a_certificate_that_nobody_trusts_gets_neither_password_nor_mail(
    services: Services, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    inbox = Inbox()
    async with mail_server(inbox, log_in=True, starttls=server_tls) as port:
        with pytest.raises(DeliveryFailed, match="certificate") as told:
            await deliver(services, tmp_path, f"smtp://{USER}@127.0.0.1:{port}?starttls=required")
    assert not told.value.permanent
    assert (inbox.logins, inbox.mails) == ([], [])


async def test_a_server_without_starttls_gets_no_password_where_it_is_required(
    services: Services, tmp_path: Path
) -> None:
    inbox = Inbox()
    async with mail_server(inbox, log_in=True) as port:
        with pytest.raises(DeliveryFailed, match="STARTTLS") as told:
            await deliver(services, tmp_path, f"smtp://{USER}@127.0.0.1:{port}?starttls=required")
        assert not told.value.permanent
        assert (inbox.logins, inbox.mails) == ([], [])
        # The control: on loopback alone, and when nobody asks, it may go without.
        await deliver(services, tmp_path, f"smtp://{USER}@127.0.0.1:{port}")
    assert inbox.logins == [("shop@shop.example", "let the mail out", False)]


def test_what_the_url_says_about_tls() -> None:
    def starttls(url: str) -> bool | None:
        server = read_mail_server(url, "", "shop@shop.example")
        assert server is not None
        return server.starttls

    assert starttls("smtp://ada:pass@mail.example") is True
    assert starttls("smtp://mail.example") is None
    assert starttls("smtp://mail.example?starttls=required") is True
    assert starttls("smtp://mail.example?starttls=never") is False
    assert starttls("smtp://localhost:25") is False
    assert starttls("smtp://ada:pass@[::1]:25") is False
    assert starttls("smtp://ada:pass@127.0.0.1?starttls=required") is True
    # A name that only begins like this machine's is somebody else's.
    assert starttls("smtp://ada:pass@localhost.example") is True


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("smtp://ada:pass@mail.example?starttls=never", "in the clear"),
        ("smtp://mail.example?starttls=perhaps", "starttls=required"),
        ("smtp://mail.example?cc=all@shop.example", "smtp://"),
        ("http://mail.example", "smtp://"),
        ("smtp://", "smtp://"),
        ("smtp://mail.example:port", "smtp://"),
        ("smtp://ada@mail.example", "password"),
    ],
)
def test_a_mail_server_that_cannot_be_meant_stops_the_start(url: str, hint: str) -> None:
    with pytest.raises(SettingWrong, match=hint):
        read_mail_server(url, "", "shop@shop.example")


@pytest.mark.parametrize(
    "sender", ["", "Shop", "a@b.example, c@d.example", "a@b.example\nBcc: c@d.example", "<@>"]
)
def test_a_sender_that_is_not_one_address_stops_the_start(sender: str) -> None:
    with pytest.raises(SettingWrong, match="KASUWA_MAIL_FROM"):
        read_mail_server("", "", sender)


async def test_the_password_may_stand_in_a_file(services: Services, tmp_path: Path) -> None:
    inbox, file = Inbox(), tmp_path / "password"
    file.write_text("let the mail out\n")
    async with mail_server(inbox, log_in=True) as port:
        url = f"smtp://shop@127.0.0.1:{port}"
        await deliver(services, tmp_path, url, smtp_password_file=str(file))
    assert inbox.logins == [("shop", "let the mail out", False)]
    with pytest.raises(SettingWrong, match="KASUWA_SMTP_PASSWORD_FILE"):
        a_courier(services, tmp_path, smtp_url=url, smtp_password_file=str(tmp_path / "none"))


# Noes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer", "reason", "for_good"),
    [
        ("RCPT", "550 No such person ada@shop.example", "The mail server refuses the recipient (550).", True),
        ("RCPT", "450 Mailbox busy", "The mail server refuses the recipient (450).", False),
        ("DATA", "554 Smells of spam", "The mail server refuses the message (554).", True),
        ("DATA", "451 Try later", "The mail server refuses the message (451).", False),
    ],
)
async def test_a_refusal_is_for_good_or_for_now(
    context: Context,
    services: Services,
    inbox: tuple[Inbox, int],
    admin: Connection,
    tmp_path: Path,
    command: str,
    answer: str,
    reason: str,
    for_good: bool,
) -> None:
    received, port = inbox
    received.refuse[command] = answer
    await send(context, a_message())
    jobs = a_worker(services, a_courier(services, tmp_path, smtp_url=f"smtp://127.0.0.1:{port}"))
    assert await jobs.run_due() == 1
    assert await kept(context) == (failed(reason) if for_good else waiting(reason))
    received.refuse.clear()
    await admin.execute("UPDATE job SET run_at = now()")
    assert await jobs.run_due() == (0 if for_good else 1)
    assert len(received.mails) == (0 if for_good else 1)


async def test_a_server_that_is_down_gets_the_mail_once_when_it_is_back(
    context: Context, services: Services, admin: Connection, tmp_path: Path
) -> None:
    port, received = free_port(), Inbox()
    await send(context, a_message())
    jobs = a_worker(services, a_courier(services, tmp_path, smtp_url=f"smtp://127.0.0.1:{port}"))
    assert await jobs.run_due() == 1
    assert await kept(context) == waiting("The mail server cannot be reached.")
    async with mail_server(received, port=port):
        await admin.execute("UPDATE job SET run_at = now()")
        assert await jobs.run_due() == 1
    assert len(received.mails) == 1
    assert await kept(context) == SENT | {"attempts": 2}


async def test_a_log_in_that_is_refused_is_tried_again_once_it_is_put_right(
    services: Services, server_tls: ssl.SSLContext, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    inbox = Inbox()
    inbox.password = "another one"
    async with mail_server(inbox, log_in=True, starttls=server_tls) as port:
        url = f"smtp://{USER}@127.0.0.1:{port}?starttls=required"
        with pytest.raises(DeliveryFailed, match="KASUWA_SMTP_URL") as told:
            await deliver(services, tmp_path, url, ssl_context=trusting)
    assert not told.value.permanent
    assert "let the mail out" not in f"{told.value!r}{told.value.__cause__!r}"


async def test_a_server_that_never_answers_costs_a_bounded_time(services: Services, tmp_path: Path) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(DeliveryFailed, match="in time") as told:
        await deliver(services, tmp_path, f"smtp://127.0.0.1:{port}", message_seconds=0.3)
    server.close()
    assert not told.value.permanent


async def test_a_server_that_does_not_say_goodbye_has_the_mail_all_the_same(
    services: Services, inbox: tuple[Inbox, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(self: aiosmtplib.SMTP, **options: Any) -> None:
        raise aiosmtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr(aiosmtplib.SMTP, "quit", break_off)
    await deliver(services, tmp_path, f"smtp://127.0.0.1:{inbox[1]}")
    assert len(inbox[0].mails) == 1


# Odd texts and addresses --------------------------------------------------------------------------


def composed(**changed: Any) -> str:
    server = read_mail_server("smtp://mail.example", "", "Shop <shop@shop.example>")
    assert server is not None
    return compose(server, uuid4(), a_message(**changed)).as_string()


@pytest.mark.parametrize(
    "subject",
    [
        "Code\r\nBcc: eve@evil.example",
        "Code\nBcc: eve@evil.example",
        "Code\x0b\x85\u2028Bcc: eve@evil.example\0",
    ],
)
async def test_a_subject_stays_one_header(
    services: Services, inbox: tuple[Inbox, int], tmp_path: Path, subject: str
) -> None:
    courier = a_courier(services, tmp_path, smtp_url=f"smtp://127.0.0.1:{inbox[1]}")
    await courier.deliver(uuid4(), a_message(subject=subject))
    [mail] = inbox[0].mails
    assert mail["Subject"] == "Code Bcc: eve@evil.example"
    assert mail["Bcc"] is None
    assert inbox[0].envelopes[0][1] == ["ada@shop.example"]


@pytest.mark.parametrize(
    "to",
    [
        "ada@shop.example, eve@evil.example",
        "ada@shop.example\r\nBcc: eve@evil.example",
        "ada@shop.example> SIZE=1",
        "Ada <ada@shop.example>",
        "ada@shop.example eve@evil.example",
        "group: ada@shop.example, eve@evil.example;",
        "ada",
        "@shop.example",
        "ada@",
        "",
    ],
)
async def test_what_is_not_one_address_is_refused_for_good(
    services: Services, inbox: tuple[Inbox, int], tmp_path: Path, to: str
) -> None:
    courier = a_courier(services, tmp_path, smtp_url=f"smtp://127.0.0.1:{inbox[1]}")
    with pytest.raises(DeliveryFailed) as told:
        await courier.deliver(uuid4(), a_message(to=to))
    assert told.value.permanent
    assert inbox[0].mails == []


async def test_letters_of_any_script_arrive(
    services: Services, inbox: tuple[Inbox, int], tmp_path: Path
) -> None:
    courier = a_courier(
        services, tmp_path, smtp_url=f"smtp://127.0.0.1:{inbox[1]}", mail_from="Ọjà <shop@shop.example>"
    )
    subject = "Kóòdù rẹ — your code, 您的代码 " * 4
    await courier.deliver(
        uuid4(), a_message(to="adé@ọjà.example", subject=subject, text="Ẹ káàbọ̀ 🙂\n.\nend")
    )
    [mail] = inbox[0].mails
    assert mail["Subject"] == subject.strip()
    assert mail["From"] == "Ọjà <shop@shop.example>"
    assert mail.get_content().splitlines() == ["Ẹ káàbọ̀ 🙂", ".", "end"]
    [(_, recipients, _)] = inbox[0].envelopes
    assert recipients == [f"adé@{'ọjà.example'.encode('idna').decode()}"]


async def test_a_domain_of_any_script_needs_nothing_of_the_server_but_a_name_does(
    services: Services, tmp_path: Path
) -> None:
    inbox = Inbox()
    async with mail_server(inbox, utf8=False) as port:
        courier = a_courier(services, tmp_path, smtp_url=f"smtp://127.0.0.1:{port}")
        await courier.deliver(uuid4(), a_message(to="ade@ọjà.example"))
        assert inbox.envelopes[0][1][0].startswith("ade@xn--")
        with pytest.raises(DeliveryFailed, match="letters") as told:
            await courier.deliver(uuid4(), a_message(to="adé@shop.example"))
    assert told.value.permanent


def test_a_mail_says_who_sent_it_and_that_nobody_needs_to_answer() -> None:
    text = composed()
    assert "From: Shop <shop@shop.example>\n" in text
    assert "Auto-Submitted: auto-generated\n" in text
