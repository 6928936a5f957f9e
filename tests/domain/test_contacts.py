"""Mail addresses and mobiles as people write them."""

import pytest

from kasuwa.domain.reference.contacts import find_mobile


@pytest.mark.parametrize(
    ("written", "country", "read"),
    [
        ("0803 123 4567", "NG", "+2348031234567"),
        ("+234 (0) 803-123-4567", "NG", "+2348031234567"),
        ("00234 803 123 4567", "GB", "+2348031234567"),
        ("024 412 3456", "GH", "+233244123456"),
        ("(212) 555-0123", "US", "+12125550123"),
        ("+2348031234567", "", "+2348031234567"),
        ("08031234567", "", None),
        ("0803", "NG", None),
        ("0803123456789012", "NG", None),
        ("call me", "NG", None),
    ],
)
def test_mobiles_are_read_as_the_country_dials_them(written: str, country: str, read: str | None) -> None:
    assert find_mobile(written, country) == read
