"""The words of people who work at a store."""

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, ROLES, Role
from kasuwa.domain.reference.contacts import mask_email, mask_mobile

Standing = Literal["invited", "active", "suspended"]


class StaffPlace(Struct, frozen=True):
    """A location that the person may open, as whom."""

    store_id: UUID
    name: str
    role: str


class StaffMember(Struct, frozen=True, kw_only=True):
    """A person at one location. An address that they did not give is "".

    `status` holds there: invited until an address is proved. `places` are those that the asker may know of.
    """

    user_id: UUID
    store_id: UUID
    username: str
    email: str
    mobile: str
    first_name: str
    last_name: str
    role: str
    extra_permissions: list[str]
    status: Standing
    last_login_at: datetime | None
    created_at: datetime
    created_by: UUID | None
    updated_at: datetime
    places: tuple[StaffPlace, ...] = ()

    def noted(self) -> "StaffMember":
        """As the audit trail has them, which others read: with their addresses masked."""
        return replace(
            self,
            username=mask_email(self.username) if "@" in self.username else self.username,
            email=mask_email(self.email) if self.email else "",
            mobile=mask_mobile(self.mobile) if self.mobile else "",
        )

    @property
    def permissions(self) -> list[str]:
        """What the role and the extra grants add up to, in the order of the alphabet."""
        return sorted(
            {str(one) for one in PERMISSIONS_OF_ROLE.get(self.role, ())} | set(self.extra_permissions)
        )


class NewStaff(Struct, frozen=True, kw_only=True):
    """A person to be added. `email` and `mobile` are normalised, "" when not given; one of them is there.

    `username` is "" when none was wished. Without a `password` an invitation is sent. `place_ids` are further
    locations, None for an id that no location can have.
    """

    first_name: str
    last_name: str
    role: str
    email: str = ""
    mobile: str = ""
    username: str = ""
    place_ids: tuple[UUID | None, ...] = ()
    extra_permissions: tuple[str, ...] = ()
    password: str | None = None
    pos_pin: str | None = None


class StaffChange(Struct, frozen=True, kw_only=True):
    """What to change of a person at a location; what is UNSET stays. `pos_pin` None takes the PIN away."""

    first_name: str | UnsetType = UNSET
    last_name: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    mobile: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    status: Literal["active", "suspended"] | UnsetType = UNSET
    extra_permissions: tuple[str, ...] | UnsetType = UNSET
    pos_pin: str | UnsetType | None = UNSET


class StaffFilter(Struct, frozen=True, kw_only=True):
    """Whom to list. `everywhere`: at every location whose people the asker may see."""

    everywhere: bool = False
    role: str | None = None
    status: Standing | None = None
    search: str = ""


class Removed(Struct, frozen=True):
    """A person who was taken off a location, and how many of their sessions there have ended."""

    at: datetime
    sessions_ended: int


_RANKS = {facts.role.value: facts.level for facts in ROLES}


class Rank(Struct, frozen=True):
    """What somebody may do with people at a location, by their role and rights there."""

    role: str
    permissions: frozenset[str]

    def may_grant(self, role: str) -> bool:
        """Only a role below one's own: nobody makes their equal."""
        return _RANKS[role] < _RANKS.get(self.role, 0)

    def may_manage(self, role: str) -> bool:
        """Whoever is below; and an owner another owner, as long as one is left."""
        return self.may_grant(role) or (self.role == role == Role.OWNER)

    def lacking(self, permissions: AbstractSet[str]) -> list[str]:
        """What of these the caller may not do: nobody gets in in the place of somebody who may do more."""
        return sorted(permissions - self.permissions)

    def grantable(self) -> list[str]:
        return [role for role in _RANKS if self.may_grant(role)]
