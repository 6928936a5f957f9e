"""How a product reads in StoreHarmony's words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from kasuwa.base.http.contract import encode
from kasuwa.base.money import from_minor
from kasuwa.domain.catalogue.cards import Card
from kasuwa.domain.catalogue.lists import ListedProduct
from kasuwa.domain.catalogue.records import Price, Product, ShownPicture, StockLevel, Tax, Variant

Json = dict[str, Any]


def item_card(product: Product) -> Card:
    """Everything of a StockItem that does not depend on a store's stock, as the lists keep it."""
    body = encode(_fixed(product, with_cost=True)).decode()
    bare = encode(_fixed(product, with_cost=False)).decode()
    return Card(body, None if bare == body else bare)


def listed_item(row: ListedProduct, store_id: UUID) -> bytes:
    """A card and the store's live stock as one JSON object."""
    live = encode(
        _live(
            store_id, row.track_quantity, row.on_hand, row.reserved, row.reorder_level, row.reorder_quantity
        )
    )
    return row.body[:-1].encode() + b"," + live[1:]


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
    return (
        _fixed(product, with_cost=with_cost)
        | _live(
            store_id,
            product.track_quantity,
            sum((level.on_hand for level in here), Decimal(0)),
            sum((level.reserved for level in here), Decimal(0)),
            max((level.reorder_level for level in here if level.reorder_level is not None), default=None),
            max(
                (level.reorder_quantity for level in here if level.reorder_quantity is not None), default=None
            ),
        )
        | {
            "locations": _locations(stock, tracked=product.track_quantity),
            "variants": _variants(product, stock, store_id, with_cost=with_cost),
        }
    )


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
        "categories": [{"categoryId": c.category_id, "name": c.name} for c in product.categories],
        "prices": price_view(product.main.price, with_cost=with_cost),
        "tax": tax_view(product.tax),
        "trackQuantity": product.track_quantity,
        "images": [picture_view(picture) for picture in product.pictures],
        "options": _options(product),
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
) -> Json:
    available = on_hand - reserved
    return {
        "storeId": store_id,
        "quantity": plain(on_hand) if tracked else None,
        "reserved": plain(reserved),
        "available": plain(available) if tracked else None,
        "reorderLevel": plain(reorder_level),
        "reorderQuantity": plain(reorder_quantity),
        "lowStock": tracked and reorder_level is not None and available <= reorder_level,
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
    if quantity is None:
        return None
    return quantity.quantize(Decimal(1)) if quantity == quantity.to_integral_value() else quantity.normalize()


def tax_view(tax: Tax) -> Json:
    view: Json = {"taxable": tax.taxable, "taxCode": tax.code}
    if tax.rate is not None:
        view["taxRate"] = plain(tax.rate)
    if tax.vat_type is not None:
        view["vatType"] = tax.vat_type
    return view


def _options(product: Product) -> list[Json]:
    values: dict[str, list[str]] = {}
    for variant in product.variants:
        for option in variant.options:
            known = values.setdefault(option.name, [])
            if option.value not in known:
                known.append(option.value)
    return [{"name": name, "values": known} for name, known in values.items()]


def _locations(stock: Sequence[StockLevel], *, tracked: bool) -> list[Json]:
    stores: dict[UUID, list[StockLevel]] = {}
    for level in stock:
        stores.setdefault(level.store_id, []).append(level)
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
            "reorderLevel": plain(levels[0].reorder_level),
        }
        for store_id, levels in stores.items()
    ]


def _variants(
    product: Product, stock: Sequence[StockLevel], store_id: UUID, *, with_cost: bool
) -> list[Json]:
    if product.kind == "simple":
        return []
    return [_variant(product, variant, stock, store_id, with_cost=with_cost) for variant in product.variants]


def _variant(
    product: Product, variant: Variant, stock: Sequence[StockLevel], store_id: UUID, *, with_cost: bool
) -> Json:
    levels = [level for level in stock if level.variant_id == variant.variant_id]
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
        "locations": _locations(levels, tracked=tracked),
        "active": variant.active,
        "createdAt": variant.created_at,
        "updatedAt": variant.updated_at,
    }
