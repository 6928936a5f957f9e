"""The rows of variants, for the actions that make and change them: many in one statement."""

import secrets
from collections.abc import Sequence
from uuid import UUID

import msgspec

from kasuwa.base.context import Context
from kasuwa.base.db import Database, settles
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Problem
from kasuwa.domain.catalogue.errors import BarcodeTaken, ChoiceTaken, SkuTaken, UnknownLocation
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.catalogue.records import NewVariant, Price, ShownPicture
from kasuwa.domain.inventory.actions import Opening, open_balances
from kasuwa.domain.inventory.openings import may_open_at


async def insert_variants(
    context: Context,
    db: Database,
    product_id: UUID,
    variants: Sequence[NewVariant],
    *,
    first_position: int,
    default_price: Price | None = None,
    pictures: Sequence[ShownPicture] = (),
    pointer: str = "",
) -> list[UUID]:
    """Add the variants one after the other, with prices and opening stock; answer their ids.

    `pointer` is where the caller gave them; of several, each has its number behind it. Raises SkuTaken,
    BarcodeTaken, ChoiceTaken, UnknownLocation.
    """
    pointers = [f"{pointer}/{place}" for place in range(len(variants))] if pointer else [""]
    first = await db.value("SELECT take_numbers('variant', :how_many)", how_many=len(variants))
    await _refuse_taken(db, variants, pointers)
    skus = await _with_free_skus(db, variants, first)
    ids = [new_id() for _ in variants]
    with settles(taken_at(pointer)):
        await db.execute(
            _INSERT,
            product_id=product_id,
            variant_ids=ids,
            numbers=[first + place for place in range(len(variants))],
            positions=[first_position + place for place in range(len(variants))],
            names=[variant.name for variant in variants],
            options=[_json(variant.options) for variant in variants],
            skus=skus,
            sku_keys=[sku_key(sku) for sku in skus],
            barcodes=[variant.barcode for variant in variants],
            active=[variant.active for variant in variants],
            own_price=[variant.price is not None for variant in variants],
            pictures=[_picture_id(variant, pictures) for variant in variants],
            extras=[_json(variant.extra) for variant in variants],
        )
    prices = [variant.price or default_price for variant in variants]
    await insert_prices(db, ids, [price for price in prices if price is not None])
    await _open(context, db, product_id, ids, variants, pointers, first_position)
    return ids


async def insert_prices(
    db: Database, variant_ids: Sequence[UUID], prices: Sequence[Price], store_id: UUID | None = None
) -> None:
    """Write the price of each variant that holds everywhere, or at the store, in place of the one it had."""
    assert len(variant_ids) == len(prices), "a variant without a price of its own needs the product's"
    columns = {name: [getattr(price, name) for price in prices] for name in Price.__struct_fields__}
    await db.execute(_INSERT_PRICES, variant_ids=list(variant_ids), store_id=store_id, **columns)


async def set_price(db: Database, variant_id: UUID, price: Price, store_id: UUID | None = None) -> None:
    """Give the variant a price of its own, which holds everywhere or is one that the store has for itself.

    The variants that have none follow that of their product. `note_change` then writes cards and feed.
    """
    await own_prices(db, [variant_id])
    ids = [variant_id, *await db.values(FOLLOWERS, variant_id=variant_id)]
    await insert_prices(db, ids, [price] * len(ids), store_id)


async def own_prices(db: Database, variant_ids: Sequence[UUID]) -> None:
    """From here on these variants no longer follow the price of their product."""
    await db.execute(
        "UPDATE variant SET own_price = true"
        " WHERE merchant_id = current_merchant() AND variant_id = ANY(:ids::uuid[]) AND NOT own_price",
        ids=list(variant_ids),
    )


async def drop_price(db: Database, variant_id: UUID, store_id: UUID) -> None:
    """The store has no price of its own any more for the variant, nor for those that follow it."""
    await db.execute(
        "DELETE FROM price WHERE merchant_id = current_merchant() AND variant_id = ANY(:ids::uuid[])"
        " AND store_id = :store_id",
        ids=[variant_id, *await db.values(FOLLOWERS, variant_id=variant_id)],
        store_id=store_id,
    )


async def follow_store_prices(db: Database, product_ids: Sequence[UUID]) -> None:
    """Where a store has a price of its own for a product, let its new variants without one follow it."""
    await db.execute(FOLLOW_STORE_PRICES, ids=list(product_ids))


def taken_at(pointer: str) -> dict[str, Problem]:
    """What the constraints mean for variants that were given there."""
    return {
        "variant_sku": SkuTaken(faults=[FieldFault(f"{pointer}/sku", "taken", "Choose another SKU.")]),
        "variant_barcode": BarcodeTaken(
            faults=[FieldFault(f"{pointer}/barcode", "taken", "Choose another barcode.")]
        ),
        "variant_choice": ChoiceTaken(
            faults=[FieldFault(pointer, "taken", "Somebody has just added one of these; read the product.")]
        ),
    }


async def _refuse_taken(db: Database, variants: Sequence[NewVariant], pointers: Sequence[str]) -> None:
    """Name each SKU and barcode that somebody has. Two who come at once are told apart by the constraints."""
    keys = {place: sku_key(variant.sku) for place, variant in enumerate(variants) if variant.sku}
    codes = {place: variant.barcode for place, variant in enumerate(variants) if variant.barcode}
    if keys:
        taken = await db.values(TAKEN_SKUS, keys=list(keys.values()))
        if taken:
            raise SkuTaken(faults=_faults(keys, taken, pointers, "sku", "Choose another SKU."))
    if codes:
        taken = await db.values(TAKEN_BARCODES, codes=list(codes.values()))
        if taken:
            raise BarcodeTaken(faults=_faults(codes, taken, pointers, "barcode", "Choose another barcode."))


def _faults(
    codes: dict[int, str], taken: Sequence[str], pointers: Sequence[str], field: str, text: str
) -> list[FieldFault]:
    return [
        FieldFault(f"{pointers[place]}/{field}", "taken", text)
        for place, code in codes.items()
        if code in set(taken)
    ]


async def _with_free_skus(db: Database, variants: Sequence[NewVariant], first: int) -> list[str]:
    """Each variant's SKU, or one from its number, unless the shop has given that to something else."""
    skus = [variant.sku or f"K-{first + place:06d}" for place, variant in enumerate(variants)]
    made = [place for place, variant in enumerate(variants) if not variant.sku]
    keys = [sku_key(sku) for sku in skus]
    taken = {sku_key(variant.sku) for variant in variants if variant.sku}
    if made:
        taken |= set(await db.values(TAKEN_SKUS, keys=[keys[place] for place in made]))
    for place in made:
        if keys[place] in taken:
            skus[place] += f"-{secrets.token_hex(4).upper()}"
    return skus


def _picture_id(variant: NewVariant, pictures: Sequence[ShownPicture]) -> UUID | None:
    if variant.image_position is None:
        return None
    return pictures[variant.image_position - 1].product_picture_id


async def _open(
    context: Context,
    db: Database,
    product_id: UUID,
    ids: Sequence[UUID],
    variants: Sequence[NewVariant],
    pointers: Sequence[str],
    first_position: int,
) -> None:
    known = await may_open_at(context, db)
    faults = [
        FieldFault(f"{pointer}/locationQuantities", "unknown", "Name locations of this account.")
        for variant, pointer in zip(variants, pointers, strict=True)
        if any(opening.store_id not in known for opening in variant.opening)
    ]
    if faults:
        raise UnknownLocation(faults=faults)
    openings = [
        Opening(
            product_id,
            variant_id,
            stock,
            None if variant.price is None else variant.price.cost_minor,
            is_sold=position > 0,
        )
        for position, (variant_id, variant) in enumerate(zip(ids, variants, strict=True), first_position)
        for stock in variant.opening
    ]
    await open_balances(context, db, openings)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


FOLLOWERS = """
    SELECT f.variant_id FROM variant v
    JOIN product p ON p.merchant_id = v.merchant_id AND p.product_id = v.product_id
    JOIN variant f ON f.merchant_id = v.merchant_id AND f.product_id = v.product_id
    WHERE v.merchant_id = current_merchant() AND v.variant_id = :variant_id AND v.position = 0
      AND p.kind = 'variant' AND NOT f.own_price AND f.removed_at IS NULL
    ORDER BY f.variant_id
"""

FOLLOW_STORE_PRICES = """
    INSERT INTO price (merchant_id, store_id, variant_id, currency, selling_minor, cost_minor, promo_minor,
                       promo_starts_at, promo_ends_at, wholesale_minor, wholesale_min_quantity)
    SELECT r.merchant_id, r.store_id, f.variant_id, r.currency, r.selling_minor, r.cost_minor, r.promo_minor,
           r.promo_starts_at, r.promo_ends_at, r.wholesale_minor, r.wholesale_min_quantity
    FROM variant v
    JOIN price r ON r.merchant_id = v.merchant_id AND r.variant_id = v.variant_id AND r.store_id IS NOT NULL
    JOIN variant f ON f.merchant_id = v.merchant_id AND f.product_id = v.product_id AND f.position > 0
    WHERE v.merchant_id = current_merchant() AND v.product_id = ANY(:ids::uuid[]) AND v.position = 0
      AND NOT f.own_price AND f.removed_at IS NULL
    ON CONFLICT (merchant_id, variant_id, store_id) DO NOTHING
"""

TAKEN_SKUS = """
    SELECT sku_key FROM variant
    WHERE merchant_id = current_merchant() AND sku_key = ANY(:keys::text[]) AND NOT archived
"""

TAKEN_BARCODES = """
    SELECT barcode FROM variant
    WHERE merchant_id = current_merchant() AND barcode = ANY(:codes::text[]) AND NOT archived
"""

# Ordered, so that two who want the same SKUs wait for each other, and never both.
_INSERT = """
    INSERT INTO variant (merchant_id, variant_id, product_id, number, position, name, options, sku, sku_key,
                         barcode, active, own_price, product_picture_id, extra)
    SELECT current_merchant(), n.variant_id, :product_id, n.number, n.position, n.name, n.options::jsonb,
           n.sku, n.sku_key, n.barcode, n.active, n.own_price, n.picture, n.extra::jsonb
    FROM unnest(:variant_ids::uuid[], :numbers::bigint[], :positions::integer[], :names::text[],
                :options::text[], :skus::text[], :sku_keys::text[], :barcodes::text[], :active::boolean[],
                :own_price::boolean[], :pictures::uuid[], :extras::text[])
         n (variant_id, number, position, name, options, sku, sku_key, barcode, active, own_price, picture,
            extra)
    ORDER BY n.sku_key
"""

_INSERT_PRICES = """
    INSERT INTO price (merchant_id, store_id, variant_id, currency, selling_minor, cost_minor, promo_minor,
                       promo_starts_at, promo_ends_at, wholesale_minor, wholesale_min_quantity)
    SELECT current_merchant(), :store_id::uuid, n.*
    FROM unnest(:variant_ids::uuid[], :currency::text[], :selling_minor::bigint[], :cost_minor::bigint[],
                :promo_minor::bigint[], :promo_starts_at::timestamptz[], :promo_ends_at::timestamptz[],
                :wholesale_minor::bigint[], :wholesale_min_quantity::numeric[]) n
    ON CONFLICT (merchant_id, variant_id, store_id) DO UPDATE SET
      currency = excluded.currency, selling_minor = excluded.selling_minor, cost_minor = excluded.cost_minor,
      promo_minor = excluded.promo_minor, promo_starts_at = excluded.promo_starts_at,
      promo_ends_at = excluded.promo_ends_at, wholesale_minor = excluded.wholesale_minor,
      wholesale_min_quantity = excluded.wholesale_min_quantity, updated_at = now()
"""
