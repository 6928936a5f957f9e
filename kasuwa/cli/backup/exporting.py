"""`kasuwa merchant export`: all of one merchant, readable without Kasuwa.

A tar file as of a backup: `kasuwa-merchant.json`, `rows/TABLE.jsonl` with a row a line, `files/…`, and
`manifest.json` with the size and SHA-256 of each part.
"""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

import kasuwa
from kasuwa.base.nameless import NamelessFile
from kasuwa.base.secrets import Sealer
from kasuwa.base.storage import Blobs, open_blobs
from kasuwa.cli.backup.archive import (
    FILES,
    MANIFEST,
    ArchiveRefused,
    ArchiveWriter,
    Part,
    read_through,
    writing,
)
from kasuwa.cli.doctor.rows import Owner
from kasuwa.cli.output import say, say_json
from kasuwa.database import DatabaseUrls, sealing_keys, visiting_database
from kasuwa.domain.merchants.errors import MerchantNotFound
from kasuwa.settings import Settings

HEADER = "kasuwa-merchant.json"
ROWS = "rows/"
_FORMAT = 1
_READS_AT_ONCE = 16

# What is sealed with our key, only opens something here, or is compared with what is typed here: of no use
# elsewhere but to a thief. Told by its name, so that a new table cannot forget it.
SECRET = re.compile(r"^sealed|_sealed$|^secret|password_hash$|_mark$|(token|code|key)_hash$")
# Nothing in them outlives the server that made them.
PASSING = {
    "customer_session",
    "import_file",
    "job",
    "once",
    "one_time_link",
    "session",
    "verification_code",
}
# Sealed here and the merchant's own: written as it reads, under this name.
OPENED = {"bank_account": {"sealed_number": "number"}}


class MerchantManifest(Struct, frozen=True, kw_only=True):
    """What the archive holds, and which columns and tables it leaves out on purpose."""

    format: int
    created_at: str
    kasuwa_version: str
    merchant_id: UUID
    rows: dict[str, int]
    left_out: dict[str, list[str]]
    parts: tuple[Part, ...]


def run_export(settings: Settings, merchant_id: UUID, file: Path, *, as_json: bool) -> None:
    """Write the archive and say what is in it. Raises MerchantNotFound, ArchiveRefused."""
    if not file.parent.is_dir():
        raise ArchiveRefused(f"The folder {file.parent} is not there. Make it, or name another.")
    with visiting_database(settings) as urls:
        manifest = asyncio.run(export_merchant(settings, urls, merchant_id, file.absolute()))
    files = sum(part.name.startswith(FILES) for part in manifest.parts)
    if as_json:
        say_json({"file": str(file), "rows": manifest.rows, "files": files})
        return
    say(f"{file}: {sum(manifest.rows.values())} rows, {files} files, verified")
    say("It holds bank numbers as they read, but no password and no key: guard it.")


async def export_merchant(
    settings: Settings, urls: DatabaseUrls, merchant_id: UUID, file: Path
) -> MerchantManifest:
    """The rows of one moment and the files that they name."""
    blobs = open_blobs(settings.storage_url or str(settings.data_folder() / "files"))
    owner = await asyncpg.connect(urls.owner)
    try:
        await owner.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        status = await owner.fetchval("SELECT status FROM merchant WHERE merchant_id = $1", merchant_id)
        if status is None:
            raise MerchantNotFound(f"No merchant has the id {merchant_id}: see `kasuwa merchant list`.")
        if status == "leaving":
            raise MerchantNotFound(f"The removal of {merchant_id} has begun: a part of it is gone already.")
        sealer = Sealer(sealing_keys(settings))
        with writing(file, verify_export) as archive:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            archive.add(HEADER, msgspec.json.encode({"format": _FORMAT, "created_at": now}))
            rows = await _add_rows(archive, owner, merchant_id, sealer, file.parent)
            await _add_files(archive, blobs, merchant_id)
            manifest = MerchantManifest(
                format=_FORMAT,
                created_at=now,
                kasuwa_version=kasuwa.__version__,
                merchant_id=merchant_id,
                rows=rows,
                left_out=await _left_out(owner),
                parts=tuple(archive.parts),
            )
            archive.add(MANIFEST, msgspec.json.encode(manifest))
        return manifest
    finally:
        await blobs.close()
        await owner.close()


def verify_export(path: Path) -> MerchantManifest:
    """Compare every byte with the manifest. Raises ArchiveRefused."""
    found, content = read_through(path, HEADER)
    try:
        manifest = msgspec.json.decode(content or b"", type=MerchantManifest)
    except msgspec.DecodeError as error:
        raise ArchiveRefused(f"The manifest cannot be read ({error}). Export again.") from None
    if {part.name: part for part in manifest.parts} != found:
        raise ArchiveRefused(f"The parts of {path} are not those it was written with. Export again.")
    return manifest


async def _add_rows(
    archive: ArchiveWriter, owner: Owner, merchant_id: UUID, sealer: Sealer, folder: Path
) -> dict[str, int]:
    tables = await owner.fetch(
        """
        SELECT c.relname AS name, (
          SELECT string_agg(format('%I', k.attname), ', ' ORDER BY x.place)
          FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS x (attnum, place), pg_attribute k
          WHERE i.indrelid = c.oid AND i.indisprimary AND k.attrelid = c.oid AND k.attnum = x.attnum
        ) AS key
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'merchant_id'
          AND NOT a.attisdropped
        ORDER BY 1
        """
    )
    rows: dict[str, int] = {}
    for name, key in [(table["name"], table["key"]) for table in tables if table["name"] not in PASSING]:
        with NamelessFile(folder) as aside:
            count = 0
            # Names are the catalogue's own.
            sql = f'SELECT to_jsonb(t) AS row FROM "{name}" t WHERE merchant_id = $1'  # noqa: S608
            with aside.path.open("wb") as lines:
                async for row in owner.cursor(f"{sql} ORDER BY {key}" if key else sql, merchant_id):
                    lines.write(msgspec.json.encode(_plain(name, row["row"], sealer)) + b"\n")
                    count += 1
            archive.add_file(f"{ROWS}{name}.jsonl", aside.path)
            rows[name] = count
    return rows


async def _left_out(owner: Owner) -> dict[str, list[str]]:
    """The tables that are left out, and the columns of others."""
    rows = await owner.fetch(
        """
        SELECT table_name AS name, array_agg(column_name::text ORDER BY ordinal_position) AS columns
        FROM information_schema.columns WHERE table_schema = 'public' GROUP BY 1
        HAVING bool_or(column_name = 'merchant_id') ORDER BY 1
        """
    )
    left = {
        row["name"]: [
            name for name in row["columns"] if SECRET.search(name) and name not in OPENED.get(row["name"], {})
        ]
        for row in rows
    }
    return {name: columns for name, columns in left.items() if columns} | {
        name: ["all"] for name in sorted(PASSING)
    }


def _plain(table: str, row: str, sealer: Sealer) -> dict[str, Any]:
    # Numbers stay as they were written: a price is no float.
    values: dict[str, Any] = msgspec.json.decode(row, type=dict[str, msgspec.Raw])
    opened = OPENED.get(table, {})
    for column in [name for name in values if SECRET.search(name) and name not in opened]:
        del values[column]
    for column, shown in opened.items():
        sealed = bytes.fromhex(msgspec.json.decode(values.pop(column), type=str).removeprefix("\\x"))
        values[shown] = sealer.open(sealed).decode()
    return values


async def _add_files(archive: ArchiveWriter, blobs: Blobs, merchant_id: UUID) -> None:
    keys = sorted([fact.key async for fact in blobs.list(f"{merchant_id}/")])
    for begin in range(0, len(keys), _READS_AT_ONCE):
        batch = keys[begin : begin + _READS_AT_ONCE]
        for key, content in zip(batch, await asyncio.gather(*map(blobs.get, batch)), strict=True):
            archive.add(FILES + key, content)
