"""The words of bank accounts."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.secrets import Sealer

AccountType = Literal["savings", "current", "domiciliary", "virtual"]


class BankAccount(Struct, frozen=True, kw_only=True):
    """A bank account of a store. `number` is a NUBAN, or its mask for who may not read it.

    `verified`: a provider said that the holder has this name. `is_default`: the store's money goes there.
    """

    bank_account_id: UUID
    store_id: UUID
    bank_code: str
    bank_name: str
    number: str
    holder_name: str
    account_type: AccountType
    active: bool
    is_default: bool
    verified: bool
    created_at: datetime
    created_by: UUID | None
    updated_at: datetime

    def facts(self) -> dict[str, Any]:
        """What the audit keeps: everything but the whole number."""
        return {
            "storeId": str(self.store_id),
            "bankCode": self.bank_code,
            "bankName": self.bank_name,
            "endsWith": self.number[-4:],
            "holderName": self.holder_name,
            "type": self.account_type,
            "active": self.active,
            "isDefault": self.is_default,
            "verified": self.verified,
        }


class AccountDetails(Struct, frozen=True, kw_only=True):
    """What the caller says about an account. None leaves it as it is, or to the rule for a new one."""

    bank_code: str
    bank_name: str
    number: str
    holder_name: str
    account_type: AccountType | None = None
    active: bool | None = None
    make_default: bool | None = None


class CheckedDetails(Struct, frozen=True):
    """Details that passed, with the bank's own code, and whether the holder's name was confirmed."""

    details: AccountDetails
    verified: bool


class AccountWish(Struct, frozen=True, kw_only=True):
    """Which accounts of the store a list shows. A cursor wins over the page."""

    active: bool | None = None
    page: int = 1
    size: int = 50
    cursor: str | None = None


class Removal(Struct, frozen=True):
    """An account that was deactivated or deleted, and the store's default one afterwards."""

    bank_account_id: UUID
    default_id: UUID | None
    at: datetime


def masked(number: str) -> str:
    """`******4579`: enough for its owner to know it again."""
    return "*" * (len(number) - 4) + number[-4:]


def number_marks(sealer: Sealer, merchant_id: UUID, number: str) -> list[bytes]:
    """Keyed hashes that find the number, the newest key's first; another merchant's number has others."""
    return sealer.marks(f"bank account\n{merchant_id}\n{number}".encode())
