"""`kasuwa restore`: into a new database beside the old one, which it replaces once everything is there."""

import asyncio
import mimetypes
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from kasuwa.base.migrate import read_migrations
from kasuwa.base.nameless import NamelessFile
from kasuwa.base.postgres.folder import write_file
from kasuwa.base.problems import Conflict
from kasuwa.base.secrets import Sealer, key_mark
from kasuwa.base.storage import open_blobs
from kasuwa.cli.backup.archive import DUMP, FILES, KEY, ArchiveRefused, Manifest, parts, verify
from kasuwa.cli.backup.programs import pg_restore, with_database
from kasuwa.cli.doctor.examination import examine, print_report
from kasuwa.cli.doctor.report import Report
from kasuwa.cli.doctor.rows import Owner
from kasuwa.cli.output import say, say_json, warn
from kasuwa.database import (
    MIGRATIONS,
    PROBE,
    DatabaseUrls,
    migrated,
    prepare_database,
    sealing_keys,
    visiting_database,
)
from kasuwa.settings import Settings

_PUTS_AT_ONCE = 16


class DataThere(Conflict):
    code = "data-there"
    title = "There is a shop here already"


class StillUsed(Conflict):
    code = "still-used"
    title = "The database is in use"


class Restored(Struct, frozen=True, kw_only=True):
    """`kept_aside` is the name of the database that was here before, when there was one with a shop in it."""

    manifest: Manifest
    report: Report
    kept_aside: str | None
    sealed_is_lost: bool

    @property
    def ok(self) -> bool:
        """Files of a shop that was kept aside are strays, and that is all right."""
        return all(c.ok for c in self.report.checks if not (self.kept_aside and c.check == "stray files"))


def run_restore(settings: Settings, file: Path, *, force: bool, as_json: bool) -> int:
    """Restore, examine, and answer the exit code. Raises ArchiveRefused, DataThere, StillUsed."""
    if not file.is_file():
        raise ArchiveRefused(f"{file} is not there.")
    manifest = verify(file)
    refuse_newer(file, manifest)
    _bring_keys(settings, file)
    with visiting_database(settings) as urls:
        restored = asyncio.run(restore(settings, urls, file, manifest, force=force))
    if as_json:
        say_json(
            {
                "ok": restored.ok,
                "created_at": manifest.created_at,
                "kept_aside": restored.kept_aside,
                "sealed_is_lost": restored.sealed_is_lost,
                "doctor": restored.report,
            }
        )
    else:
        print_report(restored.report)
        say(f"restored the backup of {manifest.created_at}")
        if restored.kept_aside:
            say(f"the database that was here is kept as {restored.kept_aside}; its files lie where they were")
    if restored.sealed_is_lost:
        warn(
            "kasuwa: the key that sealed this data is not here, so what it sealed (codes, secrets, bank "
            "numbers) cannot be read. Add its line to secret.key or KASUWA_SECRET_KEY, after the first one."
        )
    return 0 if restored.ok else 1


def refuse_newer(file: Path, manifest: Manifest) -> None:
    """Raises ArchiveRefused for data that only a later version can read."""
    known = {migration.name: migration.sha256 for migration in read_migrations(MIGRATIONS)}
    if any(known.get(name) != sha256 for name, sha256 in manifest.migrations.items()):
        raise ArchiveRefused(
            f"{file} was written by Kasuwa {manifest.kasuwa_version} with migrations that this version does "
            "not know. Restore it with that version or a later one."
        )


async def restore(
    settings: Settings, urls: DatabaseUrls, file: Path, manifest: Manifest, *, force: bool
) -> Restored:
    """Bring a verified archive into place. Until the last step nothing that was here has changed."""
    name = settings.database_name
    await _check_target(urls, name, force=force)
    aside = msgspec.structs.replace(settings, database_name=f"{name}_restoring")
    new_urls = DatabaseUrls(
        urls.admin,
        with_database(urls.owner, aside.database_name),
        with_database(urls.application, aside.database_name),
    )
    await _drop(urls, aside.database_name)
    try:
        await prepare_database(aside, new_urls)
        await _bring_parts(settings, new_urls, file)
        await _check_counts(new_urls, manifest)
        await migrated(new_urls)
        await _analyze(new_urls)
        lost = await _renew_probe(settings, new_urls, manifest)
        kept_aside = await _swap(urls, name, aside.database_name)
    except BaseException:
        await _drop(urls, aside.database_name)
        raise
    report = await examine(settings, urls)
    return Restored(manifest=manifest, report=report, kept_aside=kept_aside, sealed_is_lost=lost)


def _bring_keys(settings: Settings, file: Path) -> None:
    """Put the archive's keys behind our own: what was sealed can be opened, and our first key stays first."""
    archived = next((part.read().decode().split() for name, part in parts(file) if name == KEY), [])
    if not archived or settings.secret_key:
        return
    place = settings.data_folder() / "secret.key"
    own = place.read_text("utf-8").split() if place.exists() else []
    keys = list(dict.fromkeys([*own, *archived]))
    if keys != own:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_file(place, "\n".join(keys) + "\n", None)


async def _check_target(urls: DatabaseUrls, name: str, *, force: bool) -> None:
    admin = await asyncpg.connect(urls.admin)
    try:
        users = await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name)
    finally:
        await admin.close()
    if users:
        raise StillUsed(f"{users} connections use the database {name}. Stop the server first.")
    owner = await asyncpg.connect(urls.owner)
    try:
        merchants = await owner.fetchval("SELECT count(*) FROM merchant")
    finally:
        await owner.close()
    if merchants and not force:
        raise DataThere(
            f"The database {name} holds {merchants} merchants. Name an empty data folder by --data, or use "
            "--force: then the present database is kept under another name."
        )


async def _bring_parts(settings: Settings, urls: DatabaseUrls, file: Path) -> None:
    blobs = open_blobs(settings.storage_url or str(settings.data_folder() / "files"))
    # With the database, the pictures and the key elsewhere nothing has made it yet.
    settings.data_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    waiting: set[asyncio.Task[None]] = set()
    try:
        for name, part in parts(file):
            if name == DUMP:
                with NamelessFile(settings.data_folder()) as dump:
                    with dump.path.open("wb") as out:
                        while chunk := part.read(1024 * 1024):
                            out.write(chunk)
                    await pg_restore(settings, urls.owner, dump.path)
            elif name.startswith(FILES):
                key = name.removeprefix(FILES)
                kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
                waiting.add(asyncio.create_task(blobs.put(key, part.read(), kind)))
                if len(waiting) >= _PUTS_AT_ONCE:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
        await asyncio.gather(*waiting)
    finally:
        await asyncio.gather(*waiting, return_exceptions=True)
        await blobs.close()


async def _check_counts(urls: DatabaseUrls, manifest: Manifest) -> None:
    owner = await asyncpg.connect(urls.owner)
    try:
        for table, count in manifest.rows.items():
            found = await owner.fetchval(f'SELECT count(*) FROM "{table}"')  # noqa: S608 - a table of ours
            if found != count:
                raise ArchiveRefused(f"{table} came back with {found} rows of {count}. Nothing was changed.")
    finally:
        await owner.close()


async def _analyze(urls: DatabaseUrls) -> None:
    """A dump brings no statistics: until there are some, plans are made as if every table were small."""
    owner = await asyncpg.connect(urls.owner)
    try:
        for (table,) in await owner.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ):
            await owner.execute(f'ANALYZE "{table}"')
    finally:
        await owner.close()


async def _renew_probe(settings: Settings, urls: DatabaseUrls, manifest: Manifest) -> bool:
    """Whether no key here is one that sealed the data; then the probe is sealed anew with ours."""
    keys = sealing_keys(settings)
    if {key_mark(key) for key in keys} & set(manifest.key_marks):
        return False
    owner: Owner = await asyncpg.connect(urls.owner)
    try:
        await owner.execute("UPDATE seal_probe SET sealed = $1, created_at = now()", Sealer(keys).seal(PROBE))
    finally:
        await owner.close()
    return True


async def _swap(urls: DatabaseUrls, name: str, restored: str) -> str | None:
    """Give the restored database its name; the one that was here gets another, or goes when it was empty."""
    owner = await asyncpg.connect(urls.owner)
    merchants = await owner.fetchval("SELECT count(*) FROM merchant")
    await owner.close()
    kept = f"{name}_before_{datetime.now(UTC):%Y%m%d%H%M%S}"
    admin = await asyncpg.connect(urls.admin)
    try:
        try:
            # Databases are renamed in one transaction: at no moment is there none of that name.
            async with admin.transaction():
                await admin.execute(f'ALTER DATABASE "{name}" RENAME TO "{kept}"')
                await admin.execute(f'ALTER DATABASE "{restored}" RENAME TO "{name}"')
        except asyncpg.ObjectInUseError:
            raise StillUsed(
                f"Somebody connected to the database {name} meanwhile. Stop the server first."
            ) from None
    finally:
        await admin.close()
    if merchants:
        return kept
    await _drop(urls, kept)
    return None


async def _drop(urls: DatabaseUrls, name: str) -> None:
    admin = await asyncpg.connect(urls.admin)
    try:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await admin.close()
