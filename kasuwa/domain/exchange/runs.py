"""What is kept of an import: written in the transaction of the rows that it tells of."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.domain.exchange.errors import ImportElsewhere, ImportEnded, ImportNotFound
from kasuwa.domain.exchange.records import FaultKind, ImportKind, ImportOptions, ImportRun, ShownChange

_COLUMNS = """
    import_id, store_id, kind, file_name, file_sha256, size_bytes, options, status, reason, rows_done,
    fraction, created, updated, skipped, failed, failed_rows, notes, faults, changes, header, created_at,
    updated_at, started_at, ended_at
"""
# What a list leaves out: it may be long, and is read one import at a time.
_SHORT_COLUMNS = _COLUMNS.replace(
    "notes, faults, changes, header",
    ", ".join(f"'[]'::jsonb AS {name}" for name in ("notes", "faults", "changes", "header")),
)
LIST_RUNS = f"""
    SELECT {_SHORT_COLUMNS} FROM import_run
    WHERE merchant_id = current_merchant() AND store_id = :store_id
      AND (:before::uuid IS NULL OR import_id < :before)
    ORDER BY import_id DESC LIMIT :size
"""  # noqa: S608 - our own column names


def _run(**row: Any) -> ImportRun:
    """A row of `_COLUMNS`; jsonb comes as text."""
    kinds: dict[str, Any] = {
        "options": ImportOptions,
        "notes": list[str],
        "faults": list[FaultKind],
        "changes": list[ShownChange],
        "header": list[str],
    }
    return ImportRun(
        **row | {name: msgspec.json.decode(row[name], type=kind) for name, kind in kinds.items()}
    )


async def open_run(
    context: Context,
    *,
    file_name: str,
    file_sha256: str,
    size_bytes: int,
    options: ImportOptions,
    kind: ImportKind = "products",
) -> ImportRun:
    """The unfinished run of this file with these options at the caller's store, or a new one.

    It is locked: it does not end before the caller's transaction does.
    """
    same = {
        "store_id": context.store_id,
        "kind": kind,
        "file_sha256": file_sha256,
        "options": _json(options),
    }
    async with context.transaction() as db:
        while True:
            await db.execute(
                """
                INSERT INTO import_run (merchant_id, import_id, store_id, kind, file_name, file_sha256,
                                        size_bytes, options, created_by)
                VALUES (current_merchant(), :import_id, :store_id, :kind, :file_name, :file_sha256,
                        :size_bytes, :options, :user_id)
                ON CONFLICT (merchant_id, store_id, kind, file_sha256, md5(options::text))
                  WHERE status = 'running'
                DO NOTHING
                """,
                **same,
                import_id=new_id(),
                file_name=file_name[:255],
                size_bytes=size_bytes,
                user_id=context.caller.user_id,
            )
            run = await db.find(
                f"""
                SELECT {_COLUMNS} FROM import_run
                WHERE merchant_id = current_merchant() AND store_id = :store_id AND kind = :kind
                  AND file_sha256 = :file_sha256 AND md5(options::text) = md5(:options::jsonb::text)
                  AND status = 'running'
                FOR NO KEY UPDATE
                """,  # noqa: S608 - our own column names
                into=_run,
                **same,
            )
            # None: the run that stood in the way has ended since.
            if run is not None:
                return run


async def read_run(context: Context, import_id: UUID) -> ImportRun:
    """An import of the caller's store. Raises ImportNotFound."""
    async with context.reading() as db:
        return await db.one(
            f"SELECT {_COLUMNS} FROM import_run"  # noqa: S608 - our own column names
            " WHERE merchant_id = current_merchant() AND store_id = :store_id AND import_id = :import_id",
            into=_run,
            missing=ImportNotFound(),
            store_id=context.store_id,
            import_id=import_id,
        )


async def list_runs(context: Context, *, before: UUID | None, size: int) -> list[ImportRun]:
    """The imports of the caller's store, the newest first; without notes, faults, changes and header."""
    async with context.reading() as db:
        return await db.all(LIST_RUNS, into=_run, store_id=context.store_id, before=before, size=size)


async def note_start(context: Context, run: ImportRun) -> None:
    """Somebody begins with it, or goes on."""
    async with context.transaction() as db:
        await db.execute(
            """
            UPDATE import_run SET started_at = now(), updated_at = now()
            WHERE merchant_id = current_merchant() AND import_id = :import_id AND started_at IS NULL
            """,
            import_id=run.import_id,
        )


async def cancel_run(context: Context, db: Database, import_id: UUID) -> None:
    """What is done stays; the rest of the file is not taken. Raises ImportNotFound, ImportEnded."""
    found = await db.find(
        """
        UPDATE import_run SET status = 'cancelled', ended_at = now(), updated_at = now()
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND import_id = :import_id
          AND status = 'running'
        RETURNING import_id
        """,
        into=lambda import_id: import_id,
        store_id=context.store_id,
        import_id=import_id,
    )
    if found is None:
        await read_run(context, import_id)
        raise ImportEnded("What it has done stays. Start a new import to take the rest of the file.")


async def note_progress(db: Database, before: ImportRun, now: ImportRun) -> None:
    """Write how far the run has come. Raises ImportElsewhere when somebody else has gone on with it."""
    changed = await db.execute(
        """
        UPDATE import_run SET
          status = :status, reason = :reason, rows_done = :rows_done, fraction = :fraction,
          created = :created, updated = :updated, skipped = :skipped, failed = :failed,
          failed_rows = :failed_rows, notes = :notes,
          faults = :faults, changes = :changes, header = :header, updated_at = now(),
          ended_at = CASE WHEN :status <> 'running' THEN now() END
        WHERE merchant_id = current_merchant() AND import_id = :import_id AND rows_done = :rows_before
          AND status = 'running'
        """,
        import_id=before.import_id,
        rows_before=before.rows_done,
        status=now.status,
        reason=now.reason,
        rows_done=now.rows_done,
        fraction=now.fraction,
        created=now.created,
        updated=now.updated,
        skipped=now.skipped,
        failed=now.failed,
        failed_rows=now.failed_rows,
        notes=_json(now.notes),
        faults=_json(now.faults),
        changes=_json(now.changes),
        header=_json(now.header),
    )
    if not changed:
        raise ImportElsewhere()


async def keep_failed(db: Database, import_id: UUID, first_row: int, lines: Sequence[str]) -> None:
    await db.execute(
        """
        INSERT INTO import_failure (merchant_id, import_id, first_row, lines)
        VALUES (current_merchant(), :import_id, :first_row, :lines)
        """,
        import_id=import_id,
        first_row=first_row,
        lines="\n".join(lines),
    )


async def read_failed(context: Context, import_id: UUID) -> AsyncIterator[str]:
    """The lines that were kept, in the order of the file's rows, a few at a time."""
    after = -1
    while True:
        async with context.reading() as db:
            found = await db.find(
                """
                SELECT first_row, lines FROM import_failure
                WHERE merchant_id = current_merchant() AND import_id = :import_id AND first_row > :after
                ORDER BY first_row LIMIT 1
                """,
                into=lambda first_row, lines: (first_row, lines),
                import_id=import_id,
                after=after,
            )
        if found is None:
            return
        after, lines = found
        for line in lines.split("\n"):
            yield line


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
