"""Parts of a file are written two at a time, and the products keep the file's order all the same."""

import asyncio
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.db import Database
from kasuwa.base.problems import Conflict
from kasuwa.domain.catalogue import bulk
from kasuwa.domain.catalogue.bulk_plan import sku_of
from kasuwa.domain.catalogue.bulk_records import BulkRow
from kasuwa.domain.catalogue.bulk_rows import insert_products
from kasuwa.domain.catalogue.numbers import Numbered, NumbersAhead
from kasuwa.domain.exchange import imports
from kasuwa.domain.exchange.exports import export_csv
from tests.domain.test_exchange import file as file
from tests.domain.test_exchange import gather, load, simple
from tests.shop import Shop, new_shop

PART = 10
SKUS = [f"S-{n}" for n in range(3 * PART)]
FILE = simple(*(f"{sku},Item,5,1" for sku in SKUS))


def delay_the_first(monkeypatch: pytest.MonkeyPatch, until: asyncio.Event | None = None) -> None:
    """The first part takes no numbers before the second could, or before the event."""
    look_up, second_has_looked = bulk._look_up, asyncio.Event()

    async def late(context: Context, db: Database, rows: Sequence[BulkRow]) -> Any:
        found = await look_up(context, db, rows)
        if sku_of(rows[0]) == SKUS[0]:
            await (until or second_has_looked).wait()
        second_has_looked.set()
        return found

    monkeypatch.setattr(imports, "ROWS_AT_ONCE", PART)
    monkeypatch.setattr(bulk, "_look_up", late)


async def order(context: Context) -> list[str]:
    text = (await gather(export_csv(context))).decode("utf-8-sig")
    return [row["sku"] for row in csv.DictReader(io.StringIO(text))]


async def test_a_first_part_that_is_late_comes_first_and_the_exports_are_the_same_bytes(
    services: Services, shop: Shop, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay_the_first(monkeypatch)
    assert (await load(shop.owner, file, FILE)).created == len(SKUS)
    assert await order(shop.owner) == SKUS
    first = await gather(export_csv(shop.owner))
    same = await new_shop(services)
    delay_the_first(monkeypatch)
    assert (await load(same.owner, file, first)).created == len(SKUS)
    assert await gather(export_csv(same.owner)) == first


async def test_the_control_numbers_as_they_come_put_a_later_part_first(
    shop: Shop, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_has_its_own = asyncio.Event()
    delay_the_first(monkeypatch, second_has_its_own)

    class AsTheyCome(NumbersAhead):
        def part(self) -> Any:
            return self

        async def take(self, db: Database, counter: Numbered, how_many: int) -> int:
            first = await super().take(db, counter, how_many)
            second_has_its_own.set()
            return first

        def end(self) -> None:
            pass

    monkeypatch.setattr(imports, "NumbersAhead", AsTheyCome)
    assert (await load(shop.owner, file, FILE)).created == len(SKUS)
    assert await order(shop.owner) == SKUS[PART : 2 * PART] + SKUS[:PART] + SKUS[2 * PART :]


async def test_a_part_that_is_written_by_halves_keeps_its_place(
    shop: Shop, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay_the_first(monkeypatch)

    async def refuse(context: Context, db: Database, first: int, made: Sequence[Any]) -> None:
        """What only the database can refuse: one product of the first part, once its numbers are taken."""
        if any(new.variants[0].sku == "S-3" for _, _, new in made):
            raise Conflict("This one is not taken.")
        await insert_products(context, db, first, made)

    monkeypatch.setattr("kasuwa.domain.catalogue.bulk.insert_products", refuse)
    run = await load(shop.owner, file, FILE)
    assert (run.created, run.failed) == (len(SKUS) - 1, 1)
    assert await order(shop.owner) == [sku for sku in SKUS if sku != "S-3"]


async def test_a_part_that_makes_nothing_keeps_nobody_waiting(
    shop: Shop, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(shop.owner, file, simple(*(f"{sku},Item,5,1" for sku in SKUS[:PART])))
    delay_the_first(monkeypatch)
    run = await load(shop.owner, file, FILE, on_duplicate="skip")
    assert (run.created, run.skipped) == (2 * PART, PART)
    assert await order(shop.owner) == SKUS


async def test_numbers_of_what_was_undone_are_given_again(shop: Shop) -> None:
    class Undone(Exception):
        pass

    part = NumbersAhead(shop.owner).part()
    async with shop.owner.transaction() as db:
        with pytest.raises(Undone), part.attempt():
            first = await part.take(db, "product", 4)
            raise Undone
        assert [await part.take(db, "product", 2) for _ in range(2)] == [first, first + 2]
        # What was not undone stays taken.
        assert await part.take(db, "product", 1) >= first + 4
