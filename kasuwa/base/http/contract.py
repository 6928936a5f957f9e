"""What a contract promises, as data, and how a request is read against it.

Each API has a generated `contract.py` with Structs, `OPERATIONS` and `CHECKS`. `CHECKS` holds the schemas of
everything that comes in; a body is read to plain values, checked by its schema, then turned into its Struct.
The check is complete: a Struct alone cannot say `anyOf`, `dependentRequired` or the range of a Decimal.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jsonschema_rs
import msgspec
from msgspec import Struct

from kasuwa.base.http.faults import describe, describe_conversion, pointer_to
from kasuwa.base.http.json_body import read_json
from kasuwa.base.problems import FieldFault, Invalid

T = TypeVar("T")

ALL_FAULTS_BYTES = 128 * 1024
"""A larger body is told its first fault only: finding all of them takes up to 1.5 s of CPU for each MB."""


class HeaderParameter(Struct, frozen=True, kw_only=True):
    """A header that an operation reads. Lengths in characters."""

    name: str
    required: bool = False
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None


class Operation(Struct, frozen=True, kw_only=True):
    """One operation of a contract. `path` begins after the server's base path.

    `security` is a list of alternatives, each the names of schemes needed together. `safe` says that the
    operation changes nothing. `body` gives the type for each media type; `answer` is the type of the JSON
    body that goes with `success_status`, None when there is none. `statuses` are all documented ones.
    """

    operation_id: str
    method: str
    path: str
    tags: tuple[str, ...] = ()
    security: tuple[tuple[str, ...], ...] = ()
    permission: str | None = None
    scope: str | None = None
    safe: bool = False
    idempotent: bool = False
    path_parameters: Any = None
    query: Any = None
    headers: tuple[HeaderParameter, ...] = ()
    body: Mapping[str, Any] = {}
    body_required: bool = False
    success_status: int = 200
    answer: Any = None
    answer_media: tuple[str, ...] = ()
    statuses: frozenset[int] = frozenset()

    def status_for(self, status: int) -> int:
        """The status to answer with: of 400 and 422 the one that is documented; 422 where no 409 is."""
        other = {400: 422, 422: 400, 409: 422}.get(status, status)
        return other if status not in self.statuses and other in self.statuses else status


class _MaxDecimals:
    """`x-max-decimals`: digits after the point, trailing zeros not counted."""

    def __init__(self, parent_schema: dict[str, Any], value: Any, schema_path: list[str | int]) -> None:
        self._limit = int(value)

    def validate(self, instance: Any) -> None:
        if isinstance(instance, Decimal) and instance != round(instance, self._limit):
            raise ValueError(f"Give at most {self._limit} digits after the point.")


class Checks:
    """The schemas of what comes in, compiled when first used.

    `source` is a JSON file of definitions by name; `names` says which definition stands for which type.
    """

    def __init__(self, source: Path, names: Mapping[Any, str]) -> None:
        self._source = source
        self._names = names
        self._validators: dict[Any, jsonschema_rs.Validator] = {}
        self._kinds: dict[Any, dict[str, tuple[str, bool]]] = {}

    @cached_property
    def _definitions(self) -> dict[str, Any]:
        definitions = msgspec.json.decode(self._source.read_bytes())
        assert isinstance(definitions, dict)
        return definitions

    @cached_property
    def _registry(self) -> jsonschema_rs.Registry:
        return jsonschema_rs.Registry([("urn:kasuwa:contract", {"$defs": self._definitions})])

    def validator(self, kind: Any) -> jsonschema_rs.Validator:
        """The compiled schema of the type. KeyError for a type that no operation reads."""
        found = self._validators.get(kind)
        if found is None:
            found = jsonschema_rs.Draft202012Validator(
                {"$ref": f"urn:kasuwa:contract#/$defs/{self._names[kind]}"},
                registry=self._registry,
                validate_formats=True,
                keywords={"x-max-decimals": _MaxDecimals},
                offline=True,
            )
            self._validators[kind] = found
        return found

    def parameters(self, kind: Any) -> dict[str, tuple[str, bool]]:
        """For each parameter its JSON type and whether it is a comma list."""
        found = self._kinds.get(kind)
        if found is None:
            properties = self._definitions[self._names[kind]]["properties"]
            found = {name: self._kind_of(schema) for name, schema in properties.items()}
            self._kinds[kind] = found
        return found

    def _kind_of(self, schema: dict[str, Any]) -> tuple[str, bool]:
        if "$ref" in schema:
            return self._kind_of(self._definitions[schema["$ref"].removeprefix("#/$defs/")])
        if schema.get("type") == "array":
            return self._kind_of(schema["items"])[0], True
        return schema.get("type", "string"), False


def decode(
    body: bytes, kind: type[T], checks: Checks, *, reshape: Callable[[Any], Any] = lambda values: values
) -> T:
    """The JSON body as a `kind`. Raises `Malformed` (400) or `Invalid` (422) with the faults.

    `reshape` turns spellings that an API also takes into the documented one, before the check.
    """
    return convert(reshape(read_json(body)), kind, checks, only_first=len(body) > ALL_FAULTS_BYTES)


def read_query(kind: type[T], pairs: Iterable[tuple[str, str]], checks: Checks) -> T:
    """The query, already percent-decoded, as a `kind`. Unknown names are ignored, a known one stands once.

    Nothing is guessed: an integer has only digits and a minus sign, a boolean is `true` or `false`.
    """
    shapes = checks.parameters(kind)
    values: dict[str, Any] = {}
    for name, text in pairs:
        shape = shapes.get(name)
        if shape is None:
            continue
        if name in values:
            _refuse(pointer_to([name], "#/query"), "duplicate", "Give this parameter once.")
        _check_text(text, pointer_to([name], "#/query"))
        json_type, is_list = shape
        if not is_list:
            values[name] = _read_text(text, json_type)
        else:
            values[name] = [_read_text(part, json_type) for part in text.split(",")] if text else []
    return convert(values, kind, checks, place="#/query")


def read_path(kind: type[T], texts: Mapping[str, str], checks: Checks) -> T:
    """The path's parameters, already percent-decoded, as a `kind`."""
    values: dict[str, Any] = {}
    for name, (json_type, _) in checks.parameters(kind).items():
        _check_text(texts[name], pointer_to([name], "#/path"))
        values[name] = _read_text(texts[name], json_type)
    return convert(values, kind, checks, place="#/path")


def check_headers(operation: Operation, headers: Mapping[str, str], *, secret: Iterable[str] = ()) -> None:
    """Check the documented headers; `headers` has lower-case names.

    `secret` names the headers that carry credentials: their absence is a 401, which is said elsewhere.
    """
    passed = {name.lower() for name in secret}
    for parameter in operation.headers:
        text = headers.get(parameter.name.lower())
        pointer = pointer_to([parameter.name], "#/header")
        if parameter.name.lower() in passed:
            continue
        if text is None:
            if parameter.required:
                _refuse(pointer, "required", "This header is missing.")
        elif parameter.min_length is not None and len(text) < parameter.min_length:
            _refuse(pointer, "too_short", f"Write at least {parameter.min_length} characters.")
        elif parameter.max_length is not None and len(text) > parameter.max_length:
            _refuse(pointer, "too_long", f"Write at most {parameter.max_length} characters.")
        elif parameter.pattern is not None and not _matches(parameter.pattern, text):
            _refuse(pointer, "pattern", f"This must match {parameter.pattern}.")


def encode(value: Any) -> bytes:
    """The JSON of an answer: Decimals as numbers, absent fields left out."""
    return _ENCODER.encode(value)


def convert(values: Any, kind: type[T], checks: Checks, *, place: str = "", only_first: bool = False) -> T:
    """Plain values, such as a form's, as a `kind`. Raises `Invalid` with the faults, or the first only."""
    validator = checks.validator(kind)
    if only_first:
        try:
            validator.validate(values)
        except jsonschema_rs.ValidationError as error:
            raise Invalid(faults=describe([error], place)) from None
    elif not validator.is_valid(values):
        raise Invalid(faults=describe(validator.iter_errors(values), place))
    _make_known(kind)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise Invalid(faults=(describe_conversion(error, place),)) from error


_known: set[type] = set()
_making_known = threading.Lock()


def _make_known(kind: type) -> None:
    """Have msgspec look at the type, and at those within it, before anybody uses it.

    It does so at the first use, and two threads that are both the first crash the process (msgspec 0.22).
    Long bodies are converted in threads.
    """
    if kind not in _known:
        with _making_known:
            msgspec.json.Decoder(kind)
            _known.add(kind)


_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,30})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?", re.ASCII)


def _read_text(text: str, json_type: str) -> Any:
    """The text as its JSON type; one that has another form stays a text, and the schema then refuses it."""
    if json_type == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if json_type == "number" and _NUMBER.fullmatch(text):
        return Decimal(text)
    if json_type == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _check_text(text: str, pointer: str) -> None:
    """No NUL, and no surrogates, which bad UTF-8 leaves behind."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        _refuse(pointer, "format", "This is not readable text: send UTF-8 without NUL characters.")


def _matches(pattern: str, text: str) -> bool:
    return (
        re.search(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern, text) is not None
    )


def _refuse(pointer: str, code: str, message: str) -> NoReturn:
    raise Invalid(faults=(FieldFault(pointer, code, message),))


_ENCODER = msgspec.json.Encoder(decimal_format="number")
