"""Knock with somebody else's ids at every place that takes one, and see what comes out and what changes."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx
import msgspec
from msgspec import Struct

from tests.base.database import Connection
from tests.client import Web, check_answer
from tests.contract.callers import Caller, right_caller, strangers
from tests.contract.cast import Cast, new_cast
from tests.contract.recipes import MERCHANTS_OWN, STORE_BOUND, Call, Entry, Place

# Where an answer may tell that an id is somebody's, and why.
TELLS: dict[tuple[str, str], str] = {
    ("verifyUserRegistration", "accountId"): (
        "nobody is logged in yet: the id that registering gave is all the operation can ask for, and the"
        " answer is only how far that registration is"
    ),
    **{
        (operation, "storeid"): "a shop's public pages: whoever has its address sees that it is there"
        for operation in (
            "getCountries_1",
            "getCountryStates_1",
            "getCountryStatesLGARegion_1",
            "loadAboutUs",
            "loadDeliverypolicy",
            "loadPrivacypolicy",
        )
    },
}

# Rows that name a location and are the whole merchant's all the same, and why.
MERCHANTS_ROWS = {
    "customer": "somebody who buys is one person over all locations; the row says where they came first",
    "stock_movement": "what was done to a product is seen by whoever may see that, wherever it was done",
    "audit_entry product": "as above",
}

# Where a refusal is a row of an answer that is 200: what it did is seen in the rows of the database.
REFUSES_ROWS = {"createBulkProducts"}

_SAME_ID = {"x-request-id": "same-request", "request-id": "same-request"}
# The quota goes down with each request; length and ETag follow from the body, which is compared.
_PASSING_HEADERS = re.compile(r"(?i)(x-rate-limit|ratelimit).*|date|content-length|etag")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
# Shorter ones stand in any answer by chance.
_CANARY_CHARS = 8


Among = Literal["all", "merchants", "locations"]


class Findings(Struct):
    """What a run of the matrix saw. `told` are the entries of TELLS that were needed; `breaches` are answers
    that the contract does not promise."""

    operations: int = 0
    places: int = 0
    calls: int = 0
    leaks: list[str] = []
    effects: list[str] = []
    differences: list[str] = []
    unreached: list[str] = []
    breaches: list[str] = []
    told: set[tuple[str, str]] = set()

    def summary(self) -> str:
        return (
            f"{self.operations} operations, {self.places} places that take an id, {self.calls} calls:"
            f" {len(self.leaks)} leaks, {len(self.effects)} effects, {len(self.differences)} differences"
        )


class Victim(Struct):
    """Whose things are knocked at: their rows as they were, and every text that is theirs alone.

    `of_store` are those that stand only in rows of the victim's own location.
    """

    cast: Cast
    rows: dict[str, str]
    canaries: list[str]
    of_store: list[str]


async def knock(
    web: Web,
    database: Connection,
    entries: Sequence[Entry],
    developer_key: str,
    *,
    among: Among = "all",
) -> Findings:
    """The matrix: operations × places × callers. `database` is a superuser's connection.

    Among "merchants" leaves out the callers of the victim's own merchant, whom only our own checks keep away;
    among "locations" those alone are tried.
    """
    findings = Findings()
    stage: _Stage | None = None
    for entry in entries:
        stage = stage or await _new_stage(web, database, developer_key)
        places = entry.places()
        findings.operations += 1
        findings.places += len(places)
        for caller in stage.callers:
            if among == "all" or caller.is_colleague == (among == "locations"):
                await _knock_as(web, database, entry, places, stage.victim, caller, findings)
        if among == "all":
            # What the call changes would be the end of the stage, and a new one takes longer than a new shop.
            cast = await new_cast(web.services) if entry.writes else stage.victim.cast
            caller = await right_caller(cast, web.services, entry.key)
            answer = await entry.call(cast).by(caller).send(web)
            findings.calls += 1
            if answer.status_code != entry.operation.success_status:
                findings.unreached.append(f"{entry}: {answer.status_code} {answer.text[:200]}")
        if not await stage.is_as_it_was(database):
            stage = None
    return findings


class _Stage(Struct):
    """Two merchants and the callers: they serve the next operation too, unless their rows have changed."""

    victim: Victim
    other: Cast
    other_rows: dict[str, str]
    callers: list[Caller]

    async def is_as_it_was(self, database: Connection) -> bool:
        rows = await rows_of(database, self.victim.cast), await rows_of(database, self.other)
        return rows == (self.victim.rows, self.other_rows)


async def _new_stage(web: Web, database: Connection, developer_key: str) -> _Stage:
    victim, other = await new_cast(web.services), await new_cast(web.services, password="another's own")
    callers = await strangers(victim, other, developer_key)
    watched = await _victim(database, victim, other)
    return _Stage(watched, other, await rows_of(database, other), callers)


async def _knock_as(
    web: Web,
    database: Connection,
    entry: Entry,
    places: Sequence[Place],
    victim: Victim,
    caller: Caller,
    findings: Findings,
) -> None:
    what = f"{entry} by {caller.name}"
    is_left_as_it_is = not entry.writes if caller.is_colleague else not places
    if is_left_as_it_is:
        # Nothing is swapped: the caller's own call must still leave the victim alone.
        call = entry.call(caller.cast)
        answer = await _ask(web, call.by(caller), what, findings)
        findings.leaks += _told(answer, call, caller, victim, what)
    for where, foreign, unknown in _pairs(entry, places, victim.cast, caller):
        answers, spot = [], " and ".join(map(str, where))
        told = {(entry.operation.operation_id, place.name) for place in where} & TELLS.keys()
        for call in (foreign, unknown):
            answer = await _ask(web, call.by(caller), f"{what}, {spot}", findings)
            assert answer.status_code != 429, f"{what}: a quota stood in the way"
            answers.append(_plain(answer, call))
            if call is foreign and not (caller.is_colleague and told):
                findings.leaks += _leaks(answer, call, caller, victim, f"{what}, {spot}")
        if answers[0] == answers[1]:
            continue
        if told:
            findings.told |= told
        else:
            findings.differences.append(f"{what}, {spot}: {answers[0]} against {answers[1]}")
    rows = await rows_of(database, victim.cast)
    if rows != victim.rows:
        changed = [table for table in rows if rows[table] != victim.rows[table]]
        findings.effects.append(f"{what}: changed {', '.join(changed)}")
        victim.rows = rows


async def _ask(web: Web, call: Call, what: str, findings: Findings) -> httpx.Response:
    answer = await web.unchecked.request(**call.request())
    findings.calls += 1
    try:
        check_answer(answer)
    except AssertionError as breach:
        findings.breaches.append(f"{what}: {breach}")
    return answer


def _pairs(
    entry: Entry, places: Sequence[Place], victim: Cast, caller: Caller
) -> Iterator[tuple[list[Place], Call, Call]]:
    """Each place for itself, and all of them: the call with the victim's id and with one that nobody has."""
    if caller.is_colleague:
        own = {name for operation, name in MERCHANTS_OWN if operation == entry.operation.operation_id}
        places = [place for place in places if place.name.lower() in STORE_BOUND - own]
    identities = {place: entry.identity(place.name, place.pointer) for place in places}
    # What is the same for everybody tells two calls apart only by what the first one did.
    wanted = [[place] for place, one in identities.items() if one.of(victim) != one.unknown()]
    if len(places) > 1:
        wanted.append(list(places))
    for group in wanted:
        # Each from the recipe: a name that must be unique is another one in the second call.
        foreign, unknown = entry.call(caller.cast), entry.call(caller.cast)
        for place in group:
            foreign = foreign.swapped(place, identities[place].of(victim))
            unknown = unknown.swapped(place, identities[place].unknown())
        foreign.headers |= _SAME_ID
        unknown.headers |= _SAME_ID
        yield group, foreign, unknown


def _plain(answer: httpx.Response, call: Call) -> tuple[int, dict[str, str], str]:
    """The answer without what tells two equal requests apart."""
    headers = {k: _blank(v, call) for k, v in answer.headers.items() if not _PASSING_HEADERS.fullmatch(k)}
    if answer.is_success and call.entry.writes and answer.content:
        # What was just made has ids of its own: then only the shape can be the same.
        return answer.status_code, headers, str(_shape(answer.json()))
    return answer.status_code, headers, _blank(answer.text, call)


def _blank(text: str, call: Call) -> str:
    """The text without what the caller sent, and without times that lie after the request."""
    for sent in sorted(_sent(call), key=len, reverse=True):
        text = text.replace(sent, "<sent>")
    recent = datetime.now().astimezone() - timedelta(seconds=5)
    return _TIME.sub(
        lambda match: "<now>" if datetime.fromisoformat(match[0]) > recent else match[0],
        text,
    )


def _sent(call: Call) -> set[str]:
    """Every text of the request that is long enough to be an id."""
    values = [*call.path.values(), *call.query.values(), *call.headers.values()]
    values += [str(value) for value in leaves(msgspec.UNSET if call.json is msgspec.UNSET else call.json)]
    return {value for value in values if len(value) >= _CANARY_CHARS}


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list):
        # How many there are by now depends on the calls before.
        return sorted({str(_shape(one)) for one in value})
    return type(value).__name__


def _leaks(answer: httpx.Response, call: Call, caller: Caller, victim: Victim, what: str) -> list[str]:
    if caller.is_colleague:
        is_refused = answer.is_client_error or call.entry.operation.operation_id in REFUSES_ROWS
        return [] if is_refused else [f"{what}: {answer.status_code} at another's store"]
    return _told(answer, call, caller, victim, what)


def _told(answer: httpx.Response, call: Call, caller: Caller, victim: Victim, what: str) -> list[str]:
    told = answer.text + "\n" + "\n".join(answer.headers.values())
    sent = "\n".join(_sent(call) | set(caller.secrets.values()))
    canaries = victim.of_store if caller.is_colleague else victim.canaries
    return [f"{what}: {canary!r}" for canary in canaries if canary in told and canary not in sent]


async def _victim(database: Connection, cast: Cast, other: Cast) -> Victim:
    rows = await rows_of(database, cast)
    theirs = _texts(rows)
    canaries = sorted(theirs - _texts(await rows_of(database, other)))
    assert len(canaries) > 30, "the victim's rows hold hardly anything that is theirs alone"
    of_store = _texts_of_store(rows, str(cast.store_id))
    assert len(of_store) > 10, "hardly any row is of the victim's location alone"
    return Victim(cast, rows, canaries, sorted(of_store.intersection(canaries)))


def _texts_of_store(rows: dict[str, str], store_id: str) -> set[str]:
    """What stands in rows that name this store, and in no others, nor as a part of a text there."""
    theirs: dict[str, str] = {}
    others: dict[str, str] = {}
    for table, lines in rows.items():
        for line in lines.splitlines():
            row = msgspec.json.decode(line)
            is_shared = {table, f"{table} {row.get('subject_kind')}"} & MERCHANTS_ROWS.keys()
            kept = theirs if row.get("store_id") == store_id and not is_shared else others
            kept[table] = f"{kept.get(table, '')}{line}\n"
    elsewhere = "\n".join(others.values())
    return {text for text in _texts(theirs) if text not in elsewhere}


def _texts(rows: dict[str, str]) -> set[str]:
    found: set[str] = set()
    for lines in rows.values():
        for line in lines.splitlines():
            found |= {str(one) for one in leaves(msgspec.json.decode(line))}
    return {text for text in found if len(text) >= _CANARY_CHARS and not _TIME.fullmatch(text)}


def leaves(value: Any) -> Iterator[Any]:
    """The scalars within, those of JSON texts too."""
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    elif isinstance(value, str) and value.startswith(("{", "[")):
        try:
            yield from leaves(msgspec.json.decode(value))
        except msgspec.DecodeError:
            yield value
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value


async def rows_of(database: Connection, cast: Cast) -> dict[str, str]:
    """Every row that carries the merchant's id, by table, as JSON lines in a fixed order."""
    tables = await database.fetch(
        """
        SELECT c.relname AS name FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'merchant_id' AND NOT a.attisdropped
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1
        """
    )
    query = " UNION ALL ".join(
        f"SELECT '{table['name']}' AS name, coalesce(string_agg(line, E'\\n' ORDER BY line), '') AS lines"
        f" FROM (SELECT to_jsonb(t)::text AS line FROM {table['name']} t WHERE merchant_id = $1) l"
        for table in tables
    )
    return {row["name"]: row["lines"] for row in await database.fetch(query, cast.shop.merchant_id)}
