"""Which store a command means."""

from uuid import UUID

import asyncpg

from kasuwa.base.ids import read_id
from kasuwa.domain.merchants.errors import StoreNotFound

_MOST_LISTED = 50


def store_id_of(text: str) -> UUID:
    """The id that was typed. Raises StoreNotFound."""
    store_id = read_id(text)
    if store_id is None:
        raise StoreNotFound(f"{text!r} is no store id: it is a UUID, as `storeId` in the StoreHarmony API.")
    return store_id


async def only_store(owner_url: str) -> UUID:
    """The one store of the one merchant. Raises StoreNotFound with what there is to choose from.

    Asked as the owner of the tables: the application sees the stores of one merchant at a time.
    """
    owner = await asyncpg.connect(owner_url)
    try:
        stores = await owner.fetch(
            """
            SELECT s.store_id, s.name FROM store s
            WHERE s.status <> 'closed' ORDER BY s.merchant_id, s.created_at, s.store_id LIMIT $1
            """,
            _MOST_LISTED + 1,
        )
    finally:
        await owner.close()
    if len(stores) == 1:
        return UUID(int=stores[0]["store_id"].int)
    if not stores:
        raise StoreNotFound("There is no store yet: open an account from an app, or run `make serve`.")
    lines = [f"  {row['store_id']}  {row['name']}" for row in stores[:_MOST_LISTED]]
    if len(stores) > _MOST_LISTED:
        lines.append("  and more")
    raise StoreNotFound("\n".join(["There are several stores; name one of them by --store:", *lines]))
