"""Every operation that takes a stranger's picture: by its address in JSON, or as a file in a form."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.app import registered_operations
from kasuwa.base.ids import new_id
from tests.conftest import picture_bytes
from tests.contract.harness import DIALECTS, contracts_of
from tests.faults.uploads import Call, Product, Stage, new_product

_ADDRESSES = {"image_url", "src"}


class Shown(Struct, frozen=True):
    """A product with one picture, as both of the vendors' APIs count it, and a category."""

    product: Product
    image_number: int
    image_id: UUID
    category_id: UUID


async def show_one(stage: Stage) -> Shown:
    async with stage.installation.services() as services:
        product = await new_product(services, stage.shop)
    async with stage.installation.client(base_url=stage.server.url, timeout=30) as client:
        made = await client.post(
            f"/stores/{stage.shop.store_hash}/v3/catalog/products/{product.number}/images",
            headers={"x-auth-token": stage.shop.token},
            files={"image_file": ("a.png", picture_bytes("PNG"))},
        )
        listed = await client.get(
            f"/openapi/2022-01/products/{product.product_id}/images",
            headers={"access-token": stage.shop.token},
        )
        shelf = await client.post(
            f"/cloudapi/app/{stage.shop.store_id}/categories",
            headers={"sessiontoken": stage.shop.session},
            json={"name": "Shelf"},
        )
    return Shown(
        product,
        made.json()["data"]["id"],
        UUID(listed.json()["images"][0]["id"]),
        UUID(shelf.json()["categoryId"]),
    )


def url_doors(stage: Stage, shown: Shown) -> dict[str, Callable[[str], Call]]:
    """Calls that name a picture's address; the part of the name before the colon is the operation's."""
    catalogue = f"/stores/{stage.shop.store_hash}/v3/catalog/products"
    number = shown.product.number
    doors = {
        "bigcommerce createProductImage": _bc(
            stage, "POST", f"{catalogue}/{number}/images", lambda url: {"image_url": url}
        ),
        "bigcommerce updateProductImage": _bc(
            stage,
            "PUT",
            f"{catalogue}/{number}/images/{shown.image_number}",
            lambda url: {"image_url": url},
        ),
        "bigcommerce createProduct": _bc(
            stage,
            "POST",
            catalogue,
            lambda url: {
                "name": f"Crate {new_id()}",
                "type": "physical",
                "weight": 1,
                "price": 500,
                "images": [{"image_url": url}],
            },
        ),
        "bigcommerce updateProduct": _bc(
            stage, "PUT", f"{catalogue}/{number}", lambda url: {"images": [{"image_url": url}]}
        ),
        "bigcommerce updateProducts": _bc(
            stage, "PUT", catalogue, lambda url: [{"id": number, "images": [{"image_url": url}]}]
        ),
    }
    for name, base in (("shoplazza", "/openapi/2022-01"), ("shoplazza-enveloped", "/openapi/2025-06")):
        images = f"{base}/products/{shown.product.product_id}/images"
        doors |= {
            f"{name} create_product_image": _slz(stage, "POST", images, lambda url: {"image": {"src": url}}),
            f"{name} update_product_image": _slz(
                stage, "PUT", f"{images}/{shown.image_id}", lambda url: {"image": {"src": url}}
            ),
            f"{name} create_product: images": _slz(
                stage, "POST", f"{base}/products", lambda url: _product(images=[{"src": url}])
            ),
            f"{name} create_product: variants": _slz(stage, "POST", f"{base}/products", _product_of_variants),
        }
    return doors


def _product(**fields: Any) -> dict[str, Any]:
    plain = {"title": "Crate", "has_only_default_variant": True, "variants": [{"price": "9.50"}]}
    return {"product": plain | fields}


def _product_of_variants(url: str) -> dict[str, Any]:
    return _product(
        has_only_default_variant=False,
        need_variant_image=True,
        options=[{"name": "Size", "values": ["S"]}],
        variants=[{"option1": "S", "price": "9.50", "image": {"src": url}}],
    )


def _bc(stage: Stage, method: str, path: str, body: Callable[[str], Any]) -> Callable[[str], Call]:
    return _json(method, path, {"x-auth-token": stage.shop.token}, body)


def _slz(stage: Stage, method: str, path: str, body: Callable[[str], Any]) -> Callable[[str], Call]:
    return _json(method, path, {"access-token": stage.shop.token}, body)


def _json(
    method: str, path: str, headers: dict[str, str], body: Callable[[str], Any]
) -> Callable[[str], Call]:
    json = {**headers, "content-type": "application/json"}
    return lambda url: Call(method, path, json, msgspec.json.encode(body(url)))


class FormDoor(Struct, frozen=True):
    """An upload; `field` is the part that holds the file."""

    method: str
    path: str
    headers: dict[str, str]
    field: str

    def call(self, kind: str, content: bytes) -> Call:
        """The call with that Content-Type and that body."""
        return Call(self.method, self.path, {**self.headers, "content-type": kind}, content)


def form_doors(stage: Stage, shown: Shown) -> dict[str, FormDoor]:
    """Every operation that takes a file in a form, by its name."""
    shop, product = stage.shop, shown.product
    images = f"/stores/{shop.store_hash}/v3/catalog/products/{product.number}/images"
    session, token = {"sessiontoken": shop.session}, {"x-auth-token": shop.token}
    store, user = f"/cloudapi/app/{shop.store_id}", f"/cloudapi/user/{shop.user_id}"
    return {
        "storeharmony uploadProductPicture": FormDoor(
            "POST", f"{store}/stock/{product.product_id}/addpicture?position=1", session, "file"
        ),
        "storeharmony uploadCategoryPicture": FormDoor(
            "POST", f"{store}/categories/{shown.category_id}/addpicture", session, "file"
        ),
        "storeharmony uploadProfileImage": FormDoor("POST", f"{user}/profileImage", session, "file"),
        "bigcommerce createProductImage": FormDoor("POST", images, token, "image_file"),
        "bigcommerce updateProductImage": FormDoor(
            "PUT", f"{images}/{shown.image_number}", token, "image_file"
        ),
    }


def operations_that_fetch() -> set[str]:
    """What the contracts promise to fetch: a picture's address stands in their JSON."""
    return {
        f"{contract} {operation}"
        for contract, operation, media, names in _bodies()
        if media == "application/json" and names & _ADDRESSES
    }


def operations_with_forms() -> set[str]:
    return {
        f"{contract} {operation}"
        for contract, operation, media, _ in _bodies()
        if media == "multipart/form-data"
    }


def _bodies() -> Iterator[tuple[str, str, str, set[str]]]:
    """Contract, operation, media type and the names of all fields, for each body that is built."""
    built = registered_operations()
    for dialect in DIALECTS:
        for contract in contracts_of(dialect):
            schemas = contract.document["components"]["schemas"]
            for item in contract.document["paths"].values():
                for one in item.values():
                    if not isinstance(one, dict) or (dialect, one["operationId"]) not in built:
                        continue
                    for media, body in one.get("requestBody", {"content": {}})["content"].items():
                        names = set(_names(body["schema"], schemas, frozenset()))
                        yield contract.name, one["operationId"], media, names


def _names(schema: Any, schemas: dict[str, Any], seen: frozenset[str]) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _names(one, schemas, seen)
    elif isinstance(schema, dict):
        name = schema.get("$ref", "").rpartition("/")[2]
        if name and name not in seen:
            yield from _names(schemas[name], schemas, seen | {name})
        yield from schema.get("properties", {})
        for one in schema.values():
            yield from _names(one, schemas, seen)
