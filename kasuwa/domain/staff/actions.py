"""Adding people to a location, changing what they may do there, and taking them off it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import UNSET

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.merchants.errors import LoginNameTaken
from kasuwa.domain.permissions import Permission, Role
from kasuwa.domain.staff.errors import (
    AlreadyThere,
    LastOwner,
    OwnStanding,
    PersonOfOthersToo,
)
from kasuwa.domain.staff.hiring import Hire, add_person, count_taken_name, invite_again
from kasuwa.domain.staff.pins import check_pin, end_pin_sessions, pin_marks
from kasuwa.domain.staff.queries import check_role, read_member, read_ranks
from kasuwa.domain.staff.records import NewStaff, Rank, Removed, StaffChange, StaffMember
from kasuwa.domain.staff.rules import (
    check_extras,
    hold_places,
    require_grant,
    require_rank,
    require_rights,
    require_seat,
)
from kasuwa.domain.users.addresses import NewAddresses, allow_addresses, change_addresses
from kasuwa.domain.users.closing import close_account
from kasuwa.domain.users.queries import get_user


async def add_staff(context: Context, new: NewStaff) -> StaffMember:
    """Add somebody to the caller's location, and to further ones, with the same role.

    Somebody of the business is found by their address and joins; their account stays as it is. Anybody else
    gets an account and is invited; where the address logs in to an account elsewhere, the answer is the same,
    and only the address itself is told. With a password and a user name of its own the account is open at
    once; with a password alone when an address is proved.
    Raises UnknownRole, UnknownPermission, RankTooHigh, UnknownPlace, SeatsUsedUp, AlreadyThere,
    LoginNameTaken (the user name), UsernameRefused, WeakPassword, WeakPin.
    """
    context.require(Permission.USER_WRITE)
    check_role(new.role, "/role")
    if new.pos_pin is not None:
        check_pin(new.pos_pin, "/posPin")
    hire = await Hire.prepared(context, new)
    try:
        async with context.transaction() as db:
            return await _add(context, db, hire)
    except LoginNameTaken:
        await count_taken_name(context)
        raise


async def _add(context: Context, db: Database, hire: Hire) -> StaffMember:
    new = hire.new
    places = await hold_places(context, db, new.place_ids)
    for rank in places.values():
        require_grant(rank, new.role)
        check_extras(rank, new.extra_permissions)
    user_id, was = await add_person(context, db, hire)
    await _require_new_places(db, user_id, list(places), context.store_id)
    for index, store_id in enumerate(places):
        await require_seat(db, store_id, "" if index == 0 else "/storeIds")
        await _join(context, db, user_id, store_id, new)
    await hire.tell(context, db, user_id, was)
    return await read_member(context, db, user_id)


async def allow_change(context: Context, user_id: UUID | None, change: StaffChange) -> None:
    """Count the codes that the change will send. Before its transaction."""
    if user_id is None or (change.email is UNSET and change.mobile is UNSET):
        return
    async with context.reading() as db:
        await read_member(context, db, user_id)
        user = await get_user(db, user_id)
    await allow_addresses(context, user, NewAddresses(email=change.email, mobile=change.mobile))


async def change_staff(context: Context, user_id: UUID | None, change: StaffChange) -> StaffMember:
    """Change a person's facts, and their role, status or rights at the caller's location.

    A change of role or status ends their sessions there. Names and addresses belong to the person: somebody
    else changes them only where they manage everything that the person works at.
    Raises StaffNotFound, OwnStanding, LastOwner, RankTooHigh, PersonOfOthersToo, UnknownRole,
    UnknownPermission, LoginNameTaken, WeakPin.
    """
    context.require(Permission.USER_WRITE)
    if change.role is not UNSET:
        check_role(change.role, "/role")
    if isinstance(change.pos_pin, str):
        check_pin(change.pos_pin, "/posPin")
    async with context.transaction() as db:
        places = await hold_places(context, db, ())
        rank = places[context.store_id]
        before = await read_member(context, db, user_id)
        is_self = before.user_id == context.caller.user_id
        if is_self and isinstance(change.pos_pin, str):
            raise OwnStanding("Set your own PIN with your password: PUT /manage/{storeid}/pin.")
        if not is_self:
            require_rank(rank, before.role)
            if change.pos_pin is not UNSET:
                require_rights(rank, before.role, before.extra_permissions)
        await _change_standing(context, db, rank, before, change)
        if _is_personal(change):
            if not is_self:
                await _require_only_ours(context, db, before.user_id)
            await _change_person(context, db, before.user_id, change)
        after = await read_member(context, db, before.user_id)
        noted = {"before": before.noted(), "after": after.noted()}
        await write_audit(context, db, "user.change", "user", before.user_id, **noted)
    return after


async def remove_staff(context: Context, user_id: UUID | None) -> Removed:
    """Take the person off the caller's location; their sessions there end with this commit.

    Whoever works nowhere in the business any more cannot log in, and their names are free for others.
    Raises StaffNotFound, OwnStanding, LastOwner, RankTooHigh.
    """
    context.require(Permission.USER_WRITE)
    async with context.transaction() as db:
        places = await hold_places(context, db, ())
        member = await read_member(context, db, user_id)
        if member.role == Role.OWNER:
            await _require_other_owner(db, context.store_id, member.user_id)
        if member.user_id == context.caller.user_id:
            raise OwnStanding("Ask another owner of the store to remove you.")
        require_rank(places[context.store_id], member.role)
        # First what lets them in: a till that lets them in at this moment is waited for.
        at: datetime = await db.value(
            """
            DELETE FROM membership
            WHERE merchant_id = current_merchant() AND user_id = :user_id AND store_id = :store_id
            RETURNING now()
            """,
            user_id=member.user_id,
            store_id=context.store_id,
        )
        ended = await _end_sessions(db, member.user_id, context.store_id)
        await _forget_wallet(db, member.user_id, context.store_id)
        await _leave(db, member.user_id, context.store_id)
        await write_audit(context, db, "user.remove", "user", member.user_id, before=member.noted())
    return Removed(at, ended)


async def _join(context: Context, db: Database, user_id: UUID, store_id: UUID, new: NewStaff) -> None:
    mark = None if new.pos_pin is None else pin_marks(context, user_id, store_id, new.pos_pin)[0]
    await db.execute(
        """
        INSERT INTO membership (merchant_id, user_id, store_id, role, extra_permissions, pos_pin_mark,
                                created_by)
        VALUES (current_merchant(), :user_id, :store_id, :role, :extra, :mark, :created_by)
        """,
        user_id=user_id,
        store_id=store_id,
        role=new.role,
        extra=sorted(set(new.extra_permissions)),
        mark=mark,
        created_by=context.caller.user_id,
    )
    after = {"storeId": store_id, "role": new.role, "extraPermissions": list(new.extra_permissions)}
    await write_audit(context, db, "user.add", "user", user_id, after=after)


async def _require_new_places(db: Database, user_id: UUID, store_ids: Sequence[UUID], here: UUID) -> None:
    """Raises AlreadyThere."""
    there = await db.values(
        """
        SELECT store_id FROM membership
        WHERE merchant_id = current_merchant() AND user_id = :user_id AND store_id = ANY (:store_ids)
        """,
        user_id=user_id,
        store_ids=list(store_ids),
    )
    if there:
        where = "Change the user instead." if here in there else "Leave out locations that they work at."
        raise AlreadyThere(where)


async def _change_standing(
    context: Context, db: Database, rank: Rank, before: StaffMember, change: StaffChange
) -> None:
    """Role, status, rights and PIN: what holds at this location."""
    role = before.role if change.role is UNSET else change.role
    is_suspended = before.status == "suspended" if change.status is UNSET else change.status == "suspended"
    extra = before.extra_permissions if change.extra_permissions is UNSET else list(change.extra_permissions)
    is_other_role = role != before.role
    is_other_status = is_suspended != (before.status == "suspended")
    is_other_extra = set(extra) != set(before.extra_permissions)
    if is_other_role or is_other_status or is_other_extra:
        if before.role == Role.OWNER and (is_other_role or is_suspended):
            await _require_other_owner(db, context.store_id, before.user_id)
        if before.user_id == context.caller.user_id:
            raise OwnStanding("Ask another owner of the store to change what you may do.")
        if is_other_role:
            require_grant(rank, role)
        check_extras(rank, [one for one in extra if one not in before.extra_permissions])
    mark = None
    if isinstance(change.pos_pin, str):
        mark = pin_marks(context, before.user_id, context.store_id, change.pos_pin)[0]
    await db.execute(
        """
        UPDATE membership SET role = :role, extra_permissions = :extra, updated_at = now(),
          status = CASE WHEN :is_suspended THEN 'suspended' ELSE 'active' END,
          pos_pin_mark = CASE WHEN :keeps_pin THEN pos_pin_mark ELSE :mark::bytea END
        WHERE merchant_id = current_merchant() AND user_id = :user_id AND store_id = :store_id
        """,
        user_id=before.user_id,
        store_id=context.store_id,
        role=role,
        extra=sorted(set(extra)),
        is_suspended=is_suspended,
        keeps_pin=change.pos_pin is UNSET,
        mark=mark,
    )
    if change.pos_pin is not UNSET:
        await end_pin_sessions(context, db, before.user_id)
        after = {"hasPin": mark is not None}
        await write_audit(context, db, "user.set_pin", "user", before.user_id, after=after)
    if is_other_role or is_other_status:
        await _end_sessions(db, before.user_id, context.store_id)


def _is_personal(change: StaffChange) -> bool:
    return any(
        value is not UNSET for value in (change.first_name, change.last_name, change.email, change.mobile)
    )


async def _change_person(context: Context, db: Database, user_id: UUID, change: StaffChange) -> None:
    await db.execute(
        """
        UPDATE user_account SET first_name = coalesce(:first_name, first_name),
                                last_name = coalesce(:last_name, last_name), updated_at = now()
        WHERE merchant_id = current_merchant() AND user_id = :user_id
        """,
        user_id=user_id,
        first_name=None if change.first_name is UNSET else change.first_name,
        last_name=None if change.last_name is UNSET else change.last_name,
    )
    new = NewAddresses(email=change.email, mobile=change.mobile)
    if await change_addresses(context, db, user_id, new):
        await invite_again(context, db, user_id)


async def _require_only_ours(context: Context, db: Database, user_id: UUID) -> None:
    """Raises PersonOfOthersToo unless the caller manages the person wherever they work, and may do all that
    they may.

    An address is the way to a new password: who may change it has everything that the person may open.
    """
    assert context.caller.user_id is not None, "hold_places() has asked who it is"
    mine = await read_ranks(db, context.caller.user_id)
    for store_id, theirs in (await read_ranks(db, user_id, with_suspended=True)).items():
        rank = mine.get(store_id)
        if (
            rank is None
            or Permission.USER_WRITE not in rank.permissions
            or not rank.may_manage(theirs.role)
            or rank.lacking(theirs.permissions)
        ):
            raise PersonOfOthersToo("Ask the person to change their name and addresses in their own profile.")


async def _require_other_owner(db: Database, store_id: UUID, user_id: UUID) -> None:
    """Raises LastOwner. Under the lock of the store: two owners cannot take each other off."""
    others: int = await db.value(
        """
        SELECT count(*) FROM membership m
        JOIN user_account u ON u.merchant_id = m.merchant_id AND u.user_id = m.user_id
        WHERE m.merchant_id = current_merchant() AND m.store_id = :store_id AND m.user_id <> :user_id
          AND m.role = 'OWNER' AND m.status = 'active' AND u.status = 'active'
        """,
        store_id=store_id,
        user_id=user_id,
    )
    if others == 0:
        raise LastOwner("Have another owner in the store first.")


async def _end_sessions(db: Database, user_id: UUID, store_id: UUID) -> int:
    ended: int = await db.value(
        "SELECT end_sessions_at(:user_id, :store_id)", user_id=user_id, store_id=store_id
    )
    return ended


async def _forget_wallet(db: Database, user_id: UUID, store_id: UUID) -> None:
    """Nobody is paid out to an account of a location where they work no more."""
    await db.execute(
        """
        DELETE FROM wallet_bank w USING bank_account a
        WHERE w.merchant_id = current_merchant() AND w.user_id = :user_id
          AND a.merchant_id = w.merchant_id AND a.bank_account_id = w.bank_account_id
          AND a.store_id = :store_id
        """,
        user_id=user_id,
        store_id=store_id,
    )


async def _leave(db: Database, user_id: UUID, store_id: UUID) -> None:
    """Another default location for whoever has one; else the account is closed and nobody finds it again."""
    await get_user(db, user_id, lock=True)
    left = await db.value(
        """
        SELECT store_id FROM membership WHERE merchant_id = current_merchant() AND user_id = :user_id
        ORDER BY created_at, store_id LIMIT 1
        """,
        user_id=user_id,
    )
    if left is None:
        await close_account(db, user_id)
        return
    await db.execute(
        """
        UPDATE user_account SET default_store_id = :left, updated_at = now()
        WHERE merchant_id = current_merchant() AND user_id = :user_id AND default_store_id = :store_id
        """,
        user_id=user_id,
        store_id=store_id,
        left=left,
    )
