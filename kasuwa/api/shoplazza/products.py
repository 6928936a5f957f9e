"""Products in Shoplazza's words."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from kasuwa.api.product_states import product_state, require_unchanged
from kasuwa.api.shoplazza.contract import (
    CreateProductBody,
    DeleteProductPath,
    ProductListQuery,
    ProductShowPath,
    SlzCreateProductParam,
    SlzInlineImage,
)
from kasuwa.api.shoplazza.dialect import BodyFault, IdNotUuid, fetch_sentence
from kasuwa.api.shoplazza.images import image_url
from kasuwa.api.shoplazza.new_products import LIMITS, or_default, read_new_product
from kasuwa.api.shoplazza.service import operation
from kasuwa.api.shoplazza.views import (
    EXTRA,
    Json,
    complete,
    link_start,
    listed_product,
    product_view,
    sellable,
)
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.base.problems import FieldFault, Invalid, Problem, renamed
from kasuwa.domain.catalogue.actions import create_product, remove_product
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.catalogue.lists import ListedProduct, count_products, cursor_at, list_products
from kasuwa.domain.catalogue.queries import get_product, read_stock
from kasuwa.domain.catalogue.records import PageWish, Product, ProductFilter, ProductStatus
from kasuwa.domain.catalogue.variants import show_variant_pictures
from kasuwa.domain.inventory.errors import WrongQuantity
from kasuwa.domain.media.actions import require_room, show_pictures
from kasuwa.domain.media.keeping import keep_urls
from kasuwa.domain.media.records import SHOPLAZZA_FORMATS, KeptPicture, Place, Placed
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import currency_of

PER_PAGE = 50
MOST_PER_PAGE = 250

_SHOWN: tuple[ProductStatus, ...] = ("active", "inactive")
# What the contract requires of every product, whichever fields are asked for.
_ALWAYS = frozenset({"id", "title", "created_at", "updated_at", "images"})


class ImagesNotKept(Invalid):
    code = "images-not-kept"
    title = "Some images could not be brought in, so nothing was saved"


@operation("product_list")
async def product_list(context: Context, query: ProductListQuery) -> Json:
    """A page, newest first. `cursor` leads to the page after it and `pre_cursor` to the one before."""
    if query.cursor and query.pre_cursor:
        fault = FieldFault("#/query/pre_cursor", "exclusive", "Give cursor or pre_cursor, not both.")
        raise Invalid(faults=[fault])
    size = min(query.per_page or PER_PAGE, MOST_PER_PAGE)
    onward = PageWish(sort="number", descending=True, size=size, cursor=query.cursor or None)
    back = PageWish(sort="number", descending=False, size=size, cursor=query.pre_cursor or None)
    page = await list_products(context, "shoplazza", _filter(query), back if query.pre_cursor else onward)
    rows = page.rows[::-1] if query.pre_cursor else page.rows
    more = page.next_cursor is not None
    is_last, is_first = (not rows, not more) if query.pre_cursor else (not more, not (query.cursor and rows))
    return {
        "cursor": "" if is_last else cursor_at(onward, rows[-1]),
        "pre_cursor": "" if is_first else cursor_at(back, rows[0]),
        "products": await _listed(context, rows, query.fields),
    }


@operation("product_count")
async def product_count(context: Context) -> Json:
    async with context.reading() as db:
        return {"count": await count_products(db, _SHOWN)}


@operation("product_show")
async def product_show(context: Context, path: ProductShowPath) -> Answer:
    return await _answered(context, path.product_id)


@operation("create_product")
async def add_product(context: Context, body: CreateProductBody) -> Answer:
    """The product with all its images, or nothing: this API has no answer for a half."""
    wanted = body.product
    new = read_new_product(wanted, await currency_of(context), context.store_id)
    sources = list(_sources(context, wanted))
    places = {source.url: source for source in reversed(sources)}
    # An image that is named twice in the list is shown twice; a variant's own only if it is not there.
    shown = [s for s in sources if s.variant is None or places[s.url] is s]
    require_room((), len(shown))
    kept = await _keep_all(context, sources)
    async with context.transaction():
        try:
            product = await create_product(context, new, limits=LIMITS)
        except WrongQuantity as problem:
            names = {"quantity": "inventory_quantity"}
            raise BodyFault(faults=renamed(problem.faults, names)) from problem
        if shown:
            placed = await show_pictures(
                context, product.product_id, [(kept[s.url], Place(alt_text=s.alt)) for s in shown]
            )
            await _show_variants(context, product, sources, kept, placed)
        return await _answered(context, product.product_id)


@operation("delete_product")
async def delete_product(context: Context, exchange: Exchange, path: DeleteProductPath) -> Json:
    async with context.transaction():
        await require_unchanged(context, exchange, path.product_id)
        await remove_product(context, path.product_id, on_remaining="write_off")
    return {}


class _Source(Struct, frozen=True):
    """An image of a product to be made: where it comes from, and whose it is."""

    url: str
    alt: str
    pointer: str
    variant: int | None = None


def _sources(context: Context, wanted: SlzCreateProductParam) -> Iterator[_Source]:
    for place, image in enumerate(or_default(wanted.images, [])):
        yield _source(context, image, f"/product/images/{place}")
    for place, variant in enumerate(or_default(wanted.variants, [])):
        if variant.image is not UNSET:
            yield _source(context, variant.image, f"/product/variants/{place}/image", place)


def _source(context: Context, image: SlzInlineImage, pointer: str, variant: int | None = None) -> _Source:
    for field in ("width", "height"):
        if or_default(getattr(image, field), 1) < 1:
            raise BodyFault.at(f"{pointer}/{field}", "Give 1 or more.")
    url = image_url(context, image.src, f"{pointer}/src")
    return _Source(url, or_default(image.alt, ""), f"{pointer}/src", variant)


async def _keep_all(context: Context, sources: list[_Source]) -> dict[str, KeptPicture]:
    """The pictures by their URL. Raises ImagesNotKept, which names each that could not be brought in."""
    urls = list(dict.fromkeys(source.url for source in sources))
    kept: dict[str, KeptPicture] = {}
    faults: list[FieldFault] = []
    for url, result in zip(urls, await keep_urls(context, urls, SHOPLAZZA_FORMATS), strict=True):
        if isinstance(result, KeptPicture):
            kept[url] = result
            continue
        faults += [_fault(source, result) for source in sources if source.url == url]
    if faults:
        raise ImagesNotKept(faults=faults)
    return kept


def _fault(source: _Source, problem: Problem) -> FieldFault:
    sentence = fetch_sentence(problem)
    if sentence is None:
        raise problem  # Not the image's fault: another try may do.
    return FieldFault(source.pointer, problem.code, sentence)


async def _show_variants(
    context: Context,
    product: Product,
    sources: list[_Source],
    kept: dict[str, KeptPicture],
    placed: list[Placed],
) -> None:
    """Let the pictures that came for variants stand for them."""
    places = {one.picture.picture_id: one.picture.product_picture_id for one in reversed(placed)}
    own = {
        product.variants[source.variant].variant_id: places[kept[source.url].picture_id]
        for source in sources
        if source.variant is not None
    }
    if own:
        await show_variant_pictures(context, product.product_id, own)


async def _answered(context: Context, product_id: UUID) -> Answer:
    """The product, with the ETag that If-Match takes."""
    async with context.reading() as db:
        product = await get_product(context, product_id)
        levels = await read_stock(db, [product_id], context.store_id)
    if product.status == "archived":
        raise ProductNotFound()
    view = product_view(product, with_cost=context.may(Permission.STOCK_COST))
    shown = complete(view, link_start(context), sellable(levels))
    return Answer({"product": shown}, state=product_state(context, product, levels))


async def _listed(context: Context, rows: tuple[ListedProduct, ...], fields: str | None) -> msgspec.Raw:
    """The products as a JSON array."""
    with_variants = [row.product_id for row in rows if row.has_variants]
    stock = {}
    if with_variants:
        async with context.reading() as db:
            stock = sellable(await read_stock(db, with_variants, context.store_id))
    start, listed = link_start(context), []
    for row in rows:
        if not row.has_variants and not fields:
            listed.append(listed_product(row, start))
            continue
        view: Json = msgspec.json.decode(row.body)
        if not row.has_variants:
            stock[view["variants"][0]["id"]] = row.on_hand - row.reserved
        listed.append(encode(_only(complete(view, start, stock), fields)))
    return msgspec.Raw(b"[" + b",".join(listed) + b"]")


def _only(view: Json, fields: str | None) -> Json:
    if not fields:
        return view
    wanted = _ALWAYS | {field.strip() for field in fields.split(",")}
    return {name: value for name, value in view.items() if name in wanted}


def _filter(query: ProductListQuery) -> ProductFilter:
    wanted: dict[str, Any] = {
        "name": query.title or None,
        "created_from": query.created_at_min,
        "created_to": query.created_at_max,
        "updated_from": query.updated_at_min,
        "updated_to": query.updated_at_max,
    }
    if query.ids:
        ids = [read_id(text.strip()) for text in query.ids.split(",")]
        if None in ids:
            raise IdNotUuid("Ids must be valid UUIDs")
        wanted["product_ids"] = tuple(ids)
    if query.published_status in ("published", "unpublished"):
        wanted["visible_online"] = query.published_status == "published"
    if query.spus:
        wanted["extra_any"] = tuple({EXTRA: {"spu": spu.strip()}} for spu in query.spus.split(","))
    return ProductFilter(statuses=_SHOWN, **wanted)
