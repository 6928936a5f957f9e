"""A change of store replaces the account's access token as it replaces the session."""

import pytest

from kasuwa.base.context import Context
from kasuwa.domain.merchants.authentication import resolve_session
from kasuwa.domain.users.login import log_in_at
from tests.client import Web
from tests.shop import PASSWORD, Shop


async def works(web: Web, token: str) -> bool:
    return await resolve_session(web.services.pool, token, kind="account") is not None


@pytest.mark.parametrize("is_used", [True, False], ids=["used", "the control"])
async def test_the_old_account_token_ends_when_the_new_one_is_used(
    web: Web, shop: Shop, is_used: bool
) -> None:
    nobody = Context(web.services, request_id="test")
    wanted = {"wants_default": True, "address": "198.51.100.7"}
    entered = await log_in_at(nobody, shop.email, PASSWORD, None, **wanted)  # type: ignore[arg-type]
    other = await log_in_at(nobody, shop.email, PASSWORD, None, **wanted)  # type: ignore[arg-type]
    account, session = f"/cloudapi/user/{shop.user_id}", entered.opened.token
    tokens = []
    # The answers of the first switch are lost, and so is the account's of the second one.
    for store_id in (shop.second_store_id, shop.second_store_id, shop.store_id):
        answer = await web.get(f"{account}/switchStore/{store_id}", headers={"sessiontoken": session})
        assert answer.status_code == 200, answer.text
        tokens.append(answer.json()["accessToken"])
        if len(tokens) == 2:
            session = answer.json()["sessionId"]
    if is_used:
        assert await works(web, tokens[-1])
        # What it stood for is gone, and so are the answers that were lost.
        assert not any([await works(web, token) for token in (entered.account_token, *tokens[:2])])
    else:
        assert await works(web, entered.account_token)
    # Another log-in's is none of this one's.
    assert await works(web, other.account_token)
