"""Countries, their states and the regions of a state.

ISO 3166 as pycountry has it; currencies from Babel, dialling codes from phonenumbers. The local government
areas of Nigeria stand in `nigeria.json`, which says where its facts come from.
"""

import asyncio
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec
import pycountry
from msgspec import Struct

from kasuwa.base.problems import NotFound
from kasuwa.domain.reference.words import folded

_FILE = Path(__file__).with_name("nigeria.json")

Zone = Literal["NORTH_CENTRAL", "NORTH_EAST", "NORTH_WEST", "SOUTH_EAST", "SOUTH_SOUTH", "SOUTH_WEST"]
RegionKind = Literal["LGA", "AREA_COUNCIL", "COUNTY", "DISTRICT"]

_CAPITAL_TERRITORY = "NG-FC"
# Inhabited, and not among the countries of the library of telephone numbers: it dials as New Zealand does.
_DIALLED_ELSEWHERE = {"PN": 64}


class UnknownPlace(NotFound):
    code = "place-not-found"
    title = "There is no such country or state"


class CountryFacts(Struct, frozen=True, kw_only=True):
    """`code` is alpha-2, `code3` alpha-3; `currency` the main one; `dial_code` as in +234."""

    code: str
    code3: str
    numeric: str
    name: str
    currency: str
    dial_code: str
    has_states: bool


class State(Struct, frozen=True, kw_only=True):
    """`code` is of ISO 3166-2. Capital and zone are known for Nigeria alone."""

    code: str
    name: str
    country_code: str
    capital: str | None = None
    zone: Zone | None = None
    region_count: int


class Region(Struct, frozen=True, kw_only=True):
    """`code` is the state's and the region's own part; it stays when the name is spelled otherwise."""

    code: str
    name: str
    state_code: str
    country_code: str
    kind: RegionKind


class Area(Struct, frozen=True, forbid_unknown_fields=True):
    """A local government area; `number` is its own within the state, `also` are other spellings."""

    number: str
    name: str
    also: tuple[str, ...] = ()


class NigerianState(Struct, frozen=True, forbid_unknown_fields=True):
    code: str
    name: str
    capital: str
    zone: Zone
    areas: tuple[Area, ...]


class _Nigeria(Struct):
    states: tuple[NigerianState, ...]


@lru_cache(maxsize=1)
def nigerian_states() -> tuple[NigerianState, ...]:
    """The 36 states and the Federal Capital Territory."""
    return msgspec.json.decode(_FILE.read_bytes(), type=_Nigeria).states


async def prepare_countries() -> None:
    """Load what the lists are made of in a thread, once: a quarter second that nobody else shall wait."""
    if not list_countries.cache_info().currsize:
        await asyncio.to_thread(list_countries)


@lru_cache(maxsize=1)
def list_countries() -> tuple[CountryFacts, ...]:
    """Countries by name: those where somebody can be called and paid.

    Six of ISO 3166 are uninhabited and have no dialling code of their own: they are left out.
    """
    return tuple(
        sorted(
            (facts for one in pycountry.countries if (facts := _facts(one)) is not None),
            key=lambda facts: folded(facts.name),
        )
    )


def search_countries(words: str) -> list[CountryFacts]:
    """Countries by name whose name has all the words, or whose code is the one word."""
    wanted = folded(words).split()
    return [
        facts
        for facts in list_countries()
        if all(word in folded(facts.name) for word in wanted) or wanted == [facts.code.lower()]
    ]


def list_states(country_code: str) -> list[State]:
    """The states of the country by name; none where ISO 3166-2 lists none. Raises UnknownPlace."""
    if all(facts.code != country_code for facts in list_countries()):
        raise UnknownPlace("Give the code of a country from the list of countries, such as NG.")
    return list(_states().get(country_code, ()))


def list_regions(country_code: str, state_code: str) -> list[Region]:
    """The regions of the state by name; none where none are known. Raises UnknownPlace."""
    if all(state.code != state_code for state in list_states(country_code)):
        raise UnknownPlace("Give the code of a state from the list of the country's states, such as NG-LA.")
    return list(_regions().get(state_code, ()))


def _facts(country: "pycountry.db.Country") -> CountryFacts | None:
    import phonenumbers

    code = country.alpha_2
    currency = _main_currency(code)
    dial_code = phonenumbers.country_code_for_region(code) or _DIALLED_ELSEWHERE.get(code)
    if currency is None or not dial_code:
        return None
    return CountryFacts(
        code=code,
        code3=country.alpha_3,
        numeric=country.numeric,
        name=getattr(country, "common_name", country.name),
        currency=currency,
        dial_code=f"+{dial_code}",
        has_states=code in _states(),
    )


def _main_currency(country_code: str) -> str | None:
    """The legal tender; where there are several, the country's own, whose code begins with the country's."""
    from babel.numbers import get_territory_currencies

    used: list[str] = get_territory_currencies(country_code)
    own = [currency for currency in used if currency.startswith(country_code)]
    return next(iter([*own, *used]), None)


@lru_cache(maxsize=1)
def _states() -> dict[str, list[State]]:
    found: dict[str, list[State]] = defaultdict(list)
    nigerian = {state.code: state for state in nigerian_states()}
    for one in pycountry.subdivisions:
        if one.parent_code is None:
            ours = nigerian.get(one.code)
            found[one.country_code].append(
                State(
                    code=one.code,
                    name=one.name if ours is None else ours.name,
                    country_code=one.country_code,
                    capital=None if ours is None else ours.capital,
                    zone=None if ours is None else ours.zone,
                    region_count=len(_regions().get(one.code, ())),
                )
            )
    return {code: sorted(states, key=lambda state: folded(state.name)) for code, states in found.items()}


@lru_cache(maxsize=1)
def _regions() -> dict[str, list[Region]]:
    """By the code of the state."""
    found: dict[str, list[Region]] = defaultdict(list)
    for state in nigerian_states():
        kind: RegionKind = "AREA_COUNCIL" if state.code == _CAPITAL_TERRITORY else "LGA"
        for area in state.areas:
            found[state.code].append(_region(state.code, area.number, area.name, kind))
    parents = {one.code: one.parent_code for one in pycountry.subdivisions}
    for one in pycountry.subdivisions:
        if one.parent_code is not None:
            top = one.parent_code
            while (above := parents[top]) is not None:
                top = above
            kind = "COUNTY" if "county" in one.type.lower() else "DISTRICT"
            # "Bridgend [Pen-y-bont ar Ogwr GB-POG]": the name in another language is not part of it.
            name = one.name.partition(" [")[0]
            found[top].append(_region(top, one.code.partition("-")[2], name, kind))
    return {code: sorted(regions, key=lambda region: folded(region.name)) for code, regions in found.items()}


def _region(state_code: str, own: str, name: str, kind: RegionKind) -> Region:
    return Region(
        code=f"{state_code}-{own}",
        name=name,
        state_code=state_code,
        country_code=state_code[:2],
        kind=kind,
    )
