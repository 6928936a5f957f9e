"""The HTTP of the fetcher: aiohttp, with the guard as its only resolver and maker of sockets."""

import asyncio
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from kasuwa.base.fetch import Fetched, FetchFailed, FetchRefused, Guard, ParsedUrl, Question

CHUNK_BYTES = 64 * 1024
BODY_SECONDS = 5.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _Resolver(AbstractResolver):
    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._guard.resolve(host, port)
        ]

    async def close(self) -> None:
        """The guard is the fetcher's, which closes it."""


class HttpClient:
    """Asks one checked address at a time, without redirects, cookies, proxies or a time of its own."""

    def __init__(
        self,
        guard: Guard,
        headers: Mapping[str, str],
        connections: int,
        ssl_context: ssl.SSLContext | None,
        *,
        keep_alive: bool = True,
    ) -> None:
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(guard),
            # A cached answer would be one that this connection did not check.
            use_dns_cache=False,
            socket_factory=guard.open_socket,
            limit=connections,
            force_close=not keep_alive,
            ssl=ssl_context or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),  # one deadline of the fetcher covers everything
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # a proxy would resolve the name again
        )

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, target: ParsedUrl, max_bytes: int) -> Fetched | str:
        """Answer the file, or where it has moved to. Raises FetchFailed."""
        try:
            return await self._answer(_read_again(target), target.text, max_bytes)
        except aiohttp.ClientError as error:
            raise FetchFailed("unreachable") from error

    async def ask_once(self, target: ParsedUrl, question: Question, max_bytes: int) -> Fetched:
        """Answer whatever status came, with as much of the body as there is. Raises FetchFailed."""
        try:
            async with self._session.request(
                question.method,
                _read_again(target),
                headers=question.headers,
                data=question.content or None,
                allow_redirects=False,
            ) as response:
                content = await _read_some(response, max_bytes)
                return Fetched(
                    target.text, response.status, _content_type(response), content, _retry_after(response)
                )
        except aiohttp.ClientError as error:
            raise FetchFailed("unreachable") from error

    async def _answer(self, asked: URL, text: str, max_bytes: int) -> Fetched | str:
        async with self._session.get(asked, allow_redirects=False) as response:
            if response.status in _REDIRECTS and "Location" in response.headers:
                return response.headers["Location"]
            if not 200 <= response.status < 300:
                raise FetchFailed("status", upstream_status=response.status)
            if response.content_length is not None and response.content_length > max_bytes:
                raise FetchFailed("too_large")
            content = bytearray()
            async for chunk in _decode(response, max_bytes):
                content += chunk
                if len(content) > max_bytes:
                    raise FetchFailed("too_large")
            return Fetched(text, response.status, _content_type(response), bytes(content))


def _read_again(target: ParsedUrl) -> URL:
    """The URL as the client reads it. Raises FetchRefused where two readers disagree about where it leads."""
    asked = URL(target.text, encoded=True)
    if (asked.host, asked.port) != (target.host, target.port):
        raise FetchRefused()
    return asked


async def _read_some(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """What can be read of the body: the status has said already what became of the request."""
    content = bytearray()
    with suppress(aiohttp.ClientError, TimeoutError, zlib.error):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in _decode(response, max_bytes):
                content += chunk
                if len(content) >= max_bytes:
                    break
    return bytes(content[:max_bytes])


async def _decode(response: aiohttp.ClientResponse, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body, unpacked by at most `max_bytes` a step: some hosts send gzip to whom did not ask."""
    packed = response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if packed else None  # reads gzip and zlib
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        yield unpack.decompress(chunk, max_bytes + 1) if unpack else chunk
    if unpack and not unpack.eof:
        raise zlib.error("the packed body is cut short")


def _retry_after(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0.0


def _content_type(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
