"""What was asked with an old password or an ended session opens nothing after those have ended."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kasuwa.base.context import Context, Services
from kasuwa.base.ids import new_id
from kasuwa.base.passwords import hash_password
from kasuwa.base.problems import Problem, TooManyRequests, Unauthenticated
from kasuwa.base.tries import Tries, forgive_tries, take_tries
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.users import login
from kasuwa.domain.users.addresses import NewAddresses, change_addresses
from kasuwa.domain.users.checks import send_check, try_check
from kasuwa.domain.users.errors import WrongCredentials
from kasuwa.domain.users.login import log_in, log_in_at
from kasuwa.domain.users.passwords import set_password
from kasuwa.domain.users.queries import get_user
from tests.accounts import messages_to
from tests.conftest import SchemaOwner
from tests.locks import until_somebody_waits
from tests.shop import PASSWORD, Shop


async def sessions_of(owner: SchemaOwner, shop: Shop) -> int:
    found: int = await owner.fetchval("SELECT count(*) FROM session WHERE user_id = $1", shop.user_id)
    return found


def at_all(context: Context, name: str) -> Any:
    return log_in(context, name, PASSWORD, address="198.51.100.7")


def at_one(context: Context, name: str) -> Any:
    return log_in_at(context, name, PASSWORD, None, wants_default=True, address="198.51.100.7")


@pytest.mark.parametrize("enter", [at_all, at_one])
@pytest.mark.parametrize("is_changed", [True, False], ids=["changed", "the control"])
async def test_a_log_in_that_a_new_password_overtakes_opens_nothing(
    services: Services,
    shop: Shop,
    schema_owner: SchemaOwner,
    monkeypatch: pytest.MonkeyPatch,
    enter: Callable[[Context, str], Any],
    is_changed: bool,
) -> None:

    async def overtaken(*right: Any) -> None:
        # The password was right; before a session is opened it is another one.
        await forgive_tries(*right)
        if is_changed:
            password_hash = await hash_password("nine brown kettles")
            async with shop.owner.transaction() as db:
                await set_password(shop.owner, db, shop.user_id, password_hash)

    monkeypatch.setattr(login, "forgive_tries", overtaken)
    asked = enter(Context(services, request_id="test"), shop.email)
    if is_changed:
        with pytest.raises(WrongCredentials):
            await asked
    else:
        await asked
    assert (await sessions_of(schema_owner, shop) > 0) != is_changed


@pytest.mark.parametrize("is_ended", [True, False], ids=["ended", "the control"])
async def test_a_session_that_has_ended_opens_no_other(
    services: Services, shop: Shop, schema_owner: SchemaOwner, is_ended: bool
) -> None:
    session_id = await schema_owner.fetchval(
        "SELECT session_id FROM session WHERE user_id = $1 LIMIT 1", shop.user_id
    )
    asking = shop.owner.acting_as(replace(shop.owner.caller, session_id=session_id))
    if is_ended:
        async with shop.owner.transaction() as db:
            await db.value("SELECT end_sessions_of(:user_id)", user_id=shop.user_id)
    before = await sessions_of(schema_owner, shop)

    async def switch() -> None:
        async with asking.transaction() as db:
            await open_session(asking, db, shop.user_id, shop.second_store_id)

    if is_ended:
        with pytest.raises(Unauthenticated):
            await switch()
    else:
        await switch()
    assert await sessions_of(schema_owner, shop) == before + (not is_ended)


async def test_a_check_proves_the_address_it_was_sent_to_and_no_later_one(
    services: Services, shop: Shop
) -> None:
    """The account gets another address while the code of the first is looked at."""
    victim = f"victim.{new_id().hex}@shop.example"
    check = await send_check(shop.owner, "email", shop.email, caller="198.51.100.7")
    assert check.reference is not None
    code = (await messages_to(services, shop.email))[-1]["code"]
    async with shop.owner.transaction() as db:
        await change_addresses(shop.owner, db, shop.user_id, NewAddresses(email=victim))
        fresh = Context(services, shop.owner.caller, request_id="test")
        trying = asyncio.create_task(try_check(fresh, "email", shop.email, check.reference, code))
        await until_somebody_waits(db)
    assert (await trying).is_verified
    async with shop.owner.reading() as db:
        user = await get_user(db, shop.user_id)
    assert (user.email, user.is_verified("email")) == (victim, False)


async def test_what_one_did_at_an_address_is_forgotten_for_the_others(
    services: Services, schema_owner: SchemaOwner
) -> None:
    shared = Tries("test", new_id().hex, 5, forgotten_a_minute=1)
    alone = Tries("test", new_id().hex, 5)
    for tries in (shared, alone):
        await schema_owner.execute(
            "INSERT INTO rate_bucket (bucket, level, since) VALUES ($1, 40, now() - interval '36 minutes')",
            tries.bucket,
        )
    await take_tries(services.pool, [shared])
    left = await schema_owner.fetchval("SELECT level FROM rate_bucket WHERE bucket = $1", shared.bucket)
    assert left == pytest.approx(5, abs=0.1)
    # It is counted on, and the next one waits.
    with pytest.raises(TooManyRequests):
        for _ in range(3):
            await take_tries(services.pool, [shared])
    # The control: a name's own tries are kept, whatever the wait.
    await take_tries(services.pool, [alone])
    with pytest.raises(Problem):
        await take_tries(services.pool, [alone])
