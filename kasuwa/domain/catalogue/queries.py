"""Questions about products. They read, and never change."""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.catalogue.records import (
    CategoryName,
    OptionValue,
    Price,
    Product,
    ProductKind,
    ProductOption,
    ProductStatus,
    Rendition,
    ShownPicture,
    StockLevel,
    StorePrice,
    Tax,
    Variant,
)


async def find_product_id(
    db: Database, *, product_id: UUID | None = None, number: int | None = None, archived: bool = False
) -> UUID | None:
    """The product of the current merchant with that id or that number."""
    if number is not None:
        found = await db.value(
            "SELECT product_id FROM product WHERE merchant_id = current_merchant() AND number = :number"
            " AND (:archived OR status <> 'archived')",
            number=number,
            archived=archived,
        )
    else:
        found = await db.value(
            "SELECT product_id FROM product"
            " WHERE merchant_id = current_merchant() AND product_id = :product_id"
            " AND (:archived OR status <> 'archived')",
            product_id=product_id,
            archived=archived,
        )
    return None if found is None else UUID(int=found.int)


async def get_product_id(
    db: Database, *, product_id: UUID | None = None, number: int | None = None, archived: bool = False
) -> UUID:
    found = await find_product_id(db, product_id=product_id, number=number, archived=archived)
    if found is None:
        raise ProductNotFound()
    return found


async def get_product(context: Context, product_id: UUID) -> Product:
    """The product as the caller's store sells it, with its categories and pictures; archived ones too."""
    async with context.reading() as db:
        products = await read_products(db, [product_id])
    if not products:
        raise ProductNotFound()
    return products[0].at(context.store_id)


async def find_sku(db: Database, sku: str) -> tuple[UUID, UUID] | None:
    """Product and variant that have the SKU, case ignored; archived products have given theirs free."""
    found = await db.find(
        """
        SELECT product_id, variant_id FROM variant
        WHERE merchant_id = current_merchant() AND sku_key = :sku_key AND NOT archived
        """,
        into=_SkuRow,
        sku_key=sku_key(sku),
    )
    return None if found is None else (found.product_id, found.variant_id)


def sku_key(sku: str) -> str:
    """What makes two SKUs the same."""
    return sku.casefold()


# Letters that Unicode does not take apart, as people without them on their keyboard type them.
_PLAIN_LETTERS = str.maketrans("ɓɗƙƴŋøđłħıþðŧ", "bdkynodlhitdt", "")


def sort_name(name: str) -> str:
    """The name as lists sort and search it: without accents, hooks and case."""
    plain = unicodedata.normalize("NFKD", name)
    bare = "".join(c for c in plain if not unicodedata.combining(c))
    # Some characters become many: an index holds no more than this.
    return bare.casefold().translate(_PLAIN_LETTERS)[:500]


async def read_products(db: Database, product_ids: Sequence[UUID]) -> list[Product]:
    """The products among these ids, in the order of the ids."""
    rows = await db.all(_PRODUCTS, into=_ProductRow, ids=list(product_ids))
    if not rows:
        return []
    variants = _by_product(await db.all(_VARIANTS, into=_VariantRow, ids=list(product_ids)))
    own = await _store_prices(db, variants)
    categories = _by_product(await db.all(_CATEGORIES, into=_CategoryRow, ids=list(product_ids)))
    pictures = _by_product(await db.all(_PICTURES, into=_PictureRow, ids=list(product_ids)))
    found = {
        row.product_id: row.product(
            tuple(v.variant(own.get(v.variant_id, ())) for v in variants.get(row.product_id, ())),
            tuple(c.category() for c in categories.get(row.product_id, ())),
            tuple(p.picture(place + 1) for place, p in enumerate(pictures.get(row.product_id, ()))),
        )
        for row in rows
    }
    return [found[product_id] for product_id in product_ids if product_id in found]


async def _store_prices(
    db: Database, variants: Mapping[UUID, Sequence["_VariantRow"]]
) -> dict[UUID, tuple[StorePrice, ...]]:
    """The prices that single stores have, by variant."""
    ids = [row.variant_id for rows in variants.values() for row in rows if row.has_store_prices]
    if not ids:
        return {}
    found: dict[UUID, tuple[StorePrice, ...]] = {}
    for own in await db.all(_STORE_PRICES, into=_StorePriceRow, ids=ids):
        found[own.variant_id] = (
            *found.get(own.variant_id, ()),
            StorePrice(UUID(int=own.store_id.int), own.price()),
        )
    return found


async def read_pictures(db: Database, product_id: UUID) -> list[ShownPicture]:
    """The pictures of a product in their order."""
    rows = await db.all(_PICTURES, into=_PictureRow, ids=[product_id])
    return [row.picture(place + 1) for place, row in enumerate(rows)]


async def read_category_ids(db: Database, numbers: Sequence[int]) -> dict[int, UUID]:
    """The categories among these numbers, by number."""
    rows = await db.all(
        """
        SELECT number, category_id FROM category
        WHERE merchant_id = current_merchant() AND number = ANY(:numbers::bigint[])
        """,
        into=_CategoryNumber,
        numbers=list(numbers),
    )
    return {row.number: UUID(int=row.category_id.int) for row in rows}


async def read_stock(
    db: Database, product_ids: Sequence[UUID], store_id: UUID | None = None
) -> list[StockLevel]:
    """What lies of the products at the store, or at every store of the merchant."""
    return await db.all(READ_STOCK, into=StockLevel, ids=list(product_ids), store_id=store_id)


READ_STOCK = """
    SELECT b.product_id, b.variant_id, b.store_id, s.name AS store_name, b.on_hand, b.reserved, b.in_transit,
           b.reorder_level, b.reorder_quantity,
           CASE WHEN b.closed
             THEN coalesce(sum(b.on_hand - b.reserved) OVER (PARTITION BY b.product_id, b.store_id)
                           <= b.reorder_level, false)
             ELSE b.is_low END AS is_low
    FROM stock_balance b
    JOIN store s ON s.merchant_id = b.merchant_id AND s.store_id = b.store_id
    WHERE b.merchant_id = current_merchant() AND b.product_id = ANY(:ids::uuid[])
      AND (:store_id::uuid IS NULL OR b.store_id = :store_id)
      AND NOT EXISTS (
        SELECT FROM variant v
        WHERE v.merchant_id = b.merchant_id AND v.variant_id = b.variant_id AND v.removed_at IS NOT NULL
      )
    ORDER BY s.created_at, b.store_id, b.variant_id
"""

_PRODUCTS = """
    SELECT product_id, number, kind, status, name, slug, description, brand, unit, tags, taxable, tax_rate,
           vat_type, tax_code, track_quantity, visible_online, weight_grams, expiry_date, extra, options,
           version, created_at, created_by, updated_at, updated_by
    FROM product
    WHERE merchant_id = current_merchant() AND product_id = ANY(:ids::uuid[])
"""

_VARIANTS = """
    SELECT v.product_id, v.variant_id, v.number, v.position, v.name, v.options, v.sku, v.barcode, v.active,
           v.extra, v.own_price, v.product_picture_id, v.created_at, v.updated_at, p.currency,
           p.selling_minor, p.cost_minor, p.promo_minor, p.promo_starts_at, p.promo_ends_at,
           p.wholesale_minor, p.wholesale_min_quantity,
           EXISTS (
             SELECT FROM price o
             WHERE o.merchant_id = v.merchant_id AND o.variant_id = v.variant_id AND o.store_id IS NOT NULL
           ) AS has_store_prices
    FROM variant v
    JOIN price p ON p.merchant_id = v.merchant_id AND p.variant_id = v.variant_id AND p.store_id IS NULL
    WHERE v.merchant_id = current_merchant() AND v.product_id = ANY(:ids::uuid[]) AND v.removed_at IS NULL
    ORDER BY v.product_id, v.position, v.variant_id
"""

_STORE_PRICES = """
    SELECT variant_id, store_id, currency, selling_minor, cost_minor, promo_minor, promo_starts_at,
           promo_ends_at, wholesale_minor, wholesale_min_quantity
    FROM price
    WHERE merchant_id = current_merchant() AND variant_id = ANY(:ids::uuid[]) AND store_id IS NOT NULL
    ORDER BY variant_id, store_id
"""

_CATEGORIES = """
    SELECT l.product_id, c.category_id, c.number, c.name, c.path
    FROM product_category l
    JOIN category c ON c.merchant_id = l.merchant_id AND c.category_id = l.category_id
    WHERE l.merchant_id = current_merchant() AND l.product_id = ANY(:ids::uuid[])
    ORDER BY l.product_id, c.number
"""

_PICTURES = """
    SELECT s.product_id, s.product_picture_id, s.number, s.sort_order, s.alt_text, s.is_thumbnail, s.added_at,
           s.updated_at, p.picture_id, encode(p.sha256, 'hex') AS sha256, p.format, p.width_px, p.height_px,
           p.renditions
    FROM product_picture s
    JOIN picture p ON p.merchant_id = s.merchant_id AND p.picture_id = s.picture_id
    WHERE s.merchant_id = current_merchant() AND s.product_id = ANY(:ids::uuid[])
    ORDER BY s.product_id, s.sort_order, s.number
"""


class _CategoryNumber(Struct, frozen=True):
    number: int
    category_id: UUID


class _SkuRow(Struct, frozen=True):
    product_id: UUID
    variant_id: UUID


class _ProductRow(Struct, frozen=True):
    product_id: UUID
    number: int
    kind: ProductKind
    status: ProductStatus
    name: str
    slug: str
    description: str | None
    brand: str | None
    unit: str
    tags: list[str]
    taxable: bool
    tax_rate: Decimal | None
    vat_type: Any
    tax_code: str | None
    track_quantity: bool
    visible_online: bool
    weight_grams: int | None
    expiry_date: date | None
    extra: str
    options: str
    version: int
    created_at: datetime
    created_by: UUID | None
    updated_at: datetime
    updated_by: UUID | None

    def product(
        self,
        variants: tuple[Variant, ...],
        categories: tuple[CategoryName, ...],
        pictures: tuple[ShownPicture, ...],
    ) -> Product:
        return Product(
            product_id=self.product_id,
            number=self.number,
            kind=self.kind,
            status=self.status,
            name=self.name,
            slug=self.slug,
            description=self.description,
            brand=self.brand,
            unit=self.unit,
            tags=tuple(self.tags),
            tax=Tax(self.taxable, self.tax_rate, self.vat_type, self.tax_code),
            track_quantity=self.track_quantity,
            visible_online=self.visible_online,
            weight_grams=self.weight_grams,
            expiry_date=self.expiry_date,
            extra=msgspec.json.decode(self.extra),
            version=self.version,
            created_at=self.created_at,
            created_by=self.created_by,
            updated_at=self.updated_at,
            updated_by=self.updated_by,
            options=msgspec.json.decode(self.options, type=tuple[ProductOption, ...]),
            main=variants[0],
            variants=variants if self.kind == "simple" else tuple(v for v in variants if v.position > 0),
            categories=categories,
            pictures=pictures,
        )


class _PriceColumns(Struct, frozen=True, kw_only=True):
    currency: str
    selling_minor: int
    cost_minor: int | None
    promo_minor: int | None
    promo_starts_at: datetime | None
    promo_ends_at: datetime | None
    wholesale_minor: int | None
    wholesale_min_quantity: Decimal | None

    def price(self) -> Price:
        return Price(
            currency=self.currency,
            selling_minor=self.selling_minor,
            cost_minor=self.cost_minor,
            promo_minor=self.promo_minor,
            promo_starts_at=self.promo_starts_at,
            promo_ends_at=self.promo_ends_at,
            wholesale_minor=self.wholesale_minor,
            wholesale_min_quantity=self.wholesale_min_quantity,
        )


class _StorePriceRow(_PriceColumns, frozen=True, kw_only=True):
    variant_id: UUID
    store_id: UUID


class _VariantRow(_PriceColumns, frozen=True, kw_only=True):
    product_id: UUID
    variant_id: UUID
    number: int
    position: int
    name: str
    options: str
    sku: str
    barcode: str | None
    active: bool
    extra: str
    own_price: bool
    product_picture_id: UUID | None
    created_at: datetime
    updated_at: datetime
    has_store_prices: bool

    def variant(self, store_prices: tuple[StorePrice, ...]) -> Variant:
        return Variant(
            variant_id=self.variant_id,
            number=self.number,
            position=self.position,
            name=self.name,
            options=msgspec.json.decode(self.options, type=tuple[OptionValue, ...]),
            sku=self.sku,
            barcode=self.barcode,
            active=self.active,
            extra=msgspec.json.decode(self.extra),
            own_price=self.own_price,
            product_picture_id=self.product_picture_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            price=self.price(),
            store_prices=store_prices,
        )


class _CategoryRow(Struct, frozen=True):
    product_id: UUID
    category_id: UUID
    number: int
    name: str
    path: list[str]

    def category(self) -> CategoryName:
        return CategoryName(self.category_id, self.number, self.name, tuple(self.path))


class _PictureRow(Struct, frozen=True):
    product_id: UUID
    product_picture_id: UUID
    number: int
    sort_order: int
    alt_text: str
    is_thumbnail: bool
    added_at: datetime
    updated_at: datetime
    picture_id: UUID
    sha256: str
    format: str
    width_px: int
    height_px: int
    renditions: str

    def picture(self, position: int) -> ShownPicture:
        return ShownPicture(
            product_picture_id=self.product_picture_id,
            number=self.number,
            position=position,
            sort_order=self.sort_order,
            alt_text=self.alt_text,
            is_thumbnail=self.is_thumbnail,
            added_at=self.added_at,
            updated_at=self.updated_at,
            picture_id=self.picture_id,
            sha256=self.sha256,
            format=self.format,
            width_px=self.width_px,
            height_px=self.height_px,
            renditions=msgspec.json.decode(self.renditions, type=tuple[Rendition, ...]),
        )


def _by_product(rows: Sequence[Any]) -> dict[UUID, list[Any]]:
    groups: dict[UUID, list[Any]] = {}
    for row in rows:
        groups.setdefault(row.product_id, []).append(row)
    return groups
