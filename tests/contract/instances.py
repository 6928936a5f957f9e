"""Make good values for a schema, and spoil them one at a time."""

import copy
import random
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import jsonschema
import jsonschema_rs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Schema = dict[str, Any]

TRIES = 400
DEPTH = 3
"""Optional fields are left out below this depth, unless told otherwise: some schemas contain themselves."""

_FORMATS = {
    "date-time": ["2026-01-31T09:30:00Z", "2026-01-31T09:30:00.250+01:00"],
    "date": ["2026-01-31", "2024-02-29"],
    "uuid": ["0198c7f2-5a10-7cc1-8d5e-2b1f4a6c9e01"],
    "email": ["ada@example.com", "b.o+shop@example.org"],
    "uri": ["https://example.com/a?b=c", "http://127.0.0.1:80/"],
    "uri-reference": ["/pictures/a.png", "https://example.com/a"],
    "byte": ["AAAA"],
    "binary": ["AAAA"],
}


def oracle(schemas: dict[str, Schema], schema: Schema) -> Any:
    """An independent validator of the schema, but for formats: there it would know only half of ours."""
    return _Oracle({**schema, "components": {"schemas": schemas}}, format_checker=_FORMAT_CHECKER)


def _match(_: Any, pattern: str, text: Any, __: Schema) -> Iterator[jsonschema.ValidationError]:
    """`$` is the very end in JSON Schema; in Python it also stands before a last line feed."""
    if isinstance(text, str) and not re.search(_exact(pattern), text):
        yield jsonschema.ValidationError("the pattern does not match")


def _exact(pattern: str) -> str:
    return pattern.removesuffix("$") + (r"\Z" if pattern.endswith("$") else "")


def _format_checker() -> jsonschema.FormatChecker:
    checker = jsonschema.FormatChecker(())
    for name in ("date-time", "date", "uuid", "email", "uri", "uri-reference"):
        judge = jsonschema_rs.Draft202012Validator({"format": name}, validate_formats=True)
        checker.checks(name)(judge.is_valid)
    return checker


_FORMAT_CHECKER = _format_checker()
_extend: Any = jsonschema.validators.extend  # It has no types.
_Oracle: Any = _extend(jsonschema.Draft202012Validator, {"pattern": _match})


@cache
def texts_like(pattern: str) -> list[str]:
    """Some texts that match; `$` is the very end, not the place before a last line feed."""
    found: list[str] = []

    @settings(
        max_examples=12,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.from_regex(
            _exact(pattern),
            alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]),
        )
    )
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return sorted(set(found))


def leaves_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Each place that holds no object or list, and what it holds."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves_of(one, (*path, name))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from leaves_of(one, (*path, place))
    else:
        yield path, value


def with_leaf(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy with another value in that place."""
    if not path:
        return new
    other = copy.deepcopy(value)
    target = other
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = new
    return other


class Instances:
    """Values of one contract's schemas, the same ones in each run."""

    def __init__(self, schemas: dict[str, Schema], seed: int = 7, depth: int = DEPTH) -> None:
        self._schemas = schemas
        self._depth = depth
        self._random = random.Random(seed)
        self._share = 0.5

    def good(self, schema: Schema, count: int) -> list[Any]:
        """`count` values that the independent validator accepts."""
        judge, found = oracle(self._schemas, schema), list[Any]()
        for attempt in range(TRIES):
            self._share = (0.0, 0.4, 1.0, 0.7)[attempt % 4]
            value = self._value(schema, 0)
            if judge.is_valid(value):
                found.append(value)
            if len(found) == count:
                return found
        raise AssertionError(f"only {len(found)} of {count} good values in {TRIES} tries: {schema}")

    def leaves(self, schema: Schema) -> Iterator[tuple[tuple[str | int, ...], Any]]:
        """Every place of some good values that holds no object or list, once, with a value that has it."""
        seen = set()
        for value in self.good(schema, 24):
            for path, _ in leaves_of(value):
                if path not in seen:
                    seen.add(path)
                    yield path, value

    def resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def _value(self, schema: Schema, depth: int) -> Any:
        schema = self.resolve(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        choices = [one for one in _choices(schema) if set(one) - {"required", "not"}]
        if "properties" in schema or "allOf" in schema or schema.get("type") == "object":
            return self._object(schema, depth)
        if choices:
            return self._value(self._random.choice(choices), depth)
        kinds = schema.get("type", "string")
        return self._scalar(self._random.choice(kinds) if isinstance(kinds, list) else kinds, schema, depth)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for part in map(self.resolve, schema.get("allOf", [])):
            # The others only say which properties go together.
            if "properties" in part or "allOf" in part:
                made |= self._value(part, depth)
        for key, one in schema.get("properties", {}).items():
            optional = self._random.random() < (self._share if depth < self._depth else 0)
            if key in schema.get("required", []) or optional:
                made[key] = self._value(one, depth + 1)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            made["extra"] = self._value(extra, depth + 1)
        return made

    def _scalar(self, kind: str, schema: Schema, depth: int) -> Any:
        if kind == "array":
            return self._array(schema, depth)
        if kind == "integer":
            low, high = schema.get("minimum", -5), schema.get("maximum", schema.get("minimum", 0) + 1000)
            return self._random.choice([low, high, self._random.randint(low, high)])
        if kind == "number":
            low = float(schema.get("minimum", -1000) if "exclusiveMinimum" not in schema else 0.01)
            high = float(min(schema.get("maximum", 10**6), 10**6))
            return float(round(Decimal(self._random.uniform(low, high)), 2))
        if kind == "string":
            return self._text(schema)
        return {"boolean": self._random.random() < 0.5, "null": None, "object": {}}[kind]

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self._value(one, depth + 1) for one in schema["prefixItems"]]
        low = schema.get("minItems", 0)
        length = max(low, self._random.randint(0, 2) if depth < self._depth else 0)
        made: list[Any] = []
        for _ in range(length * 5):
            value = self._value(schema.get("items", {}), depth + 1)
            if len(made) < length and not (schema.get("uniqueItems") and value in made):
                made.append(value)
        return made

    def _text(self, schema: Schema) -> str:
        if schema.get("format") in _FORMATS:
            return self._random.choice(_FORMATS[schema["format"]])
        low, high = schema.get("minLength", 0), min(schema.get("maxLength", 12), 40)
        if "pattern" in schema:
            fitting = [
                one
                for one in texts_like(schema["pattern"])
                if low <= len(one) <= schema.get("maxLength", 400)
            ]
            assert fitting, f"no text for {schema}"
            return self._random.choice(fitting)
        length = self._random.randint(low, max(low, high))
        return "".join(self._random.choice("abcÉß漢😀 -09") for _ in range(length))


def _choices(schema: Schema) -> list[Schema]:
    return list(schema.get("oneOf") or schema.get("anyOf") or [])


def spoil(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Any]:
    """Copies of the value, each with one change that a schema may well refuse."""
    if isinstance(value, dict):
        yield {**value, "noSuchField": 1}
        for key, one in value.items():
            yield {name: kept for name, kept in value.items() if name != key}
            for bad in spoil(one, (*path, key)):
                yield {**value, key: bad}
    elif isinstance(value, list):
        yield [*value, *value]
        yield []
        if value and not isinstance(value[0], (dict, list)):
            yield value[:1] * 1001
        if value:
            for bad in spoil(value[0], (*path, 0)):
                yield [bad, *value[1:]]
    else:
        yield from _spoil_scalar(value)
    others: tuple[Any, ...] = (None, True, "text", 7, 1.5, [], {})
    for other in others:
        if type(other) is not type(value):
            yield other


def _spoil_scalar(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        yield from ("", value + "\n", value * 500 + "x", "no such word", value.upper(), " " + value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from (-value - 1, value + 0.001, 10**15, -(10**15), 2**31, 2**63, 0, float(int(value)))
