"""Crowds at several locations, who buy one thing, or two in one go in either order. Nothing is sold twice.

Run: python -m tests.faults.crowds --buyers 10000 --sessions 200   (with the quotas as they are configured)
With --broken NAME the control, which must end with 1.
"""

import asyncio
import sys
import time
from collections import Counter
from decimal import Decimal
from uuid import UUID

import httpx
from msgspec import Struct

from kasuwa.base.context import Services
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from kasuwa.domain.merchants.actions import join_store, open_session, open_store
from kasuwa.domain.merchants.records import NewStore
from kasuwa.domain.permissions import Role
from tests.faults.by_hand import read_options
from tests.faults.installation import Installation, Server, new_folder
from tests.shop import Shop, new_shop

UNITS = 100
MOST_IN_FLIGHT = 64
GOODS = ("Malt", "Zobo")

Shelf = tuple[UUID, UUID]  # a location and a product


class Place(Struct, frozen=True):
    """A location: who is logged in there, and its two goods."""

    store_id: UUID
    tokens: list[str]
    item_ids: tuple[UUID, ...]


class Crowded(Struct, frozen=True, kw_only=True):
    """`taken` are the units that were promised to buyers, `left` what the ledger has."""

    answers: Counter[int]
    taken: Counter[Shelf]
    left: dict[Shelf, Decimal]
    deadlocks: int
    ledger_faults: list[str]
    doctor_faults: list[str]
    seconds: float

    def faults(self) -> list[str]:
        """What breaks the promise: each unit goes to one buyer, and a no is a plain no."""
        found = [*self.doctor_faults, *self.ledger_faults]
        if set(self.answers) - {200, 409}:
            found.append(f"answers: {dict(self.answers)}")
        if self.deadlocks:
            found.append(f"{self.deadlocks} deadlocks")
        for shelf, left in self.left.items():
            if self.taken[shelf] != UNITS or left != 0:
                found.append(
                    f"of {UNITS} units {self.taken[shelf]} were promised and {left} are left: {shelf}"
                )
        return found

    def line(self) -> str:
        return (
            f"{self.answers.total()} buyers at {len({store for store, _ in self.left})} locations in"
            f" {self.seconds:.1f} s: {dict(sorted(self.answers.items()))}, {self.taken.total()} units sold of"
            f" {UNITS * len(self.left)}, {self.deadlocks} deadlocks, {len(self.faults())} faults"
        )


async def crowd(
    installation: Installation, *, buyers: int, sessions: int, locations: int = 3, workers: int = 2
) -> Crowded:
    """Let so many buyers at the last units of two products at each of the locations."""
    with installation.serving(workers=workers) as server:
        async with installation.services() as services:
            places = await _open_places(services, sessions, locations)
        begun = time.monotonic()
        answers, taken = await _buy(server, places, buyers)
        seconds = time.monotonic() - begun
        async with installation.as_owner() as owner:
            rows = await owner.fetch("SELECT store_id, product_id, on_hand FROM stock_balance")
            faults = [row["fault"] for row in await owner.fetch("SELECT fault FROM stock_faults()")]
            deadlocks = await owner.fetchval(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            )
    return Crowded(
        answers=answers,
        taken=taken,
        left={(_uuid(row["store_id"]), _uuid(row["product_id"])): row["on_hand"] for row in rows},
        deadlocks=deadlocks,
        ledger_faults=faults,
        doctor_faults=installation.examine(),
        seconds=seconds,
    )


def _uuid(found: UUID) -> UUID:
    """The driver's own kind of UUID as a plain one."""
    return UUID(int=found.int)


async def _open_places(services: Services, sessions: int, locations: int) -> list[Place]:
    shop = await new_shop(services)
    store_ids = [shop.store_id, shop.second_store_id][:locations]
    new = NewStore(name="Ada's Corner", country_code="NG", country="Nigeria", currency="NGN")
    while len(store_ids) < locations:
        async with shop.owner.transaction() as db:
            store_id = (await open_store(shop.owner, db, new)).store_id
            await join_store(db, shop.user_id, store_id, Role.OWNER)
        store_ids.append(store_id)
    item_ids = tuple([await _stock_up(shop, name, store_ids) for name in GOODS])
    each = max(1, sessions // locations)
    return [Place(_uuid(one), await _log_in(shop, one, each), item_ids) for one in store_ids]


async def _stock_up(shop: Shop, name: str, store_ids: list[UUID]) -> UUID:
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=1000),
        sku=name,
        opening=tuple(OpeningStock(store_id, Decimal(UNITS)) for store_id in store_ids),
    )
    return (await create_product(shop.owner, NewProduct(name=name, variants=(variant,)))).product_id


async def _log_in(shop: Shop, store_id: UUID, sessions: int) -> list[str]:
    async with shop.owner.transaction() as db:
        opened = [await open_session(shop.owner, db, shop.user_id, store_id) for _ in range(sessions)]
    return [session.token for session in opened]


async def _buy(server: Server, places: list[Place], buyers: int) -> tuple[Counter[int], Counter[Shelf]]:
    answers: Counter[int] = Counter()
    taken: Counter[Shelf] = Counter()
    turn = asyncio.Semaphore(MOST_IN_FLIGHT)

    async def buy(client: httpx.AsyncClient, number: int) -> None:
        place = places[number % len(places)]
        turns = number // len(places)
        token = place.tokens[turns % len(place.tokens)]
        wanted = [(0,), (1,), (0, 1), (1, 0)][turns % 4]
        path, body = _order(place, wanted)
        async with turn:
            answer = await client.post(server.url + path, headers={"sessiontoken": token}, json=body)
        answers[answer.status_code] += 1
        if answer.status_code == 200:
            taken.update((place.store_id, place.item_ids[good]) for good in wanted)

    limits = httpx.Limits(max_connections=MOST_IN_FLIGHT)
    async with server.installation.client(timeout=60, limits=limits) as client:
        await asyncio.gather(*(buy(client, number) for number in range(buyers)))
    return answers, taken


def _order(place: Place, wanted: tuple[int, ...]) -> tuple[str, dict[str, object]]:
    """One thing by its own call; two as one document, of which all is sold or nothing."""
    if len(wanted) == 1:
        item_id = place.item_ids[wanted[0]]
        path = f"/cloudapi/app/{place.store_id}/stock/{item_id}/deductquantity"
        return path, {"quantity": 1, "reason": "other"}
    lines = [{"sku": GOODS[good], "change": -1, "reason": "other"} for good in wanted]
    return f"/manage/{place.store_id}/stock/changes", {"allOrNothing": True, "lines": lines}


def main() -> None:
    options = read_options(__doc__, broken="look-then-write", buyers=10_000, sessions=200, locations=3)
    configured = {"KASUWA_STOREHARMONY_REQUESTS_PER_SECOND": "20"}
    with new_folder() as folder:
        installation = Installation(folder / "data", broken=options.broken, **configured)
        crowded = asyncio.run(
            crowd(installation, buyers=options.buyers, sessions=options.sessions, locations=options.locations)
        )
    sys.stdout.write(f"{crowded.line()}\n" + "".join(f"{one}\n" for one in crowded.faults()))
    sys.exit(1 if crowded.faults() else 0)


if __name__ == "__main__":
    main()
