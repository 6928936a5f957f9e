"""Categories of a file: found by their paths, and made where there are none."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from msgspec.structs import replace

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault, Forbidden, Problem, Unavailable
from kasuwa.domain.catalogue.bulk_records import BulkProduct, BulkRow, Unreadable
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.catalogue.errors import CategoryNameTaken
from kasuwa.domain.exchange.paths import Path, path_key
from kasuwa.domain.exchange.rows import Group


class CategoryPaths:
    """The categories of a merchant by the keys of their paths: however a file spells one, it is that one."""

    def __init__(self, ids: Mapping[Path, UUID]) -> None:
        self._ids = ids

    @classmethod
    async def load(cls, db: Database) -> "CategoryPaths":
        return cls(await _ids_of_all(db))

    def has_all(self, groups: Sequence[Group]) -> bool:
        """Whether each category that the products name is there."""
        return all(path_key(path) in self._ids for group in groups for path in _paths_of(group.row))

    async def with_new(
        self, context: Context, groups: Sequence[Group]
    ) -> tuple["CategoryPaths", list[BulkRow]]:
        """Make the categories that the products name and that are not there: these and those.

        And the rows with the ids of what they name; one whose category is refused fails with the reason.
        """
        if self.has_all(groups):
            return self, [self._with_ids(group.row) for group in groups]
        ids = dict(self._ids)
        refused: dict[Path, FieldFault] = {}
        for path in (path for group in groups for path in _paths_of(group.row)):
            if path_key(path) in ids or path_key(path) in refused:
                continue
            try:
                ids |= await _make(context, path, ids)
            except (Unavailable, Forbidden):
                raise
            except Problem as problem:
                said = f"{problem.title}. {problem.detail}".rstrip()
                refused[path_key(path)] = FieldFault("/categoryIds", problem.code, said)
        made = CategoryPaths(ids)
        return made, [made._with_ids(group.row, refused) for group in groups]

    def _with_ids(self, row: BulkRow, refused: Mapping[Path, FieldFault] | None = None) -> BulkRow:
        keys = [path_key(path) for path in _paths_of(row)]
        if not isinstance(row, BulkProduct) or not keys:
            return row
        faults = tuple(refused[key] for key in keys if key in refused) if refused else ()
        if faults:
            return Unreadable(faults, row.sold[0].sku)
        return replace(row, new=replace(row.new, category_ids=tuple(self._ids[key] for key in keys)))


async def _make(context: Context, path: Path, known: Mapping[Path, UUID]) -> dict[Path, UUID]:
    """Make what there is not of the path, all or nothing; answer its levels."""
    try:
        async with context.attempt():
            return await _make_levels(context, path, known)
    except CategoryNameTaken:
        # Somebody else has made one of them meanwhile.
        async with context.transaction() as db, context.attempt():
            return await _make_levels(context, path, await _ids_of_all(db))


async def _make_levels(context: Context, path: Path, known: Mapping[Path, UUID]) -> dict[Path, UUID]:
    ids: dict[Path, UUID] = {}
    parent_id: UUID | None = None
    for level, name in enumerate(path, start=1):
        key = path_key(path[:level])
        parent_id = known.get(key) or await create_category(context, name, parent_id=parent_id)
        ids[key] = parent_id
    return ids


def _paths_of(row: BulkRow) -> tuple[Path, ...]:
    return row.category_paths if isinstance(row, BulkProduct) else ()


async def paths_of_all(db: Database) -> dict[UUID, Path]:
    """The path of each category, in the order in which they were made."""
    rows = await db.all(
        "SELECT category_id, path FROM category WHERE merchant_id = current_merchant() ORDER BY number",
        into=lambda category_id, path: (UUID(int=category_id.int), tuple(path)),
    )
    return dict(rows)


async def _ids_of_all(db: Database) -> dict[Path, UUID]:
    return {path_key(path): category_id for category_id, path in (await paths_of_all(db)).items()}
