"""A worker of its own that spends a subject's quota as it is told: run by the tests of limits.

It reads an order and then, for each line of input, a subject and a number of requests to make at once, and
answers how many were accepted.
"""

import asyncio
import sys

import msgspec
from msgspec import Struct

from kasuwa.base.db import Pool
from kasuwa.base.limits import Limits, Quota


class Order(Struct):
    url: str
    quota: Quota
    workers: int


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    order = msgspec.json.decode(await lines.readline(), type=Order)
    pool = await Pool.open(dsn=order.url, max_size=4)
    limits = Limits(pool, workers=order.workers)
    say("ready")
    while words := (await lines.readline()).decode().split():
        subject, requests = words[0], int(words[1])
        allowances = await asyncio.gather(*(limits.take(order.quota, subject) for _ in range(requests)))
        say(str(sum(allowance.accepted for allowance in allowances)))
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main())
