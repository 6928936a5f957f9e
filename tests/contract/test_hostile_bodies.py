"""Bodies that nobody sends in good faith: a clear refusal in the API's own words, and nothing written."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import UNSET

from kasuwa.database import DatabaseUrls
from tests.base.database import Connection, connected, superuser_url
from tests.client import Web
from tests.contract.bodies import FILES
from tests.contract.callers import right_caller
from tests.contract.cast import Cast, new_cast
from tests.contract.instances import leaves_of, with_leaf
from tests.contract.isolation import rows_of
from tests.contract.recipes import Call, Entry, built

READING = [entry for entry in built() if not entry.operation.body and not entry.writes]
WITH_BODY = [entry for entry in built() if entry.operation.body]
# Over the longest that any operation takes.
_TOO_LONG = b" " * (40 * 1024 * 1024 + 1)
_DEEP = 100_000
_MARK = "put it here"

# A raw JSON value in the place of a text, or of a number; what the last two may mean is the schema's to say.
_TEXTS = {"nul": '"a\\u0000b"', "surrogate": '"\\ud800"', "object": '{"a":1}'}
_NUMBERS = {"infinite": "1e400", "nan": "NaN", "text": '"one"'}
_PERHAPS = {"minus zero": "-0", "two to 63": str(2**63)}


def whole_bodies(good: bytes) -> dict[str, bytes]:
    """Spoilt as a whole."""
    return {
        "cut": good[:-2],
        "empty": b"",
        "blank": b"  ",
        "two": good + good,
        "byte order mark": b"\xef\xbb\xbf" + good,
        "not UTF-8": good.replace(b'":', b'\xff":', 1) if b'":' in good else b'["\xff"]',
        "UTF-16": good.decode().encode("utf-16"),
        "duplicate names": b'{"a":1,"a":2,' + good[1:] if good[:1] == b"{" else b'[{"a":1,"a":2}]',
        "deep": b"[" * _DEEP + b"]" * _DEEP,
        "deep names": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
        "array": b'[{"a": 1}, []]',
        "text": b'"text"',
        "number": b"7",
        "null": b"null",
        "true": b"true",
        "too long": _TOO_LONG,
    }


def spoilt_leaves(body: Any, texts: dict[str, str], numbers: dict[str, str]) -> dict[str, bytes]:
    """One leaf replaced by a raw JSON value."""
    found = {}
    for path, leaf in leaves_of(body):
        raws = texts if isinstance(leaf, str) else {} if isinstance(leaf, bool) else numbers
        for name, raw in raws.items():
            text = json.dumps(with_leaf(body, path, _MARK)).replace(json.dumps(_MARK), raw)
            found[f"{name} at {'/'.join(map(str, path))}"] = text.encode()
    return found


@pytest.fixture
async def superuser(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    async with connected(superuser_url(database_urls)) as connection:
        yield connection


@pytest.fixture(scope="session")
async def cast(web: Web) -> Cast:
    """The shop of all whose calls are refused or read."""
    return await new_cast(web.services)


async def good_call(web: Web, entry: Entry, cast: Cast) -> Call:
    return entry.call(cast).by(await right_caller(cast, web.services, entry.key))


async def send(web: Web, call: Call, content: bytes, media_type: str | None) -> httpx.Response:
    """The call with that body, checked against the contract."""
    other = msgspec.structs.replace(call, json=UNSET, content=content, media_type=media_type or "")
    options = other.request()
    if media_type is None:
        del options["headers"]["content-type"]
    return await web.call(options.pop("method"), options.pop("url"), **options)


@pytest.mark.parametrize("entry", WITH_BODY, ids=str)
async def test_a_hostile_body_is_refused_and_writes_nothing(
    web: Web, superuser: Connection, cast: Cast, entry: Entry
) -> None:
    call = await good_call(web, entry, cast)
    values = [1, 2, 3] if call.json is UNSET else call.json
    good = json.dumps(values).encode()
    before = await rows_of(superuser, cast)
    surely = {**whole_bodies(good), **spoilt_leaves(values, _TEXTS, _NUMBERS)}
    if not entry.operation.body_required:
        del surely["empty"]
    for name, content in surely.items():
        answer = await send(web, call, content, "application/json")
        assert answer.is_client_error, f"{name}: {answer.status_code} {answer.text[:300]}"
    for media_type in (
        "text/plain",
        "application/xml",
        "application/json/x",
        "nonsense",
        "multipart/mixed",
        None,
    ):
        answer = await send(web, call, good, media_type)
        assert answer.status_code in (400, 415), f"{media_type}: {answer.status_code} {answer.text[:300]}"
    assert await rows_of(superuser, cast) == before


@pytest.mark.parametrize("entry", [one for one in WITH_BODY if one.key not in FILES], ids=str)
async def test_odd_numbers_never_break_anything(web: Web, entry: Entry) -> None:
    call = await good_call(web, entry, await new_cast(web.services))
    for name, content in spoilt_leaves(call.json, {}, _PERHAPS).items():
        answer = await send(web, call, content, "application/json")
        assert answer.status_code < 500, f"{name}: {answer.text[:300]}"
    fresh = await new_cast(web.services)
    answer = await (await good_call(web, entry, fresh)).send(web)
    assert answer.is_success, f"the same call with nothing odd must work: {answer.text[:300]}"


@pytest.mark.parametrize("entry", READING, ids=str)
async def test_a_reading_call_does_not_mind_an_odd_content_type(web: Web, cast: Cast, entry: Entry) -> None:
    call = await good_call(web, entry, cast)
    plain = await call.send(web)
    call.headers["content-type"] = "application/x-nonsense; charset=klingon"
    odd = await call.send(web)
    assert plain.is_success
    assert odd.status_code == plain.status_code


async def test_rows_that_change_are_seen(web: Web, superuser: Connection) -> None:
    """The control: the same look at the rows tells a body that works from one that does not."""
    cast = await new_cast(web.services)
    entry = next(one for one in WITH_BODY if one.key == ("storeharmony", "createSimpleProduct"))
    before = await rows_of(superuser, cast)
    answer = await (await good_call(web, entry, cast)).send(web)
    assert answer.is_success
    after = await rows_of(superuser, cast)
    changed: Callable[[str], bool] = lambda table: before[table] != after[table]  # noqa: E731
    assert {"product", "variant", "audit_entry"} <= set(filter(changed, after))
