"""Hold each answer against the contract: `validate_answer` is called for every answer of every HTTP test."""

import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

import jsonschema_rs

from kasuwa.base.http.json_body import read_json
from kasuwa.base.http.openapi import load_contract
from kasuwa.base.problems import Malformed

ROOT = Path(__file__).parent.parent.parent
OPEN_OPERATIONS = "tests/contract/open_operations.txt"
DIALECTS = {
    "storeharmony": ("storeharmony",),
    "bigcommerce": ("bigcommerce",),
    "shoplazza": ("shoplazza", "shoplazza-enveloped"),
    "manage": ("manage",),
}
ERROR_SCHEMAS = {
    "storeharmony": ("application/problem+json", ("Problem",)),
    "bigcommerce": ("application/json", ("BcError", "BcErrorWithErrors")),
    "shoplazza": ("application/json", ("SlzErrors", "SlzError")),
    "shoplazza-enveloped": ("application/json", ("SlzEnvelopeError",)),
    "manage": ("application/problem+json", ("Problem",)),
}
"""The body of the answers that no operation documents: 404 (path), 405 (method), 501 (not built yet)."""

METHODS = ("get", "head", "post", "put", "patch", "delete")
_HEADER_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


class ContractAnswers:
    """The answers that one contract file allows. Each schema is compiled once, when first met."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self.name = name
        self.document = document
        self._bases = [re.compile(_pattern_of(server["url"])) for server in document["servers"]]
        paths = sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
        self._paths = [(re.compile(_pattern_of(path) + r"\Z"), item) for path, item in paths]
        self._validators: dict[tuple[int, bool], tuple[dict[str, Any], jsonschema_rs.Validator]] = {}

    def path_within(self, url_path: str) -> str | None:
        """The path after the server's base path; None for a path of another contract."""
        for base in self._bases:
            if found := base.match(url_path):
                return url_path[found.end() :]
        return None

    def validate(
        self,
        method: str,
        url_path: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        known_only: bool,
        is_open: bool,
    ) -> None:
        where = f"{self.name}: {method} {url_path} -> {status}"
        lowered = {name.lower(): text for name, text in headers.items()}
        item = self.find_path(self.path_within(url_path) or "/")
        verb = "get" if method == "HEAD" and "head" not in (item or {}) else method.lower()
        if item is None or verb not in item:
            expected = 404 if item is None else _status_of_unknown(self.name, method)
            if status != expected:
                _fail(
                    where,
                    f"the contract has no such {'path' if item is None else 'method'}: {expected} is due",
                )
            if status == 405 and "allow" not in lowered:
                _fail(where, "a 405 needs the header Allow")
            self._validate_error(where, method, lowered, body)
            return
        operation = item[verb]
        if method == "HEAD" and operation.get("x-safe") is False:
            if status != 405 or "allow" not in lowered:
                _fail(where, "HEAD must not do what this GET does: 405 with Allow is due")
            self._validate_error(where, method, lowered, body)
            return
        if status == 501 and is_open:
            self._validate_error(where, method, lowered, body)
            return
        answer = operation["responses"].get(str(status))
        if answer is None:
            known = ", ".join(operation["responses"])
            _fail(where, f"{operation['operationId']} documents only {known}")
        answer = self.follow(answer)
        self._validate_headers(where, answer.get("headers", {}), lowered)
        self._validate_body(where, method, answer.get("content"), lowered, body, known_only)

    def find_path(self, path: str) -> dict[str, Any] | None:
        plain = unquote(path) if "%2F" not in path.upper() else path
        # A path may be called with a slash at its end, or without the one that it has.
        for spelling in (plain, plain.rstrip("/"), f"{plain}/"):
            for pattern, item in self._paths:
                if pattern.match(spelling):
                    found: dict[str, Any] = item
                    return found
        return None

    def follow(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            target: Any = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            node = target
        return node

    def _validate_headers(self, where: str, documented: dict[str, Any], headers: Mapping[str, str]) -> None:
        for name, reference in documented.items():
            header, text = self.follow(reference), headers.get(name.lower())
            if text is None:
                if header.get("required"):
                    _fail(where, f"the header {name} is missing")
                continue
            value: Any = int(text) if _HEADER_NUMBER.fullmatch(text) else text
            if self.follow(header["schema"]).get("type") == "string":
                value = text
            self._report(f"{where}: header {name}", header["schema"], value, known_only=False)

    def _validate_body(
        self,
        where: str,
        method: str,
        content: dict[str, Any] | None,
        headers: Mapping[str, str],
        body: bytes,
        known_only: bool,
    ) -> None:
        if not content:
            if body:
                _fail(where, f"this answer has no body in the contract, {len(body)} bytes came")
            return
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in content:
            _fail(where, f"the content type is {media!r}, documented is {', '.join(content)}")
        if method == "HEAD":
            if body:
                _fail(where, "the answer to HEAD has a body")
        elif media.endswith("json"):
            self._report(where, content[media]["schema"], _read(where, body), known_only=known_only)
        elif not body:
            _fail(where, "the body is empty")

    def _validate_error(self, where: str, method: str, headers: Mapping[str, str], body: bytes) -> None:
        media, names = ERROR_SCHEMAS[self.name]
        self._validate_body(
            where, method, {media: {"schema": self._error_schema[names]}}, headers, body, False
        )

    @cached_property
    def _error_schema(self) -> dict[tuple[str, ...], dict[str, Any]]:
        _, names = ERROR_SCHEMAS[self.name]
        return {names: {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}}

    def _report(self, where: str, schema: dict[str, Any], value: Any, *, known_only: bool) -> None:
        validator = self.validator(schema, known_only=known_only)
        if not validator.is_valid(value):
            faults = [
                f"  at {'/'.join(map(str, error.instance_path)) or 'the top'}: {error.message[:300]}"
                for error in validator.iter_errors(value)
            ]
            _fail(where, "the value does not fit the schema\n" + "\n".join(faults[:10]))

    def validator(self, schema: dict[str, Any], *, known_only: bool) -> jsonschema_rs.Validator:
        """The compiled schema. `known_only` also refuses properties that the schema does not name."""
        key = (id(schema), known_only)
        if key not in self._validators:
            prepared = _prepare(schema, known_only, top=True, schemas=self._schemas)
            validator = jsonschema_rs.Draft202012Validator(
                prepared, registry=self._registry, validate_formats=True, offline=True
            )
            self._validators[key] = (schema, validator)  # The schema is kept, so that no other gets its id.
        return self._validators[key][1]

    @property
    def _schemas(self) -> dict[str, Any]:
        schemas: dict[str, Any] = self.document["components"]["schemas"]
        return schemas

    @cached_property
    def _registry(self) -> jsonschema_rs.Registry:
        """Each schema twice: as it is, and closed to what it does not name."""
        return jsonschema_rs.Registry(
            [
                (
                    _uri(known_only),
                    {
                        "$defs": {
                            name: _prepare(schema, known_only, top=False, schemas=self._schemas)
                            for name, schema in self._schemas.items()
                        }
                    },
                )
                for known_only in (False, True)
            ]
        )


def validate_answer(
    dialect: str,
    method: str,
    url_path: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    known_only: bool = True,
) -> None:
    """AssertionError, in words, when the answer is not what the contract promises.

    `url_path` is the path as it was called, base path included, without the query. A 404 for a path and a 405
    for a method that the contract does not have, and a 501 for an operation that is listed as not yet built,
    are promised by the server as a whole; a 500 never is. `known_only` refuses undocumented properties.
    """
    if status == 500:
        _fail(f"{dialect}: {method} {url_path}", f"the server broke: {body[:500]!r}")
    contracts = contracts_of(dialect)
    within = [contract for contract in contracts if contract.path_within(url_path) is not None]
    contract = within[0] if within else contracts[0]
    is_open = status == 501 and _is_open(dialect, contract, method, url_path)
    contract.validate(method, url_path, status, headers, body, known_only=known_only, is_open=is_open)


@cache
def contracts_of(dialect: str) -> tuple[ContractAnswers, ...]:
    """The contracts of an API that have a file."""
    paths = [(name, ROOT / "contract" / f"{name}.yaml") for name in DIALECTS[dialect]]
    return tuple(ContractAnswers(name, load_contract(path)) for name, path in paths if path.exists())


def open_operations() -> set[tuple[str, str]]:
    """The operations that are not built yet, as (dialect, operation id)."""
    return read_operations((ROOT / OPEN_OPERATIONS).read_text(encoding="utf-8"))


def read_operations(text: str) -> set[tuple[str, str]]:
    """A list of operations, one a line."""
    words = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {(dialect, operation_id) for dialect, operation_id in words}


def _is_open(dialect: str, contract: ContractAnswers, method: str, url_path: str) -> bool:
    item = contract.find_path(contract.path_within(url_path) or "/") or {}
    operation = item.get("get" if method == "HEAD" else method.lower(), {})
    return (dialect, operation.get("operationId")) in open_operations()


def _status_of_unknown(name: str, method: str) -> int:
    """405; but BigCommerce documents 501 for PATCH."""
    return 501 if name == "bigcommerce" and method == "PATCH" else 405


def _pattern_of(template: str) -> str:
    parts = re.split(r"(\{[^}]+\})", template)
    return "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)


def _prepare(schema: Any, known_only: bool, *, top: bool, schemas: dict[str, Any]) -> Any:
    """References into the registry; closed where a value stands, open where schemas are added together."""
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref":
            name = value.rsplit("/", 1)[1]
            out[key] = f"{_uri(known_only)}#/$defs/{name}"
        elif key == "properties":
            out[key] = {one: _value_schema(part, known_only, schemas) for one, part in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = _value_schema(value, known_only, schemas)
        elif key == "prefixItems":
            out[key] = [_value_schema(one, known_only, schemas) for one in value]
        elif key == "allOf":
            # Two parts may describe one property: then only the part written here closes its value.
            names = [_property_names(one, schemas) for one in value]
            closed = known_only and len(set().union(*names)) == sum(map(len, names))
            out[key] = [
                _prepare(one, closed if "$ref" in one else known_only, top=False, schemas=schemas)
                for one in value
            ]
        elif key in ("anyOf", "oneOf"):
            out[key] = [_prepare(one, known_only, top=False, schemas=schemas) for one in value]
        elif key not in ("example", "examples", "default", "description"):
            out[key] = value
    if top and known_only and _property_names(schema, schemas):
        out["unevaluatedProperties"] = False
    return out


def _value_schema(schema: Any, known_only: bool, schemas: dict[str, Any]) -> Any:
    return _prepare(schema, known_only, top=True, schemas=schemas)


def _property_names(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """The names that an object schema gives to its properties. A bare object has none."""
    if "$ref" in schema:
        return _property_names(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    names = set(schema.get("properties", ()))
    for key in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(key, ()):
            names |= _property_names(part, schemas)
    return names


def _uri(known_only: bool) -> str:
    return "urn:contract:closed" if known_only else "urn:contract:open"


def _read(where: str, body: bytes) -> Any:
    try:
        return read_json(body)
    except Malformed as error:
        _fail(where, f"the body is not good JSON: {error}")


def _fail(where: str, what: str) -> NoReturn:
    raise AssertionError(f"{where}: {what}")
