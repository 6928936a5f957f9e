"""The rules of transfers, without a database: what may follow on what, and what never may."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kasuwa.base.ids import new_id
from kasuwa.base.problems import Problem
from kasuwa.domain.transfers import rules
from kasuwa.domain.transfers.errors import (
    FateNeeded,
    OverReceipt,
    TransferAccepted,
    TransferCancelled,
    TransferNotDraft,
    TransferNotShipped,
    UnknownLine,
    WrongLines,
)
from kasuwa.domain.transfers.records import Fate, Line, Outcome, Parcel, Receipt, Transfer
from tests.transfers import these

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def parcel(number: int, quantity: int | str, **more: Any) -> Parcel:
    return Parcel(number=number, quantity=Decimal(quantity), outstanding=Decimal(quantity), **more)


def line(*parcels: Parcel, **more: Any) -> Line:
    quantity = sum((one.quantity for one in parcels), Decimal(0))
    return Line(
        line_id=new_id(),
        position=1,
        product_id=new_id(),
        variant_id=new_id(),
        quantity=quantity,
        parcels=parcels,
        **more,
    )


def draft(*lines: Line) -> Transfer:
    return Transfer(
        transfer_id=new_id(),
        source_id=new_id(),
        destination_id=new_id(),
        status="draft",
        reference="",
        note="",
        version=1,
        created_at=NOW,
        created_by=None,
        shipped_at=None,
        shipped_by=None,
        closed_at=None,
        closed_by=None,
        fate=None,
        close_reason="",
        lines=lines,
    )


def shipped(*parcels: Parcel) -> Transfer:
    return rules.ship(draft(line(*parcels)))


def some(transfer: Transfer, outcome: Outcome, quantity: int | str, **more: Any) -> Receipt:
    return Receipt(line_id=transfer.lines[0].line_id, outcome=outcome, quantity=Decimal(quantity), **more)


def fault(problem: Problem) -> str:
    return problem.faults[0].pointer


def test_all_of_a_transfer_arrives_at_once() -> None:
    transfer = shipped(parcel(1, 6))
    assert these(transfer.status, transfer.lines[0].outstanding) == ("shipped", 6)
    done = rules.settle(transfer, rules.rest_of(transfer.lines[0]))
    assert these(done.after.status, done.after.lines[0].received) == ("accepted", 6)
    assert [these(part.outcome, part.quantity) for part in done.taken] == [("received", 6)]
    assert rules.rest_of(done.after.lines[0]) == ()


def test_it_arrives_in_parts_some_damaged_and_some_never() -> None:
    transfer = shipped(parcel(1, 10))
    first = rules.settle(transfer, [some(transfer, "received", 4), some(transfer, "damaged", "0.5")])
    assert first.after.status == first.after.lines[0].status == "partially_received"
    assert first.after.lines[0].outstanding == Decimal("5.5")
    last = rules.settle(
        first.after, [some(transfer, "received", 5), some(transfer, "lost", "0.5", reason="fell off")]
    )
    after = last.after.lines[0]
    assert these(after.received, after.damaged, after.lost, after.outstanding) == (
        9,
        Decimal("0.5"),
        Decimal("0.5"),
        0,
    )
    assert last.after.status == "accepted"


def test_more_than_was_shipped_never_arrives() -> None:
    transfer = shipped(parcel(1, 10))
    with pytest.raises(OverReceipt) as refused:
        rules.settle(transfer, [some(transfer, "received", 10), some(transfer, "damaged", "0.001")])
    assert fault(refused.value) == "/lines/1/quantity"
    assert "at most 0:" in refused.value.faults[0].message


@pytest.mark.parametrize("quantity", ["0", "-1"])
def test_nothing_and_less_is_no_receipt(quantity: str) -> None:
    transfer = shipped(parcel(1, 10))
    with pytest.raises(WrongLines) as refused:
        rules.settle(transfer, [some(transfer, "received", quantity)])
    assert fault(refused.value) == "/lines/0/quantity"


def test_a_loss_has_a_reason() -> None:
    transfer = shipped(parcel(1, 10))
    with pytest.raises(WrongLines) as refused:
        rules.settle(transfer, [some(transfer, "lost", 1)])
    assert fault(refused.value) == "/lines/0/reason"


def test_a_line_of_another_transfer_is_unknown() -> None:
    transfer, other = shipped(parcel(1, 10)), shipped(parcel(1, 10))
    with pytest.raises(UnknownLine) as refused:
        rules.settle(transfer, [some(other, "received", 1)])
    assert fault(refused.value) == "/lines/0/lineId"


def test_what_expires_first_is_taken_first_and_what_never_does_last() -> None:
    transfer = shipped(
        parcel(1, 2),
        parcel(2, 3, batch_no="B", expires_on=date(2027, 1, 1)),
        parcel(3, 4, batch_no="A", expires_on=date(2026, 6, 1)),
    )
    done = rules.settle(transfer, [some(transfer, "received", 8)])
    assert [these(part.parcel.batch_no, part.quantity) for part in done.taken] == [
        ("A", 4),
        ("B", 3),
        (None, 1),
    ]
    assert [p.outstanding for p in done.after.lines[0].parcels] == [1, 0, 0]


def test_a_batch_can_be_named() -> None:
    transfer = shipped(parcel(1, 2, batch_no="A"), parcel(2, 3, batch_no="B"))
    done = rules.settle(transfer, [some(transfer, "damaged", 3, batch_no="B")])
    assert [these(part.parcel.batch_no, part.quantity) for part in done.taken] == [("B", 3)]
    with pytest.raises(OverReceipt) as refused:
        rules.settle(done.after, [some(transfer, "damaged", 1, batch_no="B")])
    assert fault(refused.value) == "/lines/0/batchNo"


def test_units_with_serial_numbers_arrive_by_name() -> None:
    transfer = shipped(parcel(1, 1, serial="S1"), parcel(2, 1, serial="S2"), parcel(3, 1, serial="S3"))
    done = rules.settle(transfer, [some(transfer, "received", 1, serials=("S2",))])
    assert [part.parcel.serial for part in done.taken] == ["S2"]
    for wrong in ((), ("S2",), ("S9",), ("S1", "S3"), ("S1", "S1")):
        with pytest.raises(WrongLines) as refused:
            rules.settle(done.after, [some(transfer, "received", 1, serials=wrong)])
        assert fault(refused.value) == "/lines/0/serialNumbers"
    rest = rules.settle(done.after, rules.rest_of(done.after.lines[0]))
    assert sorted(str(part.parcel.serial) for part in rest.taken) == ["S1", "S3"]


def test_serial_numbers_of_what_has_none_are_refused() -> None:
    transfer = shipped(parcel(1, 1))
    with pytest.raises(WrongLines) as refused:
        rules.settle(transfer, [some(transfer, "received", 1, serials=("S1",))])
    assert fault(refused.value) == "/lines/0/serialNumbers"


def test_a_draft_is_cancelled_without_a_word() -> None:
    done = rules.cancel(draft(line(parcel(1, 3))), None, "not needed")
    assert (done.after.status, done.after.fate, done.taken) == ("cancelled", None, ())
    assert done.after.lines[0].outstanding == 0


def test_who_cancels_what_has_left_says_where_it_is() -> None:
    transfer = shipped(parcel(1, 3))
    with pytest.raises(FateNeeded) as refused:
        rules.cancel(transfer, None, "the van came back")
    assert fault(refused.value) == "/fate"
    with pytest.raises(FateNeeded) as refused:
        rules.cancel(transfer, "lost", "")
    assert fault(refused.value) == "/reason"


@pytest.mark.parametrize("fate", ["returned", "lost"])
def test_what_has_arrived_stays_where_it_is_when_the_rest_is_cancelled(fate: Fate) -> None:
    transfer = shipped(parcel(1, 3), parcel(2, 3, batch_no="B"))
    part = rules.settle(transfer, [some(transfer, "received", 2)]).after
    done = rules.cancel(part, fate, "the van broke down")
    after = done.after.lines[0]
    assert these(after.received, getattr(after, fate), after.status) == (2, 4, "cancelled")
    assert [these(t.parcel.batch_no, t.outcome, t.quantity) for t in done.taken] == [
        (None, fate, 1),
        ("B", fate, 3),
    ]


def test_a_line_that_has_arrived_stays_accepted_when_the_others_are_cancelled() -> None:
    transfer = rules.ship(draft(line(parcel(1, 3)), line(parcel(1, 4))))
    part = rules.settle(transfer, rules.rest_of(transfer.lines[0])).after
    assert part.status == "partially_received"
    done = rules.cancel(part, "returned", "")
    assert [one.status for one in done.after.lines] == ["accepted", "cancelled"]


def test_nothing_follows_on_the_end_and_nothing_arrives_before_it_left() -> None:
    waiting = draft(line(parcel(1, 3)))
    with pytest.raises(TransferNotShipped):
        rules.settle(waiting, [some(waiting, "received", 1)])
    gone = rules.ship(waiting)
    with pytest.raises(TransferNotDraft):
        rules.ship(gone)
    accepted = rules.settle(gone, rules.rest_of(gone.lines[0])).after
    cancelled = rules.cancel(gone, "returned", "").after
    for end, problem in ((accepted, TransferAccepted), (cancelled, TransferCancelled)):
        with pytest.raises(problem):
            rules.settle(end, [some(end, "received", 1)])
        with pytest.raises(problem):
            rules.cancel(end, "returned", "")
        with pytest.raises(TransferNotDraft):
            rules.ship(end)


def test_an_empty_transfer_is_not_shipped() -> None:
    with pytest.raises(WrongLines):
        rules.ship(draft())


OUTCOMES = st.sampled_from(["received", "damaged", "lost"])
STEPS = st.lists(st.tuples(st.integers(0, 1), OUTCOMES, st.integers(1, 8)), max_size=12)


@given(steps=STEPS, fate=st.sampled_from([None, "returned", "lost"]))
def test_every_unit_is_settled_once_or_still_on_its_way(
    steps: list[tuple[int, Outcome, int]], fate: Fate | None
) -> None:
    transfer = rules.ship(draft(line(parcel(1, 5), parcel(2, 4, batch_no="B")), line(parcel(1, 3))))
    seen: dict[UUID, Decimal] = {one.line_id: Decimal(0) for one in transfer.lines}
    for which, outcome, quantity in steps:
        receipt = replace(
            some(transfer, outcome, quantity, reason="x"), line_id=transfer.lines[which].line_id
        )
        try:
            done = rules.settle(transfer, [receipt])
        except (OverReceipt, TransferAccepted):
            continue
        transfer = done.after
        seen[receipt.line_id] += sum(part.quantity for part in done.taken)
    if fate is not None and rules.is_open(transfer.status):
        done = rules.cancel(transfer, fate, "x")
        transfer = done.after
        for part in done.taken:
            seen[part.line.line_id] += part.quantity
    for one in transfer.lines:
        assert one.settled == seen[one.line_id] <= one.quantity
        assert one.outstanding == one.quantity - one.settled
        assert one.outstanding == sum(p.outstanding for p in one.parcels)
    assert rules.is_open(transfer.status) == any(one.outstanding for one in transfer.lines)
