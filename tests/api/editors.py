"""One product with two pictures, as each API reads and changes it: for what all of them must do alike."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from uuid import UUID

import httpx
import msgspec
from msgspec import Struct

from kasuwa.domain.catalogue.queries import read_products
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.media.actions import change_picture, show_picture
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS, PictureChange, Place
from tests.api.picture_server import PictureServer
from tests.api.shoplazza_calls import BASES, new_product_id
from tests.client import Web
from tests.conftest import picture_bytes
from tests.shop import Shop

APIS = ("storeharmony", "bigcommerce", "bigcommerce-v2", *BASES)


class Change(Struct, frozen=True):
    """A request that changes the product or a picture of it; `url` is relative to the product's."""

    method: str
    path: str = ""
    options: dict[str, Any] = {}


class Editor:
    """Somebody who looks at the product over one API.

    `readings` are paths by what they show; `adding` is the upload of another picture for each number.
    """

    def __init__(
        self,
        web: Web,
        shop: Shop,
        product: Product,
        url: str,
        *,
        credentials: Mapping[str, str],
        readings: dict[str, str],
        adding: Callable[[int], Change],
        changes: dict[str, Change],
    ) -> None:
        self.web = web
        self.shop = shop
        self.product = product
        self.url = url
        self.credentials = credentials
        self.readings = readings
        self.changes = {"add": adding(0), **changes}
        self.adding = adding

    def readings_for(self, name: str) -> list[str]:
        """Those whose tags the change takes: what they show holds all that it changes."""
        if name.endswith("product"):
            return ["product"]
        return [what for what in self.readings if what != "picture" or not name.startswith("add")]

    async def read(self, what: str, **headers: str) -> httpx.Response:
        url = self.url + self.readings[what]
        return await self.web.get(url, headers={**self.credentials, **headers})

    async def tag(self, what: str) -> str:
        answer = await self.read(what)
        assert answer.status_code == 200, answer.text
        return answer.headers["etag"]

    async def change(self, name: str, **headers: str) -> httpx.Response:
        return await self.send(self.changes[name], **headers)

    async def send(self, one: Change, **headers: str) -> httpx.Response:
        options = one.options | {"headers": {**self.credentials, **headers, **one.options.get("headers", {})}}
        return await self.web.call(one.method, self.url + one.path, **options)

    async def stored(self) -> tuple[list[Product], int, int]:
        """Everything that a change might write: the product, the merchant's pictures, its audit trail."""
        async with self.shop.owner.reading() as db:
            pictures = await db.value("SELECT count(*) FROM picture")
            entries = await db.value("SELECT count(*) FROM audit_entry")
            return await read_products(db, [self.product.product_id]), pictures, entries

    async def change_elsewhere(self, alt_text: str = "Written by somebody else") -> None:
        """Somebody else changes the first picture."""
        picture_id = UUID(int=self.product.pictures[0].product_picture_id.int)
        await change_picture(
            self.shop.owner, self.product.product_id, picture_id, PictureChange(alt_text=alt_text)
        )


async def new_editor(api: str, web: Web, shop: Shop, pictures: PictureServer) -> Editor:
    """`pictures` is where the APIs that fetch are sent."""
    owner = shop.owner
    product_id = UUID(await new_product_id(shop))
    for seed in (1, 2):
        kept = await keep_bytes(owner, picture_bytes("PNG", seed=seed), STOREHARMONY_FORMATS)
        await show_picture(owner, product_id, kept, Place(alt_text=f"Picture {seed}"))
    async with owner.reading() as db:
        (product,) = await read_products(db, [product_id])
    if api == "storeharmony":
        return _storeharmony(web, shop, product)
    if api.startswith("bigcommerce"):
        return _bigcommerce(web, shop, product, pictures, version=api.removeprefix("bigcommerce"))
    return _shoplazza(web, shop, product, pictures, base=api)


def _storeharmony(web: Web, shop: Shop, product: Product) -> Editor:
    def add(number: int) -> Change:
        upload = {"content": picture_bytes("PNG", seed=3 + number), "headers": {"content-type": "image/png"}}
        return Change("POST", "/addpicture?position=1", upload)

    first = str(product.pictures[0].product_picture_id)
    return Editor(
        web,
        shop,
        product,
        f"/cloudapi/app/{shop.store_id}/stock/{product.product_id}",
        credentials={"sessiontoken": shop.session},
        readings={"product": ""},
        adding=add,
        changes={
            "change": Change("PUT", "", {"json": {"imageOrder": [2, 1]}}),
            "remove": Change("PUT", "", {"json": {"removeImageIds": [first]}}),
            "change product": Change("PUT", "", {"json": {"name": "Bowl"}}),
            "remove product": Change("DELETE"),
        },
    )


def _bigcommerce(web: Web, shop: Shop, product: Product, pictures: PictureServer, *, version: str) -> Editor:
    is_v3 = not version
    image = f"/images/{product.pictures[0].number}"
    start = f"/stores/{shop.store_hash}/v3/catalog" if is_v3 else f"/stores/{shop.store_hash}/v2"

    def picture(number: int) -> dict[str, Any]:
        return {"json": {"image_url" if is_v3 else "image_file": pictures.good(7 + number)}}

    changes = {
        "change": Change("PUT", image, {"json": {"description": "Lid"}}),
        "replace": Change("PUT", image, picture(0)),
        "remove": Change("DELETE", image),
    }
    if is_v3:
        upload = {"files": {"image_file": ("a.png", picture_bytes("PNG", seed=3))}}
        changes["add file"] = Change("POST", "/images", upload)
        changes["change product"] = Change("PUT", "", {"json": {"name": "Bowl"}})
        changes["change image of product"] = Change(
            "PUT", "", {"json": {"images": [{"id": product.pictures[0].number, "description": "Lid"}]}}
        )
        changes["remove product"] = Change("DELETE")
    return Editor(
        web,
        shop,
        product,
        f"{start}/products/{product.number}",
        credentials={"X-Auth-Token": shop.token},
        readings={"picture": image, "pictures": "/images"} | ({"product": ""} if is_v3 else {}),
        adding=lambda number: Change("POST", "/images", picture(number)),
        changes=changes,
    )


def _shoplazza(web: Web, shop: Shop, product: Product, pictures: PictureServer, *, base: str) -> Editor:
    image = f"/images/{product.pictures[0].product_picture_id}"

    def picture(number: int) -> dict[str, Any]:
        return {"json": {"image": {"src": pictures.good(7 + number)}}}

    return Editor(
        web,
        shop,
        product,
        f"{base}/products/{product.product_id}",
        credentials={"Access-Token": shop.token},
        readings={"picture": image, "pictures": "/images", "product": ""},
        adding=lambda number: Change("POST", "/images", picture(number)),
        changes={
            "change": Change("PUT", image, {"json": {"image": {"alt": "Lid", "position": 2}}}),
            "replace": Change("PUT", image, picture(0)),
            "remove": Change("DELETE", image),
            "remove product": Change("DELETE"),
        },
    )


class Refusal(Protocol):
    """What is looked at of an answer; httpx's has it."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...
    @property
    def text(self) -> str: ...


def check_refused(api: str, answer: Refusal, status: int) -> None:
    """The refusal is in the words and shape of the API."""
    assert answer.status_code == status, answer.text
    body = msgspec.json.decode(answer.content)
    assert answer.headers["request-id" if api in BASES else "x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    if api in ("storeharmony", "manage"):
        assert answer.headers["content-type"] == "application/problem+json"
        assert body["status"] == status
        assert {"type", "title", "instance"} <= body.keys()
        return
    assert answer.headers["content-type"] == "application/json"
    if api.startswith("bigcommerce"):
        for name in ("time-window-ms", "time-reset-ms", "requests-quota", "requests-left"):
            # The vendor's own clients fail when one of the four is no number.
            assert answer.headers[f"x-rate-limit-{name}"].isdecimal()
    if api == "bigcommerce":
        assert body["status"] == status
        assert body["title"]
        assert body["type"].endswith("/api-docs/getting-started/api-status-codes")
    elif api == "bigcommerce-v2":
        (error,) = body
        assert error["status"] == status
        assert error["message"]
    elif api == BASES[0]:
        assert list(body) == ["errors"] or (status in (401, 403) and list(body) == ["error"])
    else:
        assert set(body) == {"code", "message"}
        assert body["message"]
