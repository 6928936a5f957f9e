"""Manage: what a merchant writes and reads that no foreign API covers, in StoreHarmony's manner."""

from collections.abc import Mapping
from typing import ClassVar

from kasuwa.api.manage import contract
from kasuwa.api.store_sessions import StoreSessions
from kasuwa.base.context import Caller, MerchantId, StoreId
from kasuwa.base.http.api import Exchange
from kasuwa.base.http.contract import Checks, Operation
from kasuwa.base.problems import Unauthenticated
from kasuwa.domain.merchants.authentication import resolve_session


class Manage(StoreSessions):
    name: ClassVar[str] = "manage"
    base_paths: ClassVar[tuple[str, ...]] = ("/manage",)
    operations: ClassVar[Mapping[str, Operation]] = contract.OPERATIONS
    checks: ClassVar[Checks] = contract.CHECKS
    credential_headers: ClassVar[tuple[str, ...]] = ("sessiontoken", "tilltoken")

    async def _prove(self, exchange: Exchange) -> Caller:
        assert exchange.operation is not None
        if ("tilltoken",) not in exchange.operation.security:
            return await self._prove_user(exchange)
        token = exchange.request.headers.get("tilltoken", "")
        till = await resolve_session(exchange.context.services.pool, token, kind="till")
        if till is None:
            raise Unauthenticated("Open a till and send its token in the header tilltoken.")
        # Nobody's: whoever opened the till is not at it.
        return Caller(
            kind="till",
            id=str(till.session_id),
            merchant_id=MerchantId(till.merchant_id),
            store_id=StoreId(till.store_id),
            session_id=till.session_id,
        )
