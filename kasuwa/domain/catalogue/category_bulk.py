"""Many categories at once: every one is reported, and a refused one refuses the tree below it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from kasuwa.base.audit import AuditEntry, write_audits
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.categories import audited, category_slug, check_room, hold_tree
from kasuwa.domain.catalogue.category_lists import (
    MOST_CATEGORIES,
    MOST_LEVELS,
    category_key,
    read_categories,
    read_tree_ids,
)
from kasuwa.domain.catalogue.following import follow_categories, read_products_of
from kasuwa.domain.catalogue.records import Category
from kasuwa.domain.permissions import Permission

OnDuplicate = Literal["fail_row", "skip", "update"]
Outcome = Literal["created", "updated", "skipped", "failed"]


class NewCategory(Struct, frozen=True, kw_only=True):
    """A category to be made with those below it. What is UNSET has its default, or stays as it is."""

    name: str
    description: str | UnsetType | None = UNSET
    position: int | UnsetType = UNSET
    visible_online: bool | UnsetType = UNSET
    children: tuple["NewCategory", ...] = ()


class CategoryOutcome(Struct, frozen=True, kw_only=True):
    """What became of one of them. `place` says which: its index among its siblings, from the top down.

    The pointer of its fault begins at itself.
    """

    place: tuple[int, ...]
    name: str
    status: Outcome
    category_id: UUID | None = None
    fault: FieldFault | None = None


async def create_categories(
    context: Context, wanted: Sequence[NewCategory], *, on_duplicate: OnDuplicate = "fail_row"
) -> list[CategoryOutcome]:
    """Add trees of categories, all that can be in one transaction; answer one outcome each, parents first.

    Where a sibling has the name, `fail_row` refuses the new one, `skip` takes the one that is there, and
    `update` writes what was sent into it; those below go on in it.
    """
    context.require(Permission.CATEGORY_WRITE)
    async with context.transaction() as db:
        await hold_tree(db)
        plan = _Plan(await _read_siblings(db), await check_room(db, 0), on_duplicate)
        for place, parent, new in _walk(wanted):
            plan.settle(place, parent, new)
        await _insert(db, plan.created)
        before = await read_categories(db, list(plan.updated))
        await _update(db, plan.updated.values())
        await _follow(context, db, plan, before)
    return plan.outcomes


_ABOVE_REFUSED = FieldFault("", "above_refused", "The category above it was refused; correct that one.")
_TOO_DEEP = FieldFault("", "too_deep", f"It stands too deep: {MOST_LEVELS} levels are the most.")
_NO_ROOM = FieldFault(
    "", "too_many", f"A shop has at most {MOST_CATEGORIES:,} categories; delete some first."
)
_NAME_TAKEN = FieldFault(
    "/name", "taken", "Another category at the same place has this name; choose another one."
)


class _Sibling(Struct, frozen=True):
    category_id: UUID
    parent_id: UUID | None
    name_key: str
    position: int
    depth: int


class _Row(Struct):
    """A row to be inserted, or the columns of one to be changed."""

    category_id: UUID
    parent_id: UUID | None
    depth: int
    name: str
    description: str | UnsetType | None
    position: int | UnsetType
    visible_online: bool | UnsetType


class _Plan:
    """What is to be written, decided against the tree as it is and as it comes to be."""

    def __init__(self, siblings: Sequence[_Sibling], room: int, on_duplicate: OnDuplicate) -> None:
        self.outcomes: list[CategoryOutcome] = []
        self.created: list[_Row] = []
        self.updated: dict[UUID, _Row] = {}
        self._by_place: dict[tuple[int, ...], CategoryOutcome] = {}
        self._room = room
        self._on_duplicate = on_duplicate
        self._known = {(one.parent_id, one.name_key): one.category_id for one in siblings}
        self._depths = {one.category_id: one.depth for one in siblings}
        self._new: dict[UUID, _Row] = {}
        self._last: dict[UUID | None, int] = {}
        for one in siblings:
            self._last[one.parent_id] = max(one.position, self._last.get(one.parent_id, 0))

    def settle(self, place: tuple[int, ...], parent: tuple[int, ...], new: NewCategory) -> None:
        """Decide on one whose parent is decided on."""
        above = self._by_place[parent] if parent else None
        if above is not None and above.category_id is None:
            self._refuse(place, new, _ABOVE_REFUSED)
            return
        parent_id = None if above is None else above.category_id
        depth = 0 if parent_id is None else self._depths[parent_id] + 1
        found = self._known.get((parent_id, category_key(new.name)))
        if depth >= MOST_LEVELS:
            self._refuse(place, new, _TOO_DEEP)
        elif found is None and len(self.created) >= self._room:
            self._refuse(place, new, _NO_ROOM)
        elif found is None:
            self._create(place, new, parent_id, depth)
        elif self._on_duplicate == "fail_row":
            self._refuse(place, new, _NAME_TAKEN)
        elif self._on_duplicate == "skip":
            self._note(place, new, "skipped", found)
        else:
            self._change(new, found, parent_id)
            self._note(place, new, "updated", found)

    def _create(self, place: tuple[int, ...], new: NewCategory, parent_id: UUID | None, depth: int) -> None:
        category_id = new_id()
        last = self._last.get(parent_id, 0)
        position = last + 1 if new.position is UNSET else new.position
        self._last[parent_id] = max(last, position)
        row = _Row(category_id, parent_id, depth, new.name, new.description, position, new.visible_online)
        self.created.append(row)
        self._new[category_id] = row
        self._known[parent_id, category_key(new.name)] = category_id
        self._depths[category_id] = depth
        self._note(place, new, "created", category_id)

    def _change(self, new: NewCategory, category_id: UUID, parent_id: UUID | None) -> None:
        """Write what was sent over what is there, or over what this request has made or changed before."""
        row = self._new.get(category_id) or self.updated.setdefault(
            category_id, _Row(category_id, None, self._depths[category_id], new.name, UNSET, UNSET, UNSET)
        )
        row.name = new.name
        for field in ("description", "position", "visible_online"):
            if getattr(new, field) is not UNSET:
                setattr(row, field, getattr(new, field))
        if new.position is not UNSET:
            self._last[parent_id] = max(self._last.get(parent_id, 0), new.position)

    def _refuse(self, place: tuple[int, ...], new: NewCategory, fault: FieldFault) -> None:
        outcome = CategoryOutcome(place=place, name=new.name, status="failed", fault=fault)
        self._by_place[place] = outcome
        self.outcomes.append(outcome)

    def _note(self, place: tuple[int, ...], new: NewCategory, status: Outcome, category_id: UUID) -> None:
        outcome = CategoryOutcome(place=place, name=new.name, status=status, category_id=category_id)
        self._by_place[place] = outcome
        self.outcomes.append(outcome)


def _walk(
    wanted: Sequence[NewCategory], above: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], NewCategory]]:
    """Every category with its place and its parent's, parents first."""
    for index, new in enumerate(wanted):
        place = (*above, index)
        yield place, above, new
        yield from _walk(new.children, place)


async def _read_siblings(db: Database) -> list[_Sibling]:
    return await db.all(
        """
        SELECT category_id, parent_id, name_key, position, cardinality(path) - 1 AS depth
        FROM category WHERE merchant_id = current_merchant()
        """,
        into=_Sibling,
    )


async def _insert(db: Database, created: Sequence[_Row]) -> None:
    """A level at a time: a category is placed by its parent."""
    number: int = await db.value("SELECT take_numbers('category', :n)", n=len(created)) if created else 0
    numbers = {row.category_id: number + index for index, row in enumerate(created)}
    for depth in range(MOST_LEVELS):
        level = [row for row in created if row.depth == depth]
        if not level:
            continue
        await db.execute(
            """
            INSERT INTO category (merchant_id, category_id, number, parent_id, name, name_key, slug,
                                  description, position, visible_online, tree_key, path)
            SELECT current_merchant(), n.*, coalesce(above.tree_key, '') || tree_key_of(n.position, n.number),
                   coalesce(above.path, '{}') || n.name
            FROM unnest(:ids::uuid[], :numbers::bigint[], :parents::uuid[], :names::text[], :keys::text[],
                        :slugs::text[], :descriptions::text[], :positions::integer[], :visible::boolean[])
              AS n (category_id, number, parent_id, name, name_key, slug, description, position, visible)
            LEFT JOIN category above
              ON above.merchant_id = current_merchant() AND above.category_id = n.parent_id
            """,
            ids=[row.category_id for row in level],
            numbers=[numbers[row.category_id] for row in level],
            parents=[row.parent_id for row in level],
            names=[row.name for row in level],
            keys=[category_key(row.name) for row in level],
            slugs=[category_slug(row.name) for row in level],
            descriptions=[None if row.description is UNSET else row.description for row in level],
            positions=[row.position for row in level],
            visible=[row.visible_online is not False for row in level],
        )


async def _update(db: Database, updated: Iterable[_Row]) -> None:
    await db.execute_many(
        """
        UPDATE category SET name = :name, slug = :slug,
          description = CASE WHEN :describe THEN :description ELSE description END,
          position = coalesce(:position, position),
          visible_online = coalesce(:visible_online, visible_online),
          version = version + 1, updated_at = now()
        WHERE merchant_id = current_merchant() AND category_id = :category_id
        """,
        [
            {
                "category_id": row.category_id,
                "name": row.name,
                "slug": category_slug(row.name),
                "describe": row.description is not UNSET,
                "description": None if row.description is UNSET else row.description,
                "position": None if row.position is UNSET else row.position,
                "visible_online": None if row.visible_online is UNSET else row.visible_online,
            }
            for row in updated
        ],
    )


async def _follow(context: Context, db: Database, plan: _Plan, before: Sequence[Category]) -> None:
    """The audit trail, and the cards of products whose categories are spelled otherwise now."""
    made = await read_categories(db, [row.category_id for row in plan.created])
    new = [AuditEntry(subject_id=one.category_id, after=audited(one)) for one in made]
    await write_audits(context, db, "category.create", "category", new)
    after = {one.category_id: one for one in await read_categories(db, list(plan.updated))}
    changed = [
        AuditEntry(subject_id=one.category_id, before=audited(one), after=audited(after[one.category_id]))
        for one in before
    ]
    await write_audits(context, db, "category.update", "category", changed)
    renamed = [one.category_id for one in before if one.path != after[one.category_id].path]
    trees = {below for category_id in renamed for below in await read_tree_ids(db, category_id)}
    if trees:
        await follow_categories(db, await read_products_of(db, sorted(trees)), changed=False)
