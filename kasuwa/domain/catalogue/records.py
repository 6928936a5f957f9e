"""The words of the catalogue."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

ProductStatus = Literal["active", "inactive", "archived"]
ProductKind = Literal["simple", "variant"]


class Price(Struct, frozen=True, kw_only=True):
    """What one unit costs, in minor units of the currency."""

    currency: str
    selling_minor: int
    cost_minor: int | None = None
    promo_minor: int | None = None
    promo_starts_at: datetime | None = None
    promo_ends_at: datetime | None = None
    wholesale_minor: int | None = None
    wholesale_min_quantity: Decimal | None = None

    def effective_minor(self, at: datetime) -> int:
        """The price of one unit at that time: the promotion's while it runs."""
        if self.promo_minor is None:
            return self.selling_minor
        begun = self.promo_starts_at is None or self.promo_starts_at <= at
        ended = self.promo_ends_at is not None and self.promo_ends_at <= at
        return self.promo_minor if begun and not ended else self.selling_minor

    def changes_at(self, after: datetime) -> datetime | None:
        """When the price of one unit changes next without anybody's doing."""
        if self.promo_minor is None:
            return None
        return min(
            (at for at in (self.promo_starts_at, self.promo_ends_at) if at and at > after), default=None
        )


class StorePrice(Struct, frozen=True):
    """A price that one store has for itself."""

    store_id: UUID
    price: Price


class OptionValue(Struct, frozen=True):
    name: str
    value: str


class ProductOption(Struct, frozen=True):
    """What tells the variants of a product apart, with its values in the order they are shown."""

    name: str
    values: tuple[str, ...]


class Variant(Struct, frozen=True, kw_only=True):
    """What the shop sells and counts. A simple product has exactly one.

    Without `own_price` its price is the product's, and follows it.
    """

    variant_id: UUID
    number: int
    position: int
    name: str
    options: tuple[OptionValue, ...]
    sku: str
    barcode: str | None
    active: bool
    extra: dict[str, Any]
    # What holds at every store that has no price of its own.
    price: Price
    store_prices: tuple[StorePrice, ...] = ()
    own_price: bool
    product_picture_id: UUID | None
    created_at: datetime
    updated_at: datetime

    def has_price_at(self, store_id: UUID) -> bool:
        """Whether the store has a price of its own for it."""
        return any(own.store_id == store_id for own in self.store_prices)

    def price_at(self, store_id: UUID) -> Price:
        """The price that holds at the store."""
        return next((own.price for own in self.store_prices if own.store_id == store_id), self.price)


class CategoryName(Struct, frozen=True):
    """A category as a product shows it; `path` are the names from the top down to it."""

    category_id: UUID
    number: int
    name: str
    path: tuple[str, ...]


class Category(Struct, frozen=True, kw_only=True):
    """A node of the tree. `item_count` counts the products directly inside that are not archived."""

    category_id: UUID
    number: int
    parent_id: UUID | None
    name: str
    slug: str
    description: str | None
    visible_online: bool
    position: int
    path: tuple[str, ...]
    # Where it stands in the order of the whole tree; what is below begins with it.
    tree_key: str
    picture_id: UUID | None
    picture_path: str | None
    item_count: int
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def depth(self) -> int:
        """0 at the top."""
        return len(self.path) - 1


class ShownPicture(Struct, frozen=True, kw_only=True):
    """A picture in its place on a product, as a card shows it."""

    product_picture_id: UUID
    number: int
    position: int
    sort_order: int
    alt_text: str
    is_thumbnail: bool
    added_at: datetime
    updated_at: datetime
    picture_id: UUID
    sha256: str
    format: str
    width_px: int
    height_px: int
    renditions: tuple["Rendition", ...]

    def rendition(self, name: str) -> "Rendition":
        """The file of that name that every browser reads: JPEG or PNG."""
        return next(r for r in self.renditions if r.name == name and r.content_type != "image/webp")


class Rendition(Struct, frozen=True):
    """One file of a picture. `path` begins with /media/ and never changes its bytes; `sha256` is of those."""

    name: str
    content_type: str
    width_px: int
    height_px: int
    path: str
    size_bytes: int
    sha256: str = ""


class Tax(Struct, frozen=True):
    """`rate` as it was sent: below 1 a fraction, from 1 on percent. None: the store's."""

    taxable: bool = True
    rate: Decimal | None = None
    vat_type: Literal["inclusive", "exclusive"] | None = None
    code: str | None = None


class Product(Struct, frozen=True, kw_only=True):
    """A product with everything that does not depend on a store's stock.

    `main` is the product itself: its own SKU, barcode and price. Of a simple product it is the one variant;
    one with variants sells those in `variants`, and `main` is not among them.
    """

    product_id: UUID
    number: int
    kind: ProductKind
    status: ProductStatus
    name: str
    slug: str
    description: str | None
    brand: str | None
    unit: str
    tags: tuple[str, ...]
    tax: Tax
    track_quantity: bool
    visible_online: bool
    weight_grams: int | None
    expiry_date: date | None
    extra: dict[str, Any]
    version: int
    created_at: datetime
    created_by: UUID | None
    updated_at: datetime
    updated_by: UUID | None
    options: tuple[ProductOption, ...]
    main: Variant
    variants: tuple[Variant, ...]
    categories: tuple[CategoryName, ...]
    pictures: tuple[ShownPicture, ...]

    @property
    def priced_store_ids(self) -> tuple[UUID, ...]:
        """The stores that have a price of their own for it, or for one of its variants."""
        own = (own for variant in (self.main, *self.variants) for own in variant.store_prices)
        return tuple(sorted({price.store_id for price in own}))

    def at(self, store_id: UUID) -> "Product":
        """The product as that store sells it: its price, and each variant's, is the one that holds there."""
        if not self.priced_store_ids:
            return self
        main, *here = (
            replace(variant, price=variant.price_at(store_id)) for variant in (self.main, *self.variants)
        )
        return replace(self, main=main, variants=tuple(here))


class OpeningStock(Struct, frozen=True):
    """What lies at a location when a product is made; `pointer` is where the caller's body says so.

    Of a product that is there already it is a count: `expected` is what lay there when it was written (None:
    nobody said), and `given` names those of the three figures that are meant (None: all).
    """

    store_id: UUID
    quantity: Decimal = Decimal(0)
    reorder_level: Decimal | None = None
    reorder_quantity: Decimal | None = None
    pointer: str = ""
    expected: Decimal | None = None
    given: frozenset[str] | None = None

    def gives(self, field: str) -> bool:
        return self.given is None or field in self.given


class NewVariant(Struct, frozen=True, kw_only=True):
    """A variant to be made; without `sku` one is given, without `price` the product's holds.

    `image_position` names a picture of the product.
    """

    price: Price | None = None
    sku: str | None = None
    barcode: str | None = None
    name: str = ""
    options: tuple[OptionValue, ...] = ()
    image_position: int | None = None
    active: bool = True
    extra: dict[str, Any] = {}
    opening: tuple[OpeningStock, ...] = ()


class NewProduct(Struct, frozen=True, kw_only=True):
    """A product to be made. One with variants has options, and `main` for what is its own."""

    name: str
    variants: tuple[NewVariant, ...]
    kind: ProductKind = "simple"
    options: tuple[ProductOption, ...] = ()
    main: NewVariant | None = None
    status: ProductStatus = "active"
    slug: str | None = None
    description: str | None = None
    brand: str | None = None
    unit: str = "each"
    tags: tuple[str, ...] = ()
    category_ids: tuple[UUID, ...] = ()
    tax: Tax = Tax()
    track_quantity: bool = True
    visible_online: bool = False
    weight_grams: int | None = None
    expiry_date: date | None = None
    extra: dict[str, Any] = {}


class ProductFilter(Struct, frozen=True, kw_only=True):
    """Which products a list shows; every condition that is not None must hold."""

    statuses: tuple[ProductStatus, ...] = ("active",)
    text: str | None = None
    # Whether `text` is looked for in descriptions too.
    in_descriptions: bool = False
    # Whether typing errors in `text` are corrected when nothing has it as it stands.
    corrects_text: bool = True
    product_ids: tuple[UUID, ...] | None = None
    numbers: tuple[int, ...] | None = None
    not_numbers: tuple[int, ...] | None = None
    number_from: int | None = None
    number_to: int | None = None
    name: str | None = None
    skus: tuple[str, ...] | None = None
    visible_online: bool | None = None
    category_id: UUID | None = None
    low_stock: bool | None = None
    updated_from: datetime | None = None
    updated_to: datetime | None = None
    extra: dict[str, Any] | None = None
    # Paths of kept fields that must not be there.
    extra_absent: tuple[tuple[str, ...], ...] = ()
    extra_any: tuple[dict[str, Any], ...] | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None

    @property
    def is_plain(self) -> bool:
        """Only the statuses are asked for, so that the counters know the total."""
        return self == ProductFilter(statuses=self.statuses)


SortKey = Literal[
    "name",
    "sku",
    "updated_at",
    "created_at",
    "quantity",
    "number",
    "price",
    "effective_price",
    "visible_online",
]


class PageWish(Struct, frozen=True, kw_only=True):
    """Which page of a list. A cursor wins over the page.

    `any_depth` is for APIs without a cursor: every page is answered, and every total is exact.
    """

    sort: SortKey = "name"
    descending: bool = False
    page: int = 1
    size: int = 50
    cursor: str | None = None
    any_depth: bool = False


class StockLevel(Struct, frozen=True):
    """What lies of a product or a variant at a store.

    `is_low`: at or below the reorder level; what was said of a
    product with variants holds for all of them together."""

    product_id: UUID
    variant_id: UUID
    store_id: UUID
    store_name: str
    on_hand: Decimal
    reserved: Decimal
    in_transit: Decimal
    reorder_level: Decimal | None
    reorder_quantity: Decimal | None
    is_low: bool


class Removal(Struct, frozen=True):
    """`archived` when movements or sales refer to the product, else `deleted`."""

    product_id: UUID
    status: Literal["archived", "deleted"]
    at: datetime
