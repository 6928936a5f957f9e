"""Turn the schemas of an OpenAPI 3.1 contract into the source of msgspec Structs."""

import builtins
import keyword
import re
from typing import Any

Schema = dict[str, Any]

CHECK_ONLY = frozenset({"anyOf", "oneOf", "not", "if", "then", "else", "required", "dependentRequired"})
"""Keywords that say nothing about a field's type where they stand alone."""

KEYWORDS = frozenset(
    {
        "$ref",
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "minLength",
        "maxLength",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "format",
        "contentMediaType",
        "contentEncoding",
        "x-max-decimals",
    }
)
"""The keywords that the Structs or the checks beside them honour. Any other stops the generator."""

NOTES = frozenset({"description", "example", "examples", "readOnly", "writeOnly", "default"})
"""Keywords that say nothing about which values are good. Names that begin with x- are notes as well."""

FORMATS = frozenset(
    {
        "int32",
        "int64",
        "double",
        "password",
        "date-time",
        "date",
        "uuid",
        "email",
        "uri",
        "uri-reference",
        "binary",
        "byte",
    }
)
"""Formats that are honoured. double and password allow every number and text; binary is bytes in a form or a
raw body; byte (base64, also `contentEncoding`) is judged by the action that decodes it."""

_SCALARS = {"integer": "int", "boolean": "bool", "null": "None"}
_STRING_FORMATS = {
    "date-time": "DateTime",
    "date": "Date",
    "uuid": "Uuid",
    "binary": "bytes",
}
_TEXT_TYPES = ("Number", "str", "Annotated[str", "Date", "Uuid")
_META = {
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
    "minItems": "min_length",
    "maxItems": "max_length",
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
}
_META_OF = {
    "str": ("minLength", "maxLength", "pattern"),
    "int": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "list": ("minItems", "maxItems"),
}
_RESERVED = frozenset(dir(builtins)) - {"id", "type", "next", "min", "max", "sum", "format", "range"}
INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def integer_range(schema: Schema) -> tuple[int, int]:
    """What the format can hold; an integer without a format has 64 bits, as the database's."""
    return INTEGER_RANGES[schema.get("format", "int64")]


def pascal_case(name: str) -> str:
    """addItem, product_image_list, id:in -> AddItem, ProductImageList, IdIn."""
    return "".join(part[0].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name) if part)


def field_name(name: str) -> str:
    """A Python name for a JSON name; the JSON name itself where it can be one."""
    safe = re.sub(r"\W", "_", name)
    return safe + "_" if keyword.iskeyword(safe) or safe in _RESERVED or safe[0].isdigit() else safe


class Types:
    """Collects the source of one contract's types. `structs` and `aliases` are source by name."""

    def __init__(self, schemas: dict[str, Schema], with_defaults: frozenset[str]) -> None:
        self._schemas = schemas
        self._with_defaults = with_defaults
        self.structs: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        for name in sorted(schemas):
            self._define(name, schemas[name], with_default=name in with_defaults)

    def resolve(self, schema: Schema) -> Schema:
        """The schema itself, `$ref` followed."""
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def name_inline(self, name: str, schema: Schema, *, with_default: bool = False) -> str:
        """The type of a schema that stands in an operation; objects and choices get `name`."""
        if "$ref" in schema or not self._is_object(self.resolve(schema)):
            return self.annotate(schema, name, with_default=with_default)
        self._define(name, schema, with_default=with_default)
        return name

    def annotate(self, schema: Schema, hint: str, *, with_default: bool = False) -> str:
        """The type expression of a schema; `hint` names an object that has no name of its own."""
        if "$ref" in schema:
            return str(schema["$ref"].rsplit("/", 1)[1])
        if "const" in schema:
            return f"Literal[{schema['const']!r}]"
        if "enum" in schema:
            return "Literal[" + ", ".join(repr(value) for value in schema["enum"]) + "]"
        if "oneOf" in schema or "anyOf" in schema:
            choices = [one for one in _choices(schema) if not _is_check(one)]
            if choices and not self._is_object(schema):
                return self._union([self.annotate(one, hint) for one in choices], choices, hint)
        types = schema.get("type", "object" if self._is_object(schema) else None)
        if types is None:
            return "Any"
        if isinstance(types, str):
            return self._annotate_type(types, schema, hint, with_default)
        return self._union([self._annotate_type(one, schema, hint, with_default) for one in types], [], hint)

    def _union(self, parts: list[str], choices: list[Schema], hint: str) -> str:
        """msgspec reads at most one list, one object and one text-like type in a union."""
        unique = list(dict.fromkeys(parts))
        resolved = [self.resolve(choice) for choice in choices]
        if len(resolved) > 1 and all(choice.get("type") == "array" for choice in resolved):
            items = [self.annotate(choice["items"], hint + "Item") for choice in resolved]
            return f"list[{' | '.join(dict.fromkeys(items))}]"
        texts = [part for part in unique if part.startswith(_TEXT_TYPES)]
        return "Any" if len(texts) > 1 else " | ".join(unique)

    def _annotate_type(self, kind: str, schema: Schema, hint: str, with_default: bool) -> str:
        if kind == "object":
            if self._is_object(schema) and {"properties", "allOf", "oneOf", "anyOf"} & set(schema):
                name = hint + "Value" if hint in self._schemas else hint
                self._define(name, schema, with_default=with_default)
                return name
            extra = schema.get("additionalProperties")
            value = self.annotate(extra, hint + "Value") if isinstance(extra, dict) else "Any"
            return f"dict[str, {value}]"
        if kind == "array":
            items = schema.get("items", {})
            if "prefixItems" in schema:
                parts = [self.annotate(one, f"{hint}{i}") for i, one in enumerate(schema["prefixItems"])]
                return f"tuple[{', '.join(parts)}]"
            item = self.annotate(items, hint + "Item", with_default=with_default)
            return _with_meta("list", f"list[{item}]", schema)
        if kind == "number":
            return "Number"
        if kind == "string":
            special = _STRING_FORMATS.get(schema.get("format", ""))
            if special is None and schema.get("contentMediaType", "").startswith(("application/", "image/")):
                special = "bytes"
            return special or _with_meta("str", "str", schema)
        return _with_meta(_SCALARS[kind], _SCALARS[kind], schema)

    def _is_object(self, schema: Schema) -> bool:
        if schema.get("type") == "object" or "properties" in schema:
            return True
        parts = schema.get("allOf") or [one for one in _choices(schema) if not _is_check(one)]
        return bool(parts) and all(self._is_object(self.resolve(one)) for one in parts)

    def _define(self, name: str, schema: Schema, *, with_default: bool) -> None:
        flat = self._flatten(schema)
        if flat is None or not (flat["properties"] or flat["closed"]):
            self.aliases[name] = self.annotate(schema, name + "Choice")
            return
        # A default of one choice would make another choice invalid.
        source = self._struct(name, flat, with_default and not flat["has_choices"])
        known = self.structs.setdefault(name, source)
        assert known == source, f"two different objects would be named {name}: rename one operation or schema"

    def _flatten(self, schema: Schema) -> Schema | None:
        """One object with all properties: `allOf` joined, choices optional; None for what is no object."""
        if not self._is_object(schema):
            return None
        flat: Schema = {
            "properties": dict(schema.get("properties", {})),
            "required": list(schema.get("required", [])),
            "closed": schema.get("additionalProperties") is False,
            "description": schema.get("description"),
        }
        for part in schema.get("allOf", []):
            if _is_check(part):
                continue
            inner = self._flatten(self.resolve(part))
            assert inner is not None, f"allOf with something that is no object: {part}"
            flat["properties"] |= inner["properties"]
            flat["required"] += inner["required"]
            flat["closed"] = flat["closed"] or inner["closed"]
        choices = [one for one in _choices(schema) if not _is_check(one)]
        flat["has_choices"] = bool(choices)
        if choices:
            inners = [self._flatten(self.resolve(one)) for one in choices]
            assert all(inners), f"a choice between an object and something else: {schema}"
            self._join_choices(flat, [inner for inner in inners if inner])
        return flat

    def _join_choices(self, flat: Schema, inners: list[Schema]) -> None:
        for inner in inners:
            for key, value in inner["properties"].items():
                known = flat["properties"].setdefault(key, value)
                if self.annotate(known, "X") != self.annotate(value, "X"):
                    flat["properties"][key] = {"anyOf": [known, value]}
        shared = set.intersection(*(set(inner["required"]) for inner in inners))
        flat["required"] += sorted(shared)
        flat["closed"] = flat["closed"] or all(inner["closed"] for inner in inners)

    def _struct(self, name: str, flat: Schema, with_default: bool) -> str:
        options = ["frozen=True", "kw_only=True"] + ["forbid_unknown_fields=True"] * flat["closed"]
        lines = [f"class {name}(Struct, {', '.join(options)}):"]
        if flat.get("description"):
            lines.append(f'    """{_sentence(flat["description"])}"""\n')
        fields = [
            self._field(name, key, schema, key in flat["required"], with_default)
            for key, schema in flat["properties"].items()
        ]
        if not fields and len(lines) == 1:
            lines.append("    pass")
        return "\n".join(lines + fields)

    def _field(self, owner: str, key: str, schema: Schema, required: bool, with_default: bool) -> str:
        python_name = field_name(key)
        kind = self.annotate(schema, owner + pascal_case(key), with_default=with_default)
        rename = f"name={key!r}" if python_name != key else ""
        default = ""
        if not required:
            if with_default and "default" in schema and not isinstance(schema["default"], (list, dict)):
                default = _literal(schema)
            else:
                kind, default = f"{kind} | UnsetType", "UNSET"
        if rename:
            default = f"field({rename}{f', default={default}' if default else ''})"
        return f"    {python_name}: {kind}" + (f" = {default}" if default else "")

    def parameters(self, name: str, parameters: list[Schema]) -> None:
        """A Struct of query or path parameters: an absent one has its default, else None."""
        lines = [f"class {name}(Struct, frozen=True, kw_only=True):"]
        for parameter in parameters:
            key, schema = parameter["name"], parameter["schema"]
            python_name, kind = field_name(key), self.annotate(schema, name + pascal_case(key))
            resolved, default = self.resolve(schema), ""
            if "default" in resolved:
                default = _literal(resolved)
            elif not parameter.get("required"):
                kind, default = f"{kind} | None", "None"
            if python_name != key:
                default = f"field(name={key!r}{f', default={default}' if default else ''})"
            lines.append(f"    {python_name}: {kind}" + (f" = {default}" if default else ""))
        self.structs[name] = "\n".join(lines)


def _literal(schema: Schema) -> str:
    value = schema["default"]
    return f"Decimal({str(value)!r})" if schema.get("type") == "number" else repr(value)


def _choices(schema: Schema) -> list[Schema]:
    return list(schema.get("oneOf") or schema.get("anyOf") or [])


def _is_check(schema: Schema) -> bool:
    return not (set(schema) - CHECK_ONLY) or (set(schema) <= CHECK_ONLY | {"properties"} and "if" in schema)


def _with_meta(kind: str, expression: str, schema: Schema) -> str:
    facts = {_META[key]: schema[key] for key in _META_OF.get(kind, ()) if key in schema}
    if kind == "int":
        low, high = integer_range(schema)
        if "gt" not in facts:
            facts["ge"] = max(low, facts.get("ge", low))
        if "lt" not in facts:
            facts["le"] = min(high, facts.get("le", high))
    if not facts:
        return expression
    return f"Annotated[{expression}, Meta({', '.join(f'{key}={value!r}' for key, value in facts.items())})]"


def _sentence(text: str) -> str:
    line = " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")
    return line + " " if line.endswith('"') else line
