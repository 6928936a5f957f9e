"""A shop for a test: a merchant of its own, with an owner at the till and tokens of every API."""

from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Caller, Context, Services, StoreId
from kasuwa.base.ids import new_id
from kasuwa.domain.merchants.actions import (
    create_access_token,
    found_merchant,
    join_store,
    open_session,
    open_store,
)
from kasuwa.domain.merchants.keys import create_key
from kasuwa.domain.merchants.records import NewOwner, NewStore
from kasuwa.domain.merchants.switching import operating_for
from kasuwa.domain.permissions import KEY_SCOPES, PERMISSIONS_OF_ROLE, Role
from tests.mobiles import new_mobile

# Argon2 of "correct horse battery staple", made once: hashing is slow on purpose.
PASSWORD = "correct horse battery staple"
PASSWORD_HASH = (
    "$argon2id$v=19$m=19456,t=3,p=1$u3zK2FGT4n1l89Sa0mG21Q$4OUmbAs6jbIBHhTVI1E594iHfUjVn9ybHvOQg/f0xBw"
)


class Shop(Struct, frozen=True, kw_only=True):
    """What a test needs of its shop. `owner` acts as the owner at the first store."""

    owner: Context
    merchant_id: UUID
    store_id: UUID
    second_store_id: UUID
    user_id: UUID
    email: str
    mobile: str
    session: str
    store_hash: str
    token: str
    read_token: str

    def cashier(self) -> Context:
        """The same store for somebody who may only sell."""
        caller = Caller(
            kind="user",
            id="cashier",
            merchant_id=self.owner.caller.merchant_id,
            store_id=StoreId(self.store_id),
            role=Role.CASHIER,
            permissions=PERMISSIONS_OF_ROLE[Role.CASHIER],
        )
        return self.owner.acting_as(caller)


async def new_shop(services: Services, *, name: str = "Ada's Corner", currency: str = "NGN") -> Shop:
    """A new merchant with two stores, an owner who is logged in, and API tokens."""
    mark = new_id().hex
    email = f"ada.{mark}@shop.example"
    store = NewStore(name=name, country_code="NG", country="Nigeria", currency=currency)
    owner = NewOwner(
        username=email,
        email=email,
        mobile=new_mobile(),
        first_name="Ada",
        last_name="Obi",
        password_hash=PASSWORD_HASH,
        is_verified=True,
    )
    context, founded = await found_merchant(Context(services, request_id="test"), store, owner)
    async with context.transaction() as db:
        second = await open_store(context, db, store)
        await join_store(db, founded.user_id, second.store_id, Role.OWNER)
        session = await open_session(context, db, founded.user_id, founded.store_id)
    caller = context.caller
    at_store = Caller(
        kind=caller.kind,
        id=caller.id,
        merchant_id=caller.merchant_id,
        store_id=StoreId(founded.store_id),
        user_id=caller.user_id,
        role=caller.role,
        permissions=caller.permissions,
    )
    operator = Context(services, request_id="test")
    token = await create_access_token(operator, founded.store_id, ["read_product", "write_product"])
    read_token = await create_access_token(operator, founded.store_id, ["read_product"])
    return Shop(
        owner=context.acting_as(at_store),
        merchant_id=founded.merchant_id,
        store_id=founded.store_id,
        second_store_id=second.store_id,
        user_id=founded.user_id,
        email=email,
        mobile=owner.mobile,
        session=session.token,
        store_hash=token.store_hash,
        token=token.access_token,
        read_token=read_token.access_token,
    )


async def new_developer_key(services: Services, *scopes: str) -> str:
    """One of the installation; without scopes for everything."""
    operator = operating_for(Context(services, request_id="test"), None)
    return (await create_key(operator, "test", scopes or tuple(KEY_SCOPES))).key
