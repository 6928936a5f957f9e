"""What comes back is bounded in size and time, whatever the other side does."""

import asyncio
import gzip
import os
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx
import pytest

from kasuwa.base.fetch import (
    Fetcher,
    FetchFailed,
)
from tests.base.fetch.staging import (
    PNG,
    PUBLIC,
    Answer,
    Stage,
    bind,
    redirect,
    reply,
)

# What comes back.


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "500 Oh", "304 Same", "302 Nowhere"])
async def test_an_error_of_the_other_side_tells_its_status(stage: Stage, status: str) -> None:
    stage.public.answer = reply(b"", status=status)
    failure = await stage.fails()
    assert (failure.reason, failure.upstream_status) == ("status", int(status[:3]))
    assert status[:3] in str(failure)


async def test_html_claimed_as_a_picture_is_handed_on_to_who_judges_pictures(stage: Stage) -> None:
    stage.public.answer = reply(b"<svg onload=x>")
    fetched = await stage.fetcher.fetch(f"{stage.url}/")
    assert (fetched.content_type, fetched.content) == ("image/png", b"<svg onload=x>")


@pytest.mark.parametrize(("size_bytes", "fits"), [(999, True), (1000, True), (1001, False)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_size_limit_is_exact(stage: Stage, size_bytes: int, fits: bool, chunked: bool) -> None:
    content = os.urandom(size_bytes)

    async def in_chunks(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, size_bytes, 100):
            piece = content[start : start + 100]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        writer.write(b"0\r\n\r\n")

    stage.public.answer = in_chunks if chunked else reply(content)
    if fits:
        assert (await stage.fetcher.fetch(f"{stage.url}/", max_bytes=1000)).content == content
    else:
        assert (await stage.fails(max_bytes=1000)).reason == "too_large"


def endless(head: str, piece: bytes, sent: list[int]) -> Answer:
    async def answer(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{head}".encode())
        while True:
            writer.write(piece)
            sent.append(len(piece))
            await writer.drain()

    return answer


async def test_an_endless_body_is_cut_at_the_limit(stage: Stage) -> None:
    sent: list[int] = []
    stage.public.answer = endless("Connection: close\r\n\r\n", b"x" * 65536, sent)
    assert (await stage.fails(max_bytes=1_000_000)).reason == "too_large"
    assert sum(sent) < 30_000_000  # what fits into the sockets' buffers beside the limit


async def test_a_length_over_the_limit_is_refused_before_the_body(stage: Stage) -> None:
    async def answer(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        await asyncio.Event().wait()

    stage.public.answer = answer
    assert (await stage.fails()).reason == "too_large"


async def test_a_body_longer_than_its_length_brings_no_more_than_that(stage: Stage) -> None:
    stage.public.answer = endless("Content-Length: 10\r\n\r\n", b"x" * 65536, [])
    with suppress(FetchFailed):  # when the surplus came with the head
        assert (await stage.fetcher.fetch(f"{stage.url}/")).content == b"x" * 10
    assert stage.outcomes in (["ok"], ["unreachable"])


async def test_a_body_shorter_than_its_length_is_no_file(stage: Stage) -> None:
    async def answer(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        raise ConnectionError

    stage.public.answer = answer
    assert (await stage.fails()).reason == "unreachable"


@pytest.mark.parametrize(
    "bad", [b"220 mail ESMTP\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000]
)
async def test_an_answer_that_is_no_http_is_unreachable(stage: Stage, bad: bytes) -> None:
    async def answer(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(bad)
        raise ConnectionError

    stage.public.answer = answer
    assert (await stage.fails()).reason == "unreachable"


async def test_endless_headers_end(stage: Stage) -> None:
    stage.public.answer = endless("", b"X-Header: " + b"x" * 1000 + b"\r\n", [])
    assert (await stage.fails()).reason == "unreachable"


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_packed_body_is_unpacked(stage: Stage, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    stage.public.answer = reply(pack(PNG * 5000), head=f"Content-Encoding: {encoding}")
    assert (await stage.fetcher.fetch(f"{stage.url}/")).content == PNG * 5000


@pytest.mark.parametrize("body", [gzip.compress(PNG * 500)[:-20], b"no gzip at all", b""])
async def test_a_broken_packed_body_is_no_file(stage: Stage, body: bytes) -> None:
    stage.public.answer = reply(body, head="Content-Encoding: gzip")
    assert (await stage.fails()).reason == "unreachable"


async def test_a_packed_bomb_is_cut_at_the_limit_and_never_unpacked_whole(stage: Stage) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 65_536  # one read brings all of it
    stage.public.answer = reply(bomb, head="Content-Encoding: gzip")
    tracemalloc.start()
    assert (await stage.fails(max_bytes=1_000_000)).reason == "too_large"
    guarded = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    async with httpx.AsyncClient(trust_env=False) as plain:  # the control takes it all
        await plain.get(f"http://{PUBLIC}:{stage.port}/")
    unguarded = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert guarded < 10_000_000
    assert unguarded > 50_000_000


# Time: everything below would last for ever.


async def wait_for_ever(_request: str, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(request: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_headers(_request: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.05)


async def continue_for_ever(_request: str, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("answer", [wait_for_ever, drip, drip_headers, continue_for_ever])
async def test_a_slow_answer_is_cut_at_the_deadline(stage: Stage, answer: Answer) -> None:
    stage.public.answer = answer
    assert (await stage.fails(seconds=0.5)).reason == "timeout"


async def test_the_deadline_covers_all_redirects_together(stage: Stage) -> None:
    async def slow(request: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        await redirect("/")(request, writer)

    stage.public.answer = slow
    assert (await stage.fails(seconds=0.6)).reason == "timeout"


async def test_the_deadline_covers_the_name(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(stage.names, "resolve", never)
    assert (await stage.fails(seconds=0.2)).reason == "timeout"


async def test_the_deadline_covers_the_connection(stage: Stage) -> None:
    # A queue of one that is full: further connections are neither taken nor refused.
    with bind("127.77.0.2", stage.port) as full, bind("127.77.0.3") as first, bind("127.77.0.3") as second:
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(("127.77.0.2", stage.port))
        fetcher = Fetcher(resolver=stage.names, allow=[f"127.77.0.2:{stage.port}"])
        with pytest.raises(FetchFailed) as raised:
            await fetcher.fetch(f"http://127.77.0.2:{stage.port}/", seconds=0.5)
        await fetcher.close()
        assert raised.value.reason == "timeout"


async def test_the_deadline_covers_the_handshake(stage: Stage) -> None:
    stage.url = stage.url.replace("http:", "https:")  # the server waits for a request in plain text
    assert (await stage.fails(seconds=0.5)).reason == "timeout"
