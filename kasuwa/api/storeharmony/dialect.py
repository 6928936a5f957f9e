"""StoreHarmony: sessions of store users, developer keys of apps, and RFC 9457 problems."""

from collections.abc import Mapping
from typing import Any, ClassVar

from kasuwa.api.storeharmony import contract
from kasuwa.base.context import Caller
from kasuwa.base.http.api import AnyRequest, Dialect, Exchange
from kasuwa.base.http.contract import Checks, Operation
from kasuwa.base.http.identity import current_request_id
from kasuwa.base.http.origin import caller_address
from kasuwa.base.ids import token_hash
from kasuwa.base.limits import Quota
from kasuwa.base.problems import Invalid, NotFound, Problem, TooManyRequests, Unauthenticated
from kasuwa.domain.merchants.authentication import (
    resolve_developer_key,
    resolve_session,
)

# Their path names another store of the user's, which they look for among the user's own.
_OF_ANY_STORE = frozenset({"switchStoreLocation", "getStoreLocationDetails"})

PROBLEM_JSON = "application/problem+json"


class StoreHarmony(Dialect):
    name: ClassVar[str] = "storeharmony"
    base_paths: ClassVar[tuple[str, ...]] = ("/cloudapi",)
    operations: ClassVar[Mapping[str, Operation]] = contract.OPERATIONS
    checks: ClassVar[Checks] = contract.CHECKS
    credential_headers: ClassVar[tuple[str, ...]] = ("sessiontoken", "customertoken")

    async def admit(self, exchange: Exchange) -> None:
        operation = exchange.operation
        assert operation is not None
        caller = await self._prove(exchange, operation)
        exchange.context = exchange.context.acting_as(caller)
        await self._spend(exchange, caller)
        store = exchange.request.path_params.get("storeid")
        if operation.operation_id in _OF_ANY_STORE:
            store = None
        # The path only says which store is meant; the session says which one it is.
        if store is not None and str(caller.store_id) != store.lower():
            raise NotFound("There is no such store for this session.")
        account = exchange.request.path_params.get("accountid")
        if account is not None and str(caller.user_id) != account.lower():
            raise NotFound("There is no such account for this session.")
        if operation.permission is not None:
            exchange.context.require(operation.permission)

    def refusal(self, problem: Problem, exchange: Exchange | None) -> tuple[Any, str, Mapping[str, str]]:
        request_id = exchange.context.request_id if exchange else current_request_id()
        body: dict[str, Any] = {
            "type": f"/docs/problems#{problem.code}",
            "title": problem.title,
            "status": self.status_of(problem, exchange),
            "instance": f"urn:request:{request_id}",
        }
        if problem.detail:
            body["detail"] = problem.detail
        if problem.faults:
            body["errors"] = [
                {"pointer": fault.pointer, "code": fault.code.replace("-", "_"), "detail": fault.message}
                for fault in problem.faults
            ]
        headers = {"WWW-Authenticate": 'sessiontoken realm="store"'} if problem.status == 401 else {}
        return body, PROBLEM_JSON, headers

    def status_of(self, problem: Problem, exchange: Exchange | None) -> int:
        """A fault of the query is 400 where the operation documents no 422."""
        if exchange is None or exchange.operation is None or not isinstance(problem, Invalid):
            return problem.status
        return exchange.operation.status_for(problem.status)

    async def _prove(self, exchange: Exchange, operation: Operation) -> Caller:
        request, pool = exchange.request, exchange.context.services.pool
        schemes = {name for alternative in operation.security for name in alternative}
        if "sessiontoken" in schemes:
            token = request.headers.get("sessiontoken", "")
            session = await resolve_session(pool, token)
            if session is None:
                raise Unauthenticated("Log in and send the session in the header sessiontoken.")
            return session.caller(token_hash(token).hex()[:16])
        if "developerKey" in schemes:
            return await self._prove_app(request, exchange)
        if schemes:
            raise Unauthenticated("This operation is not open yet.")
        return Caller(kind="nobody", id=caller_address(request))

    async def _prove_app(self, request: AnyRequest, exchange: Exchange) -> Caller:
        """A developer key, in its own header or as a bearer token; or the access token of an account."""
        pool = exchange.context.services.pool
        bearer = request.headers.get("authorization", "")
        token = bearer[7:].strip() if bearer[:7].lower() == "bearer " else ""
        for key in (request.headers.get("x-developer-key", ""), token):
            key_id = await resolve_developer_key(pool, key)
            if key_id is not None:
                return Caller(kind="app", id=f"{key_id}/{caller_address(request)}")
        account = await resolve_session(pool, token, kind="account")
        if account is not None:
            # It proves the app only; what the operation does is still proved by its body.
            return Caller(kind="app", id=f"{account.user_id}/{caller_address(request)}")
        raise Unauthenticated(
            "Send a developer key as `Authorization: Bearer …`; `kasuwa key create` makes one."
        )

    async def _spend(self, exchange: Exchange, caller: Caller) -> None:
        per_second = exchange.context.services.settings.storeharmony_requests_per_second
        quota = Quota("storeharmony", requests=3 * per_second, leak_per_second=per_second)
        allowance = await exchange.context.services.limits.take(
            quota,
            f"{caller.kind}/{caller.id}",
            open_on_failure=exchange.operation is not None and exchange.operation.safe,
        )
        exchange.headers |= {
            "RateLimit-Limit": str(allowance.quota),
            "RateLimit-Remaining": str(allowance.remaining),
        }
        if not allowance.accepted:
            wait = max(1, round(allowance.resets_in_seconds))
            raise TooManyRequests(f"Try again in {wait} s.", headers={"Retry-After": str(wait)})
