"""Categories of a file: named by their path, and made where there are none."""

from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.catalogue.bulk_records import BulkProduct, BulkRow
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.exchange.cells import join_list, split_list
from kasuwa.domain.exchange.rows import Group


class _Category(Struct, frozen=True):
    category_id: UUID
    parent_id: UUID | None
    name: str


class CategoryPaths:
    """The categories of a merchant by their paths: "Drinks > Malt"."""

    def __init__(self, ids: dict[str, UUID]) -> None:
        self._ids = ids

    @classmethod
    async def load(cls, db: Database) -> "CategoryPaths":
        """Those that are there; of two with one path the first holds."""
        ids: dict[str, UUID] = {}
        for category_id, path in (await read_paths(db)).items():
            ids.setdefault(path, UUID(int=category_id.int))
        return cls(ids)

    def has_all(self, groups: Sequence[Group]) -> bool:
        """Whether each category that the products name is there."""
        return all(canonical(path) in self._ids for group in groups for path in _paths_of(group.row))

    async def with_new(self, context: Context, groups: Sequence[Group]) -> "CategoryPaths":
        """Make the categories that the products name and that are not there: these and those."""
        ids = self._ids if self.has_all(groups) else dict(self._ids)
        for path in (path for group in groups for path in _paths_of(group.row)):
            if canonical(path) in ids:
                continue
            parent_id: UUID | None = None
            names: list[str] = []
            for name in split_list(path, ">"):
                names.append(name)
                at = join_list(names, ">", " > ")
                if at not in ids:
                    ids[at] = await create_category(context, name, parent_id=parent_id)
                parent_id = ids[at]
        return CategoryPaths(ids)

    def with_ids(self, row: BulkRow) -> BulkRow:
        """The row with the ids of the paths that it names."""
        paths = _paths_of(row)
        if not isinstance(row, BulkProduct) or not paths:
            return row
        ids = tuple(self._ids[canonical(path)] for path in paths)
        return replace(row, new=replace(row.new, category_ids=ids))


def _paths_of(row: BulkRow) -> tuple[str, ...]:
    return row.category_paths if isinstance(row, BulkProduct) else ()


@lru_cache(1000)
def canonical(path: str) -> str:
    return join_list(split_list(path, ">"), ">", " > ")


async def read_paths(db: Database) -> dict[UUID, str]:
    """The path of each category, in the order in which they were made."""
    rows = await db.all(
        """
        SELECT category_id, parent_id, name FROM category
        WHERE merchant_id = current_merchant() ORDER BY number
        """,
        into=_Category,
    )
    known = {row.category_id: row for row in rows}
    paths = {}
    for row in rows:
        names: list[str] = []
        at: _Category | None = row
        while at is not None and len(names) < 50:
            names.append(at.name)
            at = known.get(at.parent_id) if at.parent_id else None
        paths[row.category_id] = join_list(names[::-1], ">", " > ")
    return paths
