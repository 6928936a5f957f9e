"""Everything in the database that depends on the sealing key: one list, and the walk that seals it anew."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kasuwa.base.secrets import SealBroken, Sealer
from kasuwa.cli.doctor.rows import Owner
from kasuwa.domain.banking.records import number_marks

Marks = Callable[[Sealer, Mapping[str, Any], bytes], Sequence[bytes]]
Progress = Callable[[str, int], None]

_ROWS_AT_ONCE = 200
# How everything begins that Fernet seals; nothing else in a job's payload does.
_TOKEN = re.compile(r"gAAAA[A-Za-z0-9_-]+=*")


class SealedColumn(Struct, frozen=True):
    """A column with sealed bytes, and the key of its rows.

    `mark` names the column that finds the content again, and `marks` makes it, the first key's first.
    """

    table: str
    key: tuple[str, ...]
    column: str
    mark: str | None = None
    marks: Marks | None = None

    @property
    def place(self) -> str:
        return f"{self.table}.{self.column}"


class MarkColumn(Struct, frozen=True):
    """Keyed hashes of what nobody keeps, so that they cannot be made again. `counts` are those in use."""

    table: str
    column: str
    counts: str
    words: str


def _number_marks(sealer: Sealer, row: Mapping[str, Any], number: bytes) -> Sequence[bytes]:
    return number_marks(sealer, row["merchant_id"], number.decode())


SEALED = (
    SealedColumn("store", ("merchant_id", "store_id"), "sealed_bvn"),
    SealedColumn("store", ("merchant_id", "store_id"), "sealed_google_key"),
    SealedColumn("payment_gateway", ("merchant_id", "gateway_id"), "sealed_secret_key"),
    SealedColumn("payment_gateway", ("merchant_id", "gateway_id"), "sealed_webhook_secret"),
    SealedColumn(
        "bank_account", ("merchant_id", "bank_account_id"), "sealed_number", "number_mark", _number_marks
    ),
    SealedColumn("second_factor", ("merchant_id", "user_id"), "sealed_secret"),
    SealedColumn("message", ("merchant_id", "message_id"), "sealed"),
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
    keys = ", ".join(column.key)
    mark = column.mark or "NULL"
    chosen = f"SELECT {keys}, {column.column} AS sealed, {mark} AS mark FROM {column.table}"  # noqa: S608
    after = ", ".join(f"${number}" for number in range(2, len(column.key) + 2))
    first = f"{chosen} WHERE {column.column} IS NOT NULL ORDER BY {keys} LIMIT $1"
    further = f"{chosen} WHERE {column.column} IS NOT NULL AND ({keys}) > ({after}) ORDER BY {keys} LIMIT $1"
    marked = "" if column.mark is None else f", {column.mark} = ${len(column.key) + 3}"
    update = f"""
        UPDATE {column.table} SET {column.column} = ${len(column.key) + 2}{marked}
        WHERE ({keys}) = ({after}) AND {column.column} = $1
    """  # noqa: S608 - our own columns
    rows = await owner.fetch(first, _ROWS_AT_ONCE)
    while rows:
        changes = list(_changes(column, rows, opener))
        if seal and changes:
            await owner.executemany(update, changes)
        progress(column.place, opener.walked.looked_at)
        rows = await owner.fetch(further, _ROWS_AT_ONCE, *(rows[-1][name] for name in column.key))


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
    chosen = "SELECT job_id, payload::text AS payload FROM job WHERE payload::text LIKE '%\"gAAAA%'"
    rows = await owner.fetch(f"{chosen} ORDER BY job_id LIMIT $1", _ROWS_AT_ONCE)
    while rows:
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
        rows = await owner.fetch(
            f"{chosen} AND job_id > $2 ORDER BY job_id LIMIT $1", _ROWS_AT_ONCE, rows[-1]["job_id"]
        )


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
