"""A real HTTP server on loopback whose pictures the application fetches, with every kind of fault."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.base.pictures import scene, write
from tests.conftest import picture_bytes


class PictureServer:
    """`files` are what it gives out by path, queries ignored; `/missing` is a 404, `/silent` never answers,
    and `/redirect?to=URL` leads there.

    `asked` lists the paths in the order they were asked for. While `gate` is shut, who asks waits; `waiting`
    says how many do. At `closed_port` nobody listens, and nobody else can.
    """

    def __init__(self) -> None:
        self.port = 0
        self.closed_port = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.come = asyncio.Condition()
        self.waiting = 0
        self.asked: list[str] = []
        self.files: dict[str, bytes] = {
            "/good.png": write(scene(800, 600), "PNG"),
            "/other.png": write(scene(320, 200), "PNG"),
            "/page.html": b"<!doctype html><title>No picture</title>",
            "/broken.png": write(scene(), "PNG")[:200],
        }

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def allowed(self) -> str:
        """What KASUWA_FETCH_ALLOW has to say."""
        return f"{self.host},127.0.0.1:{self.closed_port}"

    def closed_url(self) -> str:
        """An address that may be fetched from, and where every connection is refused."""
        return f"http://127.0.0.1:{self.closed_port}/a.png"

    def url(self, path: str = "/good.png", *, scheme: str = "http") -> str:
        return f"{scheme}://{self.host}{path}"

    def good(self, seed: int = 0) -> str:
        """The address of a good picture of 400 x 300, another one for each seed."""
        path = f"/good/{seed}.png"
        if path not in self.files:
            self.files[path] = picture_bytes("PNG", size=(400, 300), seed=seed)
        return self.url(path)

    async def wait_for(self, callers: int) -> None:
        """Until so many wait at the gate."""
        async with self.come:
            await self.come.wait_for(lambda: self.waiting >= callers)

    async def _wait_at_gate(self) -> None:
        async with self.come:
            self.waiting += 1
            self.come.notify_all()
        await self.gate.wait()
        self.waiting -= 1

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ")[1]
            self.asked.append(path)
            await self._wait_at_gate()
            if path == "/silent":
                await reader.read()
            bare, _, query = path.partition("?")
            content = self.files.get(bare, b"")
            status = "200 OK" if bare in self.files else "404 Not Found"
            if bare == "/redirect":
                status = f"302 Found\r\nLocation: {query.removeprefix('to=')}"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
                + content
            )
            await writer.drain()
        writer.close()


@asynccontextmanager
async def serving_pictures(tls: ssl.SSLContext | None = None) -> AsyncIterator[PictureServer]:
    pictures = PictureServer()
    server = await asyncio.start_server(pictures.answer, "127.0.0.1", 0, ssl=tls)
    pictures.port = server.sockets[0].getsockname()[1]
    with socket.socket() as closed:
        # Taken, so that nobody else listens there; and never listened at.
        closed.bind(("127.0.0.1", 0))
        pictures.closed_port = closed.getsockname()[1]
        try:
            yield pictures
        finally:
            server.close()


def closed_port_url() -> str:
    """An address of this machine at which nobody listens, and which nobody allowed."""
    return "http://127.0.0.1:9/a.png"
