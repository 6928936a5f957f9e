"""Several tills at one transfer: each unit leaves once and arrives once."""

import asyncio
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.transfers import actions, queries
from kasuwa.domain.transfers.actions import (
    accept_line,
    cancel_transfer,
    receive_transfer,
    ship_transfer,
)
from kasuwa.domain.transfers.errors import (
    TransferAccepted,
    TransferCancelled,
    TransferNotDraft,
)
from kasuwa.domain.transfers.records import Transfer
from tests.shop import Shop
from tests.transfers import (
    Held,
    Road,
    at_store,
    fresh,
    held,
    ledger_faults,
    movements,
    receipt,
    stocked,
    wanted,
)


@pytest.fixture
def road(shop: Shop) -> Road:
    return Road(shop.owner, at_store(shop.owner, shop.second_store_id))


@pytest.fixture
async def malt(context: Context) -> Product:
    """A hundred of them at the first location, none at the second."""
    return await stocked(context)


async def at_once(*attempts: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*attempts, return_exceptions=True))


async def test_two_tills_accept_once(road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 10))
    line_id = transfer.lines[0].line_id
    answers = await at_once(*(accept_line(fresh(road.there), line_id) for _ in range(8)))
    assert answers == [None] * 8
    assert await held(road.there, malt) == Held(Decimal(10))
    assert await movements(road.there, "transfer_accepted", "on_hand") == 1
    assert await ledger_faults(road.here) == []


async def test_two_receipts_of_all_the_rest_book_one(road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 10))
    whole = [receipt(transfer, "received", 10)]
    answers = await at_once(
        *(receive_transfer(fresh(road.there), transfer.transfer_id, whole) for _ in range(6))
    )
    assert sum(isinstance(answer, Transfer) for answer in answers) == 1
    assert sum(isinstance(answer, TransferAccepted) for answer in answers) == 5
    assert await held(road.there, malt) == Held(Decimal(10))


async def test_an_acceptance_and_a_cancel_at_once_are_one_or_the_other(road: Road, malt: Product) -> None:
    for _ in range(4):
        before = (await held(road.here, malt), await held(road.there, malt))
        transfer = await road.send(wanted(malt, 10))
        accepted, cancelled = await at_once(
            accept_line(fresh(road.there), transfer.lines[0].line_id),
            cancel_transfer(fresh(road.here), transfer.transfer_id, fate="returned"),
        )
        after = await held(road.there, malt)
        assert after.in_transit == 0
        if accepted is None:
            assert isinstance(cancelled, TransferAccepted)
            assert after.on_hand == before[1].on_hand + 10
        else:
            assert isinstance(accepted, TransferCancelled)
            assert isinstance(cancelled, Transfer)
            assert (await held(road.here, malt), after) == before
    assert await ledger_faults(road.here) == []


async def test_a_draft_shipped_from_two_tills_leaves_once(road: Road, malt: Product) -> None:
    transfer = await road.draft(wanted(malt, 10))
    answers = await at_once(*(ship_transfer(fresh(road.here), transfer.transfer_id) for _ in range(6)))
    assert sum(isinstance(answer, TransferNotDraft) for answer in answers) == 5
    assert await held(road.here, malt) == Held(Decimal(90))
    assert await held(road.there, malt) == Held(in_transit=Decimal(10))


async def test_transfers_in_both_directions_do_not_lock_each_other_out(road: Road, malt: Product) -> None:
    back = Road(road.there, road.here)
    bread = await stocked(road.there, "Bread")
    await accept_line(road.there, (await road.send(wanted(malt, 50))).lines[0].line_id)
    await accept_line(road.here, (await back.send(wanted(bread, 50))).lines[0].line_id)
    answers = await at_once(
        *(
            way.send(*lines)
            for _ in range(5)
            for way, lines in (
                (road, (wanted(malt, 1), wanted(bread, 1))),
                (back, (wanted(bread, 1), wanted(malt, 1))),
            )
        )
    )
    assert [type(answer) for answer in answers] == [Transfer] * 10
    assert await ledger_faults(road.here) == []


async def test_the_sum_over_all_locations_is_the_same_at_every_read(road: Road, malt: Product) -> None:
    sums: set[Decimal] = set()
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            reader = fresh(road.here)
            async with reader.reading() as db:
                sums.add(await db.value("SELECT sum(on_hand + in_transit + damaged) FROM stock_balance"))

    async def carry(number: int) -> None:
        transfer = await road.send(wanted(malt, number))
        there = fresh(road.there)
        await receive_transfer(there, transfer.transfer_id, [receipt(transfer, "damaged", 1)])
        if number % 2:
            await accept_line(fresh(road.there), transfer.lines[0].line_id)
        else:
            await cancel_transfer(fresh(road.here), transfer.transfer_id, fate="returned")

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(carry(number) for number in range(2, 8)))
    done.set()
    await watching
    assert sums == {Decimal(100)}


async def test_without_the_lock_the_goods_arrive_twice_or_break(
    road: Road, malt: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a build that reads the transfer without holding it."""

    async def read_only(db: Database, transfer_id: UUID, store_id: UUID) -> Transfer:
        found = await queries._read(db, queries._TRANSFER, transfer_id, store_id)
        await asyncio.sleep(0.1)
        return found

    monkeypatch.setattr(actions, "lock_transfer", read_only)
    transfer = await road.send(wanted(malt, 10))
    await road.send(wanted(malt, 10))
    line_id = transfer.lines[0].line_id
    answers = await at_once(*(accept_line(fresh(road.there), line_id) for _ in range(2)))
    assert answers != [None, None], "the database's own check stops the second, without words for it"
