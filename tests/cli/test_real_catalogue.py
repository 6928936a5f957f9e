"""A real catalogue with its photographs, through the commands that an owner uses: from file to doctor."""

import asyncio
import csv
import io
import json
import random
import subprocess
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from PIL import Image

from bench.misspellings import misspelt
from kasuwa.base.context import Context
from kasuwa.base.postgres.folder import SUPERUSER
from kasuwa.cli.demo_shop import DemoProduct, read_catalogue
from kasuwa.domain.merchants.actions import open_session
from tests import checked
from tests.faults.installation import Installation, Server, new_folder
from tests.shop import Shop, new_shop
from tools.demo_photographs import FOLDER

# What people type when they look for things of this catalogue.
TYPED = {
    "hangin fern": "Hanging fern in a basket",
    "tenis ball": "Tennis ball",
    "sucullents": "Succulents, set of nine",
    "curvd monitor": "Curved monitor, 34 inch",
    "oak tabel drawers": "Oak work table with drawers",
    "twin lens camra": "Twin-lens film camera",
}


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with new_folder() as folder:
        yield Installation(folder / "data")


@pytest.fixture(scope="module")
def server(installation: Installation) -> Iterator[Server]:
    with installation.serving() as server:
        yield server


@pytest.fixture(scope="module")
def products() -> tuple[DemoProduct, ...]:
    """What the photographs show, named and priced."""
    found = read_catalogue().products
    assert len(found) >= 50
    assert len({product.photograph for product in found}) == len(found)
    return found


@pytest.fixture(scope="module")
async def shop(installation: Installation, server: Server) -> Shop:
    async with installation.services() as services:
        return await new_shop(services)


async def run(installation: Installation, *words: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(installation.run, *words)


async def doctor(installation: Installation) -> dict[str, str]:
    """The checks that found something, with the first finding; the exit code says the same."""
    done = await run(installation, "doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ok"] else 1)
    return {check["check"]: check["shown"][0]["text"] for check in report["checks"] if check["faults"]}


def write_catalogue(products: tuple[DemoProduct, ...], file: Path, archive: Path) -> None:
    """The table and the zip that an owner would make."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["sku", "name", "description", "categories", "price", "quantity", "visible online"])
        for product in products:
            price = f"{product.price_minor // 100}.{product.price_minor % 100:02d}"
            row = [product.sku, product.name, product.description, product.category, price, 5, "yes"]
            writer.writerow(row)
    with zipfile.ZipFile(archive, "w") as pictures:
        for product in products:
            pictures.write(FOLDER / product.photograph, f"{product.sku}.jpg")


@pytest.fixture(scope="module")
async def imported(
    installation: Installation,
    shop: Shop,
    products: tuple[DemoProduct, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What `kasuwa import products FILE --pictures ZIP` said at its end."""
    folder = tmp_path_factory.mktemp("catalogue")
    write_catalogue(products, folder / "shop.csv", folder / "pictures.zip")
    words = ("import", "products", str(folder / "shop.csv"), "--pictures", str(folder / "pictures.zip"))
    done = await run(installation, *words, "--store", str(shop.store_id), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def found(server: Server, shop: Shop, text: str) -> list[dict[str, Any]]:
    """The first ten, as an app asks for them."""
    # verify=False: the authorities' certificates take long to load, and nothing here needs them.
    async with checked.AsyncClient(verify=False) as client:
        answer = await client.post(
            f"{server.url}/cloudapi/app/{shop.store_id}/stock/query",
            headers={"sessiontoken": shop.session},
            json={"text": text, "size": 10},
        )
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


async def test_every_product_comes_with_its_photograph(
    installation: Installation,
    server: Server,
    shop: Shop,
    imported: dict[str, Any],
    products: tuple[DemoProduct, ...],
) -> None:
    assert (imported["created"], imported["failed"]) == (len(products), 0)
    assert imported["pictures"] == {"shown": len(products), "skipped": 0, "failed": 0}
    for product in products[::10]:
        item = (await found(server, shop, product.sku))[0]
        assert Decimal(str(item["prices"]["sellingPrice"])) * 100 == product.price_minor
        async with checked.AsyncClient() as client:
            picture = await client.get(server.url + item["images"][0]["url"])
        assert picture.status_code == 200
        with (
            Image.open(io.BytesIO(picture.content)) as shown,
            Image.open(FOLDER / product.photograph) as sent,
        ):
            assert shown.width / shown.height == pytest.approx(sent.width / sent.height, rel=0.01)


async def test_products_are_found_by_name_and_in_spite_of_typing_errors(
    server: Server, shop: Shop, imported: dict[str, Any], products: tuple[DemoProduct, ...]
) -> None:
    for product in products:
        assert (await found(server, shop, product.name))[0]["sku"] == product.sku
    for text, name in TYPED.items():
        assert name in [item["name"] for item in await found(server, shop, text)][:3], text
    chance = random.Random(5)
    wrong = {product.name: misspelt(product.name, chance) for product in products}
    missed = {
        name: text
        for name, text in wrong.items()
        if name not in [item["name"] for item in await found(server, shop, text)]
    }
    assert len(missed) <= len(products) // 10, missed


async def test_it_goes_out_again_as_it_came(
    installation: Installation,
    shop: Shop,
    imported: dict[str, Any],
    products: tuple[DemoProduct, ...],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.csv"
    done = await run(installation, "export", "products", str(out), "--store", str(shop.store_id))
    assert done.returncode == 0, done.stderr
    with out.open(encoding="utf-8-sig", newline="") as exported:
        rows = list(csv.DictReader(exported))
    assert [
        (row["sku"], row["name"], row["description"], row["categories"], int(Decimal(row["price"]) * 100))
        for row in rows
    ] == [(p.sku, p.name, p.description, p.category, p.price_minor) for p in products]


async def second_session(installation: Installation, shop: Shop) -> str:
    """The owner at the other location."""
    async with installation.services() as services:
        context = Context(services, shop.owner.caller, request_id="test")
        async with context.transaction() as db:
            return (await open_session(context, db, shop.user_id, shop.second_store_id)).token


async def test_its_stock_goes_every_way_there_is(
    installation: Installation,
    server: Server,
    shop: Shop,
    imported: dict[str, Any],
    products: tuple[DemoProduct, ...],
) -> None:
    skus = [product.sku for product in products]
    here, there = f"/manage/{shop.store_id}", f"/manage/{shop.second_store_id}"
    sessions = {here: shop.session, there: await second_session(installation, shop)}
    async with checked.AsyncClient(base_url=server.url, timeout=60) as client:

        async def ask(place: str, path: str, **body: Any) -> dict[str, Any]:
            headers = {"sessiontoken": sessions[place]}
            answer = await client.post(place + path, headers=headers, json=body or None)
            assert answer.is_success, answer.text
            done: dict[str, Any] = answer.json()
            return done

        # Beyond the shelf, in a batch, with serial numbers, what broke, and a figure that is set.
        changes = [
            {"sku": skus[0], "change": -7, "offlineSale": True},
            {"sku": skus[1], "change": 12, "unitCost": 900, "batchNo": "B-7", "expiryDate": "2031-05-01"},
            {"sku": skus[2], "change": 2, "serials": ["IMEI-1", "IMEI-2"]},
            {"sku": skus[3], "change": -1, "becomes": "damaged", "reason": "broken"},
            {"sku": skus[4], "quantity": 9, "expectedQuantity": 5},
        ]
        changed = await ask(here, "/stock/changes", lines=changes, allOrNothing=True)
        variants = [row["variantId"] for row in changed["rows"]]
        # To the other location: some arrive, one is crushed, one never comes.
        wanted = [{"variantId": variants[1], "quantity": 8}, {"variantId": variants[4], "quantity": 3}]
        sent = await ask(here, "/transfers", destinationStoreId=str(shop.second_store_id), lines=wanted)
        path = f"/transfers/{sent['transferId']}"
        line, other = [one["lineId"] for one in (await ask(here, f"{path}/ship"))["lines"]]
        receipts = [
            {"lineId": line, "outcome": "received", "quantity": 6},
            {"lineId": line, "outcome": "damaged", "quantity": 1, "reason": "crushed"},
            {"lineId": line, "outcome": "lost", "quantity": 1, "reason": "never came"},
            {"lineId": other, "outcome": "received", "quantity": 3},
        ]
        assert (await ask(there, f"{path}/receive", lines=receipts))["status"] == "accepted"
        # And a stocktake, which finds what the offline sale took.
        stocktake = f"/stocktakes/{(await ask(here, '/stocktakes', name='Friday'))['stocktakeId']}"
        counts = [{"sku": skus[0], "quantity": 4}, {"sku": skus[5], "quantity": 2}]
        await ask(here, f"{stocktake}/counts", counts=counts)
        closed = await ask(here, f"{stocktake}/close", note="Done.")
        assert (closed["status"], closed["unbooked"]) == ("closed", 0)
    async with superuser(installation) as connection:
        moved = await connection.fetch(
            "SELECT DISTINCT kind, state FROM stock_movement WHERE merchant_id = $1", shop.merchant_id
        )
    states = {row["state"] for row in moved}
    assert states >= {"on_hand", "in_transit", "damaged", "shortfall"}
    ways = {"opening", "sold", "quantity_added", "quantity_deducted", "counted", "transfer_accepted"}
    assert {row["kind"] for row in moved} >= ways


@asynccontextmanager
async def superuser(installation: Installation) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Past every trigger and policy."""
    connection = await asyncpg.connect(installation.address.dsn(SUPERUSER, "kasuwa"))
    try:
        await connection.execute("SET session_replication_role = replica")
        yield connection
    finally:
        await connection.close()


async def test_the_doctor_is_green_and_red_after_one_changed_byte_of_a_picture(
    installation: Installation, shop: Shop, imported: dict[str, Any]
) -> None:
    assert await doctor(installation) == {}
    folder = installation.data / "files" / str(shop.merchant_id)
    file = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    red = await doctor(installation)
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert set(red) == {"contents of pictures"}
    assert file.name in red["contents of pictures"]
    assert await doctor(installation) == {}


async def test_the_doctor_is_red_after_one_changed_byte_of_the_ledger(
    installation: Installation, shop: Shop, imported: dict[str, Any]
) -> None:
    change = (
        "UPDATE stock_movement SET reason = $1 WHERE movement_id ="
        " (SELECT min(movement_id::text)::uuid FROM stock_movement WHERE merchant_id = $2)"
    )
    async with superuser(installation) as connection:
        await connection.execute(change, "opening stocK", shop.merchant_id)
        red = await doctor(installation)
        await connection.execute(change, "opening stock", shop.merchant_id)
    assert set(red) == {"ledger of stock"}
    assert "changed after it was written" in red["ledger of stock"]
    assert await doctor(installation) == {}
