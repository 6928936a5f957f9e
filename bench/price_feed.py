"""The price changes of a day at 100,000 SKUs over HTTP, beside the same SQL by asyncpg alone in the same run.

Each SKU was made a month ago and has its line in the feed; a hundredth of them changed their price within
the day, half of these at the caller's store alone. A till that was away for a day reads all of it, page after
page.
"""

import asyncio
import json
import statistics
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct

from bench.client import Work, ask, get
from bench.places import data_folder
from bench.processes import Started, serving, used_by
from bench.shop import BenchShop, build_shop
from bench.tables import Figure, Report
from kasuwa.api.storeharmony.prices import LINE_VERSION, price_line
from kasuwa.base.postgres.bootstrap import APPLICATION, OWNER
from kasuwa.base.postgres.server import attach
from kasuwa.domain.catalogue import price_feed
from kasuwa.domain.catalogue.filters import MOST_COUNTED
from kasuwa.domain.catalogue.price_feed import Line, PriceChange
from kasuwa.domain.catalogue.records import Price

DATABASE = "kasuwa"
SIZE = 200
_BROKEN = (
    "DROP INDEX price_change_of_store; ALTER TABLE price_change DROP CONSTRAINT price_change_pkey CASCADE"
)

_SKUS = """
    INSERT INTO product (merchant_id, product_id, number, name, sort_name, slug)
    SELECT $1, gen_random_uuid(), 10000 + n, 'Malt ' || n, 'malt ' || md5(n::text), 'malt'
    FROM generate_series(1, $2::integer) n;
"""
_VARIANTS = """
    INSERT INTO variant (merchant_id, variant_id, product_id, number, sku, sku_key, barcode)
    SELECT merchant_id, gen_random_uuid(), product_id, number, 'SKU-' || number, 'sku-' || number,
           '5' || number
    FROM product WHERE merchant_id = $1 AND number > 10000
"""
_PRICES = """
    INSERT INTO price (merchant_id, variant_id, currency, selling_minor, cost_minor)
    SELECT merchant_id, variant_id, 'NGN', 50000 + number, 30000 FROM variant
    WHERE merchant_id = $1 AND number > 10000
"""
# $2: how long ago, $3: over how long, $4: every which SKU, $5: the store of every second line.
_CHANGES = """
    INSERT INTO price_change (merchant_id, change_id, store_id, changed_at, kind, product_id, sku, barcode,
                              name, before, after, is_cost_only, reason, line, line_without_cost,
                              line_version)
    SELECT merchant_id, price_change_id(at, n), CASE WHEN (n / $4::integer) % 2 = 0 THEN $5::uuid END, at,
           CASE WHEN $5::uuid IS NULL THEN 'created' ELSE 'price_changed' END, product_id, sku, barcode, sku,
           CASE WHEN $5::uuid IS NOT NULL THEN price END, price, false, 'supplier increase',
           $7, $8, $9
    FROM (
      SELECT v.merchant_id, v.product_id, v.sku, v.barcode, n,
             date_trunc('milliseconds', now() - $2::interval + n * ($3::interval / $6::integer)) AS at,
             jsonb_build_object('currency', 'NGN', 'selling_minor', 50000 + n, 'cost_minor', 30000,
                                'promo_minor', null, 'promo_starts_at', null, 'promo_ends_at', null,
                                'wholesale_minor', null, 'wholesale_min_quantity', null) AS price
      FROM (SELECT *, row_number() OVER (ORDER BY number) AS n FROM variant
            WHERE merchant_id = $1 AND number > 10000) v
      WHERE n % $4::integer = 0
    ) made
"""


class Shown(Struct, frozen=True):
    """The pages of a day, as requests, and how many changes they hold."""

    requests: list[bytes]
    changes: int


def a_line(shop: BenchShop) -> Line:
    """What is kept of a change for those who read it: the same for each, of the usual length."""
    price = Price(currency="NGN", selling_minor=50_050, cost_minor=30_000)
    return price_line(
        PriceChange(
            change_id=shop.product_id,
            kind="price_changed",
            product_id=shop.product_id,
            variant_id=None,
            sku="SKU-100000",
            barcode="5100000",
            name="Cotton Sneaker 100000",
            before=price,
            after=price,
            reason="supplier increase",
            changed_at=datetime.now(UTC),
            user_id=shop.store_id,
        )
    )


def fill(data: Path, shop: BenchShop, skus: int) -> None:
    """The SKUs and their history, written as the owner of the tables."""

    async def write() -> None:
        address = attach(data)
        assert address is not None
        connection = await asyncpg.connect(address.dsn(OWNER, DATABASE))
        try:
            await connection.execute(_SKUS.rstrip().rstrip(";"), shop.merchant_id, skus)
            await connection.execute(_VARIANTS, shop.merchant_id)
            await connection.execute(_PRICES, shop.merchant_id)
            month, day = timedelta(days=30), timedelta(hours=23)
            line = a_line(shop)
            words = (line.body, line.without_cost, LINE_VERSION)
            await connection.execute(_CHANGES, shop.merchant_id, month, day, 1, None, skus, *words)
            await connection.execute(_CHANGES, shop.merchant_id, day, day, 100, shop.store_id, skus, *words)
            await connection.execute("VACUUM ANALYZE")
        finally:
            await connection.close()

    asyncio.run(write())


def pages_of(kasuwa: Started, shop: BenchShop, since: datetime) -> Shown:
    """Read the day once, as a till does, and keep what was asked."""
    paths, changes, cursor = [], 0, ""
    headers = {"sessiontoken": shop.sessions[0]}
    while True:
        moment = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"/cloudapi/app/{shop.store_id}/stock/prices/changes?since={moment}&size={SIZE}{cursor}"
        paths.append(path)
        request = urllib.request.Request(kasuwa.url + path, headers=headers)
        with urllib.request.urlopen(request) as answer:
            page: dict[str, Any] = json.load(answer)
        changes += len(page["data"])
        if page["nextCursor"] is None:
            return Shown([get(kasuwa.port, path, headers) for path in paths], changes)
        cursor = f"&cursor={page['nextCursor']}"


async def floor_ms(data: Path, shop: BenchShop, since: datetime, days: int) -> list[float]:
    """A day's pages by the same calls through asyncpg alone: nobody asks who is there, nothing is sent on."""
    address = attach(data)
    assert address is not None
    connection = await asyncpg.connect(address.dsn(APPLICATION, DATABASE))
    first = price_feed._last_id_of(since)
    words = (shop.merchant_id, shop.store_id, True, LINE_VERSION, first)
    spent = []
    try:
        for _ in range(days):
            begun, after, has_more = time.perf_counter(), first, True
            while has_more:
                page = await connection.fetchrow(
                    "SELECT data, last_id, has_more, total, settled, quiet_until, is_current"
                    " FROM price_change_page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    *(*words, after, price_feed._LAST_ID, SIZE, 0, MOST_COUNTED + 1),
                )
                assert page is not None
                assert page["is_current"]
                after, has_more = page["last_id"], page["has_more"]
            spent.append((time.perf_counter() - begun) * 1000)
    finally:
        await connection.close()
    return spent


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """How long a till waits for a day's changes, and for a page of prices."""
    skus, days, rounds = (2_000, 2, 1) if smoke else (100_000, 5, 7)
    with data_folder() as data:
        shop = build_shop(data, products=2, sessions=1, breaking=_BROKEN if broken else "")
        with serving(data, storeharmony_requests_per_second=100_000) as kasuwa:
            fill(data, shop, skus)
            return _measured(data, kasuwa, shop, days, rounds, skus)


def _measured(data: Path, kasuwa: Started, shop: BenchShop, days: int, rounds: int, skus: int) -> Report:
    since = datetime.now(UTC) - timedelta(days=1)
    day = pages_of(kasuwa, shop, since)
    assert day.changes >= skus // 100, f"{day.changes} changes"
    pages = len(day.requests)
    listing = get(
        kasuwa.port,
        f"/cloudapi/app/{shop.store_id}/stock/prices?size=50",
        {"sessiontoken": shop.sessions[0]},
    )
    ours, floors, ratios, lists, cpu = [], [], [], [], []
    for number in range(rounds + 1):
        used = used_by(kasuwa.pid)
        work = Work(
            host="127.0.0.1", port=kasuwa.port, requests=day.requests, times=pages * days, connections=1
        )
        done = ask(work)
        spent = used_by(kasuwa.pid) - used
        assert set(done.statuses) == {200}, f"answers: {done.statuses}"
        floor = statistics.median(asyncio.run(floor_ms(data, shop, since, days)))
        listed = ask(
            Work(host="127.0.0.1", port=kasuwa.port, requests=[listing], times=5 * days, connections=1)
        )
        if number:  # the first one warms up
            ours.append(done.seconds * 1000 / days)
            floors.append(floor)
            ratios.append(ours[-1] / floor)
            lists.append(listed.median_ms)
            cpu.append(spent.total_ms / days)
    return Report(
        title=f"Price changes of a day: {day.changes} at {skus:,} SKUs in {pages} pages of {SIZE}, one after"
        f" the other; {rounds} rounds of {days} days",
        figures=[
            Figure(name="a day over HTTP", value=statistics.median(ours), unit="ms", limit=20),
            Figure(name="  of it each page", value=statistics.median(ours) / pages, unit="ms"),
            Figure(name="  all processes", value=statistics.median(cpu), unit="CPU-ms"),
            Figure(name="floor, the same SQL by asyncpg", value=statistics.median(floors), unit="ms"),
            Figure(name="ratio to the floor", value=statistics.median(ratios), unit="times"),
            Figure(name="price list, first 50", value=statistics.median(lists), unit="ms"),
        ],
    )
