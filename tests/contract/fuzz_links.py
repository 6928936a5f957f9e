"""Links for the answers in an envelope, in which Schemathesis itself sees no thing that has an id.

A thing stands in `data` under its own name, and later calls name it by `{name}_id`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.contract.recipes import Entry

Json = dict[str, Any]


def links_of(entries: list[Entry]) -> dict[str, Json]:
    """For each operation whose answer has a thing in `data`: its links to the operations that name it."""
    return {
        maker.operation.operation_id: links for maker in entries if (links := _links_from(maker, entries))
    }


def _links_from(maker: Entry, entries: list[Entry]) -> Json:
    found = [link for thing in _things(maker) for link in _links(maker, thing, entries)]
    return {link["operationId"]: link for link in found}


def _links(maker: Entry, thing: str, entries: list[Entry]) -> Iterator[Json]:
    """To what names the thing, and besides it only what the maker's own path has named."""
    own = {name: f"$request.path.{name}" for name in _names(maker)}
    here = own | {f"{thing}_id": f"$response.body#/data/{thing}/id"}
    for user in entries:
        named = _names(user)
        if f"{thing}_id" in named and named <= here.keys():
            yield {
                "operationId": user.operation.operation_id,
                "parameters": {f"path.{name}": here[name] for name in sorted(named)},
            }


def _names(entry: Entry) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", entry.operation.path))


def _things(entry: Entry) -> list[str]:
    """The names in `data` under which something with an id stands."""
    data = _properties(entry, _content(entry).get("schema", {})).get("data", {})
    return [name for name, one in _properties(entry, data).items() if "id" in _properties(entry, one)]


def _content(entry: Entry) -> Json:
    answer = entry.contract.follow(entry.document["responses"].get("200", {}))
    content: Json = answer.get("content", {}).get("application/json", {})
    return content


def _properties(entry: Entry, schema: Mapping[str, Any]) -> Json:
    found: Json = entry.contract.follow(dict(schema)).get("properties", {})
    return found
