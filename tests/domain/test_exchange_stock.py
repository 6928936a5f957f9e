"""Stock from files: set where it is what the file expects, so that no sale in between is lost."""

import csv
import io
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kasuwa.base.context import Context, Services
from kasuwa.base.db import Database
from kasuwa.domain.catalogue.queries import read_stock
from kasuwa.domain.exchange.exports import export_csv, failed_rows
from kasuwa.domain.exchange.records import ImportRun
from kasuwa.domain.inventory.actions import Count, move_stock, set_stocks
from kasuwa.domain.inventory.records import Move
from tests.domain.test_exchange import faults, gather, load, product_of, simple, told
from tests.domain.test_exchange_round_trip import stock_of
from tests.shop import Shop, new_shop

UPDATE: dict[str, Any] = {"on_duplicate": "update", "stock": "expected"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "products.csv"


async def sell(context: Context, sku: str, quantity: int) -> None:
    """A sale of somebody else, committed at once."""
    variant = (await product_of(context, sku)).main
    move = Move(
        store_id=context.store_id, variant_id=variant.variant_id, kind="sold", change=Decimal(-quantity)
    )
    async with context.services.pool.transaction(context.caller.merchant_id) as db:
        await move_stock(context, db, [move])


async def on_hand(context: Context, *skus: str, at: str = "here") -> list[int]:
    figures = [(await stock_of(context, sku))[at][0] for sku in skus]
    return [int(figure or 0) for figure in figures]


async def edited(context: Context, **counts: str) -> str:
    """An export with these figures in its first column of quantities."""
    rows = list(csv.reader(io.StringIO((await gather(export_csv(context))).decode("utf-8-sig"))))
    quantity = next(place for place, name in enumerate(rows[0]) if name.startswith("quantity @ "))
    sku = rows[0].index("sku")
    for row in rows[1:]:
        row[quantity] = counts.get(row[sku], row[quantity])
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def said(run: ImportRun) -> list[tuple[int, str, str, str]]:
    return [(place.row, place.column, place.value, kind.code) for kind in run.faults for place in kind.places]


@pytest.mark.parametrize("dry_run", [False, True], ids=["for good", "dry run"])
async def test_an_export_with_counts_sets_what_was_not_sold_meanwhile_and_names_what_was(
    context: Context, file: Path, dry_run: bool
) -> None:
    await load(context, file, simple("A,Malt,5,10", "B,Beer,5,10", "C,Cola,5,10", "D,Gin,5,10"))
    counted = await edited(context, A="12", B="9")
    await sell(context, "B", 3)
    await sell(context, "C", 4)
    run = await load(context, file, counted, **UPDATE, dry_run=dry_run)
    # Whose count was not touched asks for no change: the sale of C stays as it is.
    assert (run.updated, run.skipped, run.failed) == (1, 2, 1)
    ((row, column, value, code),) = said(run)
    assert (row, column.partition(" @ ")[0], value, code) == (3, "expected quantity", "10", "changed")
    assert run.faults[0].message == "The quantity is now 7: look again, then give 7 as what you expect."
    assert await on_hand(context, "A", "B", "C", "D") == [10 if dry_run else 12, 7, 6, 10]
    assert [(c.sku, c.before, c.after) for c in run.changes] == ([("A", "10", "12")] if dry_run else [])
    # What failed is put right in its own file, and goes through.
    failed = (await gather(failed_rows(context, run.import_id))).decode()
    mended = failed.replace(",9,10,", ",6,7,", 1)
    assert mended != failed
    assert (await load(context, file, mended, **UPDATE)).updated == 1
    assert await on_hand(context, "B") == [6]
    assert await faults(context) == []


async def test_each_location_has_an_expectation_of_its_own(context: Context, shop: Shop, file: Path) -> None:
    there = "Ada's Corner #2"
    head = f"sku,name,price,quantity,quantity @ {there}\n"
    await load(context, file, head + "A,Malt,5,10,20\nB,Beer,5,10,20\n")
    head = f"sku,quantity,expected quantity,quantity @ {there},expected quantity @ {there}\n"
    run = await load(context, file, head + "A,11,10,21,19\nB,11,10,21,20\n", **UPDATE)
    assert (run.updated, run.failed) == (1, 1)
    assert said(run) == [(2, f"expected quantity @ {there}", "19", "changed")]
    assert await on_hand(context, "A", "B") == [10, 11]
    assert await on_hand(context, "A", "B", at="there") == [20, 21]


async def test_a_fault_of_a_variant_is_told_at_its_own_row(context: Context, file: Path) -> None:
    head = "parent sku,sku,name,price,option1 name,option1 value,quantity,expected quantity\n"
    rows = ",R,Ring,5,Size,S;M,,\nR,R-S,,,,S,5,\nR,R-M,,,,M,5,\n"
    await load(context, file, head + rows)
    run = await load(context, file, head + rows.replace("S,5,", "S,6,5").replace("M,5,", "M,6,4"), **UPDATE)
    assert said(run) == [(4, "expected quantity", "4", "changed")]
    run = await load(context, file, head + rows.replace("S,5,", "S,6,5").replace("M,5,", "M,6,5"), **UPDATE)
    assert (run.updated, run.faults) == (1, [])


async def test_without_an_expectation_nothing_that_is_there_is_set(
    context: Context, shop: Shop, file: Path
) -> None:
    await load(context, file, simple("A,Malt,5,10", "B,Beer,5,10"))
    # A new product, what lies there already, and a location that never had it need none.
    head = "sku,name,price,quantity,quantity @ Ada's Corner #2\n"
    text = head + "A,Malt,5,9,\nB,Beer,5,10,3\nC,Cola,5,4,\n"
    run = await load(context, file, text, **UPDATE)
    assert (run.created, run.updated, run.failed) == (1, 1, 1)
    assert said(run) == [(2, "expected quantity", "", "required")]
    assert "--overwrite-stock" in run.faults[0].message
    assert await on_hand(context, "A", "B", "C") == [10, 10, 4]
    assert await on_hand(context, "B", at="there") == [3]
    run = await load(context, file, text, on_duplicate="update", stock="overwritten")
    assert (run.updated, run.failed) == (1, 0)
    assert await on_hand(context, "A") == [9]
    # And what nobody expected to lie anywhere is not overwritten either.
    run = await load(context, file, "sku,quantity,expected quantity\nA,5,\n", **UPDATE)
    assert said(run) == [(2, "expected quantity", "", "changed")]


async def test_an_empty_count_is_none_and_a_level_that_has_no_column_stays(
    context: Context, shop: Shop, file: Path
) -> None:
    there = "Ada's Corner #2"
    head = (
        f"sku,name,price,quantity,reorder level,reorder quantity,quantity @ {there},reorder level @ {there}\n"
    )
    await load(context, file, head + "A,Malt,5,10,2,6,20,3\n")
    before = {"here": (Decimal(10), Decimal(2), Decimal(6)), "there": (Decimal(20), Decimal(3), None)}
    assert await stock_of(context, "A") == before
    overwrite: dict[str, Any] = {"on_duplicate": "update", "stock": "overwritten"}
    run = await load(context, file, f"sku,quantity,reorder level @ {there}\nA,,4\n", **overwrite)
    assert run.updated == 1
    assert await stock_of(context, "A") == before | {"there": (Decimal(20), Decimal(4), None)}
    await load(context, file, f"sku,reorder quantity,quantity @ {there}\nA,7,21\n", **overwrite)
    assert await stock_of(context, "A") == {
        "here": (Decimal(10), Decimal(2), Decimal(7)),
        "there": (Decimal(21), Decimal(4), None),
    }


VARIANTS = "parent sku,sku,name,price,unit,option1 name,option1 value,quantity\n"


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        (",R,Ring,5,each,Size,S;M,\nR,R-S,,,,,S,1\nR,R-M,,,,,M,2.5\n", (4, "quantity", "decimals")),
        (",R,Ring,5,each,Size,S;M,3\nR,R-S,,,,,S,1\nR,R-M,,,,,M,2\n", (2, "quantity", "not_sold")),
    ],
    ids=["half a ring", "counted twice"],
)
async def test_first_stock_is_counted_in_whole_units_of_what_is_sold(
    context: Context, file: Path, rows: str, place: tuple[int, str, str]
) -> None:
    run = await load(context, file, VARIANTS + rows)
    assert (run.created, told(run)) == (0, [place])
    # Nor does it come in with a change that adds the variant.
    await load(context, file, VARIANTS + ",R,Ring,5,each,Size,S,\nR,R-S,,,,,S,1\n")
    run = await load(context, file, VARIANTS + rows, on_duplicate="update")
    assert (run.updated, told(run)) == (0, [place])
    assert await faults(context) == []


async def test_a_variant_that_comes_later_is_counted_in_the_unit_that_the_product_then_has(
    context: Context, file: Path
) -> None:
    rice, beans = (
        ",R,Rice,5,kg,Sort,Long,\nR,R-L,,,,,Long,1\n",
        ",B,Beans,5,each,Sort,Red,\nB,B-R,,,,,Red,1\n",
    )
    assert (await load(context, file, VARIANTS + rice + beans)).created == 2
    # Without a column the unit stays, with one the new unit holds.
    text = VARIANTS.replace("unit,", "") + ",R,Rice,5,Sort,Long;Round,\nR,R-R,,,,Round,2.5\n"
    assert (await load(context, file, text, on_duplicate="update")).faults == []
    text = VARIANTS + ",B,Beans,5,kg,Sort,Red;White,\nB,B-W,,,,,White,0.125\n"
    assert (await load(context, file, text, on_duplicate="update")).faults == []
    text = VARIANTS + ",B,Beans,5,each,Sort,Red;White;Black,\nB,B-B,,,,,Black,0.5\n"
    assert told(await load(context, file, text, on_duplicate="update")) == [(3, "quantity", "decimals")]
    assert await faults(context) == []


async def sold_meanwhile(
    context: Context, file: Path, monkeypatch: pytest.MonkeyPatch, *, is_guarded: bool
) -> ImportRun:
    """A hundred counts, with a sale after the import has looked at the stock and before it books."""
    await load(context, file, simple(*(f"S-{n},Item {n},5,10" for n in range(100))))
    sales = ["S-7"]

    async def sell_first(within: Context, db: Database, counts: Sequence[Count], *, reason: str) -> None:
        while sales:
            await sell(context, sales.pop(), 3)
        if not is_guarded:
            counts = [replace(count, stock=replace(count.stock, expected=None)) for count in counts]
        await set_stocks(within, db, counts, reason=reason)

    monkeypatch.setattr("kasuwa.domain.catalogue.bulk.set_stocks", sell_first)
    rows = "".join(f"S-{n},12,10\n" for n in range(100))
    return await load(context, file, "sku,quantity,expected quantity\n" + rows, **UPDATE)


async def test_a_sale_while_the_file_is_imported_fails_its_row_alone(
    context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await sold_meanwhile(context, file, monkeypatch, is_guarded=True)
    assert (run.updated, run.failed) == (99, 1)
    assert said(run) == [(9, "expected quantity", "10", "changed")]
    assert "is now 7" in run.faults[0].message
    assert await on_hand(context, "S-6", "S-7", "S-8") == [12, 7, 12]
    assert await faults(context) == []


async def test_the_control_a_count_that_expects_nothing_loses_the_sale(
    context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await sold_meanwhile(context, file, monkeypatch, is_guarded=False)
    assert (run.updated, told(run)) == (100, [])
    assert await on_hand(context, "S-7") == [12]


LEVELS = VARIANTS.strip() + ",reorder level,reorder quantity,reorder level @ Ada's Corner #2\n"
RING = ",R,Ring,5,each,Size,S;M,,12,30,7\nR,R-S,,,,,S,1,2,4,\nR,R-M,,,,,M,2,,,\n"


async def levels_of(context: Context, sku: str) -> dict[str, tuple[str | None, ...]]:
    """Level and quantity by SKU and place, of what the product keeps of its own and of what it sells."""
    product = await product_of(context, sku)
    skus = {product.main.variant_id: product.main.sku} | {v.variant_id: v.sku for v in product.variants}
    async with context.reading() as db:
        levels = await read_stock(db, [product.product_id])
    return {
        f"{skus[one.variant_id]} {'here' if one.store_id.int == context.store_id.int else 'there'}": tuple(
            None if figure is None else f"{figure.normalize():f}"
            for figure in (one.reorder_level, one.reorder_quantity)
        )
        for one in levels
    }


async def test_the_levels_of_a_product_with_variants_stand_in_its_own_row(
    services: Services, context: Context, file: Path
) -> None:
    assert (await load(context, file, LEVELS + RING)).faults == []
    expected: dict[str, tuple[str | None, ...]] = {
        "R here": ("12", "30"),
        "R there": ("7", None),
        "R-S here": ("2", "4"),
        "R-M here": (None, None),
    }
    assert await levels_of(context, "R") == expected
    first = await gather(export_csv(context))
    same = await new_shop(services)
    assert (await load(same.owner, file, first)).faults == []
    assert await levels_of(same.owner, "R") == expected
    assert await gather(export_csv(same.owner)) == first
    # They change with an update, and what is not counted stays so.
    run = await load(context, file, first, **UPDATE)
    assert (run.skipped, run.changes) == (1, [])
    changed = RING.replace("12,30,7", "13,,8")
    run = await load(context, file, LEVELS + changed, **UPDATE)
    assert (run.updated, run.faults) == (1, [])
    assert await levels_of(context, "R") == expected | {"R here": ("13", None), "R there": ("8", None)}
    assert await faults(context) == await faults(same.owner) == []


async def test_a_level_comes_to_a_product_with_variants_that_had_none(context: Context, file: Path) -> None:
    assert (await load(context, file, LEVELS + RING.replace("12,30,7", ",,"))).faults == []
    assert "R here" not in await levels_of(context, "R")
    for dry_run in (True, False):
        run = await load(context, file, LEVELS + RING, on_duplicate="update", dry_run=dry_run)
        assert (run.updated, run.faults) == (1, [])
    assert (await levels_of(context, "R"))["R here"] == ("12", "30")
    async with context.reading() as db:
        closed = await db.values("SELECT closed FROM stock_balance WHERE reorder_level IN (12, 7)")
    assert closed == [True, True]
    assert await faults(context) == []
