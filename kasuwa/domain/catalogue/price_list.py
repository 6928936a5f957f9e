"""The price list: a line for each simple product or variant, with its price at the caller's store."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.cursors import read_cursor, write_cursor, wrong_cursor
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.errors import PageTooDeep
from kasuwa.domain.catalogue.filters import MOST_COUNTED, conditions_of
from kasuwa.domain.catalogue.lists import count_products
from kasuwa.domain.catalogue.price_feed import line_name
from kasuwa.domain.catalogue.records import Price, ProductFilter, ProductStatus, Tax

# Names beyond this many bytes would make a cursor longer than APIs allow.
_MOST_NAME_BYTES = 300


class PriceLine(Struct, frozen=True, kw_only=True):
    """`variant_id` is None for a simple product."""

    product_id: UUID
    variant_id: UUID | None
    sku: str
    barcode: str | None
    name: str
    unit: str
    category_ids: tuple[UUID, ...]
    price: Price
    tax: Tax
    status: ProductStatus
    price_updated_at: datetime


class PriceListWish(Struct, frozen=True, kw_only=True):
    """Which lines, and which page of them. A cursor wins over the page."""

    status: ProductStatus = "active"
    category_id: UUID | None = None
    page: int = 1
    size: int = 50
    cursor: str | None = None


class PricePage(Struct, frozen=True, kw_only=True):
    """A page by name. `total` is exact where `total_is_exact`, else at least that."""

    rows: tuple[PriceLine, ...]
    total: int
    total_is_exact: bool
    next_cursor: str | None


async def list_prices(context: Context, wish: PriceListWish) -> PricePage:
    """Raises PageTooDeep, CursorWrong."""
    if wish.cursor is None and wish.page * wish.size > MOST_COUNTED:
        fault = FieldFault("#/query/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")
        raise PageTooDeep(faults=[fault])
    async with context.reading() as db:
        count = await _count(db, context, wish)
        rows = await _page(db, context, wish)
    shown = rows[: wish.size]
    return PricePage(
        rows=tuple(row.line() for row in shown),
        total=min(count, MOST_COUNTED),
        total_is_exact=count <= MOST_COUNTED,
        next_cursor=_write_cursor(shown[-1]) if len(rows) > wish.size else None,
    )


async def _page(db: Database, context: Context, wish: PriceListWish) -> list["_Row"]:
    """The lines of the page, and one more where there is one."""
    conditions, values = await conditions_of(db, _wanted(wish), context.store_id)
    offset = (wish.page - 1) * wish.size
    if wish.cursor is not None:
        place = await _place_of(db, wish.cursor)
        # The first comparison is one that the index knows, the second is exact.
        conditions += [
            "(p.sort_name, p.product_id) >= (:after_name, :after_product)",
            "(p.sort_name, p.product_id, v.position, v.variant_id)"
            " > (:after_name, :after_product, :after_position, :after_variant)",
        ]
        values |= {
            "after_name": place.sort_name,
            "after_product": place.product_id,
            "after_position": place.position,
            "after_variant": place.variant_id,
        }
        offset = 0
    return await _read(db, conditions, values, context.store_id, wish.size + 1, offset)


async def _count(db: Database, context: Context, wish: PriceListWish) -> int:
    """How many lines there are, counted no further than one too many."""
    # Each product has a line at least: in a big shop the counter says enough.
    if wish.category_id is None and await count_products(db, (wish.status,)) > MOST_COUNTED:
        return MOST_COUNTED + 1
    conditions, values = await conditions_of(db, _wanted(wish), context.store_id)
    count: int = await db.value(
        f"SELECT count(*) FROM (SELECT 1 {_lines(conditions)} LIMIT {MOST_COUNTED + 1}) counted",  # noqa: S608
        **values,
    )
    return count


def _wanted(wish: PriceListWish) -> ProductFilter:
    return ProductFilter(statuses=(wish.status,), category_id=wish.category_id)


async def read_price_lines(context: Context, product_id: UUID) -> list[PriceLine]:
    """The lines of one product, in the order of its variants."""
    wanted = ProductFilter(statuses=("active", "inactive", "archived"), product_ids=(product_id,))
    async with context.reading() as db:
        conditions, values = await conditions_of(db, wanted, context.store_id)
        rows = await _read(db, conditions, values, context.store_id, None, 0)
    return [row.line() for row in rows]


def _lines(conditions: list[str]) -> str:
    return f"""
        FROM product p
        JOIN variant v ON v.merchant_id = p.merchant_id AND v.product_id = p.product_id
        WHERE {" AND ".join(conditions)} AND (NOT v.archived OR p.status = 'archived')
          AND v.removed_at IS NULL AND (p.kind = 'simple' OR v.position > 0)
    """


async def _read(
    db: Database,
    conditions: list[str],
    values: dict[str, object],
    store_id: UUID,
    size: int | None,
    offset: int,
) -> list["_Row"]:
    # The page is chosen first; prices and categories are looked up for what is left.
    return await db.all(
        f"""
        SELECT l.product_id, l.variant_id, l.position, l.sort_name, l.kind, l.sku, l.barcode, l.name,
               l.variant_name, l.unit, l.status, l.taxable, l.tax_rate, l.vat_type, l.tax_code,
               ARRAY (
                 SELECT c.category_id FROM product_category c
                 WHERE c.merchant_id = current_merchant() AND c.product_id = l.product_id
                 ORDER BY c.category_id
               ) AS category_ids,
               r.currency, r.selling_minor, r.cost_minor, r.promo_minor, r.promo_starts_at, r.promo_ends_at,
               r.wholesale_minor, r.wholesale_min_quantity, r.updated_at
        FROM (
          SELECT p.product_id, p.sort_name, p.kind, p.name, p.unit, p.status, p.taxable, p.tax_rate,
                 p.vat_type, p.tax_code, v.variant_id, v.position, v.name AS variant_name, v.sku, v.barcode
          {_lines(conditions)}
          ORDER BY p.sort_name, p.product_id, v.position, v.variant_id
          LIMIT :size OFFSET :offset
        ) l
        CROSS JOIN LATERAL (
          SELECT r.currency, r.selling_minor, r.cost_minor, r.promo_minor, r.promo_starts_at, r.promo_ends_at,
                 r.wholesale_minor, r.wholesale_min_quantity, r.updated_at
          FROM price r
          WHERE r.merchant_id = current_merchant() AND r.variant_id = l.variant_id
            AND (r.store_id IS NULL OR r.store_id = :here)
          ORDER BY r.store_id NULLS LAST LIMIT 1
        ) r
        ORDER BY l.sort_name, l.product_id, l.position, l.variant_id
        """,  # noqa: S608 - put together from the words above
        into=_Row,
        size=size,
        offset=offset,
        here=store_id,
        **values,
    )


class _Row(Struct, frozen=True):
    product_id: UUID
    variant_id: UUID
    position: int
    sort_name: str
    kind: str
    sku: str
    barcode: str | None
    name: str
    variant_name: str
    unit: str
    status: ProductStatus
    taxable: bool
    tax_rate: Decimal | None
    vat_type: Any
    tax_code: str | None
    category_ids: list[UUID]
    currency: str
    selling_minor: int
    cost_minor: int | None
    promo_minor: int | None
    promo_starts_at: datetime | None
    promo_ends_at: datetime | None
    wholesale_minor: int | None
    wholesale_min_quantity: Decimal | None
    updated_at: datetime

    def line(self) -> PriceLine:
        return PriceLine(
            product_id=self.product_id,
            variant_id=None if self.kind == "simple" else self.variant_id,
            sku=self.sku,
            barcode=self.barcode,
            name=line_name(self.name, self.variant_name),
            unit=self.unit,
            category_ids=tuple(self.category_ids),
            price=Price(**{name: getattr(self, name) for name in Price.__struct_fields__}),
            tax=Tax(self.taxable, self.tax_rate, self.vat_type, self.tax_code),
            status=self.status,
            price_updated_at=self.updated_at,
        )


class _Place(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a list goes on. A name that is too long for a cursor is looked up again."""

    sort_name: str | None
    product_id: UUID
    position: int
    variant_id: UUID


def _write_cursor(row: _Row) -> str:
    name = row.sort_name if len(row.sort_name.encode()) <= _MOST_NAME_BYTES else None
    return write_cursor(
        _Place(name, UUID(int=row.product_id.int), row.position, UUID(int=row.variant_id.int))
    )


async def _place_of(db: Database, text: str) -> _Place:
    """Raises CursorWrong: a cursor may come from anybody."""
    place = read_cursor(text, _Place)
    name = place.sort_name
    if abs(place.position) >= 2**31 or (name is not None and "\0" in name):
        raise wrong_cursor()
    if name is None:
        name = await db.value(
            "SELECT sort_name FROM product"
            " WHERE merchant_id = current_merchant() AND product_id = :product_id",
            product_id=place.product_id,
        )
        if name is None:
            raise wrong_cursor()
    return msgspec.structs.replace(place, sort_name=name)
