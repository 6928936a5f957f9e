"""Moves that wait for the same merchant in one process go to the database together.

The row's lock and the disk's flush are paid once for all that wait. Each has its own answer, after the
commit. See docs/decisions/stock-ledger.md.
"""

from collections.abc import Sequence

from msgspec import Struct

from kasuwa.base.coalescing import Coalesced
from kasuwa.base.context import Context
from kasuwa.base.db import Pool
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.lines import COLUMNS, MovedRow, settled, write_lines
from kasuwa.domain.inventory.records import Move, Moved

_MOVE = f"SELECT {COLUMNS} FROM move_stock_of(:merchant_id, :lines)"  # noqa: S608 - our own words


async def move_one(context: Context, move: Move) -> Moved:
    """Move one line, in a transaction of its own or in the one that is open. Raises as move_stock does."""
    # A race for serial numbers fails a whole statement, so they go alone.
    if context.has_key or context.is_in_transaction or move.serials:
        async with context.transaction() as db:
            (moved,) = await move_stock(context, db, [move])
        return moved
    moved = await moves.ask(context.services.pool, _Wanted(context, move), lane=context.merchant_id)
    if moved.problem is not None:
        raise moved.problem
    return moved


class _Wanted(Struct, eq=False):
    """Two of them are never equal: what two people take is taken twice."""

    context: Context
    move: Move


async def _move_all(pool: Pool, together: Sequence[_Wanted]) -> list[Moved]:
    async with pool.autocommit() as db:
        with settled():
            rows = await db.all(
                _MOVE,
                into=MovedRow,
                merchant_id=together[0].context.merchant_id,
                lines=write_lines([(one.context, one.move) for one in together]),
            )
    rows.sort(key=lambda row: row.line)
    return [row.moved(one.move.pointer) for row, one in zip(rows, together, strict=True)]


moves = Coalesced(_move_all)
