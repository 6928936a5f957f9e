"""Stores in StoreHarmony's words. docs/storeharmony.md says where each field comes from."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from kasuwa.api.storeharmony.contract import (
    AdBanner,
    BankAccountData,
    DefaultStoreSession,
    DeliveryPoints,
    Features,
    PaymentGatewayInfo,
    ProductBanner,
    StoreLocationSummary,
    StoreProfile,
)
from kasuwa.domain.stores.records import Entered, Location
from kasuwa.domain.stores.settings.records import Banner, Front, Gateway

# What the merchant writes about the store, by its name in the store's settings; "" where nothing is written.
TEXTS_OF_SETTINGS = {
    "siteTitle": "site_title",
    "siteSEO": "site_seo",
    "domain": "domain",
    "insuranceTrackId": "insurance_track_id",
    "logoPath": "logo_path",
    "logo": "logo_path",
    "contactPhone2": "second_phone",
    "contactEmail2": "second_email",
    "facebookId": "facebook",
    "twitterId": "twitter",
    "instagramId": "instagram",
    "youtubechannel": "youtube",
    "whatsappline": "whatsapp",
    "cacNo": "cac_number",
    "tinNo": "tin_number",
    "aboutStore": "about_store",
    "faviconurl": "favicon_url",
    "businessTagline": "tag_line",
    "tagLine": "tag_line",
    "basicStoreInfo": "basic_info",
    "defaultCustomerName": "walk_in_customer_name",
    "customerId": "walk_in_customer_id",
    "seoTags": "seo_tags",
    "primarySiteThemeColor": "primary_color",
    "secondarySiteThemeColor": "secondary_color",
    "primaryButtonColor": "button_color",
    "primaryThemeFont": "font",
}
SWITCHES_OF_SETTINGS = {"enableLiveStore": "live_store", "mergeWithCentral": "merge_with_central"}
MASK = "********"


def store_profile(
    location: Location, front: Front, accounts: Sequence[BankAccountData], *, staff_id: str
) -> StoreProfile:
    """The store as one of its users may see it. Passwords have fields in the contract and are never there.

    `accounts` are those in use, the default one first.
    """
    settings = location.settings
    latitude, longitude = _degrees(location.latitude), _degrees(location.longitude)
    written: dict[str, Any] = {
        **{field: str(settings.get(name, "")) for field, name in TEXTS_OF_SETTINGS.items()},
        **{field: bool(settings.get(name, False)) for field, name in SWITCHES_OF_SETTINGS.items()},
        **_opening(settings.get("opening_times", [])),
    }
    if latitude is not None:
        written["storeGpsLatitude"] = latitude
    if longitude is not None:
        written["storeGpsLongitude"] = longitude
    gateways = [_gateway(gateway) for gateway in front.gateways]
    if gateways:
        written["defaultGateway"] = gateways[0]
    if accounts and accounts[0].defaultAccount is True:
        written["defaultBank"] = accounts[0]
    return StoreProfile(
        id=str(location.store_id),
        sitename=location.site_name,
        businessname=location.name,
        address=location.address,
        stateOfCountry=location.state,
        country=location.country,
        licensePlan=location.license_plan,
        category=location.profile_type,
        emailAddress=location.email,
        contactPhone=location.mobile,
        currency=location.currency,
        bvnNo=_masked_bvn(settings),
        userClass=location.role,
        storeRole=location.role,
        staffId=staff_id,
        taxRate=location.tax_rate,
        taxType=location.vat_type,
        cloudOnlyStore=True,
        monthlyFees=0,
        aboutUs=front.pages.get("about", ""),
        storePolicy=front.pages.get("policy", ""),
        googleCredentials=MASK if front.has_google_key else "",
        features=_features(location, front, latitude, longitude),
        bankAccounts=list(accounts),
        paymentGateways=gateways,
        deliveryPoints=[_point(point) for point in settings.get("delivery_points", [])],
        banners=[_product_banner(one) for one in front.banners if one.product_id is not None],
        ads=[_ad(one) for one in front.banners if one.product_id is None],
        storeGroups=list(settings.get("store_groups", [])),
        **written,
    )


def _opening(times: list[dict[str, str]]) -> dict[str, str]:
    """The profile has one time for all days: when it opens at the earliest and closes at the latest."""
    return {
        "openingTime": min((time["opens"] for time in times), default=""),
        "closingTime": max((time["closes"] for time in times), default=""),
    }


def _gateway(gateway: Gateway) -> PaymentGatewayInfo:
    return PaymentGatewayInfo(
        gatewayProviderName=gateway.provider, gatewayType=gateway.kind, policyRemark=gateway.remark
    )


def _point(point: dict[str, str]) -> DeliveryPoints:
    return DeliveryPoints(pname=point["name"], ptype=point["kind"], pid=point["point_id"])


def _product_banner(banner: Banner) -> ProductBanner:
    return ProductBanner(
        itemId=str(banner.product_id),
        bannerUrl=banner.path,
        serialId=banner.position,
        title=banner.title,
        addedDate=banner.added_at,
    )


def _ad(banner: Banner) -> AdBanner:
    return AdBanner(bannerRedirectUrl=banner.link, bannerImageUrl=banner.path)


def entered_profile(
    entered: Entered, front: Front, accounts: Sequence[BankAccountData], *, staff_id: str
) -> StoreProfile:
    """The store with the tokens of a session that was just opened there."""
    return msgspec.structs.replace(
        store_profile(entered.location, front, accounts, staff_id=staff_id),
        success=True,
        sessionId=entered.session_token,
        accessToken=entered.access_token,
        originalStoreId=str(entered.original_store_id),
    )


def default_store(location: Location, access_token: str) -> DefaultStoreSession:
    return DefaultStoreSession(
        accessToken=access_token,
        id=str(location.store_id),
        businessname=location.name,
        address=location.address,
        stateOfCountry=location.state,
        country=location.country,
        currency=location.currency,
        taxRate=location.tax_rate,
        taxType=location.vat_type,
        licensePlan=location.license_plan,
        storeRole=location.role,
        logoPath=str(location.settings.get("logo_path", "")),
    )


def location_summary(location: Location, *, is_current: bool) -> StoreLocationSummary:
    latitude, longitude = _degrees(location.latitude), _degrees(location.longitude)
    return StoreLocationSummary(
        storeId=str(location.store_id),
        sitename=location.site_name,
        businessname=location.name[:150],
        address=location.address[:255],
        stateOfCountry=location.state,
        country=location.country,
        currency=location.currency,
        storeRole=location.role,
        storeProfileType=location.profile_type[:40],
        licensePlan=location.license_plan[:40],
        storeGpsLatitude=UNSET if latitude is None else latitude,
        storeGpsLongitude=UNSET if longitude is None else longitude,
        defaultStore=location.is_default,
        currentStore=is_current,
        active=location.status == "active",
        logoPath=str(location.settings.get("logo_path", "")),
    )


def _features(
    location: Location, front: Front, latitude: Decimal | None, longitude: Decimal | None
) -> Features:
    """The switches the merchant wrote, and what the store itself says."""
    written = msgspec.convert(location.settings.get("features", {}), Features)
    own: dict[str, Any] = {
        "primaryColor": str(location.settings.get("primary_color", "")),
        "vatType": location.vat_type,
        "contactEmail": location.email,
        "contactAddress": location.address,
        "helpline": location.mobile,
        "gpsEnabled": latitude is not None and longitude is not None,
        "googleCredentials": MASK if front.has_google_key else "",
    }
    if latitude is not None and longitude is not None and written.gpsEnabled is not False:
        own |= {"gpsLat": latitude, "gpsLng": longitude}
    missing = {name: value for name, value in own.items() if getattr(written, name) is UNSET}
    return msgspec.structs.replace(written, **missing)


def _masked_bvn(settings: dict[str, Any]) -> str:
    last = str(settings.get("bvn_last4", ""))
    return f"*******{last[-4:]}" if last else ""


def _degrees(text: str) -> Decimal | None:
    return Decimal(text) if text else None
