"""Good values pass through the Structs unharmed; bad ones are refused when the contract refuses them."""

import importlib
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from kasuwa.base.http.contract import Checks, decode, encode
from kasuwa.base.http.json_body import read_json
from kasuwa.base.http.openapi import load_contract
from kasuwa.base.problems import Invalid, Malformed
from tests.contract.harness import ROOT, contracts_of
from tests.contract.instances import Instances, oracle, spoil
from tests.contract.test_generated import PRESENT
from tools.contract_types import Schema

GOOD_VALUES = 3
SPOILT_VALUES_MAX = 60

DIFFERENCES = {
    "minimum": ("updateProductImage", {"product_id": -(2**63) - 1}),
    "maximum": ("updateProductImage", {"product_id": 2**63}),
    "decimals": ("payViaMerchantPOSTerminal", {"amount": 1.001}),
}
"""Codes with which we refuse what the independent validator accepts, each with such a change. Never the other
way. Integer formats are ranges for us and notes for it; an integer without a format has 64 bits here;
`x-max-decimals` is our own keyword."""


def module_of(name: str) -> ModuleType:
    package, module = PRESENT[name]
    return importlib.import_module(f"kasuwa.api.{package}.{module}")


def schemas_of(name: str) -> dict[str, Schema]:
    schemas: dict[str, Schema] = load_contract(ROOT / "contract" / f"{name}.yaml")["components"]["schemas"]
    return schemas


COMPONENTS = [(name, schema) for name in PRESENT for schema in schemas_of(name)]


def bodies_of(name: str) -> Iterable[tuple[str, Any, Schema]]:
    document = load_contract(ROOT / "contract" / f"{name}.yaml")
    for one in module_of(name).OPERATIONS.values():
        if "application/json" in one.body:
            body = document["paths"][one.path][one.method.lower()]["requestBody"]
            schema = body["content"]["application/json"]["schema"]
            yield one.operation_id, one.body["application/json"], schema


BODIES = [
    (name, operation_id, kind, schema) for name in PRESENT for operation_id, kind, schema in bodies_of(name)
]


def assert_kept(sent: Any, written: Any) -> None:
    """What was sent is there again; defaults may have come in, a time may be written otherwise."""
    if isinstance(sent, dict):
        for key, value in sent.items():
            assert key in written
            assert_kept(value, written[key])
    elif isinstance(sent, list):
        assert len(sent) == len(written)
        for one, other in zip(sent, written, strict=True):
            assert_kept(one, other)
    elif isinstance(sent, (int, float, Decimal)) and not isinstance(sent, bool):
        assert Decimal(str(sent)) == Decimal(str(written))
    elif isinstance(sent, str) and sent.startswith("2026-01-31T"):
        assert written.startswith("2026-01-31T")
    else:
        assert sent == written


@pytest.mark.parametrize(("name", "schema_name"), COMPONENTS)
def test_a_good_value_of_the_schema_passes_through_its_type(name: str, schema_name: str) -> None:
    schemas, schema = schemas_of(name), {"$ref": f"#/components/schemas/{schema_name}"}
    judge, kind = oracle(schemas, schema), getattr(module_of(name), schema_name)
    for value in Instances(schemas).good(schema, GOOD_VALUES):
        if (
            isinstance(value, dict)
            and "image_file" in value
            and schema_name.startswith("BcProductImageUpload")
        ):
            continue  # A form: its file is bytes, not JSON.
        written = read_json(encode(msgspec.json.decode(msgspec.json.encode(value), type=kind)))
        assert judge.is_valid(_as_floats(written)), list(judge.iter_errors(_as_floats(written)))
        assert_kept(value, written)


@pytest.mark.parametrize(("name", "operation_id", "kind", "schema"), BODIES)
def test_bodies_are_accepted_and_refused_as_the_contract_says(
    name: str, operation_id: str, kind: Any, schema: Schema
) -> None:
    schemas, checks = schemas_of(name), module_of(name).CHECKS
    judge, refused = oracle(schemas, schema), 0
    for value in Instances(schemas).good(schema, GOOD_VALUES):
        written = read_json(encode(decode(msgspec.json.encode(value), kind, checks)))
        assert_kept(value, written)
        for bad in _some(spoil(value), SPOILT_VALUES_MAX):
            codes = _refusal(json.dumps(bad).encode(), kind, checks)
            if judge.is_valid(bad):
                assert codes <= set(DIFFERENCES), (codes, bad)
            else:
                assert codes, (
                    "accepted against the contract",
                    bad,
                    [e.message for e in judge.iter_errors(bad)],
                )
                refused += 1
    assert refused > 0


def test_each_deliberate_difference_is_met() -> None:
    for code, (operation_id, change) in DIFFERENCES.items():
        name, _, kind, schema = next(one for one in BODIES if one[1] == operation_id)
        body = Instances(schemas_of(name)).good(schema, 1)[0] | change
        judge = oracle(schemas_of(name), schema)
        assert judge.is_valid(body), list(judge.iter_errors(body))
        assert _refusal(json.dumps(body).encode(), kind, module_of(name).CHECKS) == {code}


@pytest.mark.parametrize(("name", "schema_name"), COMPONENTS)
def test_the_answers_validator_judges_as_the_independent_one(name: str, schema_name: str) -> None:
    contract = next(
        one
        for dialect in ("storeharmony", "bigcommerce", "shoplazza", "manage")
        for one in contracts_of(dialect)
        if one.name == name
    )
    schemas, schema = schemas_of(name), {"$ref": f"#/components/schemas/{schema_name}"}
    judge = oracle(schemas, schema)
    ours, closed = contract.validator(schema, known_only=False), contract.validator(schema, known_only=True)
    for value in Instances(schemas).good(schema, GOOD_VALUES):
        assert ours.is_valid(value)
        assert closed.is_valid(value), [error.message for error in closed.iter_errors(value)]
        for bad in _some(spoil(value), SPOILT_VALUES_MAX):
            assert judge.is_valid(bad) == ours.is_valid(bad), bad


def _refusal(body: bytes, kind: Any, checks: Any) -> set[str]:
    try:
        decode(body, kind, checks)
    except Invalid as error:
        return {fault.code for fault in error.faults}
    except Malformed:
        return {"malformed"}
    return set()


def _some(values: Iterable[Any], limit: int) -> list[Any]:
    """At most `limit`, spread over all of them."""
    everything = list(values)
    return everything[:: max(1, len(everything) // limit)]


def _as_floats(value: Any) -> Any:
    """The independent validator does not know Decimal."""
    return msgspec.json.decode(encode(value))


def test_without_the_schemas_the_comparison_fails(tmp_path: Path) -> None:
    """The Structs alone take what the contract refuses: the comparison of verdicts would show it."""
    name, _, kind, schema = next(one for one in BODIES if one[1] == "updateProductPrices")
    blind = Checks(tmp_path / "blind.json", {kind: "Anything"})
    (tmp_path / "blind.json").write_text('{"Anything": {}}', encoding="utf-8")
    assert not oracle(schemas_of(name), schema).is_valid({})
    assert _refusal(b"{}", kind, blind) == set()
    assert _refusal(b"{}", kind, module_of(name).CHECKS) == {"any_of"}
