"""Lists of transfers, and of their lines, as a store sees them: from here, to here, or both."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.cursors import read_cursor, write_cursor, wrong_cursor
from kasuwa.base.db import Database
from kasuwa.base.pages import Page
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.errors import PageTooDeep
from kasuwa.domain.catalogue.filters import MOST_COUNTED, in_utc
from kasuwa.domain.permissions import Permission
from kasuwa.domain.transfers.errors import TransferNotFound
from kasuwa.domain.transfers.records import (
    Direction,
    LineFilter,
    ListedLine,
    ListedTransfer,
    TransferStatus,
)

_ENDS: dict[Direction, tuple[str, ...]] = {
    "incoming": ("destination_id",),
    "outgoing": ("source_id",),
    "all": ("destination_id", "source_id"),
}

_SHOWN_LINE = """
    SELECT l.line_id, l.transfer_id, l.status, l.source_id, s.name AS source_name, l.destination_id,
           d.name AS destination_name, l.product_id, l.variant_id, p.kind = 'variant' AS has_variants, v.sku,
           p.name, p.unit, l.quantity, l.received, l.damaged, l.lost, c.unit_cost_minor, s.currency,
           t.reference, t.note, l.shipped_at, l.shipped_by,
           coalesce(i.first_name || ' ' || i.last_name, '') AS shipped_by_name, l.closed_at, l.closed_by,
           coalesce(a.first_name || ' ' || a.last_name, '') AS closed_by_name, l.out_movement_id,
           l.in_movement_id
    FROM {lines} l
    JOIN stock_transfer t ON t.merchant_id = l.merchant_id AND t.transfer_id = l.transfer_id
    JOIN variant v ON v.merchant_id = l.merchant_id AND v.variant_id = l.variant_id
    JOIN product p ON p.merchant_id = l.merchant_id AND p.product_id = l.product_id
    JOIN store s ON s.merchant_id = l.merchant_id AND s.store_id = l.source_id
    JOIN store d ON d.merchant_id = l.merchant_id AND d.store_id = l.destination_id
    LEFT JOIN user_account i ON i.merchant_id = l.merchant_id AND i.user_id = l.shipped_by
    LEFT JOIN user_account a ON a.merchant_id = l.merchant_id AND a.user_id = l.closed_by
    CROSS JOIN LATERAL (
      SELECT sum(x.quantity * x.unit_cost_minor) / sum(x.quantity) AS unit_cost_minor
      FROM stock_transfer_parcel x WHERE x.merchant_id = l.merchant_id AND x.line_id = l.line_id
    ) c
"""


async def list_lines(
    context: Context, wanted: LineFilter, *, page: int, size: int, cursor: str | None
) -> Page[ListedLine]:
    """What was shipped from or to the caller's store, the last first. A cursor wins over the page."""
    context.require(Permission.STOCK_READ)
    if cursor is None and page * size > MOST_COUNTED:
        raise PageTooDeep(
            faults=[FieldFault("#/query/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")]
        )
    places, values = _places(wanted.direction, wanted.statuses)
    conditions, chosen = _conditions(wanted)
    values |= chosen | {"store_id": context.store_id}
    async with context.reading() as db:
        counted: int = await db.value(_counting(places, conditions), **values)
        offset = (page - 1) * size
        if cursor is not None:
            after = _read_cursor(cursor)
            conditions.append("(shipped_at, line_id) < (:after_at::timestamptz, :after_id::uuid)")
            values |= {"after_at": after.at, "after_id": after.line_id}
            offset = 0
        rows = await _read_page(db, places, conditions, values, size=size + 1, offset=offset)
    following = _write_cursor(rows[size - 1]) if len(rows) > size else None
    total = min(counted, MOST_COUNTED)
    return Page(tuple(rows[:size]), page, size, total, counted <= MOST_COUNTED, following)


def _places(direction: Direction, statuses: Sequence[TransferStatus]) -> tuple[list[str], dict[str, object]]:
    """Each end and each state by itself: then an index has the rows of each in the order of the list."""
    values: dict[str, object] = {f"status_{n}": status for n, status in enumerate(statuses)}
    states = [f" AND status = :{name}" for name in values] or [""]
    return [f"{end} = :store_id{state}" for end in _ENDS[direction] for state in states], values


async def _read_page(
    db: Database,
    places: list[str],
    conditions: list[str],
    values: dict[str, object],
    *,
    size: int,
    offset: int,
) -> list[ListedLine]:
    """The lines are chosen first, each place along its own index; what is shown of them is joined after."""
    branches = [
        f"""
        (SELECT * FROM stock_transfer_line WHERE {" AND ".join([place, *conditions])}
         ORDER BY shipped_at DESC, line_id DESC LIMIT :size::bigint + :offset::bigint)
        """  # noqa: S608 - put together from the words above
        for place in places
    ]
    chosen = f"""(
        SELECT * FROM ({" UNION ALL ".join(branches)}) ends
        ORDER BY shipped_at DESC, line_id DESC LIMIT :size::bigint OFFSET :offset::bigint
    )"""  # noqa: S608
    return await db.all(
        _SHOWN_LINE.format(lines=chosen) + " ORDER BY l.shipped_at DESC, l.line_id DESC",
        into=ListedLine,
        size=size,
        offset=offset,
        **values,
    )


async def get_line(context: Context, line_id: UUID) -> ListedLine:
    """One line that was shipped from or to the caller's store. Raises TransferNotFound."""
    async with context.reading() as db:
        return await db.one(
            _SHOWN_LINE.format(lines="stock_transfer_line")
            + """
            WHERE l.merchant_id = current_merchant() AND l.line_id = :line_id AND l.shipped_at IS NOT NULL
              AND (l.source_id = :store_id OR l.destination_id = :store_id)
            """,
            into=ListedLine,
            missing=TransferNotFound(),
            line_id=line_id,
            store_id=context.store_id,
        )


async def list_transfers(
    context: Context,
    *,
    direction: Direction,
    status: TransferStatus | None,
    after: UUID | None,
    size: int,
) -> list[ListedTransfer]:
    """Transfers from or to the caller's store, the newest first, after the one with that id."""
    context.require(Permission.STOCK_READ)
    async with context.reading() as db:
        return await _read_transfers(
            db, context.store_id, direction=direction, status=status, after=after, size=size
        )


async def _read_transfers(
    db: Database,
    store_id: UUID,
    *,
    direction: Direction,
    status: TransferStatus | None,
    after: UUID | None,
    size: int,
) -> list[ListedTransfer]:
    conditions = ["merchant_id = current_merchant()"]
    values: dict[str, object] = {"store_id": store_id, "size": size}
    if status is not None:
        conditions.append("status = :status")
        values["status"] = status
    if after is not None:
        conditions.append("transfer_id < :after::uuid")
        values["after"] = after
    seen = {"source_id": (), "destination_id": ("shipped_at IS NOT NULL",)}
    branches = [
        f"""
        (SELECT * FROM stock_transfer
         WHERE {" AND ".join([f"{end} = :store_id", *seen[end], *conditions])}
         ORDER BY transfer_id DESC LIMIT :size)
        """  # noqa: S608 - put together from the words above
        for end in _ENDS[direction]
    ]
    return await db.all(
        f"""
        SELECT t.transfer_id, t.source_id, s.name AS source_name, t.destination_id,
               d.name AS destination_name, t.status, t.reference, t.note, t.version, t.created_at,
               t.shipped_at, t.closed_at, n.line_count
        FROM (SELECT * FROM ({" UNION ALL ".join(branches)}) ends ORDER BY transfer_id DESC LIMIT :size) t
        JOIN store s ON s.merchant_id = t.merchant_id AND s.store_id = t.source_id
        JOIN store d ON d.merchant_id = t.merchant_id AND d.store_id = t.destination_id
        CROSS JOIN LATERAL (
          SELECT count(*) AS line_count FROM stock_transfer_line l
          WHERE l.merchant_id = t.merchant_id AND l.transfer_id = t.transfer_id
        ) n
        ORDER BY t.transfer_id DESC
        """,  # noqa: S608
        into=ListedTransfer,
        **values,
    )


def _conditions(wanted: LineFilter) -> tuple[list[str], dict[str, object]]:
    conditions = ["merchant_id = current_merchant()", "shipped_at IS NOT NULL"]
    values: dict[str, object] = {}
    for name, condition in (
        ("product_id", "product_id = :product_id"),
        ("shipped_from", "shipped_at >= :shipped_from::timestamptz"),
        ("shipped_before", "shipped_at < :shipped_before::timestamptz"),
    ):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(condition)
            values[name] = in_utc(value) if isinstance(value, datetime) else value
    return conditions, values


def _counting(places: list[str], conditions: list[str]) -> str:
    """How many there are, and no further than anybody needs to know."""
    branches = [
        f"""
        (SELECT 1 FROM stock_transfer_line WHERE {" AND ".join([place, *conditions])}
         LIMIT {MOST_COUNTED + 1})
        """  # noqa: S608
        for place in places
    ]
    return f"SELECT count(*) FROM ({' UNION ALL '.join(branches)}) counted"  # noqa: S608


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    at: datetime
    line_id: UUID


def _write_cursor(last: ListedLine) -> str:
    return write_cursor(_Cursor(last.shipped_at, UUID(int=last.line_id.int)))


def _read_cursor(text: str) -> _Cursor:
    cursor = read_cursor(text, _Cursor)
    if cursor.at.tzinfo is None:
        raise wrong_cursor()
    return cursor
