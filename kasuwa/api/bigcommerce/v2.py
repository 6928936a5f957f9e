"""The parts of V2 that clients of V3 still call: the time, as a test of their token, and images.

V2 has no contract of ours: bare values instead of envelopes, errors as a list, dates as in a mail.
"""

import time
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any, ClassVar

import msgspec

from kasuwa.api.bigcommerce.contract import BcProductImageWrite
from kasuwa.api.bigcommerce.dialect import JSON, BigCommerce
from kasuwa.api.bigcommerce.errors import ImageRefused
from kasuwa.api.bigcommerce.images import (
    SentImage,
    change_image,
    check_image_url,
    image_ids,
    image_state,
    make_image,
    remove_image,
)
from kasuwa.api.bigcommerce.product_fields import kept_values, whole
from kasuwa.api.bigcommerce.views import Json, image_file
from kasuwa.api.product_states import pictures_state
from kasuwa.base.context import Context
from kasuwa.base.http.api import BODY_BYTES, Answer, Api, Exchange
from kasuwa.base.http.body import read_body, require_media_type
from kasuwa.base.http.contract import Operation, decode
from kasuwa.base.ids import read_number
from kasuwa.base.problems import FieldFault, Invalid, NotFound, Problem
from kasuwa.domain.catalogue.queries import get_product_id, read_pictures, read_products, read_stock
from kasuwa.domain.catalogue.records import ShownPicture
from kasuwa.domain.media.actions import get_picture

_MOST_ITEMS = 250


def _operation(operation_id: str, method: str, path: str, status: int = 200) -> Operation:
    writes = method in ("POST", "PUT")
    return Operation(
        operation_id=operation_id,
        method=method,
        path=path,
        security=(("authToken",),),
        safe=method == "GET",
        body={JSON: BcProductImageWrite} if writes else {},
        success_status=status,
    )


_IMAGES = "/products/{product_id}/images"
OPERATIONS = {
    operation.operation_id: operation
    for operation in (
        _operation("getTime", "GET", "/time"),
        _operation("getProductV2", "GET", "/products/{product_id}"),
        _operation("getImagesV2", "GET", _IMAGES),
        _operation("createImageV2", "POST", _IMAGES, 201),
        _operation("countImagesV2", "GET", _IMAGES + "/count"),
        _operation("getImageV2", "GET", _IMAGES + "/{image_id}"),
        _operation("updateImageV2", "PUT", _IMAGES + "/{image_id}"),
        _operation("deleteImageV2", "DELETE", _IMAGES + "/{image_id}", 204),
    )
}


class BigCommerceV2(BigCommerce):
    name: ClassVar[str] = "bigcommerce-v2"
    base_paths: ClassVar[tuple[str, ...]] = ("/stores/{store_hash}/v2",)
    operations: ClassVar[Mapping[str, Operation]] = OPERATIONS
    has_contract: ClassVar[bool] = False

    def refusal(self, problem: Problem, exchange: Exchange | None) -> tuple[Any, str, Mapping[str, str]]:
        _, media_type, headers = super().refusal(problem, exchange)
        error: Json = {"status": problem.status, "message": problem.title}
        if isinstance(problem, ImageRefused):
            error["details"] = {"invalid_reason": problem.invalid_reason}
        elif problem.faults:
            fault = problem.faults[0]
            error["details"] = {"invalid_reason": f"{fault.field}: {fault.message}"}
        return [error], media_type, headers


api_v2 = Api(BigCommerceV2())


@api_v2.operation("getTime")
async def get_time() -> Json:
    return {"time": int(time.time())}


@api_v2.operation("getProductV2")
async def get_product(context: Context, exchange: Exchange) -> Json:
    async with context.reading() as db:
        product_id = await get_product_id(db, number=_number(exchange, "product_id"))
        (product,) = await read_products(db, [product_id])
        stock = await read_stock(db, [product_id], context.store_id)
    resource = f"/products/{product.number}/images"
    return {
        "id": product.number,
        "name": product.name,
        "type": kept_values(product.extra)["type"],
        "sku": product.main.sku,
        "description": product.description or "",
        "inventory_level": sum(whole(level.on_hand) for level in stock),
        "is_visible": product.visible_online,
        "date_created": format_datetime(product.created_at),
        "date_modified": format_datetime(product.updated_at),
        "images": {
            "url": f"{context.url_base}{exchange.request.url.path.partition('/products/')[0]}{resource}.json",
            "resource": resource,
        },
    }


@api_v2.operation("getImagesV2")
async def get_images(context: Context, exchange: Exchange) -> Answer:
    query = exchange.request.query_params
    page, limit = (_count(query.get(name), name, default) for name, default in (("page", 1), ("limit", 50)))
    number = _number(exchange, "product_id")
    pictures = await _pictures(context, number)
    first = (page - 1) * min(limit, _MOST_ITEMS)
    chosen = pictures[first : first + min(limit, _MOST_ITEMS)]
    views = [image_view(picture, number, context.url_base) for picture in chosen]
    return Answer(views, state=pictures_state(pictures))


@api_v2.operation("countImagesV2")
async def count_images(context: Context, exchange: Exchange) -> Json:
    return {"count": len(await _pictures(context, _number(exchange, "product_id")))}


@api_v2.operation("getImageV2")
async def get_image(context: Context, exchange: Exchange) -> Answer:
    number = _number(exchange, "product_id")
    async with context.reading() as db:
        ids = await image_ids(db, number, _number(exchange, "image_id"))
        return _answered(context, number, await get_picture(context, *ids))


async def read_image(exchange: Exchange) -> SentImage:
    """V2 names the URL `image_file`."""
    require_media_type(exchange.request, [JSON])
    content = await read_body(exchange.request, BODY_BYTES)
    exchange.fingerprint = content
    facts = decode(content, BcProductImageWrite, exchange.dialect.checks, reshape=_in_words_of_v3)
    if facts.image_url is not msgspec.UNSET:
        check_image_url(facts.image_url, "/image_file")
    return SentImage(facts)


@api_v2.operation("createImageV2", read=read_image)
async def create_image(context: Context, exchange: Exchange, body: SentImage) -> Answer:
    number = _number(exchange, "product_id")
    return _answered(context, number, await make_image(context, exchange, number, body))


@api_v2.operation("updateImageV2", read=read_image)
async def update_image(context: Context, exchange: Exchange, body: SentImage) -> Answer:
    number, image_number = (_number(exchange, name) for name in ("product_id", "image_id"))
    picture = await change_image(context, exchange, number, image_number, body)
    return _answered(context, number, picture)


@api_v2.operation("deleteImageV2")
async def delete_image(context: Context, exchange: Exchange) -> None:
    await remove_image(context, exchange, *(_number(exchange, name) for name in ("product_id", "image_id")))


def image_view(picture: ShownPicture, product_number: int, url_base: str) -> Json:
    """An image in V2's words."""
    return {
        "id": picture.number,
        "product_id": product_number,
        "image_file": image_file(picture),
        "zoom_url": url_base + picture.rendition("zoom").path,
        "standard_url": url_base + picture.rendition("standard").path,
        "thumbnail_url": url_base + picture.rendition("thumbnail").path,
        "tiny_url": url_base + picture.rendition("tiny").path,
        "is_thumbnail": picture.is_thumbnail,
        "sort_order": picture.sort_order,
        "description": picture.alt_text,
        "date_created": format_datetime(picture.added_at),
    }


async def _pictures(context: Context, number: int) -> list[ShownPicture]:
    async with context.reading() as db:
        return await read_pictures(db, await get_product_id(db, number=number))


def _answered(context: Context, product_number: int, picture: ShownPicture) -> Answer:
    """The image, with the ETag that If-Match takes."""
    view = image_view(picture, product_number, context.url_base)
    return Answer(view, state=image_state(picture))


def _number(exchange: Exchange, name: str) -> int:
    """An id of the path; what is no number of ours is unknown."""
    number = read_number(exchange.request.path_params[name])
    if number is None:
        raise NotFound()
    return number


def _count(text: str | None, name: str, default: int) -> int:
    number = default if text is None else read_number(text)
    if number is None:
        raise Invalid(faults=[FieldFault(f"#/query/{name}", "minimum", "Give a number from 1 up.")])
    return number


def _in_words_of_v3(values: Any) -> Any:
    if isinstance(values, dict) and "image_file" in values:
        return {"image_url" if name == "image_file" else name: value for name, value in values.items()}
    return values
