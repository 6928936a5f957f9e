"""V2: bare values, errors as a list. It has no contract, so whole answers are compared."""

import time
from typing import Any

import httpx
import pytest

from tests.api.bigcommerce_calls import BigCommerceCalls, check_quota_headers
from tests.api.picture_server import PictureServer
from tests.conftest import picture_bytes

IMAGE_FIELDS = {
    "id",
    "product_id",
    "image_file",
    "zoom_url",
    "standard_url",
    "thumbnail_url",
    "tiny_url",
    "is_thumbnail",
    "sort_order",
    "description",
    "date_created",
}


async def call(bc: BigCommerceCalls, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"X-Auth-Token": bc.shop.token, **options.pop("headers", {})}
    answer = await bc.web.call(method, f"/stores/{bc.shop.store_hash}/v2{path}", headers=headers, **options)
    check_quota_headers(answer)
    assert answer.content == b"" or answer.headers["content-type"] == "application/json"
    return answer


async def test_the_time_tells_whether_a_token_is_good(bc: BigCommerceCalls) -> None:
    answer = await call(bc, "GET", "/time")
    assert list(answer.json()) == ["time"]
    assert abs(answer.json()["time"] - time.time()) < 60
    refused = await call(bc, "GET", "/time", headers={"X-Auth-Token": "wrong"})
    assert (refused.status_code, refused.json()) == (
        401,
        [{"status": 401, "message": "No valid credentials came with the request"}],
    )


async def test_images_are_made_listed_changed_and_removed(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    path = f"/products/{product}/images"
    assert (await call(bc, "GET", path)).json() == []
    made = await call(bc, "POST", path, json={"image_file": pictures.good(), "description": "Front"})
    assert made.status_code == 201
    image = made.json()
    assert set(image) == IMAGE_FIELDS
    assert (image["product_id"], image["description"], image["is_thumbnail"]) == (product, "Front", True)
    (v3,) = await bc.images(product)
    assert (v3["url_zoom"], v3["image_file"]) == (image["zoom_url"], image["image_file"])
    assert (await call(bc, "GET", path)).json() == [image]
    assert (await call(bc, "GET", f"{path}/{image['id']}")).json() == image
    assert (await call(bc, "GET", f"{path}/count")).json() == {"count": 1}
    changed = await call(bc, "PUT", f"{path}/{image['id']}", json={"description": "Back"})
    assert changed.json() == image | {"description": "Back"}
    removed = await call(bc, "DELETE", f"{path}/{image['id']}")
    assert (removed.status_code, removed.content) == (204, b"")
    assert (await call(bc, "GET", f"{path}/{image['id']}")).status_code == 404


async def test_lists_have_pages(bc: BigCommerceCalls, product: int) -> None:
    await bc.show_many(product, 51, picture_bytes("PNG"))
    path = f"/products/{product}/images"
    assert [len((await call(bc, "GET", f"{path}?page={page}")).json()) for page in (1, 2, 3)] == [50, 1, 0]
    assert len((await call(bc, "GET", f"{path}?limit=1000")).json()) == 51
    assert (await call(bc, "GET", f"{path}?page=0")).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/products/999", None, 404),
        ("GET", "/products/abc/images", None, 404),
        ("GET", "/nothing", None, 404),
        ("PATCH", "/time", None, 501),
        ("POST", "/products/1/images", {"image_file": "ftp://h/a.png"}, 422),
        ("POST", "/products/1/images", {}, 422),
        ("POST", "/products/999/images", {"image_file": "http://h.example/a.png"}, 404),
    ],
)
async def test_errors_are_lists(
    bc: BigCommerceCalls, product: int, method: str, path: str, body: dict[str, str] | None, status: int
) -> None:
    answer = await call(bc, method, path, json=body)
    assert answer.status_code == status, answer.text
    (error,) = answer.json()
    assert error["status"] == status
    assert error["message"]


async def test_what_cannot_be_fetched_is_said_in_v2s_shape(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    url = pictures.url("/missing")
    answer = await call(bc, "POST", f"/products/{product}/images", json={"image_file": url})
    reason = f"The resource at '{url}' could not be downloaded and may be invalid."
    assert (answer.status_code, answer.json()) == (
        400,
        [
            {
                "status": 400,
                "message": "The field 'image_file' is invalid.",
                "details": {"invalid_reason": reason},
            }
        ],
    )
