"""Cases B32 to B34, and products made, read, changed and removed."""

import asyncio
from typing import Any

import pytest

from tests.api.bigcommerce_calls import BigCommerceCalls, check_error
from tests.api.picture_server import PictureServer
from tests.conftest import picture_bytes
from tests.shop import Shop

PRODUCTS = "/catalog/products"
NEW = {"name": "Fan", "type": "physical", "weight": 1.25, "price": 500}


async def test_b32_what_cannot_be_fetched_is_named_and_the_rest_is_saved(
    bc: BigCommerceCalls, pictures: PictureServer
) -> None:
    images = [
        {"image_url": pictures.good(1), "description": "Front"},
        {"image_url": pictures.url("/missing")},
        {"image_url": pictures.url("/page.html")},
        {"image_url": pictures.good(2), "is_thumbnail": True},
    ]
    answer = await bc.post(PRODUCTS, NEW | {"images": images})
    assert answer.status_code == 207
    body = answer.json()
    (product,) = body["data"]
    assert [image["description"] for image in product["images"]] == ["Front", ""]
    assert [image["is_thumbnail"] for image in product["images"]] == [False, True]
    errors = body["errors"]
    assert set(errors) == {"status", "title", "type", "errors"}
    assert set(errors["errors"]) == {"images.1.image_url", "images.2.image_url"}
    assert "could not be downloaded and may be invalid" in errors["errors"]["images.1.image_url"]
    assert "may not be valid image" in errors["errors"]["images.2.image_url"]
    assert body["meta"]["pagination"]["total"] == 1
    assert await bc.images(product["id"]) == product["images"]


async def test_b32_images_that_all_come_are_a_200(bc: BigCommerceCalls, pictures: PictureServer) -> None:
    images = [{"image_url": pictures.good(seed), "sort_order": 9 - seed} for seed in range(9)]
    answer = await bc.post(PRODUCTS, NEW | {"images": images})
    assert answer.status_code == 200, answer.text
    assert "errors" not in answer.json()
    assert [image["sort_order"] for image in answer.json()["data"]["images"]] == list(range(1, 10))


async def test_b32_nothing_is_fetched_for_a_product_that_is_refused(
    bc: BigCommerceCalls, pictures: PictureServer
) -> None:
    asked = len(pictures.asked)
    for images in ([{"description": "x"}], [{"image_url": "ftp://h/a.png"}], [{"image_url": "x" * 256}]):
        body = check_error(await bc.post(PRODUCTS, NEW | {"images": images}), 422)
        assert list(body["errors"]) == ["images.0.image_url"]
    assert len(pictures.asked) == asked
    assert (await bc.get(PRODUCTS)).json()["data"] == []


async def test_b33_images_and_the_primary_image_come_when_asked_for(
    bc: BigCommerceCalls, product: int
) -> None:
    path = f"{PRODUCTS}/{product}"
    empty = (await bc.get(f"{path}?include=images,primary_image")).json()["data"]
    assert (empty["images"], empty["primary_image"]) == ([], None)
    for seed in range(3):
        await bc.upload(product, picture_bytes("PNG", seed=seed), is_thumbnail=str(seed == 1))
    plain = (await bc.get(path)).json()["data"]
    assert "images" not in plain
    full = (await bc.get(f"{path}?include=images,primary_image")).json()["data"]
    assert full["images"] == await bc.images(product)
    assert full["primary_image"] == full["images"][1]
    listed = (await bc.get(f"{PRODUCTS}?include=images,primary_image")).json()["data"]
    assert listed == [full]
    chosen = (await bc.get(f"{path}?include=images&include_fields=images,name")).json()["data"]
    assert set(chosen) == {"id", "images", "name"}
    check_error(await bc.get(f"{path}?include=everything"), 422)


async def test_b34_too_many_in_a_batch_and_a_removal_without_a_filter(
    bc: BigCommerceCalls, product: int
) -> None:
    body = check_error(await bc.put(PRODUCTS, [{"id": product, "name": f"N{n}"} for n in range(11)]), 413)
    assert body["title"] == (
        "The request payload is too large. The maximum items allowed in the array is 10."
    )
    assert body["errors"] == {}
    for query in ("", "?id:in=", "?price=5", "?is_visible=true&price=5", "?is_visible=maybe"):
        check_error(await bc.delete(PRODUCTS + query), 422)
    assert (await bc.get(f"{PRODUCTS}/{product}")).status_code == 200


async def test_a_product_is_made_with_everything_that_is_documented(bc: BigCommerceCalls) -> None:
    body: dict[str, Any] = {
        "name": "Kettle",
        "type": "digital",
        "sku": "KET-1",
        "description": "<b>Boils</b>",
        "weight": "0.75",
        "width": 12.5,
        "price": "19.99",
        "cost_price": 8,
        "retail_price": "25.5",
        "sale_price": "15",
        "map_price": 1.1,
        "inventory_level": 7,
        "inventory_warning_level": 2,
        "inventory_tracking": "product",
        "is_visible": False,
        "is_featured": True,
        "upc": "012345678905",
        "mpn": "M-1",
        "search_keywords": "tea,water",
        "availability": "preorder",
        "sort_order": -4,
        "condition": "Used",
        "page_title": "Kettle!",
        "meta_keywords": ["a", "b"],
        "brand_id": 3,
        "brand_name": "Boilo",
        "tax_class_id": 1,
        "warranty": "Two years",
        "custom_url": {"url": "/kettle/", "is_customized": True},
        "preorder_release_date": "2027-01-02T03:04:05+00:00",
        "gift_wrapping_options_type": "list",
        "gift_wrapping_options_list": [1, 2],
        "related_products": [5],
        "open_graph_use_image": False,
        "no_such_field": "is ignored",
    }
    made = await bc.post(PRODUCTS, body)
    assert made.status_code == 200, made.text
    product = made.json()["data"]
    numbers = {"weight": 0.75, "price": 19.99, "retail_price": 25.5, "sale_price": 15}
    expected = {name: value for name, value in body.items() if name != "no_such_field"} | numbers
    shown = {name: product[name] for name in expected}
    shown["preorder_release_date"] = shown["preorder_release_date"].replace("Z", "+00:00")
    assert shown == expected
    assert product["calculated_price"] == 15
    assert (await bc.get(f"{PRODUCTS}/{product['id']}")).json()["data"] == product
    (listed,) = (await bc.get(PRODUCTS)).json()["data"]
    assert listed == product


async def test_a_product_needs_name_type_weight_and_price(bc: BigCommerceCalls) -> None:
    for name in NEW:
        body = check_error(await bc.post(PRODUCTS, {k: v for k, v in NEW.items() if k != name}), 422)
        assert list(body["errors"]) == [name]
    for field, value in (
        ("name", ""),
        ("name", "x" * 251),
        ("type", "other"),
        ("price", -1),
        ("price", "cheap"),
        ("price", 1.999),
        ("price", 10**13),
        ("weight", True),
        ("sale_price", 600),
        ("categories", [77]),
        ("inventory_level", -1),
    ):
        body = check_error(await bc.post(PRODUCTS, NEW | {field: value}), 422)
        assert all(name.split(".")[0] == field for name in body["errors"]), (field, value)
    check_error(await bc.post(PRODUCTS, content=b"{", headers={"content-type": "application/json"}), 400)
    assert (await bc.get(PRODUCTS)).json()["data"] == []


async def test_more_than_may_have_been_paid_for_is_refused_in_the_field_that_says_so(
    bc: BigCommerceCalls,
) -> None:
    dear = NEW | {"cost_price": 1_000_000_000}
    too_many = {"inventory_level": 2_000_000_000}
    assert list(check_error(await bc.post(PRODUCTS, dear | too_many), 422)["errors"]) == ["inventory_level"]
    made = (await bc.post(PRODUCTS, dear | {"inventory_level": 1})).json()["data"]
    body = check_error(await bc.put(f"{PRODUCTS}/{made['id']}", too_many), 422)
    assert list(body["errors"]) == ["inventory_level"]
    batch = await bc.put(PRODUCTS, [{"id": made["id"], **too_many}])
    assert list(check_error(batch, 422)["errors"]) == ["0.inventory_level"]


async def test_names_skus_and_codes_are_taken_once(bc: BigCommerceCalls) -> None:
    first = (await bc.post(PRODUCTS, NEW | {"sku": "F-1", "upc": "123"})).json()["data"]
    for change, field in (
        ({"sku": "other"}, "name"),
        ({"name": "Other", "sku": "f-1"}, "sku"),
        ({"name": "Other", "upc": "123"}, "upc"),
    ):
        body = check_error(await bc.post(PRODUCTS, NEW | change), 409)
        assert list(body["errors"]) == [field]
    second = (await bc.post(PRODUCTS, NEW | {"name": "Second"})).json()["data"]
    assert list(check_error(await bc.put(f"{PRODUCTS}/{second['id']}", {"name": "Fan"}), 409)["errors"]) == [
        "name"
    ]
    # Its own name is no clash.
    same = await bc.put(f"{PRODUCTS}/{first['id']}", {"name": "Fan", "sku": "F-1", "upc": "123"})
    assert same.status_code == 200
    racing = [bc.post(PRODUCTS, NEW | {"name": "Race"}) for _ in range(5)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*racing))
    assert statuses == [200, 409, 409, 409, 409]


async def test_a_change_touches_only_what_was_sent(bc: BigCommerceCalls, pictures: PictureServer) -> None:
    before = (
        await bc.post(PRODUCTS, NEW | {"sku": "F-1", "warranty": "One year", "sale_price": 450})
    ).json()["data"]
    path = f"{PRODUCTS}/{before['id']}"
    answer = await bc.put(path, {"price": "600.5", "is_featured": True, "availability": "disabled"})
    after = answer.json()["data"]
    changed = {name for name in before if before[name] != after[name]} - {"date_modified"}
    assert changed == {"price", "is_featured", "availability"}
    assert (after["price"], after["is_featured"], after["availability"]) == (600.5, True, "disabled")
    back = await bc.put(
        path, {"price": 500, "is_featured": False, "availability": "available", "sale_price": 0}
    )
    assert {**back.json()["data"], "date_modified": ""} == {
        **before,
        "date_modified": "",
        "sale_price": 0,
        "calculated_price": 500,
    }
    check_error(await bc.put(path, content=b"{", headers={"content-type": "application/json"}), 422)
    check_error(await bc.put(f"{PRODUCTS}/{before['id']}", {"weight": -1}), 422)
    shown = await bc.put(
        path, {"images": [{"image_url": pictures.good()}, {"image_url": pictures.url("/missing")}]}
    )
    assert shown.status_code == 207
    (product,) = shown.json()["data"]
    (image,) = product["images"]
    renamed = await bc.put(path, {"images": [image | {"description": "Renamed"}]})
    assert renamed.json()["data"]["images"][0]["description"] == "Renamed"
    check_error(await bc.put(path, {"images": [{"id": 999, "description": "x"}]}), 404)


async def test_stock_is_that_of_the_tokens_store_and_booked(bc: BigCommerceCalls, shop: Shop) -> None:
    made = (await bc.post(PRODUCTS, NEW | {"inventory_level": 7})).json()["data"]
    assert (made["inventory_level"], made["inventory_tracking"]) == (7, "product")
    after = (await bc.put(f"{PRODUCTS}/{made['id']}", {"inventory_level": 3})).json()["data"]
    assert after["inventory_level"] == 3
    async with shop.owner.reading() as db:
        kinds = await db.values(
            "SELECT kind || ' ' || quantity::int FROM stock_movement"
            " WHERE merchant_id = current_merchant() ORDER BY seq"
        )
    assert kinds == ["opening 7", "set -4"]
    stock = f"/cloudapi/app/{shop.store_id}/stock"
    items = (await bc.web.get(stock, headers={"sessiontoken": shop.session})).json()["data"]
    assert [item["quantity"] for item in items] == [3]
    # A product that this store has not counted yet begins to be counted.
    uncounted = (await bc.post(PRODUCTS, NEW | {"name": "Uncounted"})).json()["data"]
    assert (uncounted["inventory_level"], uncounted["inventory_tracking"]) == (0, "none")
    counted = await bc.put(
        f"{PRODUCTS}/{uncounted['id']}", {"inventory_level": 5, "inventory_tracking": "product"}
    )
    assert counted.json()["data"]["inventory_level"] == 5


async def test_a_batch_saves_what_it_can_and_names_the_rest(bc: BigCommerceCalls) -> None:
    ids = [(await bc.new_product(name=name))["id"] for name in ("A", "B", "C")]
    changes = [
        {"id": ids[0], "price": 700, "inventory_level": 4},
        {"id": ids[1], "name": "A"},
        {"id": 999, "price": 1},
        {"id": ids[2], "price": "800"},
    ]
    answer = await bc.put(PRODUCTS, changes)
    assert answer.status_code == 207, answer.text
    body = answer.json()
    assert [(product["id"], product["price"]) for product in body["data"]] == [(ids[0], 700), (ids[2], 800)]
    assert set(body["errors"]["errors"]) == {"1.name", "2"}
    prices = {product["id"]: product["price"] for product in (await bc.get(PRODUCTS)).json()["data"]}
    assert prices == {ids[0]: 700, ids[1]: 500, ids[2]: 800}
    good = await bc.put(PRODUCTS, [{"id": number, "is_featured": True} for number in ids])
    assert (good.status_code, good.json()["meta"], len(good.json()["data"])) == (200, {}, 3)
    assert "errors" not in good.json()
    nothing = check_error(await bc.put(PRODUCTS, [{"id": 999}, {"id": ids[1], "name": "A"}]), 404)
    assert set(nothing["errors"]) == {"0", "1.name"}
    check_error(await bc.put(PRODUCTS, []), 422)
    assert list(check_error(await bc.put(PRODUCTS, [{"name": "x"}]), 422)["errors"]) == ["0.id"]


async def test_a_retried_batch_is_saved_in_part_once(bc: BigCommerceCalls) -> None:
    number = (await bc.new_product(name="A"))["id"]
    key = {"Idempotency-Key": "batch-of-products"}
    changes = [{"id": number, "inventory_level": 4}, {"id": 999, "price": 1}, {"id": number, "price": 700}]
    answers = [await bc.put(PRODUCTS, changes, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [207, 207]
    assert answers[0].content == answers[1].content
    product = (await bc.get(f"{PRODUCTS}/{number}")).json()["data"]
    assert (product["inventory_level"], product["price"]) == (4, 700)
    made = [await bc.post(PRODUCTS, NEW, headers={"Idempotency-Key": "a-new-product"}) for _ in range(2)]
    assert made[0].content == made[1].content
    async with bc.shop.owner.reading() as db:
        moved = await db.value("SELECT count(*) FROM stock_movement WHERE merchant_id = current_merchant()")
    assert moved == 1


async def test_products_are_removed_with_their_images(bc: BigCommerceCalls) -> None:
    ids = [(await bc.new_product(name=name))["id"] for name in ("A", "B", "C", "D")]
    await bc.upload(ids[0], picture_bytes("PNG"))
    answer = await bc.delete(f"{PRODUCTS}/{ids[0]}")
    assert (answer.status_code, answer.content) == (204, b"")
    check_error(await bc.delete(f"{PRODUCTS}/{ids[0]}"), 404)
    check_error(await bc.get(f"{PRODUCTS}/{ids[0]}/images"), 404)
    removed = await bc.delete(f"{PRODUCTS}?id:in={ids[1]},{ids[2]},999")
    assert (removed.status_code, removed.content) == (204, b"")
    assert [product["id"] for product in (await bc.get(PRODUCTS)).json()["data"]] == [ids[3]]
    too_many = ",".join(str(number) for number in range(1, 252))
    check_error(await bc.delete(f"{PRODUCTS}?id:in={too_many}"), 422)
    assert (await bc.delete(f"{PRODUCTS}?name=D&is_visible=false")).status_code == 204
    assert len((await bc.get(PRODUCTS)).json()["data"]) == 1
    assert (await bc.delete(f"{PRODUCTS}?name=D&is_visible=true")).status_code == 204
    assert (await bc.get(PRODUCTS)).json()["data"] == []
    # Its name is free again.
    assert (await bc.post(PRODUCTS, NEW | {"name": "D"})).status_code == 200


@pytest.mark.parametrize("weight", ["0.333", "9999999999", "0.0000001", "12"])
async def test_a_weight_comes_back_as_it_was_sent(bc: BigCommerceCalls, weight: str) -> None:
    product = (await bc.post(PRODUCTS, NEW | {"weight": weight})).json()["data"]
    assert product["weight"] == float(weight)
