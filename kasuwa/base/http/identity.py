"""The name of a request, the same in its answer, its log lines and its error body."""

import random
import re
from collections.abc import Callable
from contextvars import ContextVar

RenderError = Callable[[str, int], tuple[list[tuple[bytes, bytes]], bytes]]
"""(path, status) -> (headers, body) of an error in the words of the API that owns the path.

It may ask `current_request_id()`. Content-Length and Connection are added by the caller.
"""

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


def new_request_id() -> str:
    return f"{random.getrandbits(96):024x}"


def begin_request(sent: bytes | None) -> str:
    """Name the request of this task: as the caller did, if that is harmless to print, else anew."""
    request_id = sent.decode("ascii") if sent and _SAFE_ID.fullmatch(sent) else new_request_id()
    _request_id.set(request_id)
    return request_id


def current_request_id() -> str:
    """The request's id; outside of a request a new one."""
    return _request_id.get() or new_request_id()


def id_header(path: str) -> bytes:
    """Shoplazza's callers read `Request-Id`, everybody else `X-Request-Id`."""
    return b"request-id" if path.startswith("/openapi/20") else b"x-request-id"
