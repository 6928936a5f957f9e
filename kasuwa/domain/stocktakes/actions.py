"""Changes of stocktakes. Only the closing touches the stock."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.inventory.actions import MOST_LINES, move_stock
from kasuwa.domain.inventory.errors import has_variants, untracked
from kasuwa.domain.inventory.records import Move, Moved
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stocktakes.errors import StocktakeEnded, StocktakeNotFound
from kasuwa.domain.stocktakes.queries import COUNTED, PROBLEM, read_stocktake
from kasuwa.domain.stocktakes.records import Count, CountResult, Status, Stocktake

# A till's clock may run ahead by so much; what it counted then was counted now.
_CLOCKS_DIFFER = timedelta(minutes=5)


async def start_stocktake(context: Context, *, name: str | None, blind: bool) -> Stocktake:
    """Begin a stocktake of the caller's store. Several may be open at once: of several rooms, say."""
    context.require(Permission.STOCK_QUANTITY)
    stocktake_id = new_id()
    async with context.transaction() as db:
        await db.execute(
            """
            INSERT INTO stocktake (merchant_id, stocktake_id, store_id, name, blind, started_by)
            SELECT merchant_id, :stocktake_id, store_id,
                   coalesce(:name, to_char(now() AT TIME ZONE time_zone, 'YYYY-MM-DD')), :blind, :user_id
            FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id
            """,
            stocktake_id=stocktake_id,
            store_id=context.store_id,
            name=name,
            blind=blind,
            user_id=context.caller.user_id,
        )
        stocktake = await read_stocktake(context, db, stocktake_id)
        await write_audit(context, db, "stocktake.start", "stocktake", stocktake_id, after=stocktake)
    return stocktake


async def add_counts(
    context: Context, stocktake_id: UUID, counts: Sequence[Count], *, device: str = ""
) -> list[CountResult]:
    """Keep what somebody counted; each line has its own result. Raises StocktakeNotFound, StocktakeEnded."""
    context.require(Permission.STOCK_COUNT)
    async with context.transaction() as db:
        held = await _hold_open(context, db, stocktake_id, share=True)
        variants = await _find_variants(db, counts)
        # By the clock that the movements have; this machine's may be another.
        now = held.now
        results, kept = [], []
        for count, found in zip(counts, variants, strict=True):
            counted_at = now if count.counted_at is None else count.counted_at
            faults = _faults_of(count, found, counted_at, held)
            results.append(CountResult(found.variant_id if found else None, faults))
            if found and not faults:
                kept.append((found.variant_id, count, min(counted_at, now)))
        await db.execute(
            """
            INSERT INTO stocktake_count (merchant_id, stocktake_id, variant_id, zone, counted_at, count_id,
                                         quantity, counted_by, device)
            SELECT current_merchant(), :stocktake_id, c.variant_id, c.zone, c.counted_at, c.count_id,
                   c.quantity, :user_id, :device
            FROM unnest(:variant_ids::uuid[], :zones::text[], :times::timestamptz[], :ids::uuid[],
                        :quantities::numeric[]) AS c (variant_id, zone, counted_at, count_id, quantity)
            """,
            stocktake_id=stocktake_id,
            user_id=context.caller.user_id,
            device=device,
            variant_ids=[variant_id for variant_id, _, _ in kept],
            zones=[count.zone for _, count, _ in kept],
            times=[at for _, _, at in kept],
            ids=[new_id() for _ in kept],
            quantities=[count.quantity for _, count, _ in kept],
        )
    return results


async def close_stocktake(
    context: Context, stocktake_id: UUID, *, zero_uncounted: bool = False, note: str = ""
) -> Stocktake:
    """Book every difference and end the stocktake. Raises StocktakeNotFound, StocktakeEnded.

    The difference is taken at the time of the count, so what moved since then stays as it is. A count settles
    the shortfall too: what sales took beyond the books has been looked for. What a count lacks of reserved
    units becomes a shortfall: somebody's order cannot be served. With `zero_uncounted`, what lay there when
    the stocktake began and has no count is gone; what came in since stays.
    """
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        held = await _hold_open(context, db, stocktake_id, share=False)
        after: UUID | None = None
        while lines := await _next_lines(context, db, stocktake_id, after):
            await _book(context, db, stocktake_id, lines)
            after = lines[-1].variant_id
        if zero_uncounted:
            while lines := await _next_uncounted(context, db, stocktake_id, held.started_at):
                await _book(context, db, stocktake_id, lines)
        return await _end(context, db, stocktake_id, "closed", note)


async def cancel_stocktake(context: Context, stocktake_id: UUID, *, note: str = "") -> Stocktake:
    """End the stocktake and book nothing. Raises StocktakeNotFound, StocktakeEnded."""
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        await _hold_open(context, db, stocktake_id, share=False)
        return await _end(context, db, stocktake_id, "cancelled", note)


class _Held(Struct, frozen=True):
    status: Status
    started_at: datetime
    now: datetime


async def _hold_open(context: Context, db: Database, stocktake_id: UUID, *, share: bool) -> _Held:
    """Keep the stocktake open until the transaction ends: counters share it, who ends it has it alone."""
    held = await db.one(
        f"""
        SELECT status, started_at, clock_timestamp() AS now FROM stocktake
        WHERE merchant_id = current_merchant() AND stocktake_id = :stocktake_id AND store_id = :store_id
        {"FOR SHARE" if share else "FOR UPDATE"}
        """,  # noqa: S608 - our own words
        into=_Held,
        missing=StocktakeNotFound(),
        stocktake_id=stocktake_id,
        store_id=context.store_id,
    )
    if held.status != "open":
        raise StocktakeEnded(f"It is {held.status}. Start another one.")
    return held


class _Found(Struct, frozen=True):
    place: int
    variant_id: UUID
    decimals: int
    is_sold: bool
    track_quantity: bool


async def _find_variants(db: Database, counts: Sequence[Count]) -> list[_Found | None]:
    """The variant that each count names, how many decimals its unit allows, and whether it can be counted."""
    rows = await db.all(
        """
        SELECT n.place::integer AS place, v.variant_id, unit_decimals(p.unit)::integer AS decimals,
               v.position > 0 AS is_sold, p.track_quantity
        FROM unnest(:variant_ids::uuid[], :sku_keys::text[], :barcodes::text[]) WITH ORDINALITY
          AS n (variant_id, sku_key, barcode, place)
        JOIN variant v ON v.merchant_id = current_merchant() AND NOT v.archived
          AND (v.variant_id = n.variant_id OR v.sku_key = n.sku_key OR v.barcode = n.barcode)
        JOIN product p ON p.merchant_id = v.merchant_id AND p.product_id = v.product_id
        """,
        into=_Found,
        variant_ids=[count.variant_id for count in counts],
        sku_keys=[None if count.sku is None else sku_key(count.sku) for count in counts],
        barcodes=[count.barcode for count in counts],
    )
    found = {row.place: row for row in rows}
    return [found.get(place) for place in range(1, len(counts) + 1)]


def _faults_of(
    count: Count, found: _Found | None, counted_at: datetime, held: _Held
) -> tuple[FieldFault, ...]:
    faults = []
    pointer = "/sku" if count.sku is not None else "/barcode" if count.barcode is not None else "/variantId"
    if found is None:
        faults.append(FieldFault(pointer, "unknown", "Name a variant of this account."))
    elif not found.track_quantity:
        faults.append(untracked(pointer))
    elif not found.is_sold:
        faults.append(has_variants(pointer))
    elif count.quantity != round(count.quantity, found.decimals):
        advice = f"The product's unit allows {found.decimals} decimals."
        faults.append(FieldFault("/quantity", "decimals", advice))
    if counted_at < held.started_at:
        faults.append(FieldFault("/countedAt", "minimum", "Give a time after the stocktake began."))
    elif counted_at > held.now + _CLOCKS_DIFFER:
        faults.append(FieldFault("/countedAt", "maximum", "Give a time that has been: set the clock right."))
    return tuple(faults)


class _Counted(Struct, frozen=True):
    """A variant to be booked: what was counted, and what the books had at that moment, corrected since.

    `shortfall` was there when it was counted, `owed` is there by now.
    """

    variant_id: UUID
    counted: Decimal
    counted_at: datetime
    expected: Decimal
    shortfall: Decimal
    owed: Decimal
    problem: str | None

    @property
    def served(self) -> Decimal:
        """What sales since the count took beyond the books and what the count has found for them."""
        return min(self.owed - self.shortfall, max(self.counted - self.expected, Decimal(0)))


async def _next_lines(
    context: Context, db: Database, stocktake_id: UUID, after: UUID | None
) -> list[_Counted]:
    """The next variants by id. Their balances are held first: a movement that is not committed yet may be
    older than the count."""
    variant_ids = await db.values(
        f"SELECT variant_id FROM ({COUNTED}) c ORDER BY variant_id LIMIT :size",  # noqa: S608 - our own words
        stocktake_id=stocktake_id,
        after=after,
        size=MOST_LINES // 2,
    )
    await _hold_balances(context, db, variant_ids)
    return await db.all(
        f"""
        SELECT c.variant_id, c.counted, c.counted_at,
               stock_expected(:store_id, c.variant_id, 'on_hand', c.counted_at) AS expected,
               CASE WHEN b.shortfall > 0
                 THEN greatest(least(stock_expected(:store_id, c.variant_id, 'shortfall', c.counted_at),
                                     b.shortfall), 0)
                 ELSE 0 END AS shortfall,
               coalesce(b.shortfall, 0) AS owed, {PROBLEM} AS problem
        FROM ({COUNTED}) c
        LEFT JOIN stock_balance b ON b.merchant_id = current_merchant() AND b.store_id = :store_id
          AND b.variant_id = c.variant_id
        WHERE c.variant_id = ANY(:variant_ids::uuid[])
        ORDER BY c.variant_id
        """,  # noqa: S608 - our own words
        into=_Counted,
        stocktake_id=stocktake_id,
        store_id=context.store_id,
        after=after,
        variant_ids=variant_ids,
    )


async def _next_uncounted(
    context: Context, db: Database, stocktake_id: UUID, started_at: datetime
) -> list[_Counted]:
    """Variants that have stock here and no line yet: nobody found any of what lay there at the beginning.

    Of that what has been sold since was there all the same; what came in since has not been looked for.
    """
    variant_ids = await db.values(
        """
        SELECT b.variant_id FROM stock_balance b
        JOIN product p ON p.merchant_id = b.merchant_id AND p.product_id = b.product_id AND p.track_quantity
        WHERE b.merchant_id = current_merchant() AND b.store_id = :store_id
          AND (b.on_hand > 0 OR b.shortfall > 0)
          AND NOT EXISTS (
            SELECT FROM stocktake_line l
            WHERE l.merchant_id = b.merchant_id AND l.stocktake_id = :stocktake_id
              AND l.variant_id = b.variant_id
          )
        ORDER BY b.variant_id LIMIT :size
        """,
        store_id=context.store_id,
        stocktake_id=stocktake_id,
        size=MOST_LINES // 2,
    )
    await _hold_balances(context, db, variant_ids)
    return await db.all(
        """
        SELECT b.variant_id, 0::numeric AS counted, :started_at::timestamptz AS counted_at,
               greatest(least(stock_as_at(:store_id, b.variant_id, 'on_hand', :started_at), b.on_hand), 0)
                 AS expected,
               CASE WHEN b.shortfall > 0
                 THEN least(stock_as_at(:store_id, b.variant_id, 'shortfall', :started_at), b.shortfall)
                 ELSE 0 END AS shortfall,
               b.shortfall AS owed, NULL::text AS problem
        FROM stock_balance b
        WHERE b.merchant_id = current_merchant() AND b.store_id = :store_id
          AND b.variant_id = ANY(:variant_ids::uuid[])
        ORDER BY b.variant_id
        """,
        into=_Counted,
        store_id=context.store_id,
        started_at=started_at,
        variant_ids=variant_ids,
    )


async def _hold_balances(context: Context, db: Database, variant_ids: Sequence[UUID]) -> None:
    await db.execute(
        """
        SELECT 1 FROM stock_balance
        WHERE merchant_id = current_merchant() AND store_id = :store_id
          AND variant_id = ANY(:variant_ids::uuid[])
        ORDER BY store_id, variant_id FOR NO KEY UPDATE
        """,
        store_id=context.store_id,
        variant_ids=list(variant_ids),
    )


async def _book(context: Context, db: Database, stocktake_id: UUID, lines: Sequence[_Counted]) -> None:
    moves: list[Move] = []
    difference_of: dict[UUID, int] = {}
    for line in lines:
        if line.problem is not None:
            continue
        if line.counted - line.expected != line.served:
            difference_of[line.variant_id] = len(moves)
            moves.append(_difference(context, stocktake_id, line))
        if line.shortfall + line.served:
            moves.append(_settled(context, stocktake_id, line))
    moved = await move_stock(context, db, moves, all_or_nothing=False)
    booked = [
        moved[difference_of[line.variant_id]] if line.variant_id in difference_of else Moved()
        for line in lines
    ]
    await db.execute(
        """
        INSERT INTO stocktake_line (merchant_id, stocktake_id, variant_id, counted, counted_at, expected,
                                    booked, problem)
        SELECT current_merchant(), :stocktake_id, l.*
        FROM unnest(:variant_ids::uuid[], :counted::numeric[], :times::timestamptz[], :expected::numeric[],
                    :booked::numeric[], :problems::text[]) l
        """,
        stocktake_id=stocktake_id,
        variant_ids=[line.variant_id for line in lines],
        counted=[line.counted for line in lines],
        times=[line.counted_at for line in lines],
        expected=[line.expected for line in lines],
        booked=[one.quantity if one.problem is None else Decimal(0) for one in booked],
        problems=[
            line.problem if one.problem is None else _words(one)
            for line, one in zip(lines, booked, strict=True)
        ],
    )


def _difference(context: Context, stocktake_id: UUID, line: _Counted) -> Move:
    difference = line.counted - line.expected - line.served
    return Move(
        store_id=context.store_id,
        variant_id=line.variant_id,
        kind="counted",
        change=difference,
        beyond="shortfall" if difference < 0 else None,
        reason="count_gain" if difference > 0 else "count_loss",
        reference=str(stocktake_id),
    )


def _settled(context: Context, stocktake_id: UUID, line: _Counted) -> Move:
    return Move(
        store_id=context.store_id,
        variant_id=line.variant_id,
        kind="counted",
        state="shortfall",
        change=-(line.shortfall + line.served),
        reason="counted",
        reference=str(stocktake_id),
    )


def _words(moved: Moved) -> str:
    assert moved.problem is not None
    said = [moved.problem.title, *(fault.message for fault in moved.problem.faults)]
    return ": ".join(dict.fromkeys(said))


async def _end(context: Context, db: Database, stocktake_id: UUID, status: Status, note: str) -> Stocktake:
    await db.execute(
        """
        UPDATE stocktake SET status = :status, note = :note, ended_at = clock_timestamp(), ended_by = :user_id
        WHERE merchant_id = current_merchant() AND stocktake_id = :stocktake_id
        """,
        stocktake_id=stocktake_id,
        status=status,
        note=note,
        user_id=context.caller.user_id,
    )
    stocktake = await read_stocktake(context, db, stocktake_id)
    action = "stocktake.close" if status == "closed" else "stocktake.cancel"
    await write_audit(context, db, action, "stocktake", stocktake_id, after=stocktake)
    return stocktake
