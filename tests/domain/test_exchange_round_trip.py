"""Products of several locations, and of a store with prices of its own, out and in again by every format."""

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from kasuwa.base.context import Context, Services, StoreId
from kasuwa.domain.catalogue.price_rules import PriceWish
from kasuwa.domain.catalogue.pricing import VariantWish, change_prices
from kasuwa.domain.catalogue.queries import read_stock
from kasuwa.domain.exchange.exports import EXPORTS, export_csv
from tests.domain.test_exchange import faults, gather, load, product_of
from tests.shop import Shop, new_shop

# Two locations, a variant with its own price, and texts that every format writes in its own way.
SEVERAL = """\
parent sku,sku,name,description,unit,price,cost price,weight grams,tax rate,barcode,\
option1 name,option1 value,quantity,reorder level,quantity @ Ada's Corner #2,reorder level @ Ada's Corner #2,\
reorder quantity @ Ada's Corner #2
,MALT,=Malt _x0041_," two\r\nlines,\t<&> \x01 _x000D_",kg,500.5,350.25,330,7.5,0061234567,,,48,12,7.125,3,24
,SHIRT,Shirt,,each,9000,,,,,Size,S;M,,,,,
SHIRT,SHIRT-S,,,,,,,,,,S,4,,0,,
SHIRT,SHIRT-M,,,,9500,,,,,,M,,,2,1,
,RICE,Rice 🍚,,kg,1234.5,,,,,,,,,2.5,,
"""


def at_second(shop: Shop) -> Context:
    """The owner at the other store."""
    return shop.owner.acting_as(replace(shop.owner.caller, store_id=StoreId(shop.second_store_id)))


def wish(selling: str) -> PriceWish:
    return PriceWish(pointer="", selling=Decimal(selling))


async def give_own_prices(context: Context) -> None:
    """The store asks other prices than the rest: for a product, and for one variant of another."""
    malt, shirt = await product_of(context, "MALT"), await product_of(context, "SHIRT-S")
    await change_prices(context, malt.product_id, wish("525.75"))
    own = VariantWish(variant_id=shirt.variants[0].variant_id, pointer="", wish=wish("8800"))
    await change_prices(context, shirt.product_id, None, [own])


async def stock_of(context: Context, sku: str) -> dict[str, tuple[Decimal | None, ...]]:
    async with context.reading() as db:
        levels = await read_stock(db, [(await product_of(context, sku)).product_id])
    home = context.store_id
    return {
        "here" if level.store_id.int == home.int else "there": (
            level.on_hand,
            level.reorder_level,
            level.reorder_quantity,
        )
        for level in levels
    }


@pytest.mark.parametrize("kind", EXPORTS)
async def test_several_locations_and_own_prices_come_back_as_the_same_bytes(
    services: Services, shop: Shop, tmp_path: Path, kind: str
) -> None:
    export = EXPORTS[kind]
    here, there = shop.owner, at_second(shop)
    run = await load(here, tmp_path / "several.csv", SEVERAL)
    assert (run.created, run.failed, run.faults) == (3, 0, [])
    await give_own_prices(there)
    prices = {}
    for place, context in (("here", here), ("there", there)):
        first = await gather(export(context))
        assert await gather(export(context)) == first
        same = await new_shop(services)
        run = await load(same.owner, tmp_path / f"products.{kind}", first)
        assert (run.created, run.failed, run.faults) == (3, 0, [])
        assert await gather(export(same.owner)) == first
        assert await gather(export_csv(same.owner)) == await gather(export_csv(context))
        assert await stock_of(same.owner, "MALT") == {
            "here": (Decimal(48), Decimal(12), None),
            "there": (Decimal("7.125"), Decimal(3), Decimal(24)),
        }
        malt, shirt = await product_of(same.owner, "MALT"), await product_of(same.owner, "SHIRT-S")
        assert (malt.name, malt.main.barcode) == ("=Malt _x0041_", "0061234567")
        assert malt.description == " two\r\nlines,\t<&> \x01 _x000D_"
        prices[place] = [malt.main.price.selling_minor, *(v.price.selling_minor for v in shirt.variants)]
        assert await faults(same.owner) == []
    # Each file has the prices of the store that made it.
    assert prices == {"here": [50_050, 900_000, 950_000], "there": [52_575, 880_000, 950_000]}
