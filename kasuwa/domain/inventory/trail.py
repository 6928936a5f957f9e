"""A product's trail: what was changed and what was moved, newest first."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.cursors import read_cursor, write_cursor, wrong_cursor
from kasuwa.base.db import Database
from kasuwa.base.pages import Page
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.errors import PageTooDeep, ProductNotFound
from kasuwa.domain.inventory.records import State

MOST_COUNTED = 10_000

# What the audit trail and the ledger write, in the words of the trail; every other change is an update.
_ACTIONS = {
    "product.create": "created",
    "product.import": "imported",
    "product.price": "price_changed",
    "product.remove": "removed",
    "picture.add": "picture_added",
    "picture.remove": "picture_removed",
    "variant.add": "variants_added",
    "variant.remove": "variants_removed",
    "opening": "quantity_added",
}


class TrailFilter(Struct, frozen=True, kw_only=True):
    """Which lines; every condition that is not None must hold. `until` is not part of the time."""

    since: datetime | None = None
    until: datetime | None = None
    action: str | None = None
    variant_id: UUID | None = None
    user_id: UUID | None = None


class TrailLine(Struct, frozen=True, kw_only=True):
    """A change of the product (`before`, `after` of what changed) or a movement of its stock."""

    line_id: UUID
    at: datetime
    action: str
    store_id: UUID | None
    variant_id: UUID | None
    actor_kind: str
    user_id: UUID | None
    user_name: str | None
    role: str | None
    state: State | None
    quantity: Decimal | None
    quantity_before: Decimal | None
    quantity_after: Decimal | None
    reason: str | None
    note: str | None
    reference: str | None
    before: dict[str, Any]
    after: dict[str, Any]


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    at_us: int
    line_id: UUID


async def read_trail(
    context: Context,
    product_id: UUID,
    wanted: TrailFilter,
    *,
    page: int = 1,
    size: int = 50,
    cursor: str | None = None,
) -> Page[TrailLine]:
    """The page, or what follows the cursor. Raises ProductNotFound, PageTooDeep, CursorWrong.

    A product that is gone has its trail still.
    """
    if cursor is None and page * size > MOST_COUNTED:
        raise PageTooDeep(
            faults=[FieldFault("#/query/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")]
        )
    values = _values(product_id, wanted)
    async with context.reading() as db:
        total: int = await db.value(COUNT, **values)
        if total == 0 and not await _is_known(db, product_id):
            raise ProductNotFound()
        after_at, after_id = _END if cursor is None else _read_cursor(cursor)
        offset = (page - 1) * size if cursor is None else 0
        rows = await db.all(
            PAGE,
            into=_line,
            size=size + 1,
            offset=offset,
            most=offset + size + 1,
            after_at=after_at,
            after_id=after_id,
            **values,
        )
    more = len(rows) > size
    lines = tuple(rows[:size])
    next_cursor = _write_cursor(lines[-1]) if more else None
    return Page(lines, page, size, min(total, MOST_COUNTED), total <= MOST_COUNTED, next_cursor)


def _values(product_id: UUID, wanted: TrailFilter) -> dict[str, object]:
    """What the statements below ask; an action is asked for in the words in which it was written."""
    written = None
    if wanted.action is not None:
        written = [wanted.action, *(one for one, action in _ACTIONS.items() if action == wanted.action)]
    return {
        "product_id": product_id,
        "subject_id": str(product_id),
        "since": wanted.since or _BEGIN,
        "until": wanted.until or _END[0],
        "actions": written,
        "known": list(_ACTIONS),
        "updates": wanted.action == "updated",
        "variant_id": wanted.variant_id,
        "user_id": wanted.user_id,
    }


async def _is_known(db: Database, product_id: UUID) -> bool:
    return bool(
        await db.value(
            """
            SELECT EXISTS (SELECT FROM product WHERE merchant_id = current_merchant()
                           AND product_id = :product_id)
                OR EXISTS (SELECT FROM audit_entry WHERE merchant_id = current_merchant()
                           AND subject_kind = 'product' AND subject_id = :subject_id)
            """,
            product_id=product_id,
            subject_id=str(product_id),
        )
    )


def _line(**row: Any) -> TrailLine:
    action = row["action"]
    if "." in action:
        row["action"] = _ACTIONS.get(action, "updated")
    else:
        row["action"] = _ACTIONS.get(action, action)
    for side in ("before", "after"):
        found = msgspec.json.decode(row[side]) if row[side] else {}
        row[side] = found if isinstance(found, dict) else {}
    return TrailLine(**row)


def _write_cursor(line: TrailLine) -> str:
    at_us = (line.at - _EPOCH) // timedelta(microseconds=1)
    return write_cursor(_Cursor(at_us, UUID(int=line.line_id.int)))


def _read_cursor(text: str) -> tuple[datetime, UUID]:
    cursor = read_cursor(text, _Cursor)
    try:
        return _EPOCH + timedelta(microseconds=cursor.at_us), cursor.line_id
    except OverflowError:
        raise wrong_cursor() from None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Before and after everything: bounds that are always there are bounds of the index.
_BEGIN, _END = datetime(1, 1, 1, tzinfo=UTC), (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))

_MOVEMENTS = """
    FROM stock_movement m
    WHERE m.merchant_id = current_merchant() AND m.product_id = :product_id
      AND m.at >= :since AND m.at < :until
      AND (:actions::text[] IS NULL OR m.kind = ANY(:actions))
      AND (:variant_id::uuid IS NULL OR m.variant_id = :variant_id)
      AND (:user_id::uuid IS NULL OR m.user_id = :user_id)
"""
_ENTRIES = """
    FROM audit_entry e
    WHERE e.merchant_id = current_merchant() AND e.subject_kind = 'product' AND e.subject_id = :subject_id
      AND e.at >= :since AND e.at < :until
      AND (:actions::text[] IS NULL OR e.action = ANY(:actions)
           OR (:updates AND NOT e.action = ANY(:known::text[])))
      AND :variant_id::uuid IS NULL
      AND (:user_id::uuid IS NULL OR e.user_id = :user_id)
"""

PAGE = f"""
    SELECT t.line_id, t.at, t.action, t.store_id, t.variant_id, t.actor_kind, t.user_id,
           nullif(trim(u.first_name || ' ' || u.last_name), '') AS user_name, r.role, t.state, t.quantity,
           t.quantity_before, t.quantity_after, t.reason, t.note, t.reference, t.before, t.after
    FROM (
      (SELECT m.movement_id AS line_id, m.at, m.kind AS action, m.store_id, m.variant_id,
              split_part(m.actor, ':', 1) AS actor_kind, m.user_id, m.state, m.quantity,
              m.before AS quantity_before, m.after AS quantity_after, nullif(m.reason, '') AS reason,
              nullif(m.note, '') AS note, nullif(m.reference, '') AS reference, NULL::json AS before,
              NULL::json AS after
       {_MOVEMENTS}
         AND (m.at, m.movement_id) < (:after_at, :after_id)
       ORDER BY m.at DESC, m.movement_id DESC LIMIT :most)
      UNION ALL
      (SELECT e.audit_id, e.at, e.action, e.store_id, NULL, e.actor_kind, e.user_id,
              NULL, NULL, NULL, NULL, NULL, NULL, NULL, e.before, e.after
       {_ENTRIES}
         AND (e.at, e.audit_id) < (:after_at, :after_id)
       ORDER BY e.at DESC, e.audit_id DESC LIMIT :most)
      ORDER BY at DESC, line_id DESC
      LIMIT :size OFFSET :offset
    ) t
    LEFT JOIN user_account u ON u.merchant_id = current_merchant() AND u.user_id = t.user_id
    LEFT JOIN membership r
      ON r.merchant_id = current_merchant() AND r.user_id = t.user_id AND r.store_id = t.store_id
    ORDER BY t.at DESC, t.line_id DESC
"""  # noqa: S608 - put together from the words above

COUNT = f"""
    SELECT (SELECT count(*) FROM (SELECT 1 {_MOVEMENTS} LIMIT {MOST_COUNTED + 1}) x)
         + (SELECT count(*) FROM (SELECT 1 {_ENTRIES} LIMIT {MOST_COUNTED + 1}) x)
"""  # noqa: S608 - put together from the words above
