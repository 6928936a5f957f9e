"""Questions about stock. They read, and never change."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from kasuwa.base.coalescing import Coalesced
from kasuwa.base.context import Context
from kasuwa.base.db import Database, Pool
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.inventory.errors import NotTracked, VariantUnknown
from kasuwa.domain.inventory.records import Batch


class Counted(Struct, frozen=True):
    """What is to be counted, where, and by whom."""

    product_id: UUID
    variant_id: UUID
    store_id: UUID
    has_variants: bool
    currency: str
    user_name: str


class _Wanted(NamedTuple):
    merchant_id: UUID
    store_id: UUID
    product_id: UUID
    variant_id: UUID | None
    user_id: UUID | None


class _Found(Struct, frozen=True):
    line: int
    variant_id: UUID | None
    has_variants: bool
    track_quantity: bool
    currency: str
    user_name: str | None


async def get_counted(
    context: Context, product_id: UUID, variant_id: UUID | None, *, pointer: str = "/variantId"
) -> Counted:
    """The variant that is meant: the one of a simple product, the named one of any other.

    Raises ProductNotFound, NotTracked, VariantUnknown.
    """
    wanted = _Wanted(context.merchant_id, context.store_id, product_id, variant_id, context.caller.user_id)
    if context.has_key or context.is_in_transaction:
        async with context.single_call() as db:
            (row,) = await _find_counted(db, [wanted])
    else:
        row = await counted.ask(context.services.pool, wanted)
    if row is None:
        raise ProductNotFound
    if not row.track_quantity:
        raise NotTracked("Switch on trackQuantity of the product first.")
    if row.variant_id is None:
        code, advice = (
            ("required", "Name the variant.") if variant_id is None else ("unknown", "Name another.")
        )
        raise VariantUnknown(faults=[FieldFault(pointer, code, advice)])
    return Counted(
        product_id,
        row.variant_id,
        context.store_id,
        row.has_variants,
        row.currency,
        row.user_name or context.caller.kind,
    )


async def _find_counted(db: Database, together: Sequence[_Wanted]) -> list[_Found | None]:
    rows = await db.all(
        """
        SELECT line, variant_id, has_variants, track_quantity, currency, user_name
        FROM find_counted_each(:merchant_ids, :store_ids, :product_ids, :variant_ids, :user_ids)
        """,
        into=_Found,
        merchant_ids=[one.merchant_id for one in together],
        store_ids=[one.store_id for one in together],
        product_ids=[one.product_id for one in together],
        variant_ids=[one.variant_id for one in together],
        user_ids=[one.user_id for one in together],
    )
    found = {row.line: row for row in rows}
    return [found.get(line) for line in range(1, len(together) + 1)]


async def _find_alone(pool: Pool, together: Sequence[_Wanted]) -> list[_Found | None]:
    async with pool.autocommit() as db:
        return await _find_counted(db, together)


counted = Coalesced(_find_alone)


async def read_batches(db: Database, store_id: UUID, variant_id: UUID) -> list[Batch]:
    """What lies in batches at the store, the first to expire first."""
    return await db.all(
        """
        SELECT b.batch_no, b.expires_on, b.quantity, b.received_at,
               coalesce(b.expires_on < (now() AT TIME ZONE s.time_zone)::date, false) AS is_expired
        FROM stock_batch b
        JOIN store s ON s.merchant_id = b.merchant_id AND s.store_id = b.store_id
        WHERE b.merchant_id = current_merchant() AND b.store_id = :store_id AND b.variant_id = :variant_id
          AND b.quantity > 0
        ORDER BY b.expires_on, b.received_at, b.batch_no
        """,
        into=Batch,
        store_id=store_id,
        variant_id=variant_id,
    )


async def read_serials(db: Database, store_id: UUID, variant_id: UUID) -> list[str]:
    """The serial numbers of what is on hand at the store."""
    return await db.values(
        """
        SELECT serial FROM stock_serial
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND variant_id = :variant_id
        ORDER BY serial
        """,
        store_id=store_id,
        variant_id=variant_id,
    )
