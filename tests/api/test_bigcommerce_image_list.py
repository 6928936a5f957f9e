"""Cases B16 to B28 and B36: images are listed, read, changed, put in order and removed."""

import io

import pytest
from PIL import Image

from tests.api.bigcommerce_calls import BigCommerceCalls, check_error
from tests.api.picture_server import PictureServer
from tests.conftest import picture_bytes


def images_of(product: int) -> str:
    return f"/catalog/products/{product}/images"


async def three_images(bc: BigCommerceCalls, product: int) -> list[int]:
    """Images with the sort orders 0, 1 and 2."""
    for seed in range(3):
        assert (await bc.upload(product, picture_bytes("PNG", seed=seed), sort_order=str(seed))).is_success
    return [image["id"] for image in await bc.images(product)]


async def test_b16_a_product_that_is_not_there(bc: BigCommerceCalls, pictures: PictureServer) -> None:
    asked = len(pictures.asked)
    posted = await bc.post(images_of(999_999), {"image_url": pictures.good()})
    for answer in (posted, await bc.get(images_of(999_999))):
        assert check_error(answer, 404)["instance"]
    # Nothing is fetched for a product that is not there.
    assert len(pictures.asked) == asked


@pytest.mark.parametrize("number", ["abc", "0", "-1", "1.0", "9" * 30, "%00"])
async def test_b17_what_is_no_product_number_is_unknown(
    bc: BigCommerceCalls, number: str, pictures: PictureServer
) -> None:
    path = f"/catalog/products/{number}/images"
    check_error(await bc.get(path), 404)
    check_error(await bc.post(path, {"image_url": pictures.good()}), 404)
    check_error(await bc.get(f"/catalog/products/1/images/{number}"), 404)


async def test_b18_no_images_are_an_empty_list(bc: BigCommerceCalls, product: int) -> None:
    answer = await bc.get(images_of(product))
    assert answer.status_code == 200
    assert answer.json() == {
        "data": [],
        "meta": {
            "pagination": {
                "total": 0,
                "count": 0,
                "per_page": 50,
                "current_page": 1,
                "total_pages": 0,
                "links": {"current": "?page=1&limit=50"},
            }
        },
    }


async def test_b19_pages(bc: BigCommerceCalls, product: int) -> None:
    await bc.show_many(product, 51, picture_bytes("PNG"))
    first = (await bc.get(images_of(product))).json()
    page = first["meta"]["pagination"]
    assert (page["total"], page["count"], page["per_page"], page["total_pages"]) == (51, 50, 50, 2)
    assert page["links"] == {"current": "?page=1&limit=50", "next": "?page=2&limit=50"}
    second = (await bc.get(images_of(product) + page["links"]["next"])).json()
    assert len(second["data"]) == 1
    links = {"current": "?page=2&limit=50", "previous": "?page=1&limit=50"}
    assert second["meta"]["pagination"]["links"] == links
    assert len({image["id"] for image in first["data"] + second["data"]}) == 51
    assert len(await bc.images(product, "?limit=250")) == 51
    assert await bc.images(product, "?page=9223372036854775807") == []
    check_error(await bc.get(images_of(product) + "?limit=251"), 413)
    for query in ("?limit=0", "?page=0", "?limit=x"):
        check_error(await bc.get(images_of(product) + query), 422)


async def test_b20_fields_are_chosen_and_id_stays(bc: BigCommerceCalls, product: int) -> None:
    await bc.upload(product, picture_bytes("PNG"))
    (image,) = await bc.images(product)
    fetched = await bc.get(images_of(product) + "?include_fields=sort_order")
    assert fetched.json()["data"] == [{"id": image["id"], "sort_order": 0}]
    one = await bc.get(f"{images_of(product)}/{image['id']}?exclude_fields=id,url_tiny")
    assert one.json()["data"] == {name: image[name] for name in image if name != "url_tiny"}
    both = await bc.get(images_of(product) + "?include_fields=sort_order,url_tiny&exclude_fields=url_tiny")
    assert both.json()["data"] == [{"id": image["id"], "sort_order": 0}]


async def test_b21_an_image_is_read_on_its_own_product_only(bc: BigCommerceCalls, product: int) -> None:
    image = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]
    answer = await bc.get(f"{images_of(product)}/{image['id']}")
    assert answer.json() == {"data": image, "meta": {}}
    other = (await bc.new_product())["id"]
    check_error(await bc.get(f"{images_of(other)}/{image['id']}"), 404)
    check_error(await bc.put(f"{images_of(other)}/{image['id']}", {"description": "x"}), 404)
    check_error(await bc.delete(f"{images_of(other)}/{image['id']}"), 404)
    assert await bc.images(product) == [image]


async def test_b22_a_description_is_changed_alone(bc: BigCommerceCalls, product: int) -> None:
    before = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]
    answer = await bc.put(f"{images_of(product)}/{before['id']}", {"description": "New"})
    assert answer.status_code == 200
    after = answer.json()["data"]
    changed = {name for name in before if before[name] != after[name]}
    assert changed - {"date_modified"} == {"description"}
    assert after["description"] == "New"


async def test_b22_a_form_changes_it_too(bc: BigCommerceCalls, product: int) -> None:
    before = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]
    path = f"{images_of(product)}/{before['id']}"
    answer = await bc.put(path, files={"image_file": ("b.png", picture_bytes("PNG", seed=1))})
    assert answer.json()["data"]["image_file"] != before["image_file"]
    answer = await bc.put(path, files={"description": (None, "By form")})
    assert answer.json()["data"]["description"] == "By form"


async def test_b23_a_taken_place_pushes_the_later_ones_back(bc: BigCommerceCalls, product: int) -> None:
    first, second, third = await three_images(bc, product)
    answer = await bc.put(f"{images_of(product)}/{first}", {"sort_order": 2})
    assert answer.json()["data"]["sort_order"] == 2
    order = [(image["id"], image["sort_order"]) for image in await bc.images(product)]
    assert order == [(second, 1), (first, 2), (third, 3)]


async def test_b24_the_flag_moves_and_stays_with_the_only_one(bc: BigCommerceCalls, product: int) -> None:
    first = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]["id"]
    alone = await bc.put(f"{images_of(product)}/{first}", {"is_thumbnail": False})
    assert alone.json()["data"]["is_thumbnail"] is True
    second = (await bc.upload(product, picture_bytes("PNG", seed=1))).json()["data"]["id"]
    moved = await bc.put(f"{images_of(product)}/{second}", {"is_thumbnail": True})
    assert moved.json()["data"]["is_thumbnail"] is True
    flags = {image["id"]: image["is_thumbnail"] for image in await bc.images(product)}
    assert flags == {first: False, second: True}


async def test_b25_another_url_brings_other_bytes(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    before = (await bc.post(images_of(product), {"image_url": pictures.good(1)})).json()["data"]
    answer = await bc.put(f"{images_of(product)}/{before['id']}", {"image_url": pictures.good(2)})
    after = answer.json()["data"]
    assert after["id"] == before["id"]
    for name in ("image_file", "url_zoom", "url_standard", "url_thumbnail", "url_tiny"):
        assert after[name] != before[name], name
    files = [(await bc.web.get(image["url_zoom"])).content for image in (before, after)]
    assert files[0] != files[1]
    refused = await bc.put(f"{images_of(product)}/{before['id']}", {"image_url": pictures.url("/missing")})
    check_error(refused, 400)
    assert (await bc.images(product))[0]["image_file"] == after["image_file"]


async def test_b26_a_change_that_cannot_be_read_is_a_422(bc: BigCommerceCalls, product: int) -> None:
    image = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]
    path = f"{images_of(product)}/{image['id']}"
    broken = await bc.put(path, content=b'{"description": ', headers={"content-type": "application/json"})
    check_error(broken, 422)
    for body in ({"sort_order": "x"}, {"sort_order": 2147483648}):
        assert list(check_error(await bc.put(path, body), 422)["errors"]) == ["sort_order"]
    assert await bc.images(product) == [image]


async def test_b27_a_removed_image_is_gone(bc: BigCommerceCalls, product: int) -> None:
    image = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]
    path = f"{images_of(product)}/{image['id']}"
    removed = await bc.delete(path)
    assert (removed.status_code, removed.content) == (204, b"")
    check_error(await bc.delete(path), 404)
    check_error(await bc.get(path), 404)
    assert await bc.images(product) == []


async def test_b28_the_next_one_becomes_the_thumbnail(bc: BigCommerceCalls, product: int) -> None:
    first, second, third = await three_images(bc, product)
    assert (await bc.delete(f"{images_of(product)}/{first}")).status_code == 204
    flags = [(image["id"], image["is_thumbnail"]) for image in await bc.images(product)]
    assert flags == [(second, True), (third, False)]


@pytest.mark.parametrize("size", [(1600, 400), (400, 1600), (30, 20)])
async def test_b36_each_rendition_fits_its_box(
    bc: BigCommerceCalls, product: int, size: tuple[int, int]
) -> None:
    content = picture_bytes("PNG", size=size)
    image = (await bc.upload(product, content)).json()["data"]
    boxes = {
        "url_zoom": (1280, 1280),
        "url_standard": (386, 513),
        "url_thumbnail": (190, 250),
        "url_tiny": (40, 53),
    }
    shown = []
    for name, (most_width, most_height) in boxes.items():
        answer = await bc.web.get(image[name])
        assert answer.status_code == 200
        assert answer.headers["content-type"] in ("image/jpeg", "image/png")
        width, height = Image.open(io.BytesIO(answer.content)).size
        assert width <= most_width, name
        assert height <= most_height, name
        # The aspect is kept to the pixel.
        assert abs(width * size[1] - height * size[0]) <= max(size), name
        shown.append(width * height)
    assert shown == sorted(shown, reverse=True)
    # The control: the largest box is really used where the picture fills it.
    if size != (30, 20):
        assert max(Image.open(io.BytesIO((await bc.web.get(image["url_zoom"])).content)).size) == 1280
