"""A real HTTP server on loopback that answers as the providers of account holders do."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from msgspec import Struct


class Asked(Struct, frozen=True):
    """One request as it came. `headers` have lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: str


class BankProvider:
    """`status` and `body` are what it answers; `mode` "silent" never does, "slow" sends byte after byte."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[Asked] = []
        self.status = 200
        self.body: bytes = b"{}"
        self.mode = "well"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, value: Any, status: int = 200) -> None:
        self.body, self.status = json.dumps(value).encode(), status

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in fields}
            content = await reader.readexactly(int(headers.get("content-length", "0")))
            method, target, _ = head[0].split(" ")
            self.asked.append(Asked(method, target, headers, content.decode()))
            if self.mode == "silent":
                await reader.read()
            writer.write(
                f"HTTP/1.1 {self.status} Said\r\nContent-Type: application/json\r\n"
                f"Location: {self.url}/elsewhere\r\n"
                f"Content-Length: {len(self.body)}\r\nConnection: close\r\n\r\n".encode()
            )
            for place in range(len(self.body)) if self.mode == "slow" else ():
                writer.write(self.body[place : place + 1])
                await writer.drain()
                await asyncio.sleep(0.05)
            if self.mode != "slow":
                writer.write(self.body)
            await writer.drain()
            writer.close()


@asynccontextmanager
async def bank_provider() -> AsyncIterator[BankProvider]:
    provider = BankProvider()
    server = await asyncio.start_server(provider.answer, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
