"""Places, banks and account numbers: our lists beside those of packages that others keep."""

import importlib.metadata
import json
import re
import secrets
from collections.abc import Iterable
from typing import Any

import msgspec
import naija_data
import pycountry
import pytest
from py_nuban.banks import get_banks as xoro_banks  # type: ignore[import-untyped]

from kasuwa.base.money import currencies
from kasuwa.domain.reference.banks import Bank, all_banks, banks_called, find_bank, list_banks
from kasuwa.domain.reference.nuban import check_digit, is_nuban, nuban_prefix
from kasuwa.domain.reference.regions import (
    UnknownPlace,
    list_countries,
    list_regions,
    list_states,
    nigerian_states,
    search_countries,
)
from tests.banking import new_number, wrong_number

# As the First Schedule of the Constitution has them, by state.
AREAS = {
    "AB": 17, "AD": 21, "AK": 31, "AN": 21, "BA": 20, "BY": 8, "BE": 23, "BO": 27, "CR": 18, "DE": 25,
    "EB": 13, "ED": 18, "EK": 16, "EN": 17, "GO": 11, "IM": 27, "JI": 27, "KD": 23, "KN": 44, "KT": 34,
    "KE": 21, "KO": 21, "KW": 16, "LA": 20, "NA": 13, "NI": 25, "OG": 20, "ON": 18, "OS": 30, "OY": 33,
    "PL": 17, "RI": 23, "SO": 23, "TA": 16, "YO": 17, "ZA": 14, "FC": 6,
}  # fmt: skip


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def our_areas(state: str) -> dict[str, set[str]]:
    """For each area of the state its spellings."""
    found = next(one for one in nigerian_states() if one.code == f"NG-{state}")
    return {area.name: {plain(name) for name in (area.name, *area.also)} for area in found.areas}


def unmatched(ours: dict[str, set[str]], theirs: Iterable[str]) -> list[str]:
    """Names of ours and theirs that do not stand for one area each."""
    left = [plain(name) for name in theirs]
    alone = []
    for name, spellings in ours.items():
        hits = [other for other in left if other in spellings]
        if len(hits) == 1:
            left.remove(hits[0])
        else:
            alone.append(name)
    return alone + left


def toolkit(file: str) -> list[dict[str, Any]]:
    """A data file of ng-address-toolkit, whose package has no name that can be imported."""
    files = importlib.metadata.files("ng-address-toolkit") or []
    path = next(one for one in files if one.name == f"{file}.json")
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


# Nigeria ------------------------------------------------------------------------------------------


def test_there_are_36_states_the_capital_territory_and_774_areas() -> None:
    counts = {state.code[3:]: len(state.areas) for state in nigerian_states()}
    assert counts == AREAS
    assert (len(counts), sum(counts.values())) == (37, 774)
    zones = [state.zone for state in nigerian_states() if state.code != "NG-FC"]
    assert sorted(zones.count(zone) for zone in set(zones)) == [5, 6, 6, 6, 6, 7]


def test_states_are_those_of_iso_with_capital_and_zone_as_two_packages_have_them() -> None:
    iso = {one.code for one in pycountry.subdivisions if one.country_code == "NG"}
    assert {state.code for state in nigerian_states()} == iso
    theirs = {f"NG-{row['code']}": row for row in toolkit("states")}
    for state in nigerian_states():
        other, third = theirs[state.code], naija_data.get_state(state.code[3:])
        assert third is not None
        assert plain(state.name) == plain(third.name)
        assert plain(state.capital) == plain(other["capital"]) == plain(third.capital)
        assert state.zone == other["region"].upper().replace(" ", "_")
        assert state.zone == third.zone.upper().replace("-", "_")


@pytest.mark.parametrize("state", AREAS)
def test_each_area_stands_once_in_each_of_two_packages(state: str) -> None:
    rows = [row["name"] for row in toolkit("lgas") if row["state_code"] == state]
    assert unmatched(our_areas(state), rows) == []
    assert unmatched(our_areas(state), [one.name for one in naija_data.lgas(state)]) == []


def test_an_area_that_is_missing_doubled_or_respelled_is_found() -> None:
    ours, theirs = our_areas("LA"), [one.name for one in naija_data.lgas("LA")]
    assert unmatched(ours, theirs[1:]) != []
    assert unmatched(ours, [*theirs, theirs[0]]) != []
    assert unmatched(ours, [*theirs[1:], "Ikejaa"]) != []


def test_area_numbers_are_inecs_and_codes_are_stable() -> None:
    for state in nigerian_states():
        numbers = {one.inec_code.partition("-")[2] for one in naija_data.lgas(state.code[3:])}
        assert {area.number for area in state.areas} == numbers
    lagos = {region.name: region.code for region in list_regions("NG", "NG-LA")}
    assert (lagos["Agege"], lagos["Surulere"]) == ("NG-LA-01", "NG-LA-20")
    assert [region.kind for region in list_regions("NG", "NG-FC")] == ["AREA_COUNCIL"] * 6
    assert {region.kind for region in list_regions("NG", "NG-KN")} == {"LGA"}


# The world ----------------------------------------------------------------------------------------


def test_countries_are_isos_but_for_those_where_nobody_lives() -> None:
    codes = [facts.code for facts in list_countries()]
    assert {one.alpha_2 for one in pycountry.countries} - set(codes) == {"AQ", "BV", "GS", "HM", "TF", "UM"}
    assert len(codes) == len(set(codes)) == 243
    assert {facts.currency for facts in list_countries()} <= set(currencies())
    names = [facts.name for facts in list_countries()]
    assert names.index("Åland Islands") == 1  # between Afghanistan and Albania
    by_code = {facts.code: facts for facts in list_countries()}
    nigeria = by_code["NG"]
    assert (nigeria.code3, nigeria.numeric, nigeria.name) == ("NGA", "566", "Nigeria")
    assert (nigeria.currency, nigeria.dial_code, nigeria.has_states) == ("NGN", "+234", True)
    assert (by_code["LS"].currency, by_code["US"].dial_code, by_code["PN"].dial_code) == ("LSL", "+1", "+64")


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("nigeria", ["NG"]),
        ("COTE", ["CI"]),
        ("guinea bissau", ["GW"]),
        ("islands virgin", ["VG", "VI"]),
        ("gh", ["AF", "GH"]),
        ("   ", None),
        ("%", []),
    ],
)
def test_countries_are_found_by_their_words(words: str, codes: list[str] | None) -> None:
    found = [facts.code for facts in search_countries(words)]
    assert found == codes if codes is not None else len(found) == 243


def test_every_states_regions_are_counted_and_belong_to_it() -> None:
    for facts in list_countries():
        states = list_states(facts.code)
        assert facts.has_states == bool(states)
        assert len({state.code for state in states}) == len(states)
        for state in states:
            regions = list_regions(facts.code, state.code)
            assert state.region_count == len(regions)
            assert all(region.code.startswith(f"{state.code}-") for region in regions)
            assert len({region.code for region in regions}) == len(regions)
    assert [region.name for region in list_regions("GB", "GB-WLS")][:2] == ["Blaenau Gwent", "Bridgend"]
    # A part of a part of the region is found in the region.
    assert "Bas-Rhin" in {region.name for region in list_regions("FR", "FR-GES")}


@pytest.mark.parametrize("code", ["", "XX", "ng", "NGA", "AQ", "Ｎ", "N\0"])
def test_a_place_that_is_not_there_is_not_found(code: str) -> None:
    with pytest.raises(UnknownPlace):
        list_states(code)
    with pytest.raises(UnknownPlace):
        list_regions("NG", f"NG-{code}")
    with pytest.raises(UnknownPlace):
        list_regions("GH", "NG-LA")


# Banks --------------------------------------------------------------------------------------------


def test_every_bank_is_one_that_a_second_package_has_or_is_not_in_it_at_all() -> None:
    """Codes of ours against those of two packages: nobody gives one of them to another bank."""
    for bank in all_banks():
        theirs = naija_data.get_bank(bank.code)
        assert theirs is not None, bank
        assert theirs.cbn_code == bank.code
        assert plain(bank.name)[:3] == plain(theirs.name)[:3]
        assert (theirs.status == "active") == bank.active
        if theirs.nip_code is not None:
            assert bank.nip == theirs.nip_code
    listed = {row["code"]: row for row in xoro_banks()}
    shared = [bank for bank in all_banks() if bank.code in listed and bank.code != "305"]
    assert len(shared) > 25
    for bank in shared:
        assert bank.nip == listed[bank.code]["nibss_bank_code"], bank
    # That package still has the wallet whose three digits a bank was given later.
    assert listed["305"]["name"] == "Opay"


def core(name: str) -> str:
    """What is left of a bank's name when each package has its own words for what it is."""
    words = r"\b(?:microfinance|mfb|mortgage|merchant|bank|plc|limited|ltd|nigerian?|of|the|and)\b"
    return re.sub(r"[^a-z0-9]", "", re.sub(words, "", name.casefold()))


def other_network_codes(banks: Iterable[Bank]) -> tuple[int, list[str]]:
    """How many banks a package has by name, and those of them to which it gives another network code, or one
    where we have none."""
    listed = {core(row["name"]): row["nibss_bank_code"] for row in xoro_banks()}
    shared = [(bank.name, bank.nip, listed[core(bank.name)]) for bank in banks if core(bank.name) in listed]
    found = [(name, ours, theirs) for name, ours, theirs in shared if len(theirs) == 6]
    return len(found), [name for name, ours, theirs in found if ours != theirs]


def test_network_codes_are_those_that_another_package_has_for_the_name() -> None:
    count, others = other_network_codes(all_banks())
    assert count > 45
    # A bank for small businesses, which a commercial one of nearly the same name owns.
    assert others == ["FCMB MFB Ltd"]
    sparkle = next(bank for bank in all_banks() if bank.code == "51310")
    wrong = msgspec.structs.replace(sparkle, nip="090999")
    without = msgspec.structs.replace(sparkle, nip=None)
    assert other_network_codes([sparkle, wrong, without]) == (3, [sparkle.name] * 2)


def test_banks_have_one_code_each_and_names_that_fit_the_contract() -> None:
    banks = all_banks()
    assert len({bank.code for bank in banks}) == len(banks) == 133
    networks = [bank.nip for bank in banks if bank.nip]
    assert len(set(networks)) == len(networks) == 75
    kinds = {"MICROFINANCE": "090", "PRIMARY_MORTGAGE": "070"}
    # That of the police has the code of a mortgage bank.
    later = [bank for bank in banks if bank.nip and bank.category in kinds and bank.code != "50629"]
    assert all((bank.nip or "").startswith(kinds[bank.category]) for bank in later)
    assert all(len(bank.name) <= 120 and len(bank.short or "") <= 60 for bank in banks)
    assert all(re.fullmatch(r"\*\d{2,5}(\*\d+)*#", bank.ussd) for bank in banks if bank.ussd)
    # Five digits that are a microfinance bank's network code without its zero are nobody's CBN code.
    micro = [bank.code for bank in banks if bank.category == "MICROFINANCE"]
    assert [code for code in micro if code.startswith("90")] == []


def test_banks_are_listed_by_licence_name_and_whether_they_are_in_business() -> None:
    assert [bank.code for bank in list_banks(active=False)] == ["063", "030"]
    assert {bank.code for bank in list_banks(category="NON_INTEREST")} == {"301", "302", "303", "305"}
    assert [bank.code for bank in list_banks(part="gtb")] == ["058"]
    assert [bank.code for bank in list_banks(part="  ZENITH ")] == ["057"]
    assert list_banks(part="nobody's") == []


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("058", "Guaranty Trust Bank Plc"),
        ("50211", "Kuda MFB"),
        ("950211", "Kuda MFB"),
        ("900058", None),
        ("000058", None),
        ("0058", None),
        ("999", None),
        ("٠٥٨", None),
        ("", None),
    ],
)
def test_a_bank_is_found_by_its_code(code: str, name: str | None) -> None:
    bank = find_bank(code)
    assert (bank.name if bank else None) == name


def test_a_bank_is_known_by_either_name() -> None:
    assert [bank.code for bank in banks_called("gtbank")] == ["058"]
    assert [bank.code for bank in banks_called("GUARANTY  trust bank plc")] == ["058"]
    assert banks_called("Ada's Bank") == []


# Account numbers ----------------------------------------------------------------------------------


def test_check_digits_are_those_of_the_standard() -> None:
    assert check_digit("011", "000001457") == "9"
    assert check_digit("011", "000000022") == "0"
    assert (nuban_prefix("058"), nuban_prefix("50211")) == ("000058", "950211")


def twelve_digit_scheme(code: str, serial: str) -> str:
    """The standard of 2010, written out: the bank's three digits and the serial number alone."""
    total = sum(int(d) * w for d, w in zip(code + serial, (3, 7, 3) * 4, strict=True))
    return str((10 - total % 10) % 10)


def test_for_a_bank_both_schemes_and_another_implementation_agree() -> None:
    for bank in all_banks():
        for _ in range(20):
            serial = f"{secrets.randbelow(10**9):09d}"
            ours = check_digit(bank.code, serial)
            assert ours == str(naija_data.nuban_check_digit(bank.code, serial))
            if len(bank.code) == 3:
                assert ours == twelve_digit_scheme(bank.code, serial)


def test_every_mistyped_digit_and_nearly_every_swap_is_found() -> None:
    number = new_number("058", "123456789")
    assert is_nuban("058", number)
    for place in range(10):
        for other in set("0123456789") - {number[place]}:
            assert not is_nuban("058", number[:place] + other + number[place + 1 :])
    assert not is_nuban("058", wrong_number("058"))
    assert [code for code in ("011", "044", "057", "50211") if is_nuban(code, number)] == []


@pytest.mark.parametrize(
    "number",
    [
        "",
        "000001457",
        "00000145799",
        "000001457X",
        "0000014579\n",
        " 000014579",
        "٠٠٠٠٠١٤٥٧٩",
        "0000014５79",
        "0\0" * 5,
    ],
)
def test_what_is_no_number_is_no_account(number: str) -> None:
    assert is_nuban("011", "0000014579")
    assert not is_nuban("011", number)
