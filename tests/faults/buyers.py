"""Many buyers of the last units, over HTTP, in several sessions, against several workers.

Run: python -m tests.faults.buyers --buyers 10000 --sessions 200   (with the quotas as they are configured)
With --broken NAME the control, which must end with 1.
"""

import asyncio
import sys
from collections import Counter
from decimal import Decimal
from uuid import UUID

import httpx
from msgspec import Struct

from kasuwa.base.context import Services
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from kasuwa.domain.merchants.actions import open_session
from tests.faults.by_hand import read_options
from tests.faults.installation import Installation, Server, new_folder
from tests.shop import Shop, new_shop

UNITS = 100
MOST_IN_FLIGHT = 64


class Sold(Struct, frozen=True, kw_only=True):
    """`answers` counts the statuses; `after` are the quantities that were told to those who bought."""

    answers: Counter[int]
    after: list[float]
    on_hand: Decimal
    movements: int
    ledger_faults: list[str]
    doctor_faults: list[str]

    def faults(self, buyers: int) -> list[str]:
        """What breaks the promise: every unit is sold once, and everybody else is told that it is gone."""
        found = list(self.doctor_faults) + self.ledger_faults
        if self.answers != {200: UNITS, 409: buyers - UNITS}:
            found.append(f"answers: {dict(self.answers)}")
        if sorted(self.after) != list(range(UNITS)):
            found.append(f"told what is left: {sorted(self.after)}")
        if self.on_hand != 0 or self.movements != UNITS + 1:
            found.append(f"{self.on_hand} on hand after {self.movements} movements")
        return found


async def sell(installation: Installation, *, buyers: int, sessions: int, workers: int = 2) -> Sold:
    """Let so many buyers at the last units of one product."""
    with installation.serving(workers=workers) as server:
        async with installation.services() as services:
            shop = await new_shop(services)
            item_id = await _stock_up(shop)
            tokens = await _log_in(services, shop, sessions)
        url = f"{server.url}/cloudapi/app/{shop.store_id}/stock/{item_id}/deductquantity"
        answers, after = await _buy(server, url, tokens, buyers)
        async with installation.as_owner() as owner:
            on_hand = await owner.fetchval("SELECT on_hand FROM stock_balance WHERE product_id = $1", item_id)
            movements = await owner.fetchval(
                "SELECT count(*) FROM stock_movement WHERE product_id = $1", item_id
            )
            faults = [row["fault"] for row in await owner.fetch("SELECT fault FROM stock_faults()")]
    return Sold(
        answers=answers,
        after=after,
        on_hand=on_hand,
        movements=movements,
        ledger_faults=faults,
        doctor_faults=installation.examine(),
    )


async def _stock_up(shop: Shop) -> UUID:
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=1000),
        opening=(OpeningStock(shop.store_id, Decimal(UNITS)),),
    )
    return (await create_product(shop.owner, NewProduct(name="Last malt", variants=(variant,)))).product_id


async def _log_in(services: Services, shop: Shop, sessions: int) -> list[str]:
    async with shop.owner.transaction() as db:
        opened = [await open_session(shop.owner, db, shop.user_id, shop.store_id) for _ in range(sessions)]
    return [session.token for session in opened]


async def _buy(server: Server, url: str, tokens: list[str], buyers: int) -> tuple[Counter[int], list[float]]:
    answers: Counter[int] = Counter()
    after: list[float] = []
    turn = asyncio.Semaphore(MOST_IN_FLIGHT)
    limits = httpx.Limits(max_connections=MOST_IN_FLIGHT)

    async def buy(client: httpx.AsyncClient, token: str) -> None:
        async with turn:
            answer = await client.post(
                url, headers={"sessiontoken": token}, json={"quantity": 1, "reason": "other"}
            )
        answers[answer.status_code] += 1
        if answer.status_code == 200:
            after.append(answer.json()["quantityAfter"])

    async with server.installation.client(timeout=60, limits=limits) as client:
        await asyncio.gather(*(buy(client, tokens[n % len(tokens)]) for n in range(buyers)))
    return answers, after


def main() -> None:
    options = read_options(__doc__, broken="look-then-write", buyers=10_000, sessions=200)
    configured = {"KASUWA_STOREHARMONY_REQUESTS_PER_SECOND": "20"}
    with new_folder() as folder:
        installation = Installation(folder / "data", broken=options.broken, **configured)
        sold = asyncio.run(sell(installation, buyers=options.buyers, sessions=options.sessions))
    faults = sold.faults(options.buyers)
    sys.stdout.write(f"{dict(sold.answers)}; {len(faults)} faults\n" + "".join(f"{one}\n" for one in faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
