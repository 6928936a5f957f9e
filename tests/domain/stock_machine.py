"""Any history of stock: after each step the database must say what a model in plain Python says."""

import asyncio
from collections.abc import Coroutine
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.database import DatabaseUrls
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.errors import (
    BatchDiffers,
    NotEnoughStock,
    SerialElsewhere,
    StockChanged,
    WrongQuantity,
)
from kasuwa.domain.inventory.records import Move, Moved
from tests.domain.stock_model import ZERO, Shelf, line, said

T = TypeVar("T")

TODAY = date.today()  # noqa: DTZ011 - lots lie days away from it
GOOD, BAD, NEVER = TODAY + timedelta(days=90), TODAY - timedelta(days=90), None

stores = st.sampled_from([0, 1])
# A thing that is counted, and one that is weighed.
things = st.sampled_from([0, 1])
wholes = st.integers(1, 40).map(Decimal)
costs = st.none() | st.integers(0, 100_000).map(lambda n: Decimal(n) / 8)


class StockMachine(RuleBasedStateMachine):
    """Two products at two stores of one merchant, in a transaction that is undone."""

    urls: DatabaseUrls
    context: Context
    store_ids: tuple[UUID, UUID]
    histories = 0
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).histories += 1
        self.loop = asyncio.new_event_loop()
        self.shelves = [[Shelf(0), Shelf(3)], [Shelf(0), Shelf(3)]]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        connection: Any = self.run(asyncpg.connect(self.urls.application))
        self.connection = connection
        self.db = Database(connection)
        self.run(self.db.call(f"BEGIN; SET LOCAL app.merchant_id = '{self.context.merchant_id}'"))
        self.variant_ids = tuple(self.run(self._make(unit)) for unit in ("each", "kg"))

    async def _make(self, unit: str) -> UUID:
        product_id, variant_id = new_id(), new_id()
        number = new_id().int % 10**12
        await self.db.execute(
            "INSERT INTO product (merchant_id, product_id, number, name, sort_name, slug, unit)"
            " VALUES (current_merchant(), :product_id, :number, 'Rice', 'rice', 'rice', :unit)",
            product_id=product_id,
            number=number,
            unit=unit,
        )
        await self.db.execute(
            "INSERT INTO variant (merchant_id, variant_id, product_id, number, sku, sku_key)"
            " VALUES (current_merchant(), :variant_id, :product_id, :number, :sku, :sku)",
            variant_id=variant_id,
            product_id=product_id,
            number=number,
            sku=str(variant_id),
        )
        await self.db.execute(
            "INSERT INTO variant_pack (merchant_id, variant_id, pack, units)"
            " VALUES (current_merchant(), :variant_id, 'carton', 12)",
            variant_id=variant_id,
        )
        return variant_id

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.run(self.connection.close())
        self.loop.close()

    # What the rules are made of --------------------------------------------------------------------

    def line(self, store: int, thing: int, **fields: Any) -> Move:
        return line(self.store_ids[store], self.variant_ids[thing], **fields)

    def move(self, *lines: Move, together: bool = True) -> list[Moved]:
        found = self.run(move_stock(self.context, self.db, lines, all_or_nothing=together))
        for shelf in (shelf for shelves in self.shelves for shelf in shelves):
            shelf.look()
        return found

    def refused(self, problem: type[Exception], *lines: Move) -> None:
        with pytest.raises(problem):
            self.move(*lines)

    def shelf(self, store: int, thing: int) -> Shelf:
        return self.shelves[store][thing]

    # Rules -----------------------------------------------------------------------------------------

    @rule(store=stores, thing=things, quantity=wholes, cost=costs)
    def come_in(self, store: int, thing: int, quantity: Decimal, cost: Decimal | None) -> None:
        self.shelf(store, thing).put("on_hand", quantity, cost)
        self.move(self.line(store, thing, change=quantity, unit_cost_minor=cost))

    @rule(store=stores, grams=st.integers(1, 9999))
    def weigh_in(self, store: int, grams: int) -> None:
        quantity = Decimal(grams) / 1000
        self.shelf(store, 1).put("on_hand", quantity)
        self.move(self.line(store, 1, change=quantity))

    @rule(store=stores, thing=things, cartons=st.integers(1, 4).map(Decimal), cost=st.integers(0, 9999))
    def cartons_come_in(self, store: int, thing: int, cartons: Decimal, cost: int) -> None:
        shelf = self.shelf(store, thing)
        exact = Decimal(cost) / 12
        shelf.put("on_hand", cartons * 12, exact)
        self.move(self.line(store, thing, change=cartons, pack="Carton", unit_cost_minor=cost))

    @rule(store=stores, thing=things, quantity=wholes)
    def sell(self, store: int, thing: int, quantity: Decimal) -> None:
        shelf = self.shelf(store, thing)
        wanted = self.line(store, thing, change=-quantity)
        if not shelf.may_go_below and quantity > shelf.free:
            self.refused(NotEnoughStock, wanted)
        elif shelf.needs_names(quantity):
            self.refused(SerialElsewhere, wanted)
        else:
            shelf.take(quantity, shelf.next_lots())
            self.move(wanted)

    @rule(store=stores, thing=things)
    def sell_the_last(self, store: int, thing: int) -> None:
        shelf = self.shelf(store, thing)
        if shelf.free > 0 and not shelf.serials:
            quantity = shelf.free
            shelf.take(quantity, shelf.next_lots())
            self.move(self.line(store, thing, change=-quantity))

    @rule(store=stores, thing=things, figure=st.integers(0, 60).map(Decimal), is_expected=st.booleans())
    def count(self, store: int, thing: int, figure: Decimal, is_expected: bool) -> None:
        shelf = self.shelf(store, thing)
        if shelf.serials or figure < shelf.piles["reserved"]:
            return
        told = {"expected": shelf.on_hand} if is_expected else {"kind": "set"}
        if figure == 0 and shelf.movements == 0:
            return
        change = figure - shelf.on_hand
        wanted = self.line(store, thing, target=figure, **told)
        if change < 0:
            shelf.take(-change, shelf.next_lots())
        else:
            shelf.put("on_hand", change)
        self.move(wanted)

    @rule(store=stores, thing=things, off=st.integers(1, 5).map(Decimal))
    def count_too_late(self, store: int, thing: int, off: Decimal) -> None:
        shelf = self.shelf(store, thing)
        if shelf.movements:
            seen = shelf.on_hand + off
            self.refused(StockChanged, self.line(store, thing, target=Decimal(7), expected=seen))

    @rule(store=stores, thing=things, quantity=wholes)
    def reserve(self, store: int, thing: int, quantity: Decimal) -> None:
        shelf = self.shelf(store, thing)
        wanted = self.line(store, thing, kind="reserved", state="reserved", change=quantity)
        if not shelf.may_go_below and quantity > shelf.free:
            if shelf.movements:
                self.refused(NotEnoughStock, wanted)
        else:
            shelf.put("reserved", quantity)
            self.move(wanted)

    @rule(store=stores, thing=things, quantity=wholes)
    def release(self, store: int, thing: int, quantity: Decimal) -> None:
        shelf = self.shelf(store, thing)
        wanted = self.line(store, thing, kind="released", state="reserved", change=-quantity)
        if quantity > shelf.piles["reserved"]:
            self.refused(NotEnoughStock, wanted)
        else:
            shelf.put("reserved", -quantity)
            self.move(wanted)

    @rule(store=stores, thing=things, quantity=wholes)
    def sell_what_was_reserved(self, store: int, thing: int, quantity: Decimal) -> None:
        shelf = self.shelf(store, thing)
        if shelf.serials:
            return
        lines = [
            self.line(store, thing, kind="released", state="reserved", change=-quantity),
            self.line(store, thing, change=-quantity),
        ]
        held = shelf.piles["reserved"]
        if quantity > held or (not shelf.may_go_below and quantity > shelf.on_hand - held + quantity):
            self.refused(NotEnoughStock, *lines)
        else:
            shelf.put("reserved", -quantity)
            shelf.take(quantity, shelf.next_lots())
            self.move(*lines)

    @rule(store=stores, thing=things, quantity=wholes)
    def break_some(self, store: int, thing: int, quantity: Decimal) -> None:
        shelf = self.shelf(store, thing)
        if quantity > shelf.free or shelf.serials:
            return
        shelf.take(quantity, shelf.next_lots())
        shelf.put("damaged", quantity)
        self.move(self.line(store, thing, change=-quantity, becomes="damaged"))

    @rule(store=stores, thing=things, quantity=wholes)
    def throw_away_what_is_broken(self, store: int, thing: int, quantity: Decimal) -> None:
        shelf = self.shelf(store, thing)
        wanted = self.line(store, thing, state="damaged", change=-quantity)
        if quantity > shelf.piles["damaged"]:
            self.refused(NotEnoughStock, wanted)
        else:
            shelf.put("damaged", -quantity)
            self.move(wanted)

    @rule(store=stores, thing=things, quantity=wholes)
    def send(self, store: int, thing: int, quantity: Decimal) -> None:
        here, there = self.shelf(store, thing), self.shelf(1 - store, thing)
        if here.serials or not here.movements:
            return
        lines = [
            self.line(1 - store, thing, kind="transfer_initiated", state="in_transit", change=quantity),
            self.line(store, thing, kind="transfer_initiated", change=-quantity),
        ]
        if not here.may_go_below and quantity > here.free:
            self.refused(NotEnoughStock, *lines)
        else:
            there.put("in_transit", quantity)
            here.take(quantity, here.next_lots())
            self.move(*lines)

    @rule(store=stores, thing=things, quantity=wholes, cost=costs)
    def accept(self, store: int, thing: int, quantity: Decimal, cost: Decimal | None) -> None:
        shelf = self.shelf(store, thing)
        wanted = self.line(
            store,
            thing,
            kind="transfer_accepted",
            state="in_transit",
            change=-quantity,
            becomes="on_hand",
            unit_cost_minor=cost,
        )
        if quantity > shelf.piles["in_transit"]:
            self.refused(NotEnoughStock, wanted)
        else:
            shelf.put("in_transit", -quantity)
            shelf.put("on_hand", quantity, cost)
            self.move(wanted)

    @rule(store=stores, thing=things, quantity=wholes)
    def sell_offline(self, store: int, thing: int, quantity: Decimal) -> None:
        shelf = self.shelf(store, thing)
        if shelf.serials:
            return
        there = quantity if shelf.may_go_below else min(quantity, shelf.free)
        shelf.take(there, shelf.next_lots())
        if quantity > there:
            shelf.put("shortfall", quantity - there)
        self.move(self.line(store, thing, change=-quantity, beyond="shortfall"))

    @rule(store=stores, thing=things)
    def settle_the_shortfall(self, store: int, thing: int) -> None:
        shelf = self.shelf(store, thing)
        owed = shelf.piles["shortfall"]
        if owed:
            shelf.put("shortfall", -owed)
            self.move(self.line(store, thing, state="shortfall", target=ZERO, expected=owed))

    @rule(
        store=stores,
        thing=things,
        quantity=wholes,
        cost=costs,
        lot=st.sampled_from([("old", BAD), ("new", GOOD), ("ageless", NEVER)]),
    )
    def a_batch_comes_in(
        self, store: int, thing: int, quantity: Decimal, cost: Decimal | None, lot: tuple[str, date | None]
    ) -> None:
        self.shelf(store, thing).receive(*lot, quantity, cost)
        name, expires_on = lot
        self.move(
            self.line(
                store, thing, change=quantity, unit_cost_minor=cost, batch_no=name, expires_on=expires_on
            )
        )

    @rule(
        store=stores,
        thing=things,
        old=st.integers(1, 5).map(Decimal),
        new=st.integers(1, 5).map(Decimal),
        sold=st.integers(1, 9).map(Decimal),
    )
    def two_batches_come_in_and_some_is_sold(
        self, store: int, thing: int, old: Decimal, new: Decimal, sold: Decimal
    ) -> None:
        self.a_batch_comes_in(store, thing, new, None, ("new", GOOD))
        self.a_batch_comes_in(store, thing, old, None, ("old", BAD))
        self.sell(store, thing, sold)

    @rule(store=stores, thing=things)
    def a_batch_comes_in_with_another_day(self, store: int, thing: int) -> None:
        shelf = self.shelf(store, thing)
        if any(lot.name == "new" and lot.quantity for lot in shelf.lots):
            self.refused(
                BatchDiffers, self.line(store, thing, change=Decimal(1), batch_no="new", expires_on=BAD)
            )

    @rule(store=stores, thing=things, quantity=wholes, name=st.sampled_from(["old", "new", "ageless"]))
    def sell_from_a_batch(self, store: int, thing: int, quantity: Decimal, name: str) -> None:
        shelf = self.shelf(store, thing)
        lots = [lot for lot in shelf.lots if lot.name == name and lot.quantity > 0]
        if shelf.needs_names(quantity) or (not shelf.may_go_below and quantity > shelf.free):
            return
        wanted = self.line(store, thing, change=-quantity, batch_no=name)
        if quantity > sum((lot.quantity for lot in lots), ZERO):
            self.refused(NotEnoughStock, wanted)
        elif quantity > sum((shelf.unnamed(lot) for lot in lots), ZERO):
            self.refused(SerialElsewhere, wanted)
        else:
            shelf.take(quantity, lots)
            self.move(wanted)

    @rule(store=stores, thing=things, quantity=wholes)
    def sell_what_is_good(self, store: int, thing: int, quantity: Decimal) -> None:
        shelf = self.shelf(store, thing)
        if shelf.needs_names(quantity) or (not shelf.may_go_below and quantity > shelf.free):
            return
        wanted = self.line(store, thing, change=-quantity, spare_expired=True)
        spoilt = sum((shelf.unnamed(lot) for lot in shelf.lots if lot.expires_on == BAD), ZERO)
        if not shelf.may_go_below and quantity > shelf.on_hand - len(shelf.serials) - spoilt:
            self.refused(NotEnoughStock, wanted)
        else:
            shelf.take(quantity, shelf.next_lots(on=TODAY))
            self.move(wanted)

    @rule(
        store=stores,
        names=st.sets(st.sampled_from("ABCDEF"), min_size=1, max_size=3),
        lot=st.sampled_from([None, ("old", BAD), ("new", GOOD), ("ageless", NEVER)]),
    )
    def named_units_come_in(self, store: int, names: set[str], lot: tuple[str, date | None] | None) -> None:
        shelf, quantity = self.shelf(store, 0), Decimal(len(names))
        name, expires_on = lot or (None, None)
        wanted = self.line(
            store, 0, change=quantity, serials=tuple(sorted(names)), batch_no=name, expires_on=expires_on
        )
        if names & (self.shelf(0, 0).serials.keys() | self.shelf(1, 0).serials.keys()):
            self.refused(SerialElsewhere, wanted)
            return
        shelf.serials |= dict.fromkeys(names, name)
        shelf.receive(name, expires_on, quantity, None)
        self.move(wanted)

    @rule(store=stores, names=st.sets(st.sampled_from("ABCDEF"), min_size=1, max_size=3))
    def named_units_go(self, store: int, names: set[str]) -> None:
        shelf = self.shelf(store, 0)
        wanted = self.line(store, 0, change=Decimal(-len(names)), serials=tuple(sorted(names)))
        if not shelf.may_go_below and len(names) > shelf.free:
            self.refused(NotEnoughStock, wanted)
        elif not names <= shelf.serials.keys():
            if shelf.movements:
                self.refused(SerialElsewhere, wanted)
        else:
            shelf.take_named(names)
            self.move(wanted)

    @rule(store=stores, gone=st.sampled_from("EF"))
    def named_units_come_in_two_batches_and_one_goes(self, store: int, gone: str) -> None:
        self.a_batch_comes_in(store, 0, Decimal(1), None, ("old", BAD))
        self.named_units_come_in(store, {"E"}, ("old", BAD))
        self.named_units_come_in(store, {"F"}, ("new", GOOD))
        self.named_units_go(store, {gone})

    @rule(store=stores, quantity=wholes)
    def take_a_part_of_what_is_counted(self, store: int, quantity: Decimal) -> None:
        self.refused(WrongQuantity, self.line(store, 0, change=quantity + Decimal("0.5")))
        self.refused(WrongQuantity, self.line(store, 1, change=quantity + Decimal("0.0005")))

    @rule(store=stores, quantity=wholes)
    def one_bad_line_of_three_moves_nothing(self, store: int, quantity: Decimal) -> None:
        bad = self.line(1 - store, 1, state="damaged", change=Decimal(-10_000))
        good = [self.line(store, thing, change=quantity) for thing in (0, 1)]
        self.refused(NotEnoughStock, good[0], bad, good[1])

    @rule(store=stores, quantity=wholes)
    def of_three_lines_the_bad_one_fails_alone(self, store: int, quantity: Decimal) -> None:
        bad = self.line(1 - store, 1, state="damaged", change=Decimal(-10_000))
        good = [self.line(store, thing, change=quantity) for thing in (1, 0)]
        for thing in (0, 1):
            self.shelf(store, thing).put("on_hand", quantity)
        found = self.move(good[0], bad, good[1], together=False)
        assert [isinstance(moved.problem, NotEnoughStock) for moved in found] == [False, True, False]

    @rule(store=stores, thing=things)
    def allow_what_the_books_do_not_have(self, store: int, thing: int) -> None:
        shelf = self.shelf(store, thing)
        if shelf.movements and not shelf.lots and not shelf.serials:
            shelf.may_go_below = True
            self._set("allow_negative", True, store, thing)

    @rule(store=stores, thing=things, level=st.none() | st.integers(0, 30).map(Decimal))
    def set_a_reorder_level(self, store: int, thing: int, level: Decimal | None) -> None:
        shelf = self.shelf(store, thing)
        if shelf.movements:
            shelf.level = level
            self._set("reorder_level", level, store, thing)
            shelf.look()

    @rule()
    def rebuild(self) -> None:
        assert self.run(self.db.value("SELECT rebuild_stock()")) == 0

    @rule(store=stores, thing=things, wrong=st.integers(1, 9).map(Decimal))
    def rebuild_a_balance_that_somebody_spoilt(self, store: int, thing: int, wrong: Decimal) -> None:
        shelf = self.shelf(store, thing)
        if shelf.movements and shelf.level is None:
            self._set("damaged", shelf.piles["damaged"] + wrong, store, thing)
            assert self.run(self.db.value("SELECT rebuild_stock()")) == 1

    def _set(self, column: str, value: object, store: int, thing: int) -> None:
        changed = self.run(
            self.db.execute(
                f"UPDATE stock_balance SET {column} = :value"
                " WHERE merchant_id = current_merchant() AND store_id = :store_id"
                " AND variant_id = :variant_id",
                value=value,
                store_id=self.store_ids[store],
                variant_id=self.variant_ids[thing],
            )
        )
        assert changed == 1

    # What holds after every step -------------------------------------------------------------------

    @invariant()
    @precondition(lambda self: hasattr(self, "variant_ids"))
    def the_database_says_what_the_model_says(self) -> None:
        rows: list[dict[str, Any]] = self.run(
            self.db.all(
                """
                SELECT b.store_id, b.variant_id, b.on_hand, b.reserved, b.in_transit, b.damaged, b.shortfall,
                       b.cost_value, b.average_cost, b.serials, b.seq, b.is_low,
                       ARRAY(SELECT n.serial || ' ' || coalesce(n.batch_no, 'None') FROM stock_serial n
                             WHERE n.merchant_id = b.merchant_id AND n.store_id = b.store_id
                               AND n.variant_id = b.variant_id ORDER BY n.serial) AS named,
                       (SELECT count(*) FROM stock_low_event e WHERE e.merchant_id = b.merchant_id
                          AND e.store_id = b.store_id AND e.variant_id = b.variant_id) AS times_low,
                       ARRAY(SELECT (s.batch_no, s.quantity)::text FROM stock_batch s
                             WHERE s.merchant_id = b.merchant_id AND s.store_id = b.store_id
                               AND s.variant_id = b.variant_id AND s.quantity > 0 ORDER BY 1) AS batches
                FROM stock_balance b
                WHERE b.merchant_id = current_merchant() AND b.variant_id = ANY(:ids::uuid[])
                """,
                into=dict,
                ids=list(self.variant_ids),
            )
        )
        found = {(row.pop("store_id"), row.pop("variant_id")): row for row in rows}
        for store, store_id in enumerate(self.store_ids):
            for thing, variant_id in enumerate(self.variant_ids):
                shelf = self.shelf(store, thing)
                row = found.get((store_id, variant_id))
                assert row == (None if row is None and shelf.movements == 0 else said(shelf))

    @invariant()
    @precondition(lambda self: hasattr(self, "variant_ids"))
    def the_ledger_has_no_fault(self) -> None:
        type(self).steps += 1
        sql = "SELECT fault FROM stock_faults() WHERE variant_id = ANY(:ids::uuid[])"
        assert self.run(self.db.values(sql, ids=list(self.variant_ids))) == []
