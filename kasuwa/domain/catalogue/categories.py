"""Changes of the category tree: the shelves that products stand on.

Whoever changes the tree of a merchant is alone with it until the end: what was looked at holds.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from kasuwa.base.audit import AuditEntry, write_audit, write_audits
from kasuwa.base.context import Context
from kasuwa.base.db import Database, settles
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Problem
from kasuwa.domain.catalogue.actions import slug_of
from kasuwa.domain.catalogue.category_lists import (
    MOST_CATEGORIES,
    category_key,
    read_below,
    read_category,
    read_tree_ids,
)
from kasuwa.domain.catalogue.errors import (
    CategoryHasChildren,
    CategoryLoop,
    CategoryNameTaken,
    CategoryTooDeep,
    TooManyCategories,
    UnknownCategory,
)
from kasuwa.domain.catalogue.following import follow_categories, read_products_of
from kasuwa.domain.catalogue.records import Category
from kasuwa.domain.media.keeping import enqueue_sweep
from kasuwa.domain.permissions import Permission

_NAME_TAKEN = CategoryNameTaken(
    faults=[FieldFault("/name", "taken", "Choose another name: case, accents and blanks make no difference.")]
)
_REFUSED_PARENT: dict[str, Problem] = {
    "category_no_loop": CategoryLoop(
        faults=[FieldFault("/parentId", "loop", "Name a category that is not below this one.")]
    ),
    "category_depth": CategoryTooDeep(
        faults=[FieldFault("/parentId", "too_deep", "Name a parent further up: six levels are the most.")]
    ),
    "category_merchant_id_parent_id_fkey": UnknownCategory(
        faults=[FieldFault("/parentId", "unknown", "Name a category of this account, or null for the top.")]
    ),
}
_TOO_DEEP = CategoryTooDeep("Choose a parent further up: six levels, the top one counted, are the most.")


class CategoryChange(Struct, frozen=True, kw_only=True):
    """Fields to change; what is UNSET stays. A `parent_id` of None is the top."""

    name: str | UnsetType = UNSET
    parent_id: UUID | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    position: int | UnsetType = UNSET
    visible_online: bool | UnsetType = UNSET
    picture_id: UUID | UnsetType | None = UNSET


class CategoryDeletion(Struct, frozen=True):
    """What went, and how many products that are not archived moved or are in no category any more."""

    category_ids: tuple[UUID, ...]
    moved: int
    uncategorised: int


async def create_category(
    context: Context,
    name: str,
    *,
    parent_id: UUID | None = None,
    description: str | None = None,
    position: int | None = None,
    visible_online: bool = True,
) -> UUID:
    """Add a category, after its siblings unless `position` says where; answer its id.

    Raises CategoryNotFound (the parent), CategoryNameTaken, CategoryTooDeep, TooManyCategories.
    """
    context.require(Permission.CATEGORY_WRITE)
    category_id = new_id()
    async with context.transaction() as db:
        await hold_tree(db)
        if parent_id is not None:
            await read_category(db, parent_id)
        await check_room(db, 1)
        number = await db.value("SELECT take_numbers('category')")
        with settles({"category_sibling_name": _NAME_TAKEN, "category_depth": _TOO_DEEP}):
            await db.execute(
                """
                INSERT INTO category (merchant_id, category_id, number, parent_id, name, name_key, slug,
                                      description, position, visible_online)
                VALUES (current_merchant(), :category_id, :number, :parent_id, :name, :name_key, :slug,
                        :description, :position, :visible_online)
                """,
                category_id=category_id,
                number=number,
                parent_id=parent_id,
                name=name,
                name_key=category_key(name),
                slug=category_slug(name),
                description=description,
                position=await _last_position(db, parent_id) + 1 if position is None else position,
                visible_online=visible_online,
            )
        after = await read_category(db, category_id)
        await write_audit(context, db, "category.create", "category", category_id, after=audited(after))
    return category_id


async def lock_category(db: Database, category_id: UUID) -> Category:
    """The category as it is, held with the whole tree until the transaction ends. Raises CategoryNotFound."""
    await hold_tree(db)
    return await read_category(db, category_id)


async def update_category(
    context: Context, category_id: UUID, change: CategoryChange, *, action: str = "category.update"
) -> Category:
    """Rename, move or describe a category; the tree below goes with it.

    Raises CategoryNotFound, CategoryNameTaken, CategoryLoop, CategoryTooDeep, UnknownCategory (the parent).
    """
    context.require(Permission.CATEGORY_WRITE)
    async with context.transaction() as db:
        before = await lock_category(db, category_id)
        await _write_change(db, before, change)
        after = await read_category(db, category_id)
        if after.path != before.path:
            products = await read_products_of(db, await read_tree_ids(db, category_id))
            await follow_categories(db, products, changed=False)
        await write_audit(
            context, db, action, "category", category_id, before=audited(before), after=audited(after)
        )
    return after


async def delete_category(
    context: Context, category_id: UUID, *, with_children: bool = False, move_items_to: UUID | None = None
) -> CategoryDeletion:
    """Delete a category, and with `with_children` the tree below. Its products stay.

    Raises CategoryNotFound, CategoryHasChildren, UnknownCategory (`move_items_to`).
    """
    context.require(Permission.CATEGORY_WRITE)
    async with context.transaction() as db:
        doomed = await read_below(db, await lock_category(db, category_id))
        if len(doomed) > 1 and not with_children:
            raise CategoryHasChildren("Send withchildren=true to delete them too, or move them first.")
        ids = [category.category_id for category in doomed]
        if move_items_to is not None:
            await _check_heir(db, move_items_to, ids)
        products = await _move_items(db, ids, move_items_to)
        await db.execute(
            "DELETE FROM category WHERE merchant_id = current_merchant() AND category_id = ANY(:ids::uuid[])",
            ids=ids,
        )
        counted = await _count_items(db, products, in_none=move_items_to is None)
        await follow_categories(db, products, changed=True)
        if any(category.picture_id is not None for category in doomed):
            await enqueue_sweep(db, context)
        gone = [AuditEntry(subject_id=one.category_id, before=audited(one)) for one in doomed]
        await write_audits(context, db, "category.delete", "category", gone)
    moved, uncategorised = (0, counted) if move_items_to is None else (counted, 0)
    return CategoryDeletion(tuple(ids), moved, uncategorised)


async def find_category_id(db: Database, name: str) -> UUID | None:
    """The first category of that name."""
    found = await db.value(
        """
        SELECT category_id FROM category
        WHERE merchant_id = current_merchant() AND name = :name ORDER BY number LIMIT 1
        """,
        name=name,
    )
    return None if found is None else UUID(int=found.int)


async def hold_tree(db: Database) -> None:
    """From here to the end nobody else changes the tree or puts products into it."""
    await db.value("SELECT hold_category_tree()")


async def check_room(db: Database, how_many: int) -> int:
    """How many more than these there may be. Raises TooManyCategories."""
    present: int = await db.value("SELECT count(*) FROM category WHERE merchant_id = current_merchant()")
    left = MOST_CATEGORIES - present - how_many
    if left < 0:
        raise TooManyCategories("Delete categories that nothing needs, or put several into one.")
    return left


def category_slug(name: str) -> str:
    """The name as part of a web address; a name without a letter or digit of these is just a category."""
    slug = slug_of(name).rstrip("-")
    return slug if slug != "product" or category_key(name) == slug else "category"


def audited(category: Category) -> dict[str, Any]:
    """What the audit trail keeps of a category."""
    return {
        "name": category.name,
        "path": category.path,
        "parent_id": category.parent_id,
        "position": category.position,
        "description": category.description,
        "visible_online": category.visible_online,
        "picture_id": category.picture_id,
    }


async def _write_change(db: Database, before: Category, change: CategoryChange) -> None:
    columns: dict[str, object] = {
        name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET
    }
    if change.name is not UNSET:
        columns |= {"name_key": category_key(change.name), "slug": category_slug(change.name)}
    if change.parent_id is not UNSET and change.parent_id != before.parent_id:
        columns.setdefault("position", await _last_position(db, change.parent_id) + 1)
    assignments = "".join(f"{name} = :{name}, " for name in columns)
    with settles(_REFUSED_PARENT | {"category_sibling_name": _NAME_TAKEN}):
        await db.execute(
            f"UPDATE category SET {assignments}version = version + 1, updated_at = now()"  # noqa: S608
            " WHERE merchant_id = current_merchant() AND category_id = :category_id",
            category_id=before.category_id,
            **columns,
        )


async def _last_position(db: Database, parent_id: UUID | None) -> int:
    """The highest position among these siblings, 0 when there is none."""
    siblings, values = (
        ("parent_id IS NULL", {}) if parent_id is None else ("parent_id = :p", {"p": parent_id})
    )
    position: int = await db.value(
        f"SELECT coalesce(max(position), 0) FROM category"  # noqa: S608 - one of the two words above
        f" WHERE merchant_id = current_merchant() AND {siblings}",
        **values,
    )
    return position


async def _check_heir(db: Database, heir_id: UUID, doomed: Sequence[UUID]) -> None:
    known = await db.value(
        "SELECT 1 FROM category WHERE merchant_id = current_merchant() AND category_id = :heir_id",
        heir_id=heir_id,
    )
    if known is None or heir_id in doomed:
        message = "Name a category of this account that stays."
        raise UnknownCategory(faults=[FieldFault("#/query/moveitemsto", "unknown", message)])


async def _move_items(db: Database, category_ids: Sequence[UUID], heir_id: UUID | None) -> list[UUID]:
    """Take every product out of the categories, and put it into the heir; answer which."""
    products = await read_products_of(db, category_ids)
    await db.execute(
        """
        DELETE FROM product_category
        WHERE merchant_id = current_merchant() AND category_id = ANY(:ids::uuid[])
        """,
        ids=list(category_ids),
    )
    if heir_id is not None:
        await db.execute(
            """
            INSERT INTO product_category (merchant_id, product_id, category_id)
            SELECT current_merchant(), product_id, :heir_id FROM unnest(:products::uuid[]) AS product_id
            ON CONFLICT DO NOTHING
            """,
            heir_id=heir_id,
            products=products,
        )
    return products


async def _count_items(db: Database, product_ids: Sequence[UUID], *, in_none: bool) -> int:
    """How many of the products are not archived, and with `in_none` in no category."""
    count: int = await db.value(
        """
        SELECT count(*) FROM product p
        WHERE p.merchant_id = current_merchant() AND p.product_id = ANY(:ids::uuid[])
          AND p.status <> 'archived' AND NOT (:in_none AND EXISTS (
            SELECT FROM product_category l
            WHERE l.merchant_id = p.merchant_id AND l.product_id = p.product_id))
        """,
        ids=list(product_ids),
        in_none=in_none,
    )
    return count
