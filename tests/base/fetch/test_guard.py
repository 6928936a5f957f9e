"""No hostile address and no hostile name leads to a connection."""

import asyncio
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from kasuwa.base import fetch
from kasuwa.base.fetch import (
    Fetcher,
    FetchFailed,
    FetchRefused,
    SystemResolver,
    is_public,
    read_address,
)
from tests.base.fetch.staging import (
    PNG,
    PRIVATE,
    PUBLIC,
    Server,
    Stage,
    Watch,
    redirect,
    reply,
)

HOSTILE_URLS = re.findall(
    r"\S+",
    r"""
http://127.0.0.1/  http://127.1/  http://127.0.1/  http://127.127.127.127/  http://0/  http://0.0.0.0/
http://2130706433/  http://0x7f000001/  http://0x7f.0x0.0x0.0x1/  http://017700000001/  http://0177.0.0.1/
http://127.0.0.1./  http://localhost/  http://LOCALHOST./  http://a.localhost/  http://[::1]/  http://[::]/
http://[::ffff:127.0.0.1]/  http://[::ffff:7f00:1]/  http://[0:0:0:0:0:ffff:127.0.0.1]/  http://[::127.0.0.1]/
http://[64:ff9b::7f00:1]/  http://[2002:7f00:1::]/  http://[fe80::1%25lo]/  http://[fc00::1]/
http://[fec0::1]/  http://10.0.0.1/  http://172.16.0.1/  http://192.168.0.1/  http://100.64.0.1/
http://169.254.169.254/latest/meta-data/  http://2852039166/  http://0xA9FEA9FE/  http://[fd00:ec2::254]/
http://[::ffff:169.254.169.254]/  http://192.0.0.192/  http://198.18.0.1/  http://224.0.0.1/
http://255.255.255.255/  http://metadata.google.internal/  http://user@127.0.0.1/
http://example.com@127.0.0.1/  http://127.0.0.1#@example.com/  http://127.0.0.1\@example.com/
http://①②⑦.0.0.1/  http://127。0。0。1/
""",
)

# What a name server or a hosts file says of the names above; the rest is left to the machine's own resolver.
HOSTILE_NAMES = {
    "a.localhost": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "example.com": ["127.0.0.1"],
}


class HostileNames(SystemResolver):
    async def resolve(self, host: str) -> Sequence[str]:
        return HOSTILE_NAMES.get(host) or await super().resolve(host)


# The 46 addresses.


def at_port(url: str, port: int) -> str:
    """The same trick against a port where somebody listens."""
    found = re.fullmatch(r"(http://(?:[a-z.]+@)?(?:\[[^]]*\]|[^/#\\]*))(.*)", url)
    assert found is not None
    return f"{found[1]}:{port}{found[2]}"


async def fetch_unguarded(url: str, names: HostileNames) -> None:
    """The control: reads an address as leniently as browsers and C libraries do, and connects."""
    parts = urlsplit(unicodedata.normalize("NFKC", url.replace("\\", "/")).replace("。", "."))
    host = unquote(parts.hostname or "").removesuffix(".")
    address = (await names.resolve(host))[0]
    with suppress(OSError):
        _, writer = await asyncio.open_connection(address, parts.port or 80)
        writer.close()


@pytest.mark.parametrize("url", HOSTILE_URLS)
async def test_a_hostile_address_is_refused_without_a_connection(
    url: str, watch: Watch, everywhere: tuple[Server, int]
) -> None:
    server, port = everywhere
    fetcher = Fetcher(resolver=HostileNames(), ports={80, 443, port})
    for spelling in (url, at_port(url, port)):
        with pytest.raises(FetchRefused) as raised:
            await fetcher.fetch(spelling)
        assert str(raised.value) == FetchFailed.details["unreachable"]
    await fetcher.close()
    assert watch.attempts == []
    assert server.connections == 0


@pytest.mark.parametrize("url", HOSTILE_URLS)
async def test_control_without_the_guard_the_same_address_is_connected_to(
    url: str, watch: Watch, everywhere: tuple[Server, int]
) -> None:
    _, port = everywhere
    names = HostileNames()
    await fetch_unguarded(at_port(url, port), names)
    await names.close()
    assert [attempt[1] for attempt in watch.attempts] == [port]
    address = read_address(watch.attempts[0][0].partition("%")[0])
    assert address is not None
    assert not is_public(address)


def test_the_list_is_whole() -> None:
    assert len(set(HOSTILE_URLS)) == 46


async def test_control_the_listeners_do_count(everywhere: tuple[Server, int]) -> None:
    server, port = everywhere
    names = HostileNames()
    for host in ("127.0.0.1", "localhost", "2130706433", "a.localhost"):
        await fetch_unguarded(f"http://{host}:{port}/", names)
    await names.close()
    await asyncio.sleep(0.05)  # the accepting side runs after the connecting one
    assert server.connections == 4


@pytest.mark.parametrize(
    "text",
    re.findall(
        r"\S+",
        """0.1.2.3 10.255.255.255 100.127.255.255 127.8.9.1 168.63.129.16 169.254.0.1 172.31.255.255 192.0.0.8
    192.0.2.1 192.88.99.1 192.168.255.255 198.19.255.255 198.51.100.1 203.0.113.1 239.1.2.3 240.0.0.1
    255.255.255.255 :: ::1 ::8.8.8.8 ::ffff:8.8.8.8 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:1::1
    2001:10::1 2001:20::1 2001:db8::1 2002:808:808:: 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1
    fe80::1%lo fec0::1 ff02::1""",
    ),
)
def test_an_address_of_a_special_range_is_not_public(text: str) -> None:
    address = read_address(text)
    assert address is not None
    assert not is_public(address)


@pytest.mark.parametrize(
    "text",
    re.findall(
        r"\S+",
        """1.1.1.1 8.8.8.8 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 223.255.255.254
        2606:4700:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 2003::1""",
    ),
)
def test_an_address_beside_them_is_public(text: str) -> None:
    address = read_address(text)
    assert address is not None
    assert is_public(address)


# Names.


@pytest.mark.parametrize(
    "answer",
    [
        [PRIVATE],
        [PUBLIC, PRIVATE],
        [PRIVATE, PUBLIC],
        [PUBLIC, "::1"],
        [PUBLIC, "fd00::1"],
        [PUBLIC, "fe80::1%lo"],
        ["::ffff:127.0.0.1"],
        ["0.0.0.0"],
        ["169.254.169.254"],
    ],
    ids=str,
)
async def test_a_name_with_any_private_address_is_refused(
    stage: Stage, watch: Watch, answer: list[str]
) -> None:
    stage.names.answers["public.test.example"] = [answer]
    assert isinstance(await stage.fails(), FetchRefused)
    assert watch.attempts == []


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "db",
        "x.localhost",
        "printer.local",
        "db.internal",
        "nas.home.arpa",
        "LocalHost.",
        "a.lan",
    ],
)
async def test_a_local_name_is_refused_before_it_is_looked_up(stage: Stage, name: str) -> None:
    stage.names.answers[name] = [[PUBLIC]]
    stage.url = f"http://{name}:{stage.port}"
    assert isinstance(await stage.fails(), FetchRefused)
    assert stage.names.asked == []


async def fetch_checking_first(stage: Stage) -> None:
    """The control: looks the name up, checks it, and lets the client look it up again."""
    for text in await stage.names.resolve("public.test.example"):
        address = read_address(text)
        assert address is not None
        assert fetch.is_public(address)
    again = await stage.names.resolve("public.test.example")
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"http://{again[0]}:{stage.port}/")


async def test_a_name_that_changes_between_check_and_use_does_not_lead_us_astray(stage: Stage) -> None:
    stage.names.answers["public.test.example"] = [[PUBLIC], [PRIVATE]]
    stage.public.answer = reply(head="Connection: close")
    assert (await stage.fetcher.fetch(f"{stage.url}/")).content == PNG
    assert (stage.public.connections, stage.private.connections) == (1, 0)
    assert stage.names.asked == ["public.test.example"]
    stage.outcomes.clear()
    assert isinstance(await stage.fails(), FetchRefused)  # by now the name is private


async def test_control_checking_first_is_led_astray(stage: Stage) -> None:
    stage.names.answers["public.test.example"] = [[PUBLIC], [PRIVATE]]
    await fetch_checking_first(stage)
    assert (stage.public.connections, stage.private.connections) == (0, 1)


async def test_the_last_barrier_opens_no_socket_to_an_unchecked_address(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, watch: Watch
) -> None:
    monkeypatch.setattr(fetch.Guard, "check", lambda _guard, _url: None)  # a hole further up
    stage.url = f"http://{PRIVATE}:{stage.port}"
    assert isinstance(await stage.fails(), FetchRefused)
    assert watch.attempts == []


# Redirects.

PRIVATE_LOCATIONS = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://[::1]:{port}/",
    "http://private.test.example:{port}/",
    "//private.test.example:{port}/x.png",
    "//127.0.0.1:{port}",
    "http:\\\\127.0.0.1:{port}\\",
    "http://public.test.example:{port}@127.0.0.1:{port}/",
    "http://user@public.test.example:{port}/",
    "http://public.test.example:22/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_x",
    "data:image/png;base64,AAAA",
]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", PRIVATE_LOCATIONS)
async def test_a_redirect_to_where_we_do_not_go_is_refused(stage: Stage, location: str, status: int) -> None:
    stage.public.answer = redirect(location.format(port=stage.port), status)
    assert isinstance(await stage.fails(), FetchRefused)
    assert len(stage.public.requests) == 1


async def test_control_a_plain_client_follows_such_a_redirect(stage: Stage) -> None:
    stage.public.answer = redirect(f"http://{PRIVATE}:{stage.port}/")
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:
        await client.get(f"http://{PUBLIC}:{stage.port}/")
    assert stage.private.connections == 1


async def test_a_private_end_of_a_public_chain_is_refused(stage: Stage) -> None:
    stage.public.paths = {"/1": redirect("/2"), "/2": redirect(f"http://private.test.example:{stage.port}/3")}
    assert isinstance(await stage.fails("/1"), FetchRefused)
    assert len(stage.public.requests) == 2


async def test_three_redirects_are_followed_and_a_fourth_is_not(stage: Stage) -> None:
    stage.public.paths = {
        "/0": redirect("1"),
        "/1": redirect("/2?a=b c", 301),
        "/2?a=b%20c": redirect(f"//public.test.example:{stage.port}/3", 307),
        "/3": redirect(f"{stage.url}/4", 308),
    }
    fetched = await stage.fetcher.fetch(f"{stage.url}/1")
    assert (fetched.url, fetched.content) == (f"{stage.url}/4", PNG)
    stage.outcomes.clear()
    assert (await stage.fails("/0")).reason == "redirects"


async def test_a_redirect_loop_ends(stage: Stage) -> None:
    stage.public.answer = redirect("/")
    assert (await stage.fails()).reason == "redirects"
    assert len(stage.public.requests) == 4
