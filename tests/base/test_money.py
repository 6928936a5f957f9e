"""Money in minor units: exact both ways, and refused where the currency has no such amount."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kasuwa.base.money import currencies, decimals, from_minor, to_minor
from kasuwa.base.problems import FieldFault, Invalid, Problem, Unavailable

DECIMALS = {"NGN": 2, "JPY": 0, "KWD": 3, "USD": 2, "XOF": 0}


@pytest.mark.parametrize(("currency", "expected"), DECIMALS.items())
def test_a_currency_has_its_decimals(currency: str, expected: int) -> None:
    assert decimals(currency) == expected
    assert currency in currencies()


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("500", "NGN", 50_000),
        ("350.5", "NGN", 35_050),
        ("0.01", "NGN", 1),
        ("-0.01", "NGN", -1),
        ("1E+3", "NGN", 100_000),
        ("500", "JPY", 500),
        ("500.0", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("1000000000000", "NGN", 10**14),
        ("0.000", "JPY", 0),
    ],
)
def test_an_amount_becomes_minor_units(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency, "/price") == minor


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        ("0.001", "NGN", "decimals"),
        ("1.5", "JPY", "decimals"),
        ("1.2345", "KWD", "decimals"),
        ("100.00000000000000000000000000001", "NGN", "decimals"),  # more digits than arithmetic keeps
        ("1E-400", "NGN", "decimals"),
        ("1000000000000.01", "NGN", "maximum"),
        ("-1000000000001", "NGN", "maximum"),
        ("1E+400", "NGN", "maximum"),
        ("NaN", "NGN", "maximum"),
        ("Infinity", "NGN", "maximum"),
    ],
)
def test_an_amount_that_the_currency_does_not_have_is_refused_not_rounded(
    amount: str, currency: str, code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        to_minor(Decimal(amount), currency, "/price")
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("/price", code)]


@given(st.integers(-(10**12), 10**12), st.sampled_from(sorted(DECIMALS)))
def test_minor_units_come_back_whole(minor: int, currency: str) -> None:
    amount = from_minor(minor, currency)
    assert to_minor(amount, currency, "") == minor
    # Never with an exponent, and without zeros at its end.
    assert "E" not in str(amount)
    assert "." not in str(amount) or not str(amount).endswith("0")


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12),
    st.sampled_from(sorted(DECIMALS)),
)
def test_what_is_accepted_is_exact(amount: Decimal, currency: str) -> None:
    try:
        minor = to_minor(amount, currency, "")
    except Invalid:
        assert round(amount, DECIMALS[currency]) != amount
    else:
        assert from_minor(minor, currency) == amount


# Problems ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pointer", "field"),
    [
        ("/prices/sellingPrice", "prices.sellingPrice"),
        ("#/query/page", "page"),
        ("#/path/itemid", "itemid"),
        ("#/header/Idempotency-Key", "Idempotency-Key"),
        ("", ""),
    ],
)
def test_a_fault_names_its_field(pointer: str, field: str) -> None:
    assert FieldFault(pointer, "code", "message").field == field


def test_a_problem_says_its_title_unless_it_has_more_to_say() -> None:
    assert str(Problem()) == Problem.title
    assert str(Problem("More.")) == "More."
    assert Unavailable(retry_after_seconds=7).headers == {"Retry-After": "7"}
