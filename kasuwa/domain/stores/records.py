"""The words of stores: places of a merchant that sell."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import Struct

from kasuwa.domain.merchants.records import VatType


class LocationWish(Struct, frozen=True, kw_only=True):
    """What the caller said about a location to be opened; None and "" leave it to the merchant's own."""

    name: str = ""
    country: str = ""
    country_code: str = ""
    state: str = ""
    state_code: str = ""
    city: str = ""
    city_code: str = ""
    address: str = ""
    latitude: str = ""
    longitude: str = ""
    email: str = ""
    mobile: str = ""
    currency: str | None = None
    tax_rate: Decimal | None = None
    vat_type: VatType | None = None
    profile_type: str = ""
    seats: int = 5
    license_plan: str = "community"


class Location(Struct, frozen=True, kw_only=True):
    """A store as one of its users sees it. `tax_rate` is as it was sent.

    `role` and `extra_permissions` are the user's there.
    """

    store_id: UUID
    name: str
    site_name: str
    country: str
    country_code: str
    state: str
    city: str
    address: str
    latitude: str
    longitude: str
    email: str
    mobile: str
    currency: str
    tax_rate: Decimal
    vat_type: VatType
    profile_type: str
    license_plan: str
    status: str
    settings: dict[str, Any]
    created_at: datetime
    role: str
    extra_permissions: list[str]
    is_default: bool


class FinancialInfo(Struct, frozen=True):
    """`tax_rate` as it was sent: below 1 a fraction, from 1 on percent. `currency` is of ISO 4217."""

    tax_rate: Decimal
    vat_type: VatType
    currency: str


class Entered(Struct, frozen=True):
    """A location with tokens for it, shown this once. `original_store_id` is where the session began."""

    location: Location
    session_token: str
    access_token: str
    original_store_id: UUID
