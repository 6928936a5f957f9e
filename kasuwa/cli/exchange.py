"""`kasuwa import products` and `kasuwa export products`."""

import gc
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import msgspec

from kasuwa.base.context import Context
from kasuwa.cli.output import fail, say, say_json, warn
from kasuwa.cli.visiting import in_a_store
from kasuwa.domain.exchange.exports import EXPORTS, failed_rows
from kasuwa.domain.exchange.imports import begin_import, run_import
from kasuwa.domain.exchange.pictures import PictureOutcome, check_archive, import_pictures
from kasuwa.domain.exchange.records import ImportOptions, ImportRun
from kasuwa.settings import Settings

_SHOWN_CHANGES = 50


def import_products(
    settings: Settings,
    file: Path,
    store: str | None,
    options: ImportOptions,
    *,
    pictures: Path | None,
    failed: Path | None,
    as_json: bool,
) -> int:
    """Import the file and print what became of it; 1 when any row failed."""
    for wanted in (file, pictures):
        if wanted is not None and not wanted.is_file():
            fail(f"there is no file {wanted}")
    if pictures is not None:
        # Before any row: a zip that cannot be read would leave an import that is never done.
        check_archive(pictures)
    target = failed or file.with_name(f"{file.stem}.failed.csv")

    async def act(acting: Context) -> tuple[ImportRun, dict[str, int]]:
        run = await begin_import(acting, file, file.name, options)
        if run.rows_done:
            warn(f"goes on after row {run.rows_done}, where it stopped")
        progress = _Progress(run)
        counts: dict[str, int] = {}

        async def show_pictures() -> None:
            progress.end()
            if pictures is not None and not options.dry_run:
                counts.update(await import_pictures(acting, pictures, watch=_tell_picture))

        run = await run_import(acting, run, file, watch=progress.show, afterwards=show_pictures)
        progress.end()
        if run.failed_rows:
            await _write(target, failed_rows(acting, run.import_id))
        return run, counts

    # A part's rows go as soon as it is written, without cycles: looking for some after each 700 new objects
    # takes a twelfth of our time.
    gc.set_threshold(100_000, 50, 100)
    run, counts = in_a_store(settings, store, act)
    if as_json:
        say_json({**msgspec.to_builtins(run), "pictures": counts})
    else:
        _report(run, counts, target)
    if run.status == "failed":
        fail(run.reason)
    return 1 if run.failed or counts.get("failed") else 0


def export_to(settings: Settings, file: Path, store: str | None, *, as_json: bool) -> None:
    """Write every product that is not archived to the file, in the format that its name ends in."""
    export = EXPORTS.get(file.suffix.lower().removeprefix("."))
    if export is None:
        *others, last = (f".{ending}" for ending in EXPORTS)
        fail(f"{file} does not say what to write: give it a name that ends in {', '.join(others)} or {last}")

    async def act(acting: Context) -> None:
        await _write(file, export(acting))

    in_a_store(settings, store, act)
    if as_json:
        say_json({"file": str(file), "size_bytes": file.stat().st_size})
    else:
        say(f"exported to {file}")


async def _write(file: Path, pieces: AsyncIterator[bytes]) -> None:
    """Whole or not at all: what was there before stays until the new file is written."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("wb") as out:
            async for piece in pieces:
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


_BAR_WIDTH = 20


class _Progress:
    """A bar in one line that is written over, on a terminal; else a line every ten seconds."""

    def __init__(self, run: ImportRun) -> None:
        self._begun = self._told = monotonic()
        self._rows, self._fraction = run.rows_done, run.fraction
        self._is_terminal = sys.stderr.isatty()

    def show(self, run: ImportRun) -> None:
        now = monotonic()
        if not self._is_terminal and now - self._told < 10:
            return
        self._told = now
        rate = (run.rows_done - self._rows) / max(now - self._begun, 0.001)
        done = run.fraction - self._fraction
        left = (now - self._begun) * (1 - run.fraction) / done if done > 0 else 0.0
        text = f"{run.rows_done} rows, {rate:.0f} rows/s, {left:.0f} s left, {run.failed} failed"
        if self._is_terminal:
            bar = "#" * int(_BAR_WIDTH * run.fraction)
            text = f"\r[{bar:.<{_BAR_WIDTH}}] {run.fraction:4.0%}  {text}\x1b[K"
        else:
            text += "\n"
        sys.stderr.write(text)
        sys.stderr.flush()

    def end(self) -> None:
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")


def _tell_picture(outcome: PictureOutcome) -> None:
    if outcome.status == "failed":
        warn(f"{outcome.name}: {outcome.reason}")


def _report(run: ImportRun, counts: dict[str, int], target: Path) -> None:
    for note in run.notes:
        say(f"  {note}")
    verb = "would be " if run.options.dry_run else ""
    say(
        f"read to row {run.rows_done}; products {verb}created {run.created}, {verb}updated {run.updated}, "
        f"{verb}left as they are {run.skipped}, failed {run.failed}"
    )
    for change in run.changes[:_SHOWN_CHANGES]:
        say(f"  {change.sku}: {change.field}: {change.before!r} -> {change.after!r}")
    if len(run.changes) > _SHOWN_CHANGES:
        say(f"  and more; --json gives {len(run.changes)}")
    for kind in run.faults:
        first = kind.places[0]
        column = f" {kind.column} {first.value!r}" if kind.column else ""
        others = f" ({kind.count} times)" if kind.count > 1 else ""
        say(f"  row {first.row}{column}: {kind.message}{others}")
    if run.failed_rows:
        say(f"the {run.failed_rows} failed rows are in {target}: put them right and import that file")
    if counts:
        say(f"pictures shown {counts['shown']}, there already {counts['skipped']}, failed {counts['failed']}")
