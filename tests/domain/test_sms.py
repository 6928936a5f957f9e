"""SMS by the operator's own provider: what it receives, byte for byte, and what becomes of its noes."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import trustme

from kasuwa.base.context import Context, Services
from kasuwa.domain.messages.courier import Courier, check_couriers
from kasuwa.domain.messages.errors import DeliveryFailed
from kasuwa.settings import SettingWrong, read_settings
from tests.base.database import Connection
from tests.contract.test_log_canaries import captured_logs, metric_names, told
from tests.domain.test_messages import admin
from tests.messaging import (
    SENT,
    SmsSink,
    a_courier,
    a_message,
    a_worker,
    an_sms,
    close_couriers,
    failed,
    kept,
    send,
    sms_sink,
    waiting,
)

__all__ = ["admin"]

KEY = "zqKey+of/the=provider & more"
ID = UUID("01930000-0000-7000-8000-000000000001")
TEXT = 'Your code is 123456 & 50% "off" {key} ₦1=1 +\nẹ'
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def documented(name: str) -> dict[str, str]:
    """The settings of a worked example, as the operator reads them."""
    [block] = re.findall(rf"```ini {name}\n(.*?)```", OPERATIONS.read_text("utf-8"), re.DOTALL)
    return dict(line.split("=", 1) for line in block.splitlines())


class Everywhere:
    """Leads every name to loopback."""

    async def resolve(self, host: str) -> Sequence[str]:
        return ["127.0.0.1"]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
async def nothing_stays_open() -> AsyncIterator[None]:
    yield
    await close_couriers()


@pytest.fixture
async def sink() -> AsyncIterator[SmsSink]:
    async with sms_sink() as sink:
        yield sink


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "sms.key"
    file.write_text(KEY + "\n")
    return file


def by_url(services: Services, data: Path, sink: SmsSink, **settings: Any) -> Courier:
    url = f"http://127.0.0.1:{sink.port}/send?to={{number}}&text={{text}}&key={{key}}"
    wanted: dict[str, Any] = {"sms_url": url, "sms_key": KEY, "sms_private": True} | settings
    return a_courier(services, data, **wanted)


# Byte for byte ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "extra", "content_type", "body"),
    [
        (
            "sms-termii",
            "/api/sms/send",
            "",
            "application/json",
            '{"to":"2348031234567","from":"AdaFabrics",'
            '"sms":"Your code is 123456 & 50% \\"off\\" {key} ₦1=1 +\\nẹ","type":"plain","channel":"dnd",'
            '"api_key":"zqKey+of/the=provider & more"}',
        ),
        (
            "sms-africas-talking",
            "/version1/messaging",
            f"apiKey: {KEY}\r\n",
            "application/x-www-form-urlencoded",
            "username=adafabrics&to=%2B2348031234567&message=Your+code+is+123456+%26+50%25+%22off%22+%7Bkey%7D+"
            "%E2%82%A61%3D1+%2B%0A%E1%BA%B9&from=AdaFabrics",
        ),
    ],
)
async def test_the_worked_examples_send_what_their_providers_document(
    services: Services,
    authority: trustme.CA,
    key_file: Path,
    tmp_path: Path,
    name: str,
    path: str,
    extra: str,
    content_type: str,
    body: str,
) -> None:
    example = documented(name) | {"KASUWA_SMS_KEY_FILE": str(key_file)}
    host = example["KASUWA_SMS_URL"].split("/")[2]
    tls, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(host).configure_cert(tls)
    authority.configure_trust(trusting)
    async with sms_sink(tls) as sink:
        sink.body = b'{"SMSMessageData":{"Recipients":[{"statusCode":101,"status":"Success"}]}}'
        # Its own name over TLS, but the port and the address of the sink.
        example["KASUWA_SMS_URL"] = example["KASUWA_SMS_URL"].replace(host, f"{host}:{sink.port}")
        settings = read_settings(example, data=str(tmp_path), sms_private=True)
        courier = Courier(settings, ssl_context=trusting, resolver=Everywhere())
        await courier.deliver(ID, an_sms(text=TEXT))
        await courier.close()
    content = body.encode()
    assert [request.decode() for request in sink.requests] == [
        f"POST {path} HTTP/1.1\r\nHost: {host}:{sink.port}\r\nUser-Agent: Kasuwa\r\n"
        "Accept: application/json\r\nAccept-Encoding: identity\r\n"
        f"Content-Type: {content_type}\r\n{extra}Content-Length: {len(content)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    ]


async def test_the_gateways_example_puts_all_into_the_url(
    services: Services, sink: SmsSink, key_file: Path, tmp_path: Path
) -> None:
    example = documented("sms-gateway") | {"KASUWA_SMS_KEY_FILE": str(key_file)}
    example["KASUWA_SMS_URL"] = example["KASUWA_SMS_URL"].replace("10.0.0.7:13013", f"127.0.0.1:{sink.port}")
    courier = Courier(read_settings(example, data=str(tmp_path)))
    await courier.deliver(ID, an_sms(text=TEXT))
    await courier.close()
    assert [request.decode() for request in sink.requests] == [
        "GET /cgi-bin/sendsms?username=shop&password=zqKey%2Bof%2Fthe%3Dprovider%20%26%20more"
        "&to=2348031234567&text=Your%20code%20is%20123456%20%26%2050%25%20%22off%22%20%7Bkey%7D%20%E2%82%A61%3D1"
        "%20%2B%0A%E1%BA%B9"
        f" HTTP/1.1\r\nHost: 127.0.0.1:{sink.port}\r\nUser-Agent: Kasuwa\r\nAccept: application/json\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ]


async def test_the_messages_id_tells_a_repeat(services: Services, sink: SmsSink, tmp_path: Path) -> None:
    courier = by_url(
        services,
        tmp_path,
        sink,
        sms_body='{"to": "{to}", "parts": ["{text}", 1, null], "ref": "{id}"}',
        sms_headers='{"Idempotency-Key": "{id}", "Accept": "text/plain"}',
    )
    await courier.deliver(ID, an_sms(text="Hi"))
    [request] = sink.requests
    head, _, body = request.decode().partition("\r\n\r\n")
    assert body == f'{{"to":"+2348031234567","parts":["Hi",1,null],"ref":"{ID}"}}'
    assert f"\r\nIdempotency-Key: {ID}\r\n" in head
    assert "\r\nAccept: text/plain\r\n" in head


# Noes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "for_good"),
    [
        ("400 Bad Request", "The SMS provider answered 400.", True),
        ("401 Unauthorized", "The SMS provider answered 401: check KASUWA_SMS_KEY.", False),
        ("402 Payment Required", "The SMS provider answered 402: see to your credit there.", False),
        ("403 Forbidden", "The SMS provider answered 403: check KASUWA_SMS_KEY and the sender.", False),
        ("422 Unprocessable Entity", "The SMS provider answered 422.", True),
        ("302 Found", "The SMS provider answered 302: set KASUWA_SMS_URL to where it moved.", False),
        ("408 Request Timeout", "The SMS provider answered 408.", False),
        ("429 Too Many Requests", "The SMS provider answered 429.", False),
        ("500 Internal Server Error", "The SMS provider answered 500.", False),
        ("503 Service Unavailable", "The SMS provider answered 503.", False),
    ],
)
async def test_a_no_is_for_good_or_for_now_and_nothing_is_lost(
    context: Context,
    services: Services,
    sink: SmsSink,
    admin: Connection,
    tmp_path: Path,
    status: str,
    reason: str,
    for_good: bool,
) -> None:
    sink.status, sink.headers = status, {"Location": "http://127.0.0.1/", "Retry-After": "77"}
    sink.body = f"no: {KEY} +2348031234567 123456".encode()
    await send(context, an_sms())
    jobs = a_worker(services, by_url(services, tmp_path, sink))
    assert await jobs.run_due() == 1
    assert await kept(context) == (failed(reason) if for_good else waiting(reason))
    wait = await admin.fetchval("SELECT extract(epoch FROM run_at - now())::float FROM job")
    assert wait is None if for_good else 60 < wait <= 77
    sink.status = "201 Created"
    await admin.execute("UPDATE job SET run_at = now()")
    assert await jobs.run_due() == (0 if for_good else 1)
    assert len(sink.requests) == (1 if for_good else 2)
    if not for_good:
        assert await kept(context) == SENT | {"attempts": 2}
    assert not (tmp_path / "outbox.jsonl").exists()


async def test_an_answer_that_only_looks_well_is_told_by_its_words(
    services: Services, sink: SmsSink, tmp_path: Path
) -> None:
    courier = by_url(services, tmp_path, sink, sms_accepted='"Success"')
    sink.status, sink.body = "201 Created", b'{"Recipients":[{"statusCode":406,"status":"UserInBlacklist"}]}'
    with pytest.raises(DeliveryFailed, match="did not take") as failure:
        await courier.deliver(ID, an_sms())
    assert failure.value.permanent
    sink.body = b'{"Recipients":[{"statusCode":101,"status":"Success"}]}'
    await courier.deliver(ID, an_sms())


async def test_a_provider_that_is_down_or_slow_costs_a_bounded_time_and_is_asked_once_a_try(
    services: Services, sink: SmsSink, tmp_path: Path
) -> None:
    sink.wait_seconds = 3600.0  # longer than a test may take
    with pytest.raises(DeliveryFailed, match="in time") as slow:
        await by_url(services, tmp_path, sink, message_seconds=0.3).deliver(ID, an_sms())
    assert len(sink.requests) == 1
    down = SmsSink()
    down.port = 1
    with pytest.raises(DeliveryFailed, match="cannot be reached") as absent:
        await by_url(services, tmp_path, down).deliver(ID, an_sms())
    assert not slow.value.permanent
    assert not absent.value.permanent


async def test_a_provider_that_breaks_off_its_answer_has_taken_the_message(
    services: Services, tmp_path: Path
) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    server, sink = await asyncio.start_server(break_off, "127.0.0.1", 0), SmsSink()
    sink.port = server.sockets[0].getsockname()[1]
    await by_url(services, tmp_path, sink).deliver(ID, an_sms())
    server.close()


# Where it may go ----------------------------------------------------------------------------------


async def test_a_private_address_is_called_only_when_the_setting_says_so(
    services: Services, sink: SmsSink, tmp_path: Path
) -> None:
    url = f"https://sms.shop.example:{sink.port}/?to={{to}}&text={{text}}"
    # A public name that leads inside, and picture URLs being allowed there does not help.
    courier = a_courier(
        services,
        tmp_path,
        sms_url=url,
        fetch_allow=f"sms.shop.example:{sink.port}",
        resolver=Everywhere(),
    )
    with pytest.raises(DeliveryFailed, match="KASUWA_SMS_PRIVATE"):
        await courier.deliver(ID, an_sms())
    assert sink.requests == []
    await by_url(services, tmp_path, sink).deliver(ID, an_sms())
    assert len(sink.requests) == 1


GOOD = {"sms_url": "https://sms.example/?to={to}&text={text}"}


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"sms_url": "sms.example"}, "cannot be read"),
        ({"sms_url": "http://sms.example/?to={to}&text={text}"}, "https://"),
        ({"sms_url": "https://ada:pass@sms.example/?to={to}&text={text}"}, "KASUWA_SMS_HEADERS"),
        ({"sms_url": "https://{to}.example/?text={text}"}, "cannot be read|placeholder"),
        ({"sms_url": "https://sms.example/?to={to}"}, "{text}"),
        ({"sms_url": "https://sms.example/?text={text}"}, "{to} or {number}"),
        ({"sms_url": "https://sms.example/?to={to}&text={words}"}, "{words}"),
        (GOOD | {"sms_headers": '{"apiKey": "{key}"}'}, "KASUWA_SMS_KEY"),
        (GOOD | {"sms_headers": '{"X": "{text}"}'}, "KASUWA_SMS_HEADERS"),
        (GOOD | {"sms_headers": '{"X": "a\\r\\nY: b"}'}, "KASUWA_SMS_HEADERS"),
        (GOOD | {"sms_headers": '{"X Y": "a"}'}, "KASUWA_SMS_HEADERS"),
        (GOOD | {"sms_headers": "apiKey: key"}, "not JSON"),
        (GOOD | {"sms_body": '{"to": {to}}'}, "double quotes"),
        (GOOD | {"sms_key": "key", "sms_key_file": "/etc/key"}, "not both"),
        (GOOD | {"sms_key_file": "/nowhere/key"}, "can be read"),
    ],
)
def test_what_cannot_work_stops_the_start_and_says_what_to_write(
    services: Services, settings: dict[str, Any], hint: str
) -> None:
    with pytest.raises(SettingWrong, match=hint):
        check_couriers(msgspec.structs.replace(services.settings, **settings))


# Canaries -----------------------------------------------------------------------------------------


async def test_keys_words_and_numbers_are_in_no_log_number_or_row(
    context: Context,
    services: Services,
    sink: SmsSink,
    admin: Connection,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with captured_logs(monkeypatch) as buffer:
        for status in ("200 OK", "500 No", "400 No"):
            sink.status, sink.body = status, f"{KEY} 739164".encode()
            await send(context, an_sms(to="+2348099911223", text="zqWords 739164", code="739164"))
            await a_worker(services, by_url(services, tmp_path, sink)).run_due()
        await send(context, a_message(to="zq.canary@leak.example", subject="zqWords", text="zqWords"))
        down = a_courier(services, tmp_path, smtp_url=f"smtp://ada:{KEY[:5]}@127.0.0.1:1")
        await a_worker(services, down).run_due()
        lines = told(buffer.getvalue())
    async with context.reading() as db:
        rows: list[dict[str, Any]] = await db.all(
            "SELECT to_jsonb(m) - 'sealed' AS row FROM message m", into=dict
        )
    places = {
        "logs": lines,
        "metrics": await metric_names(),
        "rows": str(rows),
        "jobs": str([dict(row) for row in await admin.fetch("SELECT * FROM job")]),
        "postgres": (data_folder / "postgres.log").read_text("utf-8", "replace"),
    }
    canaries = ("zqKey", "zqWords", "739164", "+2348099911223", "2348099911223", "zq.canary@leak.example")
    assert [(place, one) for place, text in places.items() for one in canaries if one in text] == []
    # The control: what may be told is there.
    assert lines.count("messages.not_sent") == 3
    assert "The SMS provider answered 500." in lines
    assert "+234***1223" in places["rows"]
    assert 'outcome="retried"' in places["metrics"]


async def test_a_mail_is_not_the_providers(services: Services, sink: SmsSink, tmp_path: Path) -> None:
    await by_url(services, tmp_path, sink).deliver(uuid4(), a_message())
    assert sink.requests == []
    assert (tmp_path / "outbox.jsonl").exists()
