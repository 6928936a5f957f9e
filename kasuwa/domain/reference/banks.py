"""Institutions licensed in Nigeria whose account numbers can be checked: `nigerian_banks.json`.

The file says where its facts come from, when, and what it leaves out.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from kasuwa.domain.reference.nuban import nuban_prefix
from kasuwa.domain.reference.words import folded

_FILE = Path(__file__).with_name("nigerian_banks.json")

Category = Literal["COMMERCIAL", "MERCHANT", "NON_INTEREST", "MICROFINANCE", "PRIMARY_MORTGAGE"]


class Bank(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`code` is the CBN's, of three or five digits; `nip` the interbank network's, of six.

    `active` is False when the licence ended: the bank's old accounts have moved elsewhere.
    """

    code: str
    name: str
    short: str | None = None
    category: Category
    nip: str | None = None
    ussd: str | None = None
    active: bool = True

    @property
    def nuban_prefix(self) -> str:
        return nuban_prefix(self.code)


class _BankFile(Struct):
    banks: tuple[Bank, ...]


@lru_cache(maxsize=1)
def all_banks() -> tuple[Bank, ...]:
    """Every institution, by name."""
    banks = msgspec.json.decode(_FILE.read_bytes(), type=_BankFile).banks
    return tuple(sorted(banks, key=lambda bank: (folded(bank.name), bank.code)))


def list_banks(*, category: str | None = None, part: str | None = None, active: bool = True) -> list[Bank]:
    """Institutions by name: of a licence, with `part` in their name, in business or not any more."""
    wanted = folded(part or "")
    return [
        bank
        for bank in all_banks()
        if bank.active is active
        and category in (None, bank.category)
        and (wanted in folded(bank.name) or wanted in folded(bank.short or ""))
    ]


def find_bank(code: str) -> Bank | None:
    """The institution with that CBN code: three digits, five, or six that are a 9 before the five."""
    if len(code) == 6 and code.startswith("9"):
        code = code[1:]
    return _by_code().get(code)


def banks_called(name: str) -> list[Bank]:
    """The institutions with exactly that name, full or short, whatever its case and blanks."""
    return _by_name().get(folded(name), [])


@lru_cache(maxsize=1)
def _by_code() -> dict[str, Bank]:
    return {bank.code: bank for bank in all_banks()}


@lru_cache(maxsize=1)
def _by_name() -> dict[str, list[Bank]]:
    found: dict[str, list[Bank]] = {}
    for bank in all_banks():
        for name in {folded(bank.name), folded(bank.short or bank.name)}:
            found.setdefault(name, []).append(bank)
    return found
