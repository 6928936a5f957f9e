"""An expected no: raised where the rule lives, put into each API's own words in one place."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct


class FieldFault(Struct, frozen=True):
    """One fault in what the caller sent.

    `pointer` is a JSON pointer into the body ("/prices/sellingPrice"), or "#/query/page",
    "#/path/itemid" and "#/header/Idempotency-Key" for what is not in the body.
    """

    pointer: str
    code: str
    message: str

    @property
    def field(self) -> str:
        """The pointer's words joined by dots, without where they stand: `prices.sellingPrice`, `page`."""
        for place in ("#/query/", "#/path/", "#/header/"):
            if self.pointer.startswith(place):
                return self.pointer.removeprefix(place)
        return self.pointer.strip("/").replace("/", ".")


def renamed(faults: Sequence[FieldFault], names: Mapping[str, str]) -> tuple[FieldFault, ...]:
    """The faults with the last words of their pointers as a caller knows them, by `names`."""
    return tuple(
        FieldFault(f"{before}/{names.get(last, last)}", fault.code, fault.message)
        for fault in faults
        for before, _, last in [fault.pointer.rpartition("/")]
    )


class Problem(Exception):
    """An expected no. Subclasses set `status`, `code` (stable, kebab-case) and `title`.

    `advice` says what to do next where whoever raises it knows nothing better.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"
    title: ClassVar[str] = "The request cannot be done as it was sent"
    advice: ClassVar[str] = ""

    def __init__(
        self,
        detail: str = "",
        *,
        faults: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.advice or self.title)
        self.detail = detail or self.advice
        self.faults = tuple(faults)
        self.headers = dict(headers or {})


class Malformed(Problem):
    code = "malformed"
    title = "The request cannot be read"


class Unauthenticated(Problem):
    status = 401
    code = "not-authenticated"
    title = "No valid credentials came with the request"


class Forbidden(Problem):
    status = 403
    code = "forbidden"
    title = "This caller is not allowed to do that"


class NotFound(Problem):
    """Unknown and foreign look the same."""

    status = 404
    code = "not-found"
    title = "There is no such record for this caller"


class MethodNotAllowed(Problem):
    status = 405
    code = "method-not-allowed"
    title = "This path does not know that method"


class TooSlow(Problem):
    status = 408
    code = "too-slow"
    title = "The request came too slowly"


class Conflict(Problem):
    status = 409
    code = "conflict"
    title = "The request clashes with the present state"


class PreconditionFailed(Problem):
    status = 412
    code = "precondition-failed"
    title = "The record has changed since it was read"


class TooLarge(Problem):
    status = 413
    code = "too-large"
    title = "The request body is over the limit"


class UnsupportedMediaType(Problem):
    status = 415
    code = "unsupported-media-type"
    title = "This media type is not accepted here"


class Invalid(Problem):
    """Readable, but a value is wrong: say which by `faults`."""

    status = 422
    code = "invalid"
    title = "A value in the request is not acceptable"


class TooManyRequests(Problem):
    status = 429
    code = "too-many-requests"
    title = "The rate limit is reached"


class HeadersTooLarge(Problem):
    status = 431
    code = "headers-too-large"
    title = "The address and the headers are over the limit"


class NotImplementedHere(Problem):
    status = 501
    code = "not-implemented"
    title = "This server does not do that"


class Unavailable(Problem):
    """Not now: carries Retry-After."""

    status = 503
    code = "unavailable"
    title = "The server cannot answer now"

    def __init__(self, detail: str = "", *, retry_after_seconds: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class HttpVersionUnknown(Problem):
    status = 505
    code = "http-version-unknown"
    title = "This server speaks HTTP/1.1"


class NoSpace(Problem):
    status = 507
    code = "no-space"
    title = "There is no space left for files"


class QuotaReached(Conflict):
    """Of rows; the detail says which quota, how much it allows and what to do."""

    code = "quota-reached"
    title = "This business may keep no more of these here"


class FileQuotaReached(NoSpace):
    """Of files or their bytes."""

    code = "file-quota-reached"
    title = "This business may keep no more files here"
