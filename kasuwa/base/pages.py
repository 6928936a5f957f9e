"""A page of a list, whatever is listed."""

from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """Some rows of a list. `total` is exact where `total_is_exact`, else at least that."""

    rows: tuple[T, ...]
    page: int
    size: int
    total: int
    total_is_exact: bool
    next_cursor: str | None

    @property
    def pages(self) -> int:
        return -(-self.total // self.size)
