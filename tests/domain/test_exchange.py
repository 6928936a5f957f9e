"""Products in and out by files: what is exported can be loaded again, and a bad file does no harm."""

import asyncio
import csv
import io
import zipfile
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.problems import Forbidden
from kasuwa.base.tables import TableWrong
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct, Outcome
from kasuwa.domain.catalogue.cards import card_faults
from kasuwa.domain.catalogue.queries import find_sku, get_product, read_stock
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, Price, Product
from kasuwa.domain.exchange import imports
from kasuwa.domain.exchange.errors import ImportElsewhere, ImportNotFound
from kasuwa.domain.exchange.exports import export_csv, export_jsonl, failed_rows
from kasuwa.domain.exchange.imports import begin_import, run_import
from kasuwa.domain.exchange.jobs import import_progress, start_import
from kasuwa.domain.exchange.pictures import import_pictures
from kasuwa.domain.exchange.records import ImportOptions, ImportRun
from kasuwa.domain.exchange.runs import read_run
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.records import Move
from tests.conftest import picture_bytes
from tests.locks import until_somebody_waits
from tests.shop import Shop, new_shop

WHOLE = """\
parent sku,sku,name,description,brand,unit,tags,categories,price,cost price,promo price,promo starts at,\
promo ends at,wholesale price,wholesale min quantity,tax rate,vat type,track quantity,visible online,\
weight grams,expiry date,barcode,option1 name,option1 value,option2 name,option2 value,quantity,reorder level
,MALT-33,Malt 33cl,"Cold, ""really""
cold",Nkwobi,each,drink;a\\;b,Drinks > Malt;Sale,500,350.50,450,2027-01-01T08:00:00+01:00,,400,12,7.5,\
inclusive,yes,yes,330,2027-06-30,6001234567890,,,,,48,12
,SHIRT,Shirt,,,each,,Clothes,9000,,,,,,,,,,,,,,Size,S;M,Colour,Red;Blue,,
SHIRT,SHIRT-S-R,,,,,,,,,,,,,,,,,,,,,,S,,Red,4,
SHIRT,SHIRT-M-B,,,,,,,9500,,,,,,,,,,,,,,,M,,Blue,3,2
,RICE,=Rice -1,+44,@x,kg,,,"1,234.50",,,,,,,,,no,,,,,,,,,2.5,
"""


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


async def load(context: Context, path: Path, content: str | bytes, **options: Any) -> ImportRun:
    write(path, content)
    run = await begin_import(context, path, path.name, ImportOptions(**options))
    return await run_import(context, run, path)


async def gather(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def product_of(context: Context, sku: str) -> Product:
    async with context.reading() as db:
        found = await find_sku(db, sku)
    assert found is not None, sku
    return await get_product(context, found[0])


async def faults(context: Context) -> list[str]:
    async with context.reading() as db:
        ids = await db.values("SELECT product_id FROM product")
        return await db.values("SELECT fault FROM stock_faults()") + await card_faults(db, ids)


def simple(*rows: str) -> str:
    return "\n".join(["sku,name,price,quantity", *rows]) + "\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "products.csv"


def told(run: ImportRun) -> list[tuple[int, str, str]]:
    return sorted((place.row, place.column, place.code) for kind in run.faults for place in kind.places)


async def test_what_is_exported_imports_elsewhere_and_exports_the_same_bytes(
    services: Services, context: Context, other_shop: Shop, file: Path
) -> None:
    run = await load(context, file, WHOLE)
    assert (run.status, run.created, run.failed, run.faults) == ("done", 3, 0, [])
    malt = await product_of(context, "MALT-33")
    assert malt.description == 'Cold, "really"\ncold'
    assert malt.tags == ("drink", "a;b")
    assert sorted(category.name for category in malt.categories) == ["Malt", "Sale"]
    rice = await product_of(context, "RICE")
    assert (rice.name, rice.main.price.selling_minor) == ("=Rice -1", 123450)
    shirt = await product_of(context, "shirt-m-b")
    assert [(v.sku, v.own_price, v.price.selling_minor) for v in shirt.variants] == [
        ("SHIRT-S-R", False, 900000),
        ("SHIRT-M-B", True, 950000),
    ]
    first = await gather(export_csv(context))
    same = await new_shop(services)
    assert (await load(same.owner, file, first)).created == 3
    assert await gather(export_csv(same.owner)) == first
    assert await faults(context) == await faults(same.owner) == []
    lines = await gather(export_jsonl(context))
    third = await new_shop(services)
    assert (await load(third.owner, file, lines)).created == 3
    assert await gather(export_csv(third.owner)) == first
    # A spreadsheet runs nothing of it.
    risky = [
        c for row in csv.reader(io.StringIO(first.decode("utf-8-sig"))) for c in row if c[:1] in "=+-@\t"
    ]
    assert [cell for cell in risky if cell] == []


async def test_stock_is_booked_at_each_named_store(context: Context, shop: Shop, file: Path) -> None:
    text = "sku,name,price,quantity,Quantity @ Ada's Corner #2,reorder_level @ Ada's Corner #2\nA,A,1,2,3,1\n"
    assert (await load(context, file, text)).created == 1
    async with context.reading() as db:
        levels = await read_stock(db, [(await product_of(context, "A")).product_id])
    assert {UUID(int=level.store_id.int): (level.on_hand, level.reorder_level) for level in levels} == {
        shop.store_id: (Decimal(2), None),
        shop.second_store_id: (Decimal(3), Decimal(1)),
    }


async def test_a_dry_run_says_what_would_change_and_changes_nothing(context: Context, file: Path) -> None:
    await load(context, file, simple("A,Malt,500,5", "B,Beer,700,5"))
    before = await gather(export_csv(context))
    text = "sku,name,price,categories\nA,Malt,550,New > Shelf\nB,Beer,700,\nC,Cola,300,\n"
    run = await load(context, file, text, on_duplicate="update", dry_run=True)
    assert (run.created, run.updated, run.skipped) == (1, 1, 1)
    changes = [(change.sku, change.field, change.before, change.after) for change in run.changes]
    assert ("A", "price", "500", "550") in changes
    assert await gather(export_csv(context)) == before
    # The same for good, which the dry run did not stand in the way of.
    run = await load(context, file, text, on_duplicate="update")
    assert (run.created, run.updated, run.skipped) == (1, 1, 1)


async def test_an_update_takes_the_columns_of_the_file_and_no_others(context: Context, file: Path) -> None:
    await load(context, file, "sku,name,brand,price,cost price,quantity\nA,Malt,Old,500,300,5\n")
    run = await load(context, file, "sku,price,quantity\nA,600,9\nB,700,1\n", on_duplicate="update")
    assert (run.updated, run.failed) == (1, 1)
    assert told(run) == [(3, "name", "required")]
    malt = await product_of(context, "A")
    assert (malt.name, malt.brand, malt.main.price.selling_minor) == ("Malt", "Old", 60000)
    assert malt.main.price.cost_minor == 30000

    async def on_hand() -> list[Any]:
        async with context.reading() as db:
            return [level.on_hand for level in await read_stock(db, [malt.product_id])]

    # Yesterday's export must not undo today's sales: quantities count only when that is asked for.
    assert await on_hand() == [5]
    text = "sku,quantity,expected quantity\nA,9,5\n"
    run = await load(context, file, text, on_duplicate="update", stock="expected")
    assert run.updated == 1
    assert await on_hand() == [9]
    assert await faults(context) == []


async def test_failed_rows_say_why_and_can_be_loaded_again(context: Context, file: Path) -> None:
    text = simple(
        "A,Malt,500,5", "B,Beer,cheap,5", "C,,1,1", "A,Again,5,1", 'D,"Gin, dry",5,-1', "E,Rum,5,1,x"
    )
    run = await load(context, file, text)
    assert (run.created, run.failed, run.failed_rows) == (1, 5, 5)
    assert told(run) == [
        (3, "price", "number"),
        (4, "name", "required"),
        (5, "sku", "duplicate"),
        (6, "quantity", "minimum"),
        (7, "", "row"),
    ]
    assert run.faults[0].places[0].value == "cheap"
    failed = (await gather(failed_rows(context, run.import_id))).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(failed)))
    assert [row["row"] for row in rows] == ["3", "4", "5", "6", "7"]
    assert rows[0]["error"] == "price: Write a number like 1234.50."
    mended = failed.replace("cheap", "700").replace("C,,", "C,Cola,").replace("A,Again", "F,Again")
    again = await load(context, file, mended.replace("-1", "1"))
    assert (again.created, again.failed) == (5, 0)


async def test_an_import_that_was_cut_short_goes_on_and_doubles_nothing(
    context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 10)
    write(file, simple(*(f"S-{n},Item {n},{n},{n}" for n in range(95)), "S-3,Twice,1,1"))
    run = await begin_import(context, file, file.name, ImportOptions())
    part = await run_import(context, run, file, until=0)
    assert (part.status, part.created) == ("running", 10)
    # Whoever holds an older view of it cannot go on.
    with pytest.raises(ImportElsewhere):
        await run_import(context, run, file)
    same = await begin_import(context, file, file.name, ImportOptions())
    assert (same.import_id, same.rows_done) == (run.import_id, 11)
    done = await run_import(context, same, file)
    assert (done.status, done.created, done.failed) == ("done", 95, 1)
    assert told(done) == [(97, "sku", "duplicate")]
    async with context.reading() as db:
        assert await db.value("SELECT count(*) FROM product") == 95
    assert await faults(context) == []


async def test_a_kill_between_two_statements_leaves_no_half_part(
    context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 10)
    write(file, simple(*(f"S-{n},Item {n},{n},{n}" for n in range(30))))
    run = await begin_import(context, file, file.name, ImportOptions())

    class Killed(BaseException):
        pass

    async def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr("kasuwa.domain.exchange.runs.note_progress", die)
        with pytest.raises(Killed):
            await run_import(context.acting_as(context.caller), run, file)
    async with context.reading() as db:
        assert await db.value("SELECT count(*) FROM product") == 0
    assert (await run_import(context, run, file)).created == 30


@pytest.mark.parametrize("is_part_of_it", [True, False], ids=["part of it", "after it, the control"])
async def test_what_belongs_to_an_import_is_gone_on_with_when_it_was_cut_short(
    context: Context, file: Path, is_part_of_it: bool
) -> None:
    write(file, simple("A,Malt,5,1", "B,Beer,5,1"))
    run = await begin_import(context, file, file.name, ImportOptions())

    class Killed(BaseException):
        pass

    async def die() -> None:
        raise Killed

    if is_part_of_it:
        with pytest.raises(Killed):
            await run_import(context, run, file, afterwards=die)
    else:
        await run_import(context, run, file)
    again = await begin_import(context, file, file.name, ImportOptions())
    assert (again.import_id == run.import_id, again.rows_done) == ((True, 3) if is_part_of_it else (False, 0))
    done = await run_import(context, again, file)
    assert (done.status, done.created, done.failed) == ("done", *((2, 0) if is_part_of_it else (0, 2)))


async def test_one_mistake_a_thousand_times_is_one_line(context: Context, file: Path) -> None:
    run = await load(context, file, simple(*(f"S-{n},Item {n},free,1" for n in range(3000))))
    assert (run.failed, len(run.faults), run.faults[0].count) == (3000, 1, 3000)
    assert len(run.faults[0].places) == 5
    text = (await gather(failed_rows(context, run.import_id))).decode()
    assert text.count("\r\n") == 3001


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16, as its first bytes say"),
        ("utf-16-le", "assumed to be UTF-16-LE: every other byte is empty"),
        ("cp1252", "not UTF-8: assumed to be Windows-1252, look at the accents"),
    ],
)
async def test_every_usual_encoding_is_read_and_said(
    context: Context, file: Path, encoding: str, note: str
) -> None:
    run = await load(context, file, simple("A,Crème brûlée €,500,5").encode(encoding))
    assert (run.created, run.notes[0]) == (1, note)
    assert (await product_of(context, "A")).name == "Crème brûlée €"


@pytest.mark.parametrize("sign", [";", "\t", "|"])
async def test_cells_may_be_parted_by_other_signs(context: Context, file: Path, sign: str) -> None:
    run = await load(context, file, simple("A,Malt,500,5").replace(",", sign))
    assert run.created == 1
    assert "cells parted by" in run.notes[1]


async def test_columns_that_nobody_knows_are_refused_with_a_guess(context: Context, file: Path) -> None:
    text = "sku,name,price,quantitty\nA,Malt,5,1\n"
    run = await load(context, file, text)
    assert run.status == "failed"
    assert "'quantitty' in place 4 (did you mean 'quantity'?)" in run.reason
    run = await load(context, file, text, ignore_unknown=True)
    assert (run.created, run.notes[1:]) == (
        1,
        ["left out: 'quantitty' in place 4 (did you mean 'quantity'?)"],
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty."),
        (b"%PDF-1.7 ...", "This is a PDF"),
        (b"\xd0\xcf\x11\xe0 old", "before 2007"),
        (b"\x1f\x8b\x08", "gzip"),
        (b'[{"sku": "A"}]', "one JSON array"),
        (b"<html></html>", "HTML"),
        (bytes(range(32)) * 50, "no text file"),
        (b"PK\x03\x04 broken", "damaged archive"),
        (b"one,two\n1,2\n", "Unknown columns"),
        (b"sku,sku\n1,2\n", "stand twice"),
    ],
)
async def test_what_is_no_table_is_refused_as_a_whole(
    context: Context, file: Path, content: bytes, reason: str
) -> None:
    try:
        run = await load(context, file, content)
        said = run.reason
        assert run.status == "failed"
    except TableWrong as wrong:
        said = wrong.detail
    assert reason in said


async def test_odd_values_fail_their_row_alone(context: Context, file: Path) -> None:
    rows = {
        "NUL": "N\0,Malt,5,1",
        "huge": "H,Malt,5,99999999999999999999",
        "dear": "P,Malt,99999999999999999999,1",
        "rounded": "6.00123E+12,Malt,5,1",
        "long": f"{'x' * 256},Malt,5,1",
        "doubtful": 'Q,Malt,"1,23,4",1',
        "fractions": "R,Malt,5.001,1",
    }
    run = await load(context, file, simple(*rows.values(), 'OK,Malt,"₦1,234.50",1'))
    assert (run.created, run.failed) == (1, len(rows))
    lone = b'{"sku": "M", "name": "Malt", "price": 5}\n{"sku": "L", "name": "\\ud800", "price": 5}\n'
    run = await load(context, file, lone)
    assert (run.created, run.failed) == (1, 1)
    run = await load(context, file, simple("Z,Malt \ud800,5,1").encode("utf-16", "surrogatepass"))
    assert told(run) == [(2, "name", "surrogate")]


async def test_a_quote_that_nobody_closes_is_found(context: Context, file: Path) -> None:
    run = await load(context, file, simple('A,"Malt,5,1', *(f"S-{n},Item,5,1" for n in range(100_000))))
    assert run.status == "failed"
    assert "quote that nobody closes" in run.reason


async def test_variants_without_their_product_fail(context: Context, file: Path) -> None:
    text = "parent sku,sku,name,price,option1 name,option1 value\nNOBODY,A-S,A,5,,S\n"
    assert told(await load(context, file, text)) == [(2, "parent sku", "parent")]
    text = "parent sku,sku,name,price,option1 name,option1 value\n,A,Shirt,5,Size,S\nA,A-S,,,,S\nA,A-M,,,,M\n"
    run = await load(context, file, text)
    assert (run.failed, run.failed_rows, told(run)) == (1, 3, [(4, "option1 value", "unknown")])


async def test_pictures_come_from_a_zip_by_sku(context: Context, file: Path, tmp_path: Path) -> None:
    await load(context, file, simple("A,Malt,5,1", "B-2,Beer,5,1"))
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for seed, name in enumerate(["x/A-2.png", "x/A.png", "B-2.png", "nobody.png", "__MACOSX/A.png"]):
            out.writestr(name, picture_bytes("PNG", seed=seed))
        out.writestr("A-3.png", b"no picture")
    counts = await import_pictures(context, archive)
    assert counts == {"shown": 3, "skipped": 0, "failed": 2}
    malt = await product_of(context, "A")
    assert [picture.alt_text for picture in malt.pictures] == ["Malt", "Malt, 2"]
    assert await import_pictures(context, archive) == {"shown": 0, "skipped": 3, "failed": 2}
    archive.write_bytes(b"nothing")
    with pytest.raises(TableWrong):
        await import_pictures(context, archive)


async def test_nobody_else_sees_an_import_and_a_cashier_makes_none(
    context: Context, shop: Shop, other_shop: Shop, file: Path
) -> None:
    run = await load(context, file, simple("A,Malt,5,1"))
    with pytest.raises(ImportNotFound):
        await read_run(other_shop.owner, run.import_id)
    assert (await read_run(context, run.import_id)).created == 1
    with pytest.raises(Forbidden):
        await load(shop.cashier(), file, simple("B,Malt,5,1"))
    header = (await gather(export_csv(shop.cashier()))).decode("utf-8-sig").split("\r\n")[0]
    assert "cost price" not in header


async def test_a_worker_imports_what_a_call_has_started(
    services: Services, context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 10)
    # Each job takes one part, and leaves the rest to the next.
    monkeypatch.setattr("kasuwa.domain.exchange.jobs._SECONDS", 0.0)
    write(file, simple(*(f"S-{n},Item {n},{n},{n}" for n in range(35))))
    run = await start_import(context, file, "a.csv", ImportOptions())
    same = await start_import(context, file, "a.csv", ImportOptions())
    assert same.import_id == run.import_id
    await services.jobs.run_due()
    done = await import_progress(context, run.import_id)
    assert (done.status, done.created, done.rows_done, done.fraction) == ("done", 35, 36, 1.0)
    async with context.reading() as db:
        assert await db.value("SELECT count(*) FROM import_file") == 0
        actors = await db.values("SELECT DISTINCT actor_id FROM audit_entry WHERE action = 'product.create'")
    assert actors == [context.caller.id]


async def test_a_file_that_comes_again_as_its_import_ends_is_a_new_import(
    services: Services, context: Context, file: Path
) -> None:
    write(file, simple("S-1,Malt,5,1"))
    first = await start_import(context, file, "a.csv", ImportOptions())
    async with services.pool.transaction(context.merchant_id) as db:
        await db.value("SELECT 1 FROM import_run WHERE import_id = :id FOR UPDATE", id=first.import_id)
        again = asyncio.create_task(start_import(context, file, "a.csv", ImportOptions()))
        await until_somebody_waits(db)
        await db.execute("UPDATE import_run SET status = 'done' WHERE import_id = :id", id=first.import_id)
    assert (await again).import_id != first.import_id
    assert (await again).status == "running"


async def test_what_only_the_ledger_can_refuse_fails_its_product_alone(context: Context, file: Path) -> None:
    rows = [f"S-{n},Item {n},5,10" for n in range(20)]
    await load(context, file, simple(*rows))
    variant = (await product_of(context, "S-7")).main
    async with context.transaction() as db:
        move = Move(
            store_id=context.store_id,
            variant_id=variant.variant_id,
            kind="reserved",
            state="reserved",
            change=Decimal(4),
        )
        await move_stock(context, db, [move])
    text = "sku,quantity\n" + "".join(f"S-{n},3\n" for n in range(20))
    run = await load(context, file, text, on_duplicate="update", stock="overwritten")
    assert (run.updated, run.failed) == (19, 1)
    assert [row for row, _, _ in told(run)] == [9]
    assert await faults(context) == []


async def test_a_row_may_have_cost_so_much_and_no_more(context: Context, file: Path) -> None:
    text = "sku,name,price,cost price,quantity\nA,Gold,5,1000000000000,1\nB,Gold,5,500000000000.01,2\n"
    run = await load(context, file, text)
    assert (run.created, run.failed) == (1, 1)
    assert told(run) == [(3, "quantity", "maximum")]
    assert await faults(context) == []
    # What is there is counted at what it cost.
    run = await load(context, file, "sku,quantity\nA,2\n", on_duplicate="update", stock="overwritten")
    assert told(run) == [(2, "quantity", "maximum")]
    text = (
        "sku,parent sku,name,price,cost price,quantity,option1 name,option1 value\n"
        "R,,Ring,5,1000000000000,,Size,S;M\nR-S,R,,,,1,,S\n"
    )
    run = await load(context, file, text)
    assert (run.created, run.failed) == (1, 0)
    added = text + "R-M,R,,,,2,,M\n"
    assert told(await load(context, file, added, on_duplicate="update")) == [(4, "quantity", "maximum")]


async def test_a_unit_that_the_stock_does_not_fit_fails_its_row_alone(context: Context, file: Path) -> None:
    await load(context, file, "sku,name,price,unit,quantity\nA,Rice,5,kg,1.5\nB,Beans,5,kg,2\n")
    run = await load(context, file, "sku,unit\nA,each\nB,each\n", on_duplicate="update")
    assert (run.updated, told(run)) == (1, [(2, "unit", "decimals")])
    assert (await product_of(context, "A")).unit == "kg"


async def test_a_sku_that_is_taken_meanwhile_is_a_duplicate(context: Context, shop: Shop) -> None:
    """Two calls with the same SKUs at once: each SKU is made once, and the other call is told."""
    rows = [
        BulkProduct(
            new=NewProduct(
                name="Malt",
                variants=(NewVariant(sku=f"S-{n}", price=Price(currency="NGN", selling_minor=1)),),
            )
        )
        for n in range(50)
    ]

    async def call() -> list[Outcome]:
        return await write_products(context.acting_as(context.caller), rows)

    answers = await asyncio.gather(call(), call())
    statuses = sorted(outcome.status for answer in answers for outcome in answer)
    assert statuses == ["created"] * 50 + ["failed"] * 50
    codes = {fault.code for answer in answers for outcome in answer for fault in outcome.faults}
    assert codes == {"taken"}
