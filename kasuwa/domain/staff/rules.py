"""Who may do what to whom, asked under the lock of the stores that it is about."""

from collections.abc import Sequence
from uuid import UUID

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault, Unauthenticated
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, Permission
from kasuwa.domain.staff.errors import RankTooHigh, SeatsUsedUp, UnknownPermission, UnknownPlace
from kasuwa.domain.staff.queries import read_ranks
from kasuwa.domain.staff.records import Rank


async def hold_places(context: Context, db: Database, further: Sequence[UUID | None]) -> dict[UUID, Rank]:
    """Lock the caller's store and further ones; answer the caller's rank at each, their own store first.

    One writer of a store's people at a time: seats and owners are counted without a race, and whoever was
    demoted in the meantime is asked anew. Raises UnknownPlace, Unauthenticated.
    """
    user_id = context.caller.user_id
    if user_id is None:
        raise Unauthenticated("Log in as a user.")
    wanted = [context.store_id, *(one for one in further if one is not None)]
    await db.values(
        """
        SELECT store_id FROM store WHERE merchant_id = current_merchant() AND store_id = ANY (:store_ids)
        ORDER BY store_id FOR NO KEY UPDATE
        """,
        store_ids=wanted,
    )
    ranks = await read_ranks(db, user_id)
    here = ranks.get(context.store_id)
    if here is None or Permission.USER_WRITE not in here.permissions:
        raise Unauthenticated("Log in again: what you may do at this store has changed.")
    found: dict[UUID, Rank] = {context.store_id: here}
    for index, store_id in enumerate(further):
        rank = None if store_id is None else ranks.get(store_id)
        if store_id is None or rank is None or Permission.USER_WRITE not in rank.permissions:
            fault = FieldFault(f"/storeIds/{index}", "unknown", "Give a location where you manage people.")
            raise UnknownPlace(faults=[fault])
        found[store_id] = rank
    return found


def require_rank(rank: Rank, role: str) -> None:
    """Raises RankTooHigh for somebody whom the caller does not manage."""
    if not rank.may_manage(role):
        raise RankTooHigh(f"A {rank.role} does not manage a {role}: ask an owner.")


def require_rights(rank: Rank, role: str, extra_permissions: Sequence[str]) -> None:
    """Raises RankTooHigh for somebody who may do what the caller may not: nobody gets in in their place."""
    lacking = rank.lacking(PERMISSIONS_OF_ROLE.get(role, frozenset()) | set(extra_permissions))
    if lacking:
        raise RankTooHigh(f"They may do what you may not ({', '.join(lacking)}): ask an owner.")


def require_grant(rank: Rank, role: str) -> None:
    """Raises RankTooHigh for a role that is not below the caller's."""
    if not rank.may_grant(role):
        raise RankTooHigh(f"Grant a role below your own: {', '.join(rank.grantable()) or 'none'}.")


def check_extras(rank: Rank, extra_permissions: Sequence[str]) -> None:
    """Nobody gives more than they have. Raises UnknownPermission."""
    for index, permission in enumerate(extra_permissions):
        if permission not in rank.permissions:
            fault = FieldFault(
                f"/extraPermissions/{index}", "unknown", "Give a permission that you have yourself."
            )
            raise UnknownPermission(faults=[fault])


async def require_seat(db: Database, store_id: UUID, pointer: str) -> None:
    """Raises SeatsUsedUp. Everybody who works there has a seat, invited or suspended or not."""
    free: int = await db.value(
        """
        SELECT s.seats - (SELECT count(*) FROM membership m
                          WHERE m.merchant_id = s.merchant_id AND m.store_id = s.store_id)
        FROM store s WHERE s.merchant_id = current_merchant() AND s.store_id = :store_id
        """,
        store_id=store_id,
    )
    if free <= 0:
        faults = [FieldFault(pointer, "seats", "A location has no seat left.")] if pointer else []
        raise SeatsUsedUp("Remove somebody who has left, or have more seats.", faults=faults)
