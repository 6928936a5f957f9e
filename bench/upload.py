"""A photograph of 12 MP sent to addpicture, until all its renditions are kept, beside Pillow alone.

The answer of addpicture comes when every file is in its place, so the request is the whole work. The floor is
bench/imaging.py's: a fresh process that makes the same renditions. Both alternate.
"""

import http.client
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench.broken import slow_rows
from bench.imaging import measure_floor
from bench.photograph import make_photograph
from bench.places import data_folder
from bench.processes import Started, family_of, is_postgres, memory_of, serving, used_by
from bench.shop import BenchShop, build_shop
from bench.tables import Figure, Report

_SAMPLE_SECONDS = 0.02
# The kernel counts the CPU time of a process in ticks of 10 ms, a twentieth of what one upload takes.
_UPLOADS_A_ROUND = 5
_BROKEN = slow_rows("picture", ms=200)
MEGABYTE = 1024 * 1024


def marked(jpeg: bytes, number: int) -> bytes:
    """The same picture as another file: a comment is put in, so that it is not known already."""
    comment = f"number {number}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def upload(server: Started, shop: BenchShop, content: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    path = f"/cloudapi/app/{shop.store_id}/stock/{shop.product_id}/addpicture?position=1"
    connection.request(
        "POST", path, content, {"sessiontoken": shop.sessions[0], "Content-Type": "image/jpeg"}
    )
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status in (200, 201), f"{answer.status}: {said[:500]!r}"
    connection.close()


class Highest:
    """The most memory that the server's own processes held together, without PostgreSQL."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pss_bytes = 0

    def look(self) -> None:
        try:
            own = [process.pid for process in family_of(self.pid) if not is_postgres(process)]
            total = sum(memory_of(pid).pss_bytes for pid in own)
        except (FileNotFoundError, ProcessLookupError, KeyError):
            return  # one of them ended while we looked
        self.pss_bytes = max(self.pss_bytes, total)


@contextmanager
def watching(pid: int) -> Iterator[Highest]:
    highest = Highest(pid)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            highest.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield highest
    finally:
        over.set()
        thread.join()


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """Both costs, their ratio, and the memory with two uploads at a time."""
    rounds = 1 if smoke else 9
    jpeg = make_photograph(800, 600) if smoke else make_photograph()
    ours: list[float] = []
    floors: list[float] = []
    with data_folder() as data:
        shop = build_shop(data, products=1, sessions=1, breaking=_BROKEN if broken else "")
        with serving(data) as server:
            upload(server, shop, marked(jpeg, 0))
            for number in range(rounds):
                floors.append(measure_floor(jpeg)[0] * 1000)
                before = used_by(server.pid)
                for n in range(_UPLOADS_A_ROUND):
                    upload(server, shop, marked(jpeg, 1 + number * _UPLOADS_A_ROUND + n))
                ours.append((used_by(server.pid) - before).total_ms / _UPLOADS_A_ROUND)
            with watching(server.pid) as highest:
                _upload_side_by_side(server, shop, [marked(jpeg, 1000 + n) for n in range(4 * rounds)])
    ratio = statistics.median(our / floor for our, floor in zip(ours, floors, strict=True))
    return Report(
        title=(
            f"A JPEG of {len(jpeg) / 1e6:.1f} MB to addpicture until all files are kept,"
            f" {rounds} rounds of {_UPLOADS_A_ROUND}"
        ),
        figures=[
            Figure(name="all processes", value=statistics.median(ours), unit="CPU-ms"),
            Figure(name="floor: Pillow alone", value=statistics.median(floors), unit="CPU-ms"),
            Figure(
                name="ratio to the floor", value=ratio, unit="times", limit=1.3, note="median over the rounds"
            ),
            Figure(
                name="memory, two at a time",
                value=highest.pss_bytes / MEGABYTE,
                unit="MB PSS",
                limit=300,
                note="parent, worker and picture processes",
            ),
        ],
    )


def _upload_side_by_side(server: Started, shop: BenchShop, contents: list[bytes]) -> None:
    faults: list[BaseException] = []

    def run(some: list[bytes]) -> None:
        try:
            for content in some:
                upload(server, shop, content)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(contents[n::2],)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
