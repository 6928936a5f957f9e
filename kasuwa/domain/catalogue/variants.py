"""Variants of a product that is there already: added, taken off, given a picture. All of a call, or none."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.actions import lock_product, note_change, require_version
from kasuwa.domain.catalogue.choices import arrange_variants, widen_options
from kasuwa.domain.catalogue.errors import (
    LastVariant,
    NoOptions,
    StillStocked,
    VariantNotFound,
)
from kasuwa.domain.catalogue.records import NewVariant, Product, ProductOption, Variant
from kasuwa.domain.catalogue.variant_rows import insert_variants
from kasuwa.domain.inventory.actions import close_stock, move_stock
from kasuwa.domain.inventory.records import Move
from kasuwa.domain.permissions import Permission

OnRemainingStock = Literal["reject", "write_off"]


class Added(Struct, frozen=True):
    """The product with the variants that came to it."""

    product: Product
    variants: tuple[Variant, ...]


async def add_variants(
    context: Context,
    product_id: UUID,
    variants: Sequence[NewVariant],
    *,
    options: Sequence[ProductOption] | None = None,
    version: int | None = None,
) -> Added:
    """Add variants. `options` make a simple product one with variants, or bring new values of its options.

    Raises NoOptions, VariantsWrong, ChoiceTaken, SkuTaken, BarcodeTaken, UnknownLocation, StillStocked (a
    simple product's own stock) and VersionOld.
    """
    context.require(Permission.STOCK_WRITE)
    async with context.transaction() as db:
        before = await lock_product(db, product_id)
        require_version(before, version)
        is_simple = before.kind == "simple"
        if is_simple and options is None:
            raise NoOptions("Send the options together with their first variants, to addvariants.")
        known = widen_options(before.options, options or ())
        new = arrange_variants(
            known,
            variants,
            main=NewVariant(sku=before.main.sku, barcode=before.main.barcode),
            sold=() if is_simple else before.variants,
            pictures=len(before.pictures),
        )
        if is_simple:
            await _end_selling_itself(db, before)
        if known != before.options:
            await _set_options(db, product_id, known)
        ids = await insert_variants(
            context,
            db,
            product_id,
            new,
            first_position=await _next_position(db, product_id),
            default_price=before.main.price,
            pictures=before.pictures,
            pointer="/variants",
        )
        after = await note_change(context, db, "product.variants_added", before)
    return Added(after, tuple(variant for variant in after.variants if variant.variant_id in ids))


async def remove_variants(
    context: Context,
    product_id: UUID,
    variant_ids: Sequence[UUID | None],
    *,
    on_remaining: OnRemainingStock = "reject",
    note: str = "",
    version: int | None = None,
) -> Product:
    """Take variants off: archived when the ledger knows them, else deleted.

    What is left of them is refused (StillStocked), or written off with the note as its reason. What is
    reserved, on its way or set aside as damaged is refused in any case. Raises VariantNotFound, LastVariant,
    VersionOld.
    """
    context.require(Permission.STOCK_WRITE)
    async with context.transaction() as db:
        before = await lock_product(db, product_id)
        require_version(before, version)
        gone = _find_variants(before, variant_ids)
        if len(gone) == len(before.variants):
            raise LastVariant("Leave one, or remove the product.")
        places = {variant.variant_id: place for place, variant in enumerate(gone)}
        moved = set()
        for level in await _hold_stock(db, list(places)):
            pointer = f"/variantIds/{places[level.variant_id]}"
            level.refuse_remains(pointer, write_off=on_remaining == "write_off")
            if level.on_hand:
                written_off = Move(
                    store_id=level.store_id,
                    variant_id=level.variant_id,
                    kind="quantity_deducted",
                    change=-level.on_hand,
                    reason=note or "variant removed",
                    pointer=pointer,
                )
                await move_stock(context, db, [written_off])
            if level.on_hand or level.has_moved:
                moved.add(level.variant_id)
        await _take_off(db, [variant_id for variant_id in places if variant_id not in moved], list(moved))
        return await note_change(context, db, "product.variants_removed", before)


async def show_variant_pictures(
    context: Context, product_id: UUID, pictures: Mapping[UUID, UUID | None]
) -> Product:
    """Let pictures of the product, by their place on it, stand for its variants."""
    context.require(Permission.STOCK_WRITE)
    async with context.transaction() as db:
        before = await lock_product(db, product_id)
        await db.execute(
            """
            UPDATE variant v SET product_picture_id = n.product_picture_id, updated_at = now()
            FROM unnest(:variant_ids::uuid[], :picture_ids::uuid[]) n (variant_id, product_picture_id)
            WHERE v.merchant_id = current_merchant() AND v.product_id = :product_id
              AND v.variant_id = n.variant_id
            """,
            product_id=product_id,
            variant_ids=list(pictures),
            picture_ids=list(pictures.values()),
        )
        return await note_change(context, db, "product.update", before)


class _Level(Struct, frozen=True):
    """What lies of a variant at a store, held until the transaction ends."""

    variant_id: UUID
    store_id: UUID
    store_name: str
    on_hand: Decimal
    reserved: Decimal
    in_transit: Decimal
    damaged: Decimal
    has_moved: bool

    def refuse_remains(self, pointer: str, *, write_off: bool) -> None:
        bound = {
            "reserved": self.reserved,
            "on their way": self.in_transit,
            "set aside as damaged": self.damaged,
        }
        for what, quantity in bound.items():
            if quantity:
                text = f"{quantity:f} are {what} at {self.store_name}; settle them first."
                raise StillStocked(faults=[FieldFault(pointer, "stocked", text)])
        if self.on_hand and not write_off:
            text = (
                f"{self.on_hand:f} lie at {self.store_name}; move them, or send onRemainingStock write_off."
            )
            raise StillStocked(faults=[FieldFault(pointer, "stocked", text)])


async def _hold_stock(db: Database, variant_ids: Sequence[UUID]) -> list[_Level]:
    """The balances of the variants. Until the end nobody moves them, or begins to count them elsewhere."""
    await db.execute(HOLD_VARIANTS, variant_ids=list(variant_ids))
    return await db.all(HOLD_BALANCES, into=_Level, variant_ids=list(variant_ids))


HOLD_VARIANTS = """
    SELECT 1 FROM variant
    WHERE merchant_id = current_merchant() AND variant_id = ANY(:variant_ids::uuid[])
    ORDER BY variant_id FOR UPDATE
"""

HOLD_BALANCES = """
    SELECT b.variant_id, b.store_id, s.name AS store_name, b.on_hand, b.reserved, b.in_transit, b.damaged,
           b.seq > 0 AS has_moved
    FROM variant v
    JOIN stock_balance b
      ON b.merchant_id = v.merchant_id AND b.product_id = v.product_id AND b.variant_id = v.variant_id
    JOIN store s ON s.merchant_id = b.merchant_id AND s.store_id = b.store_id
    WHERE v.merchant_id = current_merchant() AND v.variant_id = ANY(:variant_ids::uuid[])
    ORDER BY b.store_id, b.variant_id
    FOR UPDATE OF b
"""


async def _take_off(db: Database, unknown_ids: Sequence[UUID], known_ids: Sequence[UUID]) -> None:
    """Delete what the ledger does not know, archive the rest."""
    await db.execute(
        "DELETE FROM variant WHERE merchant_id = current_merchant() AND variant_id = ANY(:ids::uuid[])",
        ids=list(unknown_ids),
    )
    await db.execute(
        """
        UPDATE variant SET archived = true, removed_at = now(), updated_at = now(), product_picture_id = NULL
        WHERE merchant_id = current_merchant() AND variant_id = ANY(:ids::uuid[])
        """,
        ids=list(known_ids),
    )
    await close_stock(db, known_ids)


def _find_variants(product: Product, variant_ids: Sequence[UUID | None]) -> list[Variant]:
    sold = {variant.variant_id: variant for variant in product.variants} if product.kind == "variant" else {}
    faults = [
        FieldFault(f"/variantIds/{place}", "unknown", "Name variants of this product.")
        for place, variant_id in enumerate(variant_ids)
        if variant_id not in sold
    ]
    if faults:
        raise VariantNotFound(faults=faults)
    return [sold[variant_id] for variant_id in dict.fromkeys(variant_ids) if variant_id is not None]


async def _end_selling_itself(db: Database, product: Product) -> None:
    """A simple product becomes what its variants share. Its own shelf must be empty, and stays so."""
    main_id = product.main.variant_id
    for level in await _hold_stock(db, [main_id]):
        remains = (level.on_hand, level.reserved, level.in_transit, level.damaged)
        if any(remains):
            text = f"The product's own stock at {level.store_name} must be zero before it gets variants."
            raise StillStocked(faults=[FieldFault("/options", "stocked", text)])
    await db.execute(
        "UPDATE product SET kind = 'variant'"
        " WHERE merchant_id = current_merchant() AND product_id = :product_id",
        product_id=product.product_id,
    )
    await db.execute(
        "UPDATE variant SET position = 0, updated_at = now()"
        " WHERE merchant_id = current_merchant() AND variant_id = :variant_id",
        variant_id=main_id,
    )
    await close_stock(db, [main_id])


async def _set_options(db: Database, product_id: UUID, options: Sequence[ProductOption]) -> None:
    await db.execute(
        "UPDATE product SET options = :options"
        " WHERE merchant_id = current_merchant() AND product_id = :product_id",
        product_id=product_id,
        options=msgspec.json.encode(options).decode(),
    )


async def _next_position(db: Database, product_id: UUID) -> int:
    """Behind every variant that there ever was: a cursor of a list stays right."""
    return int(await db.value(NEXT_POSITION, product_id=product_id))


NEXT_POSITION = """
    SELECT max(position) + 1 FROM variant
    WHERE merchant_id = current_merchant() AND product_id = :product_id
"""
