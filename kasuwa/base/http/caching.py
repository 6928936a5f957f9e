"""ETags, conditional reads and changes, and HEAD."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from litestar.connection import Request

from kasuwa.base.problems import MethodNotAllowed, PreconditionFailed

_READ_AGAIN = "Read the record again and repeat the change on its present version."


def etag(body: bytes, state: bytes = b"") -> str:
    """A strong tag of these bytes. The edge makes it weak when it compresses them.

    With a `state` it begins with a mark of that, which `require_state` compares: the state is the same
    whichever fields of it the bytes show.
    """
    return f'"{_mark(state)}.{_mark(body)}"' if state else f'"{_mark(body)}"'


def _mark(content: bytes) -> str:
    # Processors have instructions for SHA-256: a fifth of what BLAKE2 costs in software.
    return sha256(content).hexdigest()[:24]


def _names(header: str, tag: str) -> bool:
    """Whether a list of tags names `tag`, weakly: ours differ by compression only, not in meaning."""
    bare = tag.removeprefix("W/")
    return any(sent.strip() == "*" or sent.strip().removeprefix("W/") == bare for sent in header.split(","))


def not_modified(request: Request[Any, Any, Any], tag: str) -> bool:
    """True when the caller has this version already: answer 304 with the same ETag and no body."""
    sent = request.headers.get("if-none-match")
    return sent is not None and _names(sent, tag)


def require_match(request: Request[Any, Any, Any], tag: str) -> None:
    """Raises PreconditionFailed (412) when If-Match came and names another version."""
    sent = request.headers.get("if-match")
    if sent is not None and not _names(sent, tag):
        raise PreconditionFailed(_READ_AGAIN)


def require_state(request: Request[Any, Any, Any], states: Iterable[bytes]) -> None:
    """Raises PreconditionFailed (412) when If-Match came and names none of the states by its tag."""
    sent = request.headers.get("if-match", "*").split(",")
    marks = {one.strip().removeprefix("W/").partition(".")[0] for one in sent}
    if marks.isdisjoint({"*", *(f'"{_mark(state)}' for state in states)}):
        raise PreconditionFailed(_READ_AGAIN)


def is_head(request: Request[Any, Any, Any]) -> bool:
    """True when a HEAD request is being answered by its GET."""
    return bool(request.scope["state"].get("head"))


def refuse_head(request: Request[Any, Any, Any], allow: str = "GET") -> None:
    """For a GET that does something: raises MethodNotAllowed (405) when only its HEAD was asked."""
    if is_head(request):
        raise MethodNotAllowed("This path answers GET only.", headers={"Allow": allow})
