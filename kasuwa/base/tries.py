"""Guessing slowed down: a few free tries, then a wait that doubles with each further one.

Kept in the database, so it holds over all workers; counted in a transaction of its own, so that a refusal,
which undoes the work of its request, does not undo the count.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec import Struct

from kasuwa.base.db import Pool
from kasuwa.base.problems import TooManyRequests


class Tries(Struct, frozen=True):
    """`free` tries of one subject before waiting begins. A quarter of an hour is the longest wait.

    So many are forgotten in each minute: a subject that many people share is not to wait for ever after what
    one of them did.
    """

    name: str
    subject: str
    free: int
    forgotten_a_minute: float = 0

    @property
    def bucket(self) -> bytes:
        return hashlib.sha256(f"tries\n{self.name}\n{self.subject}".encode()).digest()


async def take_tries(pool: Pool, wanted: Sequence[Tries]) -> None:
    """Count one try of each. Raises TooManyRequests, without counting, while any has to wait.

    A try is counted before it is known to be wrong: a hundred at once are a hundred.
    """
    async with pool.autocommit() as db:
        wait: timedelta = await db.value(
            "SELECT take_tries(:buckets, :free, :forgets)",
            buckets=[tries.bucket for tries in wanted],
            free=[tries.free for tries in wanted],
            forgets=[tries.forgotten_a_minute for tries in wanted],
        )
    _refuse_while(wait)


async def require_no_wait(pool: Pool, tries: Tries) -> None:
    """Raises TooManyRequests while the subject has to wait; counts nothing."""
    async with pool.autocommit() as db:
        wait: timedelta = await db.value(
            "SELECT wait_of_tries(:bucket, :free, :forgets)",
            bucket=tries.bucket,
            free=tries.free,
            forgets=tries.forgotten_a_minute,
        )
    _refuse_while(wait)


async def forgive_tries(pool: Pool, right: Mapping[Tries, int | None]) -> None:
    """Take back that many tries of each, or all of them (None): this one was right."""
    async with pool.autocommit() as db:
        await db.value(
            "SELECT forgive_tries(:buckets, :how_many)",
            buckets=[tries.bucket for tries in right],
            how_many=list(right.values()),
        )


def _refuse_while(wait: timedelta) -> None:
    seconds = math.ceil(wait.total_seconds())
    if seconds > 0:
        raise TooManyRequests(
            f"Too many wrong tries. Try again in {seconds} s.", headers={"Retry-After": str(seconds)}
        )
