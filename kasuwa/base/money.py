"""Money is an integer of minor units with its ISO 4217 currency; decimals exist at the edge alone."""

from decimal import Decimal
from functools import lru_cache

from babel.numbers import get_currency_precision, list_currencies

from kasuwa.base.problems import FieldFault, Invalid

# Beyond this no shop's price or total makes sense, and JSON readers begin to lose digits.
MOST = Decimal(10) ** 12


@lru_cache(maxsize=512)
def decimals(currency: str) -> int:
    """How many decimals an amount of the currency has: 2 for NGN, 0 for JPY, 3 for KWD."""
    return get_currency_precision(currency)


@lru_cache(maxsize=1)
def currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def to_minor(amount: Decimal, currency: str, pointer: str) -> int:
    """The amount in minor units; more decimals than the currency has are refused, not rounded."""
    if not amount.is_finite() or abs(amount) > MOST:
        raise Invalid(faults=[FieldFault(pointer, "maximum", "The amount is beyond 1000000000000.")])
    # Compared, not scaled: arithmetic would round digits beyond the context's 28 away unseen.
    rounded = round(amount, decimals(currency))
    if rounded != amount:
        raise Invalid(
            faults=[
                FieldFault(
                    pointer, "decimals", f"{currency} has {decimals(currency)} decimals; round the amount."
                )
            ]
        )
    return int(rounded.scaleb(decimals(currency)))


def is_beyond(minor: Decimal, currency: str) -> bool:
    """Whether a total in minor units is more than any may be. The database's move_stock() asks the same."""
    return minor > MOST.scaleb(decimals(currency))


def from_minor(minor: int, currency: str) -> Decimal:
    """The amount as a decimal, without zeros at its end."""
    scale = decimals(currency)
    whole, rest = divmod(minor, 10**scale)
    return Decimal(minor).scaleb(-scale).normalize() if rest else Decimal(whole)
