"""The one search: typing errors found, hostile words bounded, words kept by whoever changes a product."""

import asyncio
import json
import random
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

import kasuwa
from bench.misspellings import misspelt
from bench.names import name_of
from kasuwa.base.context import Context, Services
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import ProductChange, create_product, remove_product, update_product
from kasuwa.domain.catalogue.cards import refresh_cards
from kasuwa.domain.catalogue.queries import sort_name
from kasuwa.domain.catalogue.stock_query import StockQuery, query_stock
from tests.base.database import connected
from tests.domain.test_catalogue import a_product
from tests.shop import Shop, new_shop

PRODUCTS, MISSPELLINGS, MOST_MISSED = 1_000, 1_000, 50
DIALECT = "storeharmony"


async def fill(context: Context, names: list[str]) -> dict[str, UUID]:
    """A product of each name, in as few statements as there are tables."""
    ids = {name: new_id() for name in names}
    async with context.transaction() as db:
        number = await db.value("SELECT take_numbers('product', :n)", n=len(ids))
        rows = {"ids": list(ids.values()), "number": number}
        await db.execute(
            """
            INSERT INTO product (merchant_id, product_id, number, name, sort_name, slug)
            SELECT current_merchant(), r.id, :number::bigint + r.n, r.name, r.sort_name, 'x'
            FROM unnest(:ids::uuid[], :names::text[], :sort_names::text[])
                 WITH ORDINALITY r (id, name, sort_name, n)
            """,
            names=list(ids),
            sort_names=[sort_name(name) for name in ids],
            **rows,
        )
        await db.execute(
            """
            INSERT INTO variant (merchant_id, variant_id, product_id, number, sku, sku_key)
            SELECT current_merchant(), r.id, r.id, :number::bigint + r.n, 'N-' || r.n, 'n-' || r.n
            FROM unnest(:ids::uuid[]) WITH ORDINALITY r (id, n)
            """,
            **rows,
        )
        await db.execute(
            "INSERT INTO price (merchant_id, variant_id, currency, selling_minor)"
            " SELECT current_merchant(), id, 'NGN', 100 FROM unnest(:ids::uuid[]) id",
            ids=rows["ids"],
        )
        await refresh_cards(db, list(ids.values()))
    return ids


def demo_names() -> list[str]:
    content = json.loads((Path(kasuwa.__file__).parent / "demo_products.json").read_text("utf-8"))
    return [product["name"] for product in content["products"]]


@pytest.fixture(scope="module")
async def catalogue(services: Services) -> tuple[Context, dict[str, UUID]]:
    """The demo's products and others with names of real words."""
    context = (await new_shop(services)).owner
    names = dict.fromkeys([*demo_names(), *map(name_of, range(2 * PRODUCTS))])
    return context, await fill(context, list(names)[:PRODUCTS])


async def first_ten(context: Context, text: str, *, correcting: bool = True) -> list[UUID]:
    wanted = StockQuery(text=text, size=10, corrects_text=correcting)
    return [row.product_id for row in (await query_stock(context, DIALECT, wanted)).page.rows]


async def missed(
    context: Context, ids: dict[str, UUID], many: int, *, correcting: bool
) -> list[tuple[str, str]]:
    """Which of so many misspelt names do not find their product among the first ten."""
    chance = random.Random(43)
    of_demo = demo_names()
    names = [chance.choice(of_demo if n % 2 else list(ids)) for n in range(many)]
    wrong = [(name, misspelt(name, chance)) for name in names]
    return [
        (name, text)
        for name, text in wrong
        if ids[name] not in await first_ten(context, text, correcting=correcting)
    ]


async def test_a_thousand_misspelt_names_find_their_product_among_the_first_ten(
    catalogue: tuple[Context, dict[str, UUID]],
) -> None:
    lost = await missed(*catalogue, MISSPELLINGS, correcting=True)
    assert len(lost) <= MOST_MISSED, lost


async def test_without_corrections_most_of_them_are_missed(
    catalogue: tuple[Context, dict[str, UUID]],
) -> None:
    """The control."""
    assert len(await missed(*catalogue, 200, correcting=False)) > 100
