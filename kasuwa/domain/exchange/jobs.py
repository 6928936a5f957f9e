"""Imports that a worker carries out: started by a call, polled, carried on when a worker dies."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Caller, Context, MerchantId, Services, StoreId, UserId
from kasuwa.base.db import Database
from kasuwa.base.jobs import enqueue
from kasuwa.base.problems import Problem
from kasuwa.domain.exchange.imports import begin_import, run_import
from kasuwa.domain.exchange.records import ImportOptions, ImportRun
from kasuwa.domain.exchange.runs import read_run
from kasuwa.domain.permissions import Permission

IMPORT_JOB = "exchange.import"
MOST_BYTES = 256 * 1024 * 1024

_PART_BYTES = 1024 * 1024
# Below the lease of a job: what is left is for the next one.
_SECONDS = 180.0


class FileTooLarge(Problem):
    status = 413
    code = "too-large"
    title = "The file is over the limit"


class _Work(Struct, frozen=True, kw_only=True):
    """Whose import it is: the job acts with what the caller was allowed."""

    import_id: UUID
    store_id: UUID
    kind: str
    caller_id: str
    user_id: UUID | None
    role: str
    permissions: list[str]


async def start_import(
    context: Context, pieces: AsyncIterator[bytes], file_name: str, options: ImportOptions
) -> ImportRun:
    """Keep the file and have a worker import it; `import_progress` tells how far it is.

    The same file with the same options, while it is not done, is the same import. Raises TableWrong for what
    is no table, FileTooLarge.
    """
    context.require(Permission.STOCK_WRITE)
    path = await asyncio.to_thread(_temporary)
    try:
        await _spool(pieces, path)
        async with context.transaction() as db:
            run = await begin_import(context, path, file_name, options)
            await _keep(db, run.import_id, path)
            await _enqueue(context, db, run)
    finally:
        await asyncio.to_thread(path.unlink)
    return run


async def import_progress(context: Context, import_id: UUID) -> ImportRun:
    """How far an import has come. Raises ImportNotFound."""
    context.require(Permission.STOCK_WRITE)
    return await read_run(context, import_id)


async def run_import_job(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Go on with an import for a few minutes; what is left is the next job's."""
    assert merchant_id is not None
    work = msgspec.convert(payload, _Work)
    context = _context(services, merchant_id, work)
    run = await read_run(context, work.import_id)
    if run.status != "running":
        return
    path = await asyncio.to_thread(_temporary)
    try:
        await _fetch(context, run.import_id, path)
        run = await run_import(context, run, path, until=monotonic() + _SECONDS)
    finally:
        await asyncio.to_thread(path.unlink)
    async with context.transaction() as db:
        if run.status == "running":
            await _enqueue(context, db, run)
        else:
            await db.execute(
                "DELETE FROM import_file WHERE merchant_id = current_merchant() AND import_id = :import_id",
                import_id=run.import_id,
            )


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


def _temporary() -> Path:
    handle, name = tempfile.mkstemp(prefix="kasuwa-import-")
    os.close(handle)
    return Path(name)


async def _spool(pieces: AsyncIterator[bytes], path: Path) -> None:
    size = 0
    with await asyncio.to_thread(path.open, "wb") as out:
        async for piece in pieces:
            size += len(piece)
            if size > MOST_BYTES:
                raise FileTooLarge(f"A file has at most {MOST_BYTES // 2**20} MB here; part it.")
            await asyncio.to_thread(out.write, piece)


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
