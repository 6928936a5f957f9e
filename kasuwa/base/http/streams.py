"""Answers that are sent piece by piece, such as a file of a million rows: memory holds one piece."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from litestar.types import Receive, Scope, Send
from msgspec import Struct


class Stream(Struct, frozen=True):
    """What a handler gives for a file to be saved. `file_name` is plain ASCII without quotes."""

    pieces: AsyncIterator[bytes]
    media_type: str
    file_name: str


class BegunStream:
    """A stream whose first piece is there, so that an expected no was still an answer of its own.

    What goes wrong later cuts the connection: a cut file never looks whole. The rest is not made for a
    caller who has gone.
    """

    __slots__ = ("_first", "_stream", "headers", "status")

    def __init__(self, stream: Stream, first: bytes, status: int) -> None:
        self._stream = stream
        self._first = first
        self.status = status
        self.headers: Mapping[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._stream
        headers = {
            **self.headers,
            "Content-Type": stream.media_type,
            "Content-Disposition": f'attachment; filename="{stream.file_name}"',
            "Cache-Control": "no-store",
        }
        lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": lines})
            if not scope["state"].get("head"):
                await _send_piece(send, self._first, more=True)
                async for piece in stream.pieces:
                    if gone.done():
                        return
                    await _send_piece(send, piece, more=True)
            await _send_piece(send, b"", more=False)
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
            await close(stream.pieces)


async def begin(stream: Stream, status: int) -> BegunStream:
    """The stream with its first piece. Raises what making that raises."""
    try:
        first = await anext(stream.pieces, b"")
    except BaseException:
        await close(stream.pieces)
        raise
    return BegunStream(stream, first, status)


async def close(pieces: AsyncIterator[bytes]) -> None:
    """End a generator where it stands, with its transactions."""
    end: Any = getattr(pieces, "aclose", None)
    if end is not None:
        await end()


async def _send_piece(send: Send, piece: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": more})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
