"""Questions about stores."""

from kasuwa.base.context import Context


async def currency_of(context: Context) -> str:
    """The currency of the caller's store."""
    async with context.reading() as db:
        currency: str = await db.value(
            "SELECT currency FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id",
            store_id=context.store_id,
        )
    return currency
