"""Making and changing products: what a request says, put into the shop's words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from kasuwa.api.bigcommerce.contract import BcProductImageWrite, BcProductWrite
from kasuwa.api.bigcommerce.errors import DOCS, ImageRefused, ImageUrlMissing, image_problem
from kasuwa.api.bigcommerce.images import change_of, check_image_url, place_of
from kasuwa.api.bigcommerce.product_fields import grams, kept_fields, price_of, read_numbers
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.http.api import BODY_BYTES, Exchange
from kasuwa.base.http.body import read_body, require_media_type
from kasuwa.base.http.contract import decode
from kasuwa.base.problems import FieldFault, Invalid, Malformed, Problem, renamed
from kasuwa.domain.catalogue.actions import (
    ProductChange,
    create_product,
    lock_product,
    share_category_tree,
    update_product,
)
from kasuwa.domain.catalogue.errors import BarcodeTaken, UnknownCategory
from kasuwa.domain.catalogue.queries import get_product_id, read_category_ids
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Product
from kasuwa.domain.inventory.actions import open_balance, set_reorder, set_stock
from kasuwa.domain.inventory.errors import WrongQuantity
from kasuwa.domain.media.actions import change_picture, find_picture_id, show_pictures
from kasuwa.domain.media.errors import PictureNotFound
from kasuwa.domain.media.keeping import keep_urls
from kasuwa.domain.media.records import BIGCOMMERCE_FORMATS, KeptPicture
from kasuwa.domain.stores.queries import currency_of

T = TypeVar("T")


class Sent(Struct, frozen=True):
    """What a request says of one product; `number` is the product's in a batch."""

    facts: BcProductWrite
    number: int | None = None

    @property
    def has_images(self) -> bool:
        return self.facts.images is not UNSET

    @property
    def images(self) -> list[BcProductImageWrite]:
        return [] if self.facts.images is UNSET else self.facts.images


class Unsaved(Struct, frozen=True):
    """Something that was not saved, while the rest was: a field's path, and what is said of it."""

    path: str
    text: str
    status: int
    title: str

    @classmethod
    def of(cls, problem: Problem, path: str) -> "Unsaved":
        fault = problem.faults[0] if problem.faults else None
        text = problem.invalid_reason if isinstance(problem, ImageRefused) else problem.title
        return cls(
            f"{path}.{fault.field}" if fault and fault.field else path,
            fault.message if fault else text,
            problem.status,
            problem.title,
        )

    def within(self, path: str) -> "Unsaved":
        return msgspec.structs.replace(self, path=f"{path}.{self.path}")

    def partial(self, others: Sequence["Unsaved"]) -> dict[str, Any]:
        """The `errors` of a 207, with the status and title of this one."""
        errors: dict[str, str] = {}
        for other in others:
            errors.setdefault(other.path, other.text)
        return {"status": self.status, "title": self.title, "type": DOCS, "errors": errors}

    def problem(self, others: Sequence["Unsaved"]) -> Problem:
        """The refusal of a whole request of which nothing was saved."""
        return NothingSaved(self, others)


class NothingSaved(Problem):
    """No product of a batch was changed: the first one's status, and what is wrong with each."""

    def __init__(self, first: Unsaved, all_of_them: Sequence[Unsaved]) -> None:
        faults = [FieldFault("/" + one.path.replace(".", "/"), "refused", one.text) for one in all_of_them]
        super().__init__(faults=faults)
        self.status = first.status  # type: ignore[misc]  # as the first one has it
        self.title = first.title  # type: ignore[misc]


class KeptImages(Struct, frozen=True):
    """The images of one product that were stored, and those that could not be had."""

    good: list[tuple[BcProductImageWrite, KeptPicture | None]]
    faults: list[Unsaved]


async def read_product(exchange: Exchange) -> Any:
    """One product or a batch; numbers may be texts. Broken JSON of a change is a 422, as clients know it."""
    operation = exchange.operation
    assert operation is not None
    media = require_media_type(exchange.request, operation.body.keys())
    content = await read_body(exchange.request, BODY_BYTES)
    exchange.fingerprint = content
    try:
        body = decode(content, operation.body[media], exchange.dialect.checks, reshape=read_numbers)
    except Malformed as problem:
        if operation.method == "PUT":
            raise Invalid(problem.detail) from problem
        raise
    is_new = operation.method == "POST"
    if isinstance(body, list):
        return [_sent(item, f"/{index}", is_new=is_new) for index, item in enumerate(body)]
    return _sent(body, "", is_new=is_new)


async def keep_images(context: Context, products: Sequence[Sent]) -> list[KeptImages]:
    """Fetch the images of all the products, together within the time of one request."""
    urls = [image.image_url for sent in products for image in sent.images if image.image_url is not UNSET]
    fetched = iter(await keep_urls(context, urls, BIGCOMMERCE_FORMATS)) if urls else iter(())
    kept = []
    for sent in products:
        images = KeptImages([], [])
        for index, image in enumerate(sent.images):
            result = None if image.image_url is UNSET else next(fetched)
            if isinstance(result, Problem):
                assert image.image_url is not UNSET
                problem = image_problem(result, image.image_url)
                images.faults.append(Unsaved.of(problem, f"images.{index}.image_url"))
            else:
                images.good.append((image, result))
        kept.append(images)
    return kept


async def make_product(
    context: Context, sent: Sent, images: list[tuple[BcProductImageWrite, KeptPicture | None]]
) -> Product:
    """Add the product with its stock at the caller's store and its images. Inside a transaction."""
    facts = sent.facts
    async with context.transaction() as db:
        warning_level = facts.inventory_warning_level
        opening = OpeningStock(
            context.store_id,
            _decimal(facts.inventory_level),
            None if warning_level is UNSET else Decimal(warning_level),
        )
        assert facts.name is not UNSET
        new = NewProduct(
            name=facts.name,
            variants=(
                NewVariant(
                    price=price_of(facts, None, await currency_of(context)),
                    sku=_or(facts.sku, "") or None,
                    barcode=_or(facts.upc, "") or None,
                    opening=(opening,),
                ),
            ),
            status="inactive" if facts.availability == "disabled" else "active",
            description=_or(facts.description, ""),
            brand=_or(facts.brand_name, "") or None,
            category_ids=tuple(await _category_ids(db, _or(facts.categories, []))),
            track_quantity=_is_tracked(facts),
            visible_online=_or(facts.is_visible, True),
            weight_grams=grams(_or(facts.weight, Decimal(0))) or None,
            extra=kept_fields(facts, {}),
        )
        with _own_words():
            product = await create_product(context, new, name_is_unique=True)
        return await _show(context, product, images)


async def change_product(
    context: Context, number: int, sent: Sent, images: list[tuple[BcProductImageWrite, KeptPicture | None]]
) -> Product:
    """Change what was sent of the product; images are added, or changed when they have an id."""
    facts = sent.facts
    async with context.transaction() as db:
        if facts.categories is not UNSET:
            await share_category_tree(db)
        before = await lock_product(db, await get_product_id(db, number=number))
        with _own_words():
            product = await update_product(
                context,
                before.product_id,
                await _change(db, facts, before.at(context.store_id)),
                name_is_unique=True,
            )
            await _count(context, db, before, facts)
        return await _show(context, product, images)


async def _change(db: Database, facts: BcProductWrite, before: Product) -> ProductChange:
    change: dict[str, Any] = {
        "name": facts.name,
        # Every variant has a SKU here: an empty one leaves it as it is.
        "sku": facts.sku or UNSET,
        "description": facts.description,
        "visible_online": facts.is_visible,
        "weight_grams": UNSET if facts.weight is UNSET else grams(facts.weight),
        "price": price_of(facts, before.main.price, before.main.price.currency),
        "extra": kept_fields(facts, before.extra),
    }
    if facts.upc is not UNSET:
        change["barcode"] = facts.upc or None
    if facts.brand_name is not UNSET:
        change["brand"] = facts.brand_name or None
    if facts.categories is not UNSET:
        change["category_ids"] = tuple(await _category_ids(db, facts.categories))
    if facts.inventory_tracking is not UNSET:
        change["track_quantity"] = facts.inventory_tracking != "none"
    if facts.availability is not UNSET:
        change["status"] = "inactive" if facts.availability == "disabled" else "active"
    return ProductChange(**change)


async def _count(context: Context, db: Database, product: Product, facts: BcProductWrite) -> None:
    """Book the figures of the caller's store."""
    if facts.inventory_level is UNSET and facts.inventory_warning_level is UNSET:
        return
    if product.kind == "variant":
        fault = FieldFault("/inventory_level", "not_allowed", "This product is counted by its variants.")
        raise Invalid(faults=[fault])
    variant_id = product.main.variant_id
    await open_balance(context, db, product.product_id, variant_id, OpeningStock(context.store_id))
    if facts.inventory_level is not UNSET:
        await set_stock(
            context,
            db,
            context.store_id,
            variant_id,
            _decimal(facts.inventory_level),
            reason="inventory_level",
        )
    if facts.inventory_warning_level is not UNSET:
        await set_reorder(context, variant_id, level=_decimal(facts.inventory_warning_level))


async def _show(
    context: Context, product: Product, images: list[tuple[BcProductImageWrite, KeptPicture | None]]
) -> Product:
    """Show what was fetched, and change the images that were meant by their id."""
    new = [(kept, place_of(facts)) for facts, kept in images if kept is not None and facts.id is UNSET]
    if new:
        product = (await show_pictures(context, product.product_id, new))[-1].product
    for facts, kept in images:
        if facts.id is not UNSET:
            picture_id = await _picture_id(context, product, facts.id)
            change = change_of(facts, kept)
            product = (await change_picture(context, product.product_id, picture_id, change)).product
    return product


async def _picture_id(context: Context, product: Product, number: int) -> UUID:
    async with context.reading() as db:
        found = await find_picture_id(db, product.product_id, number)
    if found is None:
        raise PictureNotFound(faults=[FieldFault("/images", "unknown", "Name images of this product.")])
    return found


async def _category_ids(db: Database, numbers: Sequence[int]) -> list[UUID]:
    known = await read_category_ids(db, numbers)
    for index, number in enumerate(numbers):
        if number not in known:
            fault = FieldFault(f"/categories/{index}", "unknown", "Name categories of this store.")
            raise UnknownCategory(faults=[fault])
    return list(known.values())


@contextmanager
def _own_words() -> Iterator[None]:
    """The fields of a barcode and of a quantity have other names here."""
    try:
        yield
    except (BarcodeTaken, WrongQuantity) as problem:
        problem.faults = renamed(problem.faults, {"barcode": "upc", "quantity": "inventory_level"})
        raise


def _is_tracked(facts: BcProductWrite) -> bool:
    """Whoever says how much there is wants it counted; without a word the vendor does not count."""
    if facts.inventory_tracking is UNSET:
        return facts.inventory_level is not UNSET
    return facts.inventory_tracking != "none"


def _sent(item: Any, place: str, *, is_new: bool) -> Sent:
    """A body of any of the three operations, once its images are sound. Raises Invalid."""
    facts = BcProductWrite(**{name: getattr(item, name) for name in BcProductWrite.__struct_fields__})
    for index, image in enumerate([] if facts.images is UNSET else facts.images):
        pointer = f"{place}/images/{index}/image_url"
        if image.image_url is not UNSET:
            check_image_url(image.image_url, pointer)
        elif is_new or image.id is UNSET:
            raise ImageUrlMissing(faults=[FieldFault(pointer, "required", "Give the address of the image.")])
    return Sent(facts, getattr(item, "id", None))


def _decimal(level: int | UnsetType) -> Decimal:
    return Decimal(0) if level is UNSET else Decimal(level)


def _or(value: T | UnsetType, default: T) -> T:
    return default if value is UNSET else value
