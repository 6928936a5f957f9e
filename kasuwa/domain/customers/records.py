"""The words of customers: people who buy, one of each for all stores of a merchant."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.domain.proofs.records import Channel

Purpose = Literal["terms", "marketing_email", "marketing_mobile", "profiling"]
"""What a customer may consent to: the terms, being written to, being called or texted, being told apart."""


class Birthday(Struct, frozen=True):
    """As much of it as the customer said: day and month go together, the year may be missing or alone."""

    day: int | None = None
    month: int | None = None
    year: int | None = None


class NewCustomer(Struct, frozen=True, kw_only=True):
    """Who is registered. `email` and `mobile` are normalised, "" is one that they do not have.

    `username` is "" when their address is to be it, `password` None when they choose one later, by a code.
    """

    username: str = ""
    email: str = ""
    mobile: str = ""
    first_name: str
    last_name: str = ""
    street: str = ""
    lga: str = ""
    lga_code: str = ""
    state: str = ""
    state_code: str = ""
    country: str = ""
    country_code: str = ""
    zip_code: str = ""
    birthday: Birthday = Birthday()
    password: str | None = None
    consents: tuple[Purpose, ...] = ()


class Customer(Struct, frozen=True, kw_only=True):
    """A customer; "" and None are what they have not said. `store_id` is where they were registered."""

    customer_id: UUID
    store_id: UUID
    username: str
    email: str
    mobile: str
    first_name: str
    last_name: str
    street: str
    lga: str
    lga_code: str
    state: str
    state_code: str
    country: str
    country_code: str
    zip_code: str
    birth_day: int | None
    birth_month: int | None
    birth_year: int | None
    email_verified_at: datetime | None
    mobile_verified_at: datetime | None
    password_changed_at: datetime | None
    last_login_at: datetime | None
    status: Literal["active", "suspended"]
    created_at: datetime
    created_by: UUID | None
    updated_at: datetime

    def is_verified(self, channel: Channel) -> bool:
        return (self.email_verified_at if channel == "email" else self.mobile_verified_at) is not None

    def address(self, channel: Channel) -> str:
        return self.email if channel == "email" else self.mobile


class Consent(Struct, frozen=True, kw_only=True):
    """One answer of a customer. `noted_by` is the user who wrote it down, None when it was the customer."""

    purpose: Purpose
    is_given: bool
    at: datetime
    store_id: UUID
    noted_by: UUID | None
    evidence: str


class Verification(Struct, frozen=True):
    """Where the proof of an address stands; `expires_at` and `tries_left` go with a code just sent."""

    customer: Customer
    expires_at: datetime | None = None
    tries_left: int | None = None


class LoggedIn(Struct, frozen=True):
    """A customer who proved themselves. `token` is the session's, shown this once."""

    customer: Customer
    token: str
    expires_at: datetime
