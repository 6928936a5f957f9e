"""Removing a merchant for good: every row of every table, in batches, and every file.

Run as the owner of the tables, by the operator alone. It may be interrupted at any moment and run again. See
docs/decisions/removing-merchants.md.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from kasuwa.base.ids import new_id
from kasuwa.base.problems import Conflict
from kasuwa.base.storage import Blobs
from kasuwa.domain.merchants.errors import MerchantNotFound
from kasuwa.domain.messages.courier import forget_lines

Owner: TypeAlias = "asyncpg.Connection[Any]"

_BATCH = 5000
_FILES_AT_ONCE = 500


class MerchantNotSuspended(Conflict):
    code = "merchant-not-suspended"
    title = "Only a suspended merchant can be removed"


class Removed(Struct, frozen=True):
    """How many rows went, by table, how many files, and how many lines of outbox.jsonl."""

    rows: dict[str, int]
    files: int
    lines: int


class _Table(Struct, frozen=True):
    """A table with rows of merchants. `own_keys` are the columns (child, parent) of keys to itself."""

    name: str
    own_keys: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


async def name_of_leaving(owner: Owner, merchant_id: UUID) -> str:
    """The business name, for the operator to type. Raises MerchantNotFound, MerchantNotSuspended."""
    row = await owner.fetchrow(
        "SELECT business_name, status FROM merchant WHERE merchant_id = $1", merchant_id
    )
    if row is None:
        raise MerchantNotFound(f"No merchant has the id {merchant_id}: see `kasuwa merchant list`.")
    if row["status"] == "active":
        raise MerchantNotSuspended(
            f"Run `kasuwa merchant suspend {merchant_id}` first, and export what is to be kept."
        )
    name: str = row["business_name"]
    return name


async def find_removal(owner: Owner, merchant_id: UUID) -> datetime | None:
    """When the merchant was removed for good; None where it was not."""
    ended_at: datetime | None = await owner.fetchval(
        "SELECT max(ended_at) FROM removal WHERE merchant_hash = $1", _hash(merchant_id)
    )
    return ended_at


async def remove_merchant(
    owner: Owner, blobs: Blobs, outbox: Path, merchant_id: UUID, watch: Callable[[str, int], None]
) -> Removed:
    """Remove the merchant; `watch` is told each table or "files" with how many went so far.

    The merchant's own row goes last: as long as anything is left, there is somebody to remove. Raises
    MerchantNotFound, MerchantNotSuspended.
    """
    tables = await _tables(owner)
    await _begin(owner, merchant_id)
    gone: dict[str, int] = {}
    # Triggers may write rows while others go, such as counts: until a whole round finds nothing.
    found = True
    while found:
        found = False
        for table in tables:
            while count := await _take(owner, merchant_id, table):
                found = True
                gone[table.name] = gone.get(table.name, 0) + count
                watch(table.name, gone[table.name])
    files = await _remove_files(blobs, merchant_id, watch)
    lines = await asyncio.to_thread(forget_lines, outbox, merchant_id)
    async with owner.transaction():
        await owner.execute("DELETE FROM merchant WHERE merchant_id = $1", merchant_id)
        gone["merchant"] = 1
        await owner.execute(
            """
            UPDATE removal SET of_merchant = NULL, ended_at = now(), gone = $2
            WHERE of_merchant = $1
            """,
            merchant_id,
            msgspec.json.encode(gone | {"files": files}).decode(),
        )
    return Removed(gone, files, lines)


async def _begin(owner: Owner, merchant_id: UUID) -> None:
    """Mark the merchant: from here on nobody resumes it, and its ledgers let go."""
    async with owner.transaction():
        await name_of_leaving(owner, merchant_id)
        await owner.execute("UPDATE merchant SET status = 'leaving' WHERE merchant_id = $1", merchant_id)
        await owner.execute(
            """
            INSERT INTO removal (removal_id, of_merchant, merchant_hash) VALUES ($1, $2, $3)
            ON CONFLICT (of_merchant) DO NOTHING
            """,
            new_id(),
            merchant_id,
            _hash(merchant_id),
        )


def _hash(merchant_id: UUID) -> bytes:
    return hashlib.sha256(merchant_id.bytes).digest()


async def _take(owner: Owner, merchant_id: UUID, table: _Table) -> int:
    """Delete a batch of the table's rows, those that no other row of it needs first."""
    unneeded = "".join(
        f' AND NOT EXISTS (SELECT FROM "{table.name}" c WHERE '
        + " AND ".join(f'c."{child}" = t."{parent}"' for child, parent in zip(*key, strict=True))
        + ")"
        for key in table.own_keys
    )
    status = await owner.execute(
        # Names are the catalogue's own.
        f'DELETE FROM "{table.name}" WHERE ctid = ANY (ARRAY('  # noqa: S608
        f'SELECT t.ctid FROM "{table.name}" t WHERE t.merchant_id = $1{unneeded} LIMIT {_BATCH}))'
        " AND merchant_id = $1",
        merchant_id,
    )
    return int(status.rpartition(" ")[2])


async def _tables(owner: Owner) -> Sequence[_Table]:
    """Every table with a merchant_id but `merchant`, those first that others do not need."""
    names = [
        row[0]
        for row in await owner.fetch(
            """
            SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'merchant_id'
              AND NOT a.attisdropped AND c.relname <> 'merchant'
            ORDER BY 1
            """
        )
    ]
    keys = await owner.fetch(
        """
        SELECT child.relname AS child, parent.relname AS parent,
               (SELECT array_agg(a.attname::text ORDER BY k.place)
                FROM unnest(f.conkey) WITH ORDINALITY AS k (attnum, place)
                JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum) AS child_columns,
               (SELECT array_agg(a.attname::text ORDER BY k.place)
                FROM unnest(f.confkey) WITH ORDINALITY AS k (attnum, place)
                JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum) AS parent_columns
        FROM pg_constraint f
        JOIN pg_class child ON child.oid = f.conrelid JOIN pg_class parent ON parent.oid = f.confrelid
        WHERE f.contype = 'f' AND f.connamespace = 'public'::regnamespace
        """
    )
    needed_by = {
        name: {key["child"] for key in keys if key["parent"] == name and key["child"] != name}
        for name in names
    }
    ordered: list[str] = []
    while len(ordered) < len(names):
        free = [name for name in names if name not in ordered and needed_by[name] <= set(ordered)]
        assert free, f"tables that need each other: {set(names) - set(ordered)}"
        ordered += free
    own = {
        name: tuple(
            (tuple(key["child_columns"]), tuple(key["parent_columns"]))
            for key in keys
            if key["child"] == key["parent"] == name
        )
        for name in names
    }
    return [_Table(name, own[name]) for name in ordered]


async def _remove_files(blobs: Blobs, merchant_id: UUID, watch: Callable[[str, int], None]) -> int:
    count = 0
    keys: list[str] = []
    async for fact in blobs.list(f"{merchant_id}/"):
        keys.append(fact.key)
        if len(keys) == _FILES_AT_ONCE:
            await blobs.delete(keys)
            count, keys = count + len(keys), []
            watch("files", count)
    if keys:
        await blobs.delete(keys)
    # Their names would tell whose they were.
    await blobs.remove_folders(str(merchant_id))
    return count + len(keys)
