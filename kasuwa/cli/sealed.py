"""Everything in the database that depends on the sealing key: one list.

The rotation of keys walks it and seals anew; the doctor looks whether it opens and is what stands beside it.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kasuwa.base.secrets import SealBroken, Sealer
from kasuwa.cli.doctor.rows import Owner
from kasuwa.domain.banking.records import number_marks
from kasuwa.domain.reference.nuban import is_nuban

Marks = Callable[[Sealer, Mapping[str, Any], bytes], Sequence[bytes]]
# Whether the content is what the row says beside it.
Fits = Callable[[Mapping[str, Any], str], bool]
Progress = Callable[[str, int], None]

_ROWS_AT_ONCE = 200
# How everything begins that Fernet seals; nothing else in a job's payload does.
_TOKEN = re.compile(r"gAAAA[A-Za-z0-9_-]+=*")


class SealedColumn(Struct, frozen=True):
    """A column with sealed bytes, the key of its rows, and what a person calls it, with the row's values.

    `mark` names the column that finds the content again, and `marks` makes it, the first key's first.
    `beside` are more values of the row, by name, against which `fits` holds the content.
    """

    table: str
    key: tuple[str, ...]
    column: str
    words: str
    mark: str | None = None
    marks: Marks | None = None
    beside: Mapping[str, str] = {}
    fits: Fits | None = None

    @property
    def place(self) -> str:
        return f"{self.table}.{self.column}"

    def called(self, row: Mapping[str, Any]) -> str:
        return self.words.format(**row)


class MarkColumn(Struct, frozen=True):
    """Keyed hashes of what nobody keeps, so that they cannot be made again. `counts` are those in use."""

    table: str
    column: str
    counts: str
    words: str


def _number_marks(sealer: Sealer, row: Mapping[str, Any], number: bytes) -> Sequence[bytes]:
    return number_marks(sealer, row["merchant_id"], number.decode())


def _is_number(row: Mapping[str, Any], number: str) -> bool:
    return number.endswith(row["last_digits"]) and is_nuban(row["bank_code"], number)


def _is_bvn(row: Mapping[str, Any], bvn: str) -> bool:
    return row["last4"] is not None and bvn.endswith(row["last4"])


_STORE, _GATEWAY = ("merchant_id", "store_id"), ("merchant_id", "gateway_id")

SEALED = (
    SealedColumn(
        "store",
        _STORE,
        "sealed_bvn",
        "store {store_id}: its BVN",
        beside={"last4": "settings->>'bvn_last4'"},
        fits=_is_bvn,
    ),
    SealedColumn("store", _STORE, "sealed_google_key", "store {store_id}: its Google key"),
    SealedColumn("payment_gateway", _GATEWAY, "sealed_secret_key", "gateway {gateway_id}: its secret key"),
    SealedColumn(
        "payment_gateway", _GATEWAY, "sealed_webhook_secret", "gateway {gateway_id}: its webhook secret"
    ),
    SealedColumn(
        "bank_account",
        ("merchant_id", "bank_account_id"),
        "sealed_number",
        "bank account {bank_account_id}: its number",
        mark="number_mark",
        marks=_number_marks,
        beside={"bank_code": "bank_code", "last_digits": "last_digits"},
        fits=_is_number,
    ),
    SealedColumn(
        "second_factor", ("merchant_id", "user_id"), "sealed_secret", "user {user_id}: the second factor"
    ),
    SealedColumn("message", ("merchant_id", "message_id"), "sealed", "message {message_id}: its words"),
)
# Sealed and walked otherwise: the probe dates the rotation, and an answer needs its caller's own key too.
APART = frozenset({"seal_probe.sealed", "once.sealed"})

MARKS = (
    MarkColumn("membership", "pos_pin_mark", "pos_pin_mark IS NOT NULL", "PINs of tills must be set again"),
    MarkColumn("recovery_code", "code_mark", "used_at IS NULL", "recovery codes do not let in any more"),
    MarkColumn("verification_code", "code_hash", "expires_at > now()", "codes must be asked for again"),
    MarkColumn("address_check", "code_mark", "expires_at > now()", "codes of apps must be asked for again"),
    MarkColumn("address_check", "address_mark", "false", "the same codes"),
)


class Walked(Struct):
    """How many sealed values there are, how many are not the first key's, and how many no key opens."""

    looked_at: int = 0
    old: int = 0
    lost: int = 0


async def walk(
    owner: Owner, keys: Sequence[str], *, seal: bool, progress: Progress = lambda place, count: None
) -> Walked:
    """Look at everything that is sealed; with `seal`, seal with the first key what is not.

    A batch is one transaction, and a value that somebody changes meanwhile is left to them: it may be cut
    short anywhere, and run again. `progress` is told the place and how many values there are so far.
    """
    walked = Walked()
    for column in SEALED:
        await _walk_column(owner, column, _Opener(keys, walked), seal=seal, progress=progress)
    await _walk_jobs(owner, _Opener(keys, walked), seal=seal, progress=progress)
    return walked


class _Opener:
    """Tells which values are the first key's, and counts into `walked`."""

    def __init__(self, keys: Sequence[str], walked: Walked) -> None:
        self.sealer = Sealer(keys)
        self.walked = walked
        self._first = Sealer(keys[:1])

    def look(self, sealed: bytes) -> tuple[bytes | None, bool]:
        """The content, None where no key opens it, and whether the first key does."""
        self.walked.looked_at += 1
        try:
            return self._first.open(sealed), True
        except SealBroken:
            pass
        try:
            return self.sealer.open(sealed), False
        except SealBroken:
            self.walked.lost += 1
            return None, False


async def _walk_column(
    owner: Owner, column: SealedColumn, opener: _Opener, *, seal: bool, progress: Progress
) -> None:
    keys, after = _key_of(column)
    marked = "" if column.mark is None else f", {column.mark} = ${len(column.key) + 3}"
    update = f"""
        UPDATE {column.table} SET {column.column} = ${len(column.key) + 2}{marked}
        WHERE ({keys}) = ({after}) AND {column.column} = $1
    """  # noqa: S608 - our own columns
    async for rows in sealed_rows(owner, column):
        changes = list(_changes(column, rows, opener))
        if seal and changes:
            await owner.executemany(update, changes)
        progress(column.place, opener.walked.looked_at)


async def sealed_rows(owner: Owner, column: SealedColumn) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """The rows that have something there, a batch at a time: key, `sealed`, `mark` and what is beside it."""
    keys, after = _key_of(column)
    beside = "".join(f", {value} AS {name}" for name, value in column.beside.items())
    chosen = f"""
        SELECT {keys}, {column.column} AS sealed, {column.mark or "NULL"} AS mark{beside}
        FROM {column.table} WHERE {column.column} IS NOT NULL
    """  # noqa: S608 - our own columns
    rows = await owner.fetch(f"{chosen} ORDER BY {keys} LIMIT $1", _ROWS_AT_ONCE)
    while rows:
        yield rows
        last = [rows[-1][name] for name in column.key]
        rows = await owner.fetch(
            f"{chosen} AND ({keys}) > ({after}) ORDER BY {keys} LIMIT $1", _ROWS_AT_ONCE, *last
        )


def _key_of(column: SealedColumn) -> tuple[str, str]:
    """The columns of the key, and places for its values from the second of a statement on."""
    return ", ".join(column.key), ", ".join(f"${number}" for number in range(2, len(column.key) + 2))


def _changes(
    column: SealedColumn, rows: Sequence[Mapping[str, Any]], opener: _Opener
) -> Iterator[tuple[Any, ...]]:
    """For each row that is not the first key's: what is there, the row's key, and what takes its place."""
    for row in rows:
        content, is_fresh = opener.look(row["sealed"])
        if content is None:
            continue
        marks = () if column.marks is None else column.marks(opener.sealer, row, content)[:1]
        if is_fresh and (not marks or row["mark"] == marks[0]):
            continue
        opener.walked.old += 1
        yield row["sealed"], *(row[name] for name in column.key), opener.sealer.seal(content), *marks


async def _walk_jobs(owner: Owner, opener: _Opener, *, seal: bool, progress: Progress) -> None:
    """Whatever in a job's payload is sealed, of any kind of job."""
    async for rows in sealed_jobs(owner):
        changes = []
        for row in rows:
            fresh = _fresh(msgspec.json.decode(row["payload"]), opener)
            changed = msgspec.json.encode(fresh).decode()
            if fresh != msgspec.json.decode(row["payload"]):
                opener.walked.old += 1
                changes.append((row["job_id"], row["payload"], changed))
        if seal and changes:
            await owner.executemany(
                "UPDATE job SET payload = $3::text::jsonb WHERE job_id = $1 AND payload = $2::text::jsonb",
                changes,
            )
        progress("job.payload", opener.walked.looked_at)


async def sealed_jobs(owner: Owner) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """The jobs with something sealed in their payload, a batch at a time."""
    chosen = """
        SELECT job_id, merchant_id, kind, payload::text AS payload FROM job
        WHERE payload::text LIKE '%"gAAAA%'
    """
    rows = await owner.fetch(f"{chosen} ORDER BY job_id LIMIT $1", _ROWS_AT_ONCE)
    while rows:
        yield rows
        rows = await owner.fetch(
            f"{chosen} AND job_id > $2 ORDER BY job_id LIMIT $1", _ROWS_AT_ONCE, rows[-1]["job_id"]
        )


def sealed_in(payload: Any) -> Iterator[bytes]:
    """Everything in a job's payload that is sealed."""
    if isinstance(payload, dict):
        for part in payload.values():
            yield from sealed_in(part)
    elif isinstance(payload, list):
        for part in payload:
            yield from sealed_in(part)
    elif isinstance(payload, str) and _TOKEN.fullmatch(payload):
        yield payload.encode()


def _fresh(value: Any, opener: _Opener) -> Any:
    """The same value, with what is sealed in it sealed by the first key."""
    if isinstance(value, dict):
        return {name: _fresh(part, opener) for name, part in value.items()}
    if isinstance(value, list):
        return [_fresh(part, opener) for part in value]
    if isinstance(value, str) and _TOKEN.fullmatch(value):
        content, is_fresh = opener.look(value.encode())
        if content is not None and not is_fresh:
            return opener.sealer.seal(content).decode()
    return value
