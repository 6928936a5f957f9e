"""Products with variants over the StoreHarmony API: made and read."""

from typing import Any
from uuid import uuid4

import pytest

from kasuwa.domain.permissions import Role
from tests.api.variant_calls import (
    SIZE_M,
    SIZES,
    make,
    make_simple,
    post,
    read,
    remove,
    session,
    size,
    stock,
)
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop


async def test_a_product_with_variants_is_made_and_read_back(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    medium, large = item["variants"]
    assert (item["type"], item["quantity"], item["options"]) == ("variant", 8, SIZES)
    assert (medium["sku"], medium["name"], medium["quantity"], medium["prices"]["sellingPrice"]) == (
        "ANK-M",
        "M",
        5,
        9000,
    )
    assert (large["prices"]["sellingPrice"], large["options"]) == (9500, [{"name": "Size", "value": "L"}])
    assert await read(web, shop, item) == item


async def test_every_field_of_a_variant_comes_back_as_it_was_sent(web: Web, shop: Shop) -> None:
    options = [{"name": "Size", "values": ["M", "L"]}, {"name": "Colour", "values": ["Red", "Blue"]}]
    chosen = [{"name": "Colour", "value": "Blue"}, {"name": "Size", "value": "L"}]
    fields: dict[str, Any] = {
        "sku": "ANK-L-B",
        "barcode": "6001234567890",
        "active": False,
        "reorderLevel": 2.5,
        "quantity": 4,
    }
    prices = {"sellingPrice": 9500, "costPrice": 7000, "wholesalePrice": 8000, "wholesaleMinQuantity": 10}
    other = {"storeId": str(shop.second_store_id), "quantity": 2.125, "reorderLevel": 3}
    sent = fields | {"options": chosen, "prices": prices, "locationQuantities": [other]}
    item = await make(
        web,
        shop,
        options=options,
        variants=[sent],
        sku="ANK",
        barcode="77",
        unit="yard",
        reorderLevel=9,
        reorderQuantity=12,
    )
    (variant,) = item["variants"]
    assert {name: variant[name] for name in fields} == fields
    assert variant["prices"].items() >= prices.items()
    # In the order of the product's options, whatever order they came in.
    assert variant["options"] == chosen[::-1]
    assert (variant["name"], item["options"]) == ("L / Blue", options)
    assert {at["storeId"]: (at["quantity"], at["reorderLevel"]) for at in variant["locations"]} == {
        str(shop.store_id): (4, 2.5),
        str(shop.second_store_id): (2.125, 3),
    }
    assert (item["sku"], item["barcode"], item["reorderLevel"], item["reorderQuantity"]) == (
        "ANK",
        "77",
        9,
        12,
    )


async def test_opening_stock_is_one_movement_for_each_variant_and_location(web: Web, shop: Shop) -> None:
    there = {"storeId": str(shop.second_store_id), "quantity": 2}
    nothing = there | {"quantity": 0}
    variants = [
        size("M", quantity=5, locationQuantities=[there]),
        size("L", quantity=0, locationQuantities=[nothing]),
    ]
    item = await make(web, shop, variants=variants)
    medium = item["variants"][0]["variantId"]
    async with shop.owner.reading() as db:
        moved: list[dict[str, Any]] = await db.all(
            "SELECT variant_id::text, store_id::text, after FROM stock_movement ORDER BY after", into=dict
        )
    assert [(row["variant_id"], row["store_id"], row["after"]) for row in moved] == [
        (medium, str(shop.second_store_id), 2),
        (medium, str(shop.store_id), 5),
    ]
    assert {at["storeId"]: at["quantity"] for at in item["locations"]} == {
        str(shop.store_id): 5,
        str(shop.second_store_id): 2,
    }


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"options": []}, "/options"),
        ({"options": [{"name": f"o{n}", "values": ["a"]} for n in range(4)]}, "/options"),
        ({"options": SIZES * 2}, "/options/1/name"),
        ({"options": [{"name": " ", "values": ["M", "L"]}]}, "/options/0/name"),
        ({"options": [{"name": "Size", "values": ["M", "M", "L"]}]}, "/options/0/values"),
        ({"options": [{"name": "Size", "values": [f"{n}" for n in range(61)]}]}, "/options/0/values"),
        ({"options": [*SIZES, {"name": "Colour", "values": ["Red"]}]}, "/variants/0/options"),
        ({"variants": []}, "/variants"),
        ({"variants": [size("M")] * 201}, "/variants"),
        ({"variants": [size("M"), size("M")]}, "/variants/1/options"),
        ({"variants": [size("XL")]}, "/variants/0/options/0/value"),
        ({"variants": [size("m")]}, "/variants/0/options/0/value"),
        ({"variants": [{"options": []}]}, "/variants/0/options"),
        ({"variants": [{"sku": "A"}]}, "/variants/0/options"),
        ({"variants": [{"options": [{"name": "Colour", "value": "M"}]}]}, "/variants/0/options/0/name"),
        ({"variants": [{"options": [*SIZE_M, *SIZE_M]}]}, "/variants/0/options/1/name"),
        ({"variants": [size("M", sku="A"), size("L", sku="a")]}, "/variants/1/sku"),
        ({"sku": "A", "variants": [size("M", sku="a")]}, "/variants/0/sku"),
        ({"variants": [size("M", barcode="1"), size("L", barcode="1")]}, "/variants/1/barcode"),
        ({"variants": [size("M", imagePosition=1)]}, "/variants/0/imagePosition"),
        ({"variants": [size("M"), size("L", quantity=1.0005)]}, "/variants/1/quantity"),
        ({"variants": [size("M", quantity=-1)]}, "/variants/0/quantity"),
        ({"variants": [size("M", reorderLevel=1.0005)]}, "/variants/0/reorderLevel"),
        ({"variants": [size("M", prices={"sellingPrice": 1.001})]}, "/variants/0/prices/sellingPrice"),
        ({"variants": [size("M", prices={"sellingPrice": 10**12 + 1})]}, "/variants/0/prices/sellingPrice"),
        (
            {"variants": [size("M", prices={"sellingPrice": 9, "promoPrice": 9})]},
            "/variants/0/prices/promoPrice",
        ),
        (
            {"variants": [size("M"), size("L", locationQuantities=[{"storeId": "x", "quantity": 1}])]},
            "/variants/1/locationQuantities/0/storeId",
        ),
        (
            {"variants": [size("M", locationQuantities=[{"storeId": str(uuid4()), "quantity": 1}])]},
            "/variants/0/locationQuantities",
        ),
        ({"categoryIds": [str(uuid4())]}, "/categoryIds"),
        ({"prices": {"sellingPrice": 10.005}}, "/prices/sellingPrice"),
        ({"variants": [size("M", name="Mine")]}, "/variants/0"),
        ({"quantity": 3}, ""),
    ],
)
async def test_a_wrong_value_is_named_and_nothing_is_made(
    web: Web, shop: Shop, fields: dict[str, Any], pointer: str
) -> None:
    body = {
        "name": "Shirt",
        "prices": {"sellingPrice": 9000},
        "options": SIZES,
        "variants": [size("M"), size("L")],
    }
    answer = await post(web, shop, "/createwithvariants", body | fields)
    assert answer.status_code in (400, 422), answer.text
    faults = answer.json()["errors"]
    assert any(fault["pointer"].startswith(pointer) for fault in faults), answer.text
    await expect_nothing(web, shop)


async def expect_nothing(web: Web, shop: Shop) -> None:
    page = await web.get(stock(shop), headers=session(shop))
    assert page.json()["totalElements"] == 0
    async with shop.owner.reading() as db:
        for table in ("product", "variant", "price", "stock_balance", "stock_movement"):
            assert await db.value(f"SELECT count(*) FROM {table}") == 0, table


async def test_every_fault_of_a_body_is_named_at_once(web: Web, shop: Shop) -> None:
    body = {
        "name": "Shirt",
        "prices": {"sellingPrice": 9000},
        "options": [*SIZES, *SIZES],
        "variants": [size("XL", sku="a"), size("M", sku="A", imagePosition=3)],
    }
    answer = await post(web, shop, "/createwithvariants", body)
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {
        "/options/1/name",
        "/variants/0/options/0/value",
        "/variants/1/sku",
        "/variants/1/imagePosition",
    }


@pytest.mark.parametrize(("field", "code"), [("sku", "One"), ("barcode", "111")])
async def test_a_code_that_something_else_has_is_a_conflict_that_names_it(
    web: Web, shop: Shop, field: str, code: str
) -> None:
    await make(web, shop, variants=[size("M", sku="ONE", barcode="111")])
    body = {
        "name": "Other",
        "prices": {"sellingPrice": 5},
        "options": SIZES,
        "variants": [size("M"), size("L", **{field: code})],
    }
    answer = await post(web, shop, "/createwithvariants", body)
    assert answer.status_code == 409
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [f"/variants/1/{field}"]
    own = await post(web, shop, "/createwithvariants", body | {"variants": [size("M")], field: code})
    assert own.status_code == 409
    assert [fault["pointer"] for fault in own.json()["errors"]] == [f"/{field}"]
    page = await web.get(stock(shop), headers=session(shop))
    assert page.json()["totalElements"] == 1


async def test_the_most_that_may_be_is_made_and_one_more_is_refused(web: Web, shop: Shop) -> None:
    options = [
        {"name": name, "values": [f"{name} {n}" for n in range(60)]} for name in ("Size", "Colour", "Cut")
    ]

    def variant(number: int) -> dict[str, Any]:
        places = (number % 60, number // 60, 0)
        return {
            "options": [
                {"name": option["name"], "value": option["values"][place]}
                for option, place in zip(options, places, strict=True)
            ]
        }

    item = await make(web, shop, options=options, variants=[variant(n) for n in range(200)])
    assert len({one["sku"] for one in item["variants"]} | {item["sku"]}) == 201
    assert [one["name"] for one in item["variants"]][61] == "Size 1 / Colour 1 / Cut 0"
    more = await post(web, shop, f"/{item['itemId']}/variants", {"variants": [variant(200)]})
    assert (more.status_code, more.json()["errors"][0]["pointer"]) == (422, "/variants")
    body = {
        "options": [{"name": "Size", "values": ["Size 60"]}],
        "variants": [variant(201)],
    }
    widened = await post(web, shop, f"/{item['itemId']}/addvariants", body)
    assert {"/variants", "/options/0/values"} <= {fault["pointer"] for fault in widened.json()["errors"]}
    assert await read(web, shop, item) == item


# Reads ---------------------------------------------------------------------------------------------


async def test_item_list_and_sku_say_the_same(web: Web, shop: Shop) -> None:
    item = await make(web, shop, sku="ANK")
    medium, large = (variant["variantId"] for variant in item["variants"])
    listed = (await web.get(stock(shop), headers=session(shop))).json()["data"]
    assert listed == [item]
    for sku, matched in (("ank", None), ("ank-m", medium), ("ANK-L", large)):
        found = await web.get(stock(shop, "/findbysku"), params={"sku": sku}, headers=session(shop))
        assert found.json() == item | {"matchedVariantId": matched}


async def test_the_variants_are_paged_in_their_order(web: Web, shop: Shop) -> None:
    values = [f"{n}" for n in range(7)]
    item = await make(
        web, shop, options=[{"name": "Size", "values": values}], variants=[size(value) for value in values]
    )

    async def page(**query: Any) -> dict[str, Any]:
        answer = await web.get(
            stock(shop, f"/{item['itemId']}/variants"), params=query, headers=session(shop)
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    assert (await page())["data"] == item["variants"]
    walked, cursor = [], None
    while True:
        one = await page(size=3, **({"cursor": cursor} if cursor else {}))
        assert (one["totalElements"], one["totalPages"], one["itemId"], one["options"]) == (
            7,
            3,
            item["itemId"],
            item["options"],
        )
        walked += one["data"]
        cursor = one["nextCursor"]
        if cursor is None:
            break
    assert walked == item["variants"]
    assert (await page(size=3, page=3))["data"] == item["variants"][6:]
    assert (await page(size=200, page=2**31 - 1))["data"] == []


async def test_a_cursor_goes_on_where_it_was_although_variants_went(web: Web, shop: Shop) -> None:
    values = [f"{n}" for n in range(5)]
    item = await make(
        web, shop, options=[{"name": "Size", "values": values}], variants=[size(value) for value in values]
    )
    address = stock(shop, f"/{item['itemId']}/variants")
    first = (await web.get(address, params={"size": 2}, headers=session(shop))).json()
    gone = [variant["variantId"] for variant in item["variants"][:2]]
    assert (await remove(web, shop, item, variantIds=gone)).status_code == 200
    query = {"size": 2, "cursor": first["nextCursor"]}
    second = (await web.get(address, params=query, headers=session(shop))).json()
    assert [variant["name"] for variant in second["data"]] == ["2", "3"]


@pytest.mark.parametrize("cursor", ["x", "-1", "0", "1e3", "9" * 20, "١"])
async def test_a_forged_cursor_is_refused(web: Web, shop: Shop, cursor: str) -> None:
    item = await make(web, shop)
    answer = await web.get(
        stock(shop, f"/{item['itemId']}/variants"), params={"cursor": cursor}, headers=session(shop)
    )
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "#/query/cursor"


async def test_a_simple_product_has_no_variants_to_list(web: Web, shop: Shop) -> None:
    item = await make_simple(web, shop)
    page = await web.get(stock(shop, f"/{item['itemId']}/variants"), headers=session(shop))
    assert (page.json()["data"], page.json()["options"], page.json()["totalElements"]) == ([], [], 0)
    for unknown in (str(uuid4()), "x"):
        missing = await web.get(stock(shop, f"/{unknown}/variants"), headers=session(shop))
        assert missing.status_code == 404


async def test_low_stock_is_that_of_the_product_or_of_one_variant(web: Web, shop: Shop) -> None:
    def variants(quantity: int, level: int) -> list[dict[str, Any]]:
        return [size("M", quantity=quantity, reorderLevel=level), size("L", quantity=50)]

    low = await make(web, shop, name="One variant", variants=variants(2, 2))
    fine = await make(web, shop, name="Neither", variants=variants(3, 2), reorderLevel=52)
    whole = await make(web, shop, name="Whole", variants=variants(2, 1), reorderLevel=52)
    unsaid = await make(web, shop, name="Unsaid", variants=[size("M", quantity=0)])
    assert [one["lowStock"] for one in (low, fine, whole, unsaid)] == [True, False, True, False]
    for wanted, items in ((True, [low, whole]), (False, [fine, unsaid])):
        page = await web.get(stock(shop), params={"lowstock": str(wanted).lower()}, headers=session(shop))
        assert [one["itemId"] for one in page.json()["data"]] == [one["itemId"] for one in items]


async def test_who_may_not_see_costs_is_not_told_those_of_variants(web: Web, shop: Shop) -> None:
    item = await make(web, shop, variants=[size("M", prices={"sellingPrice": 9, "costPrice": 7})])
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    for path in ("", f"/{item['itemId']}", f"/{item['itemId']}/variants"):
        answer = await web.get(stock(shop, path), headers={"sessiontoken": staff.session})
        assert '"costPrice":null' in answer.text
        assert '"costPrice":7' not in answer.text
    refused = await web.post(
        stock(shop, f"/{item['itemId']}/variants"),
        headers={"sessiontoken": staff.session},
        json={"variants": [size("L")]},
    )
    assert refused.status_code == 403
