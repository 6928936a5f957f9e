"""What is not exactly one good JSON text is refused before a schema is asked."""

from decimal import Decimal
from typing import Any

import pytest

from kasuwa.base.http.json_body import DEPTH_MAX, read_json
from kasuwa.base.problems import Malformed


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"1.0", 1),
        (b"-0.0", 0),
        (b"1e2", 100),
        (b"12E-1", Decimal("1.2")),
        (b"1.10", Decimal("1.10")),
        (b"12345678901234567.891", Decimal("12345678901234567.891")),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'{"a": 1.0, "b": {"a": 1}}', {"a": 1, "b": {"a": 1}}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\u0000"', "\\u0000"),
        (b' [null, true, "a:b", "c:d"] ', [None, True, "a:b", "c:d"]),
    ],
)
def test_good_json_is_read_exactly(body: bytes, value: Any) -> None:
    found = read_json(body)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b"01",
        b"{'a': 1}",
        b"NaN",
        b"-Infinity",
        b"1 2",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\x01"',
        b'"\\u0000"',
        b'{"a\\u0000b": 1}',
        b'["\\\\u0000", "\\u0000"]',
        b'"\\ud800"',
        b'"\\udc00"',
        b'{"a": 1, "a": 1}',
        b'[{"b": {"a": 1, "c": 2, "\\u0061": 1}}]',
        b"1e401",
        b"1e-401",
        b"1e-999999999",
        b"1e999999999",
        b"1" * 5000,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_bad_json_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        read_json(body)
    assert refused.value.detail


def test_the_depth_is_counted_in_arrays_and_objects_together() -> None:
    deepest = b'{"a":[' * (DEPTH_MAX // 2) + b"1" + b"]}" * (DEPTH_MAX // 2)
    assert read_json(deepest)
    with pytest.raises(Malformed, match="levels deep"):
        read_json(b"[" + deepest + b"]")
    assert read_json(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501
