"""Products and their pictures over the StoreHarmony API."""

from tests.client import Web
from tests.conftest import picture_bytes
from tests.shop import Shop


def stock(shop: Shop, path: str = "") -> str:
    return f"/cloudapi/app/{shop.store_id}/stock{path}"


async def test_a_product_is_made_and_read_back(web: Web, shop: Shop) -> None:
    headers = {"sessiontoken": shop.session}
    body = {"name": "Malt drink 33cl", "prices": {"sellingPrice": 500, "costPrice": 350.5}, "quantity": 48}
    made = await web.post(stock(shop), headers=headers, json=body)
    assert made.status_code == 200, made.text
    item = made.json()
    assert (item["quantity"], item["prices"]["sellingPrice"], item["prices"]["costPrice"]) == (48, 500, 350.5)
    read = await web.get(stock(shop, f"/{item['itemId']}"), headers=headers)
    assert read.json() == item


async def test_a_picture_is_shown_at_its_position(web: Web, shop: Shop) -> None:
    headers = {"sessiontoken": shop.session}
    body = {"name": "Basket", "prices": {"sellingPrice": 1500}}
    item = (await web.post(stock(shop), headers=headers, json=body)).json()
    paths = []
    for seed in range(3):
        answer = await web.post(
            stock(shop, f"/{item['itemId']}/addpicture?position=1"),
            headers=headers | {"content-type": "image/png"},
            content=picture_bytes("PNG", seed=seed),
        )
        assert answer.status_code == 200, answer.text
        paths.append(answer.json())
    shown = (await web.get(stock(shop, f"/{item['itemId']}"), headers=headers)).json()["images"]
    assert [image["url"] for image in shown] == paths[::-1]
    file = await web.get(paths[0])
    assert file.status_code == 200
    assert file.headers["content-type"] == "image/jpeg"
    page = (await web.get(stock(shop), headers=headers)).json()
    assert page["totalElements"] == 1
    assert [image["url"] for image in page["data"][0]["images"]] == paths[::-1]
