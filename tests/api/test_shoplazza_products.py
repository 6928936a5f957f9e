"""Products of the Shoplazza API: made whole or not at all, listed by cursor, counted, deleted."""

import base64
from typing import Any
from uuid import UUID

import msgspec
import pytest

from kasuwa.domain.catalogue.queries import get_product
from tests.api.picture_server import PictureServer
from tests.api.shoplazza_calls import UNKNOWN, Shoplazza, new_product_id, positions
from tests.conftest import picture_bytes
from tests.shop import Shop

# More than may have been paid for at one location.
TOO_DEAR = {"inventory_quantity": 2_000_000_000, "cost_price": "1000000000"}
VARIANTS = [
    {
        "option1": "S",
        "option2": "Red",
        "price": "29.90",
        "compare_at_price": "39",
        "sku": "TS-S-R",
        "barcode": "5010001",
        "inventory_quantity": 5,
        "weight": "0.25",
        "weight_unit": "kg",
        "cost_price": "12.5",
    },
    {"option1": "M", "option2": "Red", "price": "31", "inventory_quantity": 7},
]
SHIRT: dict[str, Any] = {
    "title": "T-shirt",
    "has_only_default_variant": False,
    "need_variant_image": False,
    "brief": "Soft",
    "description": "<p>Soft cotton</p>",
    "published": True,
    "requires_shipping": False,
    "taxable": False,
    "tags": "cotton, summer",
    "vendor": "Aba Textiles",
    "vendor_url": "https://aba.example",
    "note": "fold twice",
    "handle": "t-shirt-2024",
    "spu": "SPU-1",
    "inventory_policy": "continue",
    "options": [{"name": "Size", "values": ["S", "M", "L"]}, {"name": "Colour", "values": ["Red"]}],
    "variants": VARIANTS,
}


async def make(slz: Shoplazza, **product: Any) -> dict[str, Any]:
    answer = await slz.call("POST", "/products", json={"product": product})
    made: dict[str, Any] = slz.data(answer)["product"]
    return made


def plain(title: str, price: str = "10", **more: Any) -> dict[str, Any]:
    return {"title": title, "has_only_default_variant": True, "variants": [{"price": price}], **more}


async def test_s19_a_product_is_made_with_its_images_in_order(
    slz: Shoplazza, pictures: PictureServer
) -> None:
    images = [
        {"src": pictures.url(), "alt": "Front"},
        {"src": pictures.url("/other.png"), "width": 9, "height": 9},
    ]
    made = await make(slz, **plain("Basket", images=images))
    assert positions(made["images"]) == [1, 2]
    assert [image["alt"] for image in made["images"]] == ["Front", ""]
    assert await slz.images(made["id"]) == made["images"]
    first = made["images"][0]
    assert made["image"] == {
        "src": first["src"],
        "path": first["src"].rpartition("/")[2],
        "width": 800,
        "height": 600,
        "alt": "Front",
    }


async def test_s19_an_image_that_cannot_be_had_refuses_the_whole_product(
    slz: Shoplazza, pictures: PictureServer
) -> None:
    images = [{"src": pictures.url()}, {"src": pictures.url("/missing")}, {"src": pictures.url("/page.html")}]
    answer = await slz.call("POST", "/products", json={"product": plain("Basket", images=images)})
    message = slz.message(answer, 422)
    assert "product.images.1.src" in message
    assert "product.images.2.src" in message
    assert "product.images.0" not in message
    assert await slz.get("/products/count") == {"count": 0}
    assert (await slz.get("/products"))["products"] == []


async def test_a_product_with_variants_is_given_back_as_it_was_sent(slz: Shoplazza) -> None:
    made = await make(slz, **SHIRT)
    returned = {name: made[name] for name in SHIRT if name not in ("options", "variants", "tags")}
    assert returned == {name: SHIRT[name] for name in returned}
    assert made["tags"] == "cotton,summer"
    assert [(o["name"], o["values"], o["position"]) for o in made["options"]] == [
        ("Size", ["S", "M", "L"], 1),
        ("Colour", ["Red"], 2),
    ]
    small, medium = made["variants"]
    assert {name: small[name] for name in VARIANTS[0]} == {
        **VARIANTS[0],
        "compare_at_price": "39.00",
        "cost_price": "12.50",
    }
    assert (small["title"], small["position"], medium["title"]) == ("S / Red", 1, "M / Red")
    assert (medium["price"], medium["inventory_quantity"], made["inventory_quantity"]) == ("31.00", 7, 12)
    assert await slz.get(f"/products/{made['id']}") == {"product": made}
    assert (await slz.get("/products"))["products"] == [made]


async def test_a_variant_shows_its_own_image(slz: Shoplazza, pictures: PictureServer) -> None:
    variants = [
        {**VARIANTS[0], "image": {"src": pictures.url("/other.png")}},
        {**VARIANTS[1], "image": {"src": pictures.url()}},
    ]
    wanted = {
        **SHIRT,
        "need_variant_image": True,
        "images": [{"src": pictures.url()}],
        "variants": variants,
    }
    made = await make(slz, **wanted)
    front, other = made["images"]
    assert (front["width"], other["width"]) == (800, 320)
    assert [variant["image_id"] for variant in made["variants"]] == [other["id"], front["id"]]
    await slz.call("DELETE", f"/products/{made['id']}/images/{other['id']}")
    left = (await slz.get(f"/products/{made['id']}"))["product"]
    assert [variant["image_id"] for variant in left["variants"]] == [None, front["id"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": "  "}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"title": 5}, "title"),
        ({"has_only_default_variant": True}, "variants"),
        ({"need_variant_image": True}, "variants.0.image"),
        ({"options": []}, "options"),
        ({"options": [{"name": "Size", "values": ["S"]}] * 2}, "options"),
        ({"variants": []}, "variants"),
        ({"variants": [VARIANTS[0], VARIANTS[0]]}, "variants.1"),
        ({"variants": [{**VARIANTS[0], "option1": "XL"}]}, "variants.0.option1"),
        ({"variants": [{**VARIANTS[0], "option3": "Silk"}]}, "variants.0.option3"),
        ({"variants": [{**VARIANTS[0], "price": "1e3"}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "price": "-1"}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "price": " 1"}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "price": "1,000"}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "price": "١"}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "price": "1.005"}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "price": "9999999999999"}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "price": 29.99}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "price": ""}]}, "variants.0.price"),
        ({"variants": [{**VARIANTS[0], "compare_at_price": "x"}]}, "variants.0.compare_at_price"),
        ({"variants": [{**VARIANTS[0], "weight": "heavy"}]}, "variants.0.weight"),
        ({"variants": [{**VARIANTS[0], "weight": "9999999999"}]}, "variants.0.weight"),
        ({"variants": [{**VARIANTS[0], "weight_unit": "stone"}]}, "variants.0.weight_unit"),
        ({"variants": [{**VARIANTS[0], "inventory_quantity": -1}]}, "variants.0.inventory_quantity"),
        ({"variants": [VARIANTS[1], {**VARIANTS[0], **TOO_DEAR}]}, "variants.1.inventory_quantity"),
        ({"variants": [{**VARIANTS[0], "sku": "x" * 256}]}, "variants.0.sku"),
        ({"images": [{"src": ""}]}, "images.0.src"),
        ({"images": [{"src": "https://host.example/a.png", "width": 0}]}, "images.0.width"),
        ({"images": [{}]}, "images.0.src"),
    ],
)
async def test_a_product_of_the_wrong_shape_is_400_and_names_the_field(
    slz: Shoplazza, change: dict[str, Any], field: str
) -> None:
    answer = await slz.call("POST", "/products", json={"product": {**SHIRT, **change}})
    assert f"product.{field}: " in slz.message(answer, 400)
    assert await slz.get("/products/count") == {"count": 0}


async def test_a_choice_of_variants_needs_to_say_whether_they_have_images(slz: Shoplazza) -> None:
    wanted = {name: value for name, value in SHIRT.items() if name != "need_variant_image"}
    answer = await slz.call("POST", "/products", json={"product": wanted})
    assert "need_variant_image" in slz.message(answer, 400)


async def test_a_sku_that_is_taken_is_a_conflict_and_leaves_nothing(slz: Shoplazza) -> None:
    await make(slz, **SHIRT)
    answer = await slz.call("POST", "/products", json={"product": {**SHIRT, "title": "Another"}})
    assert "SKU" in slz.message(answer, 409)
    assert await slz.get("/products/count") == {"count": 1}


async def test_a_product_without_variants_gets_its_default_one(slz: Shoplazza) -> None:
    made = await make(slz, title="Gift", has_only_default_variant=True)
    (variant,) = made["variants"]
    assert (variant["price"], variant["inventory_quantity"]) == ("0.00", 0)
    assert (made["has_only_default_variant"], made["options"], made["image"]) == (True, [], {})


async def test_the_list_is_walked_forth_and_back_by_cursors(slz: Shoplazza, shop: Shop) -> None:
    ids = [await new_product_id(shop, f"Basket {n}") for n in range(7)][::-1]
    assert await slz.get("/products/count") == {"count": 7}
    seen, pages, cursor = [], [], ""
    while True:
        page = await slz.get(f"/products?per_page=3&cursor={cursor}")
        pages.append(page)
        seen += [product["id"] for product in page["products"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert seen == ids
    assert [len(page["products"]) for page in pages] == [3, 3, 1]
    assert pages[0]["pre_cursor"] == ""
    back = await slz.get(f"/products?per_page=3&pre_cursor={pages[2]['pre_cursor']}")
    assert back["products"] == pages[1]["products"]
    first = await slz.get(f"/products?per_page=3&pre_cursor={back['pre_cursor']}")
    assert first == pages[0]
    for query in ("cursor=nonsense", f"pre_cursor={pages[0]['cursor']}", "cursor=a&pre_cursor=b"):
        assert slz.message(await slz.call("GET", f"/products?{query}"), 422)


async def test_the_list_is_narrowed_and_shortened(slz: Shoplazza, shop: Shop) -> None:
    shirt = await make(slz, **SHIRT)
    bag = await make(slz, **plain("Bag", spu="SPU-2"))
    basket = await new_product_id(shop)

    async def listed(query: str) -> list[str]:
        return [product["id"] for product in (await slz.get(f"/products?{query}"))["products"]]

    assert await listed("") == [basket, bag["id"], shirt["id"]]
    assert await listed(f"ids={shirt['id']},{basket}") == [basket, shirt["id"]]
    assert await listed("title=Bag") == [bag["id"]]
    assert await listed("published_status=published") == [shirt["id"]]
    assert await listed("published_status=unpublished") == [basket, bag["id"]]
    assert await listed("published_status=any") == [basket, bag["id"], shirt["id"]]
    assert await listed("spus=SPU-1,SPU-2") == [bag["id"], shirt["id"]]
    assert await listed("created_at_min=2999-01-01T00:00:00Z") == []
    assert await listed("created_at_max=2999-01-01T00:00:00Z&updated_at_min=2000-01-01T00:00:00Z") != []
    assert await listed("updated_at_max=2000-01-01T00:00:00Z") == []
    (short,) = (await slz.get("/products?title=Bag&fields=id,handle"))["products"]
    assert set(short) == {"id", "title", "created_at", "updated_at", "images", "handle"}
    assert slz.message(await slz.call("GET", "/products?ids=abc"), 422) == "Ids must be valid UUIDs"
    for query in ("per_page=0", "per_page=x", "published_status=maybe", "created_at_min=yesterday"):
        assert slz.message(await slz.call("GET", f"/products?{query}"), 422)


def forged(value: str) -> str:
    """A cursor as somebody might make it who knows how ours are made."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(["number", True, value, UNKNOWN])).decode()


@pytest.mark.parametrize("value", ["9" * 30, "1_0", " 1 ", "one", "", "1" * 2000])
async def test_a_forged_cursor_is_refused_before_the_database_sees_it(slz: Shoplazza, value: str) -> None:
    assert slz.message(await slz.call("GET", f"/products?cursor={forged(value)}"), 422)
    # The control: the same forgery with a number is read.
    assert (await slz.get(f"/products?cursor={forged('12')}"))["products"] == []


async def test_a_time_beyond_the_calendar_narrows_nothing(slz: Shoplazza, product_id: str) -> None:
    for query in (
        "created_at_min=0001-01-01T00:00:00%2B14:00",
        "created_at_max=9999-12-31T23:59:59-14:00",
        "updated_at_min=0001-01-01T00:00:00%2B14:00",
        "updated_at_max=9999-12-31T23:59:59-14:00",
    ):
        assert [one["id"] for one in (await slz.get(f"/products?{query}"))["products"]] == [product_id]


async def test_a_list_has_links_of_the_request_and_live_stock(
    slz: Shoplazza, pictures: PictureServer
) -> None:
    variants = [{"price": "5", "inventory_quantity": 3}]
    made = await make(slz, **plain("Basket", images=[{"src": pictures.url()}], variants=variants))
    (listed,) = (await slz.get("/products"))["products"]
    assert listed == made
    assert listed["images"][0]["src"].startswith("//127.0.0.1:8000/media/")
    assert (listed["inventory_quantity"], listed["variants"][0]["inventory_quantity"]) == (3, 3)
    answer = await slz.call("GET", "/products", headers={"host": "localhost:9000"})
    assert slz.data(answer)["products"][0]["image"]["src"].startswith("//localhost:9000/media/")
    answer = await slz.call("GET", "/products", headers={"host": "shop.example"})
    assert slz.data(answer)["products"][0]["image"]["src"].startswith("/media/")


async def test_a_product_is_deleted_once_with_its_images(slz: Shoplazza, pictures: PictureServer) -> None:
    made = await make(slz, **plain("Basket", images=[{"src": pictures.url()}]))
    kept = await make(slz, **SHIRT)  # its opening stock is in the ledger: it is archived
    for product in (made, kept):
        path = f"/products/{product['id']}"
        assert slz.data(await slz.call("DELETE", path)) == {}
        for method, gone in (("DELETE", path), ("GET", path), ("GET", f"{path}/images")):
            assert slz.message(await slz.call(method, gone), 404) == "Product not found"
    assert await slz.get("/products/count") == {"count": 0}
    assert (await slz.get("/products"))["products"] == []


async def test_one_idempotency_key_makes_one_product(slz: Shoplazza, pictures: PictureServer) -> None:
    body = {"product": plain("Basket", images=[{"src": pictures.url()}])}
    key = {"idempotency-key": "basket-in-one-go"}
    answers = [await slz.call("POST", "/products", headers=key, json=body) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert slz.data(answers[0])["product"]["title"] == "Basket"
    assert await slz.get("/products/count") == {"count": 1}


async def test_x1_an_image_is_seen_through_the_other_apis(
    slz: Shoplazza, shop: Shop, product_id: str, pictures: PictureServer
) -> None:
    ours = await slz.add(product_id, src=pictures.url(), alt="Front")
    item = f"/cloudapi/app/{shop.store_id}/stock/{product_id}"
    session = {"sessiontoken": shop.session}
    answer = await slz.web.post(
        f"{item}/addpicture?position=1",
        headers=session | {"content-type": "image/png"},
        content=picture_bytes("PNG", size=(90, 70), seed=4),
    )
    theirs = answer.json()
    number = (await get_product(shop.owner, UUID(product_id))).number
    gallery = f"/stores/{shop.store_hash}/v3/catalog/products/{number}/images"
    token = {"x-auth-token": shop.token}
    answer = await slz.web.post(
        gallery, headers=token, json={"image_url": pictures.url("/other.png"), "description": "Side"}
    )
    assert answer.status_code == 200, answer.text

    first, second, third = await slz.images(product_id)
    assert first["src"].endswith(theirs)
    assert [(image["width"], image["alt"]) for image in (first, second, third)] == [
        (90, ""),
        (800, "Front"),
        (320, "Side"),
    ]
    assert (second["id"], second["src"]) == (ours["id"], ours["src"])
    shown = (await slz.web.get(item, headers=session)).json()["images"]
    assert [image["imageId"] for image in shown] == [image["id"] for image in (first, second, third)]
    listed = (await slz.web.get(gallery, headers=token)).json()["data"]
    assert [image["description"] for image in listed] == ["", "Front", "Side"]
    await slz.call("DELETE", f"/products/{product_id}/images/{first['id']}")
    listed = (await slz.web.get(gallery, headers=token)).json()["data"]
    assert [image["description"] for image in listed] == ["Front", "Side"]
