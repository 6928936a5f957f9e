"""Transfers between locations: what leaves arrives once, or somebody says where it is."""

from decimal import Decimal
from typing import Any

import pytest

from kasuwa.base.context import Context
from kasuwa.base.ids import new_id
from kasuwa.base.problems import Forbidden, Problem
from kasuwa.domain.catalogue.actions import remove_product
from kasuwa.domain.catalogue.errors import StillStocked
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.inventory.errors import NotEnoughStock
from kasuwa.domain.transfers import actions
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
from kasuwa.domain.transfers.records import LineFilter, NewTransfer, WantedLine
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
    these,
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
    assert these(done.status, line.received, line.damaged, line.lost) == ("accepted", 7, 1, 2)
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
    assert [these(line.position, line.quantity) for line in changed.lines] == [(1, 1), (2, 2)]
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
    assert these(done.status, done.lines[0].returned) == ("cancelled", 7)
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
    assert these(done.status, done.lines[0].lost, done.close_reason) == ("cancelled", 10, "the van burnt")
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
        ("2", {"serials": ("A",)}, "serialNumbers"),
        ("2", {"serials": ("A", "A")}, "serialNumbers"),
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
        await road.draft(wanted(malt, 1), WantedLine(variant_id=new_id(), quantity=Decimal(1)))
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
    with pytest.raises(StillStocked):
        await remove_product(road.here, malt.product_id)
    removal = await remove_product(road.here, malt.product_id, on_remaining="write_off")
    assert removal.status == "archived"
    assert (await get_line(road.here, transfer.lines[0].line_id)).sku == malt.main.sku


async def test_a_product_that_only_a_closed_draft_names_is_deleted(road: Road) -> None:
    bread = await stocked(road.here, "Bread", Decimal(0))
    transfer = await road.draft(wanted(bread, 10))
    await cancel_transfer(road.here, transfer.transfer_id)
    assert (await remove_product(road.here, bread.product_id)).status == "deleted"
    assert (await get_transfer(road.here, transfer.transfer_id)).lines == ()
