"""What the fetcher's tests play with: servers that say what they are told, names, and a watch on connects.

One address of loopback stands for the public internet (the guard is told that it is); all else is real.
Every attempt to connect is recorded by the interpreter itself, whether anybody listens there or not.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from kasuwa.base import fetch
from kasuwa.base.fetch import (
    Address,
    Fetcher,
    FetchFailed,
    is_public,
    read_address,
)

PUBLIC = "127.77.0.1"  # stands for a public address
PRIVATE = "127.0.0.1"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))

# The watch: every attempt to connect a socket in this process.


class Watch:
    """Records connects while `on`; lets only loopback through, so that no control leaves the machine."""

    def __init__(self) -> None:
        self.on = False
        self.attempts: list[tuple[str, int]] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on or event != "socket.connect" or not isinstance(arguments[1], tuple):
            return
        host, port = arguments[1][:2]
        self.attempts.append((host, port))
        address = read_address(host)
        mapped = getattr(address, "ipv4_mapped", None) or address
        if mapped is None or not (mapped.is_loopback or mapped.is_unspecified):
            raise ConnectionRefusedError("the watch lets nothing leave this machine")


class Names:
    """A name server under our control: each name answers its lists in turn, the last one for good."""

    def __init__(self, answers: dict[str, list[list[str]]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        lists = self.answers.get(host)
        if lists is None:
            raise socket.gaierror("no such name")
        return lists.pop(0) if len(lists) > 1 else lists[0]

    async def close(self) -> None:
        pass


# Servers that say exactly what a test tells them to.

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def reply(content: bytes = PNG, *, status: str = "200 OK", head: str = "Content-Type: image/png") -> Answer:
    async def answer(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        )
        await writer.drain()

    return answer


def redirect(location: str, status: int = 302) -> Answer:
    return reply(b"", status=f"{status} Moved", head=f"Location: {location}")


class Server:
    """Counts its connections, keeps the heads of its requests, answers by `answer` or by path."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[str] = []
        self.answer: Answer = reply()
        self.paths: dict[str, Answer] = {}
        self._handlers: set[asyncio.Task[None]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.requests.append(request)
                await self.paths.get(request.split(" ")[1], self.answer)(request, writer)
        self._handlers.discard(handler)
        writer.close()

    @asynccontextmanager
    async def listen(
        self, listener: socket.socket, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.handle, sock=listener, ssl=context)
        try:
            yield
        finally:
            server.close()
            for handler in list(self._handlers):
                handler.cancel()
            await server.wait_closed()


def bind(host: str, port: int = 0) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if host == "::":
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def bind_pair() -> tuple[socket.socket, socket.socket]:
    """Listeners at the public and the private address, on one port."""
    while True:
        public = bind(PUBLIC)
        try:
            return public, bind(PRIVATE, public.getsockname()[1])
        except OSError:  # somebody has this port at the other address
            public.close()


class Stage:
    """A public and a private server on one port, names that lead to them, and a fetcher for that port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.public, self.private = Server(), Server()
        self.names = Names({"public.test.example": [[PUBLIC]], "private.test.example": [[PRIVATE]]})
        self.outcomes: list[str] = []
        self.fetcher = Fetcher(resolver=self.names, ports={port}, count=self.outcomes.append)
        self.url = f"http://public.test.example:{port}"

    async def fails(self, path: str = "/", *, seconds: float = 20, max_bytes: int = 1_000_000) -> FetchFailed:
        """Fetch, expect a failure, and see that the private server was left alone."""
        with pytest.raises(FetchFailed) as raised:
            await self.fetcher.fetch(self.url + path, seconds=seconds, max_bytes=max_bytes)
        assert self.private.connections == 0
        assert self.outcomes == [raised.value.reason]
        return raised.value


def count_as_public(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_public_here(address: Address) -> bool:
        return str(address) == PUBLIC or is_public(address)

    monkeypatch.setattr(fetch, "is_public", is_public_here)
