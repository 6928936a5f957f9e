"""What callers send stays out of logs, metrics and error bodies: when it works, fails and crashes."""

import copy
import inspect
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog
from msgspec import UNSET

from kasuwa.app import APIS
from kasuwa.base.http import logs, metrics
from kasuwa.base.http.api import Handler, Registered
from kasuwa.base.ids import new_id
from kasuwa.handover import WorkerSetup
from tests.client import Web, running_web
from tests.contract.callers import Caller, right_caller
from tests.contract.cast import Cast, new_cast
from tests.contract.instances import Instances, leaves_of, with_leaf
from tests.contract.leaves import HEADERS
from tests.contract.recipes import Call, Entry, built

CANARIES = (
    "zqCanary-Tr0ub4dor-and-3",  # a password
    "zqCanaryToken_9fK2mQ7xLw4RtY8uZb3VnC6pHs1Jd5Ge0Aa",
    "739164",  # a code
    "5399831234567890",  # a card
    "22212345678",  # a BVN
    "zq.canary@leak.example",
    "+2348099911223",
    "2190463754",  # a bank account
)
_SENT_HEADERS = ("User-Agent", "Referer", "Cookie", "X-Forwarded-For", "If-None-Match")
_SECRET_NAMES = ("password", "token", "code", "pan", "bvn", "email", "note", "userBankAccNo")


def with_canaries(call: Call) -> Iterator[Call]:
    """The call with canaries for each leaf of its body, for unknown fields, for its query and its ids."""
    entry = call.entry
    if isinstance(call.json, dict | list):
        # In a body that works a canary goes far; in one that has every field it has been everywhere.
        for place, (path, body) in enumerate(chain(_leaves_of(call.json), every_leaf(entry))):
            other = copy.copy(call)
            other.json = with_leaf(body, path, CANARIES[place % len(CANARIES)])
            yield other
        if isinstance(call.json, dict):
            other = copy.copy(call)
            other.json = {**call.json, **dict(zip(_SECRET_NAMES, CANARIES, strict=True))}
            yield other
    for place, parameter in enumerate([*entry.parameters("query"), {"name": "unknown"}]):
        other = copy.copy(call)
        other.query = {**call.query, parameter["name"]: CANARIES[place % len(CANARIES)]}
        yield other
    for place, name in enumerate(call.path):
        other = copy.copy(call)
        other.path = {**call.path, name: CANARIES[place % len(CANARIES)]}
        yield other
    other = copy.copy(call)
    other.headers = {**call.headers, **dict.fromkeys(HEADERS.values(), CANARIES[1])}
    yield other
    if entry.operation.body:
        raw = json.dumps(dict(zip(_SECRET_NAMES, CANARIES, strict=True)))
        yield msgspec.structs.replace(call, json=UNSET, content=raw[:-1].encode())
        yield msgspec.structs.replace(call, json=UNSET, content=raw.encode(), media_type="text/plain")


def _leaves_of(body: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    return ((path, body) for path, _ in leaves_of(body))


def every_leaf(entry: Entry, *, depth: int = 6) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Each field of the body's schema down to that depth, with a body that has it."""
    schemas = entry.contract.document.get("components", {}).get("schemas", {})
    schema = entry.body_schema()
    return iter(()) if schema is None else Instances(schemas, depth=depth).leaves(schema)


@contextmanager
def captured_logs(monkeypatch: pytest.MonkeyPatch, *, redaction: bool = True) -> Iterator[io.BytesIO]:
    """All logs of this process as the server writes them, and the logging as it was at the end."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, write_through=True)
    root = logging.getLogger()
    handlers, level, before = root.handlers, root.level, structlog.get_config()
    # Libraries' loggers stay as they are: only what reaches the root is taken.
    monkeypatch.setattr(logs, "take_over_standard_logs", lambda rank: None)
    logs.configure(stream=stream, redaction=redaction)
    structlog.configure(cache_logger_on_first_use=False)
    # The server's own level: below it our caller's library tells what it sends.
    root.setLevel(logging.WARNING)
    root.handlers = [logs._StandardLogs()]
    try:
        yield buffer
    finally:
        root.handlers = handlers
        root.setLevel(level)
        structlog.configure(**before)
        stream.detach()


def told(lines: bytes) -> str:
    """The lines without what only time and chance decide, where a canary's digits may turn up."""
    kept = []
    for line in lines.splitlines():
        event = json.loads(line)
        kept.append({name: value for name, value in event.items() if name not in ("timestamp", "ms")})
    return "\n".join(json.dumps(one, ensure_ascii=False) for one in kept)


def secrets_of(caller: Caller) -> list[str]:
    cast = caller.cast
    return [
        *CANARIES,
        *caller.secrets.values(),
        cast.password,
        cast.email,
        cast.mark,
        cast.link_token,
        cast.bank_number,
    ]


async def ask(web: Web, call: Call) -> httpx.Response:
    """One request with canaries in its headers too, and a harmless request id."""
    options = call.request()
    extra = dict.fromkeys(_SENT_HEADERS, CANARIES[0]) | {"Idempotency-Key": f"{CANARIES[0]}-{new_id().hex}"}
    named = {"X-Request-Id": "same-request", "Request-Id": "same-request"}
    options["headers"] = {**extra, **options["headers"], **named}
    return await web.unchecked.request(**options)


async def probe(web: Web, entry: Entry, cast: Cast) -> tuple[list[str], list[int]]:
    """Ask with canaries everywhere; the error bodies that repeat one, and the statuses."""
    caller = await right_caller(cast, web.services, entry.key)
    faults, statuses = [], []
    call = entry.call(cast).by(caller)
    for one in [*with_canaries(call), call]:
        answer = await ask(web, one)
        statuses.append(answer.status_code)
        if answer.is_error:
            seen = answer.text + "\n".join(answer.headers.values())
            faults += [f"{answer.status_code} repeats {s!r}" for s in secrets_of(caller) if s in seen]
    return faults, statuses


async def metric_names() -> str:
    lines = (await metrics.scrape()).decode().splitlines()
    return "\n".join(line.rsplit(" ", 1)[0] for line in lines)


@pytest.mark.parametrize("entry", built(), ids=str)
async def test_no_secret_is_told(
    web: Web, entry: Entry, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = await new_cast(web.services)
    caller = await right_caller(cast, web.services)
    with captured_logs(monkeypatch) as buffer:
        faults, statuses = await probe(web, entry, cast)
        lines = told(buffer.getvalue())
    assert faults == []
    assert lines.count('"event": "request"') == len(statuses)
    for place, text in (
        ("log", lines),
        ("metrics", await metric_names()),
        ("database's log", database_log(data_folder)),
    ):
        assert [secret for secret in secrets_of(caller) if secret in text] == [], place
    assert any(200 <= status < 300 for status in statuses)
    assert entry.operation.security == () or 401 in statuses


def database_log(data_folder: Path) -> str:
    """What PostgreSQL has logged in this run."""
    found = (data_folder / "postgres.log").read_text("utf-8", "replace")
    assert "ready to accept connections" in found
    return found


def fields_of(entry: Entry, schema: dict[str, Any], within: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names of a schema's fields that hold no object or list, as the contract has them."""
    reference = schema.get("$ref", "")
    if reference in within:
        return
    within, schema = within | ({reference} - {""}), entry.contract.follow(schema)
    parts = [one for kind in ("allOf", "anyOf", "oneOf") for one in schema.get(kind, ())]
    parts += [schema["items"]] if isinstance(schema.get("items"), dict) else []
    for part in parts:
        yield from fields_of(entry, part, within)
    for name, part in schema.get("properties", {}).items():
        one = entry.contract.follow(part)
        if one.get("type") not in ("object", "array") and "properties" not in one and "allOf" not in one:
            yield name
        yield from fields_of(entry, part, within)


def fields_without_a_canary(*, depth: int) -> list[str]:
    missing = []
    for entry in built():
        fields = set(fields_of(entry, entry.body_schema() or {}))
        seen = {step for path, _ in every_leaf(entry, depth=depth) for step in path}
        missing += [f"{entry} {name}" for name in sorted(fields - seen)]
    return missing


def test_every_field_of_every_body_gets_a_canary() -> None:
    assert fields_without_a_canary(depth=6) == []
    # The control: a field deep in a body that nobody fills is seen.
    assert "storeharmony createBulkProducts imagePosition" in fields_without_a_canary(depth=3)


def crashing(handler: Handler) -> Handler:
    """A handler that breaks with everything it was given in the exception's message."""

    async def crash(**values: Any) -> None:
        raise RuntimeError(f"{values!r} {CANARIES}")

    crash.__signature__ = inspect.signature(handler)  # type: ignore[attr-defined]
    return crash


@pytest.fixture
async def crashing_web(
    worker_setup: WorkerSetup, web: Web, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Web]:
    """The application with every handler broken."""
    for api in APIS:
        for name, one in api.registered.items():
            assert one.handler is not None
            broken = Registered(one.dialect, one.operation, crashing(one.handler), one.read)
            monkeypatch.setitem(api.registered, name, broken)
    async with running_web(worker_setup) as running:
        yield running


async def crash_all(web: Web, cast: Cast) -> tuple[list[str], int]:
    """Call everything; the error bodies that repeat a secret, and how many crashed."""
    caller, faults, crashed = await right_caller(cast, web.services), [], 0
    for entry in built():
        answer = await ask(web, entry.call(cast).by(caller))
        crashed += answer.status_code == 500
        faults += [f"{entry} repeats {s!r}" for s in secrets_of(caller) if s in answer.text]
    return faults, crashed


async def test_no_secret_is_told_by_a_crash(crashing_web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    cast = await new_cast(crashing_web.services)
    with captured_logs(monkeypatch) as buffer:
        faults, crashed = await crash_all(crashing_web, cast)
        lines = told(buffer.getvalue())
    assert faults == []
    assert crashed == len(built())
    assert lines.count("builtins.RuntimeError") == crashed
    assert [one for one in (*CANARIES, cast.mark, cast.email, cast.password) if one in lines] == []


async def test_without_redaction_the_same_crash_tells_everything(
    crashing_web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = await new_cast(crashing_web.services)
    with captured_logs(monkeypatch, redaction=False) as buffer:
        await crash_all(crashing_web, cast)
        lines = told(buffer.getvalue())
    assert [one for one in (*CANARIES, cast.mark, cast.email, cast.password) if one not in lines] == []
