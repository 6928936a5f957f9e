"""The bytes of a body, counted while they come."""

from collections.abc import AsyncIterator, Collection, MutableMapping
from typing import Any

from litestar.connection import Request

from kasuwa.base.problems import Malformed, Problem, TooLarge, Unavailable, UnsupportedMediaType

AnyRequest = Request[Any, Any, Any]
Scope = MutableMapping[str, Any]


class ClientDisconnected(Problem):
    """The caller went away, or was cut, before the body was whole. Nobody reads the answer."""

    code = "client-disconnected"
    title = "The request ended before its body was whole"


class BodyMemory:
    """How many bytes of bodies one worker may hold at a time, over all requests.

    A request's share is given back when it ends (`release`, called by the edge), because the body
    lives on in what is made from it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def hold(self, scope: Scope, size_bytes: int) -> None:
        """Raises Unavailable (503) when the worker already holds its fill."""
        if self.held_bytes + size_bytes > self.limit_bytes:
            raise Unavailable(
                "Too many uploads at the same time. Send it again in a moment.", retry_after_seconds=2
            )
        self.held_bytes += size_bytes
        state = scope["state"]
        state["held_body_bytes"] = state.get("held_body_bytes", 0) + size_bytes

    def release(self, scope: Scope) -> None:
        self.held_bytes -= scope["state"].pop("held_body_bytes", 0)


def hold_body(scope: Scope, size_bytes: int) -> None:
    """Count bytes that stay in memory against the worker's share, where the edge set one."""
    memory: BodyMemory | None = scope.get("state", {}).get("body_memory")
    if memory is not None:
        memory.hold(scope, size_bytes)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"The body may have at most {limit_bytes} bytes. Send a smaller one.")


def _check_declared_length(request: AnyRequest, limit_bytes: int) -> None:
    declared = request.headers.get("content-length")
    if declared is None:
        return
    if not (declared.isascii() and declared.isdigit()):
        raise Malformed("Content-Length must be a number of bytes.")
    if int(declared) > limit_bytes:
        raise _too_large(limit_bytes)


async def body_chunks(request: AnyRequest, limit_bytes: int) -> AsyncIterator[bytes]:
    """The body piece by piece as it arrives; ends only after the last piece.

    Raises TooLarge (413) by Content-Length before anything is read, or as soon as more comes, and
    ClientDisconnected when the body is cut: a cut body never looks whole.
    """
    _check_declared_length(request, limit_bytes)
    received_bytes = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        chunk: bytes = message.get("body", b"")
        received_bytes += len(chunk)
        if received_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


async def read_body(request: AnyRequest, limit_bytes: int) -> bytes:
    """The whole body. Raises TooLarge (413), ClientDisconnected, Unavailable (503)."""
    chunks: list[bytes] = []
    async for chunk in body_chunks(request, limit_bytes):
        hold_body(request.scope, len(chunk))  # type: ignore[arg-type]
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def media_type(request: AnyRequest) -> str:
    """The Content-Type without its parameters, in lower case; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media_type(request: AnyRequest, allowed: Collection[str]) -> str:
    """The media type, if it is one of `allowed` (`image/*` allows the whole family); else 415."""
    sent = media_type(request)
    if sent and (sent in allowed or f"{sent.partition('/')[0]}/*" in allowed):
        return sent
    raise UnsupportedMediaType(
        f"Send the body as {' or '.join(sorted(allowed))} and name it in Content-Type.",
        headers={"Accept": ", ".join(sorted(allowed))},
    )
