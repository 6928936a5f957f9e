"""Moves that wait for the same merchant in one process go to the database together.

The row's lock and the disk's flush are paid once for all that wait; the first one never waits for company.
Each has its own answer, after the commit. See docs/decisions/stock-ledger.md.
"""

import asyncio
import contextvars
import copy
from collections import deque
from uuid import UUID
from weakref import WeakKeyDictionary

from msgspec import Struct

from kasuwa.base.context import Context, Services
from kasuwa.base.db import Pool
from kasuwa.base.problems import Problem, Unavailable
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.lines import COLUMNS, MovedRow, settled, write_lines
from kasuwa.domain.inventory.records import Move, Moved

MOST_TOGETHER = 500

_MOVE = f"SELECT {COLUMNS} FROM move_stock_of(:merchant_id, :lines)"  # noqa: S608 - our own words


async def move_one(context: Context, move: Move) -> Moved:
    """Move one line, in a transaction of its own or in the one that is open. Raises as move_stock does."""
    # A race for serial numbers fails a whole statement, so they go alone.
    if context.has_key or context.is_in_transaction or move.serials:
        async with context.transaction() as db:
            (moved,) = await move_stock(context, db, [move])
        return moved
    moved = await _lane_of(context).move(context, move)
    if moved.problem is not None:
        raise moved.problem
    return moved


class _Waiting(Struct, eq=False):
    context: Context
    move: Move
    answer: "asyncio.Future[Moved]"


class _Lane:
    """The moves of one merchant, one statement after the other."""

    def __init__(self, pool: Pool, merchant_id: UUID) -> None:
        self._pool = pool
        self._merchant_id = merchant_id
        self._waiting: deque[_Waiting] = deque()
        self._run: asyncio.Task[None] | None = None

    async def move(self, context: Context, move: Move) -> Moved:
        answer: asyncio.Future[Moved] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(context, move, answer))
        if self._run is None or self._run.done():
            # A task of nobody's: whoever hangs up ends his own waiting alone. It has no log fields.
            self._run = asyncio.create_task(self._empty(), context=contextvars.Context())
        return await answer

    async def _empty(self) -> None:
        while self._waiting:
            together = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]
            # Whoever has gone before it was asked wants nothing any more.
            together = [one for one in together if not one.answer.done()]
            if together:
                await self._move(together)

    async def _move(self, together: list[_Waiting]) -> None:
        try:
            found = await self._ask(together)
        except Exception as error:
            if len(together) > 1 and not isinstance(error, Unavailable):
                # The statement as a whole was refused and nothing was moved: whose fault is it?
                for one in together:
                    await self._move([one])
                return
            for one in together:
                if not one.answer.done():
                    # A copy for each: one that is raised in several tasks would tell each of the others' way.
                    one.answer.set_exception(copy.copy(error) if isinstance(error, Problem) else error)
            return
        for one, moved in zip(together, found, strict=True):
            if not one.answer.done():
                one.answer.set_result(moved)

    async def _ask(self, together: list[_Waiting]) -> list[Moved]:
        """One statement, which is a transaction of its own: it is answered after its commit."""
        async with self._pool.autocommit() as db:
            with settled():
                rows = await db.all(
                    _MOVE,
                    into=MovedRow,
                    merchant_id=self._merchant_id,
                    lines=write_lines([(one.context, one.move) for one in together]),
                )
        rows.sort(key=lambda row: row.line)
        return [row.moved(one.move.pointer) for row, one in zip(rows, together, strict=True)]


_lanes: WeakKeyDictionary[Services, dict[UUID, _Lane]] = WeakKeyDictionary()


def _lane_of(context: Context) -> _Lane:
    lanes = _lanes.setdefault(context.services, {})
    lane = lanes.get(context.merchant_id)
    if lane is None:
        lane = lanes[context.merchant_id] = _Lane(context.services.pool, context.merchant_id)
    return lane
