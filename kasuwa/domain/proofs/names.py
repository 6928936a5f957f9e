"""What people type to log in, and where a code for it goes."""

import unicodedata

from kasuwa.base.passwords import is_common
from kasuwa.base.problems import FieldFault
from kasuwa.domain.merchants.actions import login_key
from kasuwa.domain.proofs.errors import UsernameRefused, WeakPassword
from kasuwa.domain.proofs.records import Addressed, Channel
from kasuwa.domain.reference.contacts import find_mobile, mask_email, mask_mobile


def login_name(typed: str, country_code: str) -> str:
    """What a typed user name, e-mail or mobile is looked up by; a mobile may come as the country dials it."""
    plain = unicodedata.normalize("NFKC", typed).strip()
    if looks_like_mobile(plain):
        return find_mobile(plain, country_code) or login_key(plain)
    return login_key(plain)


def looks_like_mobile(name: str) -> bool:
    return bool(name) and all(letter.isdecimal() or letter in "+ ()./-" for letter in name)


def is_address(name: str) -> bool:
    """Whether a log-in name is an e-mail or a mobile, and so somebody's who may not know of the account."""
    return "@" in name or looks_like_mobile(name)


def check_username(username: str, email: str, mobile: str) -> None:
    """Raises UsernameRefused for another's address: nobody takes it before they come."""
    name = login_key(username)
    is_foreign_email = "@" in name and name != login_key(email)
    is_foreign_mobile = looks_like_mobile(name) and name != mobile
    if is_foreign_email or is_foreign_mobile:
        fault = FieldFault("/username", "taken", "Use your own e-mail or mobile, or a name with letters.")
        raise UsernameRefused(faults=[fault])


def check_password(password: str, *about: str, pointer: str) -> None:
    """Raises WeakPassword for what anybody would try first; `about` are words about the person."""
    if is_common(password, about):
        fault = FieldFault(pointer, "weak", "Use several words, or a password that a manager made.")
        raise WeakPassword(faults=[fault])


def proved_channel(person: Addressed, wished: Channel) -> Channel:
    """The wished channel, unless only the other one is there or proved to be the person's."""
    other: Channel = "mobile" if wished == "email" else "email"
    if not person.address(other):
        return wished
    if not person.address(wished):
        return other
    return other if person.is_verified(other) and not person.is_verified(wished) else wished


def masked_name(name: str, channel: Channel) -> str | None:
    """The typed address without its middle; None for what is no address of the channel."""
    if channel == "email":
        return mask_email(name) if "@" in name else None
    return mask_mobile(name) if looks_like_mobile(name) else None
