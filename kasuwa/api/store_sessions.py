"""What the APIs of a store's own people have in common: their sessions, quotas and RFC 9457 problems."""

from collections.abc import Mapping
from typing import Any, ClassVar

from kasuwa.base.context import Caller
from kasuwa.base.http.api import Dialect, Exchange
from kasuwa.base.http.identity import current_request_id
from kasuwa.base.limits import Quota
from kasuwa.base.problems import NotFound, Problem, TooManyRequests, Unauthenticated
from kasuwa.domain.merchants.authentication import resolve_session

PROBLEM_JSON = "application/problem+json"


class StoreSessions(Dialect):
    """A dialect whose callers send a session of a store in the header `sessiontoken`."""

    credential_headers: ClassVar[tuple[str, ...]] = ("sessiontoken",)

    async def admit(self, exchange: Exchange) -> None:
        caller = await self._prove(exchange)
        exchange.context = exchange.context.acting_as(caller)
        await self._spend(exchange, caller)
        self._check_path(exchange, caller)
        assert exchange.operation is not None
        if exchange.operation.permission is not None:
            exchange.context.require(exchange.operation.permission)

    async def _prove(self, exchange: Exchange) -> Caller:
        return await self._prove_user(exchange)

    async def _prove_user(self, exchange: Exchange) -> Caller:
        token = exchange.request.headers.get("sessiontoken", "")
        session = await resolve_session(exchange.context.services.pool, token)
        if session is None:
            raise Unauthenticated("Log in and send the session in the header sessiontoken.")
        return session.caller()

    def _check_path(self, exchange: Exchange, caller: Caller) -> None:
        """The path only says which store is meant; the session says which one it is."""
        store = exchange.request.path_params.get("storeid")
        if store is not None and str(caller.store_id) != store.lower():
            raise NotFound("There is no such store for this session.")

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

    async def _spend(self, exchange: Exchange, caller: Caller) -> None:
        per_second = exchange.context.services.settings.storeharmony_requests_per_second
        # One quota for both APIs: it belongs to the session.
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
