"""What the tests of transfers share: a shop with goods, seen from each of its locations."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from kasuwa.base.context import Context, StoreId
from kasuwa.base.db import Database
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price, Product
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.records import Move
from kasuwa.domain.transfers.actions import draft_transfer, send
from kasuwa.domain.transfers.records import NewTransfer, Outcome, Receipt, Transfer, WantedLine

OPENING = Decimal(100)


def these(*values: object) -> tuple[object, ...]:
    """Values to compare with plain ones: a Decimal with an integer."""
    return values


def at_store(context: Context, store_id: UUID) -> Context:
    """The same person at another location."""
    return context.acting_as(replace(context.caller, store_id=StoreId(store_id)))


async def stocked(
    context: Context, name: str = "Malt", quantity: Decimal = OPENING, unit: str = "litre"
) -> Product:
    """A product that lies at the context's store alone."""
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=50_000),
        opening=(OpeningStock(context.store_id, quantity),) if quantity else (),
    )
    return await create_product(context, NewProduct(name=name, unit=unit, variants=(variant,)))


def wanted(product: Product, quantity: int | str, **more: Any) -> WantedLine:
    return WantedLine(variant_id=product.main.variant_id, quantity=Decimal(quantity), **more)


class Road(Struct, frozen=True):
    """From one location to another, and who stands at each end."""

    here: Context
    there: Context

    async def draft(self, *lines: WantedLine, **more: Any) -> Transfer:
        new = NewTransfer(destination_id=self.there.store_id, lines=lines, **more)
        return await draft_transfer(fresh(self.here), new)

    async def send(self, *lines: WantedLine, **more: Any) -> Transfer:
        new = NewTransfer(destination_id=self.there.store_id, lines=lines, **more)
        return (await send(fresh(self.here), new)).transfer


def fresh(context: Context) -> Context:
    """The same caller in a request of its own, so that several may run at once."""
    return context.acting_as(context.caller)


def receipt(transfer: Transfer, outcome: Outcome, quantity: int | str, **more: Any) -> Receipt:
    """For the first line."""
    return Receipt(line_id=transfer.lines[0].line_id, outcome=outcome, quantity=Decimal(quantity), **more)


class Held(Struct, frozen=True):
    """What a location has of a variant."""

    on_hand: Decimal = Decimal(0)
    in_transit: Decimal = Decimal(0)
    damaged: Decimal = Decimal(0)

    @property
    def all(self) -> Decimal:
        return self.on_hand + self.in_transit + self.damaged


async def held(context: Context, product: Product) -> Held:
    """At the context's store."""
    async with context.reading() as db:
        found = await db.find(
            "SELECT on_hand, in_transit, damaged FROM stock_balance"
            " WHERE store_id = :store_id AND variant_id = :variant_id",
            into=Held,
            store_id=context.store_id,
            variant_id=product.main.variant_id,
        )
    return found or Held()


async def ledger_faults(context: Context) -> list[str]:
    """What the ledger's own check and that of transfers find."""
    async with context.reading() as db:
        return await _faults(db)


async def _faults(db: Database) -> list[str]:
    stock = await db.values("SELECT fault FROM stock_faults()")
    return stock + await db.values("SELECT fault FROM stock_transfer_faults()")


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
