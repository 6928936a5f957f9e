"""Products of several locations, and of a store with prices of its own, out and in again by every format."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kasuwa.base.context import Context, Services, StoreId
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.catalogue.choices import Limits
from kasuwa.domain.catalogue.price_rules import PriceWish
from kasuwa.domain.catalogue.pricing import VariantWish, change_prices
from kasuwa.domain.catalogue.queries import read_stock
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OptionValue,
    Price,
    ProductOption,
    Tax,
)
from kasuwa.domain.exchange.exports import EXPORTS, export_csv
from tests.domain.test_exchange import faults, gather, load, product_of, told
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


@dataclass(frozen=True)
class Odd:
    """A product as some API takes it: fields of it and of what is sold, its category and its options."""

    of_product: dict[str, Any] | None = None
    of_variant: dict[str, Any] | None = None
    category: Sequence[str] = ()
    values: Sequence[str] = ()
    option: str = "Size"

    async def create(self, context: Context) -> None:
        category_id = None
        for name in self.category:
            category_id = await create_category(context, name, parent_id=category_id)
        sold: dict[str, Any] = {"sku": "A", "price": Price(currency="NGN", selling_minor=100)}
        product: dict[str, Any] = {
            "name": "Malt",
            "variants": (NewVariant(**sold | (self.of_variant or {})),),
            "category_ids": () if category_id is None else (category_id,),
        }
        if self.values:
            product |= {
                "kind": "variant",
                "options": (ProductOption(self.option, tuple(self.values)),),
                "main": NewVariant(**sold | {"sku": "P"}),
                "variants": tuple(
                    NewVariant(sku=f"P{n}", options=(OptionValue(self.option, value),))
                    for n, value in enumerate(self.values)
                ),
            }
        new = NewProduct(**product | (self.of_product or {}))
        await create_product(context, new, limits=Limits(values=500, variants=500))


LONG = 255 * "x"
ODD = {
    **{
        f"sku {sku!r}": Odd(of_variant={"sku": sku})
        for sku in ("1E5", "2.5e10", "6.00123E+12", "'1E5", "=1", "''=1", "'", "007", " A", "A ", "A\nB", " ")
    },
    "long sku": Odd(of_variant={"sku": LONG}),
    **{f"barcode {code!r}": Odd(of_variant={"barcode": code}) for code in ("0061", "6E12", "é", " 1", "+1")},
    "long barcode": Odd(of_variant={"barcode": 255 * "7"}),
    "name": Odd({"name": LONG, "description": 100_000 * "é"}),
    "blanks": Odd({"name": " Malt\t", "description": "\n", "brand": " ", "tax": Tax(code=" A ")}),
    "numbers": Odd({"name": "1E5", "description": "'2e7", "brand": "007", "unit": "1e3"}),
    "formulas": Odd({"name": "=A1", "description": "\t=1", "brand": "'@x", "unit": "-1"}),
    "long": Odd({"slug": LONG, "brand": LONG, "unit": 32 * "u", "tax": Tax(code=32 * "c")}),
    "tags": Odd({"tags": (" cold", "red ", " ", "a;b", "a\\", "\\;", "'=1", "=1", "1E5", LONG)}),
    "tag": Odd({"tags": ("=1",)}),
    "many tags": Odd({"tags": tuple(f"t{n}" for n in range(300))}),
    "outer blanks of a category": Odd(category=(" Drinks ", "\tMalt")),
    "signs of a category": Odd(category=("A > B; C\\", ">", "=1")),
    "deep category": Odd(category=tuple(f"{n}{'x' * 119}" for n in range(6))),
    "values": Odd(values=(" S", "S", "M ", " ", "a;b", "1E5", "=1", "'", LONG), option=" Size "),
    "many values": Odd(values=tuple(f"{n} {LONG}" for n in range(500))),
}


async def exported_and_loaded(
    services: Services, shop: Shop, tmp_path: Path, kind: str
) -> tuple[bytes, bytes]:
    """The export, and that of a merchant who has loaded it."""
    first = await gather(EXPORTS[kind](shop.owner))
    same = await new_shop(services)
    await load(same.owner, tmp_path / f"products.{kind}", first)
    return first, await gather(EXPORTS[kind](same.owner))


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_what_the_apis_take_comes_back_as_the_same_bytes(
    services: Services, shop: Shop, tmp_path: Path, odd: Odd
) -> None:
    await odd.create(shop.owner)
    for kind in EXPORTS:
        first, second = await exported_and_loaded(services, shop, tmp_path, kind)
        assert second == first
        # Nor does it change what is there.
        run = await load(
            shop.owner, tmp_path / f"products.{kind}", first, on_duplicate="update", dry_run=True
        )
        assert (run.skipped, run.changes, run.faults) == (1, [], [])


@pytest.mark.parametrize(
    ("name", "target", "broken"),
    [
        ("sku '6.00123E+12'", "exports.escape", lambda text, code=False: text),
        ("tags", "cells._kept", lambda part, sign: part.replace("\\", "\\\\").replace(sign, f"\\{sign}")),
    ],
    ids=["no mark", "no backslash"],
)
async def test_the_control_without_marks_it_does_not_come_back(
    services: Services,
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    target: str,
    broken: Any,
) -> None:
    await ODD[name].create(shop.owner)
    monkeypatch.setattr(f"kasuwa.domain.exchange.{target}", broken)
    first, second = await exported_and_loaded(services, shop, tmp_path, "csv")
    assert second != first


@pytest.mark.parametrize("sku", ["6.00123E+12", "1.00E+05", "6e+015"])
async def test_a_sku_that_a_spreadsheet_has_rounded_is_refused(shop: Shop, tmp_path: Path, sku: str) -> None:
    run = await load(shop.owner, tmp_path / "a.csv", f"sku,name,price\n{sku},Malt,5\n1E5,Beer,5\n")
    assert (run.created, told(run)) == (1, [(2, "sku", "rounded")])


async def test_line_breaks_that_a_spreadsheet_writes_in_its_own_way_change_nothing(
    shop: Shop, tmp_path: Path
) -> None:
    await Odd({"description": "Cold\r\nand wet"}).create(shop.owner)
    first = (await gather(export_csv(shop.owner))).decode()
    saved = first.replace("Cold\r\n", "Cold\n")
    assert saved != first
    run = await load(shop.owner, tmp_path / "a.csv", saved, on_duplicate="update")
    assert (run.skipped, run.changes) == (1, [])
    # Whoever changes a word gets what they wrote.
    run = await load(shop.owner, tmp_path / "a.csv", saved.replace("wet", "dry"), on_duplicate="update")
    assert (run.updated, (await product_of(shop.owner, "A")).description) == (1, "Cold\nand dry")
