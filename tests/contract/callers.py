"""Who calls: everybody whom the matrix tries, with their sessions, keys and tokens."""

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context, Services
from kasuwa.base.ids import token_hash
from kasuwa.domain.customers.sessions import open_customer_session
from kasuwa.domain.merchants.actions import create_access_token, open_session
from kasuwa.domain.merchants.authentication import resolve_access_token
from kasuwa.domain.permissions import Role
from tests.contract.cast import Cast, hire
from tests.contract.proofs import prepare
from tests.shop import new_developer_key


class Caller(Struct, frozen=True, kw_only=True):
    """Who calls: a name for the report, the secret for each security scheme, and their own things."""

    name: str
    cast: Cast
    secrets: dict[str, str] = {}
    # Only a store keeps their own merchant's things from them.
    is_colleague: bool = False


def owner(cast: Cast, developer_key: str, name: str = "owner") -> Caller:
    return Caller(
        name=name,
        cast=cast,
        secrets={
            "sessiontoken": cast.shop.session,
            "developerKey": developer_key,
            "authToken": cast.shop.token,
            "accessToken": cast.shop.token,
            "tilltoken": cast.till_token,
        },
    )


def with_token(cast: Cast, token: str, name: str) -> Caller:
    """A caller who has one API token and tries it everywhere."""
    schemes = ("sessiontoken", "developerKey", "authToken", "accessToken", "customerToken", "tilltoken")
    return Caller(name=name, cast=cast, secrets=dict.fromkeys(schemes, token))


async def colleague_elsewhere(victim: Cast, developer_key: str, role: Role) -> Caller:
    """Somebody of the victim's other location alone; for the other APIs its read-only token."""
    shop = victim.shop
    staff = await hire(shop, role, shop.second_store_id)
    operator = Context(shop.owner.services, request_id="test")
    token = await create_access_token(operator, shop.second_store_id, ["read_product"])
    there = msgspec.structs.replace(
        victim,
        store_id=shop.second_store_id,
        store_hash=token.store_hash,
        user_id=staff.user_id,
        email=staff.email,
    )
    return Caller(
        name=f"{role} of another location",
        cast=there,
        secrets={
            "sessiontoken": staff.session,
            "developerKey": developer_key,
            "authToken": token.access_token,
            "accessToken": token.access_token,
        },
        is_colleague=True,
    )


async def whose_time_is_over(victim: Cast) -> Caller:
    """The victim's own owner with sessions that have ended and a token that was revoked."""
    shop = victim.shop
    token = await create_access_token(
        Context(shop.owner.services, request_id="test"), shop.store_id, ["read_product", "write_product"]
    )
    async with shop.owner.transaction() as db:
        session = await open_session(shop.owner, db, shop.user_id, shop.store_id)
        account = await open_session(shop.owner, db, shop.user_id, shop.store_id, kind="account")
        for ended in (session.token, account.token):
            await db.value("SELECT end_session(:hash)", hash=token_hash(ended))
        facts = await resolve_access_token(shop.owner.services.pool, token.access_token)
        assert facts is not None
        await db.value("SELECT revoke_access_token(:token_id)", token_id=facts.token_id)
    return Caller(
        name="an ended session",
        cast=victim,
        secrets={
            "sessiontoken": session.token,
            "developerKey": account.token,
            "authToken": token.access_token,
            "accessToken": token.access_token,
        },
    )


async def customer_of(victim: Cast, other: Cast) -> Caller:
    """A customer of the victim's shop, who shows the token of that session everywhere."""
    shop = victim.shop.owner
    async with shop.transaction() as db:
        session = await open_customer_session(shop, db, victim.customer_id)
    return with_token(other, session.token, "a customer of the shop")


async def strangers(victim: Cast, other: Cast, developer_key: str) -> list[Caller]:
    """Everybody who has no business with the victim's things."""
    return [
        Caller(name="nobody", cast=other),
        owner(other, developer_key, "the other merchant's owner"),
        # The one may hardly anything, the other everything, there.
        await colleague_elsewhere(victim, developer_key, Role.CASHIER),
        await colleague_elsewhere(victim, developer_key, Role.OWNER),
        with_token(other, other.shop.read_token, "a read-only token"),
        await whose_time_is_over(victim),
        await customer_of(victim, other),
    ]


async def right_caller(victim: Cast, services: Services, operation: tuple[str, str] | None = None) -> Caller:
    """The shop's owner, for whom all is as the operation needs it."""
    if operation is not None:
        await prepare(victim, operation)
    return owner(victim, await new_developer_key(services), "the right caller")
