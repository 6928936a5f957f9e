"""Categories of a file: named by their path, and made where there are none."""

from collections.abc import Mapping, Sequence
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


class Made(Struct, frozen=True):
    """The categories as they are for one part of a file, and the paths that are new in it."""

    ids: Mapping[str, UUID]
    paths: Sequence[str]

    def with_categories(self, row: BulkRow) -> BulkRow:
        """The row with the ids of the paths that it names."""
        if not isinstance(row, BulkProduct) or not row.category_paths:
            return row
        ids = tuple(self.ids[canonical(path)] for path in row.category_paths)
        return replace(row, new=replace(row.new, category_ids=ids))


class CategoryPaths:
    """The categories of a merchant by their paths: "Drinks > Malt"."""

    def __init__(self) -> None:
        self.ids: dict[str, UUID] = {}

    async def load(self, db: Database) -> None:
        """Read those that are there; of two with one path the first holds."""
        for category_id, path in (await read_paths(db)).items():
            self.ids.setdefault(path, UUID(int=category_id.int))

    async def make(self, context: Context, groups: Sequence[Group]) -> Made:
        """Make the categories that the products name and that are not there."""
        new: list[str] = []
        for group in groups:
            row = group.row
            for path in row.category_paths if isinstance(row, BulkProduct) else ():
                parent_id: UUID | None = None
                names: list[str] = []
                for name in split_list(path, ">"):
                    names.append(name)
                    at = join_list(names, ">", " > ")
                    if at not in self.ids:
                        self.ids[at] = await create_category(context, name, parent_id=parent_id)
                        new.append(at)
                    parent_id = self.ids[at]
        return Made(dict(self.ids) if new else self.ids, new)

    def forget(self, made: Made) -> None:
        """What was made was taken back."""
        for path in made.paths:
            del self.ids[path]


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
