"""Quantities as every API writes them."""

from decimal import Decimal


def plain(quantity: Decimal) -> Decimal:
    """Without zeros at its end, and never with an exponent."""
    return quantity.quantize(Decimal(1)) if quantity == quantity.to_integral_value() else quantity.normalize()
