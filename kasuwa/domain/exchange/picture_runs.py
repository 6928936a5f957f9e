"""Pictures from a zip as an import that is noted picture by picture, and goes on where it stopped."""

import asyncio
import zipfile
from pathlib import Path
from time import monotonic

import msgspec
from msgspec.structs import replace

from kasuwa.base.context import Context
from kasuwa.base.problems import Problem, Unavailable
from kasuwa.domain.exchange import runs
from kasuwa.domain.exchange.errors import ImportElsewhere
from kasuwa.domain.exchange.imports import gathered
from kasuwa.domain.exchange.pictures import (
    Named,
    PictureOutcome,
    import_picture,
    named_pictures,
    open_pictures,
)
from kasuwa.domain.exchange.records import ImportRun
from kasuwa.domain.exchange.rows import RowFault, printable
from kasuwa.domain.permissions import Permission

# The header of the file of pictures that failed.
_HEADER = ["file"]
_COUNTED = {"shown": "created", "skipped": "skipped", "failed": "failed"}


async def run_pictures(
    context: Context, run: ImportRun, path: Path, *, until: float = float("inf")
) -> ImportRun:
    """Take the pictures that have not been taken yet; see `run_import`.

    A picture is shown before that is noted: one that a crash came between is found there, and skipped.
    """
    context.require(Permission.STOCK_WRITE)
    await runs.note_start(context, run)
    try:
        archive = await asyncio.to_thread(open_pictures, path)
        with archive:
            run = await _take(context, run, archive, until)
    except (Unavailable, ImportElsewhere):
        raise
    except Problem as wrong:
        run = await runs.read_run(context, run.import_id)
        return await _end(context, run, "failed", wrong.detail or wrong.title)
    return run


async def _take(context: Context, run: ImportRun, archive: zipfile.ZipFile, until: float) -> ImportRun:
    everything = await asyncio.to_thread(named_pictures, archive)
    for number, named in enumerate(everything[run.rows_done :], start=run.rows_done + 1):
        outcome = await import_picture(context, archive, named)
        run = await _note(context, run, number, number / len(everything), named, outcome)
        if monotonic() > until:
            return run
    return await _end(context, run, "done", "")


async def _note(
    context: Context, before: ImportRun, number: int, fraction: float, named: Named, outcome: PictureOutcome
) -> ImportRun:
    counted = _COUNTED[outcome.status]
    now = replace(
        before,
        rows_done=number,
        fraction=fraction,
        header=_HEADER,
        **{counted: getattr(before, counted) + 1},
    )
    async with context.transaction() as db:
        if outcome.status == "failed":
            name = printable(named.member, 1000)
            fault = RowFault(number, "file", printable(named.member), "picture", outcome.reason)
            now = replace(now, failed_rows=now.failed_rows + 1, faults=gathered(now.faults, [fault]))
            line = msgspec.json.encode([number, outcome.reason, [name]]).decode()
            await runs.keep_failed(db, before.import_id, number, [line])
        await runs.note_progress(db, before, now)
    return now


async def _end(context: Context, before: ImportRun, status: str, reason: str) -> ImportRun:
    fraction = 1.0 if status == "done" else before.fraction
    now = replace(before, status=status, reason=reason, fraction=fraction)
    async with context.transaction() as db:
        await runs.note_progress(db, before, now)
    return now
