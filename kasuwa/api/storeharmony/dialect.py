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
    KeyFacts,
    resolve_developer_key,
    resolve_session,
)
from kasuwa.domain.merchants.errors import KeyScopeMissing
from kasuwa.domain.users.errors import AtTill

# Their path names another store of the user's, which they look for among the user's own. What is open to
# everybody looks for the store itself too.
_OF_ANY_STORE = frozenset(
    {"switchStoreLocation", "getStoreLocationDetails", "setDefaultStore", "setStoreFinancialInfo"}
)

_KNOWN_SCHEMES = frozenset({"sessiontoken", "developerKey"})


class StoreHarmony(StoreSessions):
    name: ClassVar[str] = "storeharmony"
    base_paths: ClassVar[tuple[str, ...]] = ("/cloudapi",)
    operations: ClassVar[Mapping[str, Operation]] = contract.OPERATIONS
    checks: ClassVar[Checks] = contract.CHECKS
    credential_headers: ClassVar[tuple[str, ...]] = ("sessiontoken", "customertoken")

    def _check_path(self, exchange: Exchange, caller: Caller) -> None:
        assert exchange.operation is not None
        if exchange.operation.operation_id not in _OF_ANY_STORE and exchange.operation.security:
            super()._check_path(exchange, caller)
        if caller.is_at_till and exchange.operation.path.startswith("/user/") and not exchange.operation.safe:
            # An account is more than a till: its addresses are the way to a new password.
            raise AtTill("Log in with your password for this: a PIN opens the till alone.")
        account = exchange.request.path_params.get("accountid")
        if account is not None and str(caller.user_id) != account.lower():
            raise NotFound("There is no such account for this session.")

    def status_of(self, problem: Problem, exchange: Exchange | None) -> int:
        """A fault of the query is 400 where the operation documents no 422."""
        if exchange is None or exchange.operation is None or not isinstance(problem, Invalid):
            return problem.status
        return exchange.operation.status_for(problem.status)

    async def _prove(self, exchange: Exchange) -> Caller:
        """By the first alternative of the contract that what came suffices for."""
        assert exchange.operation is not None
        if not exchange.operation.security:
            return Caller(kind="nobody", id=caller_address(exchange.request))
        has_session = "sessiontoken" in exchange.request.headers
        alternatives = sorted(
            (one for one in exchange.operation.security if _KNOWN_SCHEMES & set(one)),
            # A session that came is meant; its refusal is what the caller is told.
            key=lambda one: ("sessiontoken" in one) != has_session,
        )
        refusal = Unauthenticated("This operation is not open yet.")
        for place, alternative in enumerate(alternatives):
            try:
                return await self._prove_by(alternative, exchange)
            except Unauthenticated as problem:
                refusal = refusal if place else problem
        raise refusal

    async def _prove_by(self, alternative: tuple[str, ...], exchange: Exchange) -> Caller:
        """By all that the alternative names: with a session and an app the caller is the session's user."""
        callers = []
        if "sessiontoken" in alternative:
            callers.append(await self._prove_user(exchange))
        if "developerKey" in alternative:
            callers.append(await self._prove_app(exchange.request, exchange))
        if callers[-1].merchant_id not in (None, callers[0].merchant_id):
            raise Unauthenticated("The developer key is another merchant's.")
        return callers[0]

    async def _prove_app(self, request: AnyRequest, exchange: Exchange) -> Caller:
        """A developer key, in its own header or as a bearer token; or the access token of an account."""
        pool = exchange.context.services.pool
        bearer = request.headers.get("authorization", "")
        token = bearer[7:].strip() if bearer[:7].lower() == "bearer " else ""
        for key in (request.headers.get("x-developer-key", ""), token):
            app = await resolve_developer_key(pool, key)
            if app is not None:
                self._check_scope(app, exchange)
                return Caller(
                    kind="app",
                    id=f"{app.key_id}/{caller_address(request)}",
                    merchant_id=app.merchant,
                )
        account = await resolve_session(pool, token, kind="account")
        if account is not None:
            # It proves the app only; what the operation does is still proved by its body.
            return Caller(kind="app", id=f"{account.user_id}/{caller_address(request)}")
        raise Unauthenticated(
            "Send a developer key as `Authorization: Bearer …`; `kasuwa key create` makes one."
        )

    def _check_scope(self, app: KeyFacts, exchange: Exchange) -> None:
        assert exchange.operation is not None
        scope = exchange.operation.scope
        if scope not in app.scopes:
            raise KeyScopeMissing(f"Use a developer key with the scope {scope}.")
