"""The envelope of a list that is answered page by page."""

from collections.abc import Callable
from typing import Any, TypeVar

from kasuwa.base.pages import Page

T = TypeVar("T")


def page_view(found: Page[T], view: Callable[[T], Any]) -> dict[str, Any]:
    return {
        "data": [view(row) for row in found.rows],
        "page": found.page,
        "size": found.size,
        "totalElements": found.total,
        "totalPages": found.pages,
        "totalExact": found.total_is_exact,
        "nextCursor": found.next_cursor,
    }
