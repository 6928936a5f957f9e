"""Every field of StoreProfile: what writes it changes what the documented read answers.

A field that the contract has and this page does not know fails, and so does one that it knows twice.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.customers.actions import register
from kasuwa.domain.customers.erasure import erase_customer
from kasuwa.domain.customers.records import NewCustomer
from tests.api.shoplazza_calls import new_product_id
from tests.banking import body as bank_account
from tests.client import Web
from tests.conftest import picture_bytes
from tests.contract.harness import ROOT
from tests.contract.test_round_trip import schemas_of
from tests.shop import Shop

Json = dict[str, Any]
SCHEMAS = schemas_of("storeharmony")

# Facts of the server, or of the call itself, and why nobody writes them.
FACTS = {
    "accessToken": "a session that was opened by the call",
    "sessionId": "a session that was opened by the call",
    "originalStoreId": "where the session began",
    "success": "of the call",
    "sitename": "unique in the whole server, given when the store is opened: addresses begin with it",
    "id": "an id",
    "userClass": "the caller's role, which editStoreUser changes",
    "storeRole": "the caller's role, which editStoreUser changes",
    "staffId": "the caller's account",
    "newPassword": "never answered",
    "oldPassword": "never answered",
    "cloudOnlyStore": "there is no second installation to keep in step",
    "monthlyFees": "the software has no fee",
    "expireDate": "nothing expires",
    "banners[].serialId": "the order of the list",
    "banners[].addedDate": "when it was added",
    "deliveryPoints[].pid": "an id",
    **{
        f"{place}.{field}": reason
        for place in ("bankAccounts[]", "defaultBank")
        for field, reason in {
            "internalAccountNo": "an id",
            "activated": "updateStoreBankAccount, which has tests of its own",
            "defaultAccount": "setDefaultStoreBank, which has tests of its own",
        }.items()
    },
}


def patched(section: str, name: str, value: Any, expected: Any = ...) -> tuple[Json, Any]:
    """A change of the settings, and what the field is then."""
    return {section: {name: value}}, value if expected is ... else expected


_GATEWAY = {
    "paymentGateways": [
        {"provider": "Paystack", "kind": "CARD", "remark": "No fees", "secretKey": "sk_secret"}
    ]
}
_POINT = {"deliveryPoints": [{"name": "Ojota", "kind": "PARK"}]}
_NIGHT = {
    "openingHours": [
        {"day": "MONDAY", "opens": "09:30", "closes": "18:00"},
        {"day": "SUNDAY", "opens": "12:00", "closes": "21:15"},
    ]
}
_SITED = {"business": {"latitude": 6.5244, "longitude": 3.3792}}
PATCHED: dict[str, tuple[Json, Any]] = {
    "siteTitle": patched("site", "title", "Ada online"),
    "siteSEO": patched("site", "seoText", "Fabrics of Lagos"),
    "seoTags": patched("site", "seoTags", "lace, ankara"),
    "domain": patched("site", "domain", "Ada.Example", "ada.example"),
    "enableLiveStore": patched("site", "live", True),
    "googleCredentials": patched("site", "googleKey", "AIza-secret", "********"),
    "features.googleCredentials": patched("site", "googleKey", "AIza-secret", "********"),
    "businessname": patched("business", "name", "Ada & Daughters"),
    "address": patched("business", "address", "1 Allen Avenue"),
    "features.contactAddress": patched("features", "contactAddress", "2 Allen Avenue"),
    "stateOfCountry": patched("business", "stateCode", "NG-LA", "Lagos"),
    "country": ({"business": {"countryCode": "GH", "stateCode": None}}, "Ghana"),
    "insuranceTrackId": patched("business", "insuranceTrackId", "INS-7"),
    "category": patched("business", "category", "FASHION"),
    "emailAddress": patched("business", "email", "ada@SHOP.example", "ada@shop.example"),
    "contactPhone": patched("business", "mobile", "+2348031234567"),
    "contactPhone2": patched("business", "secondMobile", "+2348031234568"),
    "contactEmail2": patched("business", "secondEmail", "two@shop.example"),
    "cacNo": patched("business", "cacNumber", "RC 12345"),
    "tinNo": patched("business", "tinNumber", "1234-0001"),
    "bvnNo": patched("business", "bvn", "22212345678", "*******5678"),
    "businessTagline": patched("business", "tagLine", "Woven for you"),
    "tagLine": patched("business", "tagLine", "Woven for all"),
    "mergeWithCentral": patched("business", "mergeWithCentral", True),
    "storeGroups": patched("business", "groups", ["Lagos", "Island"]),
    "storeGpsLatitude": (_SITED, 6.5244),
    "storeGpsLongitude": ({"business": {"latitude": 6.5, "longitude": 3.4}}, 3.4),
    "features.gpsLat": ({"business": {"latitude": 6.1, "longitude": 3.4}}, 6.1),
    "features.gpsLng": ({"business": {"latitude": 6.1, "longitude": 3.1}}, 3.1),
    "features.gpsEnabled": patched("features", "gpsEnabled", False),
    "facebookId": patched("social", "facebook", "adasfabrics"),
    "twitterId": patched("social", "twitter", "@ada"),
    "instagramId": patched("social", "instagram", "https://instagram.com/ada"),
    "youtubechannel": patched("social", "youtube", "@adatv"),
    "whatsappline": patched("social", "whatsapp", "+2348031234569"),
    "currency": patched("tax", "currency", "GHS"),
    "taxRate": patched("tax", "vatPercent", 12.5),
    "taxType": patched("tax", "vatType", "inclusive"),
    "features.vatType": ({"tax": {"vatType": "exclusive"}}, "exclusive"),
    "aboutStore": patched("pages", "aboutShort", "We weave."),
    "aboutUs": patched("pages", "about", "<script>alert(1)</script> We weave."),
    "basicStoreInfo": patched("pages", "basicInfo", "Fabrics"),
    "storePolicy": patched("pages", "policy", "No refunds on cut cloth."),
    "openingTime": (_NIGHT, "09:30"),
    "closingTime": (_NIGHT | {"openingHours": _NIGHT["openingHours"][:1]}, "18:00"),
    "defaultCustomerName": patched("walkIn", "customerName", "Walk-in"),
    "primarySiteThemeColor": patched("theme", "primaryColor", "#102030"),
    "features.primaryColor": patched("theme", "primaryColor", "#302010"),
    "secondarySiteThemeColor": patched("theme", "secondaryColor", "#a0B0c0"),
    "primaryButtonColor": patched("theme", "buttonColor", "#00ff00"),
    "primaryThemeFont": patched("theme", "font", "Inter"),
    "features.helpline": patched("features", "helpline", "+2348031234560"),
    "features.whatsappNo": patched("features", "whatsappNo", "+2348031234561"),
    "features.contactEmail": patched("features", "contactEmail", "help@shop.example"),
    "features.skypeAddress": patched("features", "skypeAddress", "ada.skype"),
    "features.skypeId": patched("features", "skypeId", "live.ada"),
    "features.facebookPage": patched("features", "facebookPage", "https://facebook.com/ada"),
    "features.youtubePage": patched("features", "youtubePage", "adatv"),
    "features.googlePlus": patched("features", "googlePlus", "ada"),
    "features.pinterestSupport": patched("features", "pinterestSupport", "adapins"),
    "features.transxIdPref": patched("features", "transxIdPref", "ADA-"),
    "features.mobileAppLink": patched("features", "mobileAppLink", "https://ada.example/app"),
    "features.deliverytime": patched("features", "deliverytime", 3),
    "features.partners": patched("features", "partners", ["GIG"]),
    **{
        f"features.{name}": patched("features", name, True)
        for name in (
            "reserveOrderSupport",
            "returnsSupported",
            "cashOnDelivery",
            "socialMediaEnabled",
            "promoOngoing",
            "realtimeEnabled",
            "wholesaleEnabled",
            "mobileAppEnabled",
        )
    },
    **{
        f"{place}.{field}": (_GATEWAY, value)
        for place in ("paymentGateways[]", "defaultGateway")
        for field, value in {
            "gatewayProviderName": "Paystack",
            "gatewayType": "CARD",
            "policyRemark": "No fees",
        }.items()
    },
    "deliveryPoints[].pname": (_POINT, "Ojota"),
    "deliveryPoints[].ptype": (_POINT, "PARK"),
}


class Profile:
    """A store's profile as StoreHarmony reads it, and what writes it."""

    def __init__(self, web: Web, shop: Shop) -> None:
        self.web, self.shop = web, shop
        self.headers = {"sessiontoken": shop.session}

    async def read(self) -> Json:
        path = f"/cloudapi/user/{self.shop.user_id}/store/{self.shop.store_id}"
        answer = await self.web.get(path, headers=self.headers)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def manage(self, method: str, path: str, **options: Any) -> Any:
        headers = {**self.headers, **options.pop("headers", {})}
        answer = await self.web.call(
            method, f"/manage/{self.shop.store_id}/{path}", headers=headers, **options
        )
        assert answer.is_success, answer.text
        return answer.json()

    async def send_picture(self, method: str, path: str, seed: int, **query: str) -> Any:
        content = picture_bytes("PNG", size=(8, 6), seed=seed)
        return await self.manage(
            method, path, content=content, headers={"content-type": "image/png"}, params=query
        )

    async def new_customer(self) -> UUID:
        new = NewCustomer(first_name="Walk-in", email=f"walk-in.{new_id().hex}@shop.example")
        return (await register(self.shop.owner, new)).customer_id

    async def open_bank_account(self) -> Json:
        sent = bank_account(userBankAccName="Ada Stores", accountType="savings")
        answer = await self.web.post(
            f"/cloudapi/app/{self.shop.store_id}/admin/banks", headers=self.headers, json=sent
        )
        assert answer.is_success, answer.text
        return sent


Write = Callable[[Profile], Awaitable[Any]]


async def logo(profile: Profile) -> Any:
    return (await profile.send_picture("PUT", "pictures/logo", 41))["site"]["logo"]


async def another_logo(profile: Profile) -> Any:
    return (await profile.send_picture("PUT", "pictures/logo", 43))["site"]["logo"]


async def favicon(profile: Profile) -> Any:
    return (await profile.send_picture("PUT", "pictures/favicon", 42))["site"]["favicon"]


def banner(field: str) -> Write:
    async def write(profile: Profile) -> Any:
        item_id = await new_product_id(profile.shop)
        made = await profile.send_picture("POST", "banners", 44, title="Lace week", itemid=item_id)
        return made[field]

    return write


def advert(field: str) -> Write:
    async def write(profile: Profile) -> Any:
        made = await profile.send_picture("POST", "banners", 45, link="https://ada.example/lace")
        return made[field]

    return write


def bank(field: str) -> Write:
    async def write(profile: Profile) -> Any:
        return (await profile.open_bank_account())[field]

    return write


async def walk_in(profile: Profile) -> Any:
    customer_id = str(await profile.new_customer())
    settings = await profile.manage("PATCH", "settings", json={"walkIn": {"customerId": customer_id.upper()}})
    assert settings["walkIn"]["customerId"] == customer_id
    return customer_id


WRITTEN: dict[str, Write] = {
    "customerId": walk_in,
    "logoPath": logo,
    "logo": another_logo,
    "faviconurl": favicon,
    "banners[].itemId": banner("itemId"),
    "banners[].bannerUrl": banner("picture"),
    "banners[].title": banner("title"),
    "ads[].bannerRedirectUrl": advert("link"),
    "ads[].bannerImageUrl": advert("picture"),
    **{
        f"{place}.{field}": bank(field)
        for place in ("bankAccounts[]", "defaultBank")
        for field in ("bankCode", "bankFullName", "userBankAccNo", "userBankAccName", "accountType")
    },
}


def fields_of(name: str, prefix: str = "") -> Iterator[str]:
    """Every leaf of the schema; of lists of objects the fields of their entries."""
    for field, schema in SCHEMAS[name]["properties"].items():
        inner = schema.get("items", schema).get("$ref")
        if inner is None:
            yield prefix + field
        else:
            mark = "[]" if "items" in schema else ""
            yield from fields_of(inner.rpartition("/")[2], f"{prefix}{field}{mark}.")


FIELDS = list(fields_of("StoreProfile"))
KNOWN = [*FACTS, *PATCHED, *WRITTEN, "licensePlan"]


def at(profile: Json, field: str) -> Any:
    """The value there; of a list that of its first entry."""
    value: Any = profile
    for step in field.split("."):
        if value is None:
            return None
        value = value.get(step.removesuffix("[]"))
        if step.endswith("[]"):
            value = value[0] if value else None
    return value


def strangers(fields: list[str]) -> list[str]:
    """Fields that the contract has and this page does not know, and the other way round, or knows twice."""
    twice = [field for field in KNOWN if KNOWN.count(field) > 1]
    return sorted({*fields} ^ {*KNOWN} | {*twice})


def test_every_field_of_the_contract_has_an_entry_here_and_in_the_docs() -> None:
    assert strangers(FIELDS) == []
    table = (ROOT / "docs" / "storeharmony.md").read_text(encoding="utf-8")
    assert [name for name in SCHEMAS["StoreProfile"]["properties"] if f"`{name}`" not in table] == []


def test_a_field_without_an_entry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMAS["Features"]["properties"], "droneDelivery", {"type": "boolean"})
    assert strangers(list(fields_of("StoreProfile"))) == ["features.droneDelivery"]
    assert strangers(FIELDS[1:]) == FIELDS[:1]


@pytest.mark.parametrize("field", sorted(PATCHED))
async def test_a_change_of_the_settings_changes_the_documented_answer(
    web: Web, shop: Shop, field: str
) -> None:
    profile = Profile(web, shop)
    change, expected = PATCHED[field]
    if field == "features.gpsEnabled":
        await profile.manage("PATCH", "settings", json=_SITED)
    if field == "features.vatType":
        await profile.manage("PATCH", "settings", json={"tax": {"vatType": "inclusive"}})
    before = at(await profile.read(), field)
    await profile.manage("PATCH", "settings", json=change)
    after = await profile.read()
    assert at(after, field) == expected
    assert before != expected, "what is there already proves nothing"
    assert not any(secret in str(after) for secret in ("AIza", "sk_secret", "22212345678"))


@pytest.mark.parametrize("field", sorted(WRITTEN))
async def test_an_operation_of_its_own_changes_the_documented_answer(
    web: Web, shop: Shop, field: str
) -> None:
    profile = Profile(web, shop)
    before = at(await profile.read(), field)
    expected = await WRITTEN[field](profile)
    assert at(await profile.read(), field) == expected
    assert before != expected, "what is there already proves nothing"


async def test_a_walk_in_customer_is_one_of_the_shops(web: Web, shop: Shop, other_shop: Shop) -> None:
    profile = Profile(web, shop)
    mine, gone = await profile.new_customer(), await profile.new_customer()
    await erase_customer(shop.owner, gone)
    theirs = await Profile(web, other_shop).new_customer()
    path = f"/manage/{shop.store_id}/settings"

    async def patch(customer_id: object) -> tuple[int, list[str]]:
        body = {"walkIn": {"customerId": customer_id}}
        answer = await web.call("PATCH", path, headers=profile.headers, json=body)
        return answer.status_code, [fault["pointer"] for fault in answer.json().get("errors", [])]

    for nobody in (theirs, gone, new_id(), "walk-in"):
        assert await patch(str(nobody)) == (422, ["/walkIn/customerId"])
    assert (await profile.read())["customerId"] == ""
    # The control, and a form that is sent back unchanged once the customer is gone.
    assert await patch(str(mine)) == (200, [])
    await erase_customer(shop.owner, mine)
    assert await patch(str(mine)) == (200, [])
    assert await patch(None) == (200, [])


async def test_the_plan_is_chosen_where_a_location_is_opened(web: Web, shop: Shop) -> None:
    profile = Profile(web, shop)
    assert (await profile.read())["licensePlan"] == "community"
    path = f"/cloudapi/user/{shop.user_id}/createNewLocation"
    opened = (await web.post(path, headers=profile.headers, json={"licensePlan": "gold"})).json()
    read = await web.get(f"/cloudapi/user/{shop.user_id}/store/{opened['id']}", headers=profile.headers)
    assert read.json()["licensePlan"] == "gold"
