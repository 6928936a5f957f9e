"""Shoplazza: tokens of stores, leaky buckets, and errors that are a sentence or a list of them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from kasuwa.api.shoplazza import contract, enveloped_contract
from kasuwa.base.context import Context
from kasuwa.base.fetch import FetchFailed
from kasuwa.base.http.api import AnyRequest, Dialect, Exchange, RawJson
from kasuwa.base.http.contract import Checks, Operation, encode
from kasuwa.base.imaging import NotAPicture, PictureTooBig
from kasuwa.base.limits import Quota
from kasuwa.base.problems import (
    Conflict,
    FieldFault,
    Forbidden,
    Invalid,
    Malformed,
    Problem,
    QuotaReached,
    TooManyRequests,
    Unauthenticated,
)
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.media.errors import PictureNotFound
from kasuwa.domain.merchants.authentication import TokenFacts, resolve_access_token

_IDS = {"#/path/product_id": "ProductId", "#/path/image_id": "ImageId"}


class StoreNotActive(Forbidden):
    code = "store-not-active"
    title = "store is not active"


class ScopeMissing(Forbidden):
    code = "scope-missing"
    title = "The token lacks a scope"


class IdNotUuid(Invalid):
    code = "id-not-uuid"
    title = "An id must be a valid UUID"


class BodyFault(Malformed):
    """A body of the wrong shape: this API says 400 where others say 422."""

    code = "body-fault"
    title = "Bad Request"

    @classmethod
    def at(cls, pointer: str, message: str) -> "BodyFault":
        return cls(faults=[FieldFault(pointer, "invalid", message)])


class Shoplazza(Dialect):
    """Version 2022-01: the answer is the thing itself."""

    # One name for both: they are one API, and an Idempotency-Key means the same in all its versions.
    name: ClassVar[str] = "shoplazza"
    base_paths: ClassVar[tuple[str, ...]] = ("/openapi/2022-01",)
    operations: ClassVar[Mapping[str, Operation]] = contract.OPERATIONS
    checks: ClassVar[Checks] = contract.CHECKS

    async def admit(self, exchange: Exchange) -> None:
        operation = exchange.operation
        assert operation is not None
        token = await resolve_access_token(exchange.context.services.pool, _token_of(exchange.request))
        if token is None:
            raise Unauthenticated("Unauthorized")
        exchange.context = exchange.context.acting_as(token.caller())
        await _spend(exchange.context, token)
        if token.store_status != "active":
            raise StoreNotActive()
        if operation.scope is not None and operation.scope not in _scopes_of(token):
            raise ScopeMissing(f"The token lacks the scope {operation.scope}; make one that has it.")

    def refusal(self, problem: Problem, exchange: Exchange | None) -> tuple[Any, str, Mapping[str, str]]:
        lines = sentences(problem)
        body = {"error": lines[0]} if problem.status in (401, 403) else {"errors": lines}
        return body, "application/json", {}

    def reread(self, problem: Invalid, place: str) -> Problem:
        if place == "path":
            name = next((_IDS[f.pointer] for f in problem.faults if f.pointer in _IDS), "Id")
            return IdNotUuid(f"{name} must be a valid UUID")
        if place == "body":
            return BodyFault(problem.detail, faults=problem.faults)
        return problem

    def status_of(self, problem: Problem, exchange: Exchange | None) -> int:
        if isinstance(problem, QuotaReached):
            return 507
        if isinstance(problem, Conflict) and exchange is not None and exchange.operation is not None:
            return exchange.operation.status_for(problem.status)
        # The address was well written, but there was no picture behind it.
        return 422 if isinstance(problem, FetchFailed | NotAPicture | PictureTooBig) else problem.status


class EnvelopedShoplazza(Shoplazza):
    """From version 2025-06 on every answer is wrapped, and an error has a code."""

    base_paths: ClassVar[tuple[str, ...]] = ("/openapi/2025-06", "/openapi/2026-01")
    operations: ClassVar[Mapping[str, Operation]] = enveloped_contract.OPERATIONS
    checks: ClassVar[Checks] = enveloped_contract.CHECKS

    def refusal(self, problem: Problem, exchange: Exchange | None) -> tuple[Any, str, Mapping[str, str]]:
        body = {
            "code": _CODES.get(self.status_of(problem, exchange), "InvalidParameter"),
            "message": " ".join(sentences(problem)),
        }
        return body, "application/json", {}

    def success(self, body: Any, exchange: Exchange) -> Any:
        content = body.content if isinstance(body, RawJson) else encode(body)
        return RawJson(b'{"code":"Success","message":"","data":' + content + b"}")


_CODES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "Timeout",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    431: "PayloadTooLarge",
    500: "Unavailable",
    503: "Unavailable",
    507: "InsufficientStorage",
}


def sentences(problem: Problem) -> list[str]:
    """What is wrong, a sentence for each fault."""
    if isinstance(problem, ProductNotFound):
        return ["Product not found"]
    if isinstance(problem, PictureNotFound):
        return ["Image not found"]
    if problem.faults:
        return [
            f"{fault.field}: {fault.message}" if fault.field else fault.message for fault in problem.faults
        ]
    return [fetch_sentence(problem) or problem.detail or problem.title]


def fetch_sentence(problem: Problem) -> str | None:
    """Why there is no picture behind an address; None for any other problem."""
    if isinstance(problem, FetchFailed | NotAPicture | PictureTooBig):
        return f"{problem.title}. {problem.detail}"
    return None


def _token_of(request: AnyRequest) -> str:
    """The header of this API, else Authorization with or without the word Bearer."""
    token = request.headers.get("access-token", "").strip()
    if token:
        return token
    sent = request.headers.get("authorization", "").strip()
    return sent[7:].strip() if sent[:7].lower() == "bearer " else sent


def _scopes_of(token: TokenFacts) -> set[str]:
    """Whoever may write may read."""
    scopes = set(token.scopes)
    return scopes | {"read_product"} if "write_product" in scopes else scopes


async def _spend(context: Context, token: TokenFacts) -> None:
    settings, limits = context.services.settings, context.services.limits
    for quota, subject in (
        (Quota("shoplazza-token", settings.shoplazza_burst, leak_per_second=2.0), token.token_id),
        (Quota("shoplazza-store", settings.shoplazza_store_burst, leak_per_second=20.0), token.store_id),
    ):
        allowance = await limits.take(quota, str(subject))
        if not allowance.accepted:
            wait = max(1, -int(-allowance.resets_in_seconds // 1))
            raise TooManyRequests(
                f"Too many requests. Try again in {wait} s.", headers={"Retry-After": str(wait)}
            )
