"""Transfers against a plain model over two to four locations: balances, batches, costs after each step."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import asyncpg
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct
from msgspec.structs import astuple, replace

from kasuwa.base.context import Context, Services
from kasuwa.base.problems import Problem
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.errors import NotEnoughStock
from kasuwa.domain.inventory.records import Kind, Move, State
from kasuwa.domain.merchants.actions import open_store
from kasuwa.domain.merchants.records import NewStore
from kasuwa.domain.transfers import actions, booking, rules
from kasuwa.domain.transfers.actions import (
    accept_line,
    cancel_transfer,
    change_transfer,
    receive_transfer,
    send,
    ship_transfer,
)
from kasuwa.domain.transfers.errors import (
    NotAtThisEnd,
    OverReceipt,
    TransferAccepted,
    TransferCancelled,
    TransferNotDraft,
    TransferNotFound,
    WrongLines,
)
from kasuwa.domain.transfers.queries import get_transfer
from kasuwa.domain.transfers.records import Fate, Line, NewTransfer, Outcome, Receipt, Transfer, WantedLine
from tests.shop import new_shop
from tests.transfers import at_store, fresh, ledger_faults, stocked

T = TypeVar("T")


class Booked(Struct, frozen=True):
    """What `booking._move` is told."""

    transfer: Transfer
    bundle: Any
    kind: Kind
    store_id: UUID
    state: State
    change: Decimal


Place = tuple[int, int, str]  # location, product, state

BATCHES = {None: None, "L1": date(2031, 1, 1), "L2": date(2030, 6, 1)}
QUANTITIES = st.sampled_from(["0.125", "1", "2.5", "4", "7.375", "12"]).map(Decimal)
CLOSED = (TransferAccepted, TransferCancelled)
# What the rounding of an average to six decimals may come to over a run.
ROUNDING = Decimal("0.01")


class Transfers(RuleBasedStateMachine):
    """The model: how much of each product is in which state where, and how much was lost."""

    loop: asyncio.AbstractEventLoop
    services: Services
    seen: ClassVar[set[str]] = set()

    drafts = Bundle("drafts")
    sent = Bundle("sent")
    transfers = drafts | sent

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(locations=st.integers(2, 4))
    def open_shop(self, locations: int) -> None:
        self.stores, self.products = self.run(self._open_shop(locations))
        self.held: dict[Place, Decimal] = defaultdict(Decimal)
        self.lost: dict[int, Decimal] = defaultdict(Decimal)
        self.brought: dict[int, Decimal] = defaultdict(Decimal)
        self.worth = Decimal(0)
        self.batched: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
        self.known: dict[UUID, Transfer] = {}
        for product in (0, 1):
            self.bring(0, product, Decimal(40), None, 900)

    async def _open_shop(self, locations: int) -> tuple[list[Context], list[Product]]:
        shop = await new_shop(self.services)
        stores = [shop.owner, at_store(shop.owner, shop.second_store_id)]
        new = NewStore(name="Branch", country_code="NG", country="Nigeria", currency="NGN")
        async with shop.owner.transaction() as db:
            for _ in range(locations - 2):
                opened = await open_store(shop.owner, db, new)
                stores.append(at_store(shop.owner, opened.store_id))
        products = [await stocked(shop.owner, name, Decimal(0)) for name in ("Milk", "Rice")]
        return stores, products

    @rule(
        store=st.integers(0, 3),
        product=st.integers(0, 1),
        quantity=QUANTITIES,
        batch=st.sampled_from(list(BATCHES)),
        cost=st.integers(1, 5000),
    )
    def bring(self, store: int, product: int, quantity: Decimal, batch: str | None, cost: int) -> None:
        store %= len(self.stores)
        at = fresh(self.stores[store])
        move = Move(
            store_id=at.store_id,
            variant_id=self.products[product].main.variant_id,
            kind="quantity_added",
            change=quantity,
            unit_cost_minor=cost,
            batch_no=batch,
            expires_on=BATCHES[batch],
        )
        self.run(self._move(at, move))
        self.held[store, product, "on_hand"] += quantity
        self.brought[product] += quantity
        self.worth += quantity * cost
        if batch is not None:
            self.batched[product, batch] += quantity

    async def _move(self, at: Context, move: Move) -> None:
        async with at.transaction() as db:
            await move_stock(at, db, [move])

    @rule(target=drafts, road=st.permutations(range(4)), quantities=st.lists(QUANTITIES, max_size=2))
    def draft(self, road: list[int], quantities: list[Decimal]) -> UUID:
        source, destination = [end for end in road if end < len(self.stores)][:2]
        new = NewTransfer(destination_id=self.stores[destination].store_id, lines=self._lines(quantities))
        made = self.run(actions.draft_transfer(fresh(self.stores[source]), new))
        return self._keep(made)

    @rule(
        target=sent,
        road=st.permutations(range(4)),
        product=st.integers(0, 1),
        share=st.sampled_from([Decimal("0.5"), Decimal("0.25"), Decimal(1), Decimal("1.5")]),
    )
    def send(self, road: list[int], product: int, share: Decimal) -> Any:
        source, destination = [end for end in road if end < len(self.stores)][:2]
        if not self.held[source, product, "on_hand"]:
            source, destination = destination, source
        quantity = max(round(self.held[source, product, "on_hand"] * share, 3), Decimal(1))
        line = WantedLine(variant_id=self.products[product].main.variant_id, quantity=quantity)
        new = NewTransfer(destination_id=self.stores[destination].store_id, lines=(line,))
        sending = send(fresh(self.stores[source]), new)
        if quantity > self.held[source, product, "on_hand"]:
            self._refused(sending, NotEnoughStock)
            return multiple()
        made = self.run(sending).transfer
        self._left(made)
        return self._keep(made)

    @rule(
        target=sent,
        road=st.permutations(range(4)),
        product=st.integers(0, 1),
        quantity=QUANTITIES,
        batch=st.sampled_from(["L1", "L2"]),
        cost=st.integers(1, 5000),
    )
    def bring_a_batch_and_send_it(
        self, road: list[int], product: int, quantity: Decimal, batch: str, cost: int
    ) -> Any:
        source = next(end for end in road if end < len(self.stores))
        self.bring(source, product, quantity, batch, cost)
        return self.send(road, product, Decimal("0.5"))

    @rule(transfer_id=transfers, quantities=st.lists(QUANTITIES, max_size=2))
    def change(self, transfer_id: UUID, quantities: list[Decimal]) -> None:
        transfer = self.known.get(transfer_id)
        if transfer is None:
            return
        lines = self._lines(quantities)
        changing = change_transfer(self._source(transfer), transfer_id, lines=lines)
        if transfer.status != "draft":
            self._refused(changing, TransferNotDraft)
        else:
            self._keep(self.run(changing))

    @rule(transfer_id=transfers)
    def ship(self, transfer_id: UUID) -> None:
        transfer = self.known.get(transfer_id)
        if transfer is None:
            return
        shipping = ship_transfer(self._source(transfer), transfer_id)
        source = self._end(transfer.source_id)
        there = [self.held[source, self._product(line), "on_hand"] for line in transfer.lines]
        if transfer.status != "draft":
            self._refused(shipping, TransferNotDraft)
        elif not transfer.lines:
            self._refused(shipping, WrongLines)
        elif any(line.quantity > held for line, held in zip(transfer.lines, there, strict=True)):
            self._refused(shipping, NotEnoughStock)
        else:
            shipped = self.run(shipping)
            self._left(shipped)
            self._keep(shipped)

    @rule(
        transfer_id=transfers,
        line=st.integers(0, 1),
        outcome=st.sampled_from(["received", "received", "damaged", "lost"]),
        share=st.sampled_from([Decimal("0.25"), Decimal("0.5"), Decimal(1), Decimal(1), Decimal(2)]),
    )
    def receive(self, transfer_id: UUID, line: int, outcome: Outcome, share: Decimal) -> None:
        transfer = self.known.get(transfer_id)
        if transfer is None or not transfer.lines:
            return
        of = transfer.lines[line % len(transfer.lines)]
        quantity = max(round((of.outstanding or of.quantity) * share, 3), Decimal("0.001"))
        receipt = Receipt(line_id=of.line_id, outcome=outcome, quantity=quantity, reason="on the road")
        receiving = receive_transfer(self._destination(transfer), transfer_id, [receipt])
        if transfer.shipped_at is None:
            self._refused(receiving, TransferNotFound)
        elif not rules.is_open(transfer.status):
            self._refused(receiving, CLOSED)
        elif quantity > of.outstanding:
            self._refused(receiving, OverReceipt)
        else:
            self._keep(self.run(receiving))
            self._arrived(transfer, of, outcome, quantity)

    @rule(transfer_id=transfers, line=st.integers(0, 1), twice=st.booleans())
    def accept(self, transfer_id: UUID, line: int, twice: bool) -> None:
        transfer = self.known.get(transfer_id)
        if transfer is None or not transfer.lines:
            return
        of = transfer.lines[line % len(transfer.lines)]
        if transfer.shipped_at is None:
            self._refused(accept_line(self._destination(transfer), of.line_id), TransferNotFound)
            return
        if of.status == "cancelled":
            self._refused(accept_line(self._destination(transfer), of.line_id), TransferCancelled)
            return
        for _ in range(1 + twice):
            self.run(accept_line(self._destination(transfer), of.line_id))
        self._keep(self.run(get_transfer(self._destination(transfer), transfer_id)))
        if of.outstanding:
            self._arrived(transfer, of, "received", of.outstanding)

    @rule(transfer_id=transfers, line=st.integers(0, 1))
    def accept_at_the_wrong_end(self, transfer_id: UUID, line: int) -> None:
        transfer = self.known.get(transfer_id)
        if transfer is not None and transfer.lines:
            of = transfer.lines[line % len(transfer.lines)]
            self._refused(accept_line(self._source(transfer), of.line_id), NotAtThisEnd)

    @rule(transfer_id=transfers, fate=st.sampled_from(["returned", "lost"]))
    def cancel(self, transfer_id: UUID, fate: Fate) -> None:
        transfer = self.known.get(transfer_id)
        if transfer is None:
            return
        cancelling = cancel_transfer(self._source(transfer), transfer_id, fate=fate, reason="on the road")
        if transfer.status in ("accepted", "cancelled"):
            self._refused(cancelling, CLOSED)
            return
        self._keep(self.run(cancelling))
        for line in transfer.lines:
            if line.outstanding:
                self._arrived(transfer, line, fate, line.outstanding)

    @rule(transfer_id=sent, fate=st.sampled_from(["returned", "lost"]))
    def stop_on_the_road(self, transfer_id: UUID, fate: Fate) -> None:
        self.cancel(transfer_id, fate)

    @rule(transfer_id=sent, outcome=st.sampled_from(["received", "damaged", "lost"]))
    def receive_a_part(self, transfer_id: UUID, outcome: Outcome) -> None:
        self.receive(transfer_id, 0, outcome, Decimal("0.5"))

    # The model ------------------------------------------------------------------------------------

    def _lines(self, quantities: list[Decimal]) -> tuple[WantedLine, ...]:
        return tuple(
            WantedLine(variant_id=product.main.variant_id, quantity=quantity)
            for product, quantity in zip(self.products, quantities, strict=False)
        )

    def _keep(self, transfer: Transfer) -> UUID:
        self.known[transfer.transfer_id] = transfer
        self.seen.add(transfer.status)
        for line in transfer.lines:
            assert line.settled <= line.quantity
        return transfer.transfer_id

    def _end(self, store_id: UUID) -> int:
        return next(n for n, context in enumerate(self.stores) if context.store_id == store_id)

    def _source(self, transfer: Transfer) -> Context:
        return fresh(self.stores[self._end(transfer.source_id)])

    def _destination(self, transfer: Transfer) -> Context:
        return fresh(self.stores[self._end(transfer.destination_id)])

    def _refused(
        self, work: Coroutine[Any, Any, Any], kind: type[Problem] | tuple[type[Problem], ...]
    ) -> None:
        with pytest.raises(kind):
            self.run(work)

    def _left(self, transfer: Transfer) -> None:
        for line in transfer.lines:
            self.held[self._end(transfer.source_id), self._product(line), "on_hand"] -= line.quantity
            self.held[self._end(transfer.destination_id), self._product(line), "in_transit"] += line.quantity

    def _product(self, line: Line) -> int:
        return [product.main.variant_id for product in self.products].index(line.variant_id)

    def _arrived(self, transfer: Transfer, line: Line, outcome: str, quantity: Decimal) -> None:
        source, destination = self._end(transfer.source_id), self._end(transfer.destination_id)
        number = self._product(line)
        self.seen.add(outcome)
        if any(parcel.batch_no for parcel in line.parcels if parcel.outstanding):
            self.seen.add(f"{outcome} of a batch")
        self.held[destination, number, "in_transit"] -= quantity
        if outcome == "received":
            self.held[destination, number, "on_hand"] += quantity
        elif outcome == "damaged":
            self.held[destination, number, "damaged"] += quantity
        elif outcome == "returned":
            self.held[source, number, "on_hand"] += quantity
        else:
            self.lost[number] += quantity

    # What must hold after every step ----------------------------------------------------------------

    @invariant()
    def everything_is_where_the_model_says(self) -> None:
        found = self.run(self._balances())
        assert found == {place: amount for place, amount in self.held.items() if amount}

    @invariant()
    def nothing_is_made_and_nothing_vanishes(self) -> None:
        found = self.run(self._balances())
        for number in (0, 1):
            total = sum(
                (amount for (_, product, _), amount in found.items() if product == number), Decimal(0)
            )
            assert total + self.lost[number] == self.brought[number]

    @invariant()
    def batches_and_worth_travel_with_the_goods(self) -> None:
        batches, worth = self.run(self._lots())
        assert batches == {place: amount for place, amount in self.batched.items() if amount}
        assert abs(worth - self.worth) < ROUNDING

    async def _balances(self) -> dict[Place, Decimal]:
        found: dict[Place, Decimal] = {}
        variants = [product.main.variant_id for product in self.products]
        async with fresh(self.stores[0]).reading() as db:
            rows: list[dict[str, Any]] = await db.all(
                "SELECT store_id, variant_id, on_hand, in_transit, damaged FROM stock_balance", into=dict
            )
        for row in rows:
            for state in ("on_hand", "in_transit", "damaged"):
                if row[state]:
                    found[self._end(row["store_id"]), variants.index(row["variant_id"]), state] = row[state]
        return found

    async def _lots(self) -> tuple[dict[tuple[int, str], Decimal], Decimal]:
        """How much of each batch is anywhere, was damaged or lost; and what all of it is worth."""
        variants = [product.main.variant_id for product in self.products]
        async with fresh(self.stores[0]).reading() as db:
            rows: list[dict[str, Any]] = await db.all(
                """
                SELECT variant_id, batch_no, sum(quantity) AS quantity FROM (
                  SELECT variant_id, batch_no, quantity FROM stock_batch
                  UNION ALL
                  SELECT l.variant_id, p.batch_no, p.outstanding
                  FROM stock_transfer_parcel p JOIN stock_transfer_line l USING (merchant_id, line_id)
                  UNION ALL
                  SELECT variant_id, batch_no, abs(quantity) FROM stock_movement
                  WHERE state = 'damaged' OR reason = 'transfer_loss'
                ) lots WHERE batch_no IS NOT NULL GROUP BY 1, 2 HAVING sum(quantity) <> 0
                """,
                into=dict,
            )
            worth: Decimal = await db.value(
                """
                SELECT coalesce((SELECT sum(cost_value) FROM stock_balance), 0)
                  + coalesce((SELECT sum(outstanding * unit_cost_minor) FROM stock_transfer_parcel), 0)
                  + coalesce((
                      SELECT sum(abs(quantity) * unit_cost) FROM stock_movement
                      WHERE state = 'damaged' OR reason = 'transfer_loss'), 0)
                """
            )
        return {(variants.index(r["variant_id"]), r["batch_no"]): r["quantity"] for r in rows}, worth

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            assert self.run(ledger_faults(fresh(self.stores[0]))) == []


@pytest.fixture
async def loop() -> asyncio.AbstractEventLoop:
    """The loop that the application lives in; it rests while a plain test runs."""
    return asyncio.get_running_loop()


def run_machine(phases: Sequence[Phase] = tuple(Phase)) -> None:
    Transfers.seen = set()
    run_state_machine_as_test(
        Transfers,
        settings=settings(
            max_examples=30,
            stateful_step_count=50,
            deadline=None,
            # The same runs each time: they reach every state, which is checked.
            derandomize=True,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(600)
def test_transfers_do_what_a_plain_model_does(loop: asyncio.AbstractEventLoop, services: Services) -> None:
    Transfers.loop, Transfers.services = loop, services
    run_machine()
    outcomes = {"received", "damaged", "lost", "returned"}
    states = {"draft", "shipped", "partially_received", "accepted", "cancelled"}
    assert Transfers.seen >= states | outcomes | {"received of a batch"}


def to_the_wrong_end(to: Booked) -> Booked:
    is_back = to.bundle.outcome == "returned" and to.state == "on_hand"
    return replace(to, store_id=to.transfer.destination_id) if is_back else to


# What the model finds, and what the domain and the database refuse although they should not have been asked.
FOUND = (AssertionError, Problem, asyncpg.PostgresError, pytest.fail.Exception)
# What becomes of a movement in builds that are wrong in one way each.
BROKEN: dict[str, Callable[[Booked], Booked]] = {
    "damaged goods on the shelf": lambda to: replace(to, state="on_hand") if to.state == "damaged" else to,
    "returned to the wrong end": to_the_wrong_end,
    "a cost that stays behind": lambda to: replace(to, bundle=replace(to.bundle, unit_cost_minor=None)),
    "a batch that stays behind": lambda to: replace(to, bundle=replace(to.bundle, batch_no=None)),
    "twice onto the shelf": lambda to: replace(to, change=2 * to.change) if to.state == "on_hand" else to,
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("alter", BROKEN.values(), ids=BROKEN)
def test_the_control_a_build_that_books_otherwise_is_found(
    loop: asyncio.AbstractEventLoop,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    alter: Callable[[Booked], Booked],
) -> None:
    Transfers.loop, Transfers.services = loop, services
    right = booking._move

    def wrong(*to: Any) -> Move:
        return right(*astuple(alter(Booked(*to))))

    monkeypatch.setattr(booking, "_move", wrong)
    with pytest.raises(FOUND):
        run_machine([Phase.generate])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule_of", ["require_draft", "require_open"])
def test_the_control_a_build_without_a_rule_is_found(
    loop: asyncio.AbstractEventLoop, services: Services, monkeypatch: pytest.MonkeyPatch, rule_of: str
) -> None:
    Transfers.loop, Transfers.services = loop, services
    monkeypatch.setattr(rules, rule_of, lambda transfer: None)
    with pytest.raises(FOUND):
        run_machine([Phase.generate])
