"""What a quota costs, and how many requests four workers answer while it is kept over all of them."""

import asyncio
import os
import statistics
import time
from pathlib import Path

from bench.client import Work, ask
from bench.list_products import DATABASE, store_requests
from bench.places import data_folder
from bench.processes import Started, serving, used_by
from bench.shop import build_shop
from bench.tables import Figure, Report
from kasuwa.base.db import Pool
from kasuwa.base.limits import Limits, Quota
from kasuwa.base.postgres.bootstrap import APPLICATION
from kasuwa.base.postgres.server import attach

_WORKERS = 4
# The same as StoreHarmony's in the settings.
_QUOTA = Quota("bench", requests=60, leak_per_second=20)


def measure(*, smoke: bool = False) -> Report:
    """CPU-ms of a lease and of a request that spends from it; requests a second with four workers."""
    times = 40 if smoke else 1200
    with data_folder() as data:
        shop = build_shop(data, products=20 if smoke else 1000, sessions=8 if smoke else 256)
        with serving(data, workers=_WORKERS) as server:
            lease_ms, spend_ms = asyncio.run(_leases(data, server, 20 if smoke else 600))
            requests = store_requests(server.port, shop)
            rates = []
            for _ in range(1 if smoke else 5):
                done = ask(
                    Work(host="127.0.0.1", port=server.port, requests=requests, times=times, connections=8)
                )
                assert set(done.statuses) == {200}, f"answers: {done.statuses}"
                rates.append(times / done.seconds)
    return Report(
        title=f"Quotas, and lists of 50 from {_WORKERS} workers on {os.cpu_count()} processors",
        figures=[
            Figure(name="a lease of a block", value=lease_ms, unit="CPU-ms", note="ours and PostgreSQL's"),
            Figure(name="a request from a leased block", value=spend_ms, unit="CPU-ms"),
            Figure(name="lists, 8 at a time", value=statistics.median(rates), unit="per s"),
        ],
    )


async def _leases(data: Path, server: Started, times: int) -> tuple[float, float]:
    """CPU-ms of the first request of a bucket, which leases, and of the next, which only spends."""
    address = attach(data)
    assert address is not None
    pool = await Pool.open(dsn=address.dsn(APPLICATION, DATABASE), max_size=1)
    try:
        limits = Limits(pool)
        await limits.take(_QUOTA, "warm")
        before = used_by(server.pid).postgres_ms + time.process_time() * 1000
        for number in range(times):
            assert (await limits.take(_QUOTA, f"subject {number}")).accepted
        leased = used_by(server.pid).postgres_ms + time.process_time() * 1000 - before
        begun = time.process_time()
        for number in range(max(0, times - 100), times):
            assert (await limits.take(_QUOTA, f"subject {number}")).accepted
        spent = (time.process_time() - begun) * 1000
    finally:
        await pool.close()
    return leased / times, spent / min(times, 100)
