"""StoreHarmony: sessions of store users, developer keys of apps, and RFC 9457 problems."""

from collections.abc import Mapping
from typing import ClassVar

from kasuwa.api.store_sessions import StoreSessions
from kasuwa.api.storeharmony import contract
from kasuwa.base.context import Caller
from kasuwa.base.http.api import AnyRequest, Exchange
from kasuwa.base.http.contract import Checks, Operation
from kasuwa.base.http.origin import caller_address
from kasuwa.base.problems import Invalid, NotFound, Problem, Unauthenticated
from kasuwa.domain.merchants.authentication import (
    resolve_developer_key,
    resolve_session,
)

# Their path names another store of the user's, which they look for among the user's own.
_OF_ANY_STORE = frozenset(
    {"switchStoreLocation", "getStoreLocationDetails", "setDefaultStore", "setStoreFinancialInfo"}
)


class StoreHarmony(StoreSessions):
    name: ClassVar[str] = "storeharmony"
    base_paths: ClassVar[tuple[str, ...]] = ("/cloudapi",)
    operations: ClassVar[Mapping[str, Operation]] = contract.OPERATIONS
    checks: ClassVar[Checks] = contract.CHECKS
    credential_headers: ClassVar[tuple[str, ...]] = ("sessiontoken", "customertoken")

    def _check_path(self, exchange: Exchange, caller: Caller) -> None:
        assert exchange.operation is not None
        if exchange.operation.operation_id not in _OF_ANY_STORE:
            super()._check_path(exchange, caller)
        account = exchange.request.path_params.get("accountid")
        if account is not None and str(caller.user_id) != account.lower():
            raise NotFound("There is no such account for this session.")

    def status_of(self, problem: Problem, exchange: Exchange | None) -> int:
        """A fault of the query is 400 where the operation documents no 422."""
        if exchange is None or exchange.operation is None or not isinstance(problem, Invalid):
            return problem.status
        return exchange.operation.status_for(problem.status)

    async def _prove(self, exchange: Exchange) -> Caller:
        assert exchange.operation is not None
        schemes = {name for alternative in exchange.operation.security for name in alternative}
        if "sessiontoken" in schemes:
            return await self._prove_user(exchange)
        if "developerKey" in schemes:
            return await self._prove_app(exchange.request, exchange)
        if schemes:
            raise Unauthenticated("This operation is not open yet.")
        return Caller(kind="nobody", id=caller_address(exchange.request))

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
