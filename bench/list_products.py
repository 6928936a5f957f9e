"""A page of 50 products with price, live stock and pictures over HTTP, beside its floor in the same run.

The floor (bench/floor.py) asks the same PostgreSQL the same questions and sends the same bytes. Rounds of
both alternate, so that both see the same machine.
"""

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from bench.client import Done, Work, ask, get
from bench.places import data_folder
from bench.processes import Started, Used, serving, started, used_by, wait_idle
from bench.shop import BenchShop, build_shop
from bench.tables import Figure, Report
from kasuwa.base.postgres.bootstrap import APPLICATION
from kasuwa.base.postgres.server import attach

DATABASE = "kasuwa"
SIZE = 50
_BROKEN = "DROP INDEX product_by_name"


class Round(Struct, frozen=True):
    """One round of requests to one server; times per request in ms."""

    ours_ms: float
    postgres_ms: float
    done: Done

    @property
    def total_ms(self) -> float:
        return self.ours_ms + self.postgres_ms


@contextmanager
def floor_server(data: Path) -> Iterator[Started]:
    """The floor, at the database of the server that runs on the data folder."""
    address = attach(data)
    assert address is not None, f"no server runs on {data}"
    words = [sys.executable, "-m", "bench.floor", address.dsn(APPLICATION, DATABASE)]
    with started(words, {}, data / "floor.log") as server:
        yield server


def measure_round(kasuwa: Started, floor: Started | None, requests: list[bytes], times: int) -> Round:
    """Ask the floor, if it is given, else Kasuwa; PostgreSQL is Kasuwa's child for both."""
    asked = floor or kasuwa
    before = _used(kasuwa, floor)
    done = ask(Work(host="127.0.0.1", port=asked.port, requests=requests, times=times))
    used = _used(kasuwa, floor) - before
    assert set(done.statuses) == {200}, f"answers: {done.statuses}"
    return Round(used.ours_ms / times, used.postgres_ms / times, done)


def _used(kasuwa: Started, floor: Started | None) -> Used:
    used = used_by(kasuwa.pid)
    return used if floor is None else Used(used.postgres_ms, used_by(floor.pid).ours_ms)


def store_requests(port: int, shop: BenchShop) -> list[bytes]:
    """The same page for each session: every one has the quota that is configured."""
    path = f"/cloudapi/app/{shop.store_id}/stock?size={SIZE}"
    return [get(port, path, {"sessiontoken": token}) for token in shop.sessions]


def median(rounds: list[Round], attribute: str) -> float:
    values: list[float] = [getattr(one, attribute) for one in rounds]
    return statistics.median(values)


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """The costs of both, and their ratio."""
    products, sessions, times, count = (200, 8, 40, 2) if smoke else (10_000, 64, 600, 15)
    with data_folder() as data:
        shop = build_shop(data, products=products, sessions=sessions, breaking=_BROKEN if broken else "")
        with serving(data, shoplazza_burst=1_000_000, shoplazza_store_burst=1_000_000) as kasuwa:
            wait_idle(kasuwa)
            return _measured(data, kasuwa, shop, times, count)


def _measured(data: Path, kasuwa: Started, shop: BenchShop, times: int, count: int) -> Report:
    ours: list[Round] = []
    floors: list[Round] = []
    cards: list[Round] = []
    requests = store_requests(kasuwa.port, shop)
    path = f"/openapi/2022-01/products?per_page={SIZE}"
    shoplazza = [get(kasuwa.port, path, {"Access-Token": shop.access_token})]
    with floor_server(data) as floor:
        at_floor = store_requests(floor.port, shop)
        for number in range(count + 1):
            one = [
                measure_round(kasuwa, None, requests, times),
                measure_round(kasuwa, floor, at_floor, times),
                measure_round(kasuwa, None, shoplazza, max(10, times // 4)),
            ]
            if number:  # the first one warms up
                for rounds, measured in zip((ours, floors, cards), one, strict=True):
                    rounds.append(measured)
    assert abs(ours[-1].done.body_bytes - floors[-1].done.body_bytes) < 200, "the floor sends other bytes"
    ratio = statistics.median(o.total_ms / f.total_ms for o, f in zip(ours, floors, strict=True))
    rate = statistics.median(times / one.done.seconds for one in ours)
    return Report(
        title=f"List of {SIZE} products, price, live stock, pictures; one worker, {count} rounds of {times}",
        figures=[
            Figure(
                name="StoreHarmony, all processes", value=median(ours, "total_ms"), unit="CPU-ms", limit=1.5
            ),
            Figure(name="  worker and parent", value=median(ours, "ours_ms"), unit="CPU-ms"),
            Figure(name="  PostgreSQL", value=median(ours, "postgres_ms"), unit="CPU-ms"),
            Figure(name="floor, all processes", value=median(floors, "total_ms"), unit="CPU-ms"),
            Figure(name="  its server", value=median(floors, "ours_ms"), unit="CPU-ms"),
            Figure(name="  PostgreSQL", value=median(floors, "postgres_ms"), unit="CPU-ms"),
            Figure(
                name="ratio to the floor", value=ratio, unit="times", limit=1.5, note="median over the rounds"
            ),
            Figure(name="answer", value=ours[-1].done.body_bytes / 1000, unit="KB"),
            Figure(name="requests, 4 at a time", value=rate, unit="per s"),
            Figure(name="Shoplazza's list", value=median(cards, "total_ms"), unit="CPU-ms"),
        ],
    )
