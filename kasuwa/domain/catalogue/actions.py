"""Changes of the catalogue. Each writes the cards and the audit trail in the same transaction."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database, settles
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.cards import drop_store_cards, refresh_cards
from kasuwa.domain.catalogue.choices import LIMITS, Limits, arrange_product
from kasuwa.domain.catalogue.errors import (
    UNIT_SETTLED,
    NameTaken,
    ProductNotFound,
    UnknownCategory,
    VersionOld,
)
from kasuwa.domain.catalogue.price_feed import note_prices
from kasuwa.domain.catalogue.queries import read_products, sku_key, sort_name
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    Price,
    Product,
    ProductStatus,
    Removal,
    Tax,
    Variant,
)
from kasuwa.domain.catalogue.remains import Level, OnRemainingStock, hold_stock, write_off
from kasuwa.domain.catalogue.variant_rows import insert_variants, set_price, taken_at
from kasuwa.domain.inventory.actions import close_stock
from kasuwa.domain.permissions import Permission
from kasuwa.domain.transfers.errors import TransferHolds
from kasuwa.domain.transfers.queries import holds_product


class ProductChange(Struct, frozen=True, kw_only=True):
    """Fields to change; what is UNSET stays."""

    name: str | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    sku: str | UnsetType = UNSET
    barcode: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    brand: str | UnsetType | None = UNSET
    unit: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    category_ids: tuple[UUID, ...] | UnsetType = UNSET
    tax: Tax | UnsetType = UNSET
    track_quantity: bool | UnsetType = UNSET
    visible_online: bool | UnsetType = UNSET
    weight_grams: int | UnsetType | None = UNSET
    expiry_date: date | UnsetType | None = UNSET
    status: ProductStatus | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET
    price: Price | UnsetType = UNSET


async def create_product(
    context: Context, new: NewProduct, *, name_is_unique: bool = False, limits: Limits = LIMITS
) -> Product:
    """Add a product with its variants, prices and opening stock.

    Raises SkuTaken, BarcodeTaken, NameTaken (when `name_is_unique`), UnknownCategory, UnknownLocation,
    VariantsWrong.
    """
    context.require(Permission.STOCK_WRITE)
    new = arrange_product(new, limits)
    async with context.transaction() as db:
        if new.category_ids:
            await share_category_tree(db)
        if name_is_unique:
            await _hold_name(db, new.name)
        product_id = new_id()
        await db.execute(
            _INSERT_PRODUCT,
            product_id=product_id,
            number=await db.value("SELECT take_numbers('product')"),
            kind=new.kind,
            status=new.status,
            name=new.name,
            sort_name=sort_name(new.name),
            slug=new.slug or slug_of(new.name),
            description=new.description,
            brand=new.brand,
            unit=new.unit,
            tags=list(new.tags),
            taxable=new.tax.taxable,
            tax_rate=new.tax.rate,
            vat_type=new.tax.vat_type,
            tax_code=new.tax.code,
            track_quantity=new.track_quantity,
            visible_online=new.visible_online,
            weight_grams=new.weight_grams,
            expiry_date=new.expiry_date,
            extra=msgspec.json.encode(new.extra).decode(),
            options=msgspec.json.encode(new.options).decode(),
            user_id=context.caller.user_id,
        )
        await _set_categories(db, product_id, new.category_ids)
        await _insert_sold(context, db, product_id, new)
        (product,) = await refresh_cards(db, [product_id])
        await note_prices(context, db, [(None, product)])
        await write_audit(context, db, "product.create", "product", product_id, after=_audited(product))
        return product


async def update_product(
    context: Context,
    product_id: UUID,
    change: ProductChange,
    *,
    version: int | None = None,
    name_is_unique: bool = False,
) -> Product:
    """Change a product. With `version` only if nobody changed it since; else VersionOld.

    Raises SkuTaken, BarcodeTaken, NameTaken, UnknownCategory, and UnitTooCoarse for fractions in stock.
    """
    context.require(Permission.STOCK_WRITE)
    if change.price is not UNSET:
        context.require(Permission.STOCK_PRICE)
    async with context.transaction() as db:
        if change.category_ids is not UNSET:
            await share_category_tree(db)
        before = await lock_product(db, product_id)
        require_version(before, version)
        if name_is_unique and change.name is not UNSET and change.name != before.name:
            await _hold_name(db, change.name)
        await _update_columns(context, db, product_id, change)
        if change.category_ids is not UNSET:
            await _set_categories(db, product_id, change.category_ids)
        await _update_main_variant(context, db, before, change)
        after = await note_change(context, db, "product.update", before)
        return after.at(context.store_id)


async def set_cost_price(
    context: Context, product_id: UUID, variant_id: UUID, cost_minor: Decimal
) -> Product:
    """Make what one unit cost, rounded to a minor unit of money, the cost price of the variant.

    It is that of the caller's store, where that has a price of its own. A variant that follows the product's
    price goes on to do so: the product has the cost then.
    """
    context.require(Permission.STOCK_PRICE)
    async with context.transaction() as db:
        before = await lock_product(db, product_id)
        cost = int(cost_minor.quantize(Decimal(1), rounding=ROUND_HALF_UP))
        own = (one for one in before.variants if one.variant_id == variant_id and one.own_price)
        variant = next(own, before.main)
        price = msgspec.structs.replace(variant.price_at(context.store_id), cost_minor=cost)
        await _set_shown_price(context, db, variant, price)
        after = await note_change(context, db, "product.price", before)
        return after.at(context.store_id)


async def remove_product(
    context: Context, product_id: UUID, *, on_remaining: OnRemainingStock = "reject"
) -> Removal:
    """Take a product off: archived when the ledger knows it, else deleted with its pictures' places.

    What lies of it, damaged or not, is refused (StillStocked), or written off. What is reserved is refused in
    any case. Raises TransferHolds while a transfer that is not done names it.
    """
    context.require(Permission.STOCK_WRITE)
    async with context.transaction() as db:
        await share_category_tree(db)
        before = await lock_product(db, product_id)
        variant_ids = await db.values(_VARIANTS_OF, product_id=product_id)
        levels = await hold_stock(db, variant_ids)
        if await holds_product(db, product_id):
            raise TransferHolds("Let it arrive, or cancel the transfer, first.")
        _refuse_remains(levels, on_remaining)
        await write_off(context, db, levels, reason="product removed")
        has_history = any(level.on_hand or level.has_moved for level in levels)
        at = datetime.now(UTC)
        if has_history:
            await db.execute(
                "UPDATE variant SET archived = true"
                " WHERE merchant_id = current_merchant() AND product_id = :product_id",
                product_id=product_id,
            )
            # A movement that waits for a balance finds it closed.
            await close_stock(db, variant_ids)
            await _update_columns(context, db, product_id, ProductChange(status="archived"))
            await refresh_cards(db, [product_id])
        else:
            await db.execute(
                "DELETE FROM product WHERE merchant_id = current_merchant() AND product_id = :product_id",
                product_id=product_id,
            )
        await note_prices(context, db, [(before, None)])
        await write_audit(context, db, "product.remove", "product", product_id, before=_audited(before))
        return Removal(product_id, "archived" if has_history else "deleted", at)


# With those that were removed before: their movements are the product's history too.
_VARIANTS_OF = """
    SELECT variant_id FROM variant
    WHERE merchant_id = current_merchant() AND product_id = :product_id ORDER BY variant_id
"""


def _refuse_remains(levels: Sequence[Level], on_remaining: OnRemainingStock) -> None:
    for level in levels:
        level.refuse(level.reserved, "are reserved", "settle or release them first")
        level.refuse(level.in_transit, "are on their way", "let them arrive first")
        if on_remaining == "reject":
            level.refuse(level.on_hand, "lie", "deduct or move them first")
            level.refuse(level.damaged, "are set aside as damaged", "write them off first")


async def lock_product(db: Database, product_id: UUID) -> Product:
    """The product as it is, held until the transaction ends. Archived ones are not to be changed."""
    locked = await db.value(
        """
        SELECT 1 FROM product
        WHERE merchant_id = current_merchant() AND product_id = :product_id AND status <> 'archived'
        FOR UPDATE
        """,
        product_id=product_id,
    )
    if locked is None:
        raise ProductNotFound()
    (product,) = await read_products(db, [product_id])
    return product


def require_version(product: Product, version: int | None) -> None:
    """With a version: raises VersionOld when the product, which is locked, has another by now."""
    if version is not None and product.version != version:
        raise VersionOld(f"The version is now {product.version}; read the product again.")


async def note_change(
    context: Context, db: Database, action: str, before: Product, *, reason: str = ""
) -> Product:
    """Raise the version of a product that was changed; write its cards, its prices' feed and the audit trail.

    `before` is the product as `lock_product` gave it.
    """
    await db.execute(
        """
        UPDATE product SET version = version + 1, updated_at = now(), updated_by = :user_id
        WHERE merchant_id = current_merchant() AND product_id = :product_id
        """,
        product_id=before.product_id,
        user_id=context.caller.user_id,
    )
    (after,) = await refresh_cards(db, [before.product_id])
    await note_prices(context, db, [(before, after)], reason=reason)
    gone = set(before.priced_store_ids) - set(after.priced_store_ids)
    if gone:
        await drop_store_cards(db, before.product_id, sorted(gone))
    # As the caller's store sells it.
    audited: object = _audited(after.at(context.store_id))
    if reason:
        audited = {**msgspec.to_builtins(audited), "reason": reason}
    was = _audited(before.at(context.store_id))
    await write_audit(context, db, action, "product", before.product_id, before=was, after=audited)
    return after


def slug_of(name: str) -> str:
    """The name as part of a web address."""
    return re.sub(r"[^a-z0-9]+", "-", sort_name(name)).strip("-")[:120] or "product"


async def _insert_sold(context: Context, db: Database, product_id: UUID, new: NewProduct) -> None:
    """What the product sells; before it, where there are variants, what the product keeps of its own."""
    if new.kind == "simple":
        await insert_variants(context, db, product_id, new.variants, first_position=1)
        return
    main = main_of(new)
    await insert_variants(context, db, product_id, [main], first_position=0)
    await insert_variants(
        context,
        db,
        product_id,
        new.variants,
        first_position=1,
        default_price=main.price,
        pointer="/variants",
    )


def main_of(new: NewProduct) -> NewVariant:
    """What a product with variants keeps of its own. Where nothing was said: the first variant's price."""
    if new.main is not None:
        return new.main
    first = new.variants[0]
    return NewVariant(
        price=first.price, opening=tuple(OpeningStock(opening.store_id) for opening in first.opening)
    )


async def share_category_tree(db: Database) -> None:
    """Keep the category tree as it is until the end, together with others who do.

    Whoever puts products into categories, or takes products off, begins with it, before any row is locked:
    changes of the tree come the other way round.
    """
    await db.value("SELECT share_category_tree()")


async def _set_categories(db: Database, product_id: UUID, category_ids: Sequence[UUID]) -> None:
    """The tree is shared already."""
    await db.execute(
        "DELETE FROM product_category WHERE merchant_id = current_merchant() AND product_id = :product_id",
        product_id=product_id,
    )
    if not category_ids:
        return
    added = await db.execute(
        """
        INSERT INTO product_category (merchant_id, product_id, category_id)
        SELECT merchant_id, :product_id, category_id FROM category
        WHERE merchant_id = current_merchant() AND category_id = ANY(:ids::uuid[])
        """,
        product_id=product_id,
        ids=list(category_ids),
    )
    if added != len(set(category_ids)):
        raise UnknownCategory(
            faults=[FieldFault("/categoryIds", "unknown", "Name categories of this account.")]
        )


async def _hold_name(db: Database, name: str) -> None:
    """For APIs in which a name is unique: nobody else can take it until this transaction ends."""
    await db.value(
        "SELECT pg_advisory_xact_lock(hashtextextended(current_merchant()::text || :name, 0))", name=name
    )
    taken = await db.value(
        "SELECT 1 FROM product WHERE merchant_id = current_merchant() AND name = :name"
        " AND status <> 'archived'",
        name=name,
    )
    if taken is not None:
        raise NameTaken(faults=[FieldFault("/name", "taken", "Choose another name.")])


async def _update_columns(context: Context, db: Database, product_id: UUID, change: ProductChange) -> None:
    columns: dict[str, object] = {
        name: getattr(change, name) for name in _PLAIN_COLUMNS if getattr(change, name) is not UNSET
    }
    if change.name is not UNSET:
        columns["sort_name"] = sort_name(change.name)
        columns.setdefault("slug", slug_of(change.name))
    if change.tags is not UNSET:
        columns["tags"] = list(change.tags)
    if change.tax is not UNSET:
        columns |= {
            "taxable": change.tax.taxable,
            "tax_rate": change.tax.rate,
            "vat_type": change.tax.vat_type,
            "tax_code": change.tax.code,
        }
    if change.extra is not UNSET:
        columns["extra"] = msgspec.json.encode(change.extra).decode()
    if columns:
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        with settles(UNIT_SETTLED):
            await db.execute(
                f"UPDATE product SET {assignments}"  # noqa: S608 - our own column names
                " WHERE merchant_id = current_merchant() AND product_id = :product_id",
                product_id=product_id,
                **columns,
            )


async def _update_main_variant(
    context: Context, db: Database, before: Product, change: ProductChange
) -> None:
    columns: dict[str, object] = {}
    if change.sku is not UNSET:
        columns |= {"sku": change.sku, "sku_key": sku_key(change.sku)}
    if change.barcode is not UNSET:
        columns["barcode"] = change.barcode
    if columns:
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        with settles(taken_at("")):
            await db.execute(
                f"UPDATE variant SET {assignments}, updated_at = now()"  # noqa: S608 - our own column names
                " WHERE merchant_id = current_merchant() AND variant_id = :variant_id",
                variant_id=before.main.variant_id,
                **columns,
            )
    if change.price is not UNSET:
        await _set_shown_price(context, db, before.main, change.price)


async def _set_shown_price(context: Context, db: Database, variant: Variant, price: Price) -> None:
    """Change what the caller's store shows: its own price where it has one, else everybody's."""
    if price == variant.price_at(context.store_id):
        return
    store_id = context.store_id if variant.has_price_at(context.store_id) else None
    await set_price(db, variant.variant_id, price, store_id)


def _audited(product: Product) -> Struct:
    """What the audit trail keeps: the product without its pictures, which have entries of their own."""
    return msgspec.structs.replace(product, pictures=())


_PLAIN_COLUMNS = (
    "name",
    "slug",
    "description",
    "brand",
    "unit",
    "track_quantity",
    "visible_online",
    "weight_grams",
    "expiry_date",
    "status",
)

_INSERT_PRODUCT = """
    INSERT INTO product (merchant_id, product_id, number, kind, status, name, sort_name, slug, description,
                         brand, unit, tags, taxable, tax_rate, vat_type, tax_code, track_quantity,
                         visible_online, weight_grams, expiry_date, extra, options, created_by, updated_by)
    VALUES (current_merchant(), :product_id, :number, :kind, :status, :name, :sort_name, :slug, :description,
            :brand, :unit, :tags, :taxable, :tax_rate, :vat_type, :tax_code, :track_quantity, :visible_online,
            :weight_grams, :expiry_date, :extra, :options, :user_id, :user_id)
"""
