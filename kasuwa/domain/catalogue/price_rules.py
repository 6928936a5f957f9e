"""What a price may be, and what a change makes of it. No database in here."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from kasuwa.base.money import to_minor
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.errors import PriceUnfit
from kasuwa.domain.catalogue.records import Price

_MOST_QUANTITY = Decimal(10) ** 12


class PriceWish(Struct, frozen=True, kw_only=True):
    """Amounts to change, in units of the currency; what is UNSET stays. `pointer` is where they were said."""

    pointer: str
    selling: Decimal | UnsetType = UNSET
    cost: Decimal | UnsetType = UNSET
    promo: Decimal | UnsetType | None = UNSET
    promo_starts_at: datetime | UnsetType | None = UNSET
    promo_ends_at: datetime | UnsetType | None = UNSET
    wholesale: Decimal | UnsetType | None = UNSET
    wholesale_min_quantity: Decimal | UnsetType | None = UNSET

    def fault(self, field: str, code: str, message: str) -> FieldFault:
        return FieldFault(f"{self.pointer}/{field}", code, message)

    def place_of(self, *fields: tuple[str, str]) -> str:
        """The first of these fields, as (ours, the caller's), that was sent."""
        return next((sent for own, sent in fields if getattr(self, own) is not UNSET), fields[0][1])


def changed_price(price: Price, wish: PriceWish, where: str = "") -> Price:
    """The price after the change. `where` tells whose price it is, when that is not plain from the request.

    Raises Invalid, PriceUnfit.
    """
    changed = msgspec.structs.replace(price, **(_promotion(price, wish) | _wholesale(price, wish)))
    amounts = {
        "selling_minor": _minor(wish.selling, wish, price.currency, "sellingPrice"),
        "cost_minor": _minor(wish.cost, wish, price.currency, "costPrice"),
    }
    changed = msgspec.structs.replace(changed, **{k: v for k, v in amounts.items() if v is not UNSET})
    if changed != price:
        _check_fit(changed, wish, where)
    return changed


def in_currency(price: Price, wish: PriceWish, currency: str) -> Price:
    """What a store's first price of its own begins with: the common one, unless it sells in other money."""
    if price.currency == currency:
        return price
    if wish.selling is UNSET:
        message = f"The common price is in {price.currency}: give this store's own in {currency}."
        raise Invalid(faults=[wish.fault("sellingPrice", "required", message)])
    return Price(currency=currency, selling_minor=0)


def without_cost(price: Price | None) -> Price | None:
    """What callers see who may not see costs."""
    return price and msgspec.structs.replace(price, cost_minor=None)


def _promotion(price: Price, wish: PriceWish) -> dict[str, object]:
    promo = _minor(wish.promo, wish, price.currency, "promoPrice")
    starts = _moment(wish.promo_starts_at, wish, "promoStartsAt")
    ends = _moment(wish.promo_ends_at, wish, "promoEndsAt")
    if promo is None or (promo is UNSET and price.promo_minor is None):
        for value, field in ((starts, "promoStartsAt"), (ends, "promoEndsAt")):
            if value is not None and value is not UNSET:
                raise Invalid(faults=[wish.fault(field, "not_allowed", "Give promoPrice with it.")])
        return {"promo_minor": None, "promo_starts_at": None, "promo_ends_at": None}
    wished = {"promo_minor": promo, "promo_starts_at": starts, "promo_ends_at": ends}
    return {name: value for name, value in wished.items() if value is not UNSET}


def _wholesale(price: Price, wish: PriceWish) -> dict[str, object]:
    wholesale = _minor(wish.wholesale, wish, price.currency, "wholesalePrice")
    least = wish.wholesale_min_quantity
    if wholesale is None or (wholesale is UNSET and price.wholesale_minor is None):
        if least is not None and least is not UNSET:
            fault = wish.fault("wholesaleMinQuantity", "not_allowed", "Give wholesalePrice with it.")
            raise Invalid(faults=[fault])
        return {"wholesale_minor": None, "wholesale_min_quantity": None}
    if least is not None and least is not UNSET:
        if least > _MOST_QUANTITY:
            fault = wish.fault("wholesaleMinQuantity", "maximum", "Give at most 1000000000000.")
            raise Invalid(faults=[fault])
        if least != round(least, 3):
            fault = wish.fault("wholesaleMinQuantity", "decimals", "Give at most three decimals.")
            raise Invalid(faults=[fault])
    wished = {"wholesale_minor": wholesale, "wholesale_min_quantity": least}
    return {name: value for name, value in wished.items() if value is not UNSET}


def _check_fit(price: Price, wish: PriceWish, where: str) -> None:
    """A promotion is cheaper and ends after it begins; who buys many does not pay more for each."""
    if price.promo_starts_at and price.promo_ends_at and price.promo_ends_at <= price.promo_starts_at:
        field = wish.place_of(("promo_ends_at", "promoEndsAt"), ("promo_starts_at", "promoStartsAt"))
        raise Invalid(faults=[wish.fault(field, "minimum", "A promotion must end after it starts.")])
    if price.promo_minor is not None and price.promo_minor >= price.selling_minor:
        field = wish.place_of(("promo", "promoPrice"), ("selling", "sellingPrice"))
        message = f"The promotion{where} must be below the selling price; null ends it."
        raise PriceUnfit(faults=[wish.fault(field, "maximum", message)])
    if price.wholesale_minor is not None and price.wholesale_minor > price.selling_minor:
        field = wish.place_of(("wholesale", "wholesalePrice"), ("selling", "sellingPrice"))
        message = f"The wholesale price{where} must not be above the selling price; null ends it."
        raise PriceUnfit(faults=[wish.fault(field, "maximum", message)])


def _minor(
    amount: Decimal | UnsetType | None, wish: PriceWish, currency: str, field: str
) -> int | UnsetType | None:
    if amount is None or amount is UNSET:
        return amount
    return to_minor(amount, currency, f"{wish.pointer}/{field}")


def _moment(at: datetime | UnsetType | None, wish: PriceWish, field: str) -> datetime | UnsetType | None:
    if at is None or at is UNSET:
        return at
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise Invalid(faults=[wish.fault(field, "range", "Give a time within the calendar.")]) from None
