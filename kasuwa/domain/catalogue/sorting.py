"""How lists of products are sorted, and the cursors with which a sorted list goes on."""

import re
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from kasuwa.base import cursors
from kasuwa.domain.catalogue.records import PageWish, SortKey

SORTS: dict[SortKey, tuple[str, str]] = {
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


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    sort: SortKey
    descending: bool
    value: str
    product_id: UUID


def write_cursor(wish: PageWish, sort_value: str, product_id: UUID) -> str:
    """The cursor with which the list that is wished goes on after the row with this value and id."""
    return cursors.write_cursor(_Cursor(wish.sort, wish.descending, sort_value, UUID(int=product_id.int)))


def read_cursor(wish: PageWish) -> tuple[str, UUID]:
    """The value and the id to go on after. Raises CursorWrong."""
    assert wish.cursor is not None
    cursor = cursors.read_cursor(wish.cursor, _Cursor)
    is_of_list = (cursor.sort, cursor.descending) == (wish.sort, wish.descending)
    # It may come from anybody: its value must be what the column's type reads.
    if not is_of_list or not is_value(cursor.value, SORTS[cursor.sort][1]):
        raise cursors.wrong_cursor()
    return cursor.value, cursor.product_id


# What PostgreSQL writes of a value of each type, and reads again.
_VALUES: dict[str, re.Pattern[str]] = {
    "bigint": re.compile(r"-?[0-9]{1,18}", re.ASCII),
    "numeric": re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,6})?", re.ASCII),
    "timestamptz": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}(\.[0-9]{1,6})?\+00(:00)?", re.ASCII),
    "boolean": re.compile(r"true|false"),
    "text": re.compile(r"[^\0]{0,1000}"),
}


def is_value(text: str, kind: str) -> bool:
    """Whether PostgreSQL reads the text as a value of the type, as it wrote it."""
    if not _VALUES[kind].fullmatch(text):
        return False
    if kind == "timestamptz":
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return False
    return True
