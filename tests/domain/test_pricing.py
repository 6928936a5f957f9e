"""Prices at one store and at all: what a change makes of them, and the cards that show them."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from kasuwa.base.context import Context, StoreId
from kasuwa.base.problems import Forbidden, Invalid
from kasuwa.domain.catalogue.actions import create_product, remove_product
from kasuwa.domain.catalogue.cards import card_faults
from kasuwa.domain.catalogue.errors import PriceUnfit, ProductNotFound, VariantNotFound
from kasuwa.domain.catalogue.lists import list_products
from kasuwa.domain.catalogue.price_list import PriceListWish, list_prices
from kasuwa.domain.catalogue.price_rules import PriceWish, changed_price
from kasuwa.domain.catalogue.pricing import VariantWish, change_prices
from kasuwa.domain.catalogue.queries import get_product
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OptionValue,
    PageWish,
    Price,
    Product,
    ProductFilter,
    ProductOption,
)
from kasuwa.domain.permissions import Permission
from tests.shop import Shop

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PRICE = Price(
    currency="NGN",
    selling_minor=50_000,
    cost_minor=30_000,
    promo_minor=45_000,
    promo_starts_at=NOW,
    promo_ends_at=NOW + timedelta(days=1),
    wholesale_minor=42_000,
    wholesale_min_quantity=Decimal(12),
)


def wish(**amounts: Any) -> PriceWish:
    return PriceWish(pointer="/prices", **amounts)


def at(shop: Shop, store_id: UUID) -> Context:
    caller = msgspec.structs.replace(shop.owner.caller, store_id=StoreId(store_id))
    return shop.owner.acting_as(caller)


async def a_product(context: Context, **price: Any) -> Product:
    variant = NewVariant(price=Price(currency="NGN", selling_minor=50_000, **price))
    return await create_product(context, NewProduct(name="Malt", variants=(variant,)))


async def kaftan(context: Context, *, own: str = "L", sizes: str = "SML") -> Product:
    """A product at 9,000; its variants of the sizes in `own` have one of 1 for themselves."""
    variants = tuple(
        NewVariant(
            sku=f"KAF-{size}",
            options=(OptionValue("Size", size),),
            price=Price(currency="NGN", selling_minor=100) if size in own else None,
        )
        for size in sizes
    )
    return await create_product(
        context,
        NewProduct(
            name="Kaftan",
            kind="variant",
            options=(ProductOption("Size", tuple(sizes)),),
            main=NewVariant(sku="KAF", price=Price(currency="NGN", selling_minor=900_000)),
            variants=variants,
        ),
    )


# Rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ({"selling": Decimal("600.50")}, {"selling_minor": 60_050}),
        ({"cost": Decimal(0)}, {"cost_minor": 0}),
        ({"promo": None}, {"promo_minor": None, "promo_starts_at": None, "promo_ends_at": None}),
        ({"promo_ends_at": None}, {"promo_ends_at": None}),
        ({"wholesale": None}, {"wholesale_minor": None, "wholesale_min_quantity": None}),
        ({"wholesale": Decimal(500)}, {"wholesale_minor": 50_000}),
        ({"wholesale_min_quantity": Decimal("0.5")}, {"wholesale_min_quantity": Decimal("0.5")}),
    ],
)
def test_what_is_named_changes_and_the_rest_stays(amounts: dict[str, Any], expected: dict[str, Any]) -> None:
    assert changed_price(PRICE, wish(**amounts)) == msgspec.structs.replace(PRICE, **expected)


@pytest.mark.parametrize(
    ("amounts", "kind", "pointer"),
    [
        ({"selling": Decimal(450)}, PriceUnfit, "/prices/sellingPrice"),
        ({"promo": Decimal(500)}, PriceUnfit, "/prices/promoPrice"),
        ({"wholesale": Decimal("500.01")}, PriceUnfit, "/prices/wholesalePrice"),
        ({"promo_ends_at": NOW}, Invalid, "/prices/promoEndsAt"),
        ({"promo_starts_at": NOW + timedelta(days=1)}, Invalid, "/prices/promoStartsAt"),
        ({"promo": None, "promo_starts_at": NOW}, Invalid, "/prices/promoStartsAt"),
        ({"wholesale": None, "wholesale_min_quantity": Decimal(1)}, Invalid, "/prices/wholesaleMinQuantity"),
        ({"selling": Decimal("0.001")}, Invalid, "/prices/sellingPrice"),
        ({"selling": Decimal(10) ** 13}, Invalid, "/prices/sellingPrice"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_was_said(
    amounts: dict[str, Any], kind: type[Exception], pointer: str
) -> None:
    with pytest.raises(kind) as refused:
        changed_price(PRICE, wish(**amounts))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]  # type: ignore[attr-defined]


# Changes -------------------------------------------------------------------------------------------


async def test_only_who_may_changes_prices_and_costs(shop: Shop) -> None:
    product = await a_product(shop.owner)
    with pytest.raises(Forbidden):
        await change_prices(shop.cashier(), product.product_id, wish(selling=Decimal(1)))
    without = shop.owner.caller.permissions - {Permission.STOCK_COST}
    pricer = shop.owner.acting_as(msgspec.structs.replace(shop.owner.caller, permissions=without))
    await change_prices(pricer, product.product_id, wish(selling=Decimal(1)))
    with pytest.raises(Forbidden):
        await change_prices(pricer, product.product_id, wish(cost=Decimal(1)))


async def test_unknown_and_archived_products_have_no_price_to_change(shop: Shop, other_shop: Shop) -> None:
    foreign, gone = await a_product(other_shop.owner), await a_product(shop.owner)
    await remove_product(shop.owner, gone.product_id)
    for product_id in (uuid4(), foreign.product_id, gone.product_id):
        with pytest.raises(ProductNotFound):
            await change_prices(shop.owner, product_id, wish(selling=Decimal(1)))


async def test_a_change_of_many_variants_is_whole_or_not_at_all(shop: Shop) -> None:
    product = await kaftan(shop.owner, own="SML", sizes="SML")
    ids = [variant.variant_id for variant in product.variants]
    wishes = [
        VariantWish(variant_id=ids[0], pointer="/0", wish=wish(selling=Decimal(9))),
        VariantWish(variant_id=ids[2], pointer="/2", wish=wish(promo=Decimal(50))),
    ]
    for everywhere in (True, False):
        with pytest.raises(PriceUnfit):
            await change_prices(shop.owner, product.product_id, None, wishes, everywhere=everywhere)
        with pytest.raises(VariantNotFound):
            wrong = msgspec.structs.replace(wishes[1], variant_id=product.product_id)
            await change_prices(
                shop.owner, product.product_id, None, [wishes[0], wrong], everywhere=everywhere
            )
        assert await get_product(shop.owner, product.product_id) == product


async def test_a_shop_with_one_store_has_one_price(shop: Shop) -> None:
    product = await a_product(shop.owner)
    async with shop.owner.transaction() as db:
        await db.execute(
            "DELETE FROM membership WHERE merchant_id = current_merchant() AND store_id = :id",
            id=shop.second_store_id,
        )
        await db.execute(
            "DELETE FROM store WHERE merchant_id = current_merchant() AND store_id = :id",
            id=shop.second_store_id,
        )
    changed = await change_prices(shop.owner, product.product_id, wish(selling=Decimal(1)))
    assert changed.main.price.selling_minor == 100
    assert changed.main.store_prices == ()


async def test_changes_at_once_are_all_kept(shop: Shop) -> None:
    """Each names a field of its own: none writes over what another one wrote."""
    product = await a_product(shop.owner)
    amounts = (
        {"selling": Decimal(600)},
        {"cost": Decimal(10)},
        {"promo": Decimal(20)},
        {"wholesale": Decimal(30)},
    )
    await asyncio.gather(
        *(
            change_prices(at(shop, store_id), product.product_id, wish(**amount))
            for store_id in (shop.store_id, shop.second_store_id)
            for amount in amounts
        )
    )
    for store_id in (shop.store_id, shop.second_store_id):
        price = (await get_product(at(shop, store_id), product.product_id)).main.price
        found = (price.selling_minor, price.cost_minor, price.promo_minor, price.wholesale_minor)
        assert found == (60_000, 1_000, 2_000, 3_000)


# Cards ---------------------------------------------------------------------------------------------


async def shown_at(context: Context, dialect: str = "storeharmony") -> list[str]:
    page = await list_products(context, dialect, ProductFilter(), PageWish())
    return [row.body for row in page.rows]


async def test_cards_of_stores_are_right_after_every_change(shop: Shop) -> None:
    product = await a_product(shop.owner)
    here, there = at(shop, shop.store_id), at(shop, shop.second_store_id)
    for context, amount, everywhere in (
        (here, 600, False),
        (there, 700, False),
        (here, 650, True),
        (there, 710, False),
        (there, 720, False),
    ):
        await change_prices(context, product.product_id, wish(selling=Decimal(amount)), everywhere=everywhere)
        async with here.reading() as db:
            assert await card_faults(db, [product.product_id]) == []
        (card,) = await shown_at(context)
        assert f'"sellingPrice":{amount}' in card


async def test_a_card_of_a_store_that_is_missing_wrong_or_left_over_is_found(shop: Shop) -> None:
    priced, plain = await a_product(shop.owner), await a_product(shop.owner)
    await change_prices(at(shop, shop.store_id), priced.product_id, wish(selling=Decimal(600)))
    of_store = "store_card WHERE merchant_id = current_merchant()"
    breaches = (
        (f"DELETE FROM {of_store} AND dialect = 'shoplazza'", "has no card for shoplazza"),
        (
            "UPDATE store_card SET body = body || ' ' WHERE merchant_id = current_merchant()",
            "is not what it should be",
        ),
        (
            "UPDATE product_card SET has_store_cards = false WHERE merchant_id = current_merchant()",
            "is not what it should be",
        ),
        (
            "INSERT INTO store_card (merchant_id, store_id, product_id, dialect, body)"
            f" SELECT merchant_id, store_id, '{plain.product_id}', dialect, body FROM {of_store}",
            "without a price of its own",
        ),
    )
    for breach, words in breaches:
        with pytest.raises(RuntimeError):
            async with shop.owner.transaction() as db:
                await db.execute(breach)
                faults = await card_faults(db, [priced.product_id, plain.product_id])
                raise RuntimeError  # only looked at
        assert any(words in fault for fault in faults), faults


async def test_a_stores_own_promotion_begins_and_ends_on_its_card(shop: Shop) -> None:
    product = await a_product(shop.owner)
    here = at(shop, shop.store_id)
    ends = datetime.now(UTC) + timedelta(days=1)
    await change_prices(here, product.product_id, wish(promo=Decimal(450), promo_ends_at=ends))
    assert '"effectivePrice":450' in (await shown_at(here))[0]
    async with here.transaction() as db:
        await db.execute(
            "UPDATE price SET promo_ends_at = now() - interval '1 s'"
            " WHERE merchant_id = current_merchant() AND store_id IS NOT NULL"
        )
        stale = await db.execute(
            "UPDATE product_card SET stale_at = now() - interval '1 s'"
            " WHERE merchant_id = current_merchant() AND stale_at = :ends",
            ends=ends,
        )
    assert stale == 3, "each common card knows when a store's promotion ends"
    assert '"effectivePrice":500' in (await shown_at(here))[0]
    assert '"effectivePrice":500' in (await shown_at(at(shop, shop.second_store_id)))[0]


async def test_a_list_of_prices_goes_on_where_it_was_whatever_goes_in_between(shop: Shop) -> None:
    products = [await a_product(shop.owner) for _ in range(5)]
    first = await list_prices(shop.owner, PriceListWish(size=2))
    await remove_product(shop.owner, first.rows[-1].product_id)
    rest = await list_prices(shop.owner, PriceListWish(size=10, cursor=first.next_cursor))
    seen = {line.product_id for line in first.rows + rest.rows}
    assert seen == {product.product_id for product in products}
    assert len(rest.rows) == 3
