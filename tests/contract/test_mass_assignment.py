"""What the server decides cannot be sent: ids, versions and times in a body are refused or ignored."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from msgspec import UNSET

from kasuwa.base.ids import new_id
from kasuwa.database import DatabaseUrls
from tests.base.database import Connection, connected, superuser_url
from tests.client import Web
from tests.contract.bodies import BODIES
from tests.contract.callers import right_caller
from tests.contract.cast import Cast, new_cast
from tests.contract.columns import forgeries, switches, taken
from tests.contract.isolation import leaves, rows_of
from tests.contract.recipes import Call, Entry, built

Path = tuple[str | int, ...]
# A search that comes as a POST writes nothing, and its answer is not its body.
WRITING = [entry for entry in built() if not entry.operation.safe and entry.key in BODIES]


def opened(answer: httpx.Response, body: Any) -> Any:
    """The answer out of its envelope, so that it lies over the body."""
    value = answer.json()
    is_envelope = isinstance(value, dict) and "data" in value and "data" not in body
    return value["data"] if is_envelope and isinstance(value["data"], type(body)) else value


def server_owned(entry: Entry, answer: Any, body: Any) -> Iterator[tuple[Path, Any]]:
    """Path and value of each field of the answer that the body has no word for, objects within too."""
    schema = entry.body_schema()
    assert schema is not None
    yield from _owned(entry, schema, answer, body, ())


def _owned(entry: Entry, schema: Any, answer: Any, body: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(answer, list) and isinstance(body, list):
        items = entry.contract.follow(schema)["items"]
        yield from _owned(entry, items, answer[0], body[0], (*path, 0))
    properties = _properties(entry, schema)
    if not isinstance(answer, dict) or not isinstance(body, dict):
        return
    for name, value in answer.items():
        if name not in properties:
            yield (*path, name), value
        elif name in body:
            yield from _owned(entry, properties[name], value, body[name], (*path, name))


def _properties(entry: Entry, schema: Any) -> dict[str, Any]:
    schema = entry.contract.follow(schema)
    found = dict(schema.get("properties", {}))
    for part in (*schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        found |= _properties(entry, part)
    return found


def forged(value: Any) -> Any:
    """Another value of the same kind, which nothing else has."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return 987_654_321
    if isinstance(value, list):
        return [forged(one) for one in value[:1]] or [new_id().hex]
    if isinstance(value, dict):
        return {name: forged(one) for name, one in value.items()}
    if isinstance(value, str) and value[:4].isdecimal() and "T" in value:
        return "2001-02-03T04:05:06Z"
    return str(new_id())


def with_field(call: Call, path: Path, value: Any) -> None:
    target = call.json
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value


def at(value: Any, path: Path) -> Any:
    for step in path:
        if isinstance(step, int):
            value = value[step]
        else:
            value = value.get(step, UNSET) if isinstance(value, dict) else UNSET
    return value


async def find_taken(web: Web, entry: Entry, more: tuple[Path, ...] = ()) -> tuple[int, int, list[str]]:
    """How many fields were refused and how many ignored, and those that were taken. `more` are tried too."""
    cast = await new_cast(web.services)
    call = await _own_call(web, entry, cast)
    first = await call.send(web)
    assert first.is_success, first.text
    plain = opened(first, call.json)
    fields = [*server_owned(entry, plain, call.json), *((path, at(plain, path)) for path in more)]
    refused, ignored, taken = 0, 0, []
    for path, value in fields:
        if entry.key in _ONCE:
            cast = await new_cast(web.services)
        again = await _own_call(web, entry, cast)
        wanted = forged(value)
        with_field(again, path, wanted)
        answer = await again.send(web)
        if answer.status_code in (400, 422):
            refused += 1
            continue
        assert answer.is_success, f"{entry} {path}: {answer.text}"
        ignored += 1
        if _is_taken(at(opened(answer, again.json), path), wanted, value):
            taken.append(f"{entry}: {'.'.join(map(str, path))}")
    return refused, ignored, taken


# What works once for each shop: the picture or the link is gone then.
_ONCE = {
    ("storeharmony", "updateProductByItemId"),
    ("storeharmony", "verifyUserRegistrationFromWebsite"),
    ("manage", "confirmSecondFactor"),
    ("manage", "renewRecoveryCodes"),
    ("manage", "rotateAccessToken"),
    ("manage", "rotateDeveloperKey"),
}


async def _own_call(web: Web, entry: Entry, cast: Cast) -> Call:
    return entry.call(cast).by(await right_caller(cast, web.services, entry.key))


def _is_taken(now: Any, wanted: Any, before: Any) -> bool:
    if isinstance(wanted, bool | dict | list):
        return bool(now == wanted and now != before)
    return wanted in list(leaves(now)) if now is not UNSET else False


@pytest.mark.parametrize("entry", WRITING, ids=str)
async def test_what_the_server_decides_is_never_taken(web: Web, entry: Entry) -> None:
    refused, ignored, taken = await find_taken(web, entry)
    assert taken == []
    schema = entry.contract.follow(entry.body_schema() or {})
    if schema.get("additionalProperties") is False:
        assert ignored == 0, "the contract closes this body: unknown fields must be refused"
    assert refused + ignored > 0 or entry.operation.answer is None


async def test_a_field_that_is_taken_is_found(web: Web) -> None:
    entry = next(one for one in WRITING if one.key == ("bigcommerce", "updateProductImage"))
    _, _, taken = await find_taken(web, entry, more=(("description",),))
    assert taken == [f"{entry}: description"]


# Columns -------------------------------------------------------------------------------------------


def objects_in(entry: Entry, schema: Any, value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Path and schema of each object of the body whose fields the contract names."""
    schema = entry.contract.follow(schema)
    if isinstance(value, list) and value and "items" in schema:
        yield from objects_in(entry, schema["items"], value[0], (*path, 0))
    elif isinstance(value, dict) and (properties := _properties(entry, schema)):
        yield path, properties
        for name, one in value.items():
            if name in properties:
                yield from objects_in(entry, properties[name], one, (*path, name))


async def forge_columns(
    web: Web, database: Connection, entry: Entry, *, known: frozenset[str] = frozenset()
) -> tuple[int, list[str]]:
    """How many names were refused, and what the others have changed. `known` are tried although the body has
    a word for them."""
    other, plain = await new_cast(web.services), await new_cast(web.services)
    expected_answer = await (await _own_call(web, entry, plain)).send(web)
    assert expected_answer.is_success, expected_answer.text
    expected, others = await switches(database, plain), await rows_of(database, other)
    values = await forgeries(database, other)
    refused, changes = 0, []
    for path, properties in [*objects_in(entry, entry.body_schema(), entry.call(plain).json)]:
        cast = await new_cast(web.services)
        call = await _own_call(web, entry, cast)
        theirs = {name: one for name, one in values.items() if name not in properties or name in known}
        for name, value in theirs.items():
            with_field(call, (*path, name), value)
        before = await rows_of(database, cast)
        answer = await call.send(web)
        spot = f"{entry} at /{'/'.join(map(str, path))}"
        if answer.status_code in (400, 422):
            refused += len(theirs)
            expected_rows = before
            changes += [] if await rows_of(database, cast) == expected_rows else [f"{spot}: refused and kept"]
            continue
        assert answer.is_success, f"{spot}: {answer.status_code} {answer.text}"
        changes += [f"{spot}: {name}" for name in sorted(await taken(database, cast, theirs))]
        differing = {
            (table, name)
            for table, name, _ in (await switches(database, cast) - expected)
            + (expected - await switches(database, cast))
        }
        changes += [f"{spot}: switched {table}.{name}" for table, name in sorted(differing)]
    if await rows_of(database, other) != others:
        changes.append(f"{entry}: another merchant's rows")
    return refused, changes


@pytest.fixture
async def superuser(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    async with connected(superuser_url(database_urls)) as connection:
        yield connection


@pytest.mark.parametrize("entry", WRITING, ids=str)
async def test_no_column_is_written_by_its_name(web: Web, superuser: Connection, entry: Entry) -> None:
    """Every column of every table is sent in every object of the body, in both spellings."""
    _, changes = await forge_columns(web, superuser, entry)
    assert changes == []


async def test_the_columns_that_matter_are_among_those_that_are_sent(web: Web, superuser: Connection) -> None:
    values = await forgeries(superuser, await new_cast(web.services))
    assert values.keys() >= {
        "merchantId",
        "storeId",
        "userId",
        "role",
        "status",
        "emailVerifiedAt",
        "passwordHash",
        "extraPermissions",
        "onHand",
        "averageCost",
        "archived",
        "scopes",
        "customerId",
    }


async def test_a_column_that_is_written_by_its_name_is_found(web: Web, superuser: Connection) -> None:
    entry = next(one for one in WRITING if one.key == ("bigcommerce", "updateProduct"))
    _, changes = await forge_columns(web, superuser, entry, known=frozenset({"description"}))
    assert f"{entry} at /: description" in changes
