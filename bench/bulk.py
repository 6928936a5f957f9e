"""Products made by `createBulkProducts`, beside the same products from a file by the command that imports.

Each into a new shop of its own: simple products with price, barcode, tags and opening stock, 500 in a call,
four calls at a time. A product is two rows (product and variant) or one row of the file.
"""

import csv
from pathlib import Path

import msgspec

from bench.broken import slow_rows
from bench.client import Work, ask, post
from bench.importing import FILE_HEADER, import_file
from bench.places import data_folder
from bench.processes import serving, used_by, wait_idle
from bench.shop import BenchShop, build_shop
from bench.tables import Figure, Report

EACH = 500
# Only in the shop that the API fills: the command is what it is compared with.
_BROKEN = slow_rows("product", ms=1)
_FIRST = 1000  # past the numbers of the shop's own products
_TEXT = "Made in Aba from local material; sturdy, and easy to clean."


def _call(port: int, shop: BenchShop, numbers: range) -> bytes:
    items = [
        {
            "name": f"Cotton Lamp A-{number}",
            "sku": f"A-{number}",
            "description": _TEXT,
            "brand": "Kasuwa",
            "tags": ["home", "new"],
            "prices": {"sellingPrice": 5000, "costPrice": 2500},
            "barcode": f"61500{number:08d}",
            "quantity": 7,
            "reorderLevel": 2,
        }
        for number in numbers
    ]
    path = f"/cloudapi/app/{shop.store_id}/stock/createbulk"
    return post(port, path, {"sessiontoken": shop.sessions[0]}, msgspec.json.encode({"items": items}))


def _write_file(path: Path, products: int) -> None:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(FILE_HEADER)
        for number in range(_FIRST, _FIRST + products):
            sku, barcode = f"A-{number}", f"61500{number:08d}"
            cells = [f"Cotton Lamp {sku}", _TEXT, "Kasuwa", "home;new", "", 5000, 2500, barcode, "", "", 7, 2]
            writer.writerow(["", sku, *cells])


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """Products a second by the API and by the command."""
    products = 2 * EACH if smoke else 20_000
    with data_folder() as data:
        shop = build_shop(data, products=2, sessions=1, breaking=_BROKEN if broken else "")
        with serving(data, storeharmony_requests_per_second=1_000_000) as server:
            wait_idle(server)
            calls = [
                _call(server.port, shop, range(n, n + EACH)) for n in range(_FIRST, _FIRST + products, EACH)
            ]
            before = used_by(server.pid)
            done = ask(Work(host="127.0.0.1", port=server.port, requests=calls, times=len(calls)))
            used = used_by(server.pid) - before
            assert set(done.statuses) == {200}, f"answers: {done.statuses}"
    with data_folder() as data:
        shop = build_shop(data, products=2, sessions=1)
        _write_file(data / "products.csv", products)
        imported = import_file(data, str(shop.store_id), data / "products.csv")
        assert imported.created == products
    by_api, by_command = products / done.seconds, products / imported.seconds
    return Report(
        title=f"{products} simple products with stock by createBulkProducts, {EACH} in a call, 4 at a time",
        figures=[
            Figure(name="by the API, one worker", value=by_api, unit="products per s"),
            Figure(name="  all processes", value=used.total_ms / products, unit="CPU-ms"),
            Figure(name="by the command, its start included", value=by_command, unit="products per s"),
            Figure(name="the command beside the API", value=by_command / by_api, unit="times", limit=1.25),
        ],
    )
