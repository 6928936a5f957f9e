"""Mail addresses and mobiles as people write them, read into one spelling each.

Both libraries are loaded when they are first asked: a start does not wait for them.
"""

import re
import unicodedata
from typing import TYPE_CHECKING

from msgspec import Struct

from kasuwa.base.problems import FieldFault, Invalid

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber


def read_email(text: str, pointer: str) -> str:
    """The address with its domain in lower case. Raises Invalid; nobody is asked whether it exists.

    Letters that only look like others are refused: a part before or after a dot or the @ is written in one
    script, and none beside a Latin one is written in letters of another script that all look Latin.
    """
    from email_validator import EmailNotValidError, validate_email

    composed = unicodedata.normalize("NFC", text)
    if unicodedata.normalize("NFKC", composed) != composed:
        # Letters of another width or shape look like an address that is somebody else's.
        raise Invalid(faults=[FieldFault(pointer, "format", "Write the address in plain letters.")])
    try:
        # Names under .test are for trying things out and reach nobody.
        address = validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise Invalid(faults=[FieldFault(pointer, "format", str(error))]) from None
    parts = re.split(r"[@.]", address)
    mixed = next((part for part in parts if _mixes_scripts(part)), None)
    if mixed is not None:
        told = f"Write {mixed!r} in letters of one script: some in it only look like others."
        raise Invalid(faults=[FieldFault(pointer, "format", told)])
    alike = next((part for part in parts if _looks_latin(part)), None)
    if alike is not None and any("LATIN" in _scripts(part) for part in parts if part != alike):
        told = f"Write {alike!r} in Latin letters: these only look like them."
        raise Invalid(faults=[FieldFault(pointer, "format", told)])
    return address


# Scripts that are written together, and in which no letter looks like one of the others.
_WRITTEN_TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA"},
    {"LATIN", "CJK", "HANGUL"},
    {"LATIN", "CJK", "BOPOMOFO"},
)


# Letters that most typefaces draw as Latin ones, of those that Unicode lists in confusables.txt: Cyrillic,
# Greek, Armenian and Cherokee.
_LOOK_LATIN = frozenset(
    "асԁеһіјӏоѕрԛԝхуАВЕЅІЈКМНОРСТХУҮԌԚԜαγινορσυΑΒΕΖΗΙΚΜΝΟΡΤΥΧհոսօզցյՕՍᎠᎡᎢᎥᎪᎫᎬᎳᎷᎻᏀᏃᏏᏒᏔᏕᏙᏚᏞᏟᏢᏦᏴ"
)
# Of phonetic writing and of some languages' alphabets: drawn as a and g.
_DRAWN_AS_OTHERS = frozenset("\N{LATIN SMALL LETTER ALPHA}\N{LATIN SMALL LETTER SCRIPT G}")


def _mixes_scripts(text: str) -> bool:
    scripts = _scripts(text)
    return len(scripts) > 1 and not any(scripts <= together for together in _WRITTEN_TOGETHER)


def _looks_latin(text: str) -> bool:
    letters = [letter for letter in text if unicodedata.category(letter)[0] == "L"]
    if any(
        letter in _DRAWN_AS_OTHERS or "SMALL CAPITAL" in unicodedata.name(letter, "") for letter in letters
    ):
        return True
    return bool(letters) and _LOOK_LATIN.issuperset(letters)


def _scripts(text: str) -> set[str]:
    """The scripts of its letters, and of the digits that are not everybody's."""
    return {
        _script(sign)
        for sign in text
        if unicodedata.category(sign)[0] == "L" or (unicodedata.category(sign) == "Nd" and not sign.isascii())
    }


def _script(sign: str) -> str:
    """The script of a letter or digit, which its name in Unicode begins with."""
    word = re.split(r"[ -]", unicodedata.name(sign, ""))[0]
    return {"IDEOGRAPHIC": "CJK", "EXTENDED": "ARABIC"}.get(word, word)


def read_mobile(text: str, country_code: str, pointer: str) -> str:
    """The mobile in E.164, read as somebody in that country dials it. Raises Invalid.

    One of another country is read where its country stands before it: +233 244 123 456.
    """
    number = find_mobile(text, country_code)
    if number is None:
        raise _no_number("mobile number", country_code, pointer)
    return number


def read_number(text: str, country_code: str, pointer: str) -> str:
    """As `read_mobile`, and also a landline or a free number: where a shop is called. Raises Invalid."""
    import phonenumbers

    number = _parse(text, country_code)
    if number is None or not phonenumbers.is_valid_number(number):
        raise _no_number("number", country_code, pointer)
    return _in_e164(number)


def read_any_number(text: str, country_code: str, pointer: str) -> str:
    """As `read_mobile`, and also what is only as long as a number: see `describe_mobile`. Raises Invalid."""
    number = _parse(text, country_code)
    if number is None:
        raise _no_number("number", country_code, pointer)
    return _in_e164(number)


def find_mobile(text: str, country_code: str) -> str | None:
    """The number in E.164, or None when the text is no mobile of that country, or of its own."""
    number = _parse(text, country_code)
    return _in_e164(number) if number is not None and _is_mobile(number) else None


def _is_mobile(number: "PhoneNumber") -> bool:
    """Whether a person has it. An SMS to a premium or a satellite number would be paid for by the shop."""
    from phonenumbers import PhoneNumberType, number_type, region_code_for_number

    # In some countries one cannot tell by the number.
    mobile = number_type(number) in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
    return mobile and (region_code_for_number(number) or "").isalpha()


def _parse(text: str, country_code: str) -> "PhoneNumber | None":
    import phonenumbers

    try:
        number = phonenumbers.parse(text, country_code or None)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_possible_number(number) and not number.extension else None


def _in_e164(number: "PhoneNumber") -> str:
    import phonenumbers

    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _no_number(kind: str, country_code: str, pointer: str) -> Invalid:
    told = f"Give a {kind} dialled in {country_code}, or one with its country, such as +2348031234567."
    return Invalid(faults=[FieldFault(pointer, "format", told)])


class MobileFacts(Struct, frozen=True):
    """`country_code` is ISO 3166-1 alpha-2, "" for one of no country; `national` as it is dialled there."""

    is_valid: bool
    country_code: str
    national: str


def describe_mobile(number: str) -> MobileFacts:
    """What a number in E.164 says of itself. It is valid when its country gives out mobiles like it."""
    import phonenumbers

    read = phonenumbers.parse(number, None)
    code = phonenumbers.region_code_for_number(read) or ""
    return MobileFacts(
        is_valid=_is_mobile(read),
        country_code=code if code.isalpha() else "",
        national=phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.NATIONAL),
    )


def mask_email(text: str) -> str:
    """`a***@shop.example`: enough for its owner to know it again."""
    name, _, domain = text.rpartition("@")
    return f"{name[:1]}***@{domain}"


def mask_mobile(text: str) -> str:
    """`+234***4567`."""
    return f"{text[:4]}***{text[-4:]}"
