"""What the edge gives to every request and answer, over real HTTP."""

import asyncio
import gzip
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from litestar import Request

from kasuwa.base.http import caching
from kasuwa.base.http.compression import accepts_gzip
from kasuwa.base.http.middleware import Edge, EdgeOptions, Message
from kasuwa.base.http.origin import TrustedProxies, base_url
from kasuwa.base.http.protocol import guarded_protocol
from tests.base.http_serving import serving
from tests.base.http_toy import PAGE, make_app, render_error

SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(make_app(max_in_flight=4), guarded_protocol(render_error)) as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client


# Request ids


def test_each_answer_has_an_id_of_its_own(client: httpx.Client) -> None:
    ids = {client.get(path).headers["x-request-id"] for path in ("/ping", "/ping", "/nowhere", "/readyz")}
    assert len(ids) == 4
    assert all(re.fullmatch(r"[0-9a-f]{24}", request_id) for request_id in ids)


def test_shoplazzas_paths_say_request_id(client: httpx.Client) -> None:
    for path in ("/openapi/2022-01/products", "/openapi/2026-01/x"):
        answer = client.get(path, headers={"Request-Id": "caller-0001", "X-Request-Id": "other-0001"})
        assert answer.headers["request-id"] == "caller-0001"
        assert "x-request-id" not in answer.headers
    assert "x-request-id" in client.get("/openapi/storeharmony.json").headers


@pytest.mark.parametrize(
    "sent", ["short", "a" * 65, "has space 123", "tab\tin-the-id", "<script>alert", "näme-123456"]
)
def test_an_id_that_is_not_harmless_is_replaced(client: httpx.Client, sent: str) -> None:
    answer = client.get("/ping", headers={b"X-Request-Id": sent.encode()})
    assert re.fullmatch(r"[0-9a-f]{24}", answer.headers["x-request-id"])
    assert (
        client.get("/ping", headers={"X-Request-Id": "safe.Id_1-x"}).headers["x-request-id"] == "safe.Id_1-x"
    )


# Security headers


@pytest.mark.parametrize("path", ["/ping", "/nowhere", "/picture", "/slow?seconds=x"])
def test_every_answer_is_locked_down(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "strict-transport-security" not in headers


def test_hsts_comes_with_https_that_a_trusted_proxy_vouches_for(client: httpx.Client) -> None:
    headers = client.get("/ping", headers={"X-Forwarded-Proto": "https"}).headers
    assert headers["strict-transport-security"] == "max-age=31536000"


async def test_the_apps_own_policy_and_html_are_left_alone() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        own = [(b"Content-Security-Policy", b"own")] if scope["path"] == "/own" else []
        headers = [(b"Content-Type", b"text/html"), *own]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<p>"})

    policies = {}
    for path in ("/own", "/page"):
        start = (await _exchange(Edge(app, EdgeOptions(render_error=render_error)), path))[0]
        policies[path] = [v for n, v in start["headers"] if n.lower() == b"content-security-policy"]
    assert policies == {"/own": [b"own"], "/page": [b"frame-ancestors 'none'"]}


async def _exchange(
    app: Any, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> list[Message]:
    sent: list[Message] = []
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "path": path, "method": method, "scheme": "http", "headers": raw, "client": None}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    return sent


# CORS


def test_a_listed_origin_may_call_and_read(client: httpx.Client) -> None:
    answer = client.get("/ping", headers={"Origin": SHOP})
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "X-Rate-Limit-Requests-Left" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_allows_the_headers_of_all_apis(client: httpx.Client) -> None:
    ask = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "sessiontoken",
    }
    answer = client.options("/body", headers=ask)
    assert answer.status_code == 204
    allowed = answer.headers["access-control-allow-headers"].lower()
    for header in (
        "sessiontoken",
        "customertoken",
        "x-auth-token",
        "access-token",
        "authorization",
        "idempotency-key",
    ):
        assert header in allowed
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-origin"] == SHOP


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{SHOP}.evil.example", "http://shop.example", "null"]
)
def test_other_origins_get_nothing(client: httpx.Client, origin: str) -> None:
    ask = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (client.get("/ping", headers=ask), client.options("/ping", headers=ask)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


# gzip, ETag, HEAD


def _raw(client: httpx.Client, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    with client.stream("GET", path, headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


def test_texts_are_compressed_when_asked(client: httpx.Client) -> None:
    answer, raw = _raw(client, "/page", **{"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-length"] == str(len(raw))
    assert gzip.decompress(raw) == PAGE
    assert len(raw) < len(PAGE) / 3
    assert answer.headers["etag"].startswith('W/"')
    plain, raw = _raw(client, "/page", **{"Accept-Encoding": "identity"})
    assert raw == PAGE
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] == answer.headers["etag"].removeprefix("W/")
    assert "Accept-Encoding" in plain.headers["vary"]
    assert "Accept-Encoding" in answer.headers["vary"]


@pytest.mark.parametrize("path", ["/ping", "/picture", "/big?size_bytes=5000"])
def test_short_answers_and_pictures_are_not_compressed(client: httpx.Client, path: str) -> None:
    answer, _ = _raw(client, path, **{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("header", [b"gzip", b"br, GZIP;q=0.5", b"*", b"gzip;q=1.0, identity"])
def test_gzip_is_accepted(header: bytes) -> None:
    assert accepts_gzip(header)


@pytest.mark.parametrize("header", [None, b"", b"gzip;q=0", b"gzip;q=0.000", b"*;q=0", b"gzip;q=0, *", b"br"])
def test_gzip_is_not_accepted(header: bytes | None) -> None:
    assert not accepts_gzip(header)


@pytest.mark.parametrize("chunk_bytes", [10, 5000, 300_000])
async def test_streamed_texts_are_compressed_piece_by_piece(chunk_bytes: int) -> None:
    chunks = [bytes([65 + number]) * chunk_bytes for number in range(5)]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]}
        )
        for number, chunk in enumerate(chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": number < 4})

    edge = Edge(app, EdgeOptions(render_error=render_error))
    sent = await _exchange(edge, "/x", {"Accept-Encoding": "gzip"})
    assert gzip.decompress(b"".join(message["body"] for message in sent[1:])) == b"".join(chunks)
    assert len(sent) == 6


def test_what_the_caller_has_is_not_sent_again(client: httpx.Client) -> None:
    for encoding in ("gzip", "identity"):
        tag = client.get("/page", headers={"Accept-Encoding": encoding}).headers["etag"]
        for sent in (tag, f'"other", {tag}', "*", tag.removeprefix("W/"), f"W/{tag.removeprefix('W/')}"):
            answer = client.get("/page", headers={"If-None-Match": sent})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"]
        assert client.get("/page", headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_change_of_another_version_is_412(client: httpx.Client) -> None:
    tag = client.get("/page").headers["etag"]
    assert client.post("/change", headers={"If-Match": tag}).status_code == 200
    assert client.post("/change", headers={"If-Match": '"other"'}).status_code == 412
    assert client.post("/change").status_code == 200


def test_the_tag_follows_the_content() -> None:
    assert caching.etag(b"a") == caching.etag(b"a") != caching.etag(b"b")


@pytest.mark.parametrize("path", ["/ping", "/page", "/picture", "/nowhere"])
def test_head_answers_as_get_without_a_body(client: httpx.Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    for name in ("content-type", "etag", "content-length"):
        assert head.headers.get(name) == got.headers.get(name)
    assert client.get("/ping").status_code == 200  # the connection is still in step


def test_head_of_an_operation_that_does_something_is_405(client: httpx.Client) -> None:
    answer = client.head("/unsafe")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert client.get("/unsafe").status_code == 200


# Capacity and faults


async def test_over_capacity_is_a_fast_503_but_probes_pass(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        busy = [asyncio.create_task(client.get("/slow", params={"seconds": 1.5})) for _ in range(4)]
        await asyncio.sleep(0.5)
        refused = await client.get("/openapi/2022-01/x")
        probe = await client.get("/readyz")
        assert [answer.status_code for answer in await asyncio.gather(*busy)] == [200] * 4
        after = await client.get("/ping")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json() == {
        "toy": 503,
        "path": "/openapi/2022-01/x",
        "request_id": refused.headers["request-id"],
    }
    assert (probe.status_code, after.status_code) == (200, 200)


def test_uploads_that_wait_for_their_callers_take_no_place(client: httpx.Client, port: int) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for sock in waiting:
        sock.sendall(head)
    assert client.get("/ping").status_code == 200
    for sock in waiting:
        sock.sendall(b"defghij")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        sock.close()


def test_a_crash_is_a_500_in_the_apis_words_without_its_reason(client: httpx.Client) -> None:
    sent = {"password": "p", "token": "t", "pin": "1", "account": "a", "then": "crash"}
    answer = client.post("/tell/word", json=sent)
    assert answer.status_code == 500
    assert answer.json() == {"toy": 500, "path": "/tell/word", "request_id": answer.headers["x-request-id"]}


async def test_a_crash_in_the_middle_of_an_answer_is_not_a_whole_answer() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await _exchange(Edge(app, EdgeOptions(render_error=render_error)), "/x")


# Who asks


def _scope(client: str, *headers: tuple[str, str]) -> dict[str, Any]:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "client": (client, 1), "scheme": "http", "headers": raw, "path": "/"}


@pytest.mark.parametrize(
    ("peer", "chain", "seen"),
    [
        ("9.9.9.9", "1.2.3.4", "9.9.9.9"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_forwarded_for_is_believed_from_trusted_proxies_only(peer: str, chain: str, seen: str) -> None:
    scope = _scope(peer, ("x-forwarded-for", chain), ("x-forwarded-proto", "https"))
    TrustedProxies(["10.0.0.0/8"]).apply(scope)
    assert scope["client"][0] == seen
    assert scope["scheme"] == ("http" if peer == "9.9.9.9" else "https")


def test_no_proxy_is_trusted_unless_named() -> None:
    scope = _scope("127.0.0.1", ("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"))
    TrustedProxies([]).apply(scope)
    assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("Shop.Example", "http://shop.example"),
        ("shop.example:8443", "http://shop.example:8443"),
        ("till.example:9", "http://till.example:9"),
        ("till.example", ""),
        ("evil.example", ""),
        ("shop.example@evil.example", ""),
        ("evil.example/shop.example", ""),
        ("shop.example:port", ""),
        ("localhost.evil.example", ""),
        ("", ""),
    ],
)
def test_links_use_a_host_only_when_it_is_ours(host: str, base: str) -> None:
    scope = _scope("127.0.0.1", ("host", host))
    request: Request[Any, Any, Any] = Request(scope)  # type: ignore[arg-type]
    assert base_url(request, None, {"shop.example", "till.example:9"}) == base
    assert base_url(request, "https://public.example/", set()) == "https://public.example"


async def test_lifespan_messages_pass_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    edge = Edge(app, EdgeOptions(render_error=render_error))
    messages: AsyncIterator[Any] | None = None
    await edge({"type": "lifespan"}, messages, messages)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
