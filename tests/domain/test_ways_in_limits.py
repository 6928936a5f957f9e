"""What bounds a way in: one person at a till, so many proofs of apps, a reset that ends what was begun."""

import asyncio
from datetime import timedelta

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.ids import token_hash
from kasuwa.domain.merchants import keys, tokens
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.merchants.authentication import resolve_session
from kasuwa.domain.merchants.errors import TooManyKeys, TooManyTokens
from kasuwa.domain.permissions import Role
from kasuwa.domain.staff.pins import pin_marks
from kasuwa.domain.staff.tills import enter_till
from kasuwa.domain.users.passwords import ask_for_reset, finish_reset
from kasuwa.domain.users.second_factor import get_factor
from tests.accounts import messages_to
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.contract.proofs import begin_factor
from tests.locks import until_somebody_waits
from tests.shop import Shop

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("is_held", [True, False], ids=["held", "the control"])
async def test_of_two_who_enter_a_till_at_once_the_later_one_stays(
    services: Services, shop: Shop, schema_owner: SchemaOwner, is_held: bool
) -> None:
    first, second = [await hire(shop, Role.CASHIER, shop.store_id) for _ in range(2)]
    async with shop.owner.transaction() as db:
        till = await open_session(shop.owner, db, shop.user_id, shop.store_id, kind="till")
        [mark, *_] = pin_marks(shop.owner, second.user_id, shop.store_id, "4829")
        await db.execute(
            "UPDATE membership SET pos_pin_mark = :mark"
            " WHERE merchant_id = current_merchant() AND user_id = :user_id",
            mark=mark,
            user_id=second.user_id,
        )
    facts = await resolve_session(services.pool, till.token, kind="till")
    assert facts is not None
    at_till = Context(services, facts.caller(), request_id="test")
    async with shop.owner.transaction() as db:
        await db.value("SELECT end_sessions_at_till(:till_id)", till_id=till.session_id)
        entered = await open_session(shop.owner, db, first.user_id, shop.store_id, till_id=till.session_id)
        if is_held:
            entering = asyncio.create_task(enter_till(at_till, second.user_id, "4829"))
            await until_somebody_waits(db)
        else:
            # What the second one does where it does not wait for the first.
            await schema_owner.execute("DELETE FROM session WHERE till_id = $1", till.session_id)
    if is_held:
        assert (await entering).user_id == second.user_id
    left = await schema_owner.fetchval(
        "SELECT count(*) FROM session WHERE token_hash = $1", token_hash(entered.token)
    )
    assert left == (0 if is_held else 1)


async def test_rotating_makes_no_more_tokens_than_twice_as_many(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_TOKENS", 2)
    made = [
        await tokens.rotate_token(shop.owner, one.token_id, HOUR)
        for one in await tokens.list_tokens(shop.owner)
    ]
    assert len(made) == 2
    with pytest.raises(TooManyTokens):
        await tokens.rotate_token(shop.owner, made[0].token_id, HOUR)
    # The control: it was their number.
    [ending, _] = [one for one in await tokens.list_tokens(shop.owner) if one.ends_at is not None]
    await tokens.end_token(shop.owner, ending.token_id)
    await tokens.rotate_token(shop.owner, made[0].token_id, HOUR)


async def test_rotating_makes_no_more_keys_than_twice_as_many(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST_KEYS", 1)
    old = await keys.create_key(shop.owner, "till", ["open_session"])
    made = await keys.rotate_key(shop.owner, old.key_id, HOUR)
    with pytest.raises(TooManyKeys):
        await keys.rotate_key(shop.owner, made.key_id, HOUR)
    # The control: it was their number.
    await keys.end_key(shop.owner, old.key_id)
    await keys.rotate_key(shop.owner, made.key_id, HOUR)


@pytest.mark.parametrize("is_on", [False, True], ids=["begun", "the control"])
async def test_a_reset_drops_a_second_factor_that_was_begun_and_no_other(
    services: Services, shop: Shop, is_on: bool
) -> None:
    await begin_factor(shop, shop.user_id, is_on=is_on)
    nobody = Context(services, request_id="test")
    await ask_for_reset(nobody, shop.email, "email", address="198.51.100.7")
    code = (await messages_to(services, shop.email))[-1]["code"]
    await finish_reset(nobody, shop.email, code, "nine brown kettles")
    assert (await get_factor(shop.owner)).status == ("on" if is_on else "off")
