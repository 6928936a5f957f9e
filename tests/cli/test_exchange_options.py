"""What `kasuwa import` and `kasuwa export` take and tell, as processes on one installation."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from kasuwa.base.context import Services
from kasuwa.base.ids import new_id
from kasuwa.cli import exchange
from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls
from kasuwa.domain.exchange.records import ImportOptions, ImportRun
from kasuwa.settings import Settings
from tests.cli.staging import Installation
from tests.cli.test_exchange import count, installation, settings, urls
from tests.domain.test_exchange import load, product_of
from tests.domain.test_exchange_round_trip import SEVERAL, stock_of
from tests.shop import Shop, new_shop

__all__ = ["installation", "settings", "urls"]

THERE = "sku,name,price,quantity\nA,Malt,500,5\nB,Beer,700,5\n"
CHANGED = "sku,name,price,quantity,expected quantity\nA,Ale,600,9,5\nB,Beer,700,5,5\nC,Cola,300,2,\n"


@pytest.fixture
async def services(settings: Settings, urls: DatabaseUrls) -> AsyncIterator[Services]:
    async with everything(settings, urls) as services:
        yield services


@pytest.fixture
async def shop(services: Services, tmp_path: Path) -> Shop:
    """A shop that sells two products."""
    shop = await new_shop(services)
    assert (await load(shop.owner, tmp_path / "there.csv", THERE)).created == 2
    return shop


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Changes one of them, leaves one, and has another."""
    file = tmp_path / "products.csv"
    file.write_text(CHANGED)
    return file


async def kasuwa(
    installation: Installation, shop: Shop, verb: str, file: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        installation.run, verb, "products", str(file), "--store", str(shop.store_id), *words
    )


async def first_product(shop: Shop) -> list[str]:
    """Name, price in kobo and quantity of the product that is changed."""
    malt = await product_of(shop.owner, "A")
    on_hand, *_ = (await stock_of(shop.owner, "A"))["here"]
    return [malt.name, str(malt.main.price.selling_minor), f"{on_hand:.3f}"]


async def test_a_dry_run_prints_what_would_change_and_writes_nothing(
    installation: Installation, urls: DatabaseUrls, shop: Shop, file: Path
) -> None:
    update = ("--on-duplicate", "update")
    said = (await kasuwa(installation, shop, "import", file, *update, "--dry-run")).stdout
    assert "products would be created 1, would be updated 1, would be left as they are 1, failed 0" in said
    assert "  A: name: 'Malt' -> 'Ale'\n" in said
    assert "  A: price: '500' -> '600'\n" in said
    assert "quantity" not in said
    said = (await kasuwa(installation, shop, "import", file, *update, "--dry-run", "--set-stock")).stdout
    assert "  A: quantity: '5' -> '9'\n" in said
    assert await first_product(shop) == ["Malt", "50000", "5.000"]
    assert await count(urls, "SELECT count(*) FROM product WHERE merchant_id = $1", shop) == 2
    assert await count(urls, "SELECT count(*) FROM stock_movement WHERE merchant_id = $1", shop) == 2
    # The control: without --dry-run the same words change it, and say so.
    said = (await kasuwa(installation, shop, "import", file, *update)).stdout
    assert "products created 1, updated 1, left as they are 1, failed 0" in said
    assert await count(urls, "SELECT count(*) FROM product WHERE merchant_id = $1", shop) == 3


async def test_what_becomes_of_a_sku_that_is_there_is_said_by_the_options(
    installation: Installation, shop: Shop, file: Path
) -> None:
    async def done(*words: str) -> list[int]:
        answer = await kasuwa(installation, shop, "import", file, "--json", *words)
        told = json.loads(answer.stdout)
        return [answer.returncode, *(told[name] for name in ("created", "updated", "skipped", "failed"))]

    assert await done() == [1, 1, 0, 0, 2]
    assert await done("--on-duplicate", "skip") == [0, 0, 0, 3, 0]
    assert await first_product(shop) == ["Malt", "50000", "5.000"]
    assert await done("--on-duplicate", "update") == [0, 0, 1, 2, 0]
    # Quantities of what is there are left alone, unless they were asked for.
    assert await first_product(shop) == ["Ale", "60000", "5.000"]
    assert await done("--on-duplicate", "update", "--set-stock") == [0, 0, 1, 2, 0]
    assert await first_product(shop) == ["Ale", "60000", "9.000"]
    # What is not as the file expects is set when that was asked for, and only then.
    await asyncio.to_thread(file.write_text, "sku,quantity,expected quantity\nA,4,5\n")
    assert await done("--on-duplicate", "update", "--set-stock") == [1, 0, 0, 0, 1]
    assert await done("--on-duplicate", "update", "--overwrite-stock") == [0, 0, 1, 0, 0]
    assert await first_product(shop) == ["Ale", "60000", "4.000"]


def on_a_terminal(installation: Installation, *words: str) -> str:
    """What the command writes to a terminal as its standard error."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kasuwa", *words],
            env=installation.environment,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            timeout=120,
            check=False,
        )
        os.set_blocking(ours, False)
        said = os.read(ours, 65536).decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 0, said
    return said


async def test_a_terminal_shows_how_far_the_import_is_on_one_line_and_clears_it(
    installation: Installation, shop: Shop, file: Path
) -> None:
    words = ("import", "products", str(file), "--store", str(shop.store_id), "--on-duplicate", "skip")
    said = await asyncio.to_thread(on_a_terminal, installation, *words)
    assert re.search(r"\r\[#{20}\] 100%  4 rows, \d+ rows/s, \d+ s left, 0 failed\x1b\[K", said), said
    assert said.endswith("\r\x1b[K")
    assert "\n" not in said
    # The control: what is no terminal gets no such line, and nothing at all of a short import.
    quiet = await asyncio.to_thread(installation.run, *words)
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_elsewhere_a_long_import_tells_how_far_it_is_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exchange, "monotonic", iter((1000.0, 1004.0, 1010.0, 1015.0, 1020.0)).__next__)
    begun = begun_run()
    progress = exchange._Progress(begun)
    for rows in (400, 1000, 1500, 2000):
        progress.show(replace(begun, rows_done=rows, fraction=rows / 4000, failed=1))
    progress.end()
    assert capsys.readouterr().err == (
        "1000 rows, 100 rows/s, 30 s left, 1 failed\n2000 rows, 100 rows/s, 20 s left, 1 failed\n"
    )


def begun_run() -> ImportRun:
    at = datetime(2027, 1, 31, tzinfo=UTC)
    return ImportRun(
        import_id=new_id(),
        store_id=new_id(),
        kind="products",
        file_name="a.csv",
        file_sha256="",
        size_bytes=1,
        options=ImportOptions(),
        status="running",
        reason="",
        rows_done=0,
        fraction=0.0,
        created=0,
        updated=0,
        skipped=0,
        failed=0,
        failed_rows=0,
        notes=[],
        faults=[],
        changes=[],
        header=[],
        created_at=at,
        updated_at=at,
        started_at=at,
        ended_at=None,
    )


@pytest.mark.parametrize(
    ("name", "begin"), [("shop.csv", b"\xef\xbb\xbfparent sku,"), ("Shop.XLSX", b"PK")], ids=["csv", "xlsx"]
)
async def test_what_the_command_exports_is_imported_elsewhere_and_exported_as_the_same_bytes(
    installation: Installation, services: Services, tmp_path: Path, name: str, begin: bytes
) -> None:
    shop, other = await new_shop(services), await new_shop(services)
    assert (await load(shop.owner, tmp_path / "several.csv", SEVERAL)).created == 3
    out, again = tmp_path / name, tmp_path / f"again {name}"
    assert (await kasuwa(installation, shop, "export", out)).stdout == f"exported to {out}\n"
    assert out.read_bytes().startswith(begin)
    done = await kasuwa(installation, other, "import", out)
    assert (done.returncode, "created 3, updated 0" in done.stdout) == (0, True), done.stdout
    assert (await kasuwa(installation, other, "export", again)).returncode == 0
    assert again.read_bytes() == out.read_bytes()


def test_a_name_that_does_not_say_what_to_write_is_refused(
    installation: Installation, tmp_path: Path
) -> None:
    for name in ("shop.xls", "shop"):
        done = installation.run("export", "products", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (1, "")
        assert "give it a name that ends in .csv, .jsonl or .xlsx" in done.stderr
    assert list(tmp_path.iterdir()) == []
