"""`kasuwa import` and `kasuwa export` as processes: killed, started again, and with rows that fail."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kasuwa.base.context import Context
from kasuwa.cli.visiting import everything, in_the_shop
from kasuwa.database import DatabaseUrls, serving_database
from kasuwa.settings import Settings, read_settings
from tests.cli.staging import Installation
from tests.conftest import picture_bytes
from tests.shop import Shop, new_shop

ROWS = 2500


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-exchange-"))
    folder.chmod(0o755)
    yield read_settings({}, data=str(folder))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def urls(settings: Settings) -> Iterator[DatabaseUrls]:
    with serving_database(settings) as found:
        yield found


@pytest.fixture
async def shop(settings: Settings, urls: DatabaseUrls) -> Shop:
    async with everything(settings, urls) as services:
        return await new_shop(services)


@pytest.fixture
def installation(settings: Settings) -> Installation:
    return Installation(settings.data_folder())


async def count(urls: DatabaseUrls, sql: str, shop: Shop) -> int:
    owner = await asyncpg.connect(urls.owner)
    try:
        found: int = await owner.fetchval(sql, shop.merchant_id) or 0
    finally:
        await owner.close()
    return found


async def run(installation: Installation, *words: str) -> dict[str, Any]:
    done = await asyncio.to_thread(installation.run, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout) if "--json" in words else {}
    return answer


async def test_a_killed_import_goes_on_where_it_stopped(
    installation: Installation, urls: DatabaseUrls, shop: Shop, tmp_path: Path
) -> None:
    file = tmp_path / "many.csv"
    lines = ["sku,name,price,quantity", *(f"S-{n},Item {n},{n},{n % 50}" for n in range(ROWS))]
    file.write_text("\n".join(lines))
    words = ("import", "products", str(file), "--store", str(shop.store_id), "--json")
    process = subprocess.Popen(  # noqa: ASYNC220 - it is killed below
        [sys.executable, "-m", "kasuwa", *words], env=installation.environment, stdout=subprocess.DEVNULL
    )
    done = "SELECT max(rows_done) FROM import_run WHERE merchant_id = $1"
    try:
        while await count(urls, done, shop) == 0:
            assert process.poll() is None
            await asyncio.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < await count(urls, "SELECT count(*) FROM product WHERE merchant_id = $1", shop) < ROWS
    answer = await run(installation, *words)
    assert (answer["status"], answer["created"], answer["failed"]) == ("done", ROWS, 0)
    assert await count(urls, "SELECT count(*) FROM product WHERE merchant_id = $1", shop) == ROWS
    moved = "SELECT count(*) FROM stock_movement WHERE merchant_id = $1"
    assert await count(urls, moved, shop) == ROWS - ROWS // 50
    assert (await run(installation, "doctor", "--json"))["ok"] is True


def pictures_of(archive: Path, rows: int) -> None:
    with zipfile.ZipFile(archive, "w") as out:
        for n in range(rows):
            out.writestr(f"S-{n}.png", picture_bytes("PNG", seed=n))


async def test_an_import_that_is_killed_amid_its_pictures_goes_on_with_them(
    installation: Installation, urls: DatabaseUrls, shop: Shop, tmp_path: Path
) -> None:
    file, archive, rows = tmp_path / "shop.csv", tmp_path / "pictures.zip", 40
    file.write_text("\n".join(["sku,name,price", *(f"S-{n},Item {n},5" for n in range(rows)), "X,Bad,cheap"]))
    pictures_of(archive, rows)
    store = ("--store", str(shop.store_id))
    words = ("import", "products", str(file), "--pictures", str(archive), *store, "--json")
    process = subprocess.Popen(  # noqa: ASYNC220 - it is killed below
        [sys.executable, "-m", "kasuwa", *words], env=installation.environment, stdout=subprocess.DEVNULL
    )
    shown = "SELECT count(*) FROM product_picture WHERE merchant_id = $1"
    try:
        while await count(urls, shown, shop) < 3:
            assert process.poll() is None
            await asyncio.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = await count(urls, shown, shop)
    assert 3 <= before < rows
    done = await asyncio.to_thread(installation.run, *words)
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["created"], answer["failed"]) == ("done", rows, 1), answer["faults"]
    assert answer["pictures"] == {"shown": rows - before, "skipped": before, "failed": 0}
    assert await count(urls, shown, shop) == rows
    assert await count(urls, "SELECT count(*) FROM import_run WHERE merchant_id = $1", shop) == 1
    # The one row that failed before the kill is told and written now.
    assert (done.returncode, (tmp_path / "shop.failed.csv").read_text("utf-8-sig").count("\n")) == (1, 2)


def test_a_zip_that_cannot_be_read_is_refused_before_any_row(
    installation: Installation, shop: Shop, tmp_path: Path
) -> None:
    file, archive = tmp_path / "shop.csv", tmp_path / "pictures.zip"
    file.write_text("sku,name,price\nA,Malt,5\n")
    archive.write_bytes(b"nothing")
    words = ("import", "products", str(file), "--store", str(shop.store_id))
    done = installation.run(*words, "--pictures", str(archive))
    assert (done.returncode, done.stdout, "damaged archive" in done.stderr) == (1, "", True)
    assert "products created 1" in installation.run(*words).stdout


def test_what_failed_is_told_and_written_to_a_file(
    installation: Installation, shop: Shop, tmp_path: Path
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("sku,name,price\nA,Malt,cheap\nB,Beer,5\n")
    done = installation.run("import", "products", str(file), "--store", str(shop.store_id))
    assert done.returncode == 1
    assert "row 2 price 'cheap': Write a number like 1234.50." in done.stdout
    assert (tmp_path / "bad.failed.csv").read_text("utf-8-sig") == (
        "sku,name,price,row,error\nA,Malt,cheap,2,price: Write a number like 1234.50.\n"
    )
    (tmp_path / "photo.csv").write_bytes(b"\xff\xd8\xff\xe0")
    done = installation.run("import", "products", str(tmp_path / "photo.csv"), "--store", str(shop.store_id))
    assert (done.returncode, done.stdout) == (1, "")
    assert "This is a picture." in done.stderr
    done = installation.run("import", "products", str(tmp_path / "none.csv"), "--store", str(shop.store_id))
    assert "there is no file" in done.stderr


def test_the_store_may_be_left_out_where_there_is_only_one(
    new_installation: Callable[..., Installation], tmp_path: Path
) -> None:
    installation, file, out = new_installation(), tmp_path / "shop.csv", tmp_path / "out.csv"
    file.write_text("sku,name,price\nA,Malt,5\n")
    settings = read_settings({}, data=str(installation.data))
    none_yet = installation.run("import", "products", str(file))
    assert (none_yet.returncode, none_yet.stdout) == (1, "")
    assert "There is no store yet" in none_yet.stderr
    shop = in_the_shop(settings, lambda context: new_shop(context.services))
    several = installation.run("import", "products", str(file))
    assert (several.returncode, several.stdout) == (1, "")
    lines = several.stderr.splitlines()
    assert lines[0] == "kasuwa: There are several stores; name one of them by --store:"
    assert lines[1:] == [f"  {one}  Ada's Corner" for one in (shop.store_id, shop.second_store_id)]
    assert installation.run("export", "products", str(out)).returncode == 1
    assert not out.exists()
    in_the_shop(settings, lambda context: close_store(context, shop))
    assert json.loads(installation.ask("import", "products", str(file), "--json"))["created"] == 1
    installation.ask("export", "products", str(out))
    assert "Malt" in out.read_text(encoding="utf-8-sig")


async def close_store(context: Context, shop: Shop) -> None:
    async with Context(context.services, shop.owner.caller).transaction() as db:
        await db.execute(
            "UPDATE store SET status = 'closed'"
            " WHERE merchant_id = current_merchant() AND store_id = :store_id",
            store_id=shop.second_store_id,
        )
