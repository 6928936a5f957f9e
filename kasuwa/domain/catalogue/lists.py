"""Lists of products: which ones, in what order, how many in all; then their cards with live stock."""

import base64
import binascii
import re
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.cards import refresh_stale_cards
from kasuwa.domain.catalogue.errors import CursorWrong, PageTooDeep
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.catalogue.records import PageWish, ProductFilter, ProductStatus, SortKey

# Counting further costs more than anybody learns from it.
MOST_COUNTED = 10_000


class ListedProduct(Struct, frozen=True):
    """A card with what lies at the store the list was asked for."""

    product_id: UUID
    number: int
    body: str
    has_variants: bool
    track_quantity: bool
    on_hand: Decimal
    reserved: Decimal
    reorder_level: Decimal | None
    reorder_quantity: Decimal | None
    sort_value: str


class ProductPage(Struct, frozen=True):
    """A page of a list. `total` is exact where `total_is_exact`, else at least that."""

    rows: tuple[ListedProduct, ...]
    page: int
    size: int
    total: int
    total_is_exact: bool
    next_cursor: str | None

    @property
    def pages(self) -> int:
        return -(-self.total // self.size)


async def list_products(context: Context, dialect: str, wanted: ProductFilter, wish: PageWish) -> ProductPage:
    """The page, with the cards of the dialect and the stock of the caller's store."""
    _check_depth(wish)
    async with context.reading() as db:
        conditions, values = await _conditions(context, db, wanted)
        total, is_exact = await _count(db, wanted, wish, conditions, values)
        # Beyond the end there is nothing to skip to, however far the page is.
        is_beyond = wish.cursor is None and is_exact and (wish.page - 1) * wish.size >= total
        rows = [] if is_beyond else await _page(context, db, dialect, wish, conditions, values)
    cursor = None
    if len(rows) > wish.size:
        rows = rows[: wish.size]
        cursor = cursor_at(wish, rows[-1])
    return ProductPage(tuple(rows), wish.page, wish.size, total, is_exact, cursor)


class PutTogether(Struct, frozen=True):
    """A page as JSON text: the rows of the list without its brackets."""

    data: str
    page: int
    size: int
    total: int
    next_cursor: str | None

    @property
    def pages(self) -> int:
        return -(-self.total // self.size)


class _PageRow(Struct, frozen=True):
    data: str | None
    shown: int
    total: int
    last_sort_name: str | None
    last_product_id: UUID | None
    is_plain: bool


async def put_page_together(
    context: Context, dialect: str, status: ProductStatus, wish: PageWish, live: str
) -> PutTogether | None:
    """The page by name, put together by the database in one call; None when it must be read the long way.

    `live` is a text for PostgreSQL's format() that turns a row's stock into JSON: see product_page().
    """
    if wish.sort != "name" or wish.descending or wish.cursor is not None:
        return None
    _check_depth(wish)
    skipped = (wish.page - 1) * wish.size
    async with context.services.pool.autocommit() as db:
        row = await db.one(
            """
            SELECT data, shown, total, last_sort_name, last_product_id, is_plain
            FROM product_page(:merchant_id, :dialect, :store_id, :status, :with_cost, :live, :size, :skipped)
            """,
            into=_PageRow,
            merchant_id=context.merchant_id,
            dialect=dialect,
            store_id=context.store_id,
            status=status,
            with_cost=context.may("stock.cost"),
            live=live,
            size=wish.size,
            skipped=skipped,
        )
    if not row.is_plain:
        return None
    cursor = None
    if skipped + row.shown < row.total and row.last_product_id is not None:
        cursor = _write_cursor(wish, row.last_sort_name or "", row.last_product_id)
    return PutTogether(row.data or "", wish.page, wish.size, row.total, cursor)


def _check_depth(wish: PageWish) -> None:
    if wish.cursor is None and not wish.any_depth and wish.page * wish.size > MOST_COUNTED:
        raise PageTooDeep(
            faults=[FieldFault("#/query/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")]
        )


_SORTS: dict[SortKey, tuple[str, str]] = {
    # The expression, and the type its value has in a cursor.
    "name": ("p.sort_name", "text"),
    "sku": ("v.sku_key", "text"),
    "number": ("p.number", "bigint"),
    "created_at": ("p.created_at", "timestamptz"),
    "updated_at": ("p.updated_at", "timestamptz"),
    "price": ("r.selling_minor", "bigint"),
    "effective_price": (
        "CASE WHEN r.promo_minor IS NOT NULL AND coalesce(r.promo_starts_at <= now(), true)"
        " AND coalesce(r.promo_ends_at > now(), true) THEN r.promo_minor ELSE r.selling_minor END",
        "bigint",
    ),
    "visible_online": ("p.visible_online", "boolean"),
    "quantity": ("coalesce(b.on_hand, 0)", "numeric"),
}


async def _page(
    context: Context,
    db: Database,
    dialect: str,
    wish: PageWish,
    conditions: list[str],
    values: dict[str, object],
) -> list[ListedProduct]:
    sort, kind = _SORTS[wish.sort]
    way = "DESC" if wish.descending else "ASC"
    conditions, values = list(conditions), dict(values)
    offset = (wish.page - 1) * wish.size
    if wish.cursor is not None:
        after, after_id = _read_cursor(wish)
        comparison = "<" if wish.descending else ">"
        conditions.append(f"({sort}, p.product_id) {comparison} (:after::text::{kind}, :after_id::uuid)")
        values |= {"after": after, "after_id": after_id}
        offset = 0
    body = "c.body" if context.may("stock.cost") else "coalesce(c.body_without_cost, c.body)"
    # The page is chosen first, by what the choice needs; cards and stock are joined to what is left.
    rows = await db.all(
        f"""
        SELECT p.product_id, p.number, {body} AS body, p.kind = 'variant' AS has_variants, p.track_quantity,
               coalesce(b.on_hand, 0) AS on_hand, coalesce(b.reserved, 0) AS reserved, b.reorder_level,
               b.reorder_quantity, p.sort_value::text AS sort_value, c.stale_at <= now() AS is_stale
        FROM (
          SELECT p.merchant_id, p.product_id, p.number, p.kind, p.track_quantity, {sort} AS sort_value
          FROM product p
          {_joins(sort, *conditions)}
          WHERE {" AND ".join(conditions)}
          ORDER BY {sort} {way}, p.product_id {way}
          LIMIT :size OFFSET :offset
        ) p
        JOIN product_card c
          ON c.merchant_id = p.merchant_id AND c.product_id = p.product_id AND c.dialect = :dialect
        {_JOINS["b"]}
        ORDER BY p.sort_value {way}, p.product_id {way}
        """,  # noqa: S608 - put together from the words above
        into=_Row,
        dialect=dialect,
        size=wish.size + 1,
        offset=offset,
        **(values | {"store_id": context.store_id}),
    )
    if any(row.is_stale for row in rows):
        await refresh_stale_cards(db)
        return await _page(context, db, dialect, wish, conditions, values)
    return [row.listed() for row in rows]


# What a sort or a condition may ask for, by the letter it is known by. The first variant stands for the
# product; a store's balance is summed over the variants.
_JOINS = {
    "v": """
        JOIN LATERAL (
          SELECT v.variant_id, v.sku_key FROM variant v
          WHERE v.merchant_id = p.merchant_id AND v.product_id = p.product_id
          ORDER BY v.position, v.variant_id LIMIT 1
        ) v ON true
    """,
    "b": """
        LEFT JOIN LATERAL (
          SELECT sum(s.on_hand) AS on_hand, sum(s.reserved) AS reserved,
                 max(s.reorder_level) AS reorder_level,
                 max(s.reorder_quantity) AS reorder_quantity
          FROM stock_balance s
          WHERE s.merchant_id = p.merchant_id AND s.product_id = p.product_id AND s.store_id = :store_id
        ) b ON true
    """,
    "r": """
        JOIN LATERAL (
          SELECT r.selling_minor, r.promo_minor, r.promo_starts_at, r.promo_ends_at FROM price r
          JOIN variant v ON v.merchant_id = r.merchant_id AND v.variant_id = r.variant_id
          WHERE r.merchant_id = p.merchant_id AND v.product_id = p.product_id AND r.store_id IS NULL
          ORDER BY v.position, v.variant_id LIMIT 1
        ) r ON true
    """,
}


def _joins(*words: str) -> str:
    """The joins that these expressions speak of."""
    return "".join(join for letter, join in _JOINS.items() if any(f"{letter}." in word for word in words))


async def _conditions(
    context: Context, db: Database, wanted: ProductFilter
) -> tuple[list[str], dict[str, object]]:
    """The WHERE of the list, and the values of its names."""
    conditions = ["p.merchant_id = current_merchant()"]
    values: dict[str, object] = {}
    if wanted.low_stock is not None:
        values["store_id"] = context.store_id
    if len(wanted.statuses) == 1:
        conditions.append("p.status = :status")
        values["status"] = wanted.statuses[0]
    else:
        conditions.append("p.status = ANY(:statuses::text[])")
        values["statuses"] = list(wanted.statuses)

    def add(condition: str, **named: object) -> None:
        conditions.append(condition)
        values.update(named)

    if wanted.text is not None:
        # Runs as its own role, or row-level security would keep PostgreSQL from its index.
        search = "find_described_products" if wanted.in_descriptions else "find_products"
        found = await db.values(f"SELECT {search}(:text, :most)", text=wanted.text, most=MOST_COUNTED)
        add("p.product_id = ANY(:found::uuid[])", found=found)
    if wanted.product_ids is not None:
        add("p.product_id = ANY(:product_ids::uuid[])", product_ids=list(wanted.product_ids))
    if wanted.numbers is not None:
        add("p.number = ANY(:numbers::bigint[])", numbers=list(wanted.numbers))
    if wanted.not_numbers is not None:
        add("p.number <> ALL(:not_numbers::bigint[])", not_numbers=list(wanted.not_numbers))
    if wanted.number_from is not None:
        add("p.number >= :number_from::bigint", number_from=wanted.number_from)
    if wanted.number_to is not None:
        add("p.number <= :number_to::bigint", number_to=wanted.number_to)
    if wanted.name is not None:
        add("p.name = :name", name=wanted.name)
    if wanted.skus is not None:
        add("v.sku_key = ANY(:sku_keys::text[])", sku_keys=[sku_key(sku) for sku in wanted.skus])
    if wanted.visible_online is not None:
        add("p.visible_online = :visible_online", visible_online=wanted.visible_online)
    if wanted.created_from is not None:
        add("p.created_at >= :created_from::timestamptz", created_from=_utc(wanted.created_from))
    if wanted.created_to is not None:
        add("p.created_at <= :created_to::timestamptz", created_to=_utc(wanted.created_to))
    if wanted.updated_from is not None:
        add("p.updated_at >= :updated_from::timestamptz", updated_from=_utc(wanted.updated_from))
    if wanted.updated_to is not None:
        add("p.updated_at <= :updated_to::timestamptz", updated_to=_utc(wanted.updated_to))
    if wanted.low_stock is not None:
        is_low = "(p.track_quantity AND b.on_hand - b.reserved <= b.reorder_level)"
        add(f"{is_low} IS {'TRUE' if wanted.low_stock else 'NOT TRUE'}")
    if wanted.extra is not None:
        add("p.extra @> :extra::jsonb", extra=msgspec.json.encode(wanted.extra).decode())
    for place, path in enumerate(wanted.extra_absent):
        add(f"p.extra #> :absent_{place}::text[] IS NULL", **{f"absent_{place}": list(path)})
    if wanted.extra_any is not None:
        add(
            "p.extra @> ANY(:extra_any::jsonb[])",
            extra_any=[msgspec.json.encode(extra).decode() for extra in wanted.extra_any],
        )
    if wanted.category_id is not None:
        add(_IN_CATEGORY, category_id=wanted.category_id)
    return conditions, values


_IN_CATEGORY = """
    EXISTS (
      WITH RECURSIVE below AS (
        SELECT category_id FROM category WHERE merchant_id = current_merchant() AND category_id = :category_id
        UNION
        SELECT c.category_id FROM category c JOIN below ON c.parent_id = below.category_id
        WHERE c.merchant_id = current_merchant()
      )
      SELECT FROM product_category l JOIN below USING (category_id)
      WHERE l.merchant_id = p.merchant_id AND l.product_id = p.product_id
    )
"""


async def _count(
    db: Database, wanted: ProductFilter, wish: PageWish, conditions: list[str], values: dict[str, object]
) -> tuple[int, bool]:
    if wanted.is_plain:
        return await count_products(db, wanted.statuses), True
    most = "ALL" if wish.any_depth else MOST_COUNTED + 1
    count: int = await db.value(
        f"""
        SELECT count(*) FROM (
          SELECT 1 FROM product p {_joins(*conditions)} WHERE {" AND ".join(conditions)}
          LIMIT {most}
        ) counted
        """,  # noqa: S608 - put together from the words above
        **values,
    )
    if wish.any_depth:
        return count, True
    return min(count, MOST_COUNTED), count <= MOST_COUNTED


async def count_products(db: Database, statuses: tuple[str, ...]) -> int:
    """How many products the merchant has in these states, from the counters."""
    count = await db.value(
        """
        SELECT coalesce(sum(value), 0)::bigint FROM merchant_counter
        WHERE merchant_id = current_merchant() AND name = ANY(:names::text[])
        """,
        names=[f"products.{status}" for status in statuses],
    )
    return int(count)


class _Row(Struct, frozen=True):
    product_id: UUID
    number: int
    body: str
    has_variants: bool
    track_quantity: bool
    on_hand: Decimal
    reserved: Decimal
    reorder_level: Decimal | None
    reorder_quantity: Decimal | None
    sort_value: str
    is_stale: bool | None

    def listed(self) -> ListedProduct:
        return ListedProduct(**{name: getattr(self, name) for name in ListedProduct.__struct_fields__})


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    sort: SortKey
    descending: bool
    value: str
    product_id: UUID


def cursor_at(wish: PageWish, last: ListedProduct) -> str:
    """The cursor with which the list that is wished goes on after this row."""
    return _write_cursor(wish, last.sort_value, last.product_id)


def _write_cursor(wish: PageWish, sort_value: str, product_id: UUID) -> str:
    content = msgspec.msgpack.encode(
        _Cursor(wish.sort, wish.descending, sort_value, UUID(int=product_id.int))
    )
    return base64.urlsafe_b64encode(content).decode()


def _read_cursor(wish: PageWish) -> tuple[str, UUID]:
    assert wish.cursor is not None
    try:
        cursor = msgspec.msgpack.decode(base64.urlsafe_b64decode(wish.cursor), type=_Cursor)
        _check_value(cursor)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise _wrong_cursor() from None
    if (cursor.sort, cursor.descending) != (wish.sort, wish.descending):
        raise _wrong_cursor()
    return cursor.value, cursor.product_id


_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)

# What PostgreSQL writes of a value of each type, and reads again.
_VALUES: dict[str, re.Pattern[str]] = {
    "bigint": re.compile(r"-?[0-9]{1,18}", re.ASCII),
    "numeric": re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,6})?", re.ASCII),
    "timestamptz": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}(\.[0-9]{1,6})?\+00(:00)?", re.ASCII),
    "boolean": re.compile(r"true|false"),
    "text": re.compile(r"[^\0]{0,1000}"),
}


def _check_value(cursor: _Cursor) -> None:
    """A cursor may come from anybody: its value must be what the column's type reads."""
    kind = _SORTS[cursor.sort][1]
    if not _VALUES[kind].fullmatch(cursor.value):
        raise ValueError("not a value of this sort")
    if kind == "timestamptz":
        datetime.fromisoformat(cursor.value)


def _utc(at: datetime) -> datetime:
    """The moment in UTC; the first or the last one there is, where an offset leads beyond the calendar."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return _LAST if at.year > 1 else _FIRST


def _wrong_cursor() -> CursorWrong:
    return CursorWrong(
        faults=[FieldFault("#/query/cursor", "cursor", "Use nextCursor of the same list and sort as it was.")]
    )
