"""Who holds a bank account: asked of a provider that the operator chose, or of nobody.

Without a provider (`KASUWA_BANK_LOOKUP`) a look-up says what can be checked on this machine: that there is
such a bank and that the number's check digit fits it. Who holds the account, and whether it was ever opened,
is then not known and not claimed.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Protocol

import structlog
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.limits import Quota
from kasuwa.base.outside import OutsideAnswer, OutsideSilent, ask_json
from kasuwa.base.problems import TooManyRequests
from kasuwa.domain.banking.errors import NoSuchHolder
from kasuwa.domain.reference.banks import Bank
from kasuwa.domain.reference.words import folded

log = structlog.get_logger("kasuwa.banking")

# A look-up names a stranger and may cost the operator money.
_QUOTA = Quota("bank-lookup", requests=100, seconds=3600)
_MOST_NAME_CHARS = 160


class Holder(Struct, frozen=True):
    """`name` as the bank spells it."""

    name: str


class HolderUnknown(Exception):
    """The provider says that the bank has no such account."""


class HolderProvider(Protocol):
    """Somebody who knows the holders of accounts."""

    async def find(self, bank: Bank, number: str) -> Holder:
        """The holder. Raises HolderUnknown, and OutsideSilent when there is no answer to go by."""
        ...


class Lookup(Struct, frozen=True, kw_only=True):
    """`source`: PROVIDER when one answered, else CHECK_DIGIT, and then `name` is None."""

    bank: Bank
    number: str
    name: str | None
    source: Literal["CHECK_DIGIT", "PROVIDER"]
    at: datetime


class Paystack:
    """`GET /bank/resolve?account_number=…&bank_code=…` with a secret key; banks by their CBN code."""

    ADDRESS: ClassVar[str] = "https://api.paystack.co"

    def __init__(self, address: str, key: str, seconds: float) -> None:
        self._url = f"{address or self.ADDRESS}/bank/resolve"
        self._key = key
        self._seconds = seconds

    async def find(self, bank: Bank, number: str) -> Holder:
        answer = await ask_json(
            "GET",
            self._url,
            query={"account_number": number, "bank_code": bank.code},
            headers={"Authorization": f"Bearer {self._key}"},
            seconds=self._seconds,
        )
        return _holder(answer, is_good=lambda body: body.get("status") is True, number=number)


class Flutterwave:
    """`POST /v3/accounts/resolve` with a secret key; banks by three digits, others by their network code."""

    ADDRESS: ClassVar[str] = "https://api.flutterwave.com"

    def __init__(self, address: str, key: str, seconds: float) -> None:
        self._url = f"{address or self.ADDRESS}/v3/accounts/resolve"
        self._key = key
        self._seconds = seconds

    async def find(self, bank: Bank, number: str) -> Holder:
        code = bank.code if len(bank.code) == 3 else bank.nip or bank.code
        answer = await ask_json(
            "POST",
            self._url,
            json={"account_number": number, "account_bank": code},
            headers={"Authorization": f"Bearer {self._key}"},
            seconds=self._seconds,
        )
        return _holder(answer, is_good=lambda body: body.get("status") == "success", number=number)


PROVIDERS: dict[str, type[Paystack] | type[Flutterwave]] = {"paystack": Paystack, "flutterwave": Flutterwave}


def provider_of(settings: Any) -> HolderProvider | None:
    """The provider of `KASUWA_BANK_LOOKUP`; None without one."""
    kind = PROVIDERS.get(settings.bank_lookup)
    if kind is None:
        return None
    address = settings.bank_lookup_url.rstrip("/")
    return kind(address, settings.bank_lookup_key, settings.bank_lookup_seconds)


async def look_up(context: Context, bank: Bank, number: str) -> Lookup:
    """Who holds the account, whose check digit was found right. Never inside a transaction.

    A provider that does not answer makes it a look-up without a name. Raises NoSuchHolder, TooManyRequests.
    """
    holder: Holder | None = None
    provider = provider_of(context.services.settings)
    if provider is not None:
        await _spend(context)
        try:
            holder = await provider.find(bank, number)
        except HolderUnknown:
            raise NoSuchHolder(f"Compare the number and the bank: {bank.name} does not know it.") from None
        except OutsideSilent as silent:
            log.warning("bank.lookup_failed", reason=str(silent))
    return Lookup(
        bank=bank,
        number=number,
        name=None if holder is None else holder.name,
        source="CHECK_DIGIT" if holder is None else "PROVIDER",
        at=datetime.now(UTC),
    )


async def confirms(context: Context, bank: Bank, number: str, name: str) -> bool:
    """Whether the provider says that the account's holder has that name, whatever the order of its words."""
    assert not context.is_in_transaction, "a provider is asked before the transaction"
    try:
        found = await look_up(context, bank, number)
    except (NoSuchHolder, TooManyRequests):
        # Not confirmed, which is all that was asked: providers do not know every new account.
        return False
    return found.name is not None and _words(found.name) == _words(name)


def _words(name: str) -> list[str]:
    plain = "".join(mark if mark.isalnum() else " " for mark in folded(name))
    return sorted(plain.split())


def _holder(answer: OutsideAnswer, *, is_good: Callable[[dict[str, Any]], bool], number: str) -> Holder:
    body = answer.body if isinstance(answer.body, dict) else {}
    data = body.get("data")
    if answer.status == 200 and is_good(body) and isinstance(data, dict):
        name = data.get("account_name")
        # An answer about another account, or without a name, is none.
        if data.get("account_number") == number and isinstance(name, str) and name.strip():
            return Holder(" ".join(name.split())[:_MOST_NAME_CHARS])
        raise OutsideSilent("the answer is about something else")
    if answer.status in (400, 404, 422) and body:
        raise HolderUnknown()
    raise OutsideSilent(f"status {answer.status}")


async def _spend(context: Context) -> None:
    allowance = await context.services.limits.take(_QUOTA, f"{context.merchant_id}/{context.caller.user_id}")
    if not allowance.accepted:
        wait = max(1, round(allowance.resets_in_seconds))
        raise TooManyRequests(
            f"That many accounts were looked up: go on in {wait} s.", headers={"Retry-After": str(wait)}
        )
