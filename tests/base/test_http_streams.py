"""Answers that are sent piece by piece: cut when they fail, ended when nobody reads them any more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kasuwa.base.http.streams import Stream, begin
from kasuwa.base.problems import NotFound

Messages = list[dict[str, Any]]


class Caller:
    """Takes what is sent; goes away after that many messages."""

    def __init__(self, stays_for: int = 1_000_000) -> None:
        self.taken: Messages = []
        self.stays_for = stays_for
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.taken.append(message)
        if len(self.taken) == self.stays_for:
            self.gone.set()
        await asyncio.sleep(0)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.taken)


class Pieces:
    """Counts what was made, and whether it was ended."""

    def __init__(self, *, fails_at: int = 1_000_000, most: int = 5) -> None:
        self.made = 0
        self.fails_at, self.most = fails_at, most
        self.is_closed = False

    async def make(self) -> AsyncIterator[bytes]:
        try:
            while self.made < self.most:
                if self.made == self.fails_at:
                    raise NotFound("there is nothing more")
                self.made += 1
                yield b"%d," % self.made
        finally:
            self.is_closed = True


async def answer(pieces: Pieces, caller: Caller, *, head: bool = False) -> None:
    begun = await begin(Stream(pieces.make(), "text/csv", "a.csv"), 200)
    scope: Any = {"type": "http", "state": {"head": head}}
    await begun(scope, caller.receive, caller.send)  # type: ignore[arg-type]


async def test_the_pieces_arrive_in_order_and_the_last_one_says_so() -> None:
    pieces, caller = Pieces(), Caller()
    await answer(pieces, caller)
    assert caller.body == b"1,2,3,4,5,"
    assert [message.get("more_body") for message in caller.taken] == [None, *[True] * 5, False]
    assert (b"content-disposition", b'attachment; filename="a.csv"') in caller.taken[0]["headers"]
    assert pieces.is_closed


async def test_what_fails_at_once_is_an_answer_of_its_own() -> None:
    pieces, caller = Pieces(fails_at=0), Caller()
    with pytest.raises(NotFound):
        await answer(pieces, caller)
    assert caller.taken == []
    assert pieces.is_closed


async def test_what_fails_later_never_looks_whole() -> None:
    pieces, caller = Pieces(fails_at=3), Caller()
    with pytest.raises(NotFound):
        await answer(pieces, caller)
    assert caller.body == b"1,2,3,"
    assert all(message.get("more_body", True) for message in caller.taken)
    assert pieces.is_closed


async def test_nothing_more_is_made_for_a_caller_who_has_gone() -> None:
    pieces, caller = Pieces(most=1_000_000), Caller(stays_for=4)
    await answer(pieces, caller)
    assert pieces.made < 10
    assert pieces.is_closed


async def test_the_head_alone_makes_one_piece_and_sends_none() -> None:
    pieces, caller = Pieces(), Caller()
    await answer(pieces, caller, head=True)
    assert (caller.body, pieces.made, pieces.is_closed) == (b"", 1, True)


async def test_an_empty_stream_is_an_empty_answer() -> None:
    pieces, caller = Pieces(most=0), Caller()
    await answer(pieces, caller)
    assert (caller.body, len(caller.taken)) == (b"", 3)
