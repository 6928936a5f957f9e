"""One product with variants, seen through all three APIs, whichever of them made it."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from kasuwa.domain.catalogue.queries import get_product
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.records import Kind, Move
from tests.api.bigcommerce_calls import BigCommerceCalls
from tests.api.picture_server import PictureServer
from tests.api.shoplazza_calls import Shoplazza
from tests.api.variant_calls import make, make_simple, post, read, remove, session, size, stock
from tests.shop import Shop


async def test_what_storeharmony_made_is_sold_by_the_others(
    slz: Shoplazza, bc: BigCommerceCalls, shop: Shop
) -> None:
    item = await make(slz.web, shop, sku="ANK")
    theirs = (await slz.get(f"/products/{item['itemId']}"))["product"]
    assert (theirs["has_only_default_variant"], theirs["inventory_quantity"]) == (False, 8)
    assert [(o["name"], o["values"], o["position"]) for o in theirs["options"]] == [("Size", ["M", "L"], 1)]
    shown = [
        (v["id"], v["sku"], v["option1"], v["price"], v["inventory_quantity"], v["position"])
        for v in theirs["variants"]
    ]
    medium, large = (variant["variantId"] for variant in item["variants"])
    assert shown == [
        (medium, "ANK-M", "M", "9000.00", 5, 1),
        (large, "ANK-L", "L", "9500.00", 3, 2),
    ]
    assert (await slz.get("/products"))["products"] == [theirs]
    (product,) = (await bc.get("/catalog/products", params={"sku": "ANK"})).json()["data"]
    assert (product["price"], product["inventory_level"], product["base_variant_id"]) == (9000, 8, None)
    await remove(slz.web, shop, item, variantIds=[large], onRemainingStock="write_off")
    left = (await slz.get(f"/products/{item['itemId']}"))["product"]
    assert ([v["id"] for v in left["variants"]], left["inventory_quantity"]) == ([medium], 5)


async def test_a_price_that_bigcommerce_changes_is_that_of_the_variants_without_one(
    bc: BigCommerceCalls, shop: Shop
) -> None:
    item = await make(bc.web, shop)
    number = (await get_product(shop.owner, UUID(item["itemId"]))).number
    answer = await bc.put(f"/catalog/products/{number}", {"price": 8500})
    assert answer.status_code == 200, answer.text
    prices = [v["prices"]["sellingPrice"] for v in (await read(bc.web, shop, item))["variants"]]
    assert prices == [8500, 9500]


async def test_a_product_that_gets_variants_is_no_longer_simple_anywhere(
    slz: Shoplazza, bc: BigCommerceCalls, shop: Shop
) -> None:
    item = await make_simple(slz.web, shop, name="Basket")
    number = (await get_product(shop.owner, UUID(item["itemId"]))).number
    (before,) = (await slz.get(f"/products/{item['itemId']}"))["product"]["variants"]
    assert (await bc.get(f"/catalog/products/{number}")).json()["data"]["base_variant_id"] is not None
    body: dict[str, Any] = {
        "options": [{"name": "Size", "values": ["S"]}],
        "variants": [size("S", quantity=2)],
    }
    assert (await post(slz.web, shop, f"/{item['itemId']}/addvariants", body)).status_code == 200
    theirs = (await slz.get(f"/products/{item['itemId']}"))["product"]
    assert theirs["has_only_default_variant"] is False
    (after,) = theirs["variants"]
    assert (after["id"] != before["id"], after["position"], after["inventory_quantity"]) == (True, 1, 2)
    assert (await bc.get(f"/catalog/products/{number}")).json()["data"]["base_variant_id"] is None
    counted = await bc.put(f"/catalog/products/{number}", {"inventory_level": 9})
    assert counted.status_code == 422


async def test_what_shoplazza_made_reads_in_full_however_long_its_options_are(
    slz: Shoplazza, shop: Shop, pictures: PictureServer
) -> None:
    name, values = "x" * 200, [f"{'y' * 100} {n}" for n in range(70)]
    variants = [
        {
            "option1": value,
            "price": "5",
            "inventory_quantity": 1,
            "image": {"src": pictures.url("/other.png")},
        }
        for value in values[:2]
    ]
    product = {
        "title": "Shirt",
        "has_only_default_variant": False,
        "need_variant_image": True,
        "options": [{"name": name, "values": values}],
        "images": [{"src": pictures.url()}],
        "variants": variants,
    }
    made = slz.data(await slz.call("POST", "/products", json={"product": product}))["product"]
    item = await read(slz.web, shop, {"itemId": made["id"]})
    assert item["options"] == [{"name": name, "values": values}]
    assert [variant["options"] for variant in item["variants"]] == [
        [{"name": name, "value": value}] for value in values[:2]
    ]
    assert [variant["imagePosition"] for variant in item["variants"]] == [2, 2]
    assert (item["quantity"], item["prices"]["sellingPrice"]) == (2, 5)
    page = await slz.web.get(stock(shop, f"/{made['id']}/variants"), headers=session(shop))
    assert (page.json()["data"], page.json()["options"]) == (item["variants"], item["options"])


async def test_what_is_reserved_is_removed_by_no_api_and_the_rest_is_written_off(
    slz: Shoplazza, bc: BigCommerceCalls, shop: Shop
) -> None:
    first, second = await make_simple(slz.web, shop, sku="A", quantity=3), await make(slz.web, shop)
    number = (await get_product(shop.owner, UUID(first["itemId"]))).number
    claims = [UUID(item["itemId"]) for item in (first, second)]
    await claim(shop, claims, Decimal(1))
    assert (await bc.call("DELETE", f"/catalog/products/{number}")).status_code == 422
    assert (await slz.call("DELETE", f"/products/{second['itemId']}")).status_code == 422
    answer = await slz.web.delete(stock(shop, f"/{first['itemId']}"), headers=session(shop))
    assert answer.status_code == 409
    assert "1 are reserved at" in answer.text
    await claim(shop, claims, Decimal(-1))
    assert (await bc.call("DELETE", f"/catalog/products/{number}")).status_code == 204
    slz.data(await slz.call("DELETE", f"/products/{second['itemId']}"))
    async with shop.owner.reading() as db:
        left = await db.values("SELECT on_hand FROM stock_balance WHERE NOT closed OR on_hand <> 0")
        booked = await db.values("SELECT quantity::int FROM stock_movement WHERE reason = 'product removed'")
        assert (left, sorted(booked)) == ([], [-5, -3, -3])
        assert await db.values("SELECT * FROM stock_faults()") == []


async def claim(shop: Shop, product_ids: list[UUID], change: Decimal) -> None:
    """What an order does: it reserves of each balance, or gives it free again."""
    async with shop.owner.transaction() as db:
        variant_ids = await db.values(
            "SELECT variant_id FROM stock_balance WHERE product_id = ANY(:ids::uuid[]) AND NOT closed",
            ids=product_ids,
        )
        kind: Kind = "reserved" if change > 0 else "released"
        lines = [
            Move(store_id=shop.store_id, variant_id=one, kind=kind, state="reserved", change=change)
            for one in variant_ids
        ]
        await move_stock(shop.owner, db, lines)
