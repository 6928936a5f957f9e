"""Bank accounts for tests: numbers that could be real ones, and accounts of a shop."""

import secrets
from typing import Any

from kasuwa.base.context import Context
from kasuwa.domain.banking.actions import create_account
from kasuwa.domain.banking.checking import check_details
from kasuwa.domain.banking.records import AccountDetails, BankAccount
from kasuwa.domain.reference.nuban import check_digit


def new_number(code: str = "058", serial: str | None = None) -> str:
    """An account number of the bank, of a serial number of its own."""
    serial = serial or f"{secrets.randbelow(10**9):09d}"
    return serial + check_digit(code, serial)


def wrong_number(code: str = "058") -> str:
    """A number whose check digit fits no account of the bank."""
    number = new_number(code)
    return number[:-1] + str((int(number[-1]) + 1) % 10)


def body(**changes: Any) -> dict[str, Any]:
    """What a caller sends for a new account."""
    given = {
        "bankCode": "058",
        "bankFullName": "Guaranty Trust Bank",
        "userBankAccName": "ADA STORES LTD",
    } | changes
    return given if "userBankAccNo" in given else given | {"userBankAccNo": new_number(given["bankCode"])}


async def new_account(context: Context, **changes: Any) -> BankAccount:
    """An account of the context's store; `changes` are fields of AccountDetails."""
    given: dict[str, Any] = {
        "bank_code": "058",
        "bank_name": "Guaranty Trust Bank",
        "holder_name": "ADA STORES LTD",
    }
    if "number" not in changes:
        changes["number"] = new_number(changes.get("bank_code", "058"))
    return await create_account(context, await check_details(context, AccountDetails(**given | changes)))
