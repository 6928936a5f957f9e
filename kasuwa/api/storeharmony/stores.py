"""Locations of an account in StoreHarmony's words."""

import msgspec

from kasuwa.api.storeharmony.banks import account_data
from kasuwa.api.storeharmony.contract import (
    BankAccountData,
    GetStoreLocationDetailsPath,
    GetUserStoreLocationsQuery,
    StoreLocationRequest,
    StoreLocationSummary,
    StoreProfile,
    SwitchStoreLocationPath,
)
from kasuwa.api.storeharmony.service import api
from kasuwa.api.storeharmony.store_views import entered_profile, location_summary, store_profile
from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange
from kasuwa.base.ids import read_id, token_hash
from kasuwa.domain.banking.queries import accounts_shown
from kasuwa.domain.reference.contacts import read_email
from kasuwa.domain.reference.places import read_currency, read_degrees, read_tax_rate
from kasuwa.domain.stores.actions import open_location, switch_location
from kasuwa.domain.stores.queries import get_location, list_locations, permissions_at
from kasuwa.domain.stores.records import Entered, Location, LocationWish
from kasuwa.domain.stores.settings.queries import read_front


@api.operation("createNewStoreLocation")
async def create_new_store_location(context: Context, body: StoreLocationRequest) -> StoreProfile:
    entered = await open_location(context, _wish(body))
    return await _entered(context, entered)


@api.operation("getUserStoreLocations")
async def get_user_store_locations(
    context: Context, query: GetUserStoreLocationsQuery
) -> list[StoreLocationSummary]:
    locations = await list_locations(context, active=query.active, page=query.page, size=query.size)
    return [
        location_summary(location, is_current=location.store_id == context.store_id) for location in locations
    ]


@api.operation("switchStoreLocation")
async def switch_store_location(
    context: Context, exchange: Exchange, path: SwitchStoreLocationPath
) -> StoreProfile:
    present = token_hash(exchange.request.headers["sessiontoken"])
    entered = await switch_location(context, read_id(path.storeid), replaces=present)
    return await _entered(context, entered)


@api.operation("getStoreLocationDetails")
async def get_store_location_details(context: Context, path: GetStoreLocationDetailsPath) -> StoreProfile:
    return await profile_of(context, await get_location(context, read_id(path.storeid)))


async def _entered(context: Context, entered: Entered) -> StoreProfile:
    location = entered.location
    accounts, front = await accounts_of(context, location), await read_front(context, location.store_id)
    return entered_profile(entered, front, accounts, staff_id=str(context.caller.user_id))


async def profile_of(context: Context, location: Location) -> StoreProfile:
    """The location with everything that its profile shows."""
    accounts, front = await accounts_of(context, location), await read_front(context, location.store_id)
    return store_profile(location, front, accounts, staff_id=str(context.caller.user_id))


async def accounts_of(context: Context, location: Location) -> list[BankAccountData]:
    """The bank accounts of the location in use, as its user may see them."""
    shown = await accounts_shown(context, location.store_id, permissions_at(context, location))
    return [account_data(account) for account in shown]


def _wish(body: StoreLocationRequest) -> LocationWish:
    info = body.storeinfo
    wish = LocationWish(
        name=body.storeName or "",
        country=body.storeCountry or "",
        country_code=body.storeCountryCode or "",
        state=body.storeState or "",
        state_code=body.storeStateCode or "",
        city=body.storeCity or "",
        city_code=body.storeCityCode or "",
        address=body.storeFullAddress or "",
        latitude=read_degrees(body.storeLocLat or "", 90, "/storeLocLat"),
        longitude=read_degrees(body.storeLocLng or "", 180, "/storeLocLng"),
        email=read_email(body.email, "/email") if body.email else "",
        mobile=body.mobile or "",
        profile_type=body.storeProfileType or "",
        seats=body.storeUsers or LocationWish().seats,
        license_plan=body.licensePlan or LocationWish().license_plan,
    )
    if not info:
        return wish
    return msgspec.structs.replace(
        wish,
        currency=read_currency(info.currency, "/storeinfo/currency"),
        tax_rate=read_tax_rate(info.taxRate, "/storeinfo/taxRate"),
        vat_type=info.vatType,
    )
