"""Questions about stores."""

from uuid import UUID

from kasuwa.base.context import Context
from kasuwa.base.db import Database


async def currency_of(context: Context) -> str:
    """The currency of the caller's store."""
    async with context.reading() as db:
        currency: str = await db.value(
            "SELECT currency FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id",
            store_id=context.store_id,
        )
    return currency


async def read_store_ids(db: Database) -> list[UUID]:
    """The merchant's stores, the first opened first."""
    found = await db.values(
        "SELECT store_id FROM store WHERE merchant_id = current_merchant() ORDER BY created_at, store_id"
    )
    return [UUID(int=store_id.int) for store_id in found]
