"""The rows of many products at once: each table is one statement over arrays, whatever their number."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database, settles
from kasuwa.base.ids import new_id
from kasuwa.domain.catalogue.errors import UNIT_SETTLED
from kasuwa.domain.catalogue.queries import sku_key, sort_name
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, Price, Product, Variant

# Columns and the types in which their values are sent; what is no type of an array is cast in the statement.
_PRODUCT = {
    "product_id": "uuid",
    "number": "bigint",
    "kind": "text",
    "status": "text",
    "name": "text",
    "sort_name": "text",
    "slug": "text",
    "description": "text",
    "brand": "text",
    "unit": "text",
    "tags": "text",
    "taxable": "boolean",
    "tax_rate": "numeric",
    "vat_type": "text",
    "tax_code": "text",
    "track_quantity": "boolean",
    "visible_online": "boolean",
    "weight_grams": "integer",
    "expiry_date": "date",
    "extra": "text",
    "options": "text",
}
_VARIANT = {
    "variant_id": "uuid",
    "product_id": "uuid",
    "number": "bigint",
    "position": "integer",
    "name": "text",
    "options": "text",
    "sku": "text",
    "sku_key": "text",
    "barcode": "text",
    "active": "boolean",
    "own_price": "boolean",
    "extra": "text",
}
_PRICE = {
    "variant_id": "uuid",
    "store_id": "uuid",
    "currency": "text",
    "selling_minor": "bigint",
    "cost_minor": "bigint",
    "promo_minor": "bigint",
    "promo_starts_at": "timestamptz",
    "promo_ends_at": "timestamptz",
    "wholesale_minor": "bigint",
    "wholesale_min_quantity": "numeric",
}
_CASTS = {"tags": "::text[]", "extra": "::jsonb", "options": "::jsonb"}


class VariantPlace(Struct, frozen=True):
    """A variant to be inserted: at which product, with which id and SKU, and the price that holds for it."""

    product_id: UUID
    variant_id: UUID
    position: int
    sku: str
    price: Price
    new: NewVariant


def _source(columns: Mapping[str, str]) -> str:
    arrays = ", ".join(f":{name}::{kind}[]" for name, kind in columns.items())
    return f"unnest({arrays}) AS r ({', '.join(columns)})"


def _selected(columns: Iterable[str]) -> str:
    return ", ".join(f"r.{name}{_CASTS.get(name, '')}" for name in columns)


def _assigned(columns: Iterable[str]) -> str:
    return ", ".join(f"{name} = r.{name}{_CASTS.get(name, '')}" for name in columns)


# Our own column names stand in these statements, and nothing else.
_INSERT_PRODUCTS = f"""
    INSERT INTO product (merchant_id, {", ".join(_PRODUCT)}, created_by, updated_by)
    SELECT current_merchant(), {_selected(_PRODUCT)}, :user_id::uuid, :user_id
    FROM {_source(_PRODUCT)}
"""  # noqa: S608
_KEPT = ("product_id", "number", "kind", "extra")
_CHANGED_PRODUCT = {name: kind for name, kind in _PRODUCT.items() if name not in _KEPT}
_UPDATE_PRODUCTS = f"""
    UPDATE product p SET {_assigned(_CHANGED_PRODUCT)}, version = p.version + 1, updated_at = now(),
                         updated_by = :user_id::uuid
    FROM {_source({"product_id": "uuid", **_CHANGED_PRODUCT})}
    WHERE p.merchant_id = current_merchant() AND p.product_id = r.product_id
"""  # noqa: S608
_INSERT_VARIANTS = f"""
    INSERT INTO variant (merchant_id, {", ".join(_VARIANT)})
    SELECT current_merchant(), {_selected(_VARIANT)}
    FROM {_source(_VARIANT)}
"""  # noqa: S608
_CHANGED_VARIANT = {name: _VARIANT[name] for name in ("name", "barcode", "active", "own_price")}
_UPDATE_VARIANTS = f"""
    UPDATE variant v SET {_assigned(_CHANGED_VARIANT)}, updated_at = now()
    FROM {_source({"variant_id": "uuid", **_CHANGED_VARIANT})}
    WHERE v.merchant_id = current_merchant() AND v.variant_id = r.variant_id
"""  # noqa: S608
_SET_PRICES = f"""
    INSERT INTO price (merchant_id, {", ".join(_PRICE)})
    SELECT current_merchant(), {_selected(_PRICE)}
    FROM {_source(_PRICE)}
    ON CONFLICT (merchant_id, variant_id, store_id) DO UPDATE SET
      {", ".join(f"{name} = excluded.{name}" for name in Price.__struct_fields__)}, updated_at = now()
"""  # noqa: S608


async def insert_products(
    context: Context, db: Database, first_number: int, products: Sequence[tuple[UUID, str, NewProduct]]
) -> None:
    """Insert the products: id, slug and what is to be made. `first_number` is that of the first."""
    rows = [
        _product_values(new, slug)
        | {
            "product_id": product_id,
            "number": first_number + place,
            "kind": new.kind,
            "extra": msgspec.json.encode(new.extra).decode(),
        }
        for place, (product_id, slug, new) in enumerate(products)
    ]
    await db.execute(_INSERT_PRODUCTS, user_id=context.caller.user_id, **_columns(_PRODUCT, rows))
    await insert_categories(db, [(product_id, new.category_ids) for product_id, _, new in products])


async def update_products(context: Context, db: Database, products: Sequence[Product]) -> None:
    """Write the products as they are given, and raise their versions. Raises UnitTooCoarse."""
    rows = [
        _product_values(product, product.slug) | {"product_id": product.product_id} for product in products
    ]
    columns = _columns(("product_id", *_CHANGED_PRODUCT), rows)
    with settles(UNIT_SETTLED):
        await db.execute(_UPDATE_PRODUCTS, user_id=context.caller.user_id, **columns)


def _product_values(product: NewProduct | Product, slug: str) -> dict[str, Any]:
    return {
        "status": product.status,
        "name": product.name,
        "sort_name": sort_name(product.name),
        "slug": slug,
        "description": product.description,
        "brand": product.brand,
        "unit": product.unit,
        "tags": _array(product.tags),
        "taxable": product.tax.taxable,
        "tax_rate": product.tax.rate,
        "vat_type": product.tax.vat_type,
        "tax_code": product.tax.code,
        "track_quantity": product.track_quantity,
        "visible_online": product.visible_online,
        "weight_grams": product.weight_grams,
        "expiry_date": product.expiry_date,
        "options": msgspec.json.encode(product.options).decode(),
    }


async def replace_categories(db: Database, wanted: Sequence[tuple[UUID, Sequence[UUID]]]) -> None:
    """Let each of the products stand in these categories and no others."""
    await db.execute(
        "DELETE FROM product_category"
        " WHERE merchant_id = current_merchant() AND product_id = ANY(:product_ids::uuid[])",
        product_ids=[product_id for product_id, _ in wanted],
    )
    await insert_categories(db, wanted)


async def insert_categories(db: Database, wanted: Sequence[tuple[UUID, Sequence[UUID]]]) -> None:
    pairs = [(product_id, category_id) for product_id, ids in wanted for category_id in dict.fromkeys(ids)]
    if not pairs:
        return
    await db.execute(
        """
        INSERT INTO product_category (merchant_id, product_id, category_id)
        SELECT current_merchant(), r.product_id, r.category_id
        FROM unnest(:product_ids::uuid[], :category_ids::uuid[]) AS r (product_id, category_id)
        """,
        product_ids=[product_id for product_id, _ in pairs],
        category_ids=[category_id for _, category_id in pairs],
    )


async def insert_variants(db: Database, first_number: int, variants: Sequence[VariantPlace]) -> None:
    """Insert the variants and their prices. `first_number` is the first of as many numbers taken for them."""
    rows = [
        {
            "variant_id": place.variant_id,
            "product_id": place.product_id,
            "number": first_number + index,
            "position": place.position,
            "name": place.new.name,
            "options": msgspec.json.encode(place.new.options).decode(),
            "sku": place.sku,
            "sku_key": sku_key(place.sku),
            "barcode": place.new.barcode,
            "active": place.new.active,
            "own_price": place.new.price is not None,
            "extra": msgspec.json.encode(place.new.extra).decode(),
        }
        for index, place in enumerate(variants)
    ]
    await db.execute(_INSERT_VARIANTS, **_columns(_VARIANT, rows))
    await set_prices(db, [(place.variant_id, None, place.price) for place in variants])


async def update_variants(db: Database, variants: Sequence[Variant]) -> None:
    """Write name, barcode and state of the variants as they are given."""
    rows = [
        {
            "variant_id": variant.variant_id,
            "name": variant.name,
            "barcode": variant.barcode,
            "active": variant.active,
            "own_price": variant.own_price,
        }
        for variant in variants
    ]
    await db.execute(_UPDATE_VARIANTS, **_columns(("variant_id", *_CHANGED_VARIANT), rows))


async def set_prices(db: Database, prices: Sequence[tuple[UUID, UUID | None, Price]]) -> None:
    """Write prices of variants: those of a store, or without one those that hold everywhere else."""
    rows = [
        {"variant_id": variant_id, "store_id": store_id}
        | {name: getattr(price, name) for name in Price.__struct_fields__}
        for variant_id, store_id, price in prices
    ]
    await db.execute(_SET_PRICES, **_columns(_PRICE, rows))


async def free_skus(db: Database, first_number: int, wanted: Sequence[str | None]) -> list[str]:
    """The SKUs as they are wanted; where there is none, one from the variant's number that nobody has."""
    made = {n: f"K-{first_number + n:06d}" for n, sku in enumerate(wanted) if sku is None}
    asked = {sku_key(sku) for sku in wanted if sku is not None}
    known = await db.values(
        "SELECT sku_key FROM variant"
        " WHERE merchant_id = current_merchant() AND NOT archived AND sku_key = ANY(:keys::text[])",
        keys=[sku_key(sku) for sku in made.values()],
    )
    taken = asked.union(known)
    for n, sku in made.items():
        if sku_key(sku) in taken:
            made[n] = f"{sku}-{new_id().hex[-6:].upper()}"
    return [sku if sku is not None else made[n] for n, sku in enumerate(wanted)]


def _columns(names: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}


def _array(texts: Sequence[str]) -> str:
    """The texts as PostgreSQL writes an array: rows of arrays are not an array of rows."""
    quoted = ('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)
    return "{" + ",".join(quoted) + "}"
