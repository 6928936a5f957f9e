"""Calls of the BigCommerce API, and what every answer of it must have."""

from typing import Any

import httpx

from kasuwa.api.bigcommerce.contract import BcProduct, BcProductImage
from kasuwa.domain.media.actions import show_pictures
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import BIGCOMMERCE_FORMATS, Place
from tests.client import Web
from tests.shop import Shop

TYPE = "/api-docs/getting-started/api-status-codes"
IMAGE_FIELDS = set(BcProductImage.__struct_fields__) - {"image_url"}
PRODUCT_FIELDS = set(BcProduct.__struct_fields__) - {"images", "primary_image"}
QUOTA_HEADERS = (
    "X-Rate-Limit-Time-Window-Ms",
    "X-Rate-Limit-Time-Reset-Ms",
    "X-Rate-Limit-Requests-Quota",
    "X-Rate-Limit-Requests-Left",
)


class BigCommerceCalls:
    """Calls the API as an app that has the shop's token."""

    def __init__(self, web: Web, shop: Shop) -> None:
        self.web = web
        self.shop = shop
        self.base = f"/stores/{shop.store_hash}/v3"
        self.names = 0

    async def call(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = {"X-Auth-Token": self.shop.token if token is None else token, **options.pop("headers", {})}
        answer = await self.web.call(method, self.base + path, headers=headers, **options)
        check_quota_headers(answer)
        if answer.is_success and answer.content:
            check_fields(answer)
        return answer

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return await self.call("POST", path, **({"json": json} if json is not None else {}), **options)

    async def put(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return await self.call("PUT", path, **({"json": json} if json is not None else {}), **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("DELETE", path, **options)

    async def new_product(self, **fields: Any) -> dict[str, Any]:
        """A product without images, made through the API."""
        self.names += 1
        body = {"name": f"Product {self.names}", "type": "physical", "weight": 1, "price": 500, **fields}
        answer = await self.post("/catalog/products", body)
        assert answer.status_code == 200, answer.text
        product: dict[str, Any] = answer.json()["data"]
        return product

    async def images(self, product: int, query: str = "") -> list[dict[str, Any]]:
        answer = await self.get(f"/catalog/products/{product}/images{query}")
        assert answer.status_code == 200, answer.text
        images: list[dict[str, Any]] = answer.json()["data"]
        return images

    async def upload(
        self, product: int, content: bytes, name: str = "a.png", **fields: Any
    ) -> httpx.Response:
        """Multipart, as curl -F sends it."""
        return await self.post(
            f"/catalog/products/{product}/images", files={"image_file": (name, content)}, data=fields
        )

    async def show_many(self, product: int, count: int, content: bytes) -> None:
        """Images without as many uploads: through the domain, in one change."""
        context = self.shop.owner
        kept = await keep_bytes(context, content, BIGCOMMERCE_FORMATS)
        async with context.reading() as db:
            product_id = await db.value(
                "SELECT product_id FROM product WHERE merchant_id = current_merchant() AND number = :number",
                number=product,
            )
        await show_pictures(context, product_id, [(kept, Place())] * count)


def check_fields(answer: httpx.Response) -> None:
    """Every documented field is there, unless the caller chose among them."""
    if "_fields=" in str(answer.url):
        return
    body = answer.json()
    things = body["data"] if isinstance(body["data"], list) else [body["data"]]
    of_images = "/images" in answer.url.path
    for thing in things:
        if of_images:
            assert set(thing) == IMAGE_FIELDS
        else:
            assert set(thing) - {"images", "primary_image"} == PRODUCT_FIELDS
            for image in (*thing.get("images", ()), *filter(None, [thing.get("primary_image")])):
                assert set(image) == IMAGE_FIELDS


def check_quota_headers(answer: httpx.Response) -> None:
    """All four integers on every answer, whatever it says."""
    values = [int(answer.headers[name]) for name in QUOTA_HEADERS]
    assert values[0] == 30_000
    assert 0 <= values[1] <= 30_000
    assert 0 <= values[3] <= values[2]


def check_error(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The vendor's error with that status; answer its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"].endswith(TYPE)
    return body
