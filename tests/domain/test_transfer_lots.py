"""What travels with the goods: batches with their dates, serial numbers, cost."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from kasuwa.base.context import Context
from kasuwa.base.problems import Problem
from kasuwa.domain.inventory.errors import SerialElsewhere, WrongQuantity
from kasuwa.domain.transfers.actions import (
    accept_line,
    cancel_transfer,
    receive_transfer,
)
from kasuwa.domain.transfers.lists import get_line
from tests.shop import Shop
from tests.transfers import (
    Road,
    at_store,
    bring,
    ledger_faults,
    receipt,
    stocked,
    these,
    wanted,
)


@pytest.fixture
def road(shop: Shop) -> Road:
    return Road(shop.owner, at_store(shop.owner, shop.second_store_id))


def pointers(problem: Problem) -> list[str]:
    return [fault.pointer for fault in problem.faults]


async def column(context: Context, statement: str) -> list[Any]:
    """Of the context's store."""
    async with context.reading() as db:
        return await db.values(
            statement + " WHERE store_id = :store_id ORDER BY 1", store_id=context.store_id
        )


BATCHES = "SELECT batch_no || ' ' || expires_on || ' ' || trim_scale(quantity) FROM stock_batch"


async def test_batches_arrive_as_what_they_left_as(road: Road) -> None:
    milk = await stocked(road.here, "Milk", Decimal(0))
    await bring(road.here, milk, 5, None, batch_no="L2", expires_on=date(2030, 1, 1))
    await bring(road.here, milk, 4, None, batch_no="L1", expires_on=date(2029, 1, 1))
    transfer = await road.send(wanted(milk, 7))
    assert [these(p.batch_no, p.quantity) for p in transfer.lines[0].parcels] == [("L1", 4), ("L2", 3)]
    damaged = receipt(transfer, "damaged", 1, batch_no="L2")
    transfer = await receive_transfer(road.there, transfer.transfer_id, [damaged])
    await accept_line(road.there, transfer.lines[0].line_id)
    assert await column(road.here, BATCHES) == ["L1 2029-01-01 0", "L2 2030-01-01 2"]
    assert await column(road.there, BATCHES) == ["L1 2029-01-01 4", "L2 2030-01-01 2"]
    assert await ledger_faults(road.here) == []


async def test_a_batch_that_comes_back_is_the_batch_it_was(road: Road) -> None:
    milk = await stocked(road.here, "Milk", Decimal(0))
    await bring(road.here, milk, 5, None, batch_no="L2", expires_on=date(2030, 1, 1))
    transfer = await road.send(wanted(milk, 5))
    assert await column(road.here, BATCHES) == ["L2 2030-01-01 0"]
    await cancel_transfer(road.here, transfer.transfer_id, fate="returned")
    assert await column(road.here, BATCHES) == ["L2 2030-01-01 5"]


async def test_a_batch_with_another_day_at_the_destination_does_not_keep_goods_on_the_road(
    road: Road,
) -> None:
    milk = await stocked(road.here, "Milk", Decimal(0))
    await bring(road.here, milk, 5, None, batch_no="L2", expires_on=date(2030, 1, 1))
    await bring(road.there, milk, 2, None, batch_no="L2", expires_on=date(2030, 2, 2))
    transfer = await road.send(wanted(milk, 5))
    await accept_line(road.there, transfer.lines[0].line_id)
    assert await column(road.there, BATCHES) == ["L2 2030-02-02 7"]


async def test_the_cost_travels_with_the_goods(road: Road) -> None:
    """Six of 10 and 16 on average 12; at the destination four of 20: (6 × 12 + 4 × 20) / 10."""
    rice = await stocked(road.here, "Rice", Decimal(0))
    await bring(road.here, rice, 8, 1000)
    await bring(road.here, rice, 4, 1600)
    await bring(road.there, rice, 4, 2000)
    transfer = await road.send(wanted(rice, 6))
    assert transfer.lines[0].parcels[0].unit_cost_minor == 1200
    assert (await get_line(road.there, transfer.lines[0].line_id)).unit_cost_minor == 1200
    await receive_transfer(road.there, transfer.transfer_id, [receipt(transfer, "received", 6)])
    average = "SELECT trim_scale(average_cost) FROM stock_balance"
    assert await column(road.there, average) == [1520]
    back = await Road(road.there, road.here).send(wanted(rice, 10))
    await cancel_transfer(road.there, back.transfer_id, fate="returned")
    assert await column(road.there, average) == [1520]


async def test_units_with_serial_numbers_move_by_name(road: Road) -> None:
    phone = await stocked(road.here, "Phone", Decimal(0), unit="each")
    await bring(road.here, phone, 3, None, serials=("A1", "A2", "A3"))
    with pytest.raises(SerialElsewhere) as refused:
        await road.send(wanted(phone, 2, serials=("A1", "B9")))
    assert pointers(refused.value) == ["/lines/0/serialNumbers"]
    transfer = await road.send(wanted(phone, 2, serials=("A1", "A3")))
    here = "SELECT serial FROM stock_serial"
    assert (await column(road.here, here), await column(road.there, here)) == (["A2"], [])
    named = receipt(transfer, "received", 1, serials=("A3",))
    transfer = await receive_transfer(road.there, transfer.transfer_id, [named])
    assert await column(road.there, here) == ["A3"]
    await cancel_transfer(road.here, transfer.transfer_id, fate="returned")
    assert (await column(road.here, here), await column(road.there, here)) == (["A1", "A2"], ["A3"])
    assert await ledger_faults(road.here) == []


async def test_a_named_unit_takes_its_own_batch_along(road: Road) -> None:
    phone = await stocked(road.here, "Phone", Decimal(0), unit="each")
    await bring(road.here, phone, 2, None, batch_no="L1", expires_on=date(2029, 1, 1), serials=("A", "B"))
    await bring(road.here, phone, 1, None, batch_no="L2", expires_on=date(2030, 1, 1), serials=("C",))
    await bring(road.here, phone, 1, None, serials=("D",))
    transfer = await road.send(wanted(phone, 3, serials=("D", "C", "A")))
    assert [these(p.serial, p.batch_no) for p in transfer.lines[0].parcels] == [
        ("A", "L1"),
        ("C", "L2"),
        ("D", None),
    ]
    await receive_transfer(
        road.there, transfer.transfer_id, [receipt(transfer, "received", 2, serials=("C", "D"))]
    )
    await cancel_transfer(road.here, transfer.transfer_id, fate="returned")
    lots = "SELECT concat_ws(' ', serial, batch_no) FROM stock_serial"
    assert await column(road.there, lots) == ["C L2", "D"]
    assert await column(road.here, lots) == ["A L1", "B L1"]
    assert await ledger_faults(road.here) == []


async def test_a_quantity_has_the_decimals_of_its_unit(road: Road) -> None:
    phone = await stocked(road.here, "Phone", Decimal(3), unit="each")
    with pytest.raises(WrongQuantity) as refused:
        await road.send(wanted(phone, "0.5"))
    assert "/lines/0/quantity" in pointers(refused.value)
