"""Countries, currencies and positions as callers write them."""

from decimal import Decimal, InvalidOperation
from typing import NoReturn

import pycountry
from msgspec import Struct

from kasuwa.base.money import currencies
from kasuwa.base.problems import FieldFault, Invalid


class Country(Struct, frozen=True):
    """`code` is ISO 3166-1 alpha-2."""

    code: str
    name: str


def read_country(code: str, name: str, *, code_pointer: str, name_pointer: str) -> Country | None:
    """The country of the code (two or three letters), else of the name; None when both are empty.

    The name is kept as the caller wrote it. Raises Invalid for what no country is called.
    """
    if code:
        found = _by_code(code.upper())
        if found is None:
            _refuse(code_pointer, "unknown", "Give a code of ISO 3166-1, such as NG.")
    elif name:
        try:
            found = pycountry.countries.lookup(name)
        except LookupError:
            _refuse(name_pointer, "unknown", "Give the country's code too: this name is not known.")
    else:
        return None
    return Country(found.alpha_2, name or getattr(found, "common_name", found.name))


def read_currency(code: str, pointer: str) -> str:
    if code not in currencies():
        _refuse(pointer, "unknown", "Give a currency of ISO 4217, such as NGN.")
    return code


def read_tax_rate(rate: Decimal, pointer: str) -> Decimal:
    """A rate as it was sent, below 1 a fraction and from 1 on percent; at most six decimals."""
    if not 0 <= rate <= 100:
        _refuse(pointer, "maximum", "Give a rate from 0 to 100.")
    if rate != round(rate, 6):
        _refuse(pointer, "decimals", "Give at most six decimals.")
    return rate


def effective_percent(rate: Decimal) -> Decimal:
    """What a rate means in percent: 0.075 and 7.5 are both 7.5 %."""
    return rate * 100 if rate < 1 else rate


def read_degrees(text: str, most: int, pointer: str) -> str:
    """A latitude (`most` 90) or longitude (180) in decimal degrees, as the text that came; "" is none."""
    plain = text.strip()
    if not plain:
        return ""
    try:
        degrees = Decimal(plain)
    except InvalidOperation:
        degrees = Decimal("NaN")
    if not degrees.is_finite() or abs(degrees) > most:
        _refuse(pointer, "format", f"Give decimal degrees from -{most} to {most}, such as 6.5244.")
    return plain


def _by_code(code: str) -> "pycountry.db.Country | None":
    if len(code) == 2:
        return pycountry.countries.get(alpha_2=code)
    return pycountry.countries.get(alpha_3=code)


def _refuse(pointer: str, code: str, message: str) -> NoReturn:
    raise Invalid(faults=[FieldFault(pointer, code, message)])
