"""The search of the back office: words and conditions in any combination, several sorts, facets.

With a text, what is found is at most MOST_COUNTED products, the best ones first; they are read once, and the
page, the total and the facets are taken from them. Without one the page walks an index.
"""

from decimal import Decimal
from typing import Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.cursors import read_cursor, write_cursor, wrong_cursor
from kasuwa.base.db import Database, numbered
from kasuwa.base.pages import Page
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.cards import refresh_stale_cards
from kasuwa.domain.catalogue.conditions import Condition, asks_for_costs, condition_sql, have_indexes
from kasuwa.domain.catalogue.errors import PageTooDeep, UnknownLocation
from kasuwa.domain.catalogue.facets import Facet, Facets, count_facets
from kasuwa.domain.catalogue.filters import IS_LOW, JOINS, MOST_COUNTED
from kasuwa.domain.catalogue.lists import STORE_CARD, ListedProduct, shown_body
from kasuwa.domain.catalogue.sorting import SORTS, is_value
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import currency_of, read_store_ids

OrderField = Literal[
    "name",
    "sku",
    "brand",
    "sellingPrice",
    "costPrice",
    "effectivePrice",
    "quantity",
    "available",
    "createdAt",
    "updatedAt",
    "relevance",
]

# What each order is by, and the type of its values. None of them is ever NULL: a cursor compares them.
_ORDERS: dict[OrderField, tuple[str, str]] = {
    "name": SORTS["name"],
    "sku": SORTS["sku"],
    "brand": ("coalesce(p.brand, '')", "text"),
    "sellingPrice": SORTS["price"],
    "costPrice": ("coalesce(r.cost_minor, -1)", "bigint"),
    "effectivePrice": SORTS["effective_price"],
    "quantity": SORTS["quantity"],
    "available": ("coalesce(b.on_hand - b.reserved, 0)", "numeric"),
    "createdAt": SORTS["created_at"],
    "updatedAt": SORTS["updated_at"],
    "relevance": ("f.rank", "bigint"),
}

_JOINS = {
    letter: join.replace("s.store_id = :store_id", "s.store_id = ANY(:store_ids::uuid[])")
    for letter, join in JOINS.items()
}

# The best place of each product that the text finds.
_FOUND = """
    JOIN (
      SELECT s.found_id, min(s.rank) AS rank FROM search_products(:text, :most, true, :correcting) s
      GROUP BY s.found_id
    ) f ON f.found_id = p.product_id
"""


# Planned with its values, since one brand is rare and another every second product's; and by indexes alone:
# who expects a few hundred rows too many would rather read every variant of the merchant once.
BY_INDEXES = (
    "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_hashjoin = off;"
    " SET LOCAL enable_mergejoin = off"
)
_BY_ANY_WAY = "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on"


class Order(Struct, frozen=True):
    field: OrderField
    descending: bool = False


class StockQuery(Struct, frozen=True, kw_only=True):
    """What is wanted. Without `store_ids` the caller's own store is counted."""

    text: str = ""
    corrects_text: bool = True
    conditions: tuple[Condition, ...] = ()
    any_of: bool = False
    with_subcategories: bool = True
    store_ids: tuple[UUID | None, ...] = ()
    orders: tuple[Order, ...] = ()
    page: int = 1
    size: int = 50
    cursor: str | None = None
    facets: tuple[Facet, ...] = ()


class FoundPage(Struct, frozen=True):
    """The page, with stock summed over `store_ids`."""

    page: Page[ListedProduct]
    store_ids: tuple[UUID, ...]
    currency: str
    facets: Facets | None


class Choice(Struct, frozen=True):
    """The products that are wanted: the rest of a statement from FROM on, and the values of its names."""

    found: str
    where: str
    values: dict[str, object]

    def rest(self, *words: str) -> str:
        """FROM and WHERE, with the joins that these words and the conditions speak of."""
        spoken = " ".join((self.where, *words))
        joins = "".join(join for letter, join in _JOINS.items() if f"{letter}." in spoken)
        return f"FROM product p {self.found} {joins} WHERE {self.where}"

    def values_of(self, statement: str) -> dict[str, object]:
        """Of its values those that the statement names."""
        named = numbered(statement).named
        return {name: value for name, value in self.values.items() if name in named}


async def query_stock(context: Context, dialect: str, wanted: StockQuery) -> FoundPage:
    """The page with the cards of the dialect.

    Raises ConditionWrong, UnknownLocation, PageTooDeep, CursorWrong.
    """
    if wanted.cursor is None and wanted.page * wanted.size > MOST_COUNTED:
        fault = FieldFault("/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")
        raise PageTooDeep(faults=[fault])
    orders = wanted.orders or (Order("relevance" if wanted.text.strip() else "name"),)
    if asks_for_costs(wanted.conditions) or any(order.field == "costPrice" for order in orders):
        context.require(Permission.STOCK_COST)
    currency = await currency_of(context)
    async with context.reading() as db:
        store_ids = await _stores(context, db, wanted.store_ids)
        choice = _choice(context, wanted, store_ids, currency)
        orders = tuple(order for order in orders if order.field != "relevance" or choice.found)
        by_indexes = not choice.found and have_indexes(wanted.conditions)
        if by_indexes:
            await db.execute(BY_INDEXES)
        rows, total = await _page(context, db, dialect, wanted, orders, choice)
        cursor = None
        if len(rows) > wanted.size:
            rows = rows[: wanted.size]
            cursor = _write_cursor(orders, rows[-1])
        page = Page(
            tuple(row.listed() for row in rows),
            wanted.page,
            wanted.size,
            min(total, MOST_COUNTED),
            total <= MOST_COUNTED,
            cursor,
        )
        if by_indexes and wanted.facets:
            await db.execute(_BY_ANY_WAY)
        facets = await count_facets(db, choice, wanted.facets, currency) if wanted.facets else None
    return FoundPage(page, store_ids, currency, facets)


async def _stores(context: Context, db: Database, wanted: tuple[UUID | None, ...]) -> tuple[UUID, ...]:
    known = set(await read_store_ids(db)) if wanted else set()
    for place, store_id in enumerate(wanted):
        if store_id not in known:
            fault = FieldFault(f"/storeIds/{place}", "unknown", "Name locations of this account.")
            raise UnknownLocation(faults=[fault])
    return tuple(store_id for store_id in wanted if store_id is not None) or (context.store_id,)


def _choice(context: Context, wanted: StockQuery, store_ids: tuple[UUID, ...], currency: str) -> Choice:
    # Stock is that of all these stores, prices are those of the caller's.
    values: dict[str, object] = {"store_ids": list(store_ids), "store_id": context.store_id}
    conditions = []
    for n, condition in enumerate(wanted.conditions):
        sql, given = condition_sql(condition, n, currency, with_subcategories=wanted.with_subcategories)
        conditions.append(sql)
        values |= given
    where = ["p.merchant_id = current_merchant()"]
    if not any(condition.field == "status" for condition in wanted.conditions):
        where.append("p.status = 'active'")
    if conditions:
        where.append(
            "(" + (" OR " if wanted.any_of else " AND ").join(f"({sql})" for sql in conditions) + ")"
        )
    text = wanted.text.strip()
    if text:
        values |= {"text": text, "most": MOST_COUNTED + 1, "correcting": wanted.corrects_text}
    return Choice(_FOUND if text else "", " AND ".join(where), values)


async def _page(
    context: Context,
    db: Database,
    dialect: str,
    wanted: StockQuery,
    orders: tuple[Order, ...],
    choice: Choice,
    *,
    refresh: bool = True,
) -> tuple[list["_Row"], int]:
    """The rows of the page and one more, and how many there are in all: beyond MOST_COUNTED, just more."""
    keys = [_ORDERS[order.field] for order in orders]
    sorts = ", ".join(
        [f"p.k{i} {'DESC' if order.descending else 'ASC'}" for i, order in enumerate(orders)]
        # What is as good goes by name.
        + ["p.sort_name", "p.product_id"]
    )
    after, after_values = _after(orders, wanted.cursor) if wanted.cursor is not None else ("true", {})
    # Found by a text, the products are few and are counted as they are read.
    total = "(SELECT count(*) FROM chosen)" if choice.found else "0::bigint"
    chosen = f"""
        SELECT p.merchant_id, p.product_id, p.number, p.kind, p.track_quantity, p.sort_name,
               {", ".join(f"{key} AS k{i}" for i, (key, _) in enumerate(keys)) or "NULL AS k"}
        {choice.rest(*(key for key, _ in keys))}
    """
    body = shown_body(with_cost=context.may(Permission.STOCK_COST))
    statement = f"""
        WITH chosen AS {"" if choice.found else "NOT"} MATERIALIZED ({chosen})
        SELECT p.product_id, p.number, {body} || '}}' AS body, p.kind = 'variant' AS has_variants,
               p.track_quantity, coalesce(b.on_hand, 0) AS on_hand, coalesce(b.reserved, 0) AS reserved,
               b.reorder_level, b.reorder_quantity, coalesce({IS_LOW}, false) AS is_low,
               p.keys, c.stale_at <= now() AS is_stale, p.total
        FROM (
          SELECT p.*, ARRAY[{", ".join([*(f"p.k{i}::text" for i in range(len(keys))), "p.sort_name"])}]
                 AS keys,
                 {total} AS total
          FROM chosen p WHERE {after}
          ORDER BY {sorts} LIMIT :size OFFSET :offset
        ) p
        JOIN product_card c
          ON c.merchant_id = p.merchant_id AND c.product_id = p.product_id AND c.dialect = :dialect
        {STORE_CARD}
        {_JOINS["b"]}
        ORDER BY {sorts}
    """  # noqa: S608 - put together from the words above
    rows = await db.all(
        statement,
        into=_Row,
        dialect=dialect,
        size=wanted.size + 1,
        offset=0 if wanted.cursor is not None else (wanted.page - 1) * wanted.size,
        **(choice.values_of(statement) | after_values),
    )
    if refresh and any(row.is_stale for row in rows):
        await refresh_stale_cards(db)
        return await _page(context, db, dialect, wanted, orders, choice, refresh=False)
    if choice.found and rows:
        return rows, rows[0].total
    return rows, await _count(db, choice)


async def _count(db: Database, choice: Choice) -> int:
    statement = f"SELECT count(*) FROM (SELECT 1 {choice.rest()} LIMIT {MOST_COUNTED + 1}) counted"  # noqa: S608
    count: int = await db.value(statement, **choice.values_of(statement))
    return count


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
    is_low: bool
    keys: list[str]
    is_stale: bool | None
    total: int

    def listed(self) -> ListedProduct:
        return ListedProduct(
            product_id=self.product_id,
            number=self.number,
            body=self.body,
            has_variants=self.has_variants,
            track_quantity=self.track_quantity,
            on_hand=self.on_hand,
            reserved=self.reserved,
            reorder_level=self.reorder_level,
            reorder_quantity=self.reorder_quantity,
            is_low=self.is_low,
            sort_value="",
        )


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    orders: tuple[Order, ...]
    keys: list[str]
    product_id: UUID


def _write_cursor(orders: tuple[Order, ...], last: _Row) -> str:
    return write_cursor(_Cursor(orders, list(last.keys), UUID(int=last.product_id.int)))


def _after(orders: tuple[Order, ...], text: str) -> tuple[str, dict[str, object]]:
    """What comes after the cursor's row in this order. A cursor may come from anybody. Raises CursorWrong."""
    kinds = [*(_ORDERS[order.field][1] for order in orders), "text"]
    cursor = read_cursor(text, _Cursor, pointer="/cursor")
    if (
        cursor.orders != orders
        or len(cursor.keys) != len(kinds)
        or not all(is_value(key, kind) for key, kind in zip(cursor.keys, kinds, strict=True))
    ):
        raise wrong_cursor("/cursor")
    columns = [*((f"p.k{i}", order.descending) for i, order in enumerate(orders)), ("p.sort_name", False)]
    values: dict[str, object] = {"after_id": cursor.product_id}
    ways: list[str] = []
    same: list[str] = []
    for i, (column, descending) in enumerate(columns):
        value = f":after_{i}::text::{kinds[i]}"
        values[f"after_{i}"] = cursor.keys[i]
        ways.append(" AND ".join([*same, f"{column} {'<' if descending else '>'} {value}"]))
        same.append(f"{column} = {value}")
    ways.append(" AND ".join([*same, "p.product_id > :after_id::uuid"]))
    return "(" + " OR ".join(f"({way})" for way in ways) + ")", values
