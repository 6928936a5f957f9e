"""Countries, states, regions, banks, roles and kinds of store in StoreHarmony's words."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec import UNSET

from kasuwa.api.storeharmony.contract import (
    Country,
    CountryState,
    EstoreCountry,
    EstoreRegion,
    EstoreState,
    GetCountries1Path,
    GetCountries1Query,
    GetCountryStates1Path,
    GetCountryStates1Query,
    GetCountryStatesLGARegion1Path,
    GetCountryStatesLGARegion1Query,
    GetCountryStatesLGARegionPath,
    GetCountryStatesPath,
    GetNigerianBanksQuery,
    GetRolesQuery,
    NigerianBank,
    Role,
    StateRegion,
    StoreCredentials,
    StoreProfileType,
)
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.cursors import wrong_cursor
from kasuwa.base.http.api import Answer
from kasuwa.base.ids import read_id
from kasuwa.domain.permissions import ROLES, RoleFacts, may_grant, permissions_of_scopes
from kasuwa.domain.reference.banks import list_banks
from kasuwa.domain.reference.regions import (
    CountryFacts,
    Region,
    State,
    list_countries,
    list_regions,
    list_states,
    prepare_countries,
    search_countries,
)
from kasuwa.domain.stores.profiles import PROFILE_TYPES, proposed_rate
from kasuwa.domain.stores.queries import get_identity, visit_store

T = TypeVar("T")


@api.operation("getCountries")
async def get_countries() -> list[Country]:
    await prepare_countries()
    return [
        Country(
            code=facts.code,
            code3=facts.code3,
            numericCode=facts.numeric,
            name=facts.name,
            currency=facts.currency,
            dialCode=facts.dial_code,
            hasStates=facts.has_states,
        )
        for facts in list_countries()
    ]


@api.operation("getCountryStates")
async def get_country_states(path: GetCountryStatesPath) -> list[CountryState]:
    await prepare_countries()
    return [
        CountryState(
            code=state.code,
            name=state.name,
            countryCode=state.country_code,
            capital=UNSET if state.capital is None else state.capital,
            zone=UNSET if state.zone is None else state.zone,
            regionCount=state.region_count,
        )
        for state in list_states(path.countrycode)
    ]


@api.operation("getCountryStatesLGARegion")
async def get_country_states_lga_region(path: GetCountryStatesLGARegionPath) -> list[StateRegion]:
    await prepare_countries()
    return [
        StateRegion(
            code=region.code,
            name=region.name,
            stateCode=region.state_code,
            countryCode=region.country_code,
            type=region.kind,
        )
        for region in list_regions(path.countrycode, path.statecode)
    ]


@api.operation("getCountries_1")
async def get_countries_1(context: Context, path: GetCountries1Path, query: GetCountries1Query) -> Any:
    await visit_store(context, read_id(path.storeid))
    await prepare_countries()
    found = list_countries() if query.q is None else search_countries(query.q)
    return _page(found, query, lambda facts: facts.code, _estore_country)


@api.operation("getCountryStates_1")
async def get_country_states_1(
    context: Context, path: GetCountryStates1Path, query: GetCountryStates1Query
) -> Any:
    await visit_store(context, read_id(path.storeid))
    await prepare_countries()
    return _page(list_states(path.countrycode), query, lambda state: state.code, _estore_state)


@api.operation("getCountryStatesLGARegion_1")
async def get_country_states_lga_region_1(
    context: Context, path: GetCountryStatesLGARegion1Path, query: GetCountryStatesLGARegion1Query
) -> Any:
    await visit_store(context, read_id(path.storeid))
    await prepare_countries()
    regions = list_regions(path.countrycode, path.statecode)
    return _page(regions, query, lambda region: region.code, _estore_region)


@api.operation("getNigerianBanks")
async def get_nigerian_banks(query: GetNigerianBanksQuery) -> list[NigerianBank]:
    return [
        NigerianBank(
            bankCode=bank.code,
            nipCode=UNSET if bank.nip is None else bank.nip,
            nubanPrefix=bank.nuban_prefix,
            bankFullName=bank.name,
            shortName=UNSET if bank.short is None else bank.short,
            category=bank.category,
            ussdCode=UNSET if bank.ussd is None else bank.ussd,
            active=bank.active,
        )
        for bank in list_banks(category=query.category, part=query.q, active=query.active)
    ]


@api.operation("getRoles")
async def get_roles(context: Context, query: GetRolesQuery) -> list[Role]:
    roles = [_role_view(context, facts) for facts in ROLES]
    return [role for role in roles if query.assignable in (None, role.assignable)]


@api.operation("getStoreProfiles")
async def get_store_profiles(context: Context) -> list[StoreProfileType]:
    country = context.services.settings.country
    profiles = []
    for kind in PROFILE_TYPES:
        rate = proposed_rate(kind, country)
        profiles.append(
            StoreProfileType(
                code=kind.code,
                name=kind.name,
                description=kind.description,
                defaultTaxRate=UNSET if rate is None else rate,
                defaultVatType="inclusive",
                modules=list(kind.modules),
                active=True,
            )
        )
    return profiles


@api.operation("loadStoreCredentialsById")
async def load_store_credentials_by_id(context: Context) -> Answer:
    identity = await get_identity(context)
    answer = StoreCredentials(
        storeId=str(identity.store_id),
        sitename=identity.site_name[:64],
        businessname=identity.name[:150],
        domain=identity.domain[:253] or UNSET,
        publicKey=identity.public_key,
        scopes=sorted(permissions_of_scopes(identity.scopes)),
        active=identity.status == "active",
        createdAt=identity.created_at,
        rotatedAt=UNSET if identity.newest_token_at is None else identity.newest_token_at,
    )
    return Answer(answer, headers={"Cache-Control": "no-store"})


def _role_view(context: Context, facts: RoleFacts) -> Role:
    return Role(
        roleId=facts.role.value,
        roleCode=facts.role.value,
        roleName=facts.name,
        description=facts.description,
        level=facts.level,
        permissions=sorted(facts.permissions),
        systemRole=True,
        assignable=may_grant(context.caller.role, facts.role),
    )


def _estore_country(facts: CountryFacts) -> EstoreCountry:
    return EstoreCountry(
        countryCode=facts.code, country=facts.name, dialCode=facts.dial_code, currency=facts.currency
    )


def _estore_state(state: State) -> EstoreState:
    return EstoreState(stateCode=state.code, state=state.name, countryCode=state.country_code)


def _estore_region(region: Region) -> EstoreRegion:
    return EstoreRegion(
        lgaCode=region.code,
        lga=region.name,
        stateCode=region.state_code,
        countryCode=region.country_code,
    )


def _page(
    rows: Sequence[T],
    query: GetCountries1Query | GetCountryStates1Query | GetCountryStatesLGARegion1Query,
    code_of: Callable[[T], str],
    view: Callable[[T], Any],
) -> dict[str, Any]:
    """A page of a list that stands in memory; its cursor is the code of its last entry."""
    begin = (query.page - 1) * query.size
    if query.cursor is not None:
        codes = [code_of(row) for row in rows]
        if query.cursor not in codes:
            raise wrong_cursor()
        begin = codes.index(query.cursor) + 1
    shown = rows[begin : begin + query.size]
    return {
        "data": [view(row) for row in shown],
        "page": query.page,
        "size": query.size,
        "totalElements": len(rows),
        "totalPages": -(-len(rows) // query.size),
        "totalExact": True,
        "nextCursor": code_of(shown[-1]) if begin + query.size < len(rows) else None,
    }
