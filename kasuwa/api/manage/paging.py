"""Pages of lists that go on by an id."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from kasuwa.base.cursors import wrong_cursor
from kasuwa.base.ids import read_id

T = TypeVar("T")


def read_cursor(cursor: str | None) -> UUID | None:
    """The id that the page before ended with. Raises CursorWrong for what we never gave."""
    if cursor is None:
        return None
    found = read_id(cursor)
    if found is None:
        raise wrong_cursor()
    return found


def page(
    rows: Sequence[T], size: int, view: Callable[[T], Any], id_of: Callable[[T], UUID]
) -> dict[str, Any]:
    """A page of `size`, from rows of which one more was asked for: it says whether the list goes on."""
    shown = rows[:size]
    return {
        "data": [view(row) for row in shown],
        "size": size,
        "nextCursor": str(id_of(shown[-1])) if len(rows) > size else None,
    }
