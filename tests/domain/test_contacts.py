"""Mail addresses and mobiles as people write them."""

import pytest

from kasuwa.base.problems import Invalid
from kasuwa.domain.reference import contacts
from kasuwa.domain.reference.contacts import (
    find_mobile,
    read_any_number,
    read_email,
    read_mobile,
    read_number,
)

NUMBERS = [
    ("0803 123 4567", "NG", "+2348031234567"),
    ("+234 (0) 803-123-4567", "NG", "+2348031234567"),
    ("2348031234567", "NG", "+2348031234567"),
    ("00234 803 123 4567", "GB", "+2348031234567"),
    ("024 412 3456", "GH", "+233244123456"),
    ("(212) 555-0123", "US", "+12125550123"),
    ("(604) 555-0123", "US", "+16045550123"),
    ("07911 123456", "GB", "+447911123456"),
    ("0712 345678", "KE", "+254712345678"),
    ("09161234567", "NG", "+2349161234567"),
    ("07012345678", "NG", "+2347012345678"),
    # Of another country, as it is dialled from everywhere.
    ("+2348031234567", "", "+2348031234567"),
    ("+233 24 412 3456", "NG", "+233244123456"),
    ("009 233 24 412 3456", "NG", "+233244123456"),
    ("+44 7911 123456", "NG", "+447911123456"),
    # As it is dialled in another country.
    ("0244123456", "NG", None),
    ("233244123456", "NG", None),
    ("0712345678", "NG", None),
    ("07911 123456", "NG", None),
    ("0803 123 4567", "GH", None),
    ("08031234567", "", None),
    # No prefix of that country, with the country and without.
    ("08231234567", "NG", None),
    ("+2348231234567", "GH", None),
    ("+233 803 123 4567", "GH", None),
    ("+999 803 123 4567", "NG", None),
    ("0803 123 456", "NG", None),
    ("0803", "NG", None),
    ("0803123456789012", "NG", None),
    ("0803 123 4567 ext. 9", "NG", None),
    ("call me", "NG", None),
    # Nobody's mobile: a premium line, one of a satellite, free ones, one of a company, a landline.
    ("+1 900 234 5678", "NG", None),
    ("+44 9012 345678", "NG", None),
    ("+870 773 111 632", "NG", None),
    ("+800 1234 5678", "NG", None),
    ("0800 000 0000", "NG", None),
    ("0700 123 4567", "NG", None),
    ("020 7946 0018", "GB", None),
]


@pytest.mark.parametrize(
    ("written", "country", "read"), NUMBERS, ids=[f"{text}-{country}" for text, country, _ in NUMBERS]
)
def test_mobiles_are_read_as_the_country_dials_them(written: str, country: str, read: str | None) -> None:
    assert find_mobile(written, country) == read


def test_a_number_that_only_has_the_length_is_refused_at_its_field() -> None:
    with pytest.raises(Invalid) as refused:
        read_mobile("0244123456", "NG", "/mobile")
    [fault] = refused.value.faults
    assert (fault.pointer, "dialled in NG" in fault.message, "+234" in fault.message) == (
        "/mobile",
        True,
        True,
    )
    # The control: what is enough for whoever only asks about a number.
    assert read_any_number("08231234567", "NG", "/mobile") == "+2348231234567"


def test_a_shop_is_called_at_any_number_that_there_is() -> None:
    for written, read in {"0800 000 0000": "+2348000000000", "+44 20 7946 0018": "+442079460018"}.items():
        assert read_number(written, "NG", "/helpline") == read
    with pytest.raises(Invalid):
        read_number("08231234567", "NG", "/helpline")


ADDRESSES = [
    "ada@shop.example",
    "Ada.Obi+shop@shop.example",
    "o'brien_42@shop.example",
    "zoë.núñez@shop.example",
    "ọlá.ìyá@shop.example",
    "иван@shop.example",
    "иван.петров@почта.example",
    "ελένη@shop.example",
    "علي@shop.example",
    "संजय@shop.example",
    "王小明@shop.example",
    "佐々木.サトー@shop.example",
    "taro太郎@shop.example",
    "kim김@shop.example",
    "አበበ@shop.example",
    "علي٣@shop.example",
    "сара@почта.рф",
    "ɗan.ƙasa.ɓauna@shop.example",
    "kɔfi.ŋutɔ@shop.example",
    "ışık@shop.example",
]
# The letters that look like Latin ones are named: nobody sees them.
MIXED = {
    "cyrillic-a-first": "\N{CYRILLIC SMALL LETTER A}da@shop.example",
    "cyrillic-a-last": "ad\N{CYRILLIC SMALL LETTER A}@shop.example",
    "cyrillic-after-a-dot": "ada.\N{CYRILLIC SMALL LETTER O}bi@shop.example",
    "cyrillic-capital": "\N{CYRILLIC CAPITAL LETTER A}da@shop.example",
    "greek-omicron": "\N{GREEK SMALL LETTER OMICRON}bi@shop.example",
    "cherokee": "\N{CHEROKEE SMALL LETTER GO}da@shop.example",
    "armenian": "ada\N{ARMENIAN SMALL LETTER OH}@shop.example",
    "latin-among-cyrillic": "ив\N{LATIN SMALL LETTER A}н@shop.example",
    "domain": "ada@sh\N{CYRILLIC SMALL LETTER O}p.example",
    "domain-as-it-is-sent": "ada@xn--shp-ted.example",
    "top-level-domain": "ada@shop.\N{CYRILLIC SMALL LETTER IE}xample",
    "full-width": "\N{FULLWIDTH LATIN SMALL LETTER A}da@shop.example",
    "a-name-that-looks-latin": "\N{CYRILLIC SMALL LETTER ES}\N{CYRILLIC SMALL LETTER O}@shop.example",
    "a-name-in-greek": "\N{GREEK SMALL LETTER ALPHA}\N{GREEK SMALL LETTER NU}@shop.example",
    "a-domain-that-looks-latin": "ada@\N{CYRILLIC SMALL LETTER A}\N{CYRILLIC SMALL LETTER ER}.example",
    "small-capital": "\N{LATIN LETTER SMALL CAPITAL L}agos@shop.example",
    "phonetic-a": "\N{LATIN SMALL LETTER ALPHA}da@shop.example",
    "phonetic-g": "la\N{LATIN SMALL LETTER SCRIPT G}os@shop.example",
    "digit-of-another-script": "ada\N{ARABIC-INDIC DIGIT THREE}@shop.example",
    "nothing-between": "a\N{ZERO WIDTH NON-JOINER}da@shop.example",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_of_one_script_is_read(address: str) -> None:
    assert read_email(address, "/email").casefold() == address.casefold()


@pytest.mark.parametrize("address", MIXED.values(), ids=MIXED)
def test_letters_that_only_look_like_others_are_refused_at_their_field(address: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_email(address, "/email")
    [fault] = refused.value.faults
    assert (fault.pointer, fault.code) == ("/email", "format")


def test_it_is_the_look_at_scripts_that_refuses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "_mixes_scripts", lambda text: False)
    assert "\N{CYRILLIC SMALL LETTER A}" in read_email(MIXED["cyrillic-a-first"], "/email")
