"""What whoever manages a location does about its people's ways in: their sessions there, and owning it."""

from uuid import UUID

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.domain.permissions import Permission, Role
from kasuwa.domain.staff.errors import NotActive, RankTooHigh
from kasuwa.domain.staff.queries import read_member, read_ranks
from kasuwa.domain.staff.records import StaffMember
from kasuwa.domain.staff.rules import hold_places, require_rank
from kasuwa.domain.users.confirming import confirm_password
from kasuwa.domain.users.errors import SessionNotFound
from kasuwa.domain.users.sessions import Session, end_sessions, sessions_of


async def list_staff_sessions(context: Context, user_id: UUID | None) -> list[Session]:
    """Sessions of somebody whom the caller manages, at their location. Raises StaffNotFound, RankTooHigh."""
    context.require(Permission.USER_WRITE)
    caller_id = context.caller.user_id
    assert caller_id is not None
    async with context.reading() as db:
        member = await read_member(context, db, user_id)
        if member.user_id != caller_id:
            require_rank((await read_ranks(db, caller_id))[context.store_id], member.role)
        return await sessions_of(db, member.user_id, at_store=context.store_id)


async def end_staff_sessions(
    context: Context, user_id: UUID | None, session_id: UUID | None, *, every: bool = False
) -> int:
    """End one session of somebody at the caller's location, or every one there; how many that were.

    Raises StaffNotFound, RankTooHigh, SessionNotFound.
    """
    context.require(Permission.USER_WRITE)
    async with context.transaction() as db:
        places = await hold_places(context, db, ())
        member = await read_member(context, db, user_id)
        if member.user_id != context.caller.user_id:
            require_rank(places[context.store_id], member.role)
        there = await sessions_of(db, member.user_id, at_store=context.store_id)
        meant = [one for one in there if every or one.session_id == session_id]
        if not every and not meant:
            raise SessionNotFound("It has ended, or is at another store: see the list of sessions.")
        return await end_sessions(context, db, member.user_id, meant)


async def make_owner(context: Context, user_id: UUID | None, password: str) -> StaffMember:
    """Make somebody of the caller's location an owner of it; `password` is the caller's own.

    Their sessions there end, as with every change of a role. An owner stays as they are.
    Raises StaffNotFound, RankTooHigh, NotActive, WrongPassword, TooManyRequests, AtTill.
    """
    context.require(Permission.USER_WRITE)
    await confirm_password(context, password)
    async with context.transaction() as db:
        places = await hold_places(context, db, ())
        # A right to manage people may be lent; the location itself is given away by those who own it.
        if places[context.store_id].role != Role.OWNER:
            raise RankTooHigh("Only an owner of the store makes another one.")
        before = await read_member(context, db, user_id)
        if before.role == Role.OWNER:
            return before
        if before.status != "active":
            raise NotActive("An owner has proved an address, and is not suspended.")
        await db.execute(
            """
            UPDATE membership SET role = :role, updated_at = now()
            WHERE merchant_id = current_merchant() AND user_id = :user_id AND store_id = :store_id
            """,
            role=Role.OWNER.value,
            user_id=before.user_id,
            store_id=context.store_id,
        )
        there = await sessions_of(db, before.user_id, at_store=context.store_id)
        await end_sessions(context, db, before.user_id, there)
        after = await read_member(context, db, before.user_id)
        noted = {"before": before.noted(), "after": after.noted()}
        await write_audit(context, db, "user.make_owner", "user", before.user_id, **noted)
    return after
