"""The words of users: people who log in, and what proves them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.stores.records import Location


class Applicant(Struct, frozen=True, kw_only=True):
    """Who opens an account. `email` and `mobile` are normalised; `username` is the e-mail when not wanted."""

    username: str
    email: str
    mobile: str
    first_name: str
    last_name: str
    password: str


class Registered(Struct, frozen=True):
    """A new account; the codes sent on `channels` work until `codes_expire_at`."""

    user_id: UUID
    store_id: UUID
    channels: tuple[Channel, ...]
    codes_expire_at: datetime


class User(Struct, frozen=True, kw_only=True):
    """A person who may log in; `pending` until an address is proved."""

    user_id: UUID
    username: str
    email: str
    mobile: str
    first_name: str
    last_name: str
    status: Literal["pending", "active", "suspended"]
    email_verified_at: datetime | None
    mobile_verified_at: datetime | None
    default_store_id: UUID

    def is_verified(self, channel: Channel) -> bool:
        return (self.email_verified_at if channel == "email" else self.mobile_verified_at) is not None

    def address(self, channel: Channel) -> str:
        return self.email if channel == "email" else self.mobile


class Credentials(Struct, frozen=True):
    """What a log-in is compared with."""

    merchant_id: UUID
    user_id: UUID
    password_hash: str
    status: str
    has_second_factor: bool


class Verification(Struct, frozen=True):
    """Where the proof of an account's addresses stands. `tries_left` goes with a code just sent."""

    user: User
    code_sent: bool = False
    tries_left: int | None = None


class StoreAccess(Struct, frozen=True):
    """A store the user may open, as whom. `token` is a session's, shown this once."""

    store_id: UUID
    role: str
    token: str
    expires_at: datetime


class LoggedInAt(Struct, frozen=True):
    """A user who proved themselves, at one store."""

    user: User
    opened: StoreAccess
    account_token: str
    location: Location


class LoggedIn(Struct, frozen=True):
    """A user who proved themselves. `account_token` proves the account; `link_token` opens the web once."""

    user: User
    account_token: str
    stores: tuple[StoreAccess, ...]
    link_token: str
    link_expires_at: datetime
