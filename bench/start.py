"""How long `kasuwa serve` takes until it answers, and what its processes hold while nobody asks."""

import os
import signal
import statistics
import time
from pathlib import Path

from bench.client import Work, ask
from bench.list_products import store_requests
from bench.photograph import make_photograph
from bench.places import data_folder
from bench.processes import Started, family_of, is_postgres, memory_of, serving, used_by
from bench.shop import BenchShop, build_shop
from bench.tables import Figure, Report
from bench.upload import MEGABYTE, marked, upload

_IDLE_SECONDS = 3.0


def measure(*, smoke: bool = False) -> Report:
    """Starts on existing data and after kill -9 of every process amid uploads; memory when idle."""
    rounds, products = (1, 20) if smoke else (5, 2_000)
    starts: list[float] = []
    starts_cpu: list[float] = []
    after_crash: list[float] = []
    with data_folder() as data:
        shop = build_shop(data, products=products, sessions=8)
        for number in range(rounds):
            begun = time.perf_counter()
            with serving(data) as server:
                starts.append(time.perf_counter() - begun)
                starts_cpu.append(used_by(server.pid).total_ms / 1000)
                _write(server, shop, number)
                _kill(server)
            begun = time.perf_counter()
            with serving(data):
                after_crash.append(time.perf_counter() - begun)
        figures = [
            Figure(name="start, existing data", value=statistics.median(starts), unit="s", limit=2),
            Figure(name="  processor time", value=statistics.median(starts_cpu), unit="CPU-s"),
            Figure(name="start after a crash", value=statistics.median(after_crash), unit="s", limit=4),
            *_memory(data, shop, idle_seconds=0.5 if smoke else _IDLE_SECONDS),
        ]
    return Report(
        title=f"`kasuwa serve` with {products} products, {rounds} starts of each kind", figures=figures
    )


def _write(server: Started, shop: BenchShop, number: int) -> None:
    """Something for the log that a crash leaves to be read again."""
    for copy in range(4):
        upload(server, shop, marked(make_photograph(400, 300), 100 * number + copy))


def _kill(server: Started) -> None:
    """Every process at once, as a power cut would."""
    for process in family_of(server.pid):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    server.process.wait()


def _memory(data: Path, shop: BenchShop, *, idle_seconds: float) -> list[Figure]:
    """After a few requests, when all is loaded, and some seconds of quiet."""
    with serving(data) as server:
        time.sleep(idle_seconds)
        fresh = _own_memory(server)
        ask(Work(host="127.0.0.1", port=server.port, requests=store_requests(server.port, shop), times=100))
        time.sleep(idle_seconds)
        used = _own_memory(server)
    return [
        Figure(
            name="idle memory, PSS",
            value=fresh[0] / MEGABYTE,
            unit="MB",
            limit=150,
            note="all processes but PostgreSQL's",
        ),
        Figure(
            name="idle memory, sum of RSS",
            value=fresh[1] / MEGABYTE,
            unit="MB",
            note="shared pages count each time",
        ),
        Figure(name="after 100 lists, PSS", value=used[0] / MEGABYTE, unit="MB", limit=150),
        Figure(name="processes", value=fresh[2], unit=""),
    ]


def _own_memory(server: Started) -> tuple[int, int, int]:
    """PSS, RSS and how many, without PostgreSQL."""
    own = [memory_of(process.pid) for process in family_of(server.pid) if not is_postgres(process)]
    return sum(m.pss_bytes for m in own), sum(m.rss_bytes for m in own), len(own)
