"""Which products a list shows, as the conditions of a statement."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from kasuwa.base.db import Database
from kasuwa.domain.catalogue.category_lists import read_tree_ids
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.catalogue.records import ProductFilter

# Counting further costs more than anybody learns from it.
MOST_COUNTED = 10_000

# Of a product at the stores of the join `b`: NULL where nothing is counted.
IS_LOW = "(p.track_quantity AND b.is_low)"

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def in_utc(at: datetime) -> datetime:
    """The moment in UTC; the first or the last one there is, where an offset leads beyond the calendar."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return _LAST if at.year > 1 else _FIRST


_IN_CATEGORY = """
    p.product_id IN (
      SELECT l.product_id FROM product_category l
      WHERE l.merchant_id = current_merchant() AND l.category_id = ANY(:tree::uuid[])
    )
"""

# A field of the filter, the condition it stands for, and how its value goes to PostgreSQL.
_CONDITIONS: tuple[tuple[str, str, Callable[[Any], object]], ...] = (
    ("product_ids", "p.product_id = ANY(:product_ids::uuid[])", list),
    ("numbers", "p.number = ANY(:numbers::bigint[])", list),
    ("not_numbers", "p.number <> ALL(:not_numbers::bigint[])", list),
    ("number_from", "p.number >= :number_from::bigint", int),
    ("number_to", "p.number <= :number_to::bigint", int),
    ("name", "p.name = :name", str),
    ("skus", "v.sku_key = ANY(:skus::text[])", lambda skus: [sku_key(sku) for sku in skus]),
    ("visible_online", "p.visible_online = :visible_online", bool),
    ("created_from", "p.created_at >= :created_from::timestamptz", in_utc),
    ("created_to", "p.created_at <= :created_to::timestamptz", in_utc),
    ("updated_from", "p.updated_at >= :updated_from::timestamptz", in_utc),
    ("updated_to", "p.updated_at <= :updated_to::timestamptz", in_utc),
    ("low_stock", f"coalesce({IS_LOW}, false) = :low_stock", bool),
    ("extra", "p.extra @> :extra::jsonb", _json),
    ("extra_any", "p.extra @> ANY(:extra_any::jsonb[])", lambda extras: [_json(extra) for extra in extras]),
)


async def conditions_of(
    db: Database, wanted: ProductFilter, store_id: UUID
) -> tuple[list[str], dict[str, object]]:
    """The WHERE of the list, and the values of its names."""
    conditions = ["p.merchant_id = current_merchant()"]
    values: dict[str, object] = {}
    # One status is named by itself, so that an index that begins with it keeps the order of names.
    if len(wanted.statuses) == 1:
        conditions.append("p.status = :status")
        values["status"] = wanted.statuses[0]
    else:
        conditions.append("p.status = ANY(:statuses::text[])")
        values["statuses"] = list(wanted.statuses)
    for field, condition, read in _CONDITIONS:
        value = getattr(wanted, field)
        if value is not None:
            conditions.append(condition)
            values[field] = read(value)
    if wanted.low_stock is not None:
        values["store_id"] = store_id
    for place, path in enumerate(wanted.extra_absent):
        conditions.append(f"p.extra #> :absent_{place}::text[] IS NULL")
        values[f"absent_{place}"] = list(path)
    if wanted.category_id is not None:
        conditions.append(_IN_CATEGORY)
        values["tree"] = await read_tree_ids(db, wanted.category_id)
    if wanted.text is not None:
        # Runs as its own role, or row-level security would keep PostgreSQL from its index.
        conditions.append("p.product_id = ANY(:found::uuid[])")
        values["found"] = await db.values(
            "SELECT DISTINCT found_id FROM search_products(:text, :most, :in_descriptions, :correcting)",
            text=wanted.text.replace("\0", ""),
            most=MOST_COUNTED,
            in_descriptions=wanted.in_descriptions,
            correcting=wanted.corrects_text,
        )
    return conditions, values


# What a sort or a condition may ask for, by the letter it is known by. The first variant stands for the
# product; a store's balance is summed over the variants; a store's own price wins.
JOINS = {
    "v": """
        JOIN LATERAL (
          SELECT v.variant_id, v.sku_key FROM variant v
          WHERE v.merchant_id = p.merchant_id AND v.product_id = p.product_id
          ORDER BY v.position, v.variant_id LIMIT 1
        ) v ON true
    """,
    # Each balance says of itself whether it is low. A product with variants is low with one of them, or when
    # all of them together are at the level that was said of the product itself: that one stands at a balance
    # that is closed, since nothing lies on it.
    "b": """
        LEFT JOIN LATERAL (
          SELECT sum(l.on_hand) AS on_hand, sum(l.reserved) AS reserved,
                 max(l.reorder_level) AS reorder_level, max(l.reorder_quantity) AS reorder_quantity,
                 bool_or(l.is_low) AS is_low
          FROM (
            SELECT sum(s.on_hand) AS on_hand, sum(s.reserved) AS reserved,
                   max(s.reorder_level) AS reorder_level, max(s.reorder_quantity) AS reorder_quantity,
                   bool_or(s.is_low AND NOT s.closed)
                     OR coalesce(sum(s.on_hand - s.reserved) <= max(s.reorder_level) FILTER (WHERE s.closed),
                                 false) AS is_low
            FROM stock_balance s
            WHERE s.merchant_id = p.merchant_id AND s.product_id = p.product_id AND s.store_id = :store_id
            GROUP BY s.store_id
          ) l
        ) b ON true
    """,
    "r": """
        JOIN LATERAL (
          SELECT r.selling_minor, r.cost_minor, r.promo_minor, r.promo_starts_at, r.promo_ends_at FROM price r
          JOIN variant v ON v.merchant_id = r.merchant_id AND v.variant_id = r.variant_id
          WHERE r.merchant_id = p.merchant_id AND v.product_id = p.product_id
            AND (r.store_id IS NULL OR r.store_id = :store_id)
          ORDER BY v.position, v.variant_id, r.store_id NULLS LAST LIMIT 1
        ) r ON true
    """,
}


def joins_for(*words: str) -> str:
    """The joins that these expressions speak of."""
    return "".join(
        join for letter, join in JOINS.items() if any(re.search(rf"\b{letter}\.", word) for word in words)
    )
