"""Changes of prices, at one store or at all of them."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from msgspec import UNSET, Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.actions import lock_product, note_change
from kasuwa.domain.catalogue.errors import OtherCurrency, VariantNotFound
from kasuwa.domain.catalogue.price_rules import PriceWish, changed_price, in_currency
from kasuwa.domain.catalogue.records import Product, Variant
from kasuwa.domain.catalogue.variant_rows import drop_price, own_prices, set_price
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import currency_of, read_store_ids


class VariantWish(Struct, frozen=True, kw_only=True):
    """What one variant's prices are to be; `pointer` is where its id was said."""

    variant_id: UUID | None
    pointer: str
    wish: PriceWish


async def change_prices(
    context: Context,
    product_id: UUID,
    wish: PriceWish | None,
    variant_wishes: Sequence[VariantWish] = (),
    *,
    everywhere: bool = False,
    reason: str = "",
) -> Product:
    """Change the prices of a product: `wish` its own, which variants without one follow; then single ones.

    Without `everywhere` they are those of the caller's store, which has prices of its own from then on. With
    it they are everybody's: the fields that are named hold at every store. A variant that is named has a
    price of its own from then on. All or nothing.
    Raises ProductNotFound, VariantNotFound, Invalid, PriceUnfit, OtherCurrency.
    """
    context.require(Permission.STOCK_PRICE)
    wishes = [*([] if wish is None else [wish]), *(one.wish for one in variant_wishes)]
    if any(one.cost is not UNSET for one in wishes):
        context.require(Permission.STOCK_COST)
    async with context.transaction() as db:
        before = await lock_product(db, product_id)
        own = _by_variant(before, variant_wishes)
        # A shop with one store has one price: a second store opens with it.
        everywhere = everywhere or await read_store_ids(db) == [context.store_id]
        currency = await currency_of(context)
        parting = [v.variant_id for v in before.variants if v.variant_id in own and not v.own_price]
        await own_prices(db, parting)
        is_changed = bool(parting)
        for variant, wishes in _wishes(before, wish, own):
            if everywhere:
                is_changed |= await _change_everywhere(db, context.store_id, variant, wishes)
            else:
                is_changed |= await _change_here(db, context.store_id, variant, wishes, currency)
        if not is_changed:
            return before.at(context.store_id)
        after = await note_change(context, db, "product.price", before, reason=reason)
        return after.at(context.store_id)


def _wishes(
    product: Product, wish: PriceWish | None, own: dict[UUID, PriceWish]
) -> Iterator[tuple[Variant, list[PriceWish]]]:
    """What is wished of each price that follows no other; of one that leaves its product, that's too."""
    yield product.main, _given(wish, own.get(product.main.variant_id))
    for variant in product.variants if product.kind == "variant" else ():
        if variant.variant_id in own:
            yield variant, _given(None if variant.own_price else wish, own[variant.variant_id])


def _given(*wishes: PriceWish | None) -> list[PriceWish]:
    return [wish for wish in wishes if wish is not None]


def _by_variant(product: Product, wishes: Sequence[VariantWish]) -> dict[UUID, PriceWish]:
    known = {variant.variant_id for variant in product.variants}
    found: dict[UUID, PriceWish] = {}
    for one in wishes:
        if one.variant_id is None or one.variant_id not in known:
            fault = FieldFault(one.pointer, "unknown", "Name variants of this product.")
            raise VariantNotFound(faults=[fault])
        if one.variant_id in found:
            raise Invalid(faults=[FieldFault(one.pointer, "duplicate", "Name each variant once.")])
        found[one.variant_id] = one.wish
    return found


async def _change_here(
    db: Database, store_id: UUID, variant: Variant, wishes: Sequence[PriceWish], currency: str
) -> bool:
    held = variant.price_at(store_id)
    price = held
    for wish in wishes:
        price = changed_price(in_currency(price, wish, currency), wish, _of(variant))
    if price == held:
        return False
    await set_price(db, variant.variant_id, price, store_id)
    return True


async def _change_everywhere(
    db: Database, store_id: UUID, variant: Variant, wishes: Sequence[PriceWish]
) -> bool:
    """The common price, and the named fields of each store's own, which goes where it is the same then."""
    common = variant.price
    for wish in wishes:
        common = changed_price(common, wish, _of(variant))
    is_changed = common != variant.price
    if is_changed:
        await set_price(db, variant.variant_id, common)
    for own in variant.store_prices if wishes else ():
        if own.price.currency != common.currency:
            if own.store_id == store_id:
                raise OtherCurrency(
                    f"The common price is in {common.currency}. Change this store's own price alone.",
                    faults=[FieldFault("/applyTo", "not_allowed", "Use this_store.")],
                )
            continue  # In other money than these amounts.
        price = own.price
        for wish in wishes:
            price = changed_price(price, wish, f"{_of(variant)} at another store")
        if price == common:
            await drop_price(db, variant.variant_id, own.store_id)
        elif price != own.price:
            await set_price(db, variant.variant_id, price, own.store_id)
        else:
            continue
        is_changed = True
    return is_changed


def _of(variant: Variant) -> str:
    return f" of {variant.name}" if variant.name else ""
