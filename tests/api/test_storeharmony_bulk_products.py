"""createBulkProducts: each row its own result, or all or nothing."""

from typing import Any
from uuid import uuid4

import httpx

from kasuwa.base.context import Context
from kasuwa.domain.catalogue.cards import card_faults
from tests.client import Web
from tests.shop import Shop

Json = dict[str, Any]


def item(sku: str, **fields: Any) -> Json:
    return {"name": f"Malt {sku}", "sku": sku, "prices": {"sellingPrice": 500, "costPrice": 350}} | fields


def shirt(**fields: Any) -> Json:
    variants = [
        {"sku": f"SHIRT-{size}", "options": [{"name": "Size", "value": size}], "quantity": 4}
        for size in ("S", "M")
    ]
    options = [{"name": "Size", "values": ["S", "M"]}]
    return {
        "name": "Shirt",
        "prices": {"sellingPrice": 900},
        "options": options,
        "variants": variants,
    } | fields


async def post(web: Web, shop: Shop, items: list[Json], **options: Any) -> httpx.Response:
    return await web.post(
        f"/cloudapi/app/{shop.store_id}/stock/createbulk",
        headers={"sessiontoken": shop.session},
        json={"items": items} | options,
    )


async def write(web: Web, shop: Shop, items: list[Json], **options: Any) -> Json:
    response = await post(web, shop, items, **options)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


async def read(web: Web, shop: Shop, item_id: str) -> Json:
    path = f"/cloudapi/app/{shop.store_id}/stock/{item_id}"
    answer: Json = (await web.get(path, headers={"sessiontoken": shop.session})).json()
    return answer


def statuses(answer: Json) -> list[str]:
    return [row["status"] for row in answer["rows"]]


async def faults(context: Context) -> list[str]:
    async with context.reading() as db:
        ids = await db.values("SELECT product_id FROM product")
        return await db.values("SELECT fault FROM stock_faults()") + await card_faults(db, ids)


async def test_products_are_as_if_each_had_been_created_alone(web: Web, shop: Shop) -> None:
    elsewhere = [{"storeId": str(shop.second_store_id), "quantity": 2.5, "reorderLevel": 1}]
    whole = item(
        "M-1",
        unit="kg",
        description="Cold",
        brand="Nkwobi",
        tags=["drink", 'a "quoted" \\ one', "x,y"],
        tax={"taxable": True, "taxRate": 7.5},
        quantity=48,
        reorderLevel=12,
        locationQuantities=elsewhere,
        weightGrams=330,
        expiryDate="2027-01-31",
        barcode="6001234567890",
    )
    answer = await write(web, shop, [whole, shirt(), item("M-3")])
    assert (answer["total"], answer["created"], answer["failed"]) == (3, 3, 0)
    many = await read(web, shop, answer["rows"][0]["itemId"])
    single = await web.post(
        f"/cloudapi/app/{shop.store_id}/stock",
        headers={"sessiontoken": shop.session},
        json=whole | {"sku": "M-2", "barcode": None},
    )
    assert single.status_code in (200, 201), single.text
    own = ("itemId", "sku", "barcode", "createdAt", "updatedAt")
    assert {k: v for k, v in many.items() if k not in own} == {
        k: v for k, v in single.json().items() if k not in own
    }
    varied = await read(web, shop, answer["rows"][1]["itemId"])
    assert [(v["sku"], v["name"], v["quantity"]) for v in varied["variants"]] == [
        ("SHIRT-S", "S", 4),
        ("SHIRT-M", "M", 4),
    ]
    assert await faults(shop.owner) == []


async def test_each_row_has_its_own_result(web: Web, shop: Shop) -> None:
    await write(web, shop, [item("TAKEN", barcode="111")])
    answer = await write(
        web,
        shop,
        [
            item("NEW"),
            item("taken"),
            item("new"),
            item("B", barcode="111"),
            item("C", categoryIds=[str(uuid4())]),
            item("D", prices={"sellingPrice": 5, "promoPrice": 6}),
            item("E", locationQuantities=[{"storeId": str(uuid4()), "quantity": 1}]),
            item("F", quantity=1.2345),
        ],
    )
    assert statuses(answer) == ["created"] + ["failed"] * 7
    assert [row["errors"][0].get("field") for row in answer["rows"][1:]] == [
        "sku",
        "sku",
        "barcode",
        "categoryIds.0",
        "prices.promoPrice",
        "locationQuantities",
        "quantity",
    ]
    assert all(row["errors"][0]["message"] for row in answer["rows"][1:])


async def test_atomic_writes_all_or_nothing(web: Web, shop: Shop) -> None:
    answer = await write(web, shop, [item("A"), item("a"), item("B")], atomic=True)
    assert statuses(answer) == ["skipped", "failed", "skipped"]
    assert answer["created"] == 0
    assert answer["rows"][0]["errors"] == [{"message": "Nothing was written, because another row failed."}]
    assert (await write(web, shop, [item("A"), item("B")], atomic=True))["created"] == 2


async def test_a_duplicate_is_skipped_or_updated_as_asked(web: Web, shop: Shop) -> None:
    first = await write(web, shop, [item("A", quantity=5, brand="Old"), shirt()])
    skipped = await write(web, shop, [item("a", name="Other")], onDuplicateSku="skip")
    assert statuses(skipped) == ["skipped"]
    assert skipped["rows"][0]["itemId"] == first["rows"][0]["itemId"]
    change = {"name": "New malt", "sku": "A", "prices": {"sellingPrice": 550}, "quantity": 99}
    larger = shirt(
        options=[{"name": "Size", "values": ["S", "M", "L"]}],
        variants=[{"sku": "SHIRT-L", "options": [{"name": "Size", "value": "L"}], "quantity": 1}]
        + shirt()["variants"],
    )
    updated = await write(web, shop, [change, larger, item("B")], onDuplicateSku="update")
    assert statuses(updated) == ["updated", "updated", "created"]
    now = await read(web, shop, first["rows"][0]["itemId"])
    # What the row does not say stays, and stock is no business of an update.
    assert (now["name"], now["brand"], now["quantity"], now["version"]) == ("New malt", "Old", 5, 2)
    assert (now["prices"]["sellingPrice"], now["prices"]["costPrice"]) == (550, 350)
    sizes = (await read(web, shop, first["rows"][1]["itemId"]))["variants"]
    assert [v["sku"] for v in sizes] == ["SHIRT-S", "SHIRT-M", "SHIRT-L"]
    again = await write(web, shop, [change, larger], onDuplicateSku="update")
    assert statuses(again) == ["skipped", "skipped"]
    assert await faults(shop.owner) == []


async def test_another_shop_s_sku_category_and_store_are_unknown(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    await write(web, other_shop, [item("A")])
    foreign = [{"storeId": str(other_shop.store_id), "quantity": 1}]
    answer = await write(web, shop, [item("A"), item("B", locationQuantities=foreign)])
    assert statuses(answer) == ["created", "failed"]


async def test_five_hundred_rows_are_the_most(web: Web, shop: Shop) -> None:
    response = await post(web, shop, [item(f"S-{n}") for n in range(501)])
    assert response.status_code == 422
    answer = await write(web, shop, [item(f"S-{n}", quantity=n) for n in range(500)])
    assert answer["created"] == 500
    page = await web.get(
        f"/cloudapi/app/{shop.store_id}/stock?size=1", headers={"sessiontoken": shop.session}
    )
    assert page.json()["totalElements"] == 500


async def test_variants_are_told_apart(web: Web, shop: Shop) -> None:
    twice = [{"options": [{"name": "Size", "value": "S"}]} for _ in range(2)]
    other = [{"options": [{"name": n, "value": "S"}]} for n in ("Size", "Cut")]
    answer = await write(web, shop, [shirt(variants=twice), shirt(variants=other)])
    fields = [row["errors"][0]["field"] for row in answer["rows"]]
    assert fields == ["variants.1.options", "variants.1.options.0.name"]


async def test_a_call_that_is_sent_twice_makes_its_products_once(web: Web, shop: Shop) -> None:
    headers = {"sessiontoken": shop.session, "Idempotency-Key": uuid4().hex}
    path = f"/cloudapi/app/{shop.store_id}/stock/createbulk"
    body = {"items": [item("A"), shirt(), item("a")]}
    first = await web.post(path, headers=headers, json=body)
    again = await web.post(path, headers=headers, json=body)
    assert statuses(first.json()) == ["created", "created", "failed"]
    assert again.content == first.content
    assert await faults(shop.owner) == []


async def test_a_part_of_a_whole_unit_is_no_first_stock_wherever_it_is_given(web: Web, shop: Shop) -> None:
    made = await write(web, shop, [shirt(sku="SHIRT")])
    path = f"/cloudapi/app/{shop.store_id}/stock"
    headers = {"sessiontoken": shop.session}
    large = {"sku": "SHIRT-L", "options": [{"name": "Size", "value": "L"}], "quantity": 1.5}
    wide = {"options": [{"name": "Size", "values": ["S", "M", "L"]}]}
    alone = {"name": "Tie", "prices": {"sellingPrice": 1}}
    elsewhere = [{"storeId": str(shop.second_store_id), "quantity": 1.5}]
    variants = [{**large, "sku": "CAP-L"}]
    for answer in (
        await web.post(path, headers=headers, json=alone | {"quantity": 1.5}),
        await web.post(path, headers=headers, json=alone | {"locationQuantities": elsewhere}),
        await web.post(
            f"{path}/createwithvariants", headers=headers, json=alone | wide | {"variants": variants}
        ),
        await web.post(
            f"{path}/{made['rows'][0]['itemId']}/addvariants",
            headers=headers,
            json=wide | {"variants": [large]},
        ),
    ):
        assert answer.status_code == 422, answer.text
        assert [error["pointer"].rpartition("/")[2] for error in answer.json()["errors"]] == ["quantity"]
    for items, options in (
        ([item("A", quantity=1.5)], {}),
        ([item("A", locationQuantities=elsewhere)], {}),
        ([shirt(sku="CAP", **wide, variants=variants)], {}),
        ([shirt(sku="SHIRT", **wide, variants=[large])], {"onDuplicateSku": "update"}),
    ):
        (row,) = (await write(web, shop, items, **options))["rows"]
        assert row["status"] == "failed"
        assert [error["field"].rpartition(".")[2] for error in row["errors"]] == ["quantity"]
    assert await faults(shop.owner) == []


async def test_first_stock_that_cost_more_than_may_lie_at_a_location_is_a_rows_own_fault(
    web: Web, shop: Shop
) -> None:
    dear = {"sellingPrice": 1, "costPrice": 10**9}
    elsewhere = [{"storeId": str(shop.second_store_id), "quantity": 1001}]
    answer = await write(
        web,
        shop,
        [
            item("MOST", prices=dear, quantity=1000),
            item("HERE", prices=dear, quantity=1001),
            item("THERE", prices=dear, locationQuantities=elsewhere),
        ],
    )
    assert statuses(answer) == ["created", "failed", "failed"]
    for row in answer["rows"][1:]:
        (error,) = row["errors"]
        assert error["field"].rpartition(".")[2] == "quantity"
        assert "1000000000000" in error["message"]
    assert (await read(web, shop, answer["rows"][0]["itemId"]))["quantity"] == 1000
    assert await faults(shop.owner) == []
