"""At which of the merchant's stores somebody has a permission."""

from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.permissions import HOLDS_PERMISSION, Permission, Role, holding


class Reach(Struct, frozen=True):
    """The stores, whether they are all that the merchant has, and whether the caller owns one of them."""

    stores: list[UUID]
    is_whole: bool
    is_owner: bool

    @property
    def conditions(self) -> list[str]:
        """What a row with a `store_id` must be to be seen. What stands at no store is shown to owners."""
        if self.is_whole:
            return [] if self.is_owner else ["store_id IS NOT NULL"]
        return [
            "(store_id = ANY(:stores) OR store_id IS NULL)" if self.is_owner else "store_id = ANY(:stores)"
        ]

    @property
    def values(self) -> dict[str, object]:
        return {} if self.is_whole else {"stores": self.stores}


class _Place(Struct, frozen=True):
    store_id: UUID
    reached: bool


async def read_reach(context: Context, db: Database, permission: Permission) -> Reach:
    """Where the caller, a user of the shop, has the permission."""
    places = await db.all(
        f"""
        SELECT s.store_id, EXISTS (
          SELECT FROM membership m
          WHERE m.merchant_id = s.merchant_id AND m.store_id = s.store_id AND m.user_id = :user_id
            AND m.status = 'active'
            AND {HOLDS_PERMISSION}
        ) AS reached
        FROM store s WHERE s.merchant_id = current_merchant()
        """,  # noqa: S608 - our own condition
        into=_Place,
        user_id=context.caller.user_id,
        **holding(permission),
    )
    reached = [place.store_id for place in places if place.reached]
    return Reach(
        reached,
        is_whole=len(reached) == len(places),
        is_owner=context.caller.role == Role.OWNER,
    )
