"""What a bank account must be before it is kept: a known bank, a number that fits, a holder."""

import unicodedata

import msgspec

from kasuwa.base.context import Context
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.banking.holders import confirms
from kasuwa.domain.banking.records import AccountDetails, BankAccount, CheckedDetails
from kasuwa.domain.permissions import Permission
from kasuwa.domain.reference.banks import Bank, banks_called, find_bank
from kasuwa.domain.reference.nuban import is_nuban

CHECK_DIGIT_CODE = "nuban_check_digit"


async def check_details(
    context: Context, details: AccountDetails, *, before: BankAccount | None = None
) -> CheckedDetails:
    """Check the details and ask the provider for the holder: outside of any transaction, as it may be slow.

    `before` is the account that they replace: what has not changed is not asked again. Raises Invalid with
    every fault. A provider that does not answer refuses nothing: the account is then not verified.
    """
    context.require(Permission.BANK_WRITE)
    bank = find_bank(details.bank_code)
    faults = [*_bank_faults(details, bank), *_text_faults(details)]
    if bank is not None and not is_nuban(bank.code, details.number):
        faults.append(number_fault("/userBankAccNo", bank))
    if details.make_default and details.active is False:
        faults.append(
            FieldFault(
                "/defaultAccount", "inactive", "An account out of use cannot be the default: send one."
            )
        )
    if faults:
        raise Invalid(faults=faults)
    assert bank is not None
    checked = msgspec.structs.replace(
        details,
        bank_code=bank.code,
        bank_name=_plain(details.bank_name),
        holder_name=_plain(details.holder_name),
    )
    if before is not None and identity(before) == identity(checked):
        return CheckedDetails(checked, before.verified)
    return CheckedDetails(checked, await confirms(context, bank, checked.number, checked.holder_name))


def identity(account: AccountDetails | BankAccount) -> tuple[str, str, str]:
    """What a confirmation of the holder is about."""
    return account.bank_code, account.number, account.holder_name


def number_fault(pointer: str, bank: Bank) -> FieldFault:
    """The fault of a number that cannot be an account of the bank."""
    return FieldFault(
        pointer, CHECK_DIGIT_CODE, f"This cannot be an account of {bank.name}: compare all ten digits."
    )


def _bank_faults(details: AccountDetails, bank: Bank | None) -> list[FieldFault]:
    if bank is None:
        return [FieldFault("/bankCode", "unknown", "Give a code from the list of Nigerian banks.")]
    if not bank.active:
        return [FieldFault("/bankCode", "inactive", f"{bank.name} is closed: give the bank that took over.")]
    called = banks_called(details.bank_name)
    if called and bank not in called:
        # A code and a name of two banks: nobody can say which one was meant, and money would go there.
        return [FieldFault("/bankFullName", "other-bank", f"The code {bank.code} is that of {bank.name}.")]
    return []


def _text_faults(details: AccountDetails) -> list[FieldFault]:
    faults = []
    for pointer, text in (("/bankFullName", details.bank_name), ("/userBankAccName", details.holder_name)):
        if not _plain(text):
            faults.append(FieldFault(pointer, "blank", "Write a name."))
        elif any(unicodedata.category(mark) in ("Cc", "Cf") for mark in text):
            faults.append(FieldFault(pointer, "control", "Leave out characters that cannot be seen."))
    return faults


def _plain(text: str) -> str:
    return " ".join(text.split())
