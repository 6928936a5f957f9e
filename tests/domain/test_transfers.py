"""Transfers between locations: what leaves arrives once, or somebody says where it is."""

import asyncio
from collections.abc import Awaitable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from kasuwa.domain.inventory.records import Move

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.problems import Forbidden, Problem
from kasuwa.domain.catalogue.actions import remove_product
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.errors import NotEnoughStock, SerialElsewhere, WrongQuantity
from kasuwa.domain.transfers import actions, queries
from kasuwa.domain.transfers.actions import (
    accept_line,
    cancel_transfer,
    change_transfer,
    receive_transfer,
    ship_transfer,
)
from kasuwa.domain.transfers.errors import (
    NotAtThisEnd,
    OverReceipt,
    TransferAccepted,
    TransferCancelled,
    TransferHolds,
    TransferNotDraft,
    TransferNotFound,
    TransferVersionOld,
    UnknownDestination,
    UnknownVariant,
    WrongLines,
)
from kasuwa.domain.transfers.lists import get_line, list_lines, list_transfers
from kasuwa.domain.transfers.queries import get_transfer
from kasuwa.domain.transfers.records import LineFilter, NewTransfer, Transfer
from tests.shop import Shop
from tests.transfers import (
    Held,
    Road,
    at_store,
    fresh,
    held,
    ledger_faults,
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


def pointers(problem: Problem) -> list[str]:
    return [fault.pointer for fault in problem.faults]


async def test_a_draft_moves_nothing_and_is_its_sources_alone(road: Road, malt: Product) -> None:
    transfer = await road.draft(wanted(malt, 6), reference="GRN-7", note="for the weekend")
    assert (transfer.status, transfer.reference, transfer.note) == ("draft", "GRN-7", "for the weekend")
    assert await held(road.here, malt) == Held(Decimal(100))
    assert await held(road.there, malt) == Held()
    with pytest.raises(TransferNotFound):
        await get_transfer(road.there, transfer.transfer_id)


async def test_what_is_shipped_is_on_its_way_and_then_there(road: Road, malt: Product) -> None:
    transfer = await road.draft(wanted(malt, "6.5"))
    transfer = await ship_transfer(road.here, transfer.transfer_id)
    assert transfer.status == "shipped"
    assert await held(road.here, malt) == Held(Decimal("93.5"))
    assert await held(road.there, malt) == Held(in_transit=Decimal("6.5"))
    transfer = await receive_transfer(
        road.there, transfer.transfer_id, [receipt(transfer, "received", "6.5")]
    )
    assert transfer.status == "accepted"
    assert transfer.closed_by == road.there.caller.user_id
    assert await held(road.there, malt) == Held(on_hand=Decimal("6.5"))
    assert await ledger_faults(road.here) == []


async def test_it_arrives_in_parts_damaged_and_lost(road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 10))
    transfer = await receive_transfer(
        road.there,
        transfer.transfer_id,
        [receipt(transfer, "received", 4), receipt(transfer, "damaged", 1, reason="broken seal")],
    )
    assert transfer.status == "partially_received"
    assert await held(road.there, malt) == Held(Decimal(4), Decimal(5), Decimal(1))
    transfer = await receive_transfer(
        road.there, transfer.transfer_id, [receipt(transfer, "lost", 2, reason="fell off the van")]
    )
    assert await held(road.there, malt) == Held(Decimal(4), Decimal(3), Decimal(1))
    await accept_line(road.there, transfer.lines[0].line_id)
    done = await get_transfer(road.here, transfer.transfer_id)
    line = done.lines[0]
    assert (done.status, line.received, line.damaged, line.lost) == ("accepted", 7, 1, 2)
    assert await held(road.there, malt) == Held(Decimal(7), Decimal(0), Decimal(1))
    assert await ledger_faults(road.here) == []


async def test_over_receipt_books_nothing_of_the_whole_receipt(road: Road, malt: Product) -> None:
    bread = await stocked(road.here, "Bread")
    transfer = await road.send(wanted(malt, 10), wanted(bread, 5))
    receipts = [receipt(transfer, "received", 10), receipt(transfer, "received", "0.001")]
    with pytest.raises(OverReceipt) as refused:
        await receive_transfer(road.there, transfer.transfer_id, receipts)
    assert pointers(refused.value) == ["/lines/1/quantity"]
    assert await held(road.there, malt) == Held(in_transit=Decimal(10))
    assert (await get_transfer(road.there, transfer.transfer_id)).status == "shipped"


async def test_one_line_too_many_ships_none(road: Road, malt: Product) -> None:
    bread = await stocked(road.here, "Bread", Decimal(2))
    transfer = await road.draft(wanted(malt, 10), wanted(bread, 3))
    with pytest.raises(NotEnoughStock) as refused:
        await ship_transfer(road.here, transfer.transfer_id)
    assert pointers(refused.value) == ["/lines/1/quantity"]
    assert await held(road.here, malt) == Held(Decimal(100))
    assert await held(road.there, malt) == Held()
    assert (await get_transfer(road.here, transfer.transfer_id)).status == "draft"


async def test_a_draft_is_changed_until_it_is_shipped(road: Road, malt: Product) -> None:
    bread = await stocked(road.here, "Bread")
    transfer = await road.draft(wanted(malt, 10))
    assert transfer.lines[0].line_id == transfer.transfer_id
    changed = await change_transfer(
        road.here, transfer.transfer_id, lines=[wanted(bread, 1), wanted(malt, 2)], note="both", version=1
    )
    assert [(line.position, line.quantity) for line in changed.lines] == [(1, 1), (2, 2)]
    assert transfer.transfer_id not in {line.line_id for line in changed.lines}
    assert (changed.version, changed.note) == (2, "both")
    with pytest.raises(TransferVersionOld):
        await change_transfer(road.here, transfer.transfer_id, note="old", version=1)
    shipped = await ship_transfer(road.here, transfer.transfer_id, version=2)
    with pytest.raises(TransferNotDraft):
        await change_transfer(road.here, transfer.transfer_id, lines=[wanted(malt, 1)])
    with pytest.raises(TransferNotDraft):
        await ship_transfer(road.here, transfer.transfer_id)
    assert (await get_transfer(road.here, transfer.transfer_id)).lines == shipped.lines


async def test_an_empty_draft_is_not_shipped(road: Road) -> None:
    transfer = await road.draft()
    with pytest.raises(WrongLines):
        await ship_transfer(road.here, transfer.transfer_id)


async def test_a_cancelled_draft_is_closed(road: Road, malt: Product) -> None:
    transfer = await road.draft(wanted(malt, 10))
    done = await cancel_transfer(road.here, transfer.transfer_id, reason="not needed")
    assert (done.status, done.fate, done.close_reason) == ("cancelled", None, "not needed")
    with pytest.raises(TransferNotDraft):
        await ship_transfer(road.here, transfer.transfer_id)
    assert await held(road.here, malt) == Held(Decimal(100))


async def test_what_comes_back_is_on_the_sources_shelf(road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 10))
    await receive_transfer(road.there, transfer.transfer_id, [receipt(transfer, "received", 3)])
    with pytest.raises(Problem) as refused:
        await cancel_transfer(road.here, transfer.transfer_id)
    assert pointers(refused.value) == ["/fate"]
    done = await cancel_transfer(road.here, transfer.transfer_id, fate="returned")
    assert (done.status, done.lines[0].returned) == ("cancelled", 7)
    assert await held(road.here, malt) == Held(Decimal(97))
    assert await held(road.there, malt) == Held(Decimal(3))
    with pytest.raises(TransferCancelled):
        await accept_line(road.there, transfer.lines[0].line_id)
    with pytest.raises(TransferCancelled):
        await cancel_transfer(road.here, transfer.transfer_id, fate="returned")
    assert await ledger_faults(road.here) == []


async def test_what_is_lost_is_written_off(road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 10))
    done = await cancel_transfer(road.here, transfer.transfer_id, fate="lost", reason="the van burnt")
    assert (done.status, done.lines[0].lost, done.close_reason) == ("cancelled", 10, "the van burnt")
    assert await held(road.here, malt) == Held(Decimal(90))
    assert await held(road.there, malt) == Held()
    assert await ledger_faults(road.here) == []


async def test_each_end_does_its_own_part(road: Road, malt: Product) -> None:
    transfer = await road.send(wanted(malt, 10))
    whole = [receipt(transfer, "received", 10)]
    for wrong in (
        accept_line(road.here, transfer.lines[0].line_id),
        receive_transfer(road.here, transfer.transfer_id, whole),
        cancel_transfer(road.there, transfer.transfer_id, fate="returned"),
    ):
        with pytest.raises(NotAtThisEnd):
            await wrong


async def test_nobody_elses_transfers_are_seen_or_moved(road: Road, malt: Product, other_shop: Shop) -> None:
    transfer = await road.send(wanted(malt, 10))
    stranger = other_shop.owner
    for ids in ((transfer.transfer_id, transfer.lines[0].line_id), (new_id(), new_id())):
        for attempt in (
            get_transfer(stranger, ids[0]),
            receive_transfer(fresh(stranger), ids[0], [receipt(transfer, "received", 1)]),
            ship_transfer(fresh(stranger), ids[0]),
            cancel_transfer(fresh(stranger), ids[0], fate="lost", reason="x"),
            change_transfer(fresh(stranger), ids[0], note="mine"),
            accept_line(fresh(stranger), ids[1]),
            get_line(stranger, ids[1]),
        ):
            with pytest.raises(TransferNotFound):
                await attempt
    assert (await list_lines(stranger, LineFilter(), page=1, size=50, cursor=None)).rows == ()
    assert await list_transfers(stranger, direction="all", status=None, after=None, size=50) == []
    with pytest.raises(UnknownVariant):
        await Road(stranger, at_store(stranger, other_shop.second_store_id)).draft(wanted(malt, 1))
    with pytest.raises(UnknownDestination):
        await Road(fresh(stranger), road.there).draft()
    assert await held(road.there, malt) == Held(in_transit=Decimal(10))


async def test_who_may_only_sell_moves_nothing_between_locations(
    shop: Shop, road: Road, malt: Product
) -> None:
    transfer = await road.send(wanted(malt, 10))
    cashier = shop.cashier()
    line_id = transfer.lines[0].line_id
    for attempt in (
        Road(cashier, road.there).draft(wanted(malt, 1)),
        Road(cashier, road.there).send(wanted(malt, 1)),
        ship_transfer(fresh(cashier), transfer.transfer_id),
        change_transfer(fresh(cashier), transfer.transfer_id, note="x"),
        cancel_transfer(fresh(cashier), transfer.transfer_id, fate="returned"),
        receive_transfer(at_store(cashier, shop.second_store_id), transfer.transfer_id, []),
        accept_line(at_store(cashier, shop.second_store_id), line_id),
    ):
        with pytest.raises(Forbidden):
            await attempt


@pytest.mark.parametrize(
    ("quantity", "more", "field"),
    [
        ("0", {}, "quantity"),
        ("-3", {}, "quantity"),
        ("0.0001", {}, "quantity"),
        ("1000000000000", {}, "quantity"),
        ("2", {"serials": ("A",)}, "serials"),
        ("2", {"serials": ("A", "A")}, "serials"),
    ],
)
async def test_a_line_that_cannot_be_is_refused_by_its_place(
    road: Road, malt: Product, quantity: str, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(WrongLines) as refused:
        await road.draft(wanted(malt, quantity, **more))
    assert pointers(refused.value) == [f"/lines/0/{field}"]


async def test_a_variant_stands_in_a_transfer_once_and_must_be_there(road: Road, malt: Product) -> None:
    with pytest.raises(WrongLines) as refused:
        await road.draft(wanted(malt, 1), wanted(malt, 2))
    assert pointers(refused.value) == ["/lines/1/variantId"]
    with pytest.raises(UnknownVariant) as unknown:
        await road.draft(wanted(malt, 1), actions.WantedLine(variant_id=new_id(), quantity=Decimal(1)))
    assert pointers(unknown.value) == ["/lines/1/variantId"]


async def test_a_transfer_goes_to_another_location_of_the_account(road: Road, malt: Product) -> None:
    for destination_id in (road.here.store_id, new_id()):
        with pytest.raises(UnknownDestination) as refused:
            await actions.draft_transfer(
                road.here, NewTransfer(destination_id=destination_id, lines=(wanted(malt, 1),))
            )
        assert pointers(refused.value) == ["/destinationStoreId"]


async def test_a_product_on_its_way_is_not_removed(road: Road, malt: Product) -> None:
    transfer = await road.draft(wanted(malt, 10))
    for _ in ("draft", "shipped"):
        with pytest.raises(TransferHolds):
            await remove_product(road.here, malt.product_id)
        if transfer.status == "draft":
            transfer = await ship_transfer(road.here, transfer.transfer_id)
    await accept_line(road.there, transfer.lines[0].line_id)
    assert (await remove_product(road.here, malt.product_id)).status == "archived"
    assert (await get_line(road.here, transfer.lines[0].line_id)).sku == malt.main.sku


async def test_a_product_that_only_a_closed_draft_names_is_deleted(road: Road) -> None:
    bread = await stocked(road.here, "Bread", Decimal(0))
    transfer = await road.draft(wanted(bread, 10))
    await cancel_transfer(road.here, transfer.transfer_id)
    assert (await remove_product(road.here, bread.product_id)).status == "deleted"
    assert (await get_transfer(road.here, transfer.transfer_id)).lines == ()


# What travels with the goods ------------------------------------------------------------------------


async def bring(context: Context, product: Product, quantity: int, cost: int | None, **lot: Any) -> None:
    """A delivery to the context's store."""
    move = Move(
        store_id=context.store_id,
        variant_id=product.main.variant_id,
        kind="quantity_added",
        change=Decimal(quantity),
        unit_cost_minor=cost,
        **lot,
    )
    async with context.transaction() as db:
        await move_stock(context, db, [move])


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
    assert [(p.batch_no, p.quantity) for p in transfer.lines[0].parcels] == [("L1", 4), ("L2", 3)]
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
    assert pointers(refused.value) == ["/lines/0/serials"]
    transfer = await road.send(wanted(phone, 2, serials=("A1", "A3")))
    here = "SELECT serial FROM stock_serial"
    assert (await column(road.here, here), await column(road.there, here)) == (["A2"], [])
    named = receipt(transfer, "received", 1, serials=("A3",))
    transfer = await receive_transfer(road.there, transfer.transfer_id, [named])
    assert await column(road.there, here) == ["A3"]
    await cancel_transfer(road.here, transfer.transfer_id, fate="returned")
    assert (await column(road.here, here), await column(road.there, here)) == (["A1", "A2"], ["A3"])
    assert await ledger_faults(road.here) == []


async def test_a_quantity_has_the_decimals_of_its_unit(road: Road) -> None:
    phone = await stocked(road.here, "Phone", Decimal(3), unit="each")
    with pytest.raises(WrongQuantity) as refused:
        await road.send(wanted(phone, "0.5"))
    assert "/lines/0/quantity" in pointers(refused.value)


# Races ---------------------------------------------------------------------------------------------


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


async def movements(context: Context, kind: str, state: str) -> int:
    """How many there are at the context's store."""
    async with context.reading() as db:
        found: int = await db.value(
            "SELECT count(*) FROM stock_movement"
            " WHERE store_id = :store_id AND kind = :kind AND state = :state",
            store_id=context.store_id,
            kind=kind,
            state=state,
        )
    return found
