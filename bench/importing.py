"""A file of products with variants, prices and stock, imported by the command and by a worker, beside COPY.

The floor writes what the import wrote (every table, with its indexes) from a file that PostgreSQL reads as
fast as it can: no checks, no foreign keys, no cards to be rendered.
"""

import asyncio
import csv
import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import asyncpg
import httpx
from msgspec import Struct

from bench.broken import slow_rows
from bench.places import data_folder
from bench.processes import family_of, is_postgres, peak_bytes, serving, wait_idle
from bench.shop import build_shop
from bench.tables import Figure, Report
from kasuwa.database import visiting_database
from kasuwa.settings import read_settings

_TABLES = (
    "product",
    "product_category",
    "variant",
    "price",
    "stock_balance",
    "stock_movement",
    "product_card",
    "audit_entry",
)
FILE_HEADER = (
    "parent sku",
    "sku",
    "name",
    "description",
    "brand",
    "tags",
    "categories",
    "price",
    "cost price",
    "barcode",
    "option1 name",
    "option1 value",
    "quantity",
    "reorder level",
)
_SIZES = ("S", "M", "L")
_BROKEN = slow_rows("product", ms=1)


class Imported(Struct, frozen=True):
    rows: int
    seconds: float
    peak_bytes: int
    created: int


def write_file(path: Path, rows: int, seed: int = 7) -> None:
    """Two simple products, then one with three sizes, and so on: two thirds of the rows are of variants."""
    chance = random.Random(seed)
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(FILE_HEADER)
        for number in range(rows // 6):
            for part in ("A", "B"):
                sku = f"{part}-{number}"
                name = (
                    f"{chance.choice(('Cotton', 'Leather', 'Clay'))} {chance.choice(('Lamp', 'Bowl'))} {sku}"
                )
                text = "Made in Aba from local material; sturdy, and easy to clean."
                price = chance.randrange(500, 50_000)
                code = f"61500{chance.randrange(10**8):08d}{number:07d}{part}"
                shelf = f"Home > Shelf {number % 40}"
                writer.writerow(
                    ["", sku, name, text, "Kasuwa", "home;new", shelf, price, price // 2, code, "", "", 7, 2]
                )
            sku = f"V-{number}"
            sizes = ";".join(_SIZES)
            writer.writerow(
                ["", sku, f"Kaftan {sku}", "", "", "", "Clothes", 9000, 4000, "", "Size", sizes, "", ""]
            )
            for size in _SIZES:
                writer.writerow([sku, f"{sku}-{size}", *[""] * 9, size, chance.randrange(1, 90), 5])


def _import_into(data: Path, rows: int, breaking: str) -> Imported:
    """Import a file of so many rows into a new shop."""
    shop = build_shop(data, products=2, sessions=1, breaking=breaking)
    file = data / "products.csv"
    write_file(file, rows)
    return import_file(data, str(shop.store_id), file)


def _send_to_a_worker(data: Path, rows: int, breaking: str) -> Imported:
    """The same over /manage: a new shop with one worker, from the sending until everything is in."""
    shop = build_shop(data, products=2, sessions=1, breaking=breaking)
    file = data / "products.csv"
    write_file(file, rows)
    headers = {"sessiontoken": shop.sessions[0], "content-type": "text/csv"}
    with serving(data) as server:
        wait_idle(server)
        path = f"{server.url}/manage/{shop.store_id}/product-imports"
        begun = time.perf_counter()
        run = httpx.post(path, content=file.read_bytes(), headers=headers, timeout=60).json()
        while run["status"] in ("waiting", "running"):
            time.sleep(0.2)
            run = httpx.get(f"{path}/{run['importId']}", headers=headers, timeout=60).json()
        seconds = time.perf_counter() - begun
        peak = max(peak_bytes(one.pid) for one in family_of(server.pid) if not is_postgres(one))
    assert (run["status"], run["failed"]) == ("done", 0), run["faults"]
    return Imported(run["rowsDone"] - 1, seconds, peak, run["created"])


def import_file(data: Path, store_id: str, file: Path) -> Imported:
    words = [sys.executable, "-m", "kasuwa", "import", "products", str(file), "--store", store_id, "--json"]
    begun = time.perf_counter()
    with subprocess.Popen([*words, "--data", str(data)], stdout=subprocess.PIPE) as process:
        peak = 0
        while process.poll() is None:
            with suppress(ProcessLookupError, IndexError):  # it may end while we look
                peak = max(peak, peak_bytes(process.pid))
            time.sleep(0.5)
        assert process.stdout is not None
        run = json.loads(process.stdout.read())
    assert (process.returncode, run["failed"]) == (0, 0), run["faults"]
    # The start of the command and of its database included.
    seconds = time.perf_counter() - begun
    return Imported(run["rows_done"] - 1, seconds, peak, run["created"])


async def _copy(dsn: str, folder: Path) -> float:
    """How long COPY takes for everything that is in the tables, into others like them."""
    owner = await asyncpg.connect(dsn)
    taken = 0.0
    try:
        for table in _TABLES:
            file = folder / table
            await owner.copy_from_table(table, output=file, format="binary")
            await owner.execute(f"CREATE TABLE floor_{table} (LIKE {table} INCLUDING ALL)")
            begun = time.perf_counter()
            await owner.copy_to_table(f"floor_{table}", source=file, format="binary")
            taken += time.perf_counter() - begun
    finally:
        await owner.close()
    return taken


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """Rows a second, the memory of the command at two sizes of file, and the ratio to COPY."""
    few, many = (60, 600) if smoke else (6_000, 60_000)
    breaking = _BROKEN if broken else ""
    with data_folder() as data:
        one = _import_into(data, few, breaking)
    with data_folder() as data:
        ours = _import_into(data, many, breaking)
        with visiting_database(read_settings({}, data=str(data))) as urls:
            floor = asyncio.run(_copy(urls.owner, data))
    with data_folder() as data:
        by_worker = _send_to_a_worker(data, many, breaking)
    rate = ours.rows / ours.seconds
    return Report(
        title=f"Import of {ours.rows} rows of CSV ({ours.created} products, two thirds of the rows variants)",
        figures=[
            Figure(name="rows", value=rate, unit="per s", note="at least 3,000"),
            Figure(name="time for a row", value=1000 * ours.seconds / ours.rows, unit="ms", limit=1 / 3),
            Figure(name="COPY of what it wrote", value=ours.rows / floor, unit="per s"),
            Figure(name="ratio to COPY", value=ours.seconds / floor, unit="times"),
            Figure(name="memory of the command", value=ours.peak_bytes / 2**20, unit="MB", limit=250),
            Figure(name=f"  at {one.rows} rows", value=one.peak_bytes / 2**20, unit="MB"),
            Figure(
                name="rows over /manage, one worker", value=by_worker.rows / by_worker.seconds, unit="per s"
            ),
            Figure(name="  beside the command", value=ours.seconds / by_worker.seconds, unit="times"),
            Figure(name="memory of the worker", value=by_worker.peak_bytes / 2**20, unit="MB"),
        ],
    )
