"""Two parts of a file at a time: the database writes one while the other is put together."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from kasuwa.base.problems import Unavailable

PartT = TypeVar("PartT")
Turn = Callable[[], Awaitable[None]]
_Going = deque[tuple[PartT, "asyncio.Task[None]"]]


async def overlapped(
    parts: AsyncGenerator[PartT], take: Callable[[PartT, Turn], Awaitable[None]], *, at_once: int
) -> AsyncGenerator[PartT]:
    """Take the parts, `at_once` of them together; each is told when it and all before it are done.

    `take` awaits the turn that it is given before it ends: then the part before is done. When a part fails,
    those after it fail at their turn. Whoever stops listening cancels what is going on.

    A part may be kept from the database by a later one that waits for its turn, which PostgreSQL cannot see:
    its lock runs out of time, and then they are taken one by one.
    """
    going: _Going[PartT] = deque()
    try:
        async for part in parts:
            if len(going) == at_once:
                yield await _finish(going, take)
            _begin(going, take, part)
        while going:
            yield await _finish(going, take)
    finally:
        for _, task in going:
            task.cancel()
        await asyncio.gather(*(task for _, task in going), return_exceptions=True)


def _begin(going: _Going[PartT], take: Callable[[PartT, Turn], Awaitable[None]], part: PartT) -> None:
    before = going[-1][1] if going else None
    going.append((part, asyncio.ensure_future(take(part, partial(_turn, before)))))


async def _turn(before: "asyncio.Task[None] | None") -> None:
    if before is not None:
        # Not awaited itself: who is cancelled while waiting would cancel it.
        await asyncio.wait({before})
        before.result()


async def _finish(going: _Going[PartT], take: Callable[[PartT, Turn], Awaitable[None]]) -> PartT:
    part, task = going[0]
    try:
        await task
    except Unavailable:
        later = [part for part, _ in going][1:]
        if not later:
            raise
        await asyncio.gather(*(task for _, task in going), return_exceptions=True)
        going.clear()
        await take(part, partial(_turn, None))
        for one in later:
            _begin(going, take, one)
        return part
    going.popleft()
    return part
