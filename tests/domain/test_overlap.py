"""Two parts of a file at a time: they end in their order, and none is written without those before it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from kasuwa.base.problems import Unavailable
from kasuwa.domain.exchange.overlap import Turn, overlapped


async def numbered(count: int) -> AsyncGenerator[int]:
    for number in range(count):
        yield number


class Writer:
    """Takes numbers as parts: notes who began and who ended."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.most_together = 0

    async def take(self, part: int, turn: Turn) -> None:
        self.begun.append(part)
        self.most_together = max(self.most_together, len(self.begun) - len(self.ended))
        await self.write(part)
        await turn()
        self.ended.append(part)

    async def write(self, part: int) -> None:
        await asyncio.sleep(0)


async def taken(writer: Writer, count: int, *, at_once: int = 2) -> list[int]:
    async with aclosing(overlapped(numbered(count), writer.take, at_once=at_once)) as parts:
        return [part async for part in parts]


@pytest.mark.parametrize("at_once", [1, 2])
async def test_parts_end_in_their_order_and_so_many_go_together(at_once: int) -> None:
    writer = Writer()
    assert await taken(writer, 7, at_once=at_once) == writer.ended == list(range(7))
    assert writer.most_together == at_once


async def test_a_later_part_that_is_ready_first_waits_for_its_turn() -> None:
    second_is_ready = asyncio.Event()

    class Uneven(Writer):
        async def write(self, part: int) -> None:
            if part == 0:
                await second_is_ready.wait()
            else:
                second_is_ready.set()

    writer = Uneven()
    assert await taken(writer, 2) == writer.ended == [0, 1]


async def test_nothing_is_written_after_a_part_that_failed() -> None:
    class Failing(Writer):
        async def write(self, part: int) -> None:
            if part == 2:
                raise ValueError("no")

    writer = Failing()
    with pytest.raises(ValueError, match="no"):
        await taken(writer, 9)
    assert (writer.ended, max(writer.begun) <= 3) == ([0, 1], True)


async def test_parts_that_keep_each_other_waiting_are_taken_one_by_one() -> None:
    class Waiting(Writer):
        """The second part, while it waits for its turn, holds what the first one needs."""

        async def write(self, part: int) -> None:
            await super().write(part)
            if self.begun == [0, 1] and part == 0:
                raise Unavailable("Somebody else holds it.")

    writer = Waiting()
    assert await taken(writer, 3) == writer.ended == [0, 1, 2]
    assert writer.begun == [0, 1, 0, 1, 2]


async def test_what_is_unavailable_to_a_part_alone_is_said() -> None:
    class Down(Writer):
        async def write(self, part: int) -> None:
            raise Unavailable("The database is away.")

    with pytest.raises(Unavailable):
        await taken(Down(), 3)


async def test_who_stops_listening_cancels_what_is_going_on() -> None:
    writer = Writer()
    async with aclosing(overlapped(numbered(9), writer.take, at_once=2)) as parts:
        assert await anext(parts) == 0
    assert (writer.ended, max(writer.begun)) == ([0], 1)
