"""Rising numbers of products and variants, for the APIs that want integers."""

import asyncio
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


class NumbersAhead(Numbers):
    """Numbers taken by the thousand, in transactions of their own: nobody waits; what is left is a gap."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._left: dict[Numbered, range] = {}
        self._lock = asyncio.Lock()

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


_TAKE = "SELECT take_numbers(:counter, :how_many)"
