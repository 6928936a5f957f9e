"""Mail addresses and mobiles as people write them, read into one spelling each.

Both libraries are loaded when they are first asked: a start does not wait for them.
"""

import unicodedata

from msgspec import Struct

from kasuwa.base.problems import FieldFault, Invalid


def read_email(text: str, pointer: str) -> str:
    """The address with its domain in lower case. Raises Invalid; nobody is asked whether it exists."""
    from email_validator import EmailNotValidError, validate_email

    composed = unicodedata.normalize("NFC", text)
    if unicodedata.normalize("NFKC", composed) != composed:
        # Letters of another width or shape look like an address that is somebody else's.
        raise Invalid(faults=[FieldFault(pointer, "format", "Write the address in plain letters.")])
    try:
        # Names under .test are for trying things out and reach nobody.
        return validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise Invalid(faults=[FieldFault(pointer, "format", str(error))]) from None


def read_mobile(text: str, country_code: str, pointer: str) -> str:
    """The number in E.164, read as somebody in that country dials it. Raises Invalid."""
    number = find_mobile(text, country_code)
    if number is None:
        fault = FieldFault(
            pointer,
            "format",
            f"Give a number of {country_code}, or one with its country, such as +2348031234567.",
        )
        raise Invalid(faults=[fault])
    return number


def find_mobile(text: str, country_code: str) -> str | None:
    """The number in E.164, or None when the text is no telephone number."""
    import phonenumbers

    try:
        number = phonenumbers.parse(text, country_code or None)
    except phonenumbers.NumberParseException:
        return None
    # Possible, not valid: new prefixes come into use before the library knows them.
    if not phonenumbers.is_possible_number(number) or number.extension:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


class MobileFacts(Struct, frozen=True):
    """`country_code` is ISO 3166-1 alpha-2, "" for one of no country; `national` as it is dialled there."""

    is_valid: bool
    country_code: str
    national: str


def describe_mobile(number: str) -> MobileFacts:
    """What a number in E.164 says of itself. It is valid when a network of its country has its prefix."""
    import phonenumbers

    read = phonenumbers.parse(number, None)
    code = phonenumbers.region_code_for_number(read) or ""
    return MobileFacts(
        is_valid=phonenumbers.is_valid_number(read),
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
