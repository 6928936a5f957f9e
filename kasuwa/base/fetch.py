"""Fetch a file from an address that a caller wrote, without becoming their way into our network.

The guard: an address is read strictly, its name is resolved once, every answer is checked, and the connection
goes to a checked answer or nowhere; again for each redirect. The HTTP itself is in `fetch_http`, which the
first fetch loads: it would take a worker a fifth of its start.
"""

import asyncio
import importlib
import ipaddress
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol
from urllib.parse import quote, urljoin, urlsplit

import idna
from msgspec import Struct

from kasuwa.base.problems import Problem

if TYPE_CHECKING:
    from kasuwa.base.fetch_http import HttpClient

FETCH_SECONDS = 4.0
FETCH_BYTES = 8 * 1024 * 1024
REDIRECTS_MAX = 3
PORTS = frozenset({80, 443})
USER_AGENT = "Mozilla/5.0 (compatible; Kasuwa)"
# Some shops' hosts answer 403 or HTML to a caller that does not ask as a browser's <img> does.
ACCEPT = "image/avif,image/webp,image/apng,image/*,*/*;q=0.8"

Reason = Literal["refused", "unreachable", "timeout", "status", "too_large", "redirects"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# With such a last label some resolvers read the whole name as an IPv4 address: 127.1, 0x7f000001, 017.0.0.1
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
_LOCAL_NAMES = (
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "localdomain",
    "lan",
    "intranet",
    "corp",
    "home",
)

# By name, because `is_global` differs between versions of Python and calls some of these global.
_FORBIDDEN_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' shared space; also one cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's platform service, in public space
        "169.254.0.0/16",  # link-local, most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; one cloud's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only this part of IPv6 is given out as global; mapped, NAT64, unique, site- and link-local lie outside.
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_FORBIDDEN_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")  # Teredo, documentation, 6to4
)


class Fetched(Struct, frozen=True):
    """What an address gave: `url` after redirects, `content_type` in lower case without parameters.

    `retry_after_seconds` is how long it asked to wait, 0 where it did not.
    """

    url: str
    status: int
    content_type: str
    content: bytes
    retry_after_seconds: float = 0.0


class Question(Struct, frozen=True):
    """One request as it is to be sent; `headers` win over the fetcher's own."""

    method: Literal["GET", "POST"]
    url: str
    headers: Mapping[str, str]
    content: bytes


class UrlUnreadable(Problem):
    """The text is no absolute http or https URL."""

    status = 422
    code = "url-unreadable"
    title = "The URL must be absolute and begin with http:// or https://"


class FetchFailed(Problem):
    """Nothing came. `reason` is for our logs and figures; `upstream_status` is set where it is "status"."""

    status = 400
    code = "fetch-failed"
    title = "The file could not be downloaded"
    details: ClassVar[dict[Reason, str]] = {
        # One text for both: who may tell them apart can scan our network from outside.
        "refused": "The address does not answer, or is not one that files may be fetched from.",
        "unreachable": "The address does not answer, or is not one that files may be fetched from.",
        "timeout": "The file did not arrive in time.",
        "status": "The address answered with an error.",
        "too_large": "The file is too large.",
        "redirects": "The address redirects too often.",
    }

    def __init__(self, reason: Reason, *, upstream_status: int | None = None) -> None:
        said = f" Its status was {upstream_status}." if upstream_status is not None else ""
        super().__init__(self.details[reason] + said)
        self.reason: Reason = reason
        self.upstream_status = upstream_status


class FetchRefused(FetchFailed):
    """This server does not connect there: a private address, another scheme or port, or no readable URL."""

    def __init__(self) -> None:
        super().__init__("refused")


class Resolver(Protocol):
    """Answers the IP addresses of a name; raises OSError when there are none."""

    async def resolve(self, host: str) -> Sequence[str]: ...

    async def close(self) -> None: ...


class SystemResolver:
    """The machine's own resolver, in threads of its own: a slow name server must not hold up others."""

    def __init__(self, *, threads: int = 16) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")

    async def resolve(self, host: str) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        )
        return [str(answer[4][0]) for answer in found]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class ParsedUrl(Struct, frozen=True):
    """A readable URL: `host` in lower case ASCII, IPv6 without brackets; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str
    has_user: bool

    @property
    def text(self) -> str:
        """The URL as it is asked for, without user and fragment."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        return f"{self.scheme}://{host}{'' if usual else f':{self.port}'}{self.target}"


def read_url(text: str, *, scheme_relative: bool = False) -> ParsedUrl:
    """Read an absolute http or https URL; `//host/path` as https when `scheme_relative`.

    Says nothing about whether it may be fetched. Raises UrlUnreadable.
    """
    text = text.strip(" ")
    if scheme_relative and text.startswith("//"):
        text = f"https:{text}"
    # Python drops tabs and newlines inside a URL, browsers read a backslash as a slash: none is meant well.
    if _UNSAFE.search(text):
        raise UrlUnreadable("The URL must not contain control characters or backslashes.")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = _read_host(parts.hostname or "", bracketed="[" in parts.netloc)
    except ValueError as error:  # UnicodeError too
        raise UrlUnreadable("The host or the port of the URL cannot be read.") from error
    if parts.scheme not in ("http", "https"):
        raise UrlUnreadable()
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return ParsedUrl(
        scheme=parts.scheme,
        host=host,
        port=port if port is not None else (443 if parts.scheme == "https" else 80),
        target=f"{path}?{query}" if query else path,
        has_user="@" in parts.netloc,
    )


def _read_host(host: str, *, bracketed: bool) -> str:
    """Answer the host in ASCII; raises ValueError for what is no name, dotted IPv4 or plain IPv6."""
    if bracketed:
        address = ipaddress.IPv6Address(host)
        if address.scope_id is not None:
            raise ValueError("a zone belongs to one machine only")
        return str(address)
    name = host if host.isascii() else idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("no host name")
    if _NUMBER.fullmatch(labels[-1]):
        if not host.isascii():
            raise ValueError("digits of another script")
        return str(ipaddress.IPv4Address(name))  # four decimal parts without leading zeros, or ValueError
    return name


def read_address(text: str) -> Address | None:
    """Answer the IP address that `text` is, or None for a name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Tell whether the address belongs to the open internet: ours to ask, as anybody may."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _FORBIDDEN_IPV4)
    return (
        address in _GLOBAL_IPV6
        and address.is_global
        and not any(address in network for network in _FORBIDDEN_IPV6)
    )


class Guard:
    """Decides where a connection may go, and is the only resolver the HTTP client has."""

    def __init__(self, resolver: Resolver, allow: Sequence[str], ports: Collection[int]) -> None:
        self._resolver = resolver
        self._ports = ports
        self._allowed = {_read_allowed(entry) for entry in allow}
        # Where an allowed name led: the sockets know addresses, not names.
        self._allowed_addresses: set[tuple[str, int]] = set(self._allowed)

    def check(self, url: ParsedUrl) -> None:
        """Raise FetchRefused for what needs no look-up: user, port, names and addresses of a network."""
        if url.has_user:
            raise FetchRefused()
        if (url.host, url.port) in self._allowed:
            return
        address = read_address(url.host)
        if url.port not in self._ports or (
            _is_local_name(url.host) if address is None else not is_public(address)
        ):
            raise FetchRefused()

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Answer every address of the name, or refuse them all when one is not public."""
        addresses = [
            address for text in await self._resolver.resolve(host) if (address := read_address(text))
        ]
        if not addresses:
            raise OSError("no address")
        if (host, port) in self._allowed:
            self._allowed_addresses.update((str(address), port) for address in addresses)
        elif not all(is_public(address) for address in addresses):
            raise FetchRefused()
        return addresses

    def open_socket(self, target: tuple[Any, ...]) -> socket.socket:
        """Open a socket for the client; whatever way led here, none is opened to an unchecked address."""
        family, kind, protocol, _, (text, port, *_) = target
        address = read_address(text)
        if address is None or not (is_public(address) or (str(address), port) in self._allowed_addresses):
            raise FetchRefused()
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        await self._resolver.close()


def _read_allowed(entry: str) -> tuple[str, int]:
    url = read_url(f"http://{entry}")
    if not re.search(r":[0-9]+$", entry) or url.has_user or url.target != "/":
        raise ValueError(f"{entry!r} is no host:port that pictures may be fetched from.")
    return url.host, url.port


def _is_local_name(host: str) -> bool:
    return "." not in host or any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES)


class Fetcher:
    """Fetches files from public addresses on the usual ports, and from the `host:port` entries of `allow`.

    `count` is called with "ok" or the reason of the failure, once for each fetch.
    """

    def __init__(
        self,
        *,
        allow: Sequence[str] = (),
        user_agent: str = USER_AGENT,
        resolver: Resolver | None = None,
        ports: Collection[int] = PORTS,
        connections: int = 32,
        ssl_context: ssl.SSLContext | None = None,
        keep_alive: bool = True,
        count: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """Raise ValueError for an entry of `allow` that is not host:port.

        Without `keep_alive` each request has a connection of its own: on a used one the client may ask twice.
        """
        self._guard = Guard(resolver or SystemResolver(), allow, ports)
        self._headers = {"User-Agent": user_agent, "Accept": ACCEPT, "Accept-Encoding": "identity"}
        self._connections = connections
        self._ssl_context = ssl_context
        self._keep_alive = keep_alive
        self._count = count
        self._http: HttpClient | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None
        await self._guard.close()

    async def fetch(
        self, url: str, *, seconds: float = FETCH_SECONDS, max_bytes: int = FETCH_BYTES
    ) -> Fetched:
        """Fetch the file, following at most three redirects; `seconds` covers all of it, name to last byte.

        Raises FetchRefused where we do not go (an unreadable URL too), FetchFailed for all else.
        """
        http = await self._open()
        return await self._bounded(self._follow(http, url, max_bytes), seconds)

    async def ask(self, question: Question, *, seconds: float, max_bytes: int) -> Fetched:
        """Ask once, follow nothing, and answer what came whatever its status; a long body is cut.

        For an address that the operator wrote, not a caller. Raises FetchRefused, FetchFailed.
        """
        http = await self._open()
        return await self._bounded(self._ask(http, question, max_bytes), seconds)

    async def _bounded(self, work: Awaitable[Fetched], seconds: float) -> Fetched:
        try:
            async with asyncio.timeout(seconds):
                fetched = await work
        except TimeoutError as error:
            self._count("timeout")
            raise FetchFailed("timeout") from error
        except FetchFailed as failure:
            self._count(failure.reason)
            raise
        except (OSError, ValueError, zlib.error) as error:
            self._count("unreachable")
            raise FetchFailed("unreachable") from error
        self._count("ok")
        return fetched

    async def _ask(self, http: "HttpClient", question: Question, max_bytes: int) -> Fetched:
        try:
            target = read_url(question.url)
        except UrlUnreadable as error:
            raise FetchRefused() from error
        self._guard.check(target)
        return await http.ask_once(target, question, max_bytes)

    async def _open(self) -> "HttpClient":
        async with self._opening:
            if self._http is None:
                # In a thread: meanwhile the others go on.
                module = await asyncio.to_thread(importlib.import_module, "kasuwa.base.fetch_http")
                self._http = module.HttpClient(
                    self._guard,
                    self._headers,
                    self._connections,
                    self._ssl_context,
                    keep_alive=self._keep_alive,
                )
            return self._http

    async def _follow(self, http: "HttpClient", url: str, max_bytes: int) -> Fetched:
        for _ in range(1 + REDIRECTS_MAX):
            try:
                target = read_url(url)
            except UrlUnreadable as error:
                raise FetchRefused() from error
            self._guard.check(target)
            answer = await http.ask(target, max_bytes)
            if isinstance(answer, Fetched):
                return answer
            url = urljoin(target.text, answer)
        raise FetchFailed("redirects")
