"""Which schemes, ports, hosts and certificates are taken, and what is told to whom."""

import ssl
from contextlib import suppress

import aiohttp
import pytest
import trustme
import uvloop

from kasuwa.base import fetch
from kasuwa.base.fetch import (
    Fetcher,
    FetchFailed,
    FetchRefused,
    SystemResolver,
    UrlUnreadable,
)
from tests.base.fetch.staging import (
    PNG,
    PRIVATE,
    PUBLIC,
    Names,
    Server,
    Stage,
    Watch,
    bind,
    bind_pair,
    count_as_public,
    redirect,
    reply,
)

# Schemes, ports, proxies, and what is told of us.


@pytest.mark.parametrize("scheme", ["file", "gopher", "ftp", "data", "dict", "jar", "ws", "javascript", ""])
async def test_another_scheme_is_refused(stage: Stage, watch: Watch, scheme: str) -> None:
    stage.url = f"{scheme}://public.test.example:{stage.port}"
    assert isinstance(await stage.fails(), FetchRefused)
    assert watch.attempts == []


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 5432, 8080])
async def test_another_port_of_a_public_host_is_refused(stage: Stage, watch: Watch, port: int) -> None:
    stage.url = f"http://public.test.example:{port}"
    assert isinstance(await stage.fails(), FetchRefused)
    assert watch.attempts == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_usual_ports_are_the_default(watch: Watch, scheme: str) -> None:
    fetcher = Fetcher(resolver=Names({"shop.example": [["1.1.1.1"]]}))
    with pytest.raises(FetchFailed) as raised:
        await fetcher.fetch(f"{scheme}://shop.example/a.png")
    await fetcher.close()
    assert raised.value.reason == "unreachable"  # the watch lets nothing out
    assert watch.attempts == [("1.1.1.1", 443 if scheme == "https" else 80)]


PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


async def test_a_proxy_of_the_environment_is_ignored(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, f"http://{PRIVATE}:{stage.port}")
    assert (await stage.fetcher.fetch(f"{stage.url}/")).content == PNG
    assert stage.private.connections == 0
    async with aiohttp.ClientSession(trust_env=True) as plain:  # the control does use it
        await plain.get(f"http://{PUBLIC}:{stage.port}/")
    assert stage.private.connections == 1


async def test_the_request_is_a_browsers_and_tells_nothing_of_us(stage: Stage) -> None:
    stage.public.answer = reply(head="Content-Type: Image/PNG; x=y\r\nSet-Cookie: id=1; Path=/")
    first = await stage.fetcher.fetch(f"{stage.url}/a b/ä.png?x=1&y=%2F#part")
    assert (first.status, first.content_type, first.content) == (200, "image/png", PNG)
    assert first.url == f"{stage.url}/a%20b/%C3%A4.png?x=1&y=%2F"
    await stage.fetcher.fetch(f"{stage.url}/")
    request, second = stage.public.requests
    assert request.startswith("GET /a%20b/%C3%A4.png?x=1&y=%2F HTTP/1.1\r\n")
    headers = dict(line.split(": ", 1) for line in request.strip().split("\r\n")[1:])
    assert headers.pop("Host") == f"public.test.example:{stage.port}"
    assert headers == {
        "User-Agent": fetch.USER_AGENT,
        "Accept": fetch.ACCEPT,
        "Accept-Encoding": "identity",
    }
    assert "Cookie" not in second
    assert stage.outcomes == ["ok", "ok"]


async def test_the_user_agent_is_a_setting(stage: Stage) -> None:
    fetcher = Fetcher(resolver=stage.names, ports={stage.port}, user_agent="Mallam/1")
    await fetcher.fetch(f"{stage.url}/")
    await fetcher.close()
    assert "User-Agent: Mallam/1\r\n" in stage.public.requests[0]


# Refused and unreachable look the same from outside.


async def test_refused_and_unreachable_are_told_in_the_same_words(stage: Stage) -> None:
    free = bind(PUBLIC)
    closed_port = free.getsockname()[1]
    free.close()
    fetcher = Fetcher(resolver=stage.names, ports={stage.port, closed_port})
    told: dict[str, set[tuple[object, ...]]] = {}
    for url in (
        f"http://public.test.example:{closed_port}/",
        f"http://nobody.test.example:{stage.port}/",
        f"http://private.test.example:{stage.port}/",
        f"http://{PRIVATE}:{stage.port}/",
        f"http://{PRIVATE}:{closed_port}/",
        "http://public.test.example:22/",
        f"http://localhost:{stage.port}/",
        "ftp://public.test.example/",
        "no url",
    ):
        with pytest.raises(FetchFailed) as raised:
            await fetcher.fetch(url)
        problem = raised.value
        outside = (str(problem), problem.detail, problem.title, problem.code, problem.status, problem.headers)
        told.setdefault(problem.reason, set()).add((*outside[:-1], *problem.headers))
    await fetcher.close()
    assert set(told) == {"refused", "unreachable"}
    assert len(told["refused"] | told["unreachable"]) == 1


# What the owner allows.


async def test_an_allowed_host_and_port_may_be_private_and_nothing_beside_it(stage: Stage) -> None:
    port = stage.port
    fetcher = Fetcher(resolver=stage.names, allow=[f"127.0.0.1:{port}", f"Private.test.example:{port}"])
    for host in ("127.0.0.1", "private.test.example"):
        assert (await fetcher.fetch(f"http://{host}:{port}/")).content == PNG
    stage.private.answer = redirect(f"http://127.0.0.1:{port + 1 if port < 65535 else 1}/")
    for url in (
        f"http://127.0.0.1:{port}/",
        f"http://127.0.0.2:{port}/",
        f"http://localhost:{port}/",
        "http://127.0.0.1/",
        f"http://127.1:{port}/",
        f"http://user@127.0.0.1:{port}/",
    ):
        with pytest.raises(FetchRefused):
            await fetcher.fetch(url)
    await fetcher.close()


@pytest.mark.parametrize(
    "entry", ["", "127.0.0.1", "host", "host:", "host:x", "http://h:1", "h:1/x", "u@h:1", "*:80"]
)
def test_an_entry_that_is_no_host_and_port_is_refused(entry: str) -> None:
    with pytest.raises((ValueError, UrlUnreadable)):
        Fetcher(allow=[entry], resolver=Names())


# TLS is checked against the name that was asked for.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(
    ("name", "reason"), [("public.test.example", None), ("other.example", "unreachable")]
)
async def test_the_certificate_must_be_for_the_name(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, name: str, reason: str | None
) -> None:
    count_as_public(monkeypatch)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(serving)
    asked_for: list[str | None] = []
    serving.sni_callback = lambda _socket, server_name, _context: asked_for.append(server_name)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    listener = bind(PUBLIC)
    port = listener.getsockname()[1]
    server = Server()
    async with server.listen(listener, serving):
        names = Names({"public.test.example": [[PUBLIC]]})
        fetcher = Fetcher(resolver=names, ports={port}, ssl_context=trusting)
        url = f"https://public.test.example:{port}/"
        if reason is None:
            assert (await fetcher.fetch(url)).content == PNG
        else:
            with pytest.raises(FetchFailed) as raised:
                await fetcher.fetch(url)
            assert raised.value.reason == reason
        await fetcher.close()
    assert asked_for == ["public.test.example"]
    assert len(server.requests) == (1 if reason is None else 0)


async def test_an_unknown_authority_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    count_as_public(monkeypatch)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("public.test.example").configure_cert(serving)
    listener = bind(PUBLIC)
    port = listener.getsockname()[1]
    server = Server()
    async with server.listen(listener, serving):
        fetcher = Fetcher(resolver=Names({"public.test.example": [[PUBLIC]]}), ports={port})
        with pytest.raises(FetchFailed):
            await fetcher.fetch(f"https://public.test.example:{port}/")
        await fetcher.close()
    assert server.requests == []


def test_the_same_holds_on_the_loop_that_serves(stage: Stage) -> None:
    """uvloop connects in its own way: the guard must stand there too."""

    async def run() -> tuple[bytes, list[str]]:
        public, private = Server(), Server()
        at_public, at_private = bind_pair()
        port = at_public.getsockname()[1]
        names = Names({"public.test.example": [[PUBLIC]], "private.test.example": [[PRIVATE]]})
        refused: list[str] = []
        fetcher = Fetcher(resolver=names, ports={port}, count=refused.append)
        async with public.listen(at_public), private.listen(at_private):
            content = (await fetcher.fetch(f"http://public.test.example:{port}/")).content
            for host in (PRIVATE, "private.test.example", "127.1", "localhost"):
                with suppress(FetchRefused):
                    await fetcher.fetch(f"http://{host}:{port}/")
            await fetcher.close()
        assert private.connections == 0
        return content, refused

    assert uvloop.run(run()) == (PNG, ["ok", *["refused"] * 4])


async def test_the_machines_resolver_answers_and_says_no() -> None:
    resolver = SystemResolver()
    assert "127.0.0.1" in await resolver.resolve("127.0.0.1")
    with pytest.raises(OSError, match=r".+"):
        await resolver.resolve("nobody.invalid")
    await resolver.close()
