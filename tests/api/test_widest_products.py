"""Products as wide as a file may bring them: every API shows them, and as its contract says."""

import csv
import io
from pathlib import Path

from tests.api.bigcommerce_calls import BigCommerceCalls
from tests.api.shoplazza_calls import Shoplazza
from tests.domain.test_exchange import load, product_of
from tests.shop import Shop

TAGS = [f"tag {number:03} {'t' * 40}" for number in range(1000)]
WIDEST = {
    "sku": "S" * 255,
    "name": "n" * 255,
    "slug": "s" * 255,
    "description": "d" * 65_535,
    "brand": "b" * 600,
    "unit": "u" * 32,
    "tags": ";".join(TAGS),
    "categories": " > ".join(f"{depth} {'c' * 50}" for depth in range(5)),
    "tax code": "x" * 40,
    "barcode": "7" * 255,
    "price": "999999999999.99",
    "weight grams": "1000000",
}
LONG_TAG = {"sku": "LONG-TAG", "name": "Malt", "price": "5", "tags": "t" * 600}
VARIED = [
    {"sku": "V", "name": "Shirt", "price": "5", "option1 name": "o" * 255, "option1 value": "v" * 255 + ";w"},
    {"parent sku": "V", "sku": "V-1", "variant name": "n" * 255, "option1 value": "v" * 255},
    {"parent sku": "V", "sku": "V-2", "option1 value": "w"},
]
# What is not marked as meant so is refused for its blanks; the mark is a quotation mark before them.
BLANK_SKU = {"sku": "' S-1 ", "name": "Blank", "price": "5"}


def table() -> str:
    rows = [WIDEST, LONG_TAG, *VARIED, BLANK_SKU]
    text = io.StringIO()
    writer = csv.DictWriter(text, list({name: None for row in rows for name in row}))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


async def test_the_widest_products_of_a_file_are_shown_by_every_api(
    slz: Shoplazza, bc: BigCommerceCalls, shop: Shop, tmp_path: Path
) -> None:
    run = await load(shop.owner, tmp_path / "a.csv", table())
    assert (run.failed, run.created) == (0, 4), run.faults
    stock, session = f"/cloudapi/app/{shop.store_id}/stock", {"sessiontoken": shop.session}
    for sku in (WIDEST["sku"], "LONG-TAG", "V", " S-1 "):
        product = await product_of(shop.owner, sku)
        # Each of these answers has been compared with its contract.
        item = (await slz.web.get(f"{stock}/{product.product_id}", headers=session)).json()
        assert item["sku"] == sku
        await slz.get(f"/products/{product.product_id}")
        assert (await bc.get(f"/catalog/products/{product.number}")).status_code == 200
    for path in (f"{stock}?size=200", f"{stock}?search=Shirt", f"{stock}/prices"):
        assert (await slz.web.get(path, headers=session)).status_code == 200
    await slz.get("/products")
    assert (await bc.get("/catalog/products")).status_code == 200
