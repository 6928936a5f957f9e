"""BigCommerce V3: a store's access token, a quota for each store, and the vendor's error bodies."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from kasuwa.api.bigcommerce import contract
from kasuwa.api.bigcommerce.errors import DOCS, ImageRefused, LimitAboveMaximum
from kasuwa.base.context import Services
from kasuwa.base.http.api import Dialect, Exchange
from kasuwa.base.http.contract import Checks, Operation
from kasuwa.base.http.identity import current_request_id
from kasuwa.base.limits import Allowance, Quota
from kasuwa.base.problems import (
    Conflict,
    FieldFault,
    Forbidden,
    Invalid,
    NotFound,
    NotImplementedHere,
    Problem,
    QuotaReached,
    TooManyRequests,
    Unauthenticated,
)
from kasuwa.domain.merchants.authentication import TokenFacts, resolve_access_token
from kasuwa.domain.permissions import Permission
from kasuwa.settings import Settings

JSON = "application/json"
WINDOW_SECONDS = 30


class BigCommerce(Dialect):
    name: ClassVar[str] = "bigcommerce"
    base_paths: ClassVar[tuple[str, ...]] = ("/stores/{store_hash}/v3",)
    operations: ClassVar[Mapping[str, Operation]] = contract.OPERATIONS
    checks: ClassVar[Checks] = contract.CHECKS
    credential_headers: ClassVar[tuple[str, ...]] = ("X-Auth-Token",)

    async def admit(self, exchange: Exchange) -> None:
        operation = exchange.operation
        assert operation is not None
        token = await self._prove(exchange)
        exchange.context = exchange.context.acting_as(token.caller())
        await self._spend(exchange, token)
        if token.store_status != "active":
            raise Forbidden("The store is not active.")
        exchange.context.require(Permission.STOCK_READ if operation.safe else Permission.STOCK_WRITE)

    def refusal(self, problem: Problem, exchange: Exchange | None) -> tuple[Any, str, Mapping[str, str]]:
        headers = dict(quota_headers(_untouched(exchange.context.services if exchange else None)))
        if exchange is not None:
            headers |= exchange.headers
        request_id = exchange.context.request_id if exchange else current_request_id()
        body = error_body(problem, request_id, self.status_of(problem, exchange))
        return body, JSON, headers

    def unrouted(self, problem: Problem, method: str) -> Problem:
        if problem.status == 405 and method == "PATCH":
            return NotImplementedHere("Use PUT: it changes only the fields that are sent.")
        return problem

    def reread(self, problem: Invalid, place: str) -> Problem:
        if place == "path":
            # What is no id of ours is as unknown as any other.
            return NotFound("There is nothing with this id.")
        if place == "query" and any(
            (fault.field, fault.code) == ("limit", "maximum") for fault in problem.faults
        ):
            return LimitAboveMaximum("Ask for at most 250 items a page.", faults=problem.faults)
        return problem

    def status_of(self, problem: Problem, exchange: Exchange | None) -> int:
        # The vendor's status for the limit of a plan.
        if isinstance(problem, QuotaReached):
            return 507
        if isinstance(problem, Conflict) and exchange is not None and exchange.operation is not None:
            return exchange.operation.status_for(problem.status)
        return problem.status

    async def _prove(self, exchange: Exchange) -> TokenFacts:
        request = exchange.request
        token = request.headers.get("x-auth-token", "")
        if not token:
            raise Unauthenticated("Send the store's access token in the header X-Auth-Token.")
        facts = await resolve_access_token(exchange.context.services.pool, token)
        # One answer for a wrong token and for another store's path: the path is only compared.
        if facts is None or request.path_params.get("store_hash") != facts.store_hash:
            raise Unauthenticated("This access token does not open this store.")
        return facts

    async def _spend(self, exchange: Exchange, token: TokenFacts) -> None:
        """One request of the store's quota, which all its tokens share."""
        requests = exchange.context.services.settings.bigcommerce_requests_per_window
        quota = Quota("bigcommerce", requests=requests, seconds=WINDOW_SECONDS)
        allowance = await exchange.context.services.limits.take(quota, str(token.store_id))
        exchange.headers |= quota_headers(allowance)
        if not allowance.accepted:
            wait = max(1, -int(-allowance.resets_in_seconds // 1))
            exchange.headers["X-Retry-After"] = str(wait)
            raise TooManyRequests(f"Try again in {wait} s.")


def quota_headers(allowance: Allowance) -> dict[str, str]:
    """The four integers that clients read on every answer: all of them, or they fail."""
    return {
        "X-Rate-Limit-Time-Window-Ms": str(WINDOW_SECONDS * 1000),
        "X-Rate-Limit-Time-Reset-Ms": str(max(0, round(allowance.resets_in_seconds * 1000))),
        "X-Rate-Limit-Requests-Quota": str(allowance.quota),
        "X-Rate-Limit-Requests-Left": str(allowance.remaining),
    }


def error_body(problem: Problem, request_id: str, status: int) -> dict[str, Any]:
    """The vendor's error: `instance` on 404, `detail` for people, `errors` from field to text."""
    if isinstance(problem, ImageRefused):
        return problem.body()
    body: dict[str, Any] = {"status": status, "title": problem.title, "type": DOCS}
    if problem.status == 404:
        body["instance"] = f"urn:request:{request_id}"
    if problem.detail:
        body["detail"] = problem.detail
    if problem.faults or status in (409, 413, 422):
        body["errors"] = errors_of(problem.faults)
    return body


def errors_of(faults: Sequence[FieldFault]) -> dict[str, str]:
    """The first text for each field."""
    errors: dict[str, str] = {}
    for fault in faults:
        errors.setdefault(fault.field or "body", fault.message)
    return errors


def _untouched(services: Services | None) -> Allowance:
    """The quota of a caller that nobody has proved: it is whole, since it was never touched."""
    settings = services.settings if services else Settings()
    requests: int = settings.bigcommerce_requests_per_window
    return Allowance(True, requests, requests, float(WINDOW_SECONDS))
