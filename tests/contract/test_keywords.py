"""No schema keyword and no format of any contract goes unheeded."""

import json
from pathlib import Path
from typing import Any

import pytest

from kasuwa.base.http.contract import Checks, decode
from kasuwa.base.http.openapi import load_contract
from kasuwa.base.problems import Invalid
from tests.contract.harness import ROOT
from tools.contract_types import FORMATS, KEYWORDS
from tools.generate_contracts import find_schemas, find_unhandled, prepare

CONTRACTS = sorted((ROOT / "contract").glob("*.yaml"))

REQUIRES_A = {"required": ["a"]}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "$ref": ({"$ref": "#/components/schemas/Other"}, "1", '"1"'),
    "type": ({"type": "integer"}, "1.0", "1.5"),
    "enum": ({"enum": ["a", 1]}, '"a"', '"b"'),
    "const": ({"const": True}, "true", "1"),
    "properties": ({"properties": {"a": {"type": "null"}}}, '{"a": null}', '{"a": 1}'),
    "required": (REQUIRES_A, '{"a": 1}', "{}"),
    "additionalProperties": (
        {"properties": {"a": {}}, "additionalProperties": False},
        '{"a": 1}',
        '{"b": 1}',
    ),
    "items": ({"items": {"type": "boolean"}}, "[true]", "[1]"),
    "prefixItems": ({"prefixItems": [{"type": "string"}], "items": False}, '["a"]', '["a", 1]'),
    "allOf": ({"allOf": [REQUIRES_A, {"required": ["b"]}]}, '{"a": 1, "b": 1}', '{"a": 1}'),
    "anyOf": ({"anyOf": [REQUIRES_A, {"required": ["b"]}]}, '{"a": 1, "b": 1}', "{}"),
    "oneOf": ({"oneOf": [REQUIRES_A, {"required": ["b"]}]}, '{"a": 1}', '{"a": 1, "b": 1}'),
    "not": ({"not": REQUIRES_A}, "{}", '{"a": 1}'),
    "if": ({"if": REQUIRES_A, "then": {"required": ["b"]}}, "{}", '{"a": 1}'),
    "then": ({"if": REQUIRES_A, "then": {"required": ["b"]}}, '{"a": 1, "b": 1}', '{"a": 1}'),
    "else": ({"if": REQUIRES_A, "else": {"required": ["b"]}}, '{"b": 1}', "{}"),
    "dependentRequired": ({"dependentRequired": {"a": ["b"]}}, "{}", '{"a": 1}'),
    "minLength": ({"minLength": 2}, '"éé"', '"é"'),
    "maxLength": ({"maxLength": 1}, '"😀"', '"😀😀"'),
    "pattern": ({"pattern": "^a$"}, '"a"', '"a\\n"'),
    "minimum": ({"minimum": 2}, "2", "1.999999999999999999999"),
    "maximum": ({"maximum": 2}, "2.0", "2.000000000000000000001"),
    "exclusiveMinimum": ({"exclusiveMinimum": 0}, "0.000000000000000000001", "0.0"),
    "exclusiveMaximum": ({"exclusiveMaximum": 1}, "0.99", "1"),
    "minItems": ({"minItems": 1}, "[1]", "[]"),
    "maxItems": ({"maxItems": 1}, "[1]", "[1, 2]"),
    "uniqueItems": ({"uniqueItems": True}, "[1, 2]", "[1, 1.0]"),
    "minProperties": ({"minProperties": 1}, '{"a": 1}', "{}"),
    "maxProperties": ({"maxProperties": 1}, '{"a": 1}', '{"a": 1, "b": 1}'),
    "x-max-decimals": ({"x-max-decimals": 2}, "1.100", "1.001"),
    "format int32": ({"type": "integer", "format": "int32"}, "2147483647", "2147483648"),
    "format int64": ({"type": "integer", "format": "int64"}, "-9223372036854775808", "9223372036854775808"),
    "format date-time": ({"format": "date-time"}, '"2026-01-31T09:30:00+01:00"', '"2026-01-31T09:30:00"'),
    "format date": ({"format": "date"}, '"2024-02-29"', '"2026-02-29"'),
    "format uuid": (
        {"format": "uuid"},
        '"0198c7f2-5a10-7cc1-8d5e-2b1f4a6c9e01"',
        '"0198c7f25a107cc18d5e2b1f4a6c9e01"',
    ),
    "format email": ({"format": "email"}, '"ada@example.com"', '"ada at example.com"'),
    "format uri": ({"format": "uri"}, '"https://example.com/a"', '"example.com a"'),
    "format uri-reference": ({"format": "uri-reference"}, '"/a/b"', '"a b"'),
}
"""For each keyword and format a schema, a value that it allows and one that it refuses."""

NOT_REFUSING = {
    "format double": "every JSON number is one; its range is said by minimum and maximum",
    "format password": "a hint for forms; every text is one",
    "format binary": "a raw body or a part of a form, never JSON",
    "format byte": "base64 is judged by the action that decodes it, which also joins the pieces",
    "contentEncoding": "the same base64",
    "contentMediaType": "the media type of a raw body or of a part of a form",
    "format": "each format has its own line",
}


def checks_of(schema: dict[str, Any], folder: Path) -> Checks:
    source = folder / "schemas.json"
    source.write_text(json.dumps({"Sent": prepare(schema), "Other": {"type": "integer"}}), encoding="utf-8")
    return Checks(source, {object: "Sent"})


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda path: path.stem)
def test_each_keyword_of_the_contract_is_handled(path: Path) -> None:
    document = load_contract(path)
    assert find_unhandled(document) == set()
    assert sum(1 for _ in find_schemas(document)) > 20


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"propertyNames": {"maxLength": 3}}, "propertyNames"),
        ({"items": {"contains": {"const": 1}}}, "contains"),
        ({"allOf": [{"properties": {"a": {"multipleOf": 5}}}]}, "multipleOf"),
        ({"type": "string", "format": "ipv4"}, "format ipv4"),
        ({"if": {"typo": 1}}, "typo"),
    ],
)
def test_a_keyword_that_nothing_handles_is_found_wherever_it_stands(
    schema: dict[str, Any], word: str
) -> None:
    good: dict[str, Any] = {"type": "object"}
    media = {"application/json": {"schema": schema}}
    in_a_component = {"components": {"schemas": {"A": schema}}, "paths": {}}
    in_a_body = {
        "components": {"schemas": {"A": good}},
        "paths": {"/a": {"post": {"requestBody": {"content": media}}}},
    }
    in_a_query = {
        "components": {"schemas": {}},
        "paths": {"/a": {"parameters": [{"name": "q", "schema": schema}]}},
    }
    for document in (in_a_component, in_a_body, in_a_query):
        assert find_unhandled(document) == {word}


def test_each_handled_keyword_is_proved_or_says_why_not() -> None:
    handled = KEYWORDS | {f"format {name}" for name in FORMATS}
    assert set(REFUSED) | set(NOT_REFUSING) == handled
    assert not set(REFUSED) & set(NOT_REFUSING)


@pytest.mark.parametrize("word", REFUSED)
def test_a_body_against_the_keyword_is_refused(word: str, tmp_path: Path) -> None:
    schema, good, bad = REFUSED[word]
    checks = checks_of(schema, tmp_path)
    checks.validator(object)
    assert checks.validator(object).is_valid(json.loads(good))
    with pytest.raises(Invalid) as refused:
        decode(bad.encode(), object, checks)
    assert refused.value.faults
