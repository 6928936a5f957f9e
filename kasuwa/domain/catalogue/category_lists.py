"""Questions about categories: one, a tree of them, or a list. They read, and never change."""

import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.cursors import read_cursor, write_cursor, wrong_cursor
from kasuwa.base.db import Database
from kasuwa.base.pages import Page
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.errors import CategoryNotFound, PageTooDeep
from kasuwa.domain.catalogue.queries import sort_name
from kasuwa.domain.catalogue.records import Category, Rendition

MOST_CATEGORIES = 10_000
"""Of one merchant. Every list, tree and search of theirs is bounded by it."""
MOST_LEVELS = 6
# Digits that each level adds to a tree key: see 0040_category_tree.sql.
_LEVEL = 24


class CategoryWish(Struct, frozen=True, kw_only=True):
    """Which categories a list shows: those below `parent_id`, with `text` in their name.

    A cursor wins over the page. `text` is written as `category_key` writes names. `as_tree` shows categories
    below each other, and a page counts the topmost ones alone.
    """

    as_tree: bool = True
    parent_id: UUID | None = None
    text: str = ""
    page: int = 1
    size: int = 50
    cursor: str | None = None

    @property
    def mark(self) -> str:
        """What a cursor says it belongs to."""
        words = msgspec.json.encode((self.as_tree, self.parent_id, self.text))
        return sha256(words).hexdigest()[:16]


class CategoryNode(Struct, frozen=True):
    """A category with those below it; None where a list is flat."""

    category: Category
    children: "tuple[CategoryNode, ...] | None" = None


def category_key(name: str) -> str:
    """What makes the names of two siblings the same, and what a search looks in."""
    return " ".join(sort_name(name).split()) or name


async def get_category(context: Context, category_id: UUID) -> Category:
    """Raises CategoryNotFound."""
    async with context.reading() as db:
        return await read_category(db, category_id)


async def read_category(db: Database, category_id: UUID) -> Category:
    """Raises CategoryNotFound."""
    found = await db.find(_categories("c.category_id = :category_id"), into=_Row, category_id=category_id)
    if found is None:
        raise CategoryNotFound()
    return found.category()


async def read_categories(db: Database, category_ids: Sequence[UUID]) -> list[Category]:
    """The categories among these ids, in the order of the tree."""
    rows = await db.all(_categories("c.category_id = ANY(:ids::uuid[])"), into=_Row, ids=list(category_ids))
    return [row.category() for row in rows]


async def read_below(db: Database, category: Category) -> list[Category]:
    """The category and everything below it, in the order of the tree."""
    rows = await db.all(
        _categories("c.tree_key >= :key AND c.tree_key < :end"),
        into=_Row,
        key=category.tree_key,
        end=_end(category.tree_key),
    )
    return [row.category() for row in rows]


async def read_tree_ids(db: Database, category_id: UUID) -> list[UUID]:
    """The category and everything below it; nothing when it is unknown."""
    return await db.values(
        """
        SELECT category_id FROM category
        WHERE merchant_id = current_merchant() AND tree_key >= (
            SELECT tree_key FROM category
            WHERE merchant_id = current_merchant() AND category_id = :category_id
          ) AND tree_key < (
            SELECT tree_key || '~' FROM category
            WHERE merchant_id = current_merchant() AND category_id = :category_id
          )
        """,
        category_id=category_id,
    )


async def list_categories(context: Context, wish: CategoryWish) -> Page[CategoryNode]:
    """The page that is wished. Raises CategoryNotFound (the parent), PageTooDeep, CursorWrong."""
    if wish.cursor is None and wish.page * wish.size > MOST_CATEGORIES:
        raise PageTooDeep(
            faults=[FieldFault("#/query/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")]
        )
    after = "" if wish.cursor is None else _read_cursor(wish)
    async with context.reading() as db:
        base = "" if wish.parent_id is None else await _key_of(db, wish.parent_id)
        found = await _find_keys(db, base, wish.text) if wish.text else None
        if found is None:
            keys, total = await _page_keys(db, wish, base, after)
        else:
            keys, total = _cut(wish, _tops(found, base) if wish.as_tree else found, after)
        next_cursor = _write_cursor(wish, keys[wish.size - 1]) if len(keys) > wish.size else None
        keys = keys[: wish.size]
        if not wish.as_tree:
            rows = tuple(CategoryNode(category) for category in await _read_keys(db, keys))
        elif found is None:
            rows = _trees(await _read_range(db, keys), base)
        else:
            tops = set(keys)
            shown = [key for key in _ways(found, base) if key[: len(base) + _LEVEL] in tops]
            rows = _trees(await _read_keys(db, shown), base)
    return Page(rows, wish.page, wish.size, total, True, next_cursor)


async def _key_of(db: Database, category_id: UUID) -> str:
    key: str | None = await db.value(
        "SELECT tree_key FROM category WHERE merchant_id = current_merchant() AND category_id = :category_id",
        category_id=category_id,
    )
    if key is None:
        raise CategoryNotFound(
            faults=[FieldFault("#/query/parentid", "unknown", "Name a category of this account.")]
        )
    return key


async def _page_keys(db: Database, wish: CategoryWish, base: str, after: str) -> tuple[list[str], int]:
    """The keys of the page's rows and one more, and how many rows there are in all."""
    values: dict[str, object]
    if not wish.as_tree:
        within, values = "tree_key > :base AND tree_key < :end", {"base": base, "end": _end(base)}
    elif wish.parent_id is None:
        within, values = "parent_id IS NULL", {}
    else:
        within, values = "parent_id = :parent_id", {"parent_id": wish.parent_id}
    total: int = await db.value(
        f"SELECT count(*) FROM category WHERE merchant_id = current_merchant() AND {within}",  # noqa: S608
        **values,
    )
    keys = await db.values(
        f"""
        SELECT tree_key FROM category
        WHERE merchant_id = current_merchant() AND {within} AND tree_key > :after
        ORDER BY tree_key LIMIT :most OFFSET :skipped
        """,  # noqa: S608 - put together from the words above
        after=after,
        most=wish.size + 1,
        skipped=0 if after else (wish.page - 1) * wish.size,
        **values,
    )
    return keys, total


async def _find_keys(db: Database, base: str, text: str) -> list[str]:
    """The keys of the categories below `base` whose name has the text in it, in the order of the tree."""
    ids = await db.values("SELECT find_categories(:text, :most)", text=text, most=MOST_CATEGORIES)
    return await db.values(
        """
        SELECT tree_key FROM category
        WHERE merchant_id = current_merchant() AND category_id = ANY(:ids::uuid[])
          AND tree_key > :base AND tree_key < :end
        ORDER BY tree_key
        """,
        ids=ids,
        base=base,
        end=_end(base),
    )


def _cut(wish: CategoryWish, keys: list[str], after: str) -> tuple[list[str], int]:
    """The page's keys and one more, and how many there are in all."""
    first = (wish.page - 1) * wish.size
    rest = [key for key in keys if key > after] if after else keys[first:]
    return rest[: wish.size + 1], len(keys)


def _tops(found: list[str], base: str) -> list[str]:
    return list(dict.fromkeys(key[: len(base) + _LEVEL] for key in found))


def _ways(found: list[str], base: str) -> list[str]:
    """What was found, and every category on the way down to it from `base`."""
    return sorted(
        {key[:end] for key in found for end in range(len(base) + _LEVEL, len(key) + _LEVEL, _LEVEL)}
    )


async def _read_keys(db: Database, keys: Sequence[str]) -> list[Category]:
    rows = await db.all(_categories("c.tree_key = ANY(:keys::text[])"), into=_Row, keys=list(keys))
    return [row.category() for row in rows]


async def _read_range(db: Database, tops: Sequence[str]) -> list[Category]:
    """These siblings and everything below them: in the order of the tree they stand side by side."""
    if not tops:
        return []
    rows = await db.all(
        _categories("c.tree_key >= :first AND c.tree_key < :end"),
        into=_Row,
        first=tops[0],
        end=_end(tops[-1]),
    )
    return [row.category() for row in rows]


def _trees(categories: Sequence[Category], base: str) -> tuple[CategoryNode, ...]:
    below: dict[str, list[Category]] = {}
    for category in categories:
        below.setdefault(category.tree_key[:-_LEVEL], []).append(category)

    def nodes(key: str) -> tuple[CategoryNode, ...]:
        return tuple(CategoryNode(one, nodes(one.tree_key)) for one in below.get(key, ()))

    return nodes(base)


def _end(key: str) -> str:
    """The first text after everything that begins with the key."""
    return f"{key}~"


def _categories(condition: str) -> str:
    """The statement that reads the categories for which the condition holds.

    Archived products are few or old: counting them by themselves leaves the rest to the index alone.
    """
    return f"""
        SELECT c.category_id, c.number, c.parent_id, c.name, c.slug, c.description, c.visible_online,
               c.position, c.path, c.tree_key, c.picture_id, p.renditions,
               (SELECT count(*) FROM product_category l
                WHERE l.merchant_id = c.merchant_id AND l.category_id = c.category_id)
               - coalesce(a.links, 0) AS item_count,
               c.version, c.created_at, c.updated_at
        FROM category c
        LEFT JOIN picture p ON p.merchant_id = c.merchant_id AND p.picture_id = c.picture_id
        LEFT JOIN (
          SELECT l.category_id, count(*) AS links FROM product x
          JOIN product_category l ON l.merchant_id = x.merchant_id AND l.product_id = x.product_id
          WHERE x.merchant_id = current_merchant() AND x.status = 'archived'
          GROUP BY l.category_id
        ) a ON a.category_id = c.category_id
        WHERE c.merchant_id = current_merchant() AND {condition}
        ORDER BY c.tree_key
    """  # noqa: S608 - our own conditions


class _Row(Struct, frozen=True):
    category_id: UUID
    number: int
    parent_id: UUID | None
    name: str
    slug: str
    description: str | None
    visible_online: bool
    position: int
    path: list[str]
    tree_key: str
    picture_id: UUID | None
    renditions: str | None
    item_count: int
    version: int
    created_at: datetime
    updated_at: datetime

    def category(self) -> Category:
        return Category(
            category_id=self.category_id,
            number=self.number,
            parent_id=self.parent_id,
            name=self.name,
            slug=self.slug,
            description=self.description,
            visible_online=self.visible_online,
            position=self.position,
            path=tuple(self.path),
            tree_key=self.tree_key,
            picture_id=self.picture_id,
            picture_path=None if self.renditions is None else _largest(self.renditions),
            item_count=self.item_count,
            version=self.version,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


def _largest(renditions: str) -> str:
    """The path of the largest file that every browser reads."""
    files = msgspec.json.decode(renditions, type=tuple[Rendition, ...])
    return next(f.path for f in files if f.name == "zoom" and f.content_type != "image/webp")


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    mark: str
    after: str


_KEY = re.compile(rf"(?:[0-9]{{{_LEVEL}}}){{1,{MOST_LEVELS}}}", re.ASCII)


def _write_cursor(wish: CategoryWish, after: str) -> str:
    return write_cursor(_Cursor(wish.mark, after))


def _read_cursor(wish: CategoryWish) -> str:
    """The key to go on after. Raises CursorWrong."""
    cursor = read_cursor(wish.cursor or "", _Cursor)
    if cursor.mark != wish.mark or not _KEY.fullmatch(cursor.after):
        raise wrong_cursor()
    return cursor.after
