"""Pictures of products in StoreHarmony's words."""

from kasuwa.api.product_states import product_state, refuse_if_changed, require_unchanged
from kasuwa.api.storeharmony.contract import UploadProductPicturePath, UploadProductPictureQuery
from kasuwa.api.storeharmony.products import item_id
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange
from kasuwa.base.http.body import media_type, read_body, read_byte_array, read_form
from kasuwa.base.problems import Malformed, UnsupportedMediaType
from kasuwa.domain.catalogue.actions import lock_product
from kasuwa.domain.catalogue.queries import get_product_id, read_pictures, read_stock
from kasuwa.domain.media.actions import require_room, show_picture
from kasuwa.domain.media.keeping import keep_bytes, sha256_of
from kasuwa.domain.media.records import MOST_BYTES, MOST_PICTURES, STOREHARMONY_FORMATS, Place

# A picture of 8 MB as a JSON array of byte values.
_ARRAY_BYTES = 40 * 1024 * 1024


async def read_picture(exchange: Exchange) -> bytes:
    """The picture's bytes, in whichever of the four ways they came."""
    request = exchange.request
    kind = media_type(request)
    if kind == "application/json":
        content = await read_byte_array(request, _ARRAY_BYTES, content_limit_bytes=MOST_BYTES)
    elif kind == "application/octet-stream" or kind.startswith("image/"):
        content = await read_body(request, MOST_BYTES)
    elif kind == "multipart/form-data":
        form = await read_form(request, max_file_bytes=MOST_BYTES)
        if "file" not in form.files:
            raise Malformed("Send the picture as the part `file`.")
        content = form.files["file"].content
    else:
        raise UnsupportedMediaType(
            "Send application/json, image/*, application/octet-stream or multipart/form-data."
        )
    if not content:
        raise Malformed("Send the picture's bytes in the body.")
    exchange.fingerprint = content
    return content


@api.operation("uploadProductPicture", read=read_picture)
async def upload_product_picture(
    context: Context,
    exchange: Exchange,
    path: UploadProductPicturePath,
    query: UploadProductPictureQuery,
    body: bytes,
) -> Answer:
    product_id, position = item_id(path.itemid), int(query.position)
    async with context.reading() as db:
        await get_product_id(db, product_id=product_id)
        before = await read_pictures(db, product_id)
    # A full product takes only what it shows at that place already.
    if len(before) < MOST_PICTURES or before[position - 1].sha256 != await sha256_of(body):
        require_room(before)
    await refuse_if_changed(context, exchange, product_id)
    kept = await keep_bytes(context, body, STOREHARMONY_FORMATS)
    async with context.transaction() as db:
        await require_unchanged(context, exchange, product_id)
        # Under the product's lock: the same upload may be on its way a second time.
        product = await lock_product(db, product_id)
        shown = [p for p in product.pictures if (p.position, p.picture_id) == (position, kept.picture_id)]
        if not shown:
            placed = await show_picture(context, product_id, kept, Place(position=position))
            product, shown = placed.product, [placed.picture]
        stock = await read_stock(db, [product_id], context.store_id)
    return Answer(shown[0].rendition("zoom").path, state=product_state(context, product, stock))
