"""Questions about stock. They read, and never change."""

from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
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


class _Row(Struct, frozen=True):
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
    async with context.single_call() as db:
        row = await db.one(
            """
            SELECT variant_id, has_variants, track_quantity, currency, user_name
            FROM find_counted(:merchant_id, :store_id, :product_id, :variant_id, :user_id)
            """,
            into=_Row,
            missing=ProductNotFound(),
            merchant_id=context.merchant_id,
            store_id=context.store_id,
            product_id=product_id,
            variant_id=variant_id,
            user_id=context.caller.user_id,
        )
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
