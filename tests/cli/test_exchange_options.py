"""What `kasuwa import` and `kasuwa export` take and tell, as processes on one installation."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kasuwa.base.ids import new_id
from kasuwa.cli import exchange
from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls
from kasuwa.domain.exchange.records import ImportOptions, ImportRun
from kasuwa.settings import Settings
from tests.cli.staging import Installation
from tests.cli.test_exchange import count, installation, settings, shop, urls
from tests.domain.test_exchange_round_trip import SEVERAL
from tests.shop import Shop, new_shop

__all__ = ["installation", "settings", "shop", "urls"]


@pytest.fixture
async def other_shop(settings: Settings, urls: DatabaseUrls) -> Shop:
    async with everything(settings, urls) as services:
        return await new_shop(services)


def products(installation: Installation, shop: Shop, verb: str, file: Path, *words: str) -> dict[str, Any]:
    """What the command answers with --json, in the shop's first store."""
    said = installation.ask(verb, "products", str(file), "--store", str(shop.store_id), "--json", *words)
    answer: dict[str, Any] = json.loads(said)
    return answer


def counts(answer: dict[str, Any]) -> list[int]:
    return [answer[name] for name in ("created", "updated", "skipped", "failed")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "products.csv"
    file.write_text("sku,name,price,quantity\nA,Malt,500,5\nB,Beer,700,5\n")
    return file


def exported(installation: Installation, shop: Shop, file: Path) -> bytes:
    answer = products(installation, shop, "export", file)
    assert answer == {"file": str(file), "size_bytes": file.stat().st_size}
    return file.read_bytes()


async def test_a_dry_run_prints_what_would_change_and_writes_nothing(
    installation: Installation, urls: DatabaseUrls, shop: Shop, file: Path, tmp_path: Path
) -> None:
    assert counts(products(installation, shop, "import", file)) == [2, 0, 0, 0]
    before = exported(installation, shop, tmp_path / "before.csv")
    file.write_text("sku,name,price,quantity\nA,Malt 33cl,550,9\nB,Beer,700,5\nC,Cola,300,2\n")
    words = ("import", "products", str(file), "--store", str(shop.store_id), "--on-duplicate", "update")
    said = installation.ask(*words, "--dry-run")
    assert "products would be created 1, would be updated 1, would be left as they are 1, failed 0" in said
    assert "  A: name: 'Malt' -> 'Malt 33cl'\n" in said
    assert "  A: price: '500' -> '550'\n" in said
    assert "quantity" not in said
    assert "  A: quantity: '5' -> '9'\n" in installation.ask(*words, "--dry-run", "--set-stock")
    assert exported(installation, shop, tmp_path / "after.csv") == before
    for table, rows in (("product", 2), ("stock_movement", 2)):
        assert await count(urls, f"SELECT count(*) FROM {table} WHERE merchant_id = $1", shop) == rows  # noqa: S608
    # The control: without --dry-run the same words change it, and say so.
    assert "products created 1, updated 1, left as they are 1, failed 0" in installation.ask(*words)
    assert exported(installation, shop, tmp_path / "after.csv") != before


def test_what_becomes_of_a_sku_that_is_there_is_said_by_the_option(
    installation: Installation, shop: Shop, file: Path, tmp_path: Path
) -> None:
    assert counts(products(installation, shop, "import", file)) == [2, 0, 0, 0]
    file.write_text("sku,name,price,quantity\nA,Ale,600,9\nC,Cola,300,2\n")

    def row(sku: str) -> list[str]:
        lines = exported(installation, shop, tmp_path / "now.jsonl").splitlines()
        (found,) = (row for row in map(json.loads, lines) if row["sku"] == sku)
        return [found[name] for name in ("name", "price", "quantity @ Ada's Corner")]

    words = ("import", "products", str(file), "--store", str(shop.store_id), "--json")
    failing = installation.run(*words)
    assert (failing.returncode, counts(json.loads(failing.stdout))) == (1, [1, 0, 0, 1])
    assert row("A") == ["Malt", "500", "5"]
    assert counts(json.loads(installation.ask(*words, "--on-duplicate", "skip"))) == [0, 0, 2, 0]
    assert row("A") == ["Malt", "500", "5"]
    assert counts(json.loads(installation.ask(*words, "--on-duplicate", "update"))) == [0, 1, 1, 0]
    assert row("A") == ["Ale", "600", "5"]
    counted = installation.ask(*words, "--on-duplicate", "update", "--set-stock")
    assert counts(json.loads(counted)) == [0, 1, 1, 0]
    assert row("A") == ["Ale", "600", "9"]
    unknown = installation.run(*words, "--on-duplicate", "replace")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert all(word in unknown.stderr for word in ("fail", "skip", "update"))


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


def test_a_terminal_shows_how_far_the_import_is_on_one_line_and_clears_it(
    installation: Installation, shop: Shop, file: Path
) -> None:
    words = ("import", "products", str(file), "--store", str(shop.store_id))
    said = on_a_terminal(installation, *words)
    assert re.search(r"\r3 rows, \d+ rows/s, \d+ s left, 0 failed\x1b\[K", said), said
    assert said.endswith("\r\x1b[K")
    assert "\n" not in said
    # The control: what is no terminal gets no such line, and nothing at all of a short import.
    quiet = installation.run(*words, "--on-duplicate", "skip")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_elsewhere_a_long_import_tells_how_far_it_is_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(exchange, "monotonic", lambda: now)
    begun = begun_run()
    progress = exchange._Progress(begun)
    for now, rows in ((1004.0, 400), (1010.0, 1000), (1015.0, 1500), (1020.0, 2000)):
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


@pytest.mark.parametrize("name", ["shop.csv", "shop.jsonl", "Shop.XLSX"])
def test_what_the_command_exports_is_imported_elsewhere_and_exported_as_the_same_bytes(
    installation: Installation, shop: Shop, other_shop: Shop, tmp_path: Path, name: str
) -> None:
    several, out, again = tmp_path / "several.csv", tmp_path / name, tmp_path / f"again {name}"
    several.write_bytes(SEVERAL.encode())
    assert counts(products(installation, shop, "import", several)) == [3, 0, 0, 0]
    first = exported(installation, shop, out)
    begins = {"shop.csv": b"\xef\xbb\xbfparent sku,", "shop.jsonl": b'{"parent sku":', "Shop.XLSX": b"PK"}
    assert first.startswith(begins[name])
    assert counts(products(installation, other_shop, "import", out)) == [3, 0, 0, 0]
    assert exported(installation, other_shop, again) == first


@pytest.mark.parametrize("name", ["shop.xls", "shop", "shop.xlsx.bak"])
def test_a_name_that_does_not_say_what_to_write_is_refused(
    installation: Installation, shop: Shop, tmp_path: Path, name: str
) -> None:
    done = installation.run("export", "products", str(tmp_path / name), "--store", str(shop.store_id))
    assert (done.returncode, done.stdout) == (1, "")
    assert "give it a name that ends in .csv, .jsonl or .xlsx" in done.stderr
    assert list(tmp_path.iterdir()) == []
