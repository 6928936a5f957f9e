"""Calls of the Shoplazza API in one of its versions."""

from typing import Any
from uuid import UUID

import httpx

from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from tests.client import Web
from tests.shop import Shop

BASES = ("/openapi/2022-01", "/openapi/2025-06", "/openapi/2026-01")
UNKNOWN = "01932f4e-7a10-7c3a-9d55-2f6b1c0e8a42"

_CODES = {
    400: "InvalidParameter",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "InvalidParameter",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    422: "InvalidParameter",
    429: "TooManyRequests",
}


class Shoplazza:
    def __init__(self, web: Web, base: str, token: str) -> None:
        self.web = web
        self.base = base
        self.headers = {"access-token": token}

    @property
    def is_enveloped(self) -> bool:
        return self.base != BASES[0]

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        answer = await self.web.call(method, self.base + path, headers=headers, **options)
        assert answer.headers["request-id"]
        return answer

    def data(self, answer: httpx.Response) -> Any:
        """What a good answer holds, out of its envelope."""
        assert answer.status_code == 200, answer.text
        body = answer.json()
        if not self.is_enveloped:
            return body
        assert (body["code"], body["message"]) == ("Success", "")
        return body["data"]

    async def get(self, path: str) -> Any:
        return self.data(await self.call("GET", path))

    async def add(self, product_id: str, **image: Any) -> Any:
        """The image that was made."""
        answer = await self.call("POST", f"/products/{product_id}/images", json={"image": image})
        return self.data(answer)["image"]

    async def images(self, product_id: str) -> list[Any]:
        images: list[Any] = (await self.get(f"/products/{product_id}/images"))["images"]
        return images

    def message(self, answer: httpx.Response, status: int) -> str:
        """The words of a no, once its shape has been looked at."""
        assert answer.status_code == status, answer.text
        body = answer.json()
        if self.is_enveloped:
            assert body["code"] == _CODES[status]
            return str(body["message"])
        if status in (401, 403):
            assert list(body) == ["error"]
            return str(body["error"])
        assert list(body) == ["errors"]
        return " ".join(body["errors"])


async def new_product_id(shop: Shop, name: str = "Basket") -> str:
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=150_000), opening=(OpeningStock(shop.store_id),)
    )
    product = await create_product(shop.owner, NewProduct(name=name, variants=(variant,)))
    return str(product.product_id)


def is_uuid(text: str) -> bool:
    return str(UUID(text)) == text


def positions(images: list[Any]) -> list[int]:
    return [image["position"] for image in images]
