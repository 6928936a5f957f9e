"""The life of a session: how it is kept, and what ends it."""

import hashlib
from uuid import UUID

import pytest

from kasuwa.base.context import Services
from kasuwa.base.ids import new_token, token_hash
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.shop import Shop


async def status(web: Web, store_id: str | UUID, token: str) -> int:
    answer = await web.get(f"/cloudapi/app/{store_id}/stock", headers={"sessiontoken": token})
    return answer.status_code


async def test_a_token_has_256_bits_and_only_its_hash_is_kept(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    headers = {"sessiontoken": shop.session, "idempotency-key": "tokens-at-rest"}
    path = f"/cloudapi/user/{shop.user_id}/createNewLocation"
    store = (await web.post(path, headers=headers, json={})).json()
    for token in (store["sessionId"], store["accessToken"], shop.session):
        assert len(token) == 43  # base64 of 32 bytes
        assert await kept_as(schema_owner, hashlib.sha256(token.encode()).digest())
        assert not await found_anywhere(schema_owner, token)
    # The control: what is kept in the open is found.
    assert await found_anywhere(schema_owner, store["sitename"])


async def kept_as(schema_owner: SchemaOwner, digest: bytes) -> bool:
    found: bool = await schema_owner.fetchval(
        "SELECT EXISTS (SELECT FROM session WHERE token_hash = $1)", digest
    )
    return found


async def found_anywhere(schema_owner: SchemaOwner, text: str) -> bool:
    """Whether any column of any table holds the text, as text or as bytes."""
    tables = await schema_owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for row in tables:
        hit = await schema_owner.fetchval(
            f"""
            SELECT EXISTS (SELECT FROM "{row["tablename"]}" t
                           WHERE strpos(t::text, $1) > 0 OR strpos(t::text, $2) > 0)
            """,
            text,
            text.encode().hex(),
        )
        if hit:
            return True
    return False


async def test_a_token_that_the_caller_chose_is_refused_and_not_kept(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    chosen = new_token()
    assert await status(web, shop.store_id, chosen) == 401
    path = f"/cloudapi/user/{shop.user_id}/switchStore/{shop.second_store_id}"
    refused = await web.get(path, headers={"sessiontoken": chosen})
    assert refused.status_code == 401
    assert not await kept_as(schema_owner, token_hash(chosen))
    assert await kept_as(schema_owner, token_hash(shop.session))


@pytest.mark.parametrize("change", ["last_seen_at = last_seen_at - idle_after", "expires_at = now()"])
async def test_a_session_ends_when_it_lay_idle_or_grew_old(
    web: Web, shop: Shop, schema_owner: SchemaOwner, change: str
) -> None:
    assert await status(web, shop.store_id, shop.session) == 200
    digest = token_hash(shop.session)
    nearly = "last_seen_at = last_seen_at - idle_after + interval '1 hour'"
    await schema_owner.execute(f"UPDATE session SET {nearly} WHERE token_hash = $1", digest)
    # Still an hour left, and this use gives it the whole time again.
    assert await status(web, shop.store_id, shop.session) == 200
    await schema_owner.execute(f"UPDATE session SET {change} WHERE token_hash = $1", digest)
    assert await status(web, shop.store_id, shop.session) == 401


async def test_sessions_last_as_long_as_the_settings_say(
    services: Services, shop: Shop, schema_owner: SchemaOwner
) -> None:
    row = await schema_owner.fetchrow(
        "SELECT idle_after, expires_at - created_at AS whole FROM session WHERE token_hash = $1",
        token_hash(shop.session),
    )
    assert row is not None
    settings = services.settings
    assert (row["idle_after"].days, row["whole"].days) == (
        settings.session_idle_days,
        settings.session_absolute_days,
    )


@pytest.mark.parametrize("table", ["user_account", "merchant"])
async def test_a_suspended_user_or_merchant_is_out_at_once(
    web: Web, shop: Shop, schema_owner: SchemaOwner, table: str
) -> None:
    assert await status(web, shop.store_id, shop.session) == 200
    await schema_owner.execute(
        f"UPDATE {table} SET status = 'suspended' WHERE merchant_id = $1", shop.merchant_id
    )
    assert await status(web, shop.store_id, shop.session) == 401
