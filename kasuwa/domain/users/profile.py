"""A person's own facts: read and changed by nobody but themselves."""

from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID
from zoneinfo import available_timezones

from msgspec import UNSET, Struct, UnsetType, structs

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault, Invalid, Unauthenticated
from kasuwa.domain.reference.places import read_country
from kasuwa.domain.users.addresses import NewAddresses, allow_addresses, change_addresses
from kasuwa.domain.users.errors import UserNotFound
from kasuwa.domain.users.queries import get_me

Gender = Literal["FEMALE", "MALE", "UNSPECIFIED"]

_OLDEST = date(1900, 1, 1)


class Profile(Struct, frozen=True, kw_only=True):
    """An account as its owner sees it; "" and None are what they have not said.

    `role` is that at the session's store; `store_count` counts the stores that they may open; `time_zone`
    is a name of the IANA, `locale` a tag of BCP 47.
    """

    user_id: UUID
    username: str
    email: str
    mobile: str
    first_name: str
    last_name: str
    other_names: str
    gender: Gender | None
    birth_date: date | None
    address: str
    city: str
    state: str
    state_code: str
    country: str
    country_code: str
    locale: str
    time_zone: str
    status: Literal["pending", "active", "suspended"]
    email_verified_at: datetime | None
    mobile_verified_at: datetime | None
    default_store_id: UUID
    role: str
    store_count: int
    picture_sha256: str | None
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    password_changed_at: datetime | None


class ProfileChange(Struct, frozen=True, kw_only=True):
    """What to change; what is UNSET stays. Addresses are normalised and become unproved."""

    first_name: str | UnsetType = UNSET
    last_name: str | UnsetType = UNSET
    other_names: str | UnsetType = UNSET
    gender: Gender | UnsetType = UNSET
    birth_date: date | UnsetType = UNSET
    address: str | UnsetType = UNSET
    city: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    state_code: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    country_code: str | UnsetType = UNSET
    locale: str | UnsetType = UNSET
    time_zone: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    mobile: str | UnsetType = UNSET

    @property
    def addresses(self) -> NewAddresses:
        return NewAddresses(email=self.email, mobile=self.mobile)


_PROFILE = """
    SELECT u.user_id, u.username, u.email, u.mobile, u.first_name, u.last_name, u.other_names, u.gender,
           u.birth_date, u.address, u.city, u.state, u.state_code, u.country, u.country_code, u.locale,
           u.time_zone, u.status, u.email_verified_at, u.mobile_verified_at, u.default_store_id,
           coalesce(h.role, '') AS role,
           (SELECT count(*) FROM membership m
            JOIN store s ON s.merchant_id = m.merchant_id AND s.store_id = m.store_id AND s.status = 'active'
            WHERE m.merchant_id = u.merchant_id AND m.user_id = u.user_id AND m.status = 'active')
             AS store_count,
           encode(p.sha256, 'hex') AS picture_sha256, u.created_at, u.updated_at, u.last_login_at,
           u.password_changed_at
    FROM user_account u
    LEFT JOIN membership h ON h.merchant_id = u.merchant_id AND h.user_id = u.user_id
      AND h.store_id = :store_id
    LEFT JOIN picture p ON p.merchant_id = u.merchant_id AND p.picture_id = u.picture_id
    WHERE u.merchant_id = current_merchant() AND u.user_id = :user_id
"""


async def get_profile(context: Context) -> Profile:
    """The profile of the user who asks."""
    async with context.reading() as db:
        return await read_profile(context, db)


async def read_profile(context: Context, db: Database) -> Profile:
    return await db.one(
        _PROFILE,
        into=Profile,
        missing=UserNotFound(),
        user_id=own_id(context),
        store_id=context.store_id,
    )


async def allow_profile_change(context: Context, change: ProfileChange) -> None:
    """Count the codes that the change will send. Before its transaction. Raises TooManyRequests."""
    if change.email is not UNSET or change.mobile is not UNSET:
        await allow_addresses(context, await get_me(context), change.addresses)


async def update_profile(context: Context, change: ProfileChange) -> Profile:
    """Change one's own facts.

    Raises Invalid with the faults of country, time zone and birth date, LoginNameTaken as
    `change_addresses` does.
    """
    columns = _checked(change)
    user_id = own_id(context)
    async with context.transaction() as db:
        await hold_account(db, user_id)
        before = await read_profile(context, db)
        assignments = "".join(f"{name} = :{name}, " for name in columns)
        await db.execute(
            f"UPDATE user_account SET {assignments} updated_at = now()"  # noqa: S608 - our own column names
            " WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=user_id,
            **columns,
        )
        await change_addresses(context, db, user_id, change.addresses)
        after = await read_profile(context, db)
        # Which facts, not what they are: the trail is read by others, and these are the person's own.
        names = structs.asdict(change)
        fields = sorted(name for name in names if getattr(before, name) != getattr(after, name))
        await write_audit(context, db, "user.profile", "user", user_id, after={"changed": fields})
    return after


async def hold_account(db: Database, user_id: UUID) -> None:
    """One change of an account at a time."""
    await db.value(
        """
        SELECT user_id FROM user_account
        WHERE merchant_id = current_merchant() AND user_id = :user_id FOR UPDATE
        """,
        user_id=user_id,
    )


def own_id(context: Context) -> UUID:
    """The id of the user who asks. Raises Unauthenticated for anybody else."""
    if context.caller.user_id is None:
        raise Unauthenticated("Log in as a user.")
    return context.caller.user_id


def _checked(change: ProfileChange) -> dict[str, Any]:
    """The columns to write. Raises Invalid."""
    faults = []
    if change.time_zone is not UNSET and change.time_zone not in available_timezones():
        faults.append(FieldFault("/timezone", "unknown", "Give a name of the IANA, such as Africa/Lagos."))
    if change.birth_date is not UNSET and not _OLDEST <= change.birth_date <= datetime.now(UTC).date():
        faults.append(FieldFault("/birthDate", "range", "Give a day from 1900 until today."))
    if faults:
        raise Invalid(faults=faults)
    columns = {
        name: value
        for name, value in structs.asdict(change).items()
        if value is not UNSET and name not in ("email", "mobile")
    }
    code, name = columns.get("country_code", ""), columns.get("country", "")
    country = read_country(code, name, code_pointer="/countryCode", name_pointer="/country")
    if country is not None:
        columns |= {"country_code": country.code, "country": country.name}
    elif "country" in columns:
        columns["country_code"] = ""
    return columns
