"""The words of merchants, their people's proofs and their apps'."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

VatType = Literal["inclusive", "exclusive"]


class NewStore(Struct, frozen=True, kw_only=True):
    """A location to be opened."""

    name: str
    country_code: str
    currency: str
    country: str = ""
    state: str = ""
    state_code: str = ""
    city: str = ""
    city_code: str = ""
    address: str = ""
    latitude: str = ""
    longitude: str = ""
    email: str = ""
    mobile: str = ""
    tax_rate: Decimal = Decimal(0)
    vat_type: VatType = "exclusive"
    profile_type: str = ""
    seats: int = 5
    license_plan: str = "community"
    settings: dict[str, Any] = {}


class NewOwner(Struct, frozen=True, kw_only=True):
    """The person a merchant begins with. `password_hash` is Argon2's; `mobile` is in E.164."""

    username: str
    email: str
    mobile: str
    first_name: str
    last_name: str
    password_hash: str
    is_verified: bool = False


class Founded(Struct, frozen=True):
    """A new merchant with its first store and its owner."""

    merchant_id: UUID
    store_id: UUID
    user_id: UUID


class OpenedStore(Struct, frozen=True):
    """`store_hash` and `shop` name the store in the BigCommerce and Shoplazza APIs."""

    store_id: UUID
    store_hash: str
    shop: str


class OpenedSession(Struct, frozen=True):
    """`token` is shown this once; its hash is what is kept."""

    token: str
    expires_at: datetime
    session_id: UUID


class OpenedLogIn(Struct, frozen=True):
    """The sessions of one log-in; tokens are shown this once, those of stores in the stores' order."""

    login_id: UUID
    account_token: str
    store_tokens: tuple[str, ...]
    expires_at: datetime


class MadeToken(Struct, frozen=True):
    """A new token and its id; the token is shown this once."""

    token_id: UUID
    token: str
    scopes: list[str]
    store: OpenedStore


class AccessToken(Struct, frozen=True):
    """A token of the BigCommerce and Shoplazza APIs, shown this once."""

    access_token: str
    store_hash: str
    shop: str
    store_id: UUID
