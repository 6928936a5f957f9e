"""Images of products in BigCommerce's words: from a URL in JSON, or as a file in a form."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from kasuwa.api.bigcommerce.contract import (
    BcProductImageWrite,
    CreateProductImagePath,
    DeleteProductImagePath,
    GetProductImagePath,
    GetProductImageQuery,
    GetProductImagesPath,
    GetProductImagesQuery,
    UpdateProductImagePath,
)
from kasuwa.api.bigcommerce.errors import ImageUrlMissing, exclusive, image_problem
from kasuwa.api.bigcommerce.service import api
from kasuwa.api.bigcommerce.views import fields_of, image_view, one, page_of
from kasuwa.api.product_states import picture_state, pictures_state, refuse_if_changed, require_unchanged
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.fetch import UrlUnreadable, read_url
from kasuwa.base.http.api import BODY_BYTES, Answer, Exchange
from kasuwa.base.http.body import media_type, read_body, read_form, require_media_type
from kasuwa.base.http.contract import convert, decode
from kasuwa.base.problems import FieldFault, Invalid, Malformed, Problem
from kasuwa.domain.catalogue.queries import get_product_id, read_pictures
from kasuwa.domain.catalogue.records import ShownPicture
from kasuwa.domain.media.actions import (
    change_picture,
    find_picture_id,
    get_picture,
    remove_picture,
    require_room,
    show_picture,
)
from kasuwa.domain.media.errors import PictureNotFound
from kasuwa.domain.media.keeping import keep_bytes, keep_urls
from kasuwa.domain.media.records import (
    BIGCOMMERCE_FORMATS,
    MOST_BYTES,
    KeptPicture,
    PictureChange,
    Place,
)

# What the words of a form are read as.
_WORDS = {"true": True, "1": True, "false": False, "0": False}


class SentImage(Struct, frozen=True):
    """What a request says of an image, and its bytes when they came along."""

    facts: BcProductImageWrite
    content: bytes | None = None


async def read_new_image(exchange: Exchange) -> SentImage:
    """An image to be made: a file in a form, or `image_url` in JSON."""
    sent = await _read_image(exchange)
    if sent.content is None and sent.facts.image_url is UNSET:
        raise ImageUrlMissing(
            faults=[FieldFault("/image_url", "required", "Give image_url in JSON, or image_file in a form.")]
        )
    return sent


async def read_image_change(exchange: Exchange) -> SentImage:
    """What to change of an image. Broken JSON is a 422 here, as clients of the vendor know it."""
    try:
        return await _read_image(exchange)
    except Malformed as problem:
        raise Invalid(problem.detail) from problem


@api.operation("getProductImages")
async def get_product_images(
    context: Context, exchange: Exchange, path: GetProductImagesPath, query: GetProductImagesQuery
) -> Answer:
    async with context.reading() as db:
        product_id = await get_product_id(db, number=path.product_id)
        pictures = await read_pictures(db, product_id)
    first = (query.page - 1) * query.limit
    views = [
        fields_of(
            image_view(picture, path.product_id, context.url_base), query.include_fields, query.exclude_fields
        )
        for picture in pictures[first : first + query.limit]
    ]
    page = page_of(
        views,
        total=len(pictures),
        page=query.page,
        limit=query.limit,
        query=exchange.request.url.query,
    )
    return Answer(page, state=pictures_state(pictures))


@api.operation("createProductImage", read=read_new_image)
async def create_product_image(
    context: Context, exchange: Exchange, path: CreateProductImagePath, body: SentImage
) -> Answer:
    picture = await make_image(context, exchange, path.product_id, body)
    return _answered(context, path.product_id, picture)


@api.operation("getProductImage")
async def get_product_image(
    context: Context, path: GetProductImagePath, query: GetProductImageQuery
) -> Answer:
    async with context.reading() as db:
        product_id, picture_id = await image_ids(db, path.product_id, path.image_id)
        picture = await get_picture(context, product_id, picture_id)
    view = image_view(picture, path.product_id, context.url_base)
    shown = one(fields_of(view, query.include_fields, query.exclude_fields))
    return Answer(shown, state=image_state(picture))


@api.operation("updateProductImage", read=read_image_change)
async def update_product_image(
    context: Context, exchange: Exchange, path: UpdateProductImagePath, body: SentImage
) -> Answer:
    picture = await change_image(context, exchange, path.product_id, path.image_id, body)
    return _answered(context, path.product_id, picture)


@api.operation("deleteProductImage")
async def delete_product_image(context: Context, exchange: Exchange, path: DeleteProductImagePath) -> None:
    await remove_image(context, exchange, path.product_id, path.image_id)


async def make_image(
    context: Context, exchange: Exchange, product_number: int, sent: SentImage
) -> ShownPicture:
    """Show an image that was sent. Raises Invalid when none was."""
    product_id = await _refuse_full_product(context, product_number)
    await refuse_if_changed(context, exchange, product_id, "pictures")
    kept = await _keep_image(context, sent)
    if kept is None:
        raise Invalid(faults=[FieldFault("/image_file", "required", "Give the address of the image.")])
    async with context.transaction():
        await require_unchanged(context, exchange, product_id, "pictures")
        return (await show_picture(context, product_id, kept, place_of(sent.facts))).picture


async def change_image(
    context: Context, exchange: Exchange, product_number: int, image_number: int, sent: SentImage
) -> ShownPicture:
    async with context.reading() as db:
        product_id, picture_id = await image_ids(db, product_number, image_number)
    await refuse_if_changed(context, exchange, product_id, picture_id)
    kept = await _keep_image(context, sent)
    change = change_of(sent.facts, kept)
    async with context.transaction():
        await require_unchanged(context, exchange, product_id, picture_id)
        return (await change_picture(context, product_id, picture_id, change)).picture


async def remove_image(context: Context, exchange: Exchange, product_number: int, image_number: int) -> None:
    async with context.transaction() as db:
        product_id, picture_id = await image_ids(db, product_number, image_number)
        await require_unchanged(context, exchange, product_id, picture_id)
        await remove_picture(context, product_id, picture_id)


def image_state(picture: ShownPicture) -> bytes:
    """What the ETag of an image stands for here, where no position is shown."""
    return picture_state(picture, with_position=False)


def change_of(facts: BcProductImageWrite, kept: KeptPicture | None) -> PictureChange:
    return PictureChange(
        picture=UNSET if kept is None else kept,
        alt_text=facts.description,
        sort_order=facts.sort_order,
        is_thumbnail=facts.is_thumbnail,
    )


async def _refuse_full_product(context: Context, number: int) -> UUID:
    """The product, when it can show one more image: asked before anything slow is done."""
    async with context.reading() as db:
        product_id = await get_product_id(db, number=number)
        require_room(await read_pictures(db, product_id))
    return product_id


async def image_ids(db: Database, product_number: int, image_number: int) -> tuple[UUID, UUID]:
    """The product and the picture on it. Raises ProductNotFound, PictureNotFound."""
    product_id = await get_product_id(db, number=product_number)
    picture_id = await find_picture_id(db, product_id, image_number)
    if picture_id is None:
        raise PictureNotFound()
    return product_id, picture_id


async def _keep_image(context: Context, sent: SentImage) -> KeptPicture | None:
    """Store the image that came with the request, or that its URL names; None when there is neither."""
    url = sent.facts.image_url
    if sent.content is not None:
        try:
            return await keep_bytes(context, sent.content, BIGCOMMERCE_FORMATS)
        except Problem as problem:
            raise image_problem(problem, None) from problem
    if url is UNSET:
        return None
    (kept,) = await keep_urls(context, [url], BIGCOMMERCE_FORMATS)
    if isinstance(kept, Problem):
        raise image_problem(kept, url)
    return kept


def place_of(facts: BcProductImageWrite) -> Place:
    """Where a new image goes."""
    return Place(
        sort_order=None if facts.sort_order is UNSET else facts.sort_order,
        alt_text="" if facts.description is UNSET else facts.description,
        is_thumbnail=facts.is_thumbnail is True,
    )


def check_image_url(url: str, pointer: str) -> None:
    """An absolute http or https URL; whether it may be fetched is told later. Raises Invalid."""
    try:
        read_url(url)
    except UrlUnreadable as problem:
        raise Invalid(faults=[FieldFault(pointer, "format", str(problem))]) from problem


def _answered(context: Context, product_number: int, picture: ShownPicture) -> Answer:
    """The image, with the ETag that If-Match takes."""
    view = image_view(picture, product_number, context.url_base)
    return Answer(one(view), state=image_state(picture))


async def _read_image(exchange: Exchange) -> SentImage:
    operation = exchange.operation
    assert operation is not None
    require_media_type(exchange.request, operation.body.keys())
    if media_type(exchange.request) == "multipart/form-data":
        return await _read_image_form(exchange)
    content = await read_body(exchange.request, BODY_BYTES)
    exchange.fingerprint = content
    facts = decode(content, BcProductImageWrite, exchange.dialect.checks, reshape=_refuse_image_file)
    if facts.image_url is not UNSET:
        check_image_url(facts.image_url, "/image_url")
    return SentImage(facts)


def _refuse_image_file(values: Any) -> Any:
    """A file never comes in JSON."""
    if isinstance(values, dict) and "image_file" in values:
        if "image_url" in values:
            raise exclusive("image_file", "image_url")
        fault = FieldFault("/image_file", "not_allowed", "Send the file as a part of multipart/form-data.")
        raise ImageUrlMissing(faults=[fault])
    return values


async def _read_image_form(exchange: Exchange) -> SentImage:
    form = await read_form(exchange.request, max_file_bytes=MOST_BYTES)
    file = form.files.get("image_file")
    if "image_url" in form.fields or "image_url" in form.files:
        if file is not None:
            raise exclusive("image_file", "image_url")
        fault = FieldFault("/image_url", "not_allowed", "Send image_url as application/json.")
        raise ImageUrlMissing(faults=[fault])
    if "image_file" in form.fields:
        fault = FieldFault("/image_file", "format", "Send the file itself, as a part with a file name.")
        raise ImageUrlMissing(faults=[fault])
    facts = convert(_cast(form.fields), BcProductImageWrite, exchange.dialect.checks)
    # Not the body itself: a form's boundary differs with every try.
    exchange.fingerprint = msgspec.json.encode(sorted(form.fields.items())) + (file.content if file else b"")
    return SentImage(facts, None if file is None else file.content)


def _cast(fields: dict[str, str]) -> dict[str, Any]:
    """A form's texts as what they mean; one that means nothing stays a text, which the schema refuses."""
    values: dict[str, Any] = dict(fields)
    flag = fields.get("is_thumbnail")
    if flag is not None:
        values["is_thumbnail"] = _WORDS.get(flag.strip().lower(), flag)
    for name in ("sort_order", "product_id"):
        text = fields.get(name, "").strip()
        if text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal() and len(text) < 20:
            values[name] = int(text)
    return values
