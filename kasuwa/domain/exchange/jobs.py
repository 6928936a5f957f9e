"""Imports that a worker carries out: started by a call, polled, carried on when a worker dies."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Caller, Context, MerchantId, Services, StoreId, UserId
from kasuwa.base.db import Database
from kasuwa.base.jobs import enqueue
from kasuwa.base.nameless import NamelessFile
from kasuwa.base.tables.survey import fingerprint
from kasuwa.domain.exchange import runs
from kasuwa.domain.exchange.errors import ImportElsewhere
from kasuwa.domain.exchange.imports import check_table, run_import
from kasuwa.domain.exchange.picture_runs import run_pictures
from kasuwa.domain.exchange.pictures import check_archive
from kasuwa.domain.exchange.records import ImportOptions, ImportRun
from kasuwa.domain.permissions import Permission

IMPORT_JOB = "exchange.import"
# Of a file that a call brings. It is kept in the database until the import has ended.
MOST_BYTES = 256 * 1024 * 1024

_PART_BYTES = 1024 * 1024
# Below the lease of a job: what is left is for the next one.
_SECONDS = 180.0


class _Work(Struct, frozen=True, kw_only=True):
    """Whose import it is: the job acts with what the caller was allowed."""

    import_id: UUID
    store_id: UUID
    kind: str
    caller_id: str
    user_id: UUID | None
    role: str
    permissions: list[str]


async def start_import(context: Context, path: Path, file_name: str, options: ImportOptions) -> ImportRun:
    """Keep the file and have a worker import it; `import_progress` tells how far it is.

    The same file with the same options, while it is not done, is the same import. Raises TableWrong for what
    is no table, and for a header that cannot be taken.
    """
    context.require(Permission.STOCK_WRITE)
    if options.stock != "kept":
        context.require(Permission.STOCK_QUANTITY)
    found = await check_table(context, path, options)
    async with context.transaction() as db:
        run = await runs.open_run(
            context,
            file_name=file_name,
            file_sha256=found.sha256,
            size_bytes=found.size_bytes,
            options=options,
        )
        await _keep(db, run.import_id, path)
        await _enqueue(context, db, run)
    return run


async def start_pictures(context: Context, path: Path, file_name: str) -> ImportRun:
    """Keep the zip and have a worker show its pictures on the products that their names tell.

    The same file, while it is not done, is the same import. Raises ArchiveWrong.
    """
    context.require(Permission.STOCK_WRITE)
    await asyncio.to_thread(check_archive, path)
    found = await asyncio.to_thread(fingerprint, path)
    async with context.transaction() as db:
        run = await runs.open_run(
            context,
            file_name=file_name,
            file_sha256=found.sha256,
            size_bytes=found.size_bytes,
            options=ImportOptions(),
            kind="pictures",
        )
        await _keep(db, run.import_id, path)
        await _enqueue(context, db, run)
    return run


async def import_progress(context: Context, import_id: UUID) -> ImportRun:
    """How far an import of the caller's store has come. Raises ImportNotFound."""
    context.require(Permission.STOCK_WRITE)
    return await runs.read_run(context, import_id)


async def list_imports(context: Context, *, before: UUID | None, size: int) -> list[ImportRun]:
    """The imports of the caller's store, the newest first; without notes, faults, changes and header."""
    context.require(Permission.STOCK_WRITE)
    return await runs.list_runs(context, before=before, size=size)


async def cancel_import(context: Context, import_id: UUID) -> ImportRun:
    """Take no more of the file; what is done stays. Raises ImportNotFound, ImportEnded."""
    context.require(Permission.STOCK_WRITE)
    async with context.transaction() as db:
        await runs.cancel_run(context, db, import_id)
        await _drop_file(db, import_id)
        return await runs.read_run(context, import_id)


async def run_import_job(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Go on with an import for a few minutes; what is left is the next job's."""
    assert merchant_id is not None
    work = msgspec.convert(payload, _Work)
    context = _context(services, merchant_id, work)
    run = await runs.read_run(context, work.import_id)
    if run.status == "running":
        run = await _go_on(context, run)
    async with context.transaction() as db:
        if run.status == "running":
            await _enqueue(context, db, run)
        else:
            await _drop_file(db, run.import_id)


async def _go_on(context: Context, run: ImportRun) -> ImportRun:
    aside = await asyncio.to_thread(put_aside, context.services)
    carry_out = run_import if run.kind == "products" else run_pictures
    try:
        await _fetch(context, run.import_id, aside.path)
        return await carry_out(context, run, aside.path, until=monotonic() + _SECONDS)
    except ImportElsewhere:
        now = await runs.read_run(context, run.import_id)
        if now.status == "running":
            raise
        # It was cancelled meanwhile: what was being written is undone.
        return now
    finally:
        await asyncio.to_thread(aside.close)


async def _enqueue(context: Context, db: Database, run: ImportRun) -> None:
    caller = context.caller
    work = _Work(
        import_id=run.import_id,
        store_id=run.store_id,
        kind=caller.kind,
        caller_id=caller.id,
        user_id=caller.user_id,
        role=caller.role,
        permissions=sorted(caller.permissions),
    )
    await enqueue(db, IMPORT_JOB, work, unique_key=f"{IMPORT_JOB}:{run.import_id}:{run.rows_done}")


def _context(services: Services, merchant_id: UUID, work: _Work) -> Context:
    caller = Caller(
        kind=work.kind,
        id=work.caller_id,
        merchant_id=MerchantId(merchant_id),
        store_id=StoreId(work.store_id),
        user_id=None if work.user_id is None else UserId(work.user_id),
        role=work.role,
        permissions=frozenset(work.permissions),
    )
    return Context(services, caller, request_id=f"import {work.import_id}")


def put_aside(services: Services) -> NamelessFile:
    """An empty file on the disk of the data folder, for whoever closes it. Raises NoSpace.

    Not in the system's temporary folder, which may lie in memory.
    """
    return NamelessFile(services.settings.data_folder())


async def _keep(db: Database, import_id: UUID, path: Path) -> None:
    with await asyncio.to_thread(path.open, "rb") as file:
        part = 0
        while content := await asyncio.to_thread(file.read, _PART_BYTES):
            await db.execute(
                """
                INSERT INTO import_file (merchant_id, import_id, part, content)
                VALUES (current_merchant(), :import_id, :part, :content)
                ON CONFLICT (merchant_id, import_id, part) DO NOTHING
                """,
                import_id=import_id,
                part=part,
                content=content,
            )
            part += 1


async def _drop_file(db: Database, import_id: UUID) -> None:
    await db.execute(
        "DELETE FROM import_file WHERE merchant_id = current_merchant() AND import_id = :import_id",
        import_id=import_id,
    )


async def _fetch(context: Context, import_id: UUID, path: Path) -> None:
    with await asyncio.to_thread(path.open, "wb") as out:
        part = 0
        while True:
            async with context.reading() as db:
                content = await db.value(
                    """
                    SELECT content FROM import_file
                    WHERE merchant_id = current_merchant() AND import_id = :import_id AND part = :part
                    """,
                    import_id=import_id,
                    part=part,
                )
            if content is None:
                return
            await asyncio.to_thread(out.write, content)
            part += 1
