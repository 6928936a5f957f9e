"""How the products that a search finds divide: by category, brand, tag, price and stock."""

from typing import TYPE_CHECKING, Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.db import Database, numbered
from kasuwa.domain.catalogue.filters import MOST_COUNTED

if TYPE_CHECKING:
    from kasuwa.domain.catalogue.stock_query import Choice

Facet = Literal["category", "brand", "tag", "price", "inStock"]


class FacetValue(Struct, frozen=True):
    """`value` is the brand or the tag, or the category's name."""

    value: str
    count: int
    category_id: UUID | None = None


class PriceRange(Struct, frozen=True):
    """The lowest and the highest selling price of a quarter of the products."""

    from_minor: int
    to_minor: int
    count: int


class Facets(Struct, frozen=True, kw_only=True):
    """None where a facet was not asked for. Not `complete`: MOST_COUNTED products were counted."""

    complete: bool
    categories: tuple[FacetValue, ...] | None = None
    brands: tuple[FacetValue, ...] | None = None
    tags: tuple[FacetValue, ...] | None = None
    prices: tuple[PriceRange, ...] | None = None
    available: int | None = None
    sold_out: int | None = None


class _Row(Struct, frozen=True):
    facet: str
    label: str
    category_id: UUID | None
    low: int | None
    high: int | None
    count: int


# Each counts the rows of `chosen`; the outer names are those of _Row.
_COUNTS: dict[str, str] = {
    "category": """
        (SELECT 'category', c.name, c.category_id, NULL::bigint, NULL::bigint, count(*) FROM chosen p
         JOIN product_category l ON l.merchant_id = p.merchant_id AND l.product_id = p.product_id
         JOIN category c ON c.merchant_id = l.merchant_id AND c.category_id = l.category_id
         GROUP BY c.category_id, c.name ORDER BY count(*) DESC, c.name, c.category_id LIMIT 50)
    """,
    "brand": """
        (SELECT 'brand', p.brand, NULL::uuid, NULL::bigint, NULL::bigint, count(*) FROM chosen p
         WHERE p.brand <> '' GROUP BY p.brand ORDER BY count(*) DESC, p.brand LIMIT 50)
    """,
    "tag": """
        (SELECT 'tag', t.tag, NULL::uuid, NULL::bigint, NULL::bigint, count(DISTINCT p.product_id)
         FROM chosen p CROSS JOIN unnest(p.tags) t (tag)
         WHERE t.tag <> '' GROUP BY t.tag ORDER BY 6 DESC, t.tag LIMIT 50)
    """,
    "price": """
        (SELECT 'price', '', NULL::uuid, min(q.selling_minor), max(q.selling_minor), count(*) FROM (
           -- Equal prices never part.
           SELECT o.selling_minor, floor((o.place - 1) * 4 / o.many) AS quarter FROM (
             SELECT r.selling_minor, rank() OVER (ORDER BY r.selling_minor) AS place, count(*) OVER () AS many
             FROM chosen p
             CROSS JOIN LATERAL (
               SELECT y.selling_minor FROM price y
               JOIN variant v ON v.merchant_id = y.merchant_id AND v.variant_id = y.variant_id
               WHERE y.merchant_id = p.merchant_id AND v.product_id = p.product_id AND y.store_id IS NULL
                 AND y.currency = :currency
               ORDER BY v.position, v.variant_id LIMIT 1) r
           ) o
         ) q GROUP BY q.quarter ORDER BY min(q.selling_minor))
    """,
    "inStock": """
        (SELECT CASE WHEN a.is_available THEN 'available' ELSE 'soldOut' END, '', NULL::uuid, NULL::bigint,
                NULL::bigint, count(*)
         FROM chosen p
         CROSS JOIN LATERAL (
           SELECT NOT p.track_quantity OR coalesce(sum(s.on_hand - s.reserved) > 0, false) AS is_available
           FROM stock_balance s
           WHERE s.merchant_id = p.merchant_id AND s.product_id = p.product_id
             AND s.store_id = ANY(:store_ids::uuid[])) a
         GROUP BY a.is_available)
    """,
}


async def count_facets(db: Database, choice: "Choice", wanted: tuple[Facet, ...], currency: str) -> Facets:
    """The facets of what the choice finds, all in one statement."""
    counts = " UNION ALL ".join(_COUNTS[facet] for facet in wanted)
    statement = f"""
        WITH every AS MATERIALIZED (
          SELECT p.merchant_id, p.product_id, p.brand, p.tags, p.track_quantity {choice.rest()}
          LIMIT {MOST_COUNTED + 1}
        ), chosen AS MATERIALIZED (SELECT * FROM every LIMIT {MOST_COUNTED})
        SELECT facet, label, category_id, low, high, count FROM (
          SELECT 'all' AS facet, '' AS label, NULL::uuid AS category_id, NULL::bigint AS low,
                 NULL::bigint AS high, (SELECT count(*) FROM every) AS count
          UNION ALL {counts}
        ) counted
    """  # noqa: S608 - put together from the words above
    values = choice.values | {"currency": currency}
    rows = await db.all(statement, into=_Row, **{name: values[name] for name in numbered(statement).named})

    def those(facet: str) -> list[_Row]:
        return [row for row in rows if row.facet == facet]

    def valued(facet: Facet) -> tuple[FacetValue, ...] | None:
        if facet not in wanted:
            return None
        return tuple(FacetValue(row.label, row.count, row.category_id) for row in those(facet))

    with_stock = "inStock" in wanted
    return Facets(
        complete=those("all")[0].count <= MOST_COUNTED,
        categories=valued("category"),
        brands=valued("brand"),
        tags=valued("tag"),
        prices=tuple(PriceRange(row.low or 0, row.high or 0, row.count) for row in those("price"))
        if "price" in wanted
        else None,
        available=sum(row.count for row in those("available")) if with_stock else None,
        sold_out=sum(row.count for row in those("soldOut")) if with_stock else None,
    )
