"""Real photographs go in by all three APIs and come out of all three: in order, with the right pixels."""

import base64
import io
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.api.picture_server import PictureServer
from tests.api.test_storeharmony_products import make, session, stock
from tests.client import Web
from tests.shop import Shop
from tools.demo_photographs import demo_photographs

# Mean difference of a channel, of 255, that two careful renderings of a photograph may have: JPEG's loss and
# another way to the same size.
_CLOSE = 6.0
_BOXES = {"zoom": (1280, 1280), "standard": (386, 513), "thumbnail": (190, 250), "tiny": (40, 53)}


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    return [Path(photograph.path).read_bytes() for photograph in demo_photographs()[:3]]


async def product_number(shop: Shop, item: dict[str, Any]) -> int:
    async with shop.owner.reading() as db:
        number: int = await db.value(
            "SELECT number FROM product WHERE product_id = :product_id", product_id=item["itemId"]
        )
    return number


def expected(content: bytes, box: tuple[int, int]) -> Image.Image:
    """Pillow's own result: the whole picture, upright, scaled into the box in one step."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    picture.thumbnail(box, Image.Resampling.LANCZOS)
    return picture


async def assert_shows(web: Web, url: str, content: bytes, box: tuple[int, int]) -> None:
    """The file at the address is the photograph, within the box."""
    answer = await web.get(urlsplit(url).path)
    assert answer.status_code == 200
    shown = Image.open(io.BytesIO(answer.content)).convert("RGB")
    wanted = expected(content, box)
    assert abs(shown.width - wanted.width) <= 1
    assert abs(shown.height - wanted.height) <= 1
    if shown.size != wanted.size:
        wanted = wanted.resize(shown.size)
    difference = np.abs(np.asarray(shown, dtype=float) - np.asarray(wanted, dtype=float)).mean()
    assert difference < _CLOSE, f"{url} differs by {difference:.1f} from Pillow's own"


async def test_photographs_go_in_by_all_apis_and_come_out_of_all_in_one_order(
    fetching_web: Web, shop: Shop, pictures: PictureServer, photographs: list[bytes]
) -> None:
    web = fetching_web
    item = await make(web, shop, name="Woven basket")
    number = await product_number(shop, item)
    bigcommerce = f"/stores/{shop.store_hash}/v3/catalog/products/{number}/images"
    shoplazza = f"/openapi/2022-01/products/{item['itemId']}/images"
    first, second, third = photographs

    by_storeharmony = await web.post(
        stock(shop, f"/{item['itemId']}/addpicture"),
        headers=session(shop),
        json=[base64.b64encode(first).decode()],
    )
    assert by_storeharmony.status_code == 200, by_storeharmony.text
    by_bigcommerce = await web.post(
        bigcommerce,
        headers={"X-Auth-Token": shop.token},
        files={"image_file": ("b.jpg", second, "image/jpeg")},
        data={"description": "From the side"},
    )
    assert by_bigcommerce.status_code == 200, by_bigcommerce.text
    pictures.files["/third.jpg"] = third
    by_shoplazza = await web.post(
        shoplazza,
        headers={"Access-Token": shop.token},
        json={"image": {"src": pictures.url("/third.jpg"), "position": 1, "alt": "The lid"}},
    )
    assert by_shoplazza.status_code == 200, by_shoplazza.text
    order = [third, first, second]

    seen = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    listed = await web.get(bigcommerce, headers={"X-Auth-Token": shop.token})
    gallery = await web.get(shoplazza, headers={"Access-Token": shop.token})
    for content, harmony, bc, slz in zip(
        order, seen.json()["images"], listed.json()["data"], gallery.json()["images"], strict=True
    ):
        true_size = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).size
        assert (harmony["widthPx"], harmony["heightPx"]) == true_size == (slz["width"], slz["height"])
        assert harmony["alt"] == bc["description"] == slz["alt"]
        await assert_shows(web, harmony["url"], content, _BOXES["zoom"])
        await assert_shows(web, slz["src"], content, _BOXES["zoom"])
        for name, box in _BOXES.items():
            await assert_shows(web, bc[f"url_{name}"], content, box)
    assert [image["position"] for image in gallery.json()["images"]] == [1, 2, 3]
    assert [image["alt"] for image in gallery.json()["images"]] == ["The lid", "", "From the side"]


async def test_another_photograph_would_be_noticed(web: Web, shop: Shop, photographs: list[bytes]) -> None:
    """The control: the same check refuses a neighbour's photograph."""
    item = await make(web, shop)
    path = await web.post(
        stock(shop, f"/{item['itemId']}/addpicture"),
        headers=session(shop, **{"content-type": "image/jpeg"}),
        content=photographs[0],
    )
    with pytest.raises(AssertionError):
        await assert_shows(web, path.json(), photographs[1], _BOXES["zoom"])
