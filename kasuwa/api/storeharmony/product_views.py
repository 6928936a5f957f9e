"""How a product reads in StoreHarmony's words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from kasuwa.api import quantities
from kasuwa.base.http.contract import encode
from kasuwa.base.money import from_minor
from kasuwa.domain.catalogue.cards import Card
from kasuwa.domain.catalogue.lists import ListedProduct
from kasuwa.domain.catalogue.records import Price, Product, ShownPicture, StockLevel, Tax, Variant

Json = dict[str, Any]


def item_card(product: Product) -> Card:
    """Everything of a StockItem that does not depend on a store's stock, as the lists keep it."""
    view = _fixed(product, with_cost=True)
    body = encode(view).decode()
    if product.main.price.cost_minor is None:
        return Card(body)
    return Card(body, encode(view | {"prices": view["prices"] | {"costPrice": None}}).decode())


def listed_item(row: ListedProduct, store_id: UUID) -> bytes:
    """A card and the store's live stock as one JSON object."""
    return row.body[:-1].encode() + b"," + encode(live_figures(row, store_id))[1:]


def live_figures(row: ListedProduct, store_id: UUID) -> Json:
    """What lies of a row, in the words of a StockItem."""
    return _live(
        store_id,
        row.track_quantity,
        row.on_hand,
        row.reserved,
        row.reorder_level,
        row.reorder_quantity,
        is_low=row.is_low,
    )


def live_format(store_id: UUID) -> str:
    """What PostgreSQL's format() makes of a row's stock: the same as `listed_item`, for a whole page."""
    return (
        f',"storeId":"{store_id}","quantity":%1$s,"reserved":%2$s,"available":%3$s,"reorderLevel":%4$s,'
        '"reorderQuantity":%5$s,"lowStock":%6$s}'
    )


def full_item(product: Product, stock: Sequence[StockLevel], store_id: UUID, *, with_cost: bool) -> Json:
    """A StockItem with the prices and figures of the store, those of the other locations and its variants."""
    product = product.at(store_id)
    here = [level for level in stock if level.store_id == store_id]
    own = next((level for level in here if level.variant_id == product.main.variant_id), None)
    live = _live(
        store_id,
        product.track_quantity,
        sum((level.on_hand for level in here), Decimal(0)),
        sum((level.reserved for level in here), Decimal(0)),
        own.reorder_level if own else None,
        own.reorder_quantity if own else None,
        is_low=any(level.is_low for level in here),
    )
    variants = variant_views(product, stock, store_id, with_cost=with_cost)
    return (
        _fixed(product, with_cost=with_cost)
        | live
        | {"locations": _locations(stock, product), "variants": variants}
    )


def variant_views(
    product: Product, stock: Sequence[StockLevel], store_id: UUID, *, with_cost: bool
) -> list[Json]:
    """The variants with the figures of the store and of the other locations; none of a simple product."""
    if product.kind == "simple":
        return []
    product = product.at(store_id)
    levels: dict[UUID, list[StockLevel]] = {}
    for level in stock:
        levels.setdefault(level.variant_id, []).append(level)
    positions = {picture.product_picture_id: picture.position for picture in product.pictures}
    return [
        _variant(
            product,
            variant,
            levels.get(variant.variant_id, []),
            store_id,
            image_position=positions.get(variant.product_picture_id) if variant.product_picture_id else None,
            with_cost=with_cost,
        )
        for variant in product.variants
    ]


def _fixed(product: Product, *, with_cost: bool) -> Json:
    return {
        "itemId": product.product_id,
        "type": product.kind,
        "status": product.status,
        "sku": product.main.sku,
        "barcode": product.main.barcode,
        "name": product.name,
        "slug": product.slug,
        "description": product.description,
        "brand": product.brand,
        "unit": product.unit,
        "tags": product.tags,
        "categories": [
            {"categoryId": c.category_id, "name": c.name, "path": c.path} for c in product.categories
        ],
        "prices": price_view(product.main.price, with_cost=with_cost),
        "tax": tax_view(product.tax),
        "trackQuantity": product.track_quantity,
        "images": [picture_view(picture) for picture in product.pictures],
        "options": product.options,
        "variants": [],
        "visibleOnline": product.visible_online,
        "weightGrams": product.weight_grams,
        "expiryDate": product.expiry_date,
        "version": product.version,
        "createdAt": product.created_at,
        "createdBy": product.created_by,
        "updatedAt": product.updated_at,
        "updatedBy": product.updated_by,
    }


def _live(
    store_id: UUID,
    tracked: bool,
    on_hand: Decimal,
    reserved: Decimal,
    reorder_level: Decimal | None,
    reorder_quantity: Decimal | None,
    *,
    is_low: bool,
) -> Json:
    available = on_hand - reserved
    return {
        "storeId": store_id,
        "quantity": plain(on_hand) if tracked else None,
        "reserved": plain(reserved),
        "available": plain(available) if tracked else None,
        "reorderLevel": plain(reorder_level),
        "reorderQuantity": plain(reorder_quantity),
        "lowStock": tracked and is_low,
    }


def price_view(price: Price, *, with_cost: bool, at: datetime | None = None) -> Json:
    """The price as it holds now, or held at that time."""

    def amount(minor: int | None) -> Decimal | None:
        return None if minor is None else from_minor(minor, price.currency)

    return {
        "currency": price.currency,
        "costPrice": amount(price.cost_minor) if with_cost else None,
        "sellingPrice": amount(price.selling_minor),
        "promoPrice": amount(price.promo_minor),
        "promoStartsAt": price.promo_starts_at,
        "promoEndsAt": price.promo_ends_at,
        "wholesalePrice": amount(price.wholesale_minor),
        "wholesaleMinQuantity": plain(price.wholesale_min_quantity),
        "effectivePrice": amount(price.effective_minor(at or datetime.now(UTC))),
    }


def picture_view(picture: ShownPicture) -> Json:
    largest = picture.rendition("zoom")
    return {
        "position": picture.position,
        "url": largest.path,
        "contentType": largest.content_type,
        "addedAt": picture.added_at,
        "imageId": picture.product_picture_id,
        "alt": picture.alt_text[:1000],
        "widthPx": picture.width_px,
        "heightPx": picture.height_px,
    }


def plain(quantity: Decimal | None) -> Decimal | None:
    """Without zeros at its end, and never with an exponent."""
    return None if quantity is None else quantities.plain(quantity)


def tax_view(tax: Tax) -> Json:
    view: Json = {"taxable": tax.taxable, "taxCode": tax.code}
    if tax.rate is not None:
        view["taxRate"] = plain(tax.rate)
    if tax.vat_type is not None:
        view["vatType"] = tax.vat_type
    return view


def _locations(stock: Sequence[StockLevel], product: Product) -> list[Json]:
    """The figures of each location; of several variants the sums, and the product's own reorder level."""
    stores: dict[UUID, list[StockLevel]] = {}
    for level in stock:
        stores.setdefault(level.store_id, []).append(level)
    tracked = product.track_quantity
    return [
        {
            "storeId": store_id,
            "storeName": levels[0].store_name,
            "quantity": plain(sum((lv.on_hand for lv in levels), Decimal(0))) if tracked else None,
            "reserved": plain(sum((lv.reserved for lv in levels), Decimal(0))),
            "available": plain(sum((lv.on_hand - lv.reserved for lv in levels), Decimal(0)))
            if tracked
            else None,
            "inTransit": plain(sum((lv.in_transit for lv in levels), Decimal(0))),
            "reorderLevel": plain(_reorder_level(levels, product)),
        }
        for store_id, levels in stores.items()
    ]


def _reorder_level(levels: Sequence[StockLevel], product: Product) -> Decimal | None:
    if len({level.variant_id for level in levels}) == 1:
        return levels[0].reorder_level
    own = (level.reorder_level for level in levels if level.variant_id == product.main.variant_id)
    return next(own, None)


def _variant(
    product: Product,
    variant: Variant,
    levels: Sequence[StockLevel],
    store_id: UUID,
    *,
    image_position: int | None,
    with_cost: bool,
) -> Json:
    here = next((level for level in levels if level.store_id == store_id), None)
    on_hand = here.on_hand if here else Decimal(0)
    reserved = here.reserved if here else Decimal(0)
    tracked = product.track_quantity
    return {
        "variantId": variant.variant_id,
        "itemId": product.product_id,
        "sku": variant.sku,
        "barcode": variant.barcode,
        "name": variant.name,
        "options": variant.options,
        "prices": price_view(variant.price, with_cost=with_cost),
        "quantity": plain(on_hand) if tracked else None,
        "reserved": plain(reserved),
        "available": plain(on_hand - reserved) if tracked else None,
        "reorderLevel": plain(here.reorder_level) if here else None,
        "locations": _locations(levels, product),
        "imagePosition": image_position,
        "active": variant.active,
        "createdAt": variant.created_at,
        "updatedAt": variant.updated_at,
    }
