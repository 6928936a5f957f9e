"""A durable change of stock over HTTP; one hot item beside pgbench's own transaction; balances built anew.

pgbench runs what it is known for, one row changed and one written down in a transaction by messages of
its own, at one hot row of a table of its own in the same PostgreSQL. Rounds of both alternate.
"""

import asyncio
import re
import statistics
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg

from bench.broken import slow_rows
from bench.client import Done, Work, ask, post
from bench.list_products import DATABASE
from bench.places import data_folder
from bench.processes import Started, Used, serving, used_by
from bench.shop import BenchShop, build_shop
from bench.tables import Figure, Report
from kasuwa.base.context import Caller, Context, MerchantId, Services, StoreId
from kasuwa.base.postgres.binaries import find_binaries
from kasuwa.base.postgres.bootstrap import OWNER
from kasuwa.base.postgres.server import attach
from kasuwa.cli.visiting import everything
from kasuwa.database import visiting_database
from kasuwa.domain.inventory.records import Move
from kasuwa.domain.inventory.waiting import move_one
from kasuwa.settings import read_settings

WAITING = 64
_BROKEN = slow_rows("stock_movement", ms=3)
_BROKEN_REBUILD = slow_rows("stock_balance", ms=70, when="UPDATE")
# As many connections as the embedded PostgreSQL leaves; a hot row lets one through at a time.
CLIENTS = 16

_PGBENCH_TABLES = """
    CREATE TABLE IF NOT EXISTS bench_stock (id int PRIMARY KEY, quantity bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS bench_ledger (
      id int NOT NULL, quantity bigint NOT NULL, at timestamptz NOT NULL);
    INSERT INTO bench_stock VALUES (1, 1000000000) ON CONFLICT DO NOTHING;
"""
_PGBENCH_SCRIPT = """
BEGIN;
UPDATE bench_stock SET quantity = quantity - 1 WHERE id = 1;
INSERT INTO bench_ledger (id, quantity, at) VALUES (1, -1, CURRENT_TIMESTAMP);
COMMIT;
"""


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """CPU-ms of a change, changes a second on one item, and the seconds of a rebuild."""
    products, times, rounds = (20, 40, 1) if smoke else (1_000, 400, 3)
    lines, movements = (1_000, 2_000) if smoke else (20_000, 1_000_000)
    with data_folder() as data:
        shop = build_shop(data, products=products, sessions=8, breaking=_BROKEN if broken else "")
        with serving(data, storeharmony_requests_per_second=1_000_000) as server:
            figures = _over_http(data, server, shop, times, rounds)
            figures += _on_one_item(data, server, shop, smoke)
        figures += _rebuilt(data, shop, lines, movements, _BROKEN_REBUILD if broken else "")
    return Report(title=f"Changes of stock, one worker, {rounds} rounds of {times}", figures=figures)


def _over_http(data: Path, server: Started, shop: BenchShop, times: int, rounds: int) -> list[Figure]:
    items = asyncio.run(_items(data, shop))
    spread = [_addition(server.port, shop, item, n) for n, item in enumerate(items)]
    used: list[Used] = []
    for number in range(rounds + 1):
        before = used_by(server.pid)
        _ask(server.port, spread, times, 4)
        if number:  # the first one warms up
            used.append(used_by(server.pid) - before)
    return [
        Figure(
            name="addquantity, all processes",
            value=statistics.median(one.total_ms for one in used) / times,
            unit="CPU-ms",
            limit=2,
        ),
        Figure(
            name="  worker and parent",
            value=statistics.median(one.ours_ms for one in used) / times,
            unit="CPU-ms",
        ),
        Figure(
            name="  PostgreSQL",
            value=statistics.median(one.postgres_ms for one in used) / times,
            unit="CPU-ms",
        ),
    ]


def _on_one_item(data: Path, server: Started, shop: BenchShop, smoke: bool) -> list[Figure]:
    """The hot item, by HTTP and by the verb alone, and pgbench's hot row, in turn."""
    hot = [_addition(server.port, shop, shop.product_id, n) for n in range(8)]
    times, seconds, rounds = (64, 1, 1) if smoke else (1_000, 3, 3)
    by_http, by_verb, by_pgbench = [], [], []
    for _ in range(rounds):
        by_http.append(times / _ask(server.port, hot, times, WAITING).seconds)
        by_verb.append(_by_verb(data, shop, times * 5))
        by_pgbench.append(_pgbench(data, seconds))
    floor = statistics.median(by_pgbench)
    return [
        Figure(
            name="one hot item over HTTP, 64 at a time",
            value=statistics.median(by_http),
            unit="per s",
            note="callers and server share the processors",
        ),
        Figure(
            name="one hot item, the verb alone, 64 waiting", value=statistics.median(by_verb), unit="per s"
        ),
        Figure(name="pgbench, one hot row, 16 clients", value=floor, unit="per s"),
        Figure(
            name="pgbench beside the verb",
            value=statistics.median(p / v for p, v in zip(by_pgbench, by_verb, strict=True)),
            unit="times",
            limit=1,
        ),
        Figure(
            name="pgbench beside HTTP",
            value=statistics.median(p / h for p, h in zip(by_pgbench, by_http, strict=True)),
            unit="times",
            limit=1,
        ),
    ]


def _rebuilt(data: Path, shop: BenchShop, lines: int, movements: int, breaking: str) -> list[Figure]:
    """Lines through the ledger and the whole chain looked through; then balances built from the movements."""
    settings = read_settings({}, data=str(data))
    with visiting_database(settings):
        address = attach(data)
        assert address is not None
        url = address.dsn(address.superuser, DATABASE)
        return asyncio.run(_rebuild(url, shop, lines, movements, breaking))


async def _rebuild(url: str, shop: BenchShop, lines: int, movements: int, breaking: str) -> list[Figure]:
    admin = await asyncpg.connect(url)
    try:
        await admin.execute("SELECT set_config('app.merchant_id', $1, false)", str(shop.merchant_id))
        begun = time.perf_counter()
        for _ in range(lines // 1_000):
            await admin.fetchval(_LINES, shop.merchant_id, 1_000)
        filled = time.perf_counter()
        faults = [row["fault"] for row in await admin.fetch("SELECT fault FROM stock_faults() LIMIT 5")]
        assert faults == [], faults
        looked = time.perf_counter()
        chained = await admin.fetchval("SELECT count(*) FROM stock_movement")
        await admin.execute("SET session_replication_role = replica")
        balances = await admin.fetchval("SELECT count(*) FROM stock_balance")
        await admin.execute(_MOVEMENTS, movements // balances)
        await admin.execute("ANALYZE stock_movement")
        there = await admin.fetchval("SELECT count(*) FROM stock_movement")
        if breaking:
            await admin.execute(breaking)
        ready = time.perf_counter()
        assert await admin.fetchval("SELECT rebuild_stock()") == balances
        built = time.perf_counter()
        assert await admin.fetchval(_SUMS_DIFFER) == 0, "a balance is not the sum of its movements"
    finally:
        await admin.close()
    return [
        Figure(name="lines, 1,000 in a call", value=lines / (filled - begun), unit="per s"),
        Figure(name=f"  the chain of {chained:,} looked through", value=looked - filled, unit="s"),
        Figure(name=f"all balances from {there:,} movements", value=built - ready, unit="s", limit=60),
    ]


_SUMS_DIFFER = """
    SELECT count(*) FROM stock_balance b
    JOIN (SELECT variant_id, store_id, sum(quantity) AS moved FROM stock_movement
          WHERE state = 'on_hand' GROUP BY variant_id, store_id) m USING (variant_id, store_id)
    WHERE b.on_hand <> m.moved
"""

# Movements that no balance knows of; who asks only for sums needs no chain.
_MOVEMENTS = """
    INSERT INTO stock_movement (merchant_id, store_id, variant_id, seq, movement_id, product_id, at, kind,
                                state, quantity, before, after, value_change, average_cost, serials, actor,
                                device, reason, reference, note, party, request_id, previous_hash, hash)
    SELECT b.merchant_id, b.store_id, b.variant_id, b.seq + n, gen_random_uuid(), b.product_id, now(),
           'sold', 'on_hand', 1, b.on_hand + n - 1, b.on_hand + n, 0, b.average_cost, '{}', 'bench', '', '',
           '', '', '', '', b.head, b.head
    FROM stock_balance b CROSS JOIN generate_series(1, $1::int) n
"""

_LINES = """
    SELECT count(*) FROM move_stock((
      SELECT jsonb_agg(jsonb_build_object(
        'line', n, 'store_id', b.store_id, 'variant_id', b.variant_id, 'kind', 'quantity_added',
        'state', 'on_hand', 'change', 1 + n % 9, 'unit_cost', 100 + n % 50, 'actor', 'bench', 'device', '',
        'reason', 'purchase', 'reference', '', 'note', '', 'party', '', 'request_id', ''))
      FROM generate_series(0, $2::int - 1) n
      JOIN (SELECT store_id, variant_id, row_number() OVER () - 1 AS place, count(*) OVER () AS many
            FROM stock_balance WHERE merchant_id = $1) b ON b.place = n % b.many))
"""


async def _items(data: Path, shop: BenchShop) -> list[UUID]:
    address = attach(data)
    assert address is not None
    owner = await asyncpg.connect(address.dsn(OWNER, DATABASE))
    try:
        rows = await owner.fetch("SELECT product_id FROM product WHERE merchant_id = $1", shop.merchant_id)
    finally:
        await owner.close()
    return [row["product_id"] for row in rows]


def _addition(port: int, shop: BenchShop, item: UUID, number: int) -> bytes:
    path = f"/cloudapi/app/{shop.store_id}/stock/{item}/addquantity"
    token = shop.sessions[number % len(shop.sessions)]
    return post(port, path, {"sessiontoken": token}, b'{"quantity": 1, "reason": "correction"}')


def _ask(port: int, requests: list[bytes], times: int, connections: int) -> Done:
    done = ask(Work(host="127.0.0.1", port=port, requests=requests, times=times, connections=connections))
    assert set(done.statuses) == {200}, f"answers: {done.statuses}"
    return done


def _by_verb(data: Path, shop: BenchShop, times: int) -> float:
    """Changes a second of so many tasks in one process, each of which waits for its own answer."""
    settings = read_settings({}, data=str(data))
    with visiting_database(settings) as urls:

        async def work() -> float:
            async with everything(settings, urls) as services:
                return await _moved(services, shop, times)

        return asyncio.run(work())


async def _moved(services: Services, shop: BenchShop, times: int) -> float:
    caller = Caller(kind="bench", merchant_id=MerchantId(shop.merchant_id), store_id=StoreId(shop.store_id))
    async with Context(services, caller).reading() as db:
        variant_id = await db.value(
            "SELECT variant_id FROM variant WHERE merchant_id = current_merchant() AND product_id = :id",
            id=shop.product_id,
        )
    move = Move(store_id=shop.store_id, variant_id=variant_id, kind="quantity_added", change=Decimal(1))

    async def till() -> None:
        for _ in range(times // WAITING + 1):
            await move_one(Context(services, caller, request_id="bench"), move)

    begun = time.perf_counter()
    await asyncio.gather(*(till() for _ in range(WAITING)))
    return (times // WAITING + 1) * WAITING / (time.perf_counter() - begun)


def _pgbench(data: Path, seconds: int) -> float:
    """Transactions a second on one hot row."""
    address = attach(data)
    assert address is not None
    url = address.dsn(address.superuser, DATABASE)

    async def prepare() -> None:
        superuser = await asyncpg.connect(url)
        await superuser.execute(_PGBENCH_TABLES)
        await superuser.close()

    asyncio.run(prepare())
    script = data / "hot.sql"
    script.write_text(_PGBENCH_SCRIPT)
    program = find_binaries().bin / "pgbench"
    words = [str(program), "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "1", "-T", str(seconds)]
    done = subprocess.run([*words, "-f", str(script), url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found.group(1))
