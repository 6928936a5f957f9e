"""A process of its own that answers one keyed request and is killed amid it: run by the tests of keys."""

import asyncio
import os
import signal
import sys

import msgspec
from msgspec import Struct

from kasuwa.base.context import KeyedTransaction
from kasuwa.handover import WorkerSetup
from tests.client import running_web


class Order(Struct):
    """`dies` is where: before the commit, after it, or between the two commits of a build that has two."""

    setup: WorkerSetup
    path: str
    headers: dict[str, str]
    body: dict[str, object]
    dies: str


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arrange(dies: str) -> None:
    end, complete = KeyedTransaction._end, KeyedTransaction.complete

    async def ending(self: KeyedTransaction, *, keep: bool) -> None:
        if keep and dies == "before":
            die()
        await end(self, keep=keep)
        if keep and dies == "after":
            die()

    async def completing_twice(self: KeyedTransaction, answer: bytes | None) -> None:
        if answer is None:
            await complete(self, None)
            return
        await end(self, keep=True)
        die()  # here that build would keep the answer, in a second transaction

    KeyedTransaction._end = ending  # type: ignore[method-assign]
    if dies == "between":
        KeyedTransaction.complete = completing_twice  # type: ignore[method-assign]


async def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    arrange(order.dies)
    async with running_web(order.setup) as web:
        await web.post(order.path, headers=order.headers, json=order.body)


if __name__ == "__main__":
    asyncio.run(main())
