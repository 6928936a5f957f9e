"""Those who wait share a statement; nobody gets an answer that is not his, or older than his question."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from kasuwa.base.coalescing import MOST_TOGETHER, Coalesced
from kasuwa.base.context import Services
from kasuwa.base.db import Pool
from kasuwa.base.problems import Invalid, Unavailable


class Clerk:
    """Answers each number with its double, when let; notes what each statement asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.refused: dict[int, Exception] = {}
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.doubles: Callable[[int], int] = lambda n: n * 2

    async def answer(self, pool: Pool, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        # What is found is what there is when the statement is sent.
        found = [self.doubles(n) for n in numbers]
        await asyncio.sleep(0)
        await self.may_answer.wait()
        for number in numbers:
            if number in self.refused:
                raise self.refused[number]
        return found


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
def pool(services: Services) -> Pool:
    return services.pool


async def under_way() -> None:
    """All that can be sent has been, and stands at the clerk."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_waits_for_nobody_and_the_others_go_together(clerk: Clerk, pool: Pool) -> None:
    desk = Coalesced(clerk.answer)
    found = await asyncio.gather(*(desk.ask(pool, n) for n in range(20)))
    assert found == [n * 2 for n in range(20)]
    assert clerk.asked == [[0], list(range(1, 20))]
    assert await desk.ask(pool, 7) == 14
    assert clerk.asked[2:] == [[7]]


async def test_equal_questions_that_wait_are_asked_once(clerk: Clerk, pool: Pool) -> None:
    desk = Coalesced(clerk.answer)
    assert await asyncio.gather(*(desk.ask(pool, n % 3) for n in range(12))) == [n % 3 * 2 for n in range(12)]
    assert clerk.asked == [[0], [1, 2, 0]]


async def test_no_statement_carries_more_than_it_may(clerk: Clerk, pool: Pool) -> None:
    desk = Coalesced(clerk.answer)
    await asyncio.gather(*(desk.ask(pool, n) for n in range(MOST_TOGETHER + 11)))
    assert [len(numbers) for numbers in clerk.asked] == [1, MOST_TOGETHER, 10]


async def test_an_answer_is_never_older_than_its_question(clerk: Clerk, pool: Pool) -> None:
    """What ends while a statement is under way is ended for whoever asks after it."""
    desk = Coalesced(clerk.answer)
    assert await ended_meanwhile(desk, clerk, pool) == [14, 0, 0]


async def test_one_that_joins_what_was_sent_is_found(clerk: Clerk, pool: Pool) -> None:
    """The control: a desk at which equal questions share an answer that is already on its way."""

    class Joining(Coalesced[int, int]):
        def __init__(self) -> None:
            super().__init__(clerk.answer)
            self.sent: dict[int, asyncio.Task[int]] = {}

        async def ask(self, pool: Pool, question: int, *, lane: object = None) -> int:
            if question not in self.sent:
                self.sent[question] = asyncio.create_task(super().ask(pool, question))
            return await self.sent[question]

    assert await ended_meanwhile(Joining(), clerk, pool) == [14, 14, 14]


async def ended_meanwhile(desk: Coalesced[int, int], clerk: Clerk, pool: Pool) -> list[int]:
    clerk.may_answer.clear()
    first = asyncio.create_task(desk.ask(pool, 7))
    await under_way()
    clerk.doubles = lambda n: 0
    later = [asyncio.create_task(desk.ask(pool, 7)) for _ in range(2)]
    await under_way()
    clerk.may_answer.set()
    return [await first, *(await asyncio.gather(*later))]


async def test_one_at_fault_fails_alone(clerk: Clerk, pool: Pool) -> None:
    desk = Coalesced(clerk.answer)
    clerk.refused = {3: Invalid("Not three.")}
    found = await asyncio.gather(*(desk.ask(pool, n) for n in range(6)), return_exceptions=True)
    assert [one if isinstance(one, int) else type(one) for one in found] == [0, 2, 4, Invalid, 8, 10]


async def test_all_that_waited_are_told_that_the_database_is_gone(clerk: Clerk, pool: Pool) -> None:
    desk = Coalesced(clerk.answer)
    clerk.refused = {3: Unavailable("The database does not answer.")}
    found = await asyncio.gather(*(desk.ask(pool, n) for n in range(6)), return_exceptions=True)
    assert found[0] == 0
    told = [one for one in found if isinstance(one, Unavailable)]
    assert len(told) == len({id(one) for one in told}) == 5
    assert clerk.asked == [[0], [1, 2, 3, 4, 5]]


async def test_the_first_ones_fault_is_nobody_elses(clerk: Clerk, pool: Pool) -> None:
    desk = Coalesced(clerk.answer)
    clerk.refused = {0: Unavailable("The database does not answer.")}
    found = await asyncio.gather(*(desk.ask(pool, n) for n in range(3)), return_exceptions=True)
    assert isinstance(found[0], Unavailable)
    assert found[1:] == [2, 4]


@pytest.mark.parametrize("gone", [0, 1], ids=["the one who asks", "one who waits"])
async def test_whoever_hangs_up_takes_nobody_with_him(clerk: Clerk, pool: Pool, gone: int) -> None:
    desk = Coalesced(clerk.answer)
    clerk.may_answer.clear()
    asking = [asyncio.create_task(desk.ask(pool, n)) for n in range(4)]
    await under_way()
    asking[gone].cancel()
    await under_way()
    clerk.may_answer.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found.pop(gone), asyncio.CancelledError)
    assert found == [n * 2 for n in range(4) if n != gone]
    assert clerk.asked == [[0], [n for n in range(1, 4) if n != gone]]


async def test_those_of_two_lanes_never_share(clerk: Clerk, pool: Pool) -> None:
    desk = Coalesced(clerk.answer)
    found = await asyncio.gather(*(desk.ask(pool, n, lane=n % 2) for n in range(8)))
    assert found == [n * 2 for n in range(8)]
    assert sorted(clerk.asked) == [[0], [1], [2, 4, 6], [3, 5, 7]]
