"""Writers that create products through the StoreHarmony API, and what must be true of the rows afterwards."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import msgspec

from kasuwa.base.ids import new_id
from tests.faults.uploads import TIMEOUT_SECONDS, Call, Log, Stage, settle


def new_creation(stage: Stage, name: str) -> Call:
    """Create a product of this name, with five in stock."""
    body = msgspec.json.encode({"name": name, "prices": {"sellingPrice": 500}, "quantity": 5})
    headers = {"sessiontoken": stage.shop.session, "content-type": "application/json"}
    return Call("POST", f"/cloudapi/app/{stage.shop.store_id}/stock", headers, body)


class Creators:
    """Writers at work; `names` are those of the products that were acknowledged."""

    def __init__(self, stage: Stage, log: Log) -> None:
        self.stage = stage
        self.log = log
        self.names: list[str] = []
        self.stopping = False

    async def run(self) -> None:
        async with self.stage.installation.client(timeout=TIMEOUT_SECONDS) as client:
            while not self.stopping:
                name = f"Malt {new_id().hex}"
                await settle(client, self.stage, new_creation(self.stage, name), self.log)
                self.names.append(name)

    async def acknowledged_more(self, count: int) -> None:
        wanted = len(self.names) + count
        deadline = monotonic() + 60
        while len(self.names) < wanted:
            assert monotonic() < deadline, f"nothing gets through: {self.log.statuses} {self.log.faults}"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def creating(stage: Stage, *, writers: int) -> AsyncIterator[Creators]:
    """So many writers until the end of the block; then each settles what it has begun."""
    creators = Creators(stage, Log(lines_may_break=False))
    tasks = [asyncio.create_task(creators.run()) for _ in range(writers)]
    try:
        yield creators
        creators.stopping = True
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def faults_in_products(stage: Stage, names: list[str]) -> list[str]:
    """Each acknowledged product is there once, with its five in stock."""
    async with stage.installation.as_owner() as owner:
        rows = await owner.fetch(_PRODUCTS, stage.shop.merchant_id)
    there = Counter(row["name"] for row in rows)
    faults = [f"{name} was acknowledged and is lost" for name in names if there[name] == 0]
    faults += [f"{name} is there {count} times" for name, count in there.items() if count > 1]
    faults += [f"{row['name']} has {row['on_hand']} in stock" for row in rows if row["on_hand"] != 5]
    return faults


_PRODUCTS = """
    SELECT p.name, sum(b.on_hand) AS on_hand
    FROM product p
    JOIN variant v USING (merchant_id, product_id)
    LEFT JOIN stock_balance b USING (merchant_id, variant_id)
    WHERE p.merchant_id = $1 AND p.name LIKE 'Malt %' GROUP BY p.product_id, p.name
"""
