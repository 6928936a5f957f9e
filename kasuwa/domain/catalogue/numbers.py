"""Rising numbers of products and variants, for the APIs that want integers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from kasuwa.base.context import Context
from kasuwa.base.db import Database

Numbered = Literal["product", "variant"]

_BLOCK = 1000


class Numbers:
    """Numbers without gaps: taken in the transaction that uses them, others wait for theirs until it ends."""

    async def take(self, db: Database, counter: Numbered, how_many: int) -> int:
        """The first of as many new numbers of the caller's merchant."""
        first: int = await db.value(_TAKE, counter=counter, how_many=how_many)
        return first

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """When what is within is undone, so is what it took: here the transaction sees to it."""
        yield


class NumbersAhead(Numbers):
    """Numbers taken by the thousand, in transactions of their own: nobody waits; what is left is a gap."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._left: dict[Numbered, range] = {}
        self._lock = asyncio.Lock()
        self._latest: PartNumbers | None = None

    def part(self) -> "PartNumbers":
        """The numbers of the part after the one that was begun last."""
        self._latest = PartNumbers(self, self._latest)
        return self._latest

    async def take(self, db: Database, counter: Numbered, how_many: int) -> int:
        async with self._lock:
            left = self._left.get(counter, range(0))
            if len(left) < how_many:
                size = max(how_many, _BLOCK)
                async with self._context.services.pool.transaction(self._context.merchant_id) as own:
                    first: int = await own.value(_TAKE, counter=counter, how_many=size)
                left = range(first, first + size)
            self._left[counter] = left[how_many:]
            return left[0]


class PartNumbers(Numbers):
    """Numbers of one of several parts that are written at a time: of products they rise from part to part.

    So a later part takes none before the one before it has its own, or has ended without.
    """

    def __init__(self, ahead: NumbersAhead, before: "PartNumbers | None") -> None:
        self._ahead = ahead
        self._is_settled = asyncio.Event()
        self._before = None if before is None else before._is_settled
        self._blocks: dict[Numbered, range] = {}
        self._used: dict[Numbered, int] = {}

    async def take(self, db: Database, counter: Numbered, how_many: int) -> int:
        used, block = self._used.get(counter, 0), self._blocks.get(counter, range(0))
        if len(block) - used < how_many:
            if self._before is not None and counter == "product":
                await self._before.wait()
            first = await self._ahead.take(db, counter, how_many)
            used, block = 0, range(first, first + how_many)
            self._blocks[counter] = block
            if counter == "product":
                self._is_settled.set()
        self._used[counter] = used + how_many
        return block[used]

    @contextmanager
    def attempt(self) -> Iterator[None]:
        used = dict(self._used)
        try:
            yield
        except BaseException:
            # Taken again, in the order of the rows, by the halves of what was undone.
            self._used = used
            raise

    def end(self) -> None:
        """Let the next part go on: this one takes no more."""
        self._is_settled.set()


_TAKE = "SELECT take_numbers(:counter, :how_many)"
