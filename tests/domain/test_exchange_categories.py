"""Categories of a file: found however they are spelled, made where there are none, and refused row by row."""

from pathlib import Path
from typing import Any

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.problems import Conflict, Unavailable
from kasuwa.domain.catalogue import categories as tree
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.exchange import imports
from kasuwa.domain.exchange.categories import CategoryPaths, paths_of_all
from kasuwa.domain.exchange.jobs import import_progress, start_import
from kasuwa.domain.exchange.records import ImportOptions
from tests.domain.test_exchange import file as file
from tests.domain.test_exchange import load, product_of, simple, told, write

HEAD = "sku,name,price,categories\n"


async def paths(context: Context) -> list[tuple[str, ...]]:
    async with context.reading() as db:
        return list((await paths_of_all(db)).values())


async def named(context: Context, sku: str) -> list[str]:
    return [category.name for category in (await product_of(context, sku)).categories]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("drinks", ["Drinks"]),
        ("DRÍNKS", ["Drinks"]),
        (" drinks  > MALT ", ["Malt"]),
        ("Drinks>Malt;drinks", ["Drinks", "Malt"]),
    ],
    ids=["case", "accents", "below", "both"],
)
async def test_the_spelling_of_a_file_finds_the_category_that_is_there(
    context: Context, file: Path, cell: str, found: list[str]
) -> None:
    drinks = await create_category(context, "Drinks")
    await create_category(context, "Malt", parent_id=drinks)
    run = await load(context, file, HEAD + f"A,Malt,5,{cell}\n")
    assert (run.status, run.created, run.faults) == ("done", 1, [])
    assert sorted(await named(context, "A")) == found
    assert await paths(context) == [("Drinks",), ("Drinks", "Malt")]


async def test_what_a_file_spells_in_two_ways_is_made_once(context: Context, file: Path) -> None:
    run = await load(context, file, HEAD + "A,Malt,5,New > Shelf\nB,Beer,5,new > SHELF\nC,Rum,5,néw\n")
    assert (run.created, run.faults) == (3, [])
    assert await paths(context) == [("New",), ("New", "Shelf")]


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("a > b > c > d > e > f > g", "too_deep"),
        ("Drinks > ", "blank"),
        (" > Malt", "blank"),
        ("Drinks > \\ ", "blank"),
        (">", "blank"),
        ("Drinks > " + "x" * 121, "length"),
        ("Drinks;drinks", "list"),
        (";".join(f"C{n}" for n in range(1001)), "list"),
    ],
    ids=["seven levels", "end", "begin", "a blank", "nothing", "long", "twice", "many"],
)
async def test_a_path_that_the_apis_would_not_take_fails_its_row_alone(
    context: Context, file: Path, cell: str, code: str
) -> None:
    run = await load(context, file, HEAD + f"A,Malt,5,Drinks\nB,Beer,5,{cell}\nC,Rum,5,\n")
    assert (run.status, run.created, told(run)) == ("done", 2, [(3, "categories", code)])
    assert await paths(context) == [("Drinks",)]


async def test_paths_are_taken_up_to_their_limits(context: Context, file: Path) -> None:
    deep = " > ".join(f"{level}{'x' * 119}" for level in range(6))
    run = await load(context, file, HEAD + f"A,Malt,5,{deep}\n")
    assert (run.created, run.faults) == (1, [])


async def test_a_category_that_is_refused_fails_the_rows_that_name_it(
    context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MOST_CATEGORIES", 2)
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 2)
    rows = ["A,Malt,5,Drinks", "B,Beer,5,Drinks > Malt", "C,Rum,5,More > Than", "D,Gin,5,more > than"]
    run = await load(context, file, HEAD + "\n".join([*rows, "E,Cola,5,drinks > malt"]))
    assert (run.status, run.created, run.failed) == ("done", 3, 2)
    assert told(run) == [(row, "categories", "too-many-categories") for row in (4, 5)]
    assert run.faults[0].places[0].value == "More > Than"
    assert run.faults[0].message.startswith("A shop has at most 10,000 categories. Delete")
    # Of a path that is refused nothing is left.
    assert await paths(context) == [("Drinks",), ("Drinks", "Malt")]


async def test_a_category_that_somebody_makes_meanwhile_is_the_one(
    context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_category(context, "Drinks")

    async def stale(_: Any) -> CategoryPaths:
        return CategoryPaths({})

    monkeypatch.setattr(CategoryPaths, "load", stale)
    run = await load(context, file, HEAD + "A,Malt,5,drinks > Malt\n")
    assert (run.created, run.faults) == (1, [])
    assert await paths(context) == [("Drinks",), ("Drinks", "Malt")]


async def test_a_dry_run_with_new_categories_makes_none(context: Context, file: Path) -> None:
    run = await load(context, file, HEAD + "A,Malt,5,Drinks\nB,Beer,5,drinks > \n", dry_run=True)
    assert (run.created, told(run)) == (1, [(3, "categories", "blank")])
    assert await paths(context) == []


async def started(
    services: Services, context: Context, file: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> tuple[str, str]:
    """Status and reason of an import whose second part meets the problem."""
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 1)

    async def refuse(within: Context, rows: Any, **wish: Any) -> Any:
        if rows[0].new.name == "Beer":
            raise problem
        return await write_products(within, rows, **wish)

    monkeypatch.setattr("kasuwa.domain.exchange.imports.write_products", refuse)
    write(file, simple("A,Malt,5,1", "B,Beer,5,1", "C,Rum,5,1"))
    run = await start_import(context, file, "a.csv", ImportOptions())
    await services.jobs.run_due()
    now = await import_progress(context, run.import_id)
    assert now.created == 1
    return now.status, now.reason


async def test_what_refuses_an_import_as_a_whole_ends_it_with_the_reason(
    services: Services, context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Conflict("Something is in the way.")
    assert await started(services, context, file, monkeypatch, problem) == ("failed", str(problem))
    async with context.reading() as db:
        assert await db.value("SELECT count(*) FROM import_file") == 0


async def test_what_another_try_may_cure_leaves_it_to_the_next_job(
    services: Services, context: Context, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = await started(services, context, file, monkeypatch, Unavailable("The database is away."))
    assert status == ("running", "")
