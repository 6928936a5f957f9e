"""Products and pictures from files: sent once, carried out by a worker, asked for until they are done."""

import asyncio
import difflib
from pathlib import Path
from typing import Any
from uuid import UUID

from kasuwa.api.manage.contract import (
    CancelProductImportPath,
    GetFailedRowsPath,
    GetProductImportPath,
    ListProductImportsQuery,
    StartPictureImportQuery,
    StartProductImportQuery,
)
from kasuwa.api.manage.paging import page, read_cursor
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange
from kasuwa.base.http.body import require_media_type, spool_body
from kasuwa.base.http.streams import Stream
from kasuwa.base.ids import read_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.exchange import jobs
from kasuwa.domain.exchange.errors import ImportNotFound
from kasuwa.domain.exchange.exports import failed_rows
from kasuwa.domain.exchange.records import FaultKind, ImportOptions, ImportRun

Json = dict[str, Any]


async def spool_file(exchange: Exchange) -> Path:
    """The body in a file, which goes when the request ends, or this process."""
    operation, request = exchange.operation, exchange.request
    assert operation is not None
    refuse_unknown(exchange)
    require_media_type(request, operation.body.keys())
    aside = await asyncio.to_thread(jobs.put_aside, exchange.context.services)

    async def close() -> None:
        await asyncio.to_thread(aside.close)

    exchange.at_end.append(close)
    exchange.fingerprint = await spool_body(request, jobs.MOST_BYTES, aside.path)
    return aside.path


def refuse_unknown(exchange: Exchange) -> None:
    """A parameter that is written wrong must not pass: without its `dryrun` an import changes the shop."""
    operation = exchange.operation
    assert operation is not None
    known = operation.query.__struct_fields__
    faults = []
    for name in exchange.request.query_params:
        if name not in known:
            near = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), known, n=1)
            advice = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
            # What nobody knows is not repeated: it may be anything.
            faults.append(FieldFault("#/query", "unknown", f"There is no such parameter. {advice}"))
    if faults:
        raise Invalid("Take out the parameters that are not known here, or write them right.", faults=faults)


@api.operation("startProductImport", read=spool_file)
async def start(exchange: Exchange, context: Context, query: StartProductImportQuery, body: Path) -> Answer:
    options = ImportOptions(
        on_duplicate=query.onduplicate,
        dry_run=query.dryrun,
        stock="overwritten" if query.overwritestock else "expected" if query.setstock else "kept",
        ignore_unknown=query.ignoreunknown,
        delimiter=query.delimiter,
        sheet=query.sheet,
    )
    run = await jobs.start_import(context, body, query.filename or "products", options)
    return _accepted(exchange, run)


@api.operation("startPictureImport", read=spool_file)
async def start_pictures(
    exchange: Exchange, context: Context, query: StartPictureImportQuery, body: Path
) -> Answer:
    run = await jobs.start_pictures(context, body, query.filename or "pictures.zip")
    return _accepted(exchange, run)


@api.operation("listProductImports")
async def list_all(context: Context, query: ListProductImportsQuery) -> Json:
    before = read_cursor(query.cursor)
    rows = await jobs.list_imports(context, before=before, size=query.size + 1)
    return page(rows, query.size, _listed, lambda run: run.import_id)


@api.operation("getProductImport")
async def get(context: Context, path: GetProductImportPath) -> Json:
    return _view(await jobs.import_progress(context, _id(path.importid)))


@api.operation("getFailedRows")
async def get_failed(context: Context, path: GetFailedRowsPath) -> Stream:
    import_id = _id(path.importid)
    return Stream(failed_rows(context, import_id), "text/csv; charset=utf-8", "failed-rows.csv")


@api.operation("cancelProductImport")
async def cancel(context: Context, path: CancelProductImportPath) -> Json:
    return _view(await jobs.cancel_import(context, _id(path.importid)))


def _accepted(exchange: Exchange, run: ImportRun) -> Answer:
    context = exchange.context
    place = f"{context.url_base}/manage/{context.store_id}/product-imports/{run.import_id}"
    return Answer(_view(run), headers={"Location": place})


def _id(text: str) -> UUID:
    found = read_id(text)
    if found is None:
        raise ImportNotFound()
    return found


def _listed(run: ImportRun) -> Json:
    rate, left = run.rows_per_second, run.seconds_left
    return {
        "importId": run.import_id,
        "storeId": run.store_id,
        "kind": run.kind,
        "fileName": run.file_name,
        "sizeBytes": run.size_bytes,
        "status": "waiting" if run.status == "running" and run.started_at is None else run.status,
        "reason": run.reason,
        "rowsDone": run.rows_done,
        "fraction": round(run.fraction, 4),
        "created": run.created,
        "updated": run.updated,
        "skipped": run.skipped,
        "failed": run.failed,
        "failedRows": run.failed_rows,
        "createdAt": run.created_at,
        "startedAt": run.started_at,
        "endedAt": run.ended_at,
        "rowsPerSecond": None if rate is None else round(rate, 1),
        "secondsLeft": None if left is None else round(left, 1),
    }


def _view(run: ImportRun) -> Json:
    options = run.options
    return _listed(run) | {
        "options": {
            "dryRun": options.dry_run,
            "onDuplicate": options.on_duplicate,
            "setStock": options.stock != "kept",
            "overwriteStock": options.stock == "overwritten",
            "ignoreUnknown": options.ignore_unknown,
            "delimiter": options.delimiter,
            "sheet": options.sheet,
        },
        "notes": run.notes,
        "faults": [_fault(kind) for kind in run.faults],
        "changes": [
            {"sku": one.sku, "column": one.field, "before": one.before, "after": one.after}
            for one in run.changes
        ],
    }


def _fault(kind: FaultKind) -> Json:
    return {
        "column": kind.column,
        "code": kind.code.replace("-", "_"),
        "hint": kind.message,
        "count": kind.count,
        "places": [{"row": place.row, "value": place.value} for place in kind.places],
    }
