"""Variants of a product that is there already: added, taken off, given a picture. All of a call, or none."""

from collections.abc import Mapping, Sequence
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
from kasuwa.domain.catalogue.remains import Level, OnRemainingStock, hold_stock, write_off
from kasuwa.domain.catalogue.variant_rows import follow_store_prices, insert_variants
from kasuwa.domain.inventory.actions import close_stock
from kasuwa.domain.permissions import Permission


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
        await follow_store_prices(db, [product_id])
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
        levels = await hold_stock(db, list(places))
        for level in levels:
            _refuse_remains(level, f"/variantIds/{places[level.variant_id]}", on_remaining)
        await write_off(context, db, levels, reason=note or "variant removed")
        moved = {level.variant_id for level in levels if level.on_hand or level.has_moved}
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


def _refuse_remains(level: Level, pointer: str, on_remaining: OnRemainingStock) -> None:
    bound = {
        "are reserved": level.reserved,
        "are on their way": level.in_transit,
        "are set aside as damaged": level.damaged,
    }
    for what, quantity in bound.items():
        level.refuse(quantity, what, "settle them first", pointer)
    if on_remaining == "reject":
        level.refuse(level.on_hand, "lie", "move them, or send onRemainingStock write_off", pointer)


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
    for level in await hold_stock(db, [main_id]):
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
