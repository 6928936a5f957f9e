"""Questions about the people of a store."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.cursors import read_cursor, write_cursor
from kasuwa.base.db import Database
from kasuwa.base.pages import Page
from kasuwa.base.problems import FieldFault
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, Permission
from kasuwa.domain.staff.errors import StaffNotFound, TooDeep, UnknownRole
from kasuwa.domain.staff.records import Rank, StaffFilter, StaffMember, StaffPlace

MOST_COUNTED = 10_000

_STATUS = """CASE WHEN m.status = 'suspended' OR u.status = 'suspended' THEN 'suspended'
                WHEN u.status = 'pending' THEN 'invited' ELSE 'active' END"""
_MEMBERS = f"""
    SELECT u.user_id, m.store_id, u.username, u.email, u.mobile, u.first_name, u.last_name, m.role,
           m.extra_permissions, {_STATUS} AS status, u.last_login_at, m.created_at, m.created_by,
           greatest(m.updated_at, u.updated_at) AS updated_at
    FROM membership m
    JOIN user_account u ON u.merchant_id = m.merchant_id AND u.user_id = m.user_id
    WHERE m.merchant_id = current_merchant() AND m.store_id = ANY (:store_ids)
"""  # noqa: S608 - our own words
_FILTERED = f"""
    {_MEMBERS}
      AND (:role::text IS NULL OR m.role = :role)
      AND (:status::text IS NULL OR {_STATUS} = :status)
      AND (:search = '' OR position(lower(:search) IN lower(
            u.first_name || ' ' || u.last_name || E'\\n' || u.username || E'\\n' || u.email
            || E'\\n' || u.mobile
          )) > 0)
"""
_COUNT = f"SELECT count(*) FROM (SELECT DISTINCT user_id FROM ({_FILTERED}) f LIMIT {MOST_COUNTED + 1}) c"  # noqa: S608
# A person at several locations is one row: this location's, else the one that was opened first.
_PAGE = f"""
    SELECT DISTINCT ON (f.user_id) f.* FROM ({_FILTERED}) f
    WHERE (:after::uuid IS NULL OR f.user_id > :after)
    ORDER BY f.user_id, f.store_id = :here DESC, f.store_id
    LIMIT :size OFFSET :offset
"""  # noqa: S608


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    user_id: UUID


class _Standing(Struct, frozen=True):
    store_id: UUID
    role: str
    extra_permissions: list[str]


class _Place(Struct, frozen=True):
    user_id: UUID
    store_id: UUID
    name: str
    role: str


async def read_ranks(db: Database, user_id: UUID, *, with_suspended: bool = False) -> dict[UUID, Rank]:
    """What the user may do with people, at each location that they may open, or could when let in again."""
    rows = await db.all(
        """
        SELECT store_id, role, extra_permissions FROM membership
        WHERE merchant_id = current_merchant() AND user_id = :user_id
          AND (status = 'active' OR :with_suspended)
        """,
        into=_Standing,
        user_id=user_id,
        with_suspended=with_suspended,
    )
    return {
        UUID(int=row.store_id.int): Rank(
            row.role, PERMISSIONS_OF_ROLE.get(row.role, frozenset()) | frozenset(row.extra_permissions)
        )
        for row in rows
    }


async def list_staff(
    context: Context, wanted: StaffFilter, *, page: int = 1, size: int = 50, cursor: str | None = None
) -> Page[StaffMember]:
    """The page of people, in the order in which their accounts were made, or what follows the cursor.

    Raises UnknownRole, TooDeep, CursorWrong.
    """
    context.require(Permission.USER_READ)
    if wanted.role is not None:
        check_role(wanted.role, "#/query/role")
    if cursor is None and page * size > MOST_COUNTED:
        raise TooDeep(
            faults=[FieldFault("#/query/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")]
        )
    after = None if cursor is None else read_cursor(cursor, _Cursor).user_id
    async with context.reading() as db:
        visible = await _visible(context, db)
        values: dict[str, Any] = {
            "store_ids": visible if wanted.everywhere else [context.store_id],
            "role": wanted.role,
            "status": wanted.status,
            "search": wanted.search.strip(),
        }
        total: int = await db.value(_COUNT, **values)
        rows = await db.all(
            _PAGE,
            into=StaffMember,
            after=after,
            here=context.store_id,
            size=size + 1,
            offset=(page - 1) * size if cursor is None else 0,
            **values,
        )
        members = await _with_places(db, rows[:size], visible)
    following = write_cursor(_Cursor(members[-1].user_id)) if len(rows) > size else None
    return Page(tuple(members), page, size, min(total, MOST_COUNTED), total <= MOST_COUNTED, following)


async def get_staff(context: Context, user_id: UUID | None) -> StaffMember:
    """Somebody of the caller's store. Raises StaffNotFound; None is an id that nobody can have."""
    context.require(Permission.USER_READ)
    async with context.reading() as db:
        return await read_member(context, db, user_id)


async def read_member(context: Context, db: Database, user_id: UUID | None) -> StaffMember:
    """The person at the caller's store, with the locations that the caller may know of."""
    member = None
    if user_id is not None:
        member = await db.find(
            f"{_MEMBERS} AND m.user_id = :user_id",
            into=StaffMember,
            store_ids=[context.store_id],
            user_id=user_id,
        )
    if member is None:
        raise StaffNotFound("Take the userId from the list of the store's users.")
    [whole] = await _with_places(db, [member], await _visible(context, db))
    return whole


def check_role(role: str, pointer: str) -> None:
    """Raises UnknownRole."""
    if role not in PERMISSIONS_OF_ROLE:
        known = ", ".join(PERMISSIONS_OF_ROLE)
        raise UnknownRole(faults=[FieldFault(pointer, "unknown", f"Give one of {known}.")])


async def _visible(context: Context, db: Database) -> list[UUID]:
    """The locations whose people the caller may see."""
    if context.caller.user_id is None:
        return [context.store_id]
    ranks = await read_ranks(db, context.caller.user_id)
    return [store_id for store_id, rank in ranks.items() if Permission.USER_READ in rank.permissions]


async def _with_places(
    db: Database, members: Sequence[StaffMember], visible: Sequence[UUID]
) -> list[StaffMember]:
    places = await db.all(
        """
        SELECT m.user_id, m.store_id, s.name, m.role FROM membership m
        JOIN store s ON s.merchant_id = m.merchant_id AND s.store_id = m.store_id
        WHERE m.merchant_id = current_merchant() AND m.user_id = ANY (:user_ids)
          AND m.store_id = ANY (:store_ids) AND m.status = 'active'
        ORDER BY lower(s.name), m.store_id
        """,
        into=_Place,
        user_ids=[member.user_id for member in members],
        store_ids=list(visible),
    )
    return [
        msgspec.structs.replace(
            member,
            places=tuple(
                StaffPlace(one.store_id, one.name, one.role)
                for one in places
                if one.user_id == member.user_id
            ),
        )
        for member in members
    ]
