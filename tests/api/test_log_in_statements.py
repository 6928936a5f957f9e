"""How often a log-in asks the database: around its hash, that is what it costs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from kasuwa.base.db import Pool
from kasuwa.domain.merchants.actions import join_store, open_store
from kasuwa.domain.merchants.records import NewStore
from kasuwa.domain.permissions import Role
from tests.accounts import ACCESS, messages_to, registration
from tests.client import Web
from tests.shop import PASSWORD, Shop


async def asked_by(web: Web, ask: Callable[[], Awaitable[httpx.Response]]) -> list[str]:
    """The statements of the second call: the first one finds caches empty."""
    seen: list[str] = []

    def note(record: Any) -> None:
        seen.append(record.query)

    async def acquire(pool: Pool) -> Any:
        connection = await taken(pool)
        connection.add_query_logger(note)
        return connection

    assert (await ask()).status_code == 200
    taken = Pool.acquire
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pool, "acquire", acquire)
        assert (await ask()).status_code == 200
    # The driver tells of a statement in the loop's next turn.
    await asyncio.sleep(0)
    # A copy: the connections that are kept go on telling.
    return list(seen)


@pytest.mark.parametrize("path", ["", "login"])
async def test_a_log_in_asks_no_more_often_for_more_stores(
    web: Web, shop: Shop, app_headers: dict[str, str], path: str
) -> None:
    names = ("userToken", "passToken") if path else ("username", "password")
    body = dict(zip(names, (shop.email, PASSWORD), strict=True))

    async def log_in() -> httpx.Response:
        return await web.post(f"{ACCESS}{path}", headers=app_headers, json=body)

    with_two = await asked_by(web, log_in)
    async with shop.owner.transaction() as db:
        for _ in range(3):
            new = NewStore(name="Far", country_code="NG", country="Nigeria", currency="NGN")
            await join_store(db, shop.user_id, (await open_store(shop.owner, db, new)).store_id, Role.OWNER)
    assert len(await asked_by(web, log_in)) == len(with_two) == 11, "\n".join(with_two)


async def test_a_customers_log_in_asks_nine_times(web: Web, shop: Shop) -> None:
    customers, session = f"/cloudapi/crm/{shop.store_id}/customers/", {"sessiontoken": shop.session}
    email = registration()["email"]
    body = {"email": email, "firstname": "Ada", "lastname": "Obi", "password": PASSWORD}
    await web.post(f"{customers}register", headers=session, json=body)
    code = (await messages_to(web.services, email))[-1]["code"]
    await web.post(f"{customers}verifyemail", headers=session, json={"email": email, "code": code})

    async def log_in() -> httpx.Response:
        body = {"username": email, "password": PASSWORD}
        return await web.post(f"{customers}login", headers=session, json=body)

    asked = await asked_by(web, log_in)
    assert len(asked) == 9, "\n".join(asked)
