"""The one search at three sizes of shop, beside the same statement by the driver alone.

The shops are three merchants of one database. Rows are copied in, since a million of them by verbs would take
hours; words and vocabulary are made by the functions that the triggers call. Questions to all sizes take
turns, so that they see the same machine.
"""

import asyncio
import random
import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
from msgspec import Struct

from bench.misspellings import misspelt
from bench.names import KINDS, name_of
from bench.places import data_folder
from bench.tables import Figure, Report
from kasuwa.base.context import Caller, Context, MerchantId, Services, StoreId
from kasuwa.base.db import Database, numbered, set_merchant
from kasuwa.base.ids import new_id
from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls, visiting_database
from kasuwa.domain.catalogue.conditions import Condition
from kasuwa.domain.catalogue.stock_query import Order, StockQuery, query_stock
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, Role
from kasuwa.settings import read_settings

DIALECT = "storeharmony"
PAGE = 10
# Each look-up of a word then reads the vocabulary.
_BROKEN = "DROP INDEX search_word_losses"
_TABLES = ("product", "variant", "price", "product_card", "search_product", "search_word")

Chance = random.Random


def _is_it(wanted: int, found: int) -> bool:
    return wanted == found


def _has_its_name(wanted: int, found: int) -> bool:
    return name_of(wanted) == name_of(found)


class Kind(Struct, frozen=True):
    """One way of asking for the product with that number. `is_broad`: it finds a share of the shop.

    `finds` says whether a product of the page is what was asked for; a page needs one. So many in a hundred
    questions may find none.
    """

    name: str
    ask: Callable[[int, Chance], StockQuery]
    finds: Callable[[int, int], bool]
    is_broad: bool = False
    may_miss: float = 0


def _unfinished(number: int, chance: Chance) -> str:
    """The first three words, the last of them half typed."""
    words = name_of(number).split()[:3]
    return " ".join([*words[:2], words[2][: max(3, len(words[2]) // 2)]])


def _text(text: Callable[[int, Chance], str]) -> Callable[[int, Chance], StockQuery]:
    return lambda number, chance: StockQuery(text=text(number, chance), size=PAGE)


def _brand(number: int) -> str:
    return name_of(number).split()[0]


def _price_minor(number: int) -> int:
    return 50_000 + number * 7_919 % 1_000 * 1_000


def _filtered(number: int, chance: Chance) -> StockQuery:
    """A misspelt name, of its brand, not dearer than it is, the dearest first, with what facets there are."""
    conditions = (
        Condition(field="brand", values=(_brand(number),)),
        Condition(field="sellingPrice", operator="lte", values=(_price_minor(number) / 100,)),
    )
    return StockQuery(
        text=misspelt(name_of(number), chance),
        conditions=conditions,
        orders=(Order("sellingPrice", descending=True),),
        facets=("brand", "tag", "price"),
        size=PAGE,
    )


def _second_page(number: int, chance: Chance) -> StockQuery:
    """What one brand has, from half this one's price on, the cheapest first: the second page."""
    return StockQuery(
        conditions=(
            Condition(field="brand", values=(_brand(number),)),
            Condition(field="sellingPrice", operator="gte", values=(_price_minor(number) / 200,)),
        ),
        orders=(Order("sellingPrice"),),
        page=2,
        size=PAGE,
    )


KINDS_OF_QUESTION = (
    Kind("typing error", _text(lambda n, chance: misspelt(name_of(n), chance)), _has_its_name, may_miss=5),
    Kind("prefix", _text(_unfinished), lambda n, found: name_of(n).split()[:2] == name_of(found).split()[:2]),
    Kind("SKU", _text(lambda n, chance: f"KSW-{n:07d}"), _is_it),
    Kind("barcode", _text(lambda n, chance: str(6_150_000_000_000 + n)), _is_it),
    Kind("typing error, two filters, by price, three facets", _filtered, _has_its_name, may_miss=5),
    Kind(
        "one brand from a price on, the second page",
        _second_page,
        lambda n, found: _brand(n) == _brand(found) and _price_minor(n) <= 2 * _price_minor(found),
        is_broad=True,
    ),
    Kind(
        "one word that many products have",
        _text(lambda n, chance: chance.choice(KINDS)),
        lambda n, found: True,
        is_broad=True,
    ),
)


class _Shop(Struct, frozen=True):
    size: int
    context: Context


async def _fill(admin: "asyncpg.Connection[Any]", sizes: list[int], breaking: str) -> list[tuple[UUID, UUID]]:
    """A merchant and a store for each size. `breaking` is SQL that makes them slow."""
    await admin.execute(
        "SET session_replication_role = replica; SET maintenance_work_mem = '512MB';"
        " SET synchronous_commit = off"
    )
    dropped = await admin.fetch(
        "SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition"
        " FROM pg_index i LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid"
        " WHERE i.indrelid = ANY($1::text[]::regclass[]) AND k.oid IS NULL",
        list(_TABLES),
    )
    for index in dropped:
        await admin.execute(f"DROP INDEX {index['name']}")
    merchants = [await _fill_one(admin, size) for size in sizes]
    for index in dropped:
        await admin.execute(index["definition"])
    await admin.execute(f"VACUUM ANALYZE {', '.join(_TABLES)}")
    if breaking:
        await admin.execute(breaking)
    return merchants


async def _fill_one(admin: "asyncpg.Connection[Any]", size: int) -> tuple[UUID, UUID]:
    merchant_id, store_id = new_id(), new_id()
    ids = [new_id() for _ in range(size)]
    await admin.execute(
        "INSERT INTO merchant (merchant_id, business_name, country_code, currency)"
        " VALUES ($1, 'x', 'NG', 'NGN')",
        merchant_id,
    )
    await admin.execute(
        "INSERT INTO store (merchant_id, store_id, name, site_name, store_hash, country_code, currency)"
        " VALUES ($1, $2, 'x', 'x', 'x', 'NG', 'NGN')",
        merchant_id,
        store_id,
    )
    names = ((product_id, n, name_of(n)) for n, product_id in enumerate(ids))
    await admin.copy_records_to_table(
        "product",
        columns=["merchant_id", "product_id", "number", "name", "sort_name", "slug", "brand", "tags"],
        records=(
            (merchant_id, product_id, n, name, name.lower(), "x", _brand(n), [f"shelf {n % 40}"])
            for product_id, n, name in names
        ),
    )
    await admin.copy_records_to_table(
        "price",
        columns=["merchant_id", "variant_id", "currency", "selling_minor"],
        records=((merchant_id, i, "NGN", _price_minor(n)) for n, i in enumerate(ids)),
    )
    await admin.copy_records_to_table(
        "variant",
        columns=["merchant_id", "variant_id", "product_id", "number", "sku", "sku_key", "barcode"],
        records=(
            (merchant_id, i, i, n, f"KSW-{n:07d}", f"ksw-{n:07d}", str(6_150_000_000_000 + n))
            for n, i in enumerate(ids)
        ),
    )
    await admin.copy_records_to_table(
        "product_card",
        columns=["merchant_id", "product_id", "dialect", "body"],
        records=((merchant_id, product_id, DIALECT, '{"name":"x"') for product_id in ids),
    )
    await admin.execute(
        "INSERT INTO search_product (merchant_id, product_id, words)"
        " SELECT merchant_id, product_id, array_to_tsvector(search_marked(merchant_id, search_words(name)))"
        " FROM product WHERE merchant_id = $1",
        merchant_id,
    )
    await admin.execute(
        "INSERT INTO search_word (merchant_id, word, product_id, losses)"
        " SELECT $1, w.word, $1, search_marked($1, search_losses(w.word)) FROM ("
        "   SELECT DISTINCT substr(m.word, 10) AS word"
        "   FROM search_product s, unnest(tsvector_to_array(s.words)) m (word)"
        "   WHERE s.merchant_id = $1) w"
        " WHERE length(w.word) > 2 AND w.word ~ '[^0-9]'",
        merchant_id,
    )
    return merchant_id, store_id


def _context(services: Services, merchant_id: UUID, store_id: UUID) -> Context:
    caller = Caller(
        kind="user",
        id="bench",
        merchant_id=MerchantId(merchant_id),
        store_id=StoreId(store_id),
        role=Role.OWNER,
        permissions=PERMISSIONS_OF_ROLE[Role.OWNER],
    )
    return Context(services, caller, request_id="bench")


_Statement = tuple[str, list[object]]


async def _statements_of(context: Context, wanted: StockQuery) -> list[_Statement]:
    """What the verb sends, with its values."""
    sent: list[_Statement] = []
    every, no_rows = Database.all, Database.execute

    async def watched(db: Database, sql: str, *, into: Any, **values: object) -> Any:
        statement = numbered(sql)
        sent.append((statement.text, [values[name] for name in statement.names]))
        return await every(db, sql, into=into, **values)

    async def watched_too(db: Database, sql: str, **values: object) -> Any:
        assert not values, "these are settings"
        sent.append((sql, []))
        return await no_rows(db, sql, **values)

    Database.all, Database.execute = watched, watched_too  # type: ignore[method-assign, assignment]
    try:
        await query_stock(context, DIALECT, wanted)
    finally:
        Database.all, Database.execute = every, no_rows  # type: ignore[method-assign]
    return sent


async def _ask(context: Context, wanted: StockQuery) -> tuple[float, list[int]]:
    """The time in ms, and the numbers of the products on the page."""
    begun = perf_counter()
    found = await query_stock(context, DIALECT, wanted)
    return (perf_counter() - begun) * 1000, [row.number for row in found.page.rows]


async def _ask_floor(
    driver: "asyncpg.Connection[Any]", context: Context, statements: list[_Statement]
) -> float:
    begun = perf_counter()
    await driver.execute(f"BEGIN; {set_merchant(context.merchant_id)}")
    for text, values in statements:
        await (driver.fetch(text, *values) if values else driver.execute(text))
    await driver.execute("COMMIT")
    return (perf_counter() - begun) * 1000


async def _measure(
    services: Services, urls: DatabaseUrls, sizes: list[int], times: int, breaking: str
) -> dict[str, Any]:
    """By kind: for each size the verb's times and the floor's, in ms."""
    admin_url, owner_url = urlsplit(urls.admin), urlsplit(urls.owner)
    admin = await asyncpg.connect(
        urlunsplit((admin_url.scheme, admin_url.netloc, owner_url.path, admin_url.query, ""))
    )
    begun = perf_counter()
    merchants = await _fill(admin, sizes, breaking)
    await admin.close()
    filled_s = perf_counter() - begun
    shops = [_Shop(size, _context(services, *ids)) for size, ids in zip(sizes, merchants, strict=True)]
    driver = await asyncpg.connect(urls.application)
    await driver.execute("SET jit = off")
    chance = random.Random(7)
    measured: dict[str, Any] = {"filled_s": filled_s}
    for kind in KINDS_OF_QUESTION:
        ours: dict[int, list[float]] = {size: [] for size in sizes}
        floors: dict[int, list[float]] = {size: [] for size in sizes}
        missed = 0
        for turn in range(times + 10):
            for shop in shops:
                number = chance.randrange(shop.size)
                wanted = kind.ask(number, chance)
                statements = await _statements_of(shop.context, wanted)
                took, found = await _ask(shop.context, wanted)
                floor = await _ask_floor(driver, shop.context, statements)
                missed += not any(kind.finds(number, one) for one in found)
                if turn >= 10:
                    ours[shop.size].append(took)
                    floors[shop.size].append(floor)
        measured[kind.name] = (ours, floors, 100 * missed / (len(shops) * (times + 10)))
    await driver.close()
    return measured


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """Times of each kind of question at each size, and what the largest shop costs beside the smallest."""
    sizes, times = ([200, 400, 800], 5) if smoke else ([10_000, 100_000, 1_000_000], 100)
    with data_folder() as data:
        settings = read_settings({}, data=str(data))
        with visiting_database(settings) as urls:

            async def run() -> dict[str, Any]:
                async with everything(settings, urls) as services:
                    return await _measure(services, urls, sizes, times, _BROKEN if broken else "")

            measured = asyncio.run(run())
    figures = [Figure(name="rows of all sizes copied and indexed", value=measured["filled_s"], unit="s")]
    for kind in KINDS_OF_QUESTION:
        figures += _figures(kind, measured[kind.name], sizes)
    return Report(
        title=f"Search, first page of {PAGE}, in shops of {', '.join(f'{size:,}' for size in sizes)} SKUs;"
        f" {times} questions of each kind, in turns",
        figures=figures,
    )


def _figures(
    kind: Kind, measured: tuple[dict[int, list[float]], dict[int, list[float]], float], sizes: list[int]
) -> list[Figure]:
    ours, floors, missed = measured
    small, middle, large = sizes
    figures = []
    for size in sizes:
        limit = 30.0 if size == middle and not kind.is_broad else None
        floor = (
            f"median {statistics.median(ours[size]):.1f}; by the driver alone: p95 {_p95(floors[size]):.1f},"
        )
        figures.append(
            Figure(
                name=f"{kind.name}, {size:,} SKUs, p95",
                value=_p95(ours[size]),
                unit="ms",
                limit=limit,
                note=f"{floor} median {statistics.median(floors[size]):.1f}",
            )
        )
    figures.append(
        Figure(
            name=f"  {large:,} to {small:,} SKUs, medians",
            value=statistics.median(ours[large]) / statistics.median(ours[small]),
            unit="times",
            limit=None if kind.is_broad else 2.0,
        )
    )
    figures.append(
        Figure(name="  pages without what was asked for", value=missed, unit="%", limit=kind.may_miss)
    )
    return figures
