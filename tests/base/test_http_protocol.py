"""Slow and rude callers, on real sockets against a real server."""

import asyncio
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from kasuwa.base.http.protocol import GuardedProtocol
from tests.base.http_serving import quick_protocol, serving
from tests.base.http_toy import make_app
from tests.numbers import number_of

CALLERS = 200


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(make_app(), quick_protocol()) as port:
        yield port


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _talk(port: int, *pieces: bytes) -> bytes:
    """Send the pieces, then read until the server closes."""
    with _connect(port) as sock:
        for piece in pieces:
            sock.sendall(piece)
        return _read_all(sock)


def _read_all(sock: socket.socket) -> bytes:
    received = b""
    while True:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            return received
        if not data:
            return received
        received += data


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@contextmanager
def _counted(reason: str) -> Iterator[None]:
    """What happens within is one refusal for this reason."""
    before = number_of("kasuwa_http_refused_total", reason=reason)
    yield
    assert number_of("kasuwa_http_refused_total", reason=reason) == before + 1


def _toy_error(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    error: dict[str, object] = json.loads(body)
    assert f"x-request-id: {error['request_id']}".encode() in head.lower()
    return error


async def _drip(port: int, first: bytes, drop: bytes, every_seconds: float, until: float) -> bool:
    """Send `first`, then `drop` again and again; True when the server closed before `until`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(first)
        while time.monotonic() < until:
            writer.write(drop)
            try:
                async with asyncio.timeout(every_seconds):
                    while await reader.read(4096):
                        pass
                    return True
            except TimeoutError:
                continue
            except ConnectionError:
                return True
        return False
    finally:
        writer.close()


async def _held(port: int, first: bytes, drop: bytes, seconds: float, every_seconds: float = 0.15) -> int:
    """How many of 200 such callers are still connected after so many seconds; others are served meanwhile."""
    until = time.monotonic() + seconds
    callers = [asyncio.create_task(_drip(port, first, drop, every_seconds, until)) for _ in range(CALLERS)]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while any(not caller.done() for caller in callers):
            assert (await client.get("/ping")).status_code == 200
            await asyncio.sleep(0.05)
    return sum(not caller.result() for caller in callers)


SLOW_HEAD = (b"GET /ping HTTP/1.1\r\nHost: a\r\n", b"X-A: b\r\n")
EMPTY_LINES = (b"", b"\r\n")
SLOW_BODY = (b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x" * 100)
SLOW_CHUNKS = (b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")
SLOW_REST = (b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x" * 100)
SLOW_CALLERS = [SLOW_HEAD, EMPTY_LINES, SLOW_BODY, SLOW_CHUNKS, SLOW_REST]
SLOW_NAMES = ["head", "empty-lines", "body", "chunks", "rest-after-the-answer"]


@pytest.mark.parametrize(("first", "drop"), SLOW_CALLERS, ids=SLOW_NAMES)
async def test_slow_callers_are_all_closed_while_others_are_served(
    port: int, first: bytes, drop: bytes
) -> None:
    assert await _held(port, first, drop, seconds=15) == 0


@pytest.mark.parametrize(("first", "drop"), SLOW_CALLERS, ids=SLOW_NAMES)
async def test_negative_control_the_stock_protocol_holds_them_all(first: bytes, drop: bytes) -> None:
    with serving(make_app(), "httptools") as stock_port:
        assert await _held(stock_port, first, drop, seconds=3) == CALLERS


def test_a_slow_head_is_told_408_in_the_words_of_its_api(port: int) -> None:
    with _counted("408"):
        answer = _talk(port, b"GET /openapi/x?token=1 HTTP/1.1\r\nHost: a\r\n")
    assert _status(answer) == 408
    assert _toy_error(answer)["path"] == "/openapi/x"


def test_a_slow_body_is_told_408_and_never_looks_whole(port: int) -> None:
    answer = _talk(port, SLOW_BODY[0], b"x" * 500)
    assert _status(answer) == 408
    assert _toy_error(answer)["path"] == "/body"


def test_a_silent_connection_is_closed_without_an_answer(port: int) -> None:
    with _counted("silent"):
        assert _talk(port) == b""


def test_an_idle_connection_is_closed_after_its_answer(port: int) -> None:
    assert _talk(port, b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").count(b"HTTP/1.1 200") == 1


async def test_a_slow_but_steady_upload_passes(port: int) -> None:
    """Four windows long, at twice the least pace."""
    size_bytes = 40 * 1024

    async def pieces() -> object:
        for _ in range(40):
            yield b"x" * 1024
            await asyncio.sleep(0.06)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        answer = await client.post("/body", content=pieces())  # type: ignore[arg-type]
    assert answer.json() == {"bytes": size_bytes}


async def test_a_whole_body_has_a_deadline_too() -> None:
    protocol = quick_protocol(body_seconds=0.5, body_window_seconds=30)
    with serving(make_app(), protocol) as port:
        assert await _held(port, *SLOW_BODY, seconds=15) == 0


def _read_slowly(port: int, size_bytes: int, seconds: float) -> bool:
    """Ask for much and take one byte now and then; True when the server ended it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", port))
        sock.settimeout(10)
        sock.sendall(b"GET /big?size_bytes=%d HTTP/1.1\r\nHost: a\r\n\r\n" % size_bytes)
        ended = select.poll()
        ended.register(sock, select.POLLHUP)  # also while bytes that arrived before are unread
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if ended.poll(0):
                return True
            sock.recv(1)
            time.sleep(0.1)
    return False


def test_a_slow_reader_is_closed(port: int) -> None:
    with _counted("slow-reader"):
        assert _read_slowly(port, 30_000_000, seconds=15)


def test_a_slow_reader_is_closed_where_the_kernel_does_not_count(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "TCP_INFO")
    assert _read_slowly(port, 30_000_000, seconds=15)


def test_negative_control_the_stock_protocol_keeps_a_slow_reader() -> None:
    with serving(make_app(), "httptools") as stock_port:
        assert not _read_slowly(stock_port, 30_000_000, seconds=3)


def test_a_steady_reader_gets_all_of_a_long_answer(port: int) -> None:
    size_bytes = 6_000_000
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.connect(("127.0.0.1", port))
        sock.sendall(b"GET /big?size_bytes=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % size_bytes)
        received_bytes = 0
        while data := sock.recv(32768):
            received_bytes += len(data)
            time.sleep(0.01)
    assert received_bytes > size_bytes


_POST = b"POST /body HTTP/1.1\r\nHost: a\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n"
_GET = b"GET /ping HTTP/1.1\r\n"
BAD_FRAMING = {
    "both-lengths": _CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "both-lengths-turned": _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "signed-length": _POST + b"Content-Length: +5\r\n\r\nhello",
    "other-coding": _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding-in-1.0": _CHUNKED.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n",
    "bad-chunk-size": _CHUNKED + b"\r\nzz\r\n",
    "chunk-without-end": _CHUNKED + b"\r\n2\r\nabc\r\n",
    "long-chunk-extension": _CHUNKED + b"\r\n1;" + b"e" * 60000,
    "space-before-colon": _POST + b"Content-Length : 5\r\n\r\nhello",
    "folded-header": _GET + b"Host: a\r\n more\r\n\r\n",
    "nul-in-header": _GET + b"Host: a\r\nX: a\0b\r\n\r\n",
    "no-host": _GET + b"\r\n",
    "two-hosts": _GET + b"Host: a\r\nHost: b\r\n\r\n",
    "not-http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "connect": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "path-not-ascii": "GET /naïve HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
}


@pytest.mark.parametrize("request_bytes", BAD_FRAMING.values(), ids=BAD_FRAMING)
def test_bad_framing_is_400_and_the_end_of_the_connection(port: int, request_bytes: bytes) -> None:
    answer = _talk(port, request_bytes, b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
    assert _status(answer) == 400
    assert answer.count(b"HTTP/1.1") == 1
    assert _toy_error(answer)["toy"] == 400


@pytest.mark.parametrize("name", ["other-coding", "coding-in-1.0", "no-host", "two-hosts"])
def test_negative_control_the_stock_protocol_takes_some_of_it(name: str) -> None:
    first_line, rest = BAD_FRAMING[name].split(b"\r\n", 1)
    with serving(make_app(), "httptools") as stock_port:
        assert _status(_talk(stock_port, first_line + b"\r\nConnection: close\r\n" + rest)) == 200


HEAD_OVER_LIMIT = {
    "one-header": b"X: " + b"a" * 20000 + b"\r\n\r\n",
    "many-headers": b"X: aaaaaaaa\r\n" * 2000 + b"\r\n",
    "unfinished": b"X: " + b"a" * 400000,
}


@pytest.mark.parametrize("rest", HEAD_OVER_LIMIT.values(), ids=HEAD_OVER_LIMIT)
def test_a_head_over_16_kb_is_431(port: int, rest: bytes) -> None:
    with _counted("431"):
        assert _status(_talk(port, b"GET /ping HTTP/1.1\r\nHost: a\r\n" + rest)) == 431


def test_a_head_in_small_pieces_just_under_the_limit_passes(port: int) -> None:
    head = b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + b"a" * 16000 + b"\r\n\r\n"
    with _connect(port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(head), 1000):
            sock.sendall(head[start : start + 1000])
            time.sleep(0.02)  # the server reads them one by one, or counts fewer pieces
        assert _status(_read_all(sock)) == 200


def test_a_declared_length_over_the_limit_is_refused_before_the_body(port: int) -> None:
    answer = _talk(port, b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
    assert _status(answer) == 413
    assert _toy_error(answer)["toy"] == 413


def test_a_trailer_does_not_become_a_header(port: int) -> None:
    chunked = b"POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = _talk(port, chunked, b"1\r\nx\r\n0\r\nX-Request-Id: from-a-trailer\r\n\r\n")
    assert _status(answer) == 200
    assert b"from-a-trailer" not in answer


def test_100_continue_comes_only_when_the_app_reads(port: int) -> None:
    head = b" HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    with _connect(port) as sock:
        sock.sendall(b"POST /body" + head)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert _status(sock.recv(65536)) == 200
    for path in (b"/unread", b"/nowhere"):
        answer = _talk(port, b"POST " + path + head)
        assert _status(answer) in (200, 404)
        assert b"100 Continue" not in answer


def test_a_connection_lives_on_after_an_early_answer_once_the_body_is_there(port: int) -> None:
    with _connect(port) as sock:
        sock.sendall(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + b"x" * 200000)
        assert _status(sock.recv(65536)) == 413
        sock.sendall(b"x" * 200000 + b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert _status(sock.recv(65536)) == 200


def test_a_bad_request_behind_a_good_one_does_not_spoil_the_good_answer(port: int) -> None:
    answer = _talk(port, b"GET /slow?seconds=0.3 HTTP/1.1\r\nHost: a\r\n\r\nGET /ping HTTP/9\r\n\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert _status(answer) == 200
    assert b'"pid"' in answer


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    one = b"GET /slow?seconds=0.1 HTTP/1.1\r\nHost: a\r\n\r\n"
    two = b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = _talk(port, one + two)
    assert answer.index(b'"pid"') < answer.index(b'"pong"')


def test_an_upgrade_is_passed_over(port: int) -> None:
    upgrade = b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    answer = _talk(port, upgrade, b"\x81\x05hello")
    assert _status(answer) == 200


def test_each_server_has_its_own_limits() -> None:
    first, second = quick_protocol(head_seconds=1), quick_protocol(head_seconds=2)
    assert issubclass(first, GuardedProtocol)
    assert (first.limits.head_seconds, second.limits.head_seconds) == (1, 2)
