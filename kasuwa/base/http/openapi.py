"""Give out the contracts as they are: `GET /openapi/{name}.json`."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct


class OpenApiDocument(Struct, frozen=True):
    """The JSON of one contract with its strong ETag, quotes included."""

    body: bytes
    etag: str


@cache
def load_contract(path: Path) -> dict[str, Any]:
    """The contract as plain values, dates as text. Takes 0.6 s for the largest, once in a process."""
    with path.open("rb") as file:
        document = yaml.load(file, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    assert isinstance(document, dict), f"{path} is not an OpenAPI document"
    return document


@cache
def openapi_document(path: Path) -> OpenApiDocument:
    """The document to send; the same file gives the same ETag in every process."""
    body = msgspec.json.encode(load_contract(path))
    return OpenApiDocument(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class _Loader(yaml.CSafeLoader):
    """YAML reads 2026-01-31 as a date; JSON has none, and the examples mean text."""


def _text_of(loader: yaml.CSafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text_of)
