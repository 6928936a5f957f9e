"""`kasuwa backup`: one snapshot of the rows, then the files that its rows name."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import msgspec

import kasuwa
from kasuwa.base.migrate import applied
from kasuwa.base.nameless import NamelessFile
from kasuwa.base.problems import Problem
from kasuwa.base.secrets import key_mark
from kasuwa.base.storage import BlobMissing, Blobs, open_blobs
from kasuwa.cli.backup.archive import (
    DUMP,
    FILES,
    FORMAT,
    HEADER,
    KEY,
    MANIFEST,
    ArchiveRefused,
    ArchiveWriter,
    Manifest,
    writing,
)
from kasuwa.cli.backup.programs import pg_dump
from kasuwa.cli.doctor.rows import Owner
from kasuwa.cli.output import say, say_json
from kasuwa.database import DatabaseUrls, sealing_keys, visiting_database
from kasuwa.settings import Settings

_TRIES = 5
_READS_AT_ONCE = 16

# Pictures that nobody shows may be swept at any moment. The sweep passes over rows that somebody holds, and
# so does not wait; uploads of the same bytes are not held up either.
_HOLD_UNUSED = "SELECT 1 FROM picture WHERE unused_since IS NOT NULL FOR KEY SHARE"

_KEYS = """
    SELECT substr(r.path, 8) AS key
    FROM picture p, jsonb_to_recordset(p.renditions) AS r (path text) WHERE p.format IS NOT NULL
    ORDER BY 1
"""
_ORIGINALS = """
    SELECT merchant_id || '/' || left(encode(sha256, 'hex'), 2) || '/' || encode(sha256, 'hex') || '/original'
    FROM picture WHERE format IS NOT NULL
"""


class FileMissing(Problem):
    status = 500
    code = "file-missing"
    title = "A file that a row promises is not there"


def run_backup(settings: Settings, file: Path, *, with_key: bool, as_json: bool) -> None:
    """Write the archive `file` and say what is in it. Works beside a running server."""
    if not file.parent.is_dir():
        raise ArchiveRefused(f"The folder {file.parent} is not there. Make it, or name another.")
    with visiting_database(settings) as urls:
        manifest = asyncio.run(take_backup(settings, urls, file.absolute(), with_key=with_key))
    total_bytes = file.stat().st_size
    if as_json:
        say_json({"file": str(file), "size_bytes": total_bytes, "rows": manifest.rows, "with_key": with_key})
        return
    pictures = sum(part.name.startswith(FILES) for part in manifest.parts)
    say(f"{file}: {total_bytes / 1e6:.1f} MB, {sum(manifest.rows.values())} rows, {pictures} files, verified")
    if not with_key:
        say("The sealing key is not in it: keep a copy of secret.key somewhere else, or use --with-key.")


async def take_backup(settings: Settings, urls: DatabaseUrls, file: Path, *, with_key: bool) -> Manifest:
    """Dump, copy, name every part, read the archive again. Raises ProgramFailed, ArchiveRefused."""
    blobs = open_blobs(settings.storage_url or str(settings.data_folder() / "files"))
    owner = await asyncpg.connect(urls.owner)
    try:
        snapshot = await _begin(owner)
        facts = await _facts(settings, owner)
        with NamelessFile(file.parent) as dump, writing(file) as archive:
            await pg_dump(settings, urls.owner, snapshot, dump.path)
            archive.add(HEADER, msgspec.json.encode({"format": FORMAT, "created_at": facts.created_at}))
            archive.add_file(DUMP, dump.path)
            if with_key:
                archive.add(KEY, "\n".join(sealing_keys(settings)).encode())
            await _add_files(archive, owner, blobs, originals=settings.originals)
            manifest = msgspec.structs.replace(facts, parts=tuple(archive.parts))
            archive.add(MANIFEST, msgspec.json.encode(manifest))
        return manifest
    finally:
        await blobs.close()
        await owner.close()


async def _begin(owner: Owner) -> str:
    """A transaction whose snapshot pg_dump shares; the id of the snapshot."""
    for tries_left in reversed(range(_TRIES)):
        await owner.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            snapshot: str = await owner.fetchval("SELECT pg_export_snapshot()")
            await owner.execute(_HOLD_UNUSED)
        except asyncpg.SerializationError:
            # One of them was taken into use this very moment.
            await owner.execute("ROLLBACK")
            if not tries_left:
                raise
        else:
            return snapshot
    raise AssertionError("the loop returns or raises")


async def _facts(settings: Settings, owner: Owner) -> Manifest:
    tables = await owner.fetch(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relpersistence = 'p' ORDER BY 1
        """
    )
    rows = {
        row["relname"]: await owner.fetchval(f'SELECT count(*) FROM "{row["relname"]}"')  # noqa: S608
        for row in tables
    }
    return Manifest(
        format=FORMAT,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        kasuwa_version=kasuwa.__version__,
        postgres_version=await owner.fetchval("SHOW server_version"),
        migrations=await applied(owner),
        rows=rows,
        key_marks=tuple(key_mark(key) for key in sealing_keys(settings)),
        parts=(),
    )


async def _add_files(archive: ArchiveWriter, owner: Owner, blobs: Blobs, *, originals: bool) -> None:
    keys = [row[0] for row in await owner.fetch(_KEYS)]
    if originals:
        wanted = [row[0] for row in await owner.fetch(_ORIGINALS)]
        keys += [key for key in wanted if await blobs.exists(key)]
    for begin in range(0, len(keys), _READS_AT_ONCE):
        batch = keys[begin : begin + _READS_AT_ONCE]
        try:
            contents = await asyncio.gather(*(blobs.get(key) for key in batch))
        except BlobMissing as missing:
            raise FileMissing(
                f"The file {missing} is not there, so no backup was written. `kasuwa doctor` names all that "
                "are missing."
            ) from None
        for key, content in zip(batch, contents, strict=True):
            archive.add(FILES + key, content)
