"""What a merchant says of a store: read with an ETag, changed by naming what is to change."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from kasuwa.api.manage.contract import (
    DeliveryPointChange,
    PaymentGatewayChange,
    RemoveStorePicturePath,
    SetStorePicturePath,
    StoreBusinessChange,
    StoreFeatures,
    StoreSettingsChange,
    StoreTaxChange,
)
from kasuwa.api.manage.picture_bodies import read_picture
from kasuwa.api.manage.service import api
from kasuwa.api.quantities import plain
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange
from kasuwa.base.http.caching import etag, require_match
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS
from kasuwa.domain.permissions import Permission
from kasuwa.domain.reference.contacts import read_email, read_number
from kasuwa.domain.reference.places import effective_percent, read_country, read_currency
from kasuwa.domain.reference.regions import prepare_countries
from kasuwa.domain.stores.settings import pictures, records
from kasuwa.domain.stores.settings.actions import change_settings, hold_settings
from kasuwa.domain.stores.settings.queries import get_settings
from kasuwa.domain.stores.settings.rules import (
    rate_of_percent,
    read_domain,
    read_handle,
    read_link,
    read_opening_times,
    read_time_zone,
)

Json = dict[str, Any]
Read = Callable[[str, str], str]

MASK = "********"
# Fields of the contract's sections, by their names in the store's settings.
WRITTEN: dict[str, dict[str, str]] = {
    "business": {
        "tagLine": "tag_line",
        "secondEmail": "second_email",
        "secondMobile": "second_phone",
        "cacNumber": "cac_number",
        "tinNumber": "tin_number",
        "insuranceTrackId": "insurance_track_id",
        "groups": "store_groups",
        "mergeWithCentral": "merge_with_central",
    },
    "site": {
        "live": "live_store",
        "title": "site_title",
        "seoText": "site_seo",
        "seoTags": "seo_tags",
        "domain": "domain",
        "logo": "logo_path",
        "favicon": "favicon_url",
    },
    "theme": {
        "primaryColor": "primary_color",
        "secondaryColor": "secondary_color",
        "buttonColor": "button_color",
        "font": "font",
    },
    "social": {
        "facebook": "facebook",
        "twitter": "twitter",
        "instagram": "instagram",
        "youtube": "youtube",
        "whatsapp": "whatsapp",
    },
    "pages": {"aboutShort": "about_store", "basicInfo": "basic_info"},
    "walkIn": {"customerName": "walk_in_customer_name", "customerId": "walk_in_customer_id"},
}
_EMPTY: dict[str, Any] = {"groups": [], "mergeWithCentral": False, "live": False, "partners": []}
# And by the columns of the store.
_FACTS = {
    "name": "name",
    "category": "profile_type",
    "countryCode": "country_code",
    "country": "country",
    "stateCode": "state_code",
    "state": "state",
    "regionCode": "city_code",
    "region": "city",
    "timeZone": "time_zone",
    "address": "address",
    "latitude": "latitude",
    "longitude": "longitude",
    "email": "email",
    "mobile": "mobile",
}
_PAGES: dict[str, records.PageKind] = {
    "about": "about",
    "policy": "policy",
    "privacyPolicy": "privacy",
    "deliveryPolicy": "delivery",
}
# A name that is written takes the code of another one away, and the other way round.
_CODES = {"state": "state_code", "region": "city_code"}
_NAMES = {"stateCode": "state", "regionCode": "city"}


@api.operation("getStoreSettings")
async def get(context: Context) -> Json:
    return settings_view(await get_settings(context))


@api.operation("changeStoreSettings")
async def change(context: Context, exchange: Exchange, body: StoreSettingsChange) -> Answer:
    await prepare_countries()
    async with context.transaction() as db:
        before = await hold_settings(context, db)
        require_match(exchange.request, _tag(before))
        wish = _change(body, _country(body, before))
        return _answered(await change_settings(context, wish))


@api.operation("setStorePicture", read=read_picture)
async def set_picture(context: Context, exchange: Exchange, path: SetStorePicturePath, body: bytes) -> Answer:
    kept = await keep_bytes(context, body, STOREHARMONY_FORMATS, permission=Permission.STORE_WRITE)
    async with context.transaction() as db:
        require_match(exchange.request, _tag(await hold_settings(context, db)))
        return _answered(await pictures.set_picture(context, path.kind, kept))


@api.operation("removeStorePicture")
async def remove_picture(context: Context, exchange: Exchange, path: RemoveStorePicturePath) -> Answer:
    async with context.transaction() as db:
        require_match(exchange.request, _tag(await hold_settings(context, db)))
        return _answered(await pictures.remove_picture(context, path.kind))


def settings_view(settings: records.StoreSettings) -> Json:
    """The settings as the contract has them; secrets are masked."""
    facts = {name: getattr(settings.facts, column) or None for name, column in _FACTS.items()}
    degrees = {name: _degrees(facts[name]) for name in ("latitude", "longitude")}
    sections = {
        section: {name: settings.written.get(key, _EMPTY.get(name)) for name, key in fields.items()}
        for section, fields in WRITTEN.items()
    }
    last = settings.written.get("bvn_last4")
    sections["business"] |= facts | degrees | {"bvn": f"*******{last}" if last else None}
    sections["site"] |= {"googleKey": MASK if settings.has_google_key else None}
    sections["pages"] |= {name: settings.pages.get(kind) for name, kind in _PAGES.items()}
    features = {
        name: settings.features.get(name, _EMPTY.get(name)) for name in StoreFeatures.__struct_fields__
    }
    return {
        **sections,
        "tax": {
            "currency": settings.facts.currency,
            "vatPercent": plain(effective_percent(settings.facts.tax_rate)),
            "vatType": settings.facts.vat_type,
        },
        "features": features,
        "openingHours": [msgspec.structs.asdict(time) for time in settings.opening_times],
        "deliveryPoints": [
            {"pointId": point.point_id, "name": point.name, "kind": point.kind or None}
            for point in settings.delivery_points
        ],
        "paymentGateways": [_gateway(one) for one in settings.gateways],
        "updatedAt": settings.updated_at,
    }


def _degrees(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _gateway(gateway: records.Gateway) -> Json:
    return {
        "gatewayId": gateway.gateway_id,
        "provider": gateway.provider,
        "kind": gateway.kind or None,
        "remark": gateway.remark or None,
        "publicKey": gateway.public_key or None,
        "secretKey": MASK if gateway.has_secret_key else None,
        "webhookSecret": MASK if gateway.has_webhook_secret else None,
    }


def _tag(settings: records.StoreSettings) -> str:
    """The ETag with which a read of the settings is answered."""
    return etag(encode(settings_view(settings)))


def _answered(settings: records.StoreSettings) -> Answer:
    """The settings, with the ETag that If-Match takes."""
    return Answer(settings_view(settings), headers={"ETag": _tag(settings)})


def _country(body: StoreSettingsChange, before: records.StoreSettings) -> str:
    """The country in which telephone numbers are read: the new one where it changes."""
    if not isinstance(body.business, UnsetType) and not isinstance(body.business.countryCode, UnsetType):
        return body.business.countryCode
    return before.facts.country_code


def _change(body: StoreSettingsChange, country_code: str) -> records.SettingsChange:
    def number(text: str, pointer: str) -> str:
        return read_number(text, country_code, pointer)

    readers: dict[str, Read] = {
        "/business/secondEmail": read_email,
        "/business/secondMobile": number,
        "/site/domain": read_domain,
        **{f"/social/{name}": read_handle for name in ("facebook", "twitter", "instagram", "youtube")},
        "/social/whatsapp": number,
        "/features/helpline": number,
        "/features/whatsappNo": number,
        "/features/contactEmail": read_email,
        "/features/mobileAppLink": read_link,
        "/walkIn/customerId": lambda text, _: str(read_id(text) or _NOBODYS),
        **{
            f"/features/{name}": read_handle
            for name in ("facebookPage", "youtubePage", "googlePlus", "pinterestSupport")
        },
    }
    written: dict[str, object] = {}
    for section, names in WRITTEN.items():
        for name, value in _named(getattr(body, section), f"/{section}", readers).items():
            if name in names:
                written[names[name]] = value
    return records.SettingsChange(
        facts=_facts(body.business, number) | _tax(body.tax),
        written=written,
        features=_named(body.features, "/features", readers),
        pages={
            _PAGES[name]: str(value or "")
            for name, value in _named(body.pages, "/pages", {}).items()
            if name in _PAGES
        },
        secrets=_secrets(body),
        opening_times=UNSET
        if isinstance(body.openingHours, UnsetType)
        else read_opening_times(
            [records.OpeningTime(one.day, one.opens, one.closes) for one in body.openingHours],
            "/openingHours",
        ),
        delivery_points=UNSET
        if isinstance(body.deliveryPoints, UnsetType)
        else tuple(_point(one) for one in body.deliveryPoints),
        gateways=UNSET
        if isinstance(body.paymentGateways, UnsetType)
        else tuple(_gateway_wish(one) for one in body.paymentGateways),
    )


def _named(section: Struct | UnsetType, pointer: str, readers: Mapping[str, Read]) -> dict[str, object]:
    """What the section names, read; an empty list is as good as null."""
    if isinstance(section, UnsetType):
        return {}
    found: dict[str, object] = {}
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if value is UNSET:
            continue
        reader = readers.get(f"{pointer}/{name}")
        if reader is not None and isinstance(value, str):
            value = reader(value, f"{pointer}/{name}")
        found[name] = None if value == [] else value
    return found


def _facts(business: StoreBusinessChange | UnsetType, mobile: Read) -> dict[str, object]:
    readers: dict[str, Read] = {"/business/email": read_email, "/business/mobile": mobile}
    facts: dict[str, object] = {}
    for name, value in _named(business, "/business", readers).items():
        if name not in _FACTS:
            continue
        facts[_FACTS[name]] = "" if value is None else str(value)
        if name == "name" and not str(value).strip():
            raise Invalid(faults=[FieldFault("/business/name", "blank", "Give the store a name.")])
        if name == "countryCode":
            read_country(str(value), "", code_pointer="/business/countryCode", name_pointer="")
        if name == "timeZone":
            read_time_zone(str(value), "/business/timeZone")
        if name in _CODES:
            facts.setdefault(_CODES[name], "")
        if name in _NAMES and value is None:
            facts.setdefault(_NAMES[name], "")
    return facts


def _tax(tax: StoreTaxChange | UnsetType) -> dict[str, object]:
    if isinstance(tax, UnsetType):
        return {}
    facts: dict[str, object] = {}
    if not isinstance(tax.currency, UnsetType):
        facts["currency"] = read_currency(tax.currency, "/tax/currency")
    if not isinstance(tax.vatPercent, UnsetType):
        facts["tax_rate"] = rate_of_percent(tax.vatPercent)
    if not isinstance(tax.vatType, UnsetType):
        facts["vat_type"] = tax.vatType
    return facts


def _secrets(body: StoreSettingsChange) -> dict[records.SecretKind, str | None]:
    found: dict[records.SecretKind, str | None] = {}
    if not isinstance(body.business, UnsetType) and not isinstance(body.business.bvn, UnsetType):
        found["bvn"] = body.business.bvn
    if not isinstance(body.site, UnsetType) and not isinstance(body.site.googleKey, UnsetType):
        found["google_key"] = body.site.googleKey
    return found


# An id that nothing has: what is no id is as unknown as any other.
_NOBODYS = UUID(int=0)


def _point(sent: DeliveryPointChange) -> records.PointWish:
    return records.PointWish(
        point_id=None if isinstance(sent.pointId, UnsetType) else read_id(sent.pointId) or _NOBODYS,
        name=sent.name,
        kind=_text(sent.kind),
    )


def _gateway_wish(sent: PaymentGatewayChange) -> records.GatewayWish:
    return records.GatewayWish(
        gateway_id=None if isinstance(sent.gatewayId, UnsetType) else read_id(sent.gatewayId) or _NOBODYS,
        provider=sent.provider,
        kind=_text(sent.kind),
        remark=_text(sent.remark),
        public_key=_text(sent.publicKey),
        secret_key=_text(sent.secretKey),
        webhook_secret=_text(sent.webhookSecret),
    )


def _text(sent: str | UnsetType | None) -> str | UnsetType:
    return sent if isinstance(sent, UnsetType) else sent or ""
