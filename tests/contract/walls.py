"""A build of the application without its own checks: only row-level security is left."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from kasuwa.api.bigcommerce.dialect import BigCommerce
from kasuwa.api.shoplazza import dialect as shoplazza
from kasuwa.api.store_sessions import StoreSessions
from kasuwa.app import APIS
from kasuwa.base import db
from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange
from kasuwa.base.problems import Unauthenticated
from kasuwa.domain.merchants.authentication import TokenFacts, resolve_access_token
from kasuwa.domain.permissions import PERMISSIONS_OF_SCOPE
from tests.base.database import Connection
from tests.client import Web

_OUR_LOCATION = re.compile(r"\b(WHERE|AND)\s+((?:\w+\.)?store_id\s*=\s*(?::store_id\b|ANY \(:store_ids\)))")
_OUR_END = re.compile(r"\bsource_id = :store_id\b")
_OUR_CONDITION = re.compile(r"(?:\b\w+\.)?merchant_id\s*=\s*current_merchant\(\)")


def take_down_our_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission, no comparison of the path with the session, no merchant in any condition of our SQL."""
    for name in {api.dialect.name for api in APIS if api.dialect.has_contract}:
        assert name in _OPENED, f"{name}: say in walls.py how to switch the checks of its dialect off"
        _OPENED[name](monkeypatch)
    numbered = db.numbered
    monkeypatch.setattr(db, "numbered", lambda sql: numbered(_OUR_CONDITION.sub("true", sql)))
    monkeypatch.setattr(Context, "require", lambda self, permission: None)
    monkeypatch.setattr(Context, "may", lambda self, permission: True)


def take_down_location_checks(monkeypatch: pytest.MonkeyPatch, web: Web) -> None:
    """While a request runs: no comparison of path and session, and no store in a condition of our SQL.

    What a test makes beforehand is made behind the walls.
    """
    _open_store_sessions(monkeypatch)
    numbered, request = db.numbered, web.unchecked.request
    running: list[object] = []

    def opened(sql: str) -> db.Numbered:
        if running:
            sql = _OUR_END.sub(r"(\g<0> OR true)", _OUR_LOCATION.sub(r"\1 (\2 OR true)", sql))
        return numbered(sql)

    async def ask(**options: Any) -> httpx.Response:
        running.append(options)
        try:
            return await request(**options)
        finally:
            running.pop()

    monkeypatch.setattr(db, "numbered", opened)
    monkeypatch.setattr(web.unchecked, "request", ask)


async def open_functions(superuser: Connection) -> None:
    """The lists of proofs are everybody's, in a database of the test's own."""
    for name in ("tokens_of", "keys_of"):
        text: str = await superuser.fetchval("SELECT pg_get_functiondef($1::regproc)", name)
        opened = re.sub(r"WHERE .* at_store\n", "WHERE true\n", text, flags=re.DOTALL)
        assert opened != text, name
        await superuser.execute(opened)


def _open_store_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    async def admit(self: StoreSessions, exchange: Exchange) -> None:
        exchange.context = exchange.context.acting_as(await self._prove(exchange))

    monkeypatch.setattr(StoreSessions, "admit", admit)


def _open_bigcommerce(monkeypatch: pytest.MonkeyPatch) -> None:
    async def prove(self: BigCommerce, exchange: Exchange) -> TokenFacts:
        token = exchange.request.headers.get("x-auth-token", "")
        facts = await resolve_access_token(exchange.context.services.pool, token)
        if facts is None:
            raise Unauthenticated()
        return facts

    monkeypatch.setattr(BigCommerce, "_prove", prove)


def _open_shoplazza(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shoplazza, "_scopes_of", lambda token: set(PERMISSIONS_OF_SCOPE))


_OPENED: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "storeharmony": _open_store_sessions,
    "manage": _open_store_sessions,
    "bigcommerce": _open_bigcommerce,
    "shoplazza": _open_shoplazza,
}
