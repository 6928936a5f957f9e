"""What settings must be like: links, opening times, and places that lie in each other."""

import contextlib
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NoReturn
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import msgspec

from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.reference.places import read_country
from kasuwa.domain.reference.regions import UnknownPlace, list_regions, list_states
from kasuwa.domain.stores.settings.records import OpeningTime, StoreFacts

_SCHEME = re.compile(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*\s*:")
_HOST_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_BLANKS_AND_CONTROLS = re.compile(r"[\s\x00-\x1f\x7f]")
_MOST_NAME = 253
PLACE_FACTS = frozenset({"country_code", "state_code", "state", "city_code", "city"})


def read_link(text: str, pointer: str) -> str:
    """An address that a browser may be sent to. Raises Invalid for any scheme but http and https."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good or "\\" in text or _BLANKS_AND_CONTROLS.search(text):
        fault = FieldFault(pointer, "format", "Give an address that begins with http:// or https://.")
        raise Invalid(faults=[fault])
    return text


def read_handle(text: str, pointer: str) -> str:
    """A name at a network such as @adasfabrics, or an address of it. Raises Invalid."""
    # Browsers leave control characters out before they look for a scheme.
    if _SCHEME.match(text) or _CONTROLS.search(text) or "\\" in text or text.strip().startswith("//"):
        return read_link(text, pointer)
    return text


def read_domain(text: str, pointer: str) -> str:
    """A host name in lower case, punycode for other letters. Raises Invalid."""
    try:
        name = text.strip().lower().rstrip(".").encode("idna").decode()
    except UnicodeError:
        name = ""
    labels = name.split(".")
    is_name = len(labels) > 1 and all(_HOST_LABEL.fullmatch(label) for label in labels)
    if not is_name or len(name) > _MOST_NAME or labels[-1].isdecimal():
        raise Invalid(faults=[FieldFault(pointer, "format", "Give a host name, such as shop.example.")])
    return name


def read_opening_times(times: Sequence[OpeningTime], pointer: str) -> tuple[OpeningTime, ...]:
    """The times as they were sent. Raises Invalid where one ends before it begins, or two overlap."""
    faults = []
    for place, time in enumerate(times):
        if time.closes <= time.opens:
            message = "It has to end after it begins; after midnight is another day, from 00:00."
            faults.append(FieldFault(f"{pointer}/{place}/closes", "order", message))
        elif any(
            time.day == other.day and time.opens < other.closes and other.opens < time.closes
            for other in times[:place]
        ):
            faults.append(FieldFault(f"{pointer}/{place}", "overlap", "It overlaps another one of that day."))
    if faults:
        raise Invalid(faults=faults)
    return tuple(times)


def read_time_zone(name: str, pointer: str) -> str:
    """A place of the IANA's list. Raises Invalid."""
    if name not in available_timezones():
        raise Invalid(
            faults=[FieldFault(pointer, "unknown", "Give a name of the IANA, such as Africa/Lagos.")]
        )
    return name


def rate_of_percent(percent: Decimal) -> Decimal:
    """The rate that means so many percent: below 1 a rate is a fraction."""
    return percent / 100 if percent < 1 else percent


def settle_place(facts: StoreFacts, *, named: frozenset[str]) -> StoreFacts:
    """The facts with the names that their codes have. `named` are those that the caller sent.

    Raises Invalid where state and region do not lie in each other, also for those that stayed.
    """
    country = read_country(facts.country_code, "", code_pointer="/business/countryCode", name_pointer="")
    assert country is not None
    if "country_code" in named:
        facts = msgspec.structs.replace(facts, country=country.name)
    if not facts.state_code:
        if facts.city_code:
            _refuse("/business/regionCode", "Give the state's code too.")
        return facts
    state = None
    with contextlib.suppress(UnknownPlace):
        state = next((s for s in list_states(facts.country_code) if s.code == facts.state_code), None)
    if state is None:
        _refuse("/business/stateCode", f"Give a state of {facts.country_code}, such as NG-LA of NG, or null.")
    facts = msgspec.structs.replace(facts, state=state.name)
    if not facts.city_code:
        return facts
    regions = list_regions(facts.country_code, facts.state_code)
    region = next((r for r in regions if r.code == facts.city_code), None)
    if region is None:
        _refuse("/business/regionCode", f"Give a region of {facts.state_code}, or null.")
    return msgspec.structs.replace(facts, city=region.name)


def _refuse(pointer: str, message: str) -> NoReturn:
    raise Invalid(faults=[FieldFault(pointer, "unknown", message)])
