"""Questions of one kind that wait in one worker go to the database together.

Whoever finds nobody there asks at once and alone; those who come while a statement is under way share the
next one. So a statement's fixed price, and the lock or flush behind it, is paid once for all that wait, and
nobody waits for company. An answer is never older than its question: none joins a statement that was sent.
"""

import asyncio
import contextvars
import copy
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
from typing import Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from kasuwa.base.db import Pool
from kasuwa.base.problems import Problem, Unavailable

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")
_Lane: TypeAlias = "dict[Question, list[asyncio.Future[Answer]]]"

MOST_TOGETHER = 500


class Coalesced(Generic[Question, Answer]):
    """`ask_all` answers so many questions, in their order, by one statement that is a transaction of its own.

    Equal questions that wait are asked once. If the statement fails as a whole, it has had no effect and each
    question is asked alone, so that only those at fault fail; unless it is Unavailable, which all are told.
    """

    def __init__(self, ask_all: Callable[[Pool, Sequence[Question]], Awaitable[Sequence[Answer]]]) -> None:
        self.ask_all = ask_all
        # Those who wait while somebody's statement is under way. A lane is there only as long as one is.
        self._lanes: WeakKeyDictionary[Pool, dict[Hashable, _Lane[Question, Answer]]] = WeakKeyDictionary()
        self._runs: set[asyncio.Task[None]] = set()

    async def ask(self, pool: Pool, question: Question, *, lane: Hashable = None) -> Answer:
        """The answer to one question; those of different lanes never share a statement."""
        lanes = self._lanes.setdefault(pool, {})
        waiting = lanes.get(lane)
        if waiting is not None:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            waiting.setdefault(question, []).append(answer)
            return await answer
        waiting = lanes[lane] = {}
        try:
            (alone,) = await self.ask_all(pool, [question])
            return alone
        finally:
            if waiting:
                # A task of nobody's: whoever hangs up ends his own waiting alone. It has no log fields.
                run = asyncio.create_task(self._empty(pool, lane, waiting), context=contextvars.Context())
                self._runs.add(run)
                run.add_done_callback(self._runs.discard)
            else:
                del lanes[lane]

    async def _empty(self, pool: Pool, lane: Hashable, waiting: "_Lane[Question, Answer]") -> None:
        try:
            while waiting:
                together = {one: waiting.pop(one) for one in list(islice(waiting, MOST_TOGETHER))}
                await self._answer(pool, together)
        finally:
            del self._lanes[pool][lane]
            for answers in waiting.values():
                for answer in answers:
                    answer.cancel()

    async def _answer(self, pool: Pool, together: "_Lane[Question, Answer]") -> None:
        # Whoever has gone before it was asked wants nothing any more.
        asked = [one for one, answers in together.items() if not all(answer.done() for answer in answers)]
        if not asked:
            return
        try:
            found = await self.ask_all(pool, asked)
        except Exception as error:
            if len(asked) > 1 and not isinstance(error, Unavailable):
                for one in asked:
                    await self._answer(pool, {one: together[one]})
                return
            for one in asked:
                for answer in together[one]:
                    if not answer.done():
                        # A copy for each: one raised in several tasks would tell each of the others' way.
                        answer.set_exception(copy.copy(error) if isinstance(error, Problem) else error)
            return
        for one, what in zip(asked, found, strict=True):
            for answer in together[one]:
                if not answer.done():
                    answer.set_result(what)
