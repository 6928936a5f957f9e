"""Conditions that a caller puts together: field, operator and values, as SQL."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.ids import read_id
from kasuwa.base.money import to_minor
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.filters import IS_LOW
from kasuwa.domain.catalogue.queries import sku_key, sort_name
from kasuwa.domain.catalogue.sorting import SORTS

Operator = Literal[
    "eq", "ne", "in", "nin", "contains", "starts_with", "gt", "gte", "lt", "lte", "between", "exists"
]

_LONGEST_TEXT = 500
_LARGEST_NUMBER = Decimal(10) ** 15


class ConditionWrong(Invalid):
    code = "condition-wrong"
    title = "A condition cannot be read"


class Condition(Struct, frozen=True, kw_only=True):
    """`values` are what JSON has: one, for `between` two, for `in` and `nin` any number."""

    field: str
    operator: Operator = "eq"
    values: tuple[Any, ...]
    option_name: str = ""


class _Field(Struct, frozen=True):
    """What a field is compared by. `rows` says where it is looked for when a product can have several."""

    kind: str
    expression: str
    rows: str = ""
    # Where equal values are looked for instead, and what must be there besides: these have an index.
    equals: str = ""
    besides: str = ""


_VARIANTS = (
    "variant x WHERE x.merchant_id = p.merchant_id AND x.product_id = p.product_id AND x.removed_at IS NULL"
)
_PRICES = (
    "variant x CROSS JOIN LATERAL (SELECT y.* FROM price y"
    " WHERE y.merchant_id = x.merchant_id AND y.variant_id = x.variant_id"
    " AND (y.store_id IS NULL OR y.store_id = :store_id) ORDER BY y.store_id NULLS LAST LIMIT 1) y"
    " WHERE x.merchant_id = p.merchant_id AND x.product_id = p.product_id AND x.removed_at IS NULL"
    " AND y.currency = :currency"
)
# Of any store: those among which the store's own are looked for.
_ANY_PRICE = (
    "price y JOIN variant x ON x.merchant_id = y.merchant_id AND x.variant_id = y.variant_id"
    " WHERE y.merchant_id = p.merchant_id AND x.product_id = p.product_id"
)
_TAGS = "product_tag x WHERE x.merchant_id = p.merchant_id AND x.product_id = p.product_id"
_OPTIONS = (
    "variant x CROSS JOIN jsonb_array_elements(x.options) o"
    " WHERE x.merchant_id = p.merchant_id AND x.product_id = p.product_id AND x.removed_at IS NULL"
    " AND lower(o ->> 'name') = :option_{n}"
)
_CATEGORIES = (
    "product_category x WHERE x.merchant_id = p.merchant_id AND x.product_id = p.product_id AND x.category_id"
)
_PICTURES = "product_picture x WHERE x.merchant_id = p.merchant_id AND x.product_id = p.product_id"
_ON_PROMO = (
    "r.promo_minor IS NOT NULL AND coalesce(r.promo_starts_at <= now(), true)"
    " AND coalesce(r.promo_ends_at > now(), true)"
)

_FIELDS: dict[str, _Field] = {
    "itemId": _Field("id", "p.product_id"),
    "sku": _Field("code", "x.sku_key", _VARIANTS),
    "barcode": _Field("plain", "x.barcode", _VARIANTS),
    "name": _Field("name", "p.sort_name"),
    "brand": _Field("plain", "p.brand"),
    "tag": _Field("plain", "x.tag", "unnest(p.tags) x (tag) WHERE true", equals=_TAGS),
    "categoryId": _Field("category", "x.category_id", _CATEGORIES),
    "type": _Field("plain", "p.kind"),
    "status": _Field("plain", "p.status"),
    "unit": _Field("plain", "p.unit"),
    "sellingPrice": _Field("money", "y.selling_minor", _PRICES, besides=_ANY_PRICE),
    "costPrice": _Field("money", "y.cost_minor", _PRICES),
    "promoPrice": _Field("money", "y.promo_minor", _PRICES),
    "wholesalePrice": _Field("money", "y.wholesale_minor", _PRICES),
    "effectivePrice": _Field("money", SORTS["effective_price"][0].replace("r.", "y."), _PRICES),
    "onPromo": _Field("flag", _ON_PROMO),
    "quantity": _Field("number", "coalesce(b.on_hand, 0)"),
    "available": _Field("number", "coalesce(b.on_hand - b.reserved, 0)"),
    "reorderLevel": _Field("number", "b.reorder_level"),
    "lowStock": _Field("flag", IS_LOW),
    "trackQuantity": _Field("flag", "p.track_quantity"),
    "visibleOnline": _Field("flag", "p.visible_online"),
    "hasImages": _Field("flag", f"EXISTS (SELECT FROM {_PICTURES})"),
    "expiryDate": _Field("date", "p.expiry_date"),
    "createdAt": _Field("moment", "p.created_at"),
    "updatedAt": _Field("moment", "p.updated_at"),
    "optionValue": _Field("code", "lower(o ->> 'value')", _OPTIONS),
}

_SAME = frozenset({"eq", "ne", "in", "nin"})
_ORDERED = _SAME | {"gt", "gte", "lt", "lte", "between", "exists"}
_TEXTUAL = _SAME | {"contains", "starts_with", "exists"}

# What a kind of field can be asked, and the type of its values in PostgreSQL.
_KINDS: dict[str, tuple[frozenset[str], str]] = {
    "id": (_SAME, "uuid"),
    "category": (_SAME | {"exists"}, "uuid"),
    "plain": (_TEXTUAL, "text"),
    "name": (_TEXTUAL, "text"),
    "code": (_TEXTUAL, "text"),
    "number": (_ORDERED, "numeric"),
    "money": (_ORDERED, "bigint"),
    "date": (_ORDERED, "date"),
    "moment": (_ORDERED, "timestamptz"),
    "flag": (frozenset({"eq", "ne"}), "boolean"),
}

_BELOW = """
    SELECT category_id FROM (
      WITH RECURSIVE below AS (
        SELECT category_id FROM category
        WHERE merchant_id = current_merchant() AND category_id = ANY(:value_{n}::uuid[])
        UNION
        SELECT c.category_id FROM category c JOIN below ON c.parent_id = below.category_id
        WHERE c.merchant_id = current_merchant()
      )
      SELECT category_id FROM below
    ) branches
"""

_TESTS = {
    "eq": "{e} = :value_{n}::{t}",
    "in": "{e} = ANY(:value_{n}::{t}[])",
    "gt": "{e} > :value_{n}::{t}",
    "gte": "{e} >= :value_{n}::{t}",
    "lt": "{e} < :value_{n}::{t}",
    "lte": "{e} <= :value_{n}::{t}",
    "between": "{e} BETWEEN :value_{n}::{t} AND :other_{n}::{t}",
    "contains": "strpos({e}, :value_{n}::text) > 0",
    "starts_with": "starts_with({e}, :value_{n}::text)",
    "exists": "{e} IS NOT NULL",
}


def condition_sql(
    condition: Condition, n: int, currency: str, *, with_subcategories: bool
) -> tuple[str, dict[str, object]]:
    """The n-th condition and the values of its names, which end with n. Raises ConditionWrong."""
    field = _FIELDS[condition.field]
    allowed, kind = _KINDS[field.kind]
    operator, pointer = condition.operator, f"/filters/{n}"
    if operator not in allowed:
        raise _wrong(f"{pointer}/op", f"{condition.field} can be asked {', '.join(sorted(allowed))}.")
    is_wanted = operator not in ("ne", "nin")
    values = _values(condition, field, currency, pointer)
    given: dict[str, object] = {}
    if operator == "exists":
        is_wanted = bool(values[0])
    elif operator in ("in", "nin") or field.kind == "category":
        given[f"value_{n}"] = list(values)
    else:
        given[f"value_{n}"] = values[0]
    if operator == "between":
        given[f"other_{n}"] = values[1]
    if field.kind == "category" and operator != "exists":
        # The tree below, or the named ones alone.
        test = (
            f"x.category_id IN ({_BELOW})"
            if with_subcategories
            else "x.category_id = ANY(:value_{n}::uuid[])"
        )
    else:
        test = _TESTS[{"ne": "eq", "nin": "in"}.get(operator, operator)]
    expression = f"coalesce({field.expression}, false)" if field.kind == "flag" else f"({field.expression})"
    sql = test.replace("{e}", expression).replace("{t}", kind)
    if field.kind == "category":
        sql = f"EXISTS (SELECT FROM {field.rows} IS NOT NULL AND {sql})"
    elif field.rows:
        rows = field.equals if field.equals and operator in _SAME else field.rows
        besides = (
            f"EXISTS (SELECT FROM {field.besides} AND {sql}) AND " if field.besides and is_wanted else ""
        )
        sql = f"{besides}EXISTS (SELECT FROM {rows} AND {sql})"
    if "{n}" in field.rows:
        given[f"option_{n}"] = condition.option_name.lower()
    if ":currency" in sql:
        given["currency"] = currency
    sql = sql.replace("{n}", str(n))
    # A field that is not there is not the value either.
    return (sql if is_wanted else f"({sql}) IS NOT TRUE"), given


def _values(condition: Condition, field: _Field, currency: str, pointer: str) -> list[object]:
    operator = condition.operator
    if operator == "between" and len(condition.values) != 2:
        raise _wrong(f"{pointer}/values", "Give two values: from and to.")
    several = operator in ("in", "nin", "between")
    places = [
        f"{pointer}/values/{i}" if several else f"{pointer}/value" for i in range(len(condition.values))
    ]
    if operator == "exists":
        return [_flag(condition.values[0], places[0])]
    if field.kind == "money":
        return [
            to_minor(_number(v, at), currency, at) for v, at in zip(condition.values, places, strict=True)
        ]
    read = _READERS[field.kind]
    return [read(v, at) for v, at in zip(condition.values, places, strict=True)]


def _wrong(pointer: str, message: str) -> ConditionWrong:
    return ConditionWrong(faults=[FieldFault(pointer, "invalid", message)])


def _text(value: Any, pointer: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise _wrong(pointer, f"Give a text of at most {_LONGEST_TEXT} characters.")
    return value


def _number(value: Any, pointer: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _wrong(pointer, "Give a number.")
    number = Decimal(str(value))
    if not number.is_finite() or abs(number) > _LARGEST_NUMBER:
        raise _wrong(pointer, f"Give a number between -{_LARGEST_NUMBER:f} and {_LARGEST_NUMBER:f}.")
    return number


def _flag(value: Any, pointer: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(pointer, "Give true or false.")
    return value


def _id(value: Any, pointer: str) -> UUID:
    # What is no id is as unknown as any other.
    return read_id(_text(value, pointer)) or UUID(int=0)


def _date(value: Any, pointer: str) -> date:
    try:
        return date.fromisoformat(_text(value, pointer))
    except ValueError:
        raise _wrong(pointer, "Give a date such as 2026-11-30.") from None


def _moment(value: Any, pointer: str) -> datetime:
    try:
        at = datetime.fromisoformat(_text(value, pointer))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong(pointer, "Give a moment such as 2026-11-30T08:00:00Z.") from None


_READERS: dict[str, Callable[[Any, str], object]] = {
    "id": _id,
    "category": _id,
    "plain": _text,
    "name": lambda value, pointer: sort_name(_text(value, pointer)),
    "code": lambda value, pointer: sku_key(_text(value, pointer)),
    "number": _number,
    "date": _date,
    "moment": _moment,
    "flag": _flag,
}


def asks_for_costs(conditions: Sequence[Condition]) -> bool:
    return any(condition.field == "costPrice" for condition in conditions)


def have_indexes(conditions: Sequence[Condition]) -> bool:
    """Whether one of them may be answered by an index of its own: see migration 0050."""
    return any(condition.field in ("brand", "tag", "sellingPrice") for condition in conditions)
