"""What the ledger must say, reckoned in plain Python: the other side of the state machine."""

from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any
from uuid import UUID

from kasuwa.domain.inventory.records import Move, State

ZERO = Decimal(0)
# Wide enough that nothing is rounded before it is meant to be.
EXACT = Context(prec=60, rounding=ROUND_HALF_UP)


def rounded(value: Decimal, places: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), context=EXACT)


@dataclass
class Lot:
    name: str
    expires_on: date | None
    quantity: Decimal
    received: int


@dataclass
class Shelf:
    """One variant at one store."""

    decimals: int
    piles: dict[State, Decimal] = field(
        default_factory=lambda: {
            "on_hand": ZERO,
            "reserved": ZERO,
            "in_transit": ZERO,
            "damaged": ZERO,
            "shortfall": ZERO,
        }
    )
    may_go_below: bool = False
    worth: Decimal = ZERO
    average: Decimal | None = None
    lots: list[Lot] = field(default_factory=list)
    # The lot of each, if it lies in one.
    serials: dict[str, str | None] = field(default_factory=dict)
    level: Decimal | None = None
    is_low: bool = False
    times_low: int = 0
    movements: int = 0

    @property
    def on_hand(self) -> Decimal:
        return self.piles["on_hand"]

    @property
    def free(self) -> Decimal:
        return max(self.on_hand - self.piles["reserved"], ZERO)

    def look(self) -> None:
        """Whether the level was crossed since the last look."""
        low = self.level is not None and self.on_hand - self.piles["reserved"] <= self.level
        self.times_low += low and not self.is_low
        self.is_low = low

    def put(self, state: State, quantity: Decimal, cost: Decimal | None = None) -> None:
        """One movement of a pile, with what it is worth."""
        before, after = self.piles[state], self.piles[state] + quantity
        self.piles[state] = after
        self.movements += 1
        if state != "on_hand" or quantity == 0:
            return
        cost = self.average if cost is None else cost
        if quantity > 0 and cost is not None:
            if self.average is None or before <= 0:
                self.worth = after * rounded(cost, 6)
            else:
                self.worth += rounded(EXACT.multiply(quantity, cost), 9)
            self.average = rounded(EXACT.divide(self.worth, after), 6) if after > 0 else rounded(cost, 6)
        elif quantity < 0 < before and after > 0:
            self.worth += rounded(EXACT.divide(EXACT.multiply(self.worth, quantity), before), 9)
        else:
            self.worth = after * (self.average or ZERO)

    def needs_names(self, quantity: Decimal) -> bool:
        """Whether so many cannot go without one that has a name."""
        return len(self.serials) > max(self.on_hand - quantity, ZERO)

    def unnamed(self, lot: Lot) -> Decimal:
        return lot.quantity - list(self.serials.values()).count(lot.name)

    def take_named(self, names: set[str]) -> None:
        """Off the shelf, each out of the lot that it lies in."""
        gone = [self.serials.pop(name) for name in names]
        for lot in self.next_lots():
            if part := gone.count(lot.name):
                lot.quantity -= part
                self.put("on_hand", Decimal(-part))
        if part := gone.count(None):
            self.put("on_hand", Decimal(-part))

    def take(self, quantity: Decimal, lots: list[Lot]) -> None:
        """Off the shelf, out of these lots in their order, the rest out of none; what has a name stays."""
        for lot in lots:
            part = min(self.unnamed(lot), quantity)
            if part:
                lot.quantity -= part
                quantity -= part
                self.put("on_hand", -part)
        if quantity:
            self.put("on_hand", -quantity)

    def next_lots(self, *, on: date | None = None) -> list[Lot]:
        """The lots that have something, the first to expire first; with `on` those that are good then."""
        held = [lot for lot in self.lots if lot.quantity > 0]
        good = [lot for lot in held if on is None or lot.expires_on is None or lot.expires_on >= on]
        return sorted(good, key=lambda lot: (lot.expires_on or date.max, lot.received))

    def receive(
        self, name: str | None, expires_on: date | None, quantity: Decimal, cost: Decimal | None
    ) -> None:
        if name is None:
            self.put("on_hand", quantity, cost)
            return
        lot = next((lot for lot in self.lots if lot.name == name), None)
        if lot is None:
            lot = Lot(name, expires_on, ZERO, self.movements)
            self.lots.append(lot)
        elif lot.quantity == 0:
            lot.expires_on, lot.received = expires_on, self.movements
        lot.quantity += quantity
        self.put("on_hand", quantity, cost)


def line(store_id: UUID, variant_id: UUID, **fields: Any) -> Move:
    return Move(store_id=store_id, variant_id=variant_id, **({"kind": "sold"} | fields))


def said(shelf: Shelf) -> dict[str, Any]:
    """What the database must say of the shelf."""
    return {
        **dict(shelf.piles.items()),
        "cost_value": shelf.worth,
        "average_cost": shelf.average,
        "serials": len(shelf.serials),
        "named": sorted(f"{serial} {lot}" for serial, lot in shelf.serials.items()),
        "seq": shelf.movements,
        "is_low": shelf.is_low,
        "times_low": shelf.times_low,
        "batches": sorted(f"({lot.name},{lot.quantity:.3f})" for lot in shelf.lots if lot.quantity > 0),
    }
