"""The words of importing and exporting."""

from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from msgspec import Struct

from kasuwa.domain.catalogue.bulk_records import OnDuplicate, StockWish
from kasuwa.domain.exchange.rows import RowFault

# More rows than any spreadsheet holds: what has been seen of them fits into memory.
MOST_ROWS = 1_000_000
MOST_FAULT_KINDS = 100
MOST_PLACES = 5
MOST_CHANGES = 500


ImportKind: TypeAlias = Literal["products", "pictures"]
ImportStatus: TypeAlias = Literal["running", "done", "failed", "cancelled"]


class ImportOptions(Struct, frozen=True, kw_only=True):
    """How a file is taken. `stock`: what becomes of quantities of products that are there."""

    on_duplicate: OnDuplicate = "fail"
    dry_run: bool = False
    stock: StockWish = "kept"
    ignore_unknown: bool = False
    delimiter: str | None = None
    sheet: str | None = None


class FaultKind(Struct):
    """One mistake, however often a file makes it, with the first places."""

    column: str
    code: str
    message: str
    count: int
    places: list[RowFault]


class ShownChange(Struct, frozen=True):
    """What a row changes, as a person reads it."""

    sku: str
    field: str
    before: str
    after: str


class ImportRun(Struct, frozen=True, kw_only=True):
    """How far an import has come.

    Of products: counts are of products, `failed_rows` of rows of the file. Of pictures: each file of the zip
    is a row, `created` are those that are shown now, `skipped` those that were. `started_at` is None while it
    waits for a worker.
    """

    import_id: UUID
    store_id: UUID
    kind: ImportKind
    file_name: str
    file_sha256: str
    size_bytes: int
    options: ImportOptions
    status: ImportStatus
    reason: str
    rows_done: int
    fraction: float
    created: int
    updated: int
    skipped: int
    failed: int
    failed_rows: int
    notes: list[str]
    faults: list[FaultKind]
    changes: list[ShownChange]
    header: list[str]
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def rows_per_second(self) -> float | None:
        """Since it was begun; None while nothing is done."""
        seconds = self._seconds()
        return self.rows_done / seconds if seconds > 0 and self.rows_done else None

    @property
    def seconds_left(self) -> float | None:
        """A guess from the part of the file that is done; None when there is nothing to guess from."""
        if self.status != "running" or not self.fraction or not self._seconds():
            return None
        return self._seconds() * (1 - self.fraction) / self.fraction

    def _seconds(self) -> float:
        if self.started_at is None:
            return 0.0
        return max(0.0, ((self.ended_at or self.updated_at) - self.started_at).total_seconds())
