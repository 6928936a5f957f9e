"""Images of products in Shoplazza's words."""

from typing import Any
from uuid import UUID

from msgspec import UNSET

from kasuwa.api.product_states import picture_state, pictures_state, refuse_if_changed, require_unchanged
from kasuwa.api.shoplazza.contract import (
    CreateProductImageBody,
    CreateProductImagePath,
    DeleteProductImagePath,
    ProductImageCountPath,
    ProductImageListPath,
    ProductImageShowPath,
    UpdateProductImageBody,
    UpdateProductImagePath,
)
from kasuwa.api.shoplazza.dialect import BodyFault
from kasuwa.api.shoplazza.service import operation
from kasuwa.api.shoplazza.views import image_view, link_start
from kasuwa.base.context import Context
from kasuwa.base.fetch import UrlUnreadable, read_url
from kasuwa.base.http.api import Answer, Exchange
from kasuwa.base.problems import Problem
from kasuwa.domain.catalogue.queries import get_product_id, read_pictures
from kasuwa.domain.catalogue.records import ShownPicture
from kasuwa.domain.media.actions import change_picture, remove_picture, require_room, show_picture
from kasuwa.domain.media.errors import PictureNotFound
from kasuwa.domain.media.keeping import MEDIA_PATH, keep_urls
from kasuwa.domain.media.records import MOST_PICTURES, SHOPLAZZA_FORMATS, KeptPicture, PictureChange, Place


@operation("product_image_list")
async def product_image_list(context: Context, path: ProductImageListPath) -> Answer:
    pictures = await _pictures(context, path.product_id)
    views = [image_view(path.product_id, picture, link_start(context)) for picture in pictures]
    return Answer({"images": views}, state=pictures_state(pictures))


@operation("product_image_count")
async def product_image_count(context: Context, path: ProductImageCountPath) -> dict[str, Any]:
    return {"count": len(await _pictures(context, path.product_id))}


@operation("product_image_show")
async def product_image_show(context: Context, path: ProductImageShowPath) -> Answer:
    return _answered(context, path.product_id, await _picture(context, path.product_id, path.image_id))


@operation("create_product_image")
async def create_product_image(
    context: Context, exchange: Exchange, path: CreateProductImagePath, body: CreateProductImageBody
) -> Answer:
    image = body.image
    url = image_url(context, image.src, "/image/src")
    require_room(await _pictures(context, path.product_id))
    await refuse_if_changed(context, exchange, path.product_id, "pictures")
    kept = await _keep(context, url)
    place = Place(
        position=None if image.position is UNSET else _position(image.position),
        alt_text="" if image.alt is UNSET else image.alt,
    )
    async with context.transaction():
        await require_unchanged(context, exchange, path.product_id, "pictures")
        placed = await show_picture(context, path.product_id, kept, place)
    return _answered(context, path.product_id, placed.picture)


@operation("update_product_image")
async def update_product_image(
    context: Context, exchange: Exchange, path: UpdateProductImagePath, body: UpdateProductImageBody
) -> Answer:
    image = body.image
    url = UNSET if image.src is UNSET else image_url(context, image.src, "/image/src")
    picture = await _picture(context, path.product_id, path.image_id)
    await refuse_if_changed(context, exchange, path.product_id, path.image_id)
    change = PictureChange(
        picture=UNSET if url is UNSET else await _keep(context, url),
        alt_text=image.alt,
        position=image.position,
    )
    if change != PictureChange():
        async with context.transaction():
            await require_unchanged(context, exchange, path.product_id, path.image_id)
            picture = (await change_picture(context, path.product_id, path.image_id, change)).picture
    return _answered(context, path.product_id, picture)


@operation("delete_product_image")
async def delete_product_image(
    context: Context, exchange: Exchange, path: DeleteProductImagePath
) -> dict[str, Any]:
    async with context.transaction():
        await require_unchanged(context, exchange, path.product_id, path.image_id)
        await remove_picture(context, path.product_id, path.image_id)
    return {}


def image_url(context: Context, src: str, pointer: str) -> str:
    """The absolute address that `src` means: http or https, or `//host/path` read as https.

    A path under our own media is one of ours, because answers have such paths where no host may be named.
    """
    if src.startswith(MEDIA_PATH):
        return context.url_base + src
    try:
        read_url(src, scheme_relative=True)
    except UrlUnreadable as error:
        raise BodyFault.at(pointer, "Give a URL that begins with http://, https:// or //.") from error
    src = src.strip(" ")
    return f"https:{src}" if src.startswith("//") else src


def _answered(context: Context, product_id: UUID, picture: ShownPicture) -> Answer:
    """The image, with the ETag that If-Match takes."""
    view = image_view(product_id, picture, link_start(context))
    return Answer({"image": view}, state=picture_state(picture))


async def _keep(context: Context, url: str) -> KeptPicture:
    (kept,) = await keep_urls(context, [url], SHOPLAZZA_FORMATS)
    if isinstance(kept, Problem):
        raise kept
    return kept


async def _pictures(context: Context, product_id: UUID) -> list[ShownPicture]:
    """The pictures of a product of the caller's merchant. Raises ProductNotFound."""
    async with context.reading() as db:
        await get_product_id(db, product_id=product_id)
        return await read_pictures(db, product_id)


async def _picture(context: Context, product_id: UUID, image_id: UUID) -> ShownPicture:
    for picture in await _pictures(context, product_id):
        if picture.product_picture_id == image_id:
            return picture
    raise PictureNotFound()


def _position(sent: int | str) -> int:
    """A number, or its digits. What lies beyond the last place means the last place."""
    if isinstance(sent, int):
        return sent
    digits = sent.lstrip("0")
    return int(digits) if len(digits) < 10 else MOST_PICTURES + 1
