"""Importing products from a file: read, written and noted by the few hundred rows.

Each part of the file is one transaction with the note of how far the import has come, so that one that was
cut short goes on where it stopped and makes nothing twice. Nothing but what has been seen (eight bytes for
each code) grows with the file. See docs/decisions/bulk.md.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from time import monotonic
from uuid import UUID

import msgspec
from msgspec.structs import replace

from kasuwa.base.context import Context
from kasuwa.base.problems import FieldFault, Problem, Unavailable
from kasuwa.base.tables import Table, TableWrong, open_table
from kasuwa.base.tables.survey import Survey, survey
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct, Outcome, Unreadable
from kasuwa.domain.catalogue.numbers import Numbers, NumbersAhead
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.exchange import runs
from kasuwa.domain.exchange.categories import CategoryPaths
from kasuwa.domain.exchange.changes import shown_change
from kasuwa.domain.exchange.columns import LIMITS, Column, read_header
from kasuwa.domain.exchange.errors import ImportElsewhere
from kasuwa.domain.exchange.overlap import Turn, overlapped
from kasuwa.domain.exchange.records import (
    MOST_CHANGES,
    MOST_FAULT_KINDS,
    MOST_PLACES,
    MOST_ROWS,
    FaultKind,
    ImportOptions,
    ImportRun,
)
from kasuwa.domain.exchange.rows import Group, Reader, RowFault, place_fault, printable
from kasuwa.domain.exchange.seen import SeenCodes
from kasuwa.domain.merchants.quotas import has_row_quota
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import currency_of, store_labels

ROWS_AT_ONCE = 1000
# Of rows with the longest texts there may be, which are kept whole where they fail.
LETTERS_AT_ONCE = 16 * 1024 * 1024
_PART = tuple[list[Group], float]

Watch = Callable[[ImportRun], None]
Afterwards = Callable[[], Awaitable[None]]


def _nothing(run: ImportRun) -> None:
    """What is done with progress that nobody watches."""


async def _nothing_more() -> None:
    """What is done after the rows of an import that is nothing else."""


class _Undone(Exception):
    """A dry run writes, and takes it back."""


async def begin_import(context: Context, path: Path, file_name: str, options: ImportOptions) -> ImportRun:
    """The run of the file: the one that was cut short, or a new one. Raises TableWrong."""
    context.require(Permission.STOCK_WRITE)
    found = await asyncio.to_thread(survey, path)
    return await runs.open_run(
        context,
        file_name=file_name,
        file_sha256=found.sha256,
        size_bytes=found.size_bytes,
        options=options,
    )


async def check_table(context: Context, path: Path, options: ImportOptions) -> Survey:
    """What the file is, when its beginning can be read with these options. Raises TableWrong."""
    found = await asyncio.to_thread(survey, path)
    currency, stores = await currency_of(context), await _stores(context)
    table = await asyncio.to_thread(open_table, path, found, delimiter=options.delimiter, sheet=options.sheet)
    try:
        home = UUID(int=context.store_id.int)
        read_header(table.header, currency, home, stores, ignore_unknown=options.ignore_unknown)
    finally:
        table.close()
    return found


async def _stores(context: Context) -> dict[str, UUID]:
    async with context.reading() as db:
        return {label: store_id for store_id, label in (await store_labels(db)).items()}


async def run_import(
    context: Context,
    run: ImportRun,
    path: Path,
    *,
    watch: Watch = _nothing,
    until: float = float("inf"),
    afterwards: Afterwards = _nothing_more,
) -> ImportRun:
    """Take the rows that have not been taken yet; answer how far it came.

    It stops between two parts when the clock (`time.monotonic`) passes `until`: then the run is still
    running, and may be given here again; so it may after Unavailable. What is wrong with the file as a whole,
    or refused as a whole, fails the run with the reason. It is not done before `afterwards` is: whoever comes
    with the same file after that was cut short goes on there.
    """
    context.require(Permission.STOCK_WRITE)
    await runs.note_start(context, run)
    work = _Import(context, run)
    try:
        async with aclosing(work.parts(path)) as parts, aclosing(await work.taken(parts)) as taken:
            async for _ in taken:
                watch(work.run)
                if monotonic() > until:
                    return work.run
    except (Unavailable, ImportElsewhere):
        raise
    except Problem as wrong:
        # Nobody's row alone: a file that is no table, a permission that only some of the rows need.
        await work.end("failed", wrong.detail or wrong.title)
    else:
        await afterwards()
        await work.end("done", "")
    watch(work.run)
    return work.run


class _Import:
    """One run, from the row after which it stopped."""

    def __init__(self, context: Context, run: ImportRun) -> None:
        self._context = context
        self._options = run.options
        self.run = run
        self._seen = SeenCodes()
        self._columns: list[Column] = []
        self._currency = ""
        self._categories = CategoryPaths({})
        self._makes_categories = False
        self._numbers = NumbersAhead(context)

    async def parts(self, path: Path) -> AsyncGenerator[_PART]:
        """The file's parts that are to be taken. Raises TableWrong."""
        context, options = self._context, self._options
        currency, stores = await currency_of(context), await _stores(context)
        async with context.reading() as db:
            self._categories = await CategoryPaths.load(db)
        found = await asyncio.to_thread(survey, path)
        table = await asyncio.to_thread(
            open_table, path, found, delimiter=options.delimiter, sheet=options.sheet
        )
        try:
            self._currency = currency
            self._read_header(table, currency, stores)
            reader = Reader(self._columns, currency)
            async with aclosing(self._ahead(self._parts(table, reader))) as parts:
                async for part in parts:
                    yield part
        finally:
            table.close()

    def _read_header(self, table: Table, currency: str, stores: Mapping[str, UUID]) -> None:
        context, options = self._context, self._options
        home = UUID(int=context.store_id.int)
        self._columns, doubts = read_header(
            table.header, currency, home, stores, ignore_unknown=options.ignore_unknown
        )
        if any(column.field == "quantity" for column in self._columns) and options.stock != "kept":
            context.require(Permission.STOCK_QUANTITY)
        self.run = replace(
            self.run, notes=[*table.notes, *doubts], header=[printable(name, 1000) for name in table.header]
        )

    async def _ahead(self, parts: Iterator[_PART]) -> AsyncGenerator[_PART]:
        """Read the next part while one is being written."""
        following = asyncio.create_task(asyncio.to_thread(next, parts, None))
        try:
            while (part := await following) is not None:
                following = asyncio.create_task(asyncio.to_thread(next, parts, None))
                yield part
        finally:
            if not following.done():
                await asyncio.wait({following})

    def _parts(self, table: Table, reader: Reader) -> Iterator[_PART]:
        """A few hundred rows each, whole products; what was taken before is read again, to know its SKUs."""
        groups: list[Group] = []
        rows = letters = 0
        for group in reader.groups(table.rows):
            if group.last > MOST_ROWS + 1:
                raise TableWrong(f"A file has at most {MOST_ROWS} rows: the rest is not taken. Part it.")
            checked = self._once_in_file(group)
            if group.last <= self.run.rows_done:
                continue
            groups.append(checked)
            rows += len(group.rows)
            letters += sum(len(cell) for row in group.rows for cell in row.cells)
            if rows >= ROWS_AT_ONCE or letters >= LETTERS_AT_ONCE:
                yield groups, table.fraction()
                groups, rows, letters = [], 0, 0
        if groups:
            yield groups, table.fraction()

    def _once_in_file(self, group: Group) -> Group:
        """Nobody may have a SKU or a barcode twice in one file, however far apart."""
        if not isinstance(group.row, BulkProduct):
            return group
        faults = []
        for place, variant in enumerate(group.row.sold):
            for name, code in (("sku", variant.sku and sku_key(variant.sku)), ("barcode", variant.barcode)):
                if code and not self._seen.add(name, code):
                    number = group.rows[min(place, len(group.rows) - 1)].number
                    text = f"An earlier row has this {name}; give another, or leave the row out."
                    faults.append(RowFault(number, name, printable(code), "duplicate", text))
        if not faults:
            return group
        why = tuple(FieldFault(f.column, f.code, f.message) for f in faults)
        return Group(group.rows, Unreadable(why, group.row.sold[0].sku), faults)

    async def taken(self, parts: AsyncGenerator[_PART]) -> AsyncGenerator[_PART]:
        """The parts, each when it has been written.

        Changes go one by one: a code that one part gives free may be taken in the next. So does what is
        counted against a quota, which the first part holds until it is committed.
        """
        alone = self._options.on_duplicate == "update" or await has_row_quota(self._context)
        return overlapped(parts, self.take, at_once=1 if alone else 2)

    async def take(self, part: _PART, turn: Turn) -> None:
        """Write the products of one part, and how far the import has come, together."""
        # Before anything else: parts are begun in the file's order, and exports go by number.
        numbers = self._numbers.part()
        try:
            await self._take(part, turn, numbers)
        finally:
            numbers.end()

    async def _take(self, part: _PART, turn: Turn, numbers: Numbers) -> None:
        groups, fraction = part
        context = self._context.acting_as(self._context.caller)
        # Categories are nobody else's before they are committed: who makes some is alone.
        if self._makes_categories or not self._categories.has_all(groups):
            self._makes_categories = True
            await turn()
            self._makes_categories = not self._categories.has_all(groups)
        async with context.transaction() as db:
            categories, outcomes = await self._write(context, groups, numbers)
            await turn()
            before = self.run
            now = self._told(groups, outcomes, fraction)
            failed = [
                line
                for group, outcome in zip(groups, outcomes, strict=True)
                if outcome.status == "failed"
                for line in self._lines(group, outcome)
            ]
            if failed:
                await runs.keep_failed(db, before.import_id, before.rows_done, failed)
            await runs.note_progress(db, before, now)
        self.run, self._categories = now, categories

    async def _write(
        self, context: Context, groups: Sequence[Group], numbers: Numbers
    ) -> tuple[CategoryPaths, list[Outcome]]:
        options = self._options
        categories = self._categories
        outcomes: list[Outcome] = []
        with suppress(_Undone):
            async with context.attempt():
                made, rows = await categories.with_new(context, groups)
                outcomes = await write_products(
                    context,
                    rows,
                    on_duplicate=options.on_duplicate,
                    stock=options.stock,
                    # What is written for a trial leaves no gaps.
                    numbers=Numbers() if options.dry_run else numbers,
                    limits=LIMITS,
                )
                if options.dry_run:
                    raise _Undone()
                categories = made
        return categories, outcomes

    def _told(self, groups: Sequence[Group], outcomes: Sequence[Outcome], fraction: float) -> ImportRun:
        counts = {
            status: getattr(self.run, status) + sum(o.status == status for o in outcomes)
            for status in ("created", "updated", "skipped", "failed")
        }
        faults = [
            fault
            for group, outcome in zip(groups, outcomes, strict=True)
            for fault in self._faults(group, outcome)
        ]
        changes = self.run.changes
        if self._options.dry_run and len(changes) < MOST_CHANGES:
            more = [
                shown_change(change, self._currency) for outcome in outcomes for change in outcome.changes
            ]
            changes = [*changes, *more][:MOST_CHANGES]
        failed_rows = sum(
            len(group.rows)
            for group, outcome in zip(groups, outcomes, strict=True)
            if outcome.status == "failed"
        )
        return replace(
            self.run,
            **counts,
            rows_done=groups[-1].last,
            fraction=fraction,
            failed_rows=self.run.failed_rows + failed_rows,
            faults=gathered(self.run.faults, faults),
            changes=changes,
        )

    def _faults(self, group: Group, outcome: Outcome) -> list[RowFault]:
        if group.faults or outcome.status != "failed":
            return group.faults
        return [place_fault(group, fault, self._columns) for fault in outcome.faults]

    def _lines(self, group: Group, outcome: Outcome) -> Iterator[str]:
        """The rows of a product that failed, with what is wrong beside each."""
        faults = self._faults(group, outcome)
        for source in group.rows:
            said = "; ".join(
                f"{fault.column}: {fault.message}".removeprefix(": ")
                for fault in faults
                if fault.row == source.number
            )
            cells = [printable(cell, len(cell)) for cell in source.cells]
            yield msgspec.json.encode([source.number, said, cells]).decode()

    async def end(self, status: str, reason: str) -> None:
        before = self.run
        done = {"status": status, "reason": reason, "fraction": 1.0 if status == "done" else before.fraction}
        self.run = replace(before, **done)
        async with self._context.transaction() as db:
            await runs.note_progress(db, before, self.run)


def gathered(known: Sequence[FaultKind], faults: Sequence[RowFault]) -> list[FaultKind]:
    """The kinds of faults with these among them: counted, and a few places of each."""
    kinds = {
        (kind.column, kind.code, kind.message): replace(kind, places=list(kind.places)) for kind in known
    }
    for fault in faults:
        key = (fault.column, fault.code, fault.message)
        if key not in kinds and len(kinds) >= MOST_FAULT_KINDS:
            key = ("", "other", "Other mistakes: see the file of failed rows.")
        kind = kinds.setdefault(key, FaultKind(*key, count=0, places=[]))
        kind.count += 1
        if len(kind.places) < MOST_PLACES:
            kind.places.append(fault)
    return list(kinds.values())
