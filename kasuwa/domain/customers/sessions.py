"""Sessions of customers: 256 random bits, kept as a hash, and never a session of the shop's people."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Caller, Context, MerchantId, StoreId
from kasuwa.base.db import Database, Pool
from kasuwa.base.ids import new_token, token_hash

# Longer than any token of ours; what is longer is not worth a hash.
_LONGEST_TOKEN = 256


class CustomerSession(Struct, frozen=True):
    """A session as the database knows it: whose, and at which store it began."""

    merchant_id: UUID
    customer_id: UUID
    store_id: UUID
    expires_at: datetime

    def caller(self, token_digest: str) -> Caller:
        """A customer has no permissions: what is open to them is what their own operations do."""
        return Caller(
            kind="customer",
            id=f"{self.customer_id}/{token_digest}",
            merchant_id=MerchantId(UUID(int=self.merchant_id.int)),
            store_id=StoreId(UUID(int=self.store_id.int)),
        )


class OpenedCustomerSession(Struct, frozen=True):
    """A new session; the token is shown this once."""

    token: str
    expires_at: datetime


async def open_customer_session(context: Context, db: Database, customer_id: UUID) -> OpenedCustomerSession:
    """A session of the customer at the context's store."""
    settings = context.services.settings
    token = new_token()
    expires_at: datetime = await db.value(
        "SELECT open_customer_session(:token_hash, :customer_id, :store_id, :idle, :absolute)",
        token_hash=token_hash(token),
        customer_id=customer_id,
        store_id=context.store_id,
        idle=timedelta(days=settings.session_idle_days),
        absolute=timedelta(days=settings.session_absolute_days),
    )
    return OpenedCustomerSession(token, expires_at)


async def resolve_customer_session(pool: Pool, token: str) -> CustomerSession | None:
    """The session behind a `customertoken`; None as soon as customer, store or merchant is not active."""
    if not token or len(token) > _LONGEST_TOKEN:
        return None
    async with pool.autocommit() as db:
        return await db.find(
            """
            SELECT merchant_id, customer_id, store_id, expires_at
            FROM resolve_customer_session(:token_hash)
            """,
            into=CustomerSession,
            token_hash=token_hash(token),
        )


async def end_customer_sessions(db: Database, customer_id: UUID) -> int:
    """How many there were. They end on every worker with the commit."""
    ended: int = await db.value("SELECT end_customer_sessions(:customer_id)", customer_id=customer_id)
    return ended
