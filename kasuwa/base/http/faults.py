"""Say in plain words what a schema found wrong; the value itself is never repeated, it may be a secret."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec

from kasuwa.base.problems import FieldFault

FAULTS_MAX = 20
"""One answer names at most so many faults."""

_CODES = {
    "type": "type",
    "minLength": "too_short",
    "maxLength": "too_long",
    "minItems": "too_few",
    "maxItems": "too_many",
    "minProperties": "too_few",
    "maxProperties": "too_many",
    "minimum": "minimum",
    "exclusiveMinimum": "minimum",
    "maximum": "maximum",
    "exclusiveMaximum": "maximum",
    "multipleOf": "multiple_of",
    "pattern": "pattern",
    "enum": "enum",
    "const": "const",
    "uniqueItems": "unique",
    "format": "format",
    "anyOf": "any_of",
    "oneOf": "one_of",
    "not": "not_allowed",
    "falseSchema": "not_allowed",
    "x-max-decimals": "decimals",
}


def describe(errors: Iterable[jsonschema_rs.ValidationError], place: str = "") -> tuple[FieldFault, ...]:
    """The faults of `errors`, at most `FAULTS_MAX`; `place` stands before each pointer ("#/query")."""
    faults = (fault for error in errors for fault in _faults_of(error, place))
    return tuple(islice(dict.fromkeys(faults), FAULTS_MAX))


def pointer_to(path: Iterable[str | int], place: str = "") -> str:
    """A JSON pointer (RFC 6901) of the steps."""
    return place + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def describe_conversion(error: msgspec.ValidationError, place: str = "") -> FieldFault:
    """What the typed reading refused after the schema let it pass (a year 0000, a leap second)."""
    words, _, path = str(error).partition(" - at `$")
    steps = path.rstrip("`").replace("[", ".").replace("]", "").split(".")
    return FieldFault(pointer_to(steps[1:], place), "format", f"This value cannot be used: {words}.")


def _faults_of(error: jsonschema_rs.ValidationError, place: str) -> Iterator[FieldFault]:
    keyword, facts, path = error.kind.name, error.kind.as_dict(), error.instance_path
    if keyword == "required":
        yield FieldFault(pointer_to([*path, facts["property"]], place), "required", "This field is missing.")
    elif keyword == "additionalProperties":
        for name in facts["unexpected"]:
            yield FieldFault(
                pointer_to([*path, name], place), "unknown_field", "There is no such field here."
            )
    elif keyword in ("anyOf", "oneOf"):
        yield from _faults_of_choice(error, facts["context"], place)
    else:
        code = _CODES.get(keyword, "invalid")
        yield FieldFault(pointer_to(path, place), code, _message(keyword, facts))


def _faults_of_choice(
    error: jsonschema_rs.ValidationError, context: list[list[jsonschema_rs.ValidationError]], place: str
) -> Iterator[FieldFault]:
    """The faults of the choice that comes nearest say more than "none fits"."""
    own_path = error.instance_path
    near = [branch for branch in context if not any(_is_other_type(fault, own_path) for fault in branch)]
    if len(near) == 1 and near[0]:
        for fault in near[0]:
            yield from _faults_of(fault, place)
        return
    code, pointer = _CODES[error.kind.name], pointer_to(own_path, place)
    missing = [
        [fault.kind.as_dict()["property"] for fault in branch] for branch in near if _lacks_only(branch)
    ]
    if missing:
        choices = " or ".join(" and ".join(names) for names in missing)
        yield FieldFault(pointer, code, f"Give {choices}.")
    elif any(not branch for branch in context):
        yield FieldFault(pointer, code, "These fields exclude each other: give only one of them.")
    elif near:
        for fault in min(near, key=len):
            yield from _faults_of(fault, place)
    else:
        yield FieldFault(pointer, code, "This has none of the documented forms.")


def _is_other_type(fault: jsonschema_rs.ValidationError, path: list[str | int]) -> bool:
    return fault.kind.name == "type" and fault.instance_path == path


def _lacks_only(branch: list[jsonschema_rs.ValidationError]) -> bool:
    return bool(branch) and all(fault.kind.name == "required" for fault in branch)


_TYPE_WORDS = {"null": "null", "array": "an array", "object": "an object", "integer": "an integer"}


def _message(keyword: str, facts: dict[str, Any]) -> str:
    match keyword:
        case "type":
            return (
                f"This must be {' or '.join(_TYPE_WORDS.get(name, f'a {name}') for name in facts['types'])}."
            )
        case "minLength":
            return f"Write at least {facts['limit']} characters."
        case "maxLength":
            return f"Write at most {facts['limit']} characters."
        case "minItems" | "minProperties":
            return f"Give at least {facts['limit']}."
        case "maxItems" | "maxProperties":
            return f"Give at most {facts['limit']}."
        case "minimum":
            return f"Give {facts['limit']} or more."
        case "maximum":
            return f"Give {facts['limit']} or less."
        case "exclusiveMinimum":
            return f"Give more than {facts['limit']}."
        case "exclusiveMaximum":
            return f"Give less than {facts['limit']}."
        case "pattern":
            return f"This must match {facts['pattern']}."
        case "enum":
            return "Use one of: " + ", ".join(_plain(option) for option in facts["options"]) + "."
        case "const":
            return f"This must be {_plain(facts['expected_value'])}."
        case "uniqueItems":
            return "Give each value once."
        case "format":
            return f"This is not a valid {facts['format']}."
        case "x-max-decimals":
            return str(facts["message"])
        case _:
            return "This is not allowed here."


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
