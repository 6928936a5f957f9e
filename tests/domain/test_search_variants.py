"""What is no longer sold is no longer found: words, codes and conditions follow the variants of a product."""

from decimal import Decimal

import pytest
from msgspec import structs

from kasuwa.base.context import Context
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import ProductChange, create_product, remove_product, update_product
from kasuwa.domain.catalogue.conditions import Condition
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    OptionValue,
    Price,
    ProductOption,
)
from kasuwa.domain.catalogue.stock_query import StockQuery, query_stock
from kasuwa.domain.catalogue.variants import add_variants, remove_variants
from tests.base.database import undone
from tests.conftest import SchemaOwner
from tests.domain.test_catalogue import a_product
from tests.domain.test_search import DIALECT, first_ten
from tests.shop import Shop

COLOURS = ("Indigo", "Saffron", "Crimson")


def a_colour(value: str, **more: object) -> NewVariant:
    code = f"KAF-{value}-7"
    options = (OptionValue("Colour", value),)
    return NewVariant(sku=code, name=value, options=options, barcode=f"615-{value}", **more)  # type: ignore[arg-type]


def a_kaftan(*variants: NewVariant) -> NewProduct:
    return NewProduct(
        name="Kaftan",
        kind="variant",
        options=(ProductOption("Colour", COLOURS),),
        variants=variants,
        main=NewVariant(price=Price(currency="NGN", selling_minor=900_000)),
    )


async def by_condition(context: Context, condition: Condition) -> int:
    wanted = StockQuery(conditions=(condition,))
    return (await query_stock(context, DIALECT, wanted)).page.total


TEXTS = {
    "word": "indigo",
    "words of both": "kaftan indigo",
    "word begun": "indi",
    "typing error": "inidgo",
    "part of a word": "ndig",
    "SKU": "KAF-Indigo-7",
    "SKU begun": "kaf-in",
    "part of a SKU": "f-indigo-7",
    "barcode": "615-Indigo",
    "barcode begun": "615-Indi",
}
CONDITIONS = {
    "sku": Condition(field="sku", values=("KAF-Indigo-7",)),
    "barcode": Condition(field="barcode", values=("615-Indigo",)),
    "option": Condition(field="optionValue", values=("Indigo",), option_name="Colour"),
}


@pytest.mark.parametrize("moved", [0, 3], ids=["deleted", "archived"])
async def test_a_variant_that_was_taken_off_is_found_by_nothing_of_its_own(
    context: Context, moved: int
) -> None:
    """What the ledger knows is archived, the rest is deleted: neither is sold."""
    opening = (OpeningStock(context.store_id, Decimal(moved)),)
    product = await create_product(
        context, a_kaftan(a_colour("Indigo", opening=opening), a_colour("Saffron"), a_colour("Crimson"))
    )
    ids = [product.product_id]
    for name, text in TEXTS.items():
        assert await first_ten(context, text) == ids, name
    for name, condition in CONDITIONS.items():
        assert await by_condition(context, condition) == 1, name
    indigo = next(variant for variant in product.variants if variant.name == "Indigo")
    await remove_variants(context, product.product_id, [indigo.variant_id], on_remaining="write_off")
    for name, text in TEXTS.items():
        assert await first_ten(context, text) == [], name
    for name, condition in CONDITIONS.items():
        assert await by_condition(context, condition) == 0, name
    assert await first_ten(context, "kaftan") == await first_ten(context, "saffron") == ids


async def test_a_word_goes_with_the_last_variant_that_has_it(context: Context) -> None:
    product = await create_product(
        context,
        a_kaftan(
            a_colour("Indigo"),
            NewVariant(sku="OTHER", name="Indigo too", options=(OptionValue("Colour", "Saffron"),)),
            a_colour("Crimson"),
        ),
    )
    for taken_off, found in (("Indigo", [product.product_id]), ("Indigo too", [])):
        variant = next(variant for variant in product.variants if variant.name == taken_off)
        await remove_variants(context, product.product_id, [variant.variant_id])
        assert await first_ten(context, "indigo") == found
    # Sold again, it is found again.
    await add_variants(context, product.product_id, [a_colour("Indigo")])
    assert (
        await first_ten(context, "indigo") == await first_ten(context, "KAF-Indigo-7") == [product.product_id]
    )


async def test_words_that_nobody_takes_away_would_still_be_found(
    context: Context, schema_owner: SchemaOwner
) -> None:
    """The control: without the triggers a variant that was taken off leaves its words behind."""
    product = await create_product(context, a_kaftan(a_colour("Indigo"), a_colour("Saffron")))
    indigo = next(variant for variant in product.variants if variant.name == "Indigo")
    await schema_owner.execute("ALTER TABLE variant DISABLE TRIGGER words_of_gone")
    try:
        await remove_variants(context, product.product_id, [indigo.variant_id])
    finally:
        await schema_owner.execute("ALTER TABLE variant ENABLE TRIGGER words_of_gone")
    assert await first_ten(context, "indigo") == [product.product_id]


# Tags one by one -----------------------------------------------------------------------------------


def a_tagged(name: str, *tags: str) -> NewProduct:
    return structs.replace(a_product(name), tags=tags)


async def kept_tags(context: Context) -> list[str]:
    async with context.reading() as db:
        return await db.values(
            "SELECT tag FROM product_tag WHERE merchant_id = current_merchant() ORDER BY tag"
        )


async def test_tags_are_kept_as_products_have_them(shop: Shop) -> None:
    context = shop.owner
    product = await create_product(context, a_tagged("Kettle", "clay", "new", ""))
    other = await create_product(context, a_tagged("Bowl", "clay"))
    assert await kept_tags(context) == ["", "clay", "clay", "new"]
    await update_product(context, product.product_id, ProductChange(tags=("steel", "new", "x" * 501)))
    assert await kept_tags(context) == ["clay", "new", "steel"]
    await update_product(context, product.product_id, ProductChange(name="Teapot"))
    assert await kept_tags(context) == ["clay", "new", "steel"]
    # A verb archives, or deletes what nothing refers to.
    assert (await remove_product(context, other.product_id)).status == "deleted"
    assert await kept_tags(context) == ["new", "steel"]
    for tag, total in (("new", 1), ("clay", 0)):
        assert await by_condition(context, Condition(field="tag", values=(tag,))) == total


async def tags_read_whole(url: str, shop: Shop, *, before: str = "") -> int:
    """Tags read from end to end while tags change, with a plan that would rather do so."""
    async with undone(url) as owner:
        await owner.execute(f"SET LOCAL random_page_cost = 1000000; {before}")
        await owner.execute("UPDATE product SET tags = '{steel}' WHERE merchant_id = $1", shop.merchant_id)
        rows: int = await owner.fetchval(
            "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'product_tag'"
        )
        return rows


async def test_tags_are_changed_by_keys_however_small_the_tables_seemed(
    shop: Shop, database_urls: DatabaseUrls
) -> None:
    await create_product(shop.owner, a_tagged("Kettle", "clay", "new"))
    assert await tags_read_whole(database_urls.owner, shop) == 0
    control = "ALTER FUNCTION change_tags RESET enable_seqscan"
    assert await tags_read_whole(database_urls.owner, shop, before=control) > 0
