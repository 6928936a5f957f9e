"""Who has the password and guesses the second factor does not keep the owner out."""

import pytest

from kasuwa.base.context import Context, Sender, Services
from kasuwa.base.problems import TooManyRequests
from kasuwa.domain.users import second_factor
from kasuwa.domain.users.errors import WrongSecondFactor
from kasuwa.domain.users.login import log_in
from kasuwa.domain.users.records import LoggedIn
from kasuwa.domain.users.second_factor import confirm, enrol, forgive_everywhere
from tests.conftest import SchemaOwner
from tests.second_factors import code_now
from tests.shop import PASSWORD, Shop

HOME = "203.0.113.9"


def asking_from(services: Services, address: str) -> Context:
    return Context(services, request_id="test", find_sender=lambda: Sender(address))


async def entering(services: Services, shop: Shop, address: str, code: str) -> LoggedIn:
    context = asking_from(services, address)
    return await log_in(context, shop.email, PASSWORD, second_factor=code, address=address)


async def guessed_everywhere(services: Services, shop: Shop) -> int:
    """How many wrong codes were heard of many addresses' guesses."""
    heard = 0
    for number in range(30):
        try:
            await entering(services, shop, f"198.51.100.{number}", "000000")
        except WrongSecondFactor:
            heard += 1
        except TooManyRequests:
            pass
    return heard


@pytest.fixture
async def key(services: Services, shop: Shop, schema_owner: SchemaOwner) -> str:
    """The secret of the shop's owner, who is logged in at home."""
    secret = (await enrol(shop.owner, PASSWORD)).secret
    await confirm(shop.owner, code_now(secret, steps=-1))
    await schema_owner.execute("UPDATE session SET address = $2 WHERE user_id = $1", shop.user_id, HOME)
    return secret


async def test_guesses_from_everywhere_stop_and_the_owner_comes_in_where_they_are_known(
    services: Services, shop: Shop, key: str
) -> None:
    # As many as are free, and at most one or two more while the first waits are over.
    assert 20 <= await guessed_everywhere(services, shop) < 25
    with pytest.raises(TooManyRequests):
        await entering(services, shop, "192.0.2.4", code_now(key))
    assert (await entering(services, shop, HOME, code_now(key))).stores


async def test_without_the_look_at_sessions_the_owner_waits(
    services: Services, shop: Shop, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""

    async def nowhere(*asked: object) -> bool:
        return False

    monkeypatch.setattr(second_factor, "_is_logged_in_at", nowhere)
    await guessed_everywhere(services, shop)
    with pytest.raises(TooManyRequests):
        await entering(services, shop, HOME, code_now(key))


async def test_guesses_at_one_address_wait_there_alone(services: Services, shop: Shop, key: str) -> None:
    with pytest.raises(TooManyRequests):
        for _ in range(12):
            with pytest.raises(WrongSecondFactor):
                await entering(services, shop, "198.51.100.1", "000000")
    assert (await entering(services, shop, "192.0.2.4", code_now(key))).stores


async def test_a_reset_forgets_what_was_tried_everywhere(services: Services, shop: Shop, key: str) -> None:
    await guessed_everywhere(services, shop)
    await forgive_everywhere(shop.owner, shop.user_id)
    assert (await entering(services, shop, "192.0.2.4", code_now(key))).stores
