"""Prices of variants, which have their own or follow their product's: at one store, in the feed, in bulk."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from kasuwa.base.context import Context
from kasuwa.cli.doctor.rows import VARIANTS
from kasuwa.domain.catalogue.actions import ProductChange, set_cost_price, update_product
from kasuwa.domain.catalogue.bulk import write_products
from kasuwa.domain.catalogue.bulk_records import BulkProduct, Outcome
from kasuwa.domain.catalogue.cards import card_faults
from kasuwa.domain.catalogue.conditions import Condition
from kasuwa.domain.catalogue.price_list import read_price_lines
from kasuwa.domain.catalogue.pricing import VariantWish, change_prices
from kasuwa.domain.catalogue.queries import get_product
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OptionValue,
    Price,
    Product,
    ProductOption,
)
from kasuwa.domain.catalogue.stock_query import Order, StockQuery, query_stock
from kasuwa.domain.catalogue.variants import add_variants, remove_variants
from tests.conftest import SchemaOwner
from tests.domain.test_price_feed import LONG_AGO, here, read_all, there, told
from tests.domain.test_pricing import kaftan, wish
from tests.shop import Shop


def of(product: Product, size: str) -> UUID:
    return next(v.variant_id for v in product.variants if v.options[0].value == size)


def for_one(product: Product, size: str, **amounts: Any) -> VariantWish:
    return VariantWish(variant_id=of(product, size), pointer="/variantPrices/0", wish=wish(**amounts))


async def prices(context: Context, product: Product) -> dict[str, int]:
    """The product's own price, then those of its variants by size, as the store sells them."""
    read = await get_product(context, product.product_id)
    lines = await read_price_lines(context, product.product_id)
    listed = {line.sku: line.price for line in lines}
    assert listed == {variant.sku: variant.price for variant in read.variants}
    return {"": read.main.price.selling_minor // 100} | {
        variant.options[0].value: variant.price.selling_minor // 100 for variant in read.variants
    }


async def faults(context: Context, owner: SchemaOwner) -> list[str]:
    async with context.reading() as db:
        ids = await db.values("SELECT product_id FROM product WHERE merchant_id = current_merchant()")
        wrong = await card_faults(db, ids)
    return wrong + await found_by_the_doctor(context, owner)


async def found_by_the_doctor(context: Context, owner: SchemaOwner) -> list[str]:
    rows = await owner.fetch(VARIANTS.faults)
    return [row[1] for row in rows if row[0] == context.merchant_id]


async def write(context: Context, **fields: Any) -> Outcome:
    (outcome,) = await write_products(context, [BulkProduct(new=NewProduct(**fields))], on_duplicate="update")
    assert outcome.status in ("created", "updated"), outcome
    return outcome


def naira(amount: int) -> Price:
    return Price(currency="NGN", selling_minor=amount * 100)


def shirt(price: int, *sizes: str) -> dict[str, Any]:
    """The row of a file: the product at that price, and variants that follow it."""
    return {
        "name": "Kaftan",
        "kind": "variant",
        "options": (ProductOption("Size", tuple("SML")),),
        "main": NewVariant(sku="KAF", price=naira(price)),
        "variants": tuple(
            NewVariant(sku=f"KAF-{size}", options=(OptionValue("Size", size),)) for size in sizes
        ),
    }


async def test_a_price_of_a_store_is_followed_there_by_variants_without_their_own(
    shop: Shop, schema_owner: SchemaOwner
) -> None:
    product = await kaftan(shop.owner)
    await change_prices(here(shop), product.product_id, wish(selling=Decimal(8000)))
    assert await prices(here(shop), product) == {"": 8000, "S": 8000, "M": 8000, "L": 1}
    assert await prices(there(shop), product) == {"": 9000, "S": 9000, "M": 9000, "L": 1}
    assert await faults(shop.owner, schema_owner) == []
    rows, _ = await read_all(here(shop), LONG_AGO)
    assert told(rows)[3:] == [("price_changed", 900_000, 800_000)] * 2
    assert {row.variant_id for row in rows[3:]} == {of(product, "S"), of(product, "M")}
    assert len((await read_all(there(shop), LONG_AGO))[0]) == 3
    # Where it is said for everybody the store's own price ends, and that of its followers with it.
    await change_prices(there(shop), product.product_id, wish(selling=Decimal(7000)), everywhere=True)
    assert await prices(here(shop), product) == await prices(there(shop), product)
    assert await faults(shop.owner, schema_owner) == []
    async with shop.owner.reading() as db:
        assert await db.value("SELECT count(*) FROM price WHERE store_id IS NOT NULL") == 0


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_variant_that_is_named_follows_no_more(
    shop: Shop, schema_owner: SchemaOwner, everywhere: bool
) -> None:
    product = await kaftan(shop.owner)
    await change_prices(here(shop), product.product_id, wish(selling=Decimal(8000)))
    # What it had is what it is given: it has that for itself from here on.
    named = for_one(product, "S", selling=Decimal(8000))
    await change_prices(here(shop), product.product_id, None, [named], everywhere=everywhere)
    await change_prices(here(shop), product.product_id, wish(selling=Decimal(5000)), everywhere=everywhere)
    assert await prices(here(shop), product) == {"": 5000, "S": 8000, "M": 5000, "L": 1}
    read = await get_product(here(shop), product.product_id)
    assert [variant.own_price for variant in read.variants] == [True, False, True]
    assert await faults(shop.owner, schema_owner) == []


async def test_prices_of_the_product_come_before_those_of_a_variant(
    shop: Shop, schema_owner: SchemaOwner
) -> None:
    product = await kaftan(shop.owner)
    named = for_one(product, "S", promo=Decimal(7000))
    await change_prices(here(shop), product.product_id, wish(selling=Decimal(8000)), [named])
    assert await prices(here(shop), product) == {"": 8000, "S": 8000, "M": 8000, "L": 1}
    small = (await get_product(here(shop), product.product_id)).variants[0]
    assert small.price.promo_minor == 700_000
    assert await prices(there(shop), product) == {"": 9000, "S": 9000, "M": 9000, "L": 1}
    assert await faults(shop.owner, schema_owner) == []


async def test_variants_that_come_and_go_are_told_with_the_price_that_holds_there(
    shop: Shop, schema_owner: SchemaOwner
) -> None:
    product = await kaftan(shop.owner, sizes="SM")
    await change_prices(here(shop), product.product_id, wish(selling=Decimal(8000)))
    new = NewVariant(sku="KAF-L", options=(OptionValue("Size", "L"),))
    grown = (
        await add_variants(
            there(shop), product.product_id, [new], options=[ProductOption("Size", tuple("SML"))]
        )
    ).product
    assert (await prices(here(shop), grown))["L"] == 8000
    assert (await prices(there(shop), grown))["L"] == 9000
    assert await faults(shop.owner, schema_owner) == []
    await remove_variants(shop.owner, product.product_id, [of(grown, "L")])
    assert await faults(shop.owner, schema_owner) == []
    for context, price in ((here(shop), 800_000), (there(shop), 900_000)):
        rows, _ = await read_all(context, LONG_AGO)
        assert told(rows)[-2:] == [("created", None, price), ("removed", price, None)]


async def test_a_card_of_a_store_goes_with_the_last_variant_that_had_a_price_there(
    shop: Shop, schema_owner: SchemaOwner
) -> None:
    product = await kaftan(shop.owner)
    named = for_one(product, "S", selling=Decimal(8000))
    await change_prices(here(shop), product.product_id, None, [named])
    await change_prices(there(shop), product.product_id, wish(selling=Decimal(7000)))
    await remove_variants(shop.owner, product.product_id, [of(product, "S")])
    assert await faults(shop.owner, schema_owner) == []


async def test_what_is_written_in_bulk_is_in_the_feed(shop: Shop, schema_owner: SchemaOwner) -> None:
    await write(here(shop), **shirt(9000, "S", "M"))
    simple: dict[str, Any] = {"name": "Malt", "variants": (NewVariant(sku="MALT", price=naira(500)),)}
    await write(here(shop), **simple)
    await write(here(shop), **shirt(8000, "S", "M"))
    await write(here(shop), **(simple | {"variants": (NewVariant(sku="MALT", price=naira(550)),)}))
    for context in (here(shop), there(shop)):
        rows, _ = await read_all(context, LONG_AGO)
        assert [(row.sku, *entry) for row, entry in zip(rows, told(rows), strict=True)] == [
            ("KAF-S", "created", None, 900_000),
            ("KAF-M", "created", None, 900_000),
            ("MALT", "created", None, 50_000),
            ("KAF-S", "price_changed", 900_000, 800_000),
            ("KAF-M", "price_changed", 900_000, 800_000),
            ("MALT", "price_changed", 50_000, 55_000),
        ]
    assert await faults(shop.owner, schema_owner) == []


async def test_bulk_changes_what_the_store_of_its_user_sells_at(
    shop: Shop, schema_owner: SchemaOwner
) -> None:
    product_id = (await write(here(shop), **shirt(9000, "S", "M"))).product_id
    assert product_id is not None
    product = await get_product(here(shop), product_id)
    await change_prices(here(shop), product_id, wish(selling=Decimal(8000)))
    since = (await read_all(there(shop), LONG_AGO))[1]
    await write(here(shop), **shirt(7000, "S", "M", "L"))
    assert await prices(here(shop), product) == {"": 7000, "S": 7000, "M": 7000, "L": 7000}
    assert await prices(there(shop), product) == {"": 9000, "S": 9000, "M": 9000, "L": 9000}
    rows, _ = await read_all(there(shop), since)
    assert told(rows) == [("created", None, 900_000)]
    await write(there(shop), **shirt(6000, "S", "M", "L"))
    assert await prices(here(shop), product) == {"": 7000, "S": 7000, "M": 7000, "L": 7000}
    assert await prices(there(shop), product) == {"": 6000, "S": 6000, "M": 6000, "L": 6000}
    assert await faults(shop.owner, schema_owner) == []


async def test_a_new_cost_is_that_of_the_price_that_holds_at_the_store(
    shop: Shop, schema_owner: SchemaOwner
) -> None:
    product = await kaftan(shop.owner)
    await change_prices(here(shop), product.product_id, wish(selling=Decimal(8000)))

    async def costs(context: Context) -> list[int | None]:
        read = await get_product(context, product.product_id)
        return [variant.price.cost_minor for variant in read.variants]

    await set_cost_price(here(shop), product.product_id, of(product, "S"), Decimal("1000.5"))
    assert await costs(here(shop)) == [1001, 1001, None]
    assert await costs(there(shop)) == [None, None, None]
    await set_cost_price(there(shop), product.product_id, of(product, "L"), Decimal(5))
    assert await costs(there(shop)) == [None, None, 5]
    await update_product(here(shop), product.product_id, ProductChange(price=naira(4000)))
    assert await prices(here(shop), product) == {"": 4000, "S": 4000, "M": 4000, "L": 1}
    assert await faults(shop.owner, schema_owner) == []


def queries() -> Iterator[tuple[StockQuery, bool, bool]]:
    """A query, and whether it finds the product here and there."""
    for amount, is_here, is_there in ((8000, True, False), (9000, False, True), (1, True, True)):
        condition = Condition(field="sellingPrice", operator="eq", values=(Decimal(amount),))
        yield StockQuery(conditions=(condition,), orders=(Order("sellingPrice"),)), is_here, is_there


async def test_the_search_of_the_back_office_reads_the_price_of_the_store(shop: Shop) -> None:
    product = await kaftan(shop.owner)
    await change_prices(here(shop), product.product_id, wish(selling=Decimal(8000)))
    for query, is_here, is_there in queries():
        for context, is_found, price in ((here(shop), is_here, 8000), (there(shop), is_there, 9000)):
            found = (await query_stock(context, "storeharmony", query)).page.rows
            assert [row.product_id for row in found] == [product.product_id] * is_found
            assert all(f'"sellingPrice":{price}' in row.body for row in found)
    for context, price in ((here(shop), 800_000), (there(shop), 900_000)):
        facets = (await query_stock(context, "storeharmony", StockQuery(facets=("price",)))).facets
        assert facets is not None
        assert [(one.from_minor, one.to_minor) for one in facets.prices or ()] == [(price, price)]


async def test_the_doctor_finds_a_follower_with_another_price_at_a_store(
    shop: Shop, schema_owner: SchemaOwner
) -> None:
    product = await kaftan(shop.owner)
    await change_prices(here(shop), product.product_id, wish(selling=Decimal(8000)))
    breaches = (
        "UPDATE price SET selling_minor = 1 WHERE store_id IS NOT NULL AND variant_id = $1",
        "DELETE FROM price WHERE store_id IS NOT NULL AND variant_id = $1",
    )
    for breach in breaches:
        change = schema_owner.transaction()
        await change.start()
        await schema_owner.execute(breach, of(product, "S"))
        (fault,) = await found_by_the_doctor(shop.owner, schema_owner)
        await change.rollback()
        assert fault == (
            f"variant {of(product, 'S')} does not have the price of its product at store {shop.store_id}"
        )
