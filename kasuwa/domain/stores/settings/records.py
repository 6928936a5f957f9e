"""The words of a store's settings."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from kasuwa.domain.merchants.records import VatType

PageKind = Literal["about", "policy", "privacy", "delivery"]
PictureKind = Literal["logo", "favicon"]
Placement = Literal["home", "category", "product", "checkout"]
SecretKind = Literal["bvn", "google_key"]
Day = Literal["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]

MOST_BANNERS = 30


class OpeningTime(Struct, frozen=True):
    """Times of day as "08:00", where the store is; "24:00" ends a day."""

    day: Day
    opens: str
    closes: str


class DeliveryPoint(Struct, frozen=True):
    point_id: UUID
    name: str
    kind: str = ""


class PointWish(Struct, frozen=True):
    """A point as it shall be. `point_id` None makes a new one; `kind` UNSET leaves it as it is."""

    point_id: UUID | None
    name: str
    kind: str | UnsetType = UNSET


class Gateway(Struct, frozen=True, kw_only=True):
    """A payment gateway without its secrets."""

    gateway_id: UUID
    provider: str
    kind: str
    remark: str
    public_key: str
    has_secret_key: bool
    has_webhook_secret: bool


class GatewayWish(Struct, frozen=True, kw_only=True):
    """A gateway as it shall be. `gateway_id` None makes a new one; what is UNSET stays, "" takes away."""

    gateway_id: UUID | None
    provider: str
    kind: str | UnsetType = UNSET
    remark: str | UnsetType = UNSET
    public_key: str | UnsetType = UNSET
    secret_key: str | UnsetType = UNSET
    webhook_secret: str | UnsetType = UNSET


class StoreFacts(Struct, frozen=True, kw_only=True):
    """The columns of a store that its settings write. `tax_rate`: below 1 a fraction, else percent."""

    name: str
    country: str
    country_code: str
    state: str
    state_code: str
    city: str
    city_code: str
    time_zone: str
    address: str
    latitude: str
    longitude: str
    email: str
    mobile: str
    profile_type: str
    currency: str
    tax_rate: Decimal
    vat_type: VatType


class StoreSettings(Struct, frozen=True, kw_only=True):
    """Everything that the merchant sets. `written` are texts and switches by their names in the settings."""

    store_id: UUID
    facts: StoreFacts
    written: dict[str, Any]
    opening_times: tuple[OpeningTime, ...]
    delivery_points: tuple[DeliveryPoint, ...]
    features: dict[str, Any]
    pages: dict[PageKind, str]
    gateways: tuple[Gateway, ...]
    has_google_key: bool
    updated_at: datetime


class Page(Struct, frozen=True):
    """A text page. Plain text: whoever shows it escapes it."""

    kind: PageKind
    content: str
    updated_at: datetime


class SettingsChange(Struct, frozen=True, kw_only=True):
    """What to change; what is not named or UNSET stays as it is.

    `facts` are columns of StoreFacts. None takes away what `written`, `features` and `secrets` name; so does
    "" for a page.
    """

    facts: Mapping[str, object] = {}
    written: Mapping[str, object] = {}
    features: Mapping[str, object] = {}
    pages: Mapping[PageKind, str] = {}
    secrets: Mapping[SecretKind, str | None] = {}
    opening_times: tuple[OpeningTime, ...] | UnsetType = UNSET
    delivery_points: tuple[PointWish, ...] | UnsetType = UNSET
    gateways: tuple[GatewayWish, ...] | UnsetType = UNSET


class Banner(Struct, frozen=True, kw_only=True):
    """A picture that leads to a product, to an address, or nowhere. `path` begins with /media/."""

    banner_id: UUID
    placement: Placement
    position: int
    title: str
    product_id: UUID | None
    link: str
    path: str
    starts_at: datetime | None
    ends_at: datetime | None
    added_at: datetime


class NewBanner(Struct, frozen=True, kw_only=True):
    placement: Placement = "home"
    title: str = ""
    product_id: UUID | None = None
    link: str = ""


class BannerChange(Struct, frozen=True, kw_only=True):
    """What to change of a banner; what is UNSET stays."""

    placement: Placement | UnsetType = UNSET
    position: int | UnsetType = UNSET
    title: str | UnsetType = UNSET
    product_id: UUID | UnsetType | None = UNSET
    link: str | UnsetType = UNSET
    starts_at: datetime | UnsetType | None = UNSET
    ends_at: datetime | UnsetType | None = UNSET


class Front(Struct, frozen=True):
    """What a store's profile shows beside its row: pages, banners, gateways, and whether a key is kept."""

    pages: dict[PageKind, str]
    banners: tuple[Banner, ...]
    gateways: tuple[Gateway, ...]
    has_google_key: bool
