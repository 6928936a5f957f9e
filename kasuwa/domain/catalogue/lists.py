"""Lists of products: which ones, in what order, how many in all; then their cards with live stock."""

from decimal import Decimal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.pages import Page
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.cards import refresh_stale_cards
from kasuwa.domain.catalogue.errors import PageTooDeep
from kasuwa.domain.catalogue.filters import IS_LOW, JOINS, MOST_COUNTED, conditions_of, joins_for
from kasuwa.domain.catalogue.records import PageWish, ProductFilter, ProductStatus
from kasuwa.domain.catalogue.sorting import SORTS, read_cursor, write_cursor

# The card of the store, where the product has one there; not looked for where the common card says no.
STORE_CARD = """
    LEFT JOIN LATERAL (
      SELECT o.body, o.body_without_cost FROM store_card o
      WHERE c.has_store_cards AND o.merchant_id = p.merchant_id AND o.store_id = :store_id
        AND o.dialect = :dialect AND o.product_id = p.product_id
      LIMIT 1
    ) o ON true
"""


def shown_body(*, with_cost: bool) -> str:
    """What is shown of the common card `c` and the store's card `o`."""
    body = "{0}.body" if with_cost else "coalesce({0}.body_without_cost, {0}.body)"
    return f"CASE WHEN o.body IS NULL THEN {body.format('c')} ELSE {body.format('o')} END"


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
    is_low: bool
    sort_value: str


async def list_products(
    context: Context, dialect: str, wanted: ProductFilter, wish: PageWish
) -> Page[ListedProduct]:
    """The page, with the cards of the dialect and the stock of the caller's store."""
    _check_depth(wish)
    async with context.reading() as db:
        conditions, values = await conditions_of(db, wanted, context.store_id)
        total, is_exact = await _count(db, wanted, wish, conditions, values)
        # Beyond the end there is nothing to skip to, however far the page is.
        is_beyond = wish.cursor is None and is_exact and (wish.page - 1) * wish.size >= total
        rows = [] if is_beyond else await _page(context, db, dialect, wish, conditions, values)
    cursor = None
    if len(rows) > wish.size:
        rows = rows[: wish.size]
        cursor = cursor_at(wish, rows[-1])
    return Page(tuple(rows), wish.page, wish.size, total, is_exact, cursor)


class PutTogether(Struct, frozen=True):
    """A page as JSON: the rows of the list without its brackets."""

    data: bytes
    page: int
    size: int
    total: int
    next_cursor: str | None

    @property
    def pages(self) -> int:
        return -(-self.total // self.size)


class _PageRow(Struct, frozen=True):
    data: bytes | None
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
    async with context.single_call() as db:
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
        cursor = write_cursor(wish, row.last_sort_name or "", row.last_product_id)
    return PutTogether(row.data or b"", wish.page, wish.size, row.total, cursor)


def _check_depth(wish: PageWish) -> None:
    if wish.cursor is None and not wish.any_depth and wish.page * wish.size > MOST_COUNTED:
        raise PageTooDeep(
            faults=[FieldFault("#/query/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")]
        )


async def _page(
    context: Context,
    db: Database,
    dialect: str,
    wish: PageWish,
    chosen: list[str],
    given: dict[str, object],
    *,
    refresh: bool = True,
) -> "list[_Row]":
    sort, kind = SORTS[wish.sort]
    way = "DESC" if wish.descending else "ASC"
    conditions, values = list(chosen), dict(given)
    offset = (wish.page - 1) * wish.size
    if wish.cursor is not None:
        after, after_id = read_cursor(wish)
        comparison = "<" if wish.descending else ">"
        conditions.append(f"({sort}, p.product_id) {comparison} (:after::text::{kind}, :after_id::uuid)")
        values |= {"after": after, "after_id": after_id}
        offset = 0
    body = shown_body(with_cost=context.may("stock.cost"))
    # The page is chosen first, by what the choice needs; cards and stock are joined to what is left.
    rows = await db.all(
        f"""
        SELECT p.product_id, p.number, {body} || '}}' AS body, p.kind = 'variant' AS has_variants,
               p.track_quantity, coalesce(b.on_hand, 0) AS on_hand, coalesce(b.reserved, 0) AS reserved,
               b.reorder_level, b.reorder_quantity, coalesce({IS_LOW}, false) AS is_low,
               p.sort_value::text AS sort_value,
               c.stale_at <= now() AS is_stale
        FROM (
          SELECT p.merchant_id, p.product_id, p.number, p.kind, p.track_quantity, {sort} AS sort_value
          FROM product p
          {joins_for(sort, *conditions)}
          WHERE {" AND ".join(conditions)}
          ORDER BY {sort} {way}, p.product_id {way}
          LIMIT :size OFFSET :offset
        ) p
        JOIN product_card c
          ON c.merchant_id = p.merchant_id AND c.product_id = p.product_id AND c.dialect = :dialect
        {STORE_CARD}
        {JOINS["b"]}
        ORDER BY p.sort_value {way}, p.product_id {way}
        """,  # noqa: S608 - put together from the words above
        into=_Row,
        dialect=dialect,
        size=wish.size + 1,
        offset=offset,
        **(values | {"store_id": context.store_id}),
    )
    if refresh and any(row.is_stale for row in rows):
        await refresh_stale_cards(db)
        return await _page(context, db, dialect, wish, chosen, given, refresh=False)
    return rows


async def _count(
    db: Database, wanted: ProductFilter, wish: PageWish, conditions: list[str], values: dict[str, object]
) -> tuple[int, bool]:
    if wanted.is_plain:
        return await count_products(db, wanted.statuses), True
    most = "ALL" if wish.any_depth else MOST_COUNTED + 1
    count: int = await db.value(
        f"""
        SELECT count(*) FROM (
          SELECT 1 FROM product p {joins_for(*conditions)} WHERE {" AND ".join(conditions)}
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


class _Row(ListedProduct, frozen=True):
    is_stale: bool | None


def cursor_at(wish: PageWish, last: ListedProduct) -> str:
    """The cursor with which the list that is wished goes on after this row."""
    return write_cursor(wish, last.sort_value, last.product_id)
