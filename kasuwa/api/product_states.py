"""What If-Match compares when products and their pictures are changed: one thing in all APIs.

A read's ETag names the state of what it shows, so that fields and pages may be chosen freely. A change goes
through with the tag of whatever holds all that it changes: of a picture its own, its list's or its product's.
"""

from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import UUID

import msgspec

from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange
from kasuwa.base.http.caching import require_state
from kasuwa.base.http.contract import encode
from kasuwa.domain.catalogue.actions import lock_product, share_category_tree
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.catalogue.queries import read_products, read_stock
from kasuwa.domain.catalogue.records import Product, ShownPicture, StockLevel
from kasuwa.domain.media.errors import PictureNotFound

Part = Literal["product", "pictures"] | UUID
"""What of a product is changed: itself, its list of pictures, or the picture with that id."""


def picture_state(picture: ShownPicture, *, with_position: bool = True) -> bytes:
    """Of one picture. Where its position is not shown, a neighbour that goes does not change it."""
    return encode(picture if with_position else msgspec.structs.replace(picture, position=0))


def pictures_state(pictures: Iterable[ShownPicture]) -> bytes:
    """Of a product's whole list of pictures."""
    return encode(list(pictures))


def product_state(context: Context, product: Product, stock: Sequence[StockLevel]) -> bytes:
    """Of a product at the caller's store, whose figures are a part of it; `stock` may have other stores'."""
    here = [level for level in stock if level.store_id == context.store_id]
    return encode((product.at(context.store_id), here))


async def require_unchanged(
    context: Context, exchange: Exchange, product_id: UUID, part: Part = "product"
) -> None:
    """With If-Match: raises PreconditionFailed when the part of the product reads otherwise by now.

    It begins the transaction of the change, and holds the product, so that nobody comes in between.
    Raises ProductNotFound, PictureNotFound.
    """
    if "if-match" in exchange.request.headers:
        async with context.transaction() as db:
            # Before the product: what follows may put it into categories.
            await share_category_tree(db)
            await _compare(context, exchange, await lock_product(db, product_id), part)


async def refuse_if_changed(
    context: Context, exchange: Exchange, product_id: UUID, part: Part = "product"
) -> None:
    """The same before the slow part, so that no picture is fetched or kept for a change that is refused.

    Nothing is held: `require_unchanged` decides.
    """
    if "if-match" in exchange.request.headers:
        async with context.reading() as db:
            products = await read_products(db, [product_id])
            if not products:
                raise ProductNotFound()
            await _compare(context, exchange, products[0], part)


async def _compare(context: Context, exchange: Exchange, product: Product, part: Part) -> None:
    async with context.reading() as db:
        stock = await read_stock(db, [product.product_id], context.store_id)
    states = [product_state(context, product, stock)]
    if part != "product":
        states.append(pictures_state(product.pictures))
    if isinstance(part, UUID):
        picture = next((p for p in product.pictures if p.product_picture_id == part), None)
        if picture is None:
            raise PictureNotFound()
        states += [picture_state(picture), picture_state(picture, with_position=False)]
    require_state(exchange.request, states)
