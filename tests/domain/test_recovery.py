"""An owner who has lost everything is let in by the operator, and whoever had the account is put out."""

from uuid import uuid4

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.passwords import verify_password
from kasuwa.domain.merchants.authentication import resolve_session
from kasuwa.domain.merchants.errors import LoginNameTaken
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.users.errors import UserNotFound
from kasuwa.domain.users.passwords import ask_for_reset
from kasuwa.domain.users.queries import find_credentials
from kasuwa.domain.users.recovery import AccountNotOpen, recover_account
from tests.accounts import messages_to
from tests.conftest import SchemaOwner
from tests.shop import PASSWORD, Shop


def operator(services: Services) -> Context:
    return Context(services, request_id="operator")


async def test_the_new_password_opens_and_all_that_was_open_is_closed(shop: Shop, services: Services) -> None:
    assert await resolve_session(services.pool, shop.session) is not None
    recovered = await recover_account(operator(services), shop.user_id)
    assert await resolve_session(services.pool, shop.session) is None
    credentials = await find_credentials(services.pool, shop.email)
    assert credentials is not None
    assert await verify_password(credentials.password_hash, recovered.password)
    assert not await verify_password(credentials.password_hash, PASSWORD)
    [told] = await messages_to(services, shop.email)
    assert told["template"] == "account-recovered"
    assert recovered.password not in str(told)


async def test_the_trail_says_who_did_it_but_not_the_password(
    shop: Shop, services: Services, schema_owner: SchemaOwner
) -> None:
    recovered = await recover_account(operator(services), shop.user_id)
    rows = await schema_owner.fetch(
        "SELECT action, actor_kind, a::text AS row FROM audit_entry a WHERE merchant_id = $1",
        shop.merchant_id,
    )
    assert ("user.recover", "operator") in {(row["action"], row["actor_kind"]) for row in rows}
    assert not any(recovered.password in row["row"] for row in rows)


async def test_nobody_is_recovered_who_is_not_there_or_was_suspended(
    shop: Shop, services: Services, schema_owner: SchemaOwner
) -> None:
    with pytest.raises(UserNotFound):
        await recover_account(operator(services), uuid4())
    await schema_owner.execute(
        "UPDATE user_account SET status = 'suspended' WHERE user_id = $1", shop.user_id
    )
    with pytest.raises(AccountNotOpen):
        await recover_account(operator(services), shop.user_id)
    credentials = await find_credentials(services.pool, shop.email)
    assert credentials is not None
    assert await verify_password(credentials.password_hash, PASSWORD)


async def test_other_addresses_take_the_place_of_the_old_by_which_somebody_could_come_back(
    shop: Shop, services: Services
) -> None:
    new = f"ada.{uuid4().hex}@home.example"
    recovered = await recover_account(operator(services), shop.user_id, email=new)
    assert recovered.username == new
    assert await find_credentials(services.pool, shop.email) is None
    credentials = await find_credentials(services.pool, new)
    assert credentials is not None
    assert await verify_password(credentials.password_hash, recovered.password)
    asked: tuple[tuple[str, Channel], ...] = (
        (shop.email, "email"),
        (shop.mobile, "mobile"),
        (new, "mobile"),
    )
    for name, channel in asked:
        await ask_for_reset(operator(services), name, channel, address="198.51.100.7")
    assert [one["template"] for one in await messages_to(services, shop.email, shop.mobile)] == [
        "account-recovered",
        "account-recovered",
    ]
    assert [one["template"] for one in await messages_to(services, new)] == ["reset-password"]


async def test_the_addresses_stay_without_new_ones_and_another_accounts_are_not_taken(
    shop: Shop, other_shop: Shop, services: Services
) -> None:
    with pytest.raises(LoginNameTaken):
        await recover_account(operator(services), shop.user_id, email=other_shop.email)
    credentials = await find_credentials(services.pool, shop.email)
    assert credentials is not None
    assert await verify_password(credentials.password_hash, PASSWORD)
    await recover_account(operator(services), shop.user_id)
    await ask_for_reset(operator(services), shop.email, "email", address="198.51.100.7")
    told = [one["template"] for one in await messages_to(services, shop.email)]
    assert told == ["account-recovered", "reset-password"]
