"""Bodies, queries, paths and headers are read exactly, and each fault is named."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, Struct, UnsetType, field

from kasuwa.base.http.contract import (
    ALL_FAULTS_BYTES,
    Checks,
    HeaderParameter,
    Operation,
    check_headers,
    decode,
    encode,
    read_path,
    read_query,
)
from kasuwa.base.http.faults import FAULTS_MAX
from kasuwa.base.problems import Invalid

PICTURE = {
    "type": "object",
    "required": ["alt"],
    "properties": {"alt": {"type": "string", "minLength": 1}, "a/b~c": {"type": "integer"}},
    "additionalProperties": False,
}
DEFINITIONS: dict[str, Any] = {
    "Picture": PICTURE,
    "Order": {
        "type": "object",
        "required": ["pictures"],
        "properties": {"pictures": {"type": "array", "items": {"$ref": "#/$defs/Picture"}}},
        "anyOf": [{"required": ["email"]}, {"required": ["mobile"]}],
    },
    "Query": {
        "type": "object",
        "properties": {
            "page": {"type": "integer", "minimum": 1, "maximum": 100},
            "price": {"type": "number"},
            "open": {"type": "boolean"},
            "day": {"type": "string", "format": "date-time"},
            "id:in": {"type": "array", "items": {"$ref": "#/$defs/Number"}},
        },
        "required": [],
    },
    "Number": {"type": "integer"},
    "Path": {
        "type": "object",
        "required": ["number"],
        "properties": {"number": {"type": "integer", "minimum": 1}},
    },
}


class Order(Struct, frozen=True, kw_only=True):
    pictures: list[dict[str, Any]]
    email: str | UnsetType = UNSET


class Query(Struct, frozen=True, kw_only=True):
    page: int = 1
    price: Any = None
    open: bool | None = None
    day: Any = None
    id_in: list[int] | None = field(name="id:in", default=None)


class NumberPath(Struct, frozen=True, kw_only=True):
    number: int


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Checks:
    source: Path = tmp_path_factory.mktemp("contract") / "schemas.json"
    source.write_text(json.dumps(DEFINITIONS), encoding="utf-8")
    return Checks(source, {Order: "Order", Query: "Query", NumberPath: "Path"})


def faults_of(error: Invalid) -> set[tuple[str, str]]:
    assert all(fault.message.endswith(".") for fault in error.faults)
    return {(fault.pointer, fault.code) for fault in error.faults}


def test_all_faults_of_a_body_are_named_with_their_places(checks: Checks) -> None:
    body = b'{"pictures": [{"alt": "a"}, {"alt": "", "x": 1}, {"a/b~c": 1.5}, 3]}'
    with pytest.raises(Invalid) as refused:
        decode(body, Order, checks)
    assert faults_of(refused.value) == {
        ("/pictures/1/alt", "too_short"),
        ("/pictures/1/x", "unknown_field"),
        ("/pictures/2/alt", "required"),
        ("/pictures/2/a~1b~0c", "type"),
        ("/pictures/3", "type"),
        ("", "any_of"),
    }
    choice = next(fault for fault in refused.value.faults if fault.code == "any_of")
    assert choice.message == "Give email or mobile."


def test_a_large_body_is_told_its_first_fault_only(checks: Checks) -> None:
    one = b'{"alt": ""}, '
    body = b'{"email": "a", "pictures": [' + one * (ALL_FAULTS_BYTES // len(one) + 1) + b'{"alt": "a"}]}'
    with pytest.raises(Invalid) as refused:
        decode(body, Order, checks)
    assert faults_of(refused.value) == {("/pictures/0/alt", "too_short")}
    with pytest.raises(Invalid) as refused:
        decode(body.replace(one, b"", 100), Order, checks)
    assert len(refused.value.faults) == FAULTS_MAX
    assert len(decode(body.replace(b'""', b'"b"'), Order, checks).pictures) > 1000


def test_absent_and_null_differ_and_whole_numbers_are_integers(checks: Checks) -> None:
    order = decode(b'{"pictures": [{"alt": "a", "a/b~c": 2.0}], "mobile": 1}', Order, checks)
    assert order.email is UNSET
    assert encode(order) == b'{"pictures":[{"alt":"a","a/b~c":2}]}'
    with pytest.raises(Invalid) as refused:
        decode(b'{"pictures": [], "email": null}', Order, checks)
    assert faults_of(refused.value) == {("/email", "format")}


def test_a_query_is_read_by_its_types(checks: Checks) -> None:
    pairs = [
        ("page", "7"),
        ("open", "true"),
        ("price", "1.50"),
        ("id:in", "1,2"),
        ("other", "x"),
        ("other", "y"),
    ]
    expected = Query(page=7, open=True, price=Decimal("1.50"), id_in=[1, 2])
    assert read_query(Query, pairs, checks) == expected
    assert read_query(Query, [], checks) == Query()
    assert read_query(Query, [("id:in", "")], checks).id_in == []


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        *(("page", text, "type") for text in ("1.0", " 1", "+1", "01", "1e1", "", "٣", "1_0", "true", "--1")),
        *(("open", text, "type") for text in ("yes", "True", "1", "on", "")),
        *(("price", text, "type") for text in ("1.", ".5", "1e5", "NaN", "0x1", "1,5")),
        ("page", "0", "minimum"),
        ("page", "9" * 31, "maximum"),
        ("day", "2026-01-31", "format"),
        ("day", "2026-01-31T09:30:00Z\0", "format"),
        ("day", "\udcff", "format"),
    ],
)
def test_a_query_guesses_nothing(name: str, text: str, code: str, checks: Checks) -> None:
    with pytest.raises(Invalid) as refused:
        read_query(Query, [(name, text)], checks)
    assert faults_of(refused.value) == {(f"#/query/{name}", code)}


def test_a_parameter_given_twice_is_refused(checks: Checks) -> None:
    with pytest.raises(Invalid) as refused:
        read_query(Query, [("page", "1"), ("page", "1")], checks)
    assert faults_of(refused.value) == {("#/query/page", "duplicate")}


def test_a_list_names_the_wrong_item(checks: Checks) -> None:
    with pytest.raises(Invalid) as refused:
        read_query(Query, [("id:in", "1,x")], checks)
    assert faults_of(refused.value) == {("#/query/id:in/1", "type")}


def test_a_path_is_read_by_its_types(checks: Checks) -> None:
    assert read_path(NumberPath, {"number": "12"}, checks).number == 12
    for text in ("0", "x", "1.0"):
        with pytest.raises(Invalid) as refused:
            read_path(NumberPath, {"number": text}, checks)
        assert {pointer for pointer, _ in faults_of(refused.value)} == {"#/path/number"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"token": "t", "key": "abc"}, None),
        ({"token": "t"}, None),
        ({"key": "abc"}, ("#/header/Token", "required")),
        ({"token": "t", "key": "abc\n"}, ("#/header/Key", "pattern")),
        ({"token": "", "key": "abc"}, ("#/header/Token", "too_short")),
        ({"token": "tttt"}, ("#/header/Token", "too_long")),
    ],
)
def test_headers_are_checked(headers: dict[str, str], expected: tuple[str, str] | None) -> None:
    operation = Operation(
        operation_id="a",
        method="GET",
        path="/a",
        statuses=frozenset({200, 422}),
        headers=(
            HeaderParameter(name="Token", required=True, min_length=1, max_length=3),
            HeaderParameter(name="Key", pattern="^[a-z]{3}$"),
        ),
    )
    if expected is None:
        check_headers(operation, headers)
        return
    with pytest.raises(Invalid) as refused:
        check_headers(operation, headers)
    assert faults_of(refused.value) == {expected}
    if expected[0] == "#/header/Token":
        check_headers(operation, {"key": "abc"}, secret=["token"])


def test_a_bad_request_has_the_status_that_the_operation_documents() -> None:
    both = Operation(operation_id="a", method="GET", path="/a", statuses=frozenset({200, 400, 422}))
    only_400 = Operation(operation_id="a", method="GET", path="/a", statuses=frozenset({200, 400}))
    only_422 = Operation(operation_id="a", method="GET", path="/a", statuses=frozenset({200, 422}))
    assert [both.status_for(400), both.status_for(422)] == [400, 422]
    assert [only_400.status_for(422), only_422.status_for(400)] == [400, 422]
    assert both.status_for(404) == 404
    assert [only_422.status_for(409), only_400.status_for(409)] == [422, 409]
