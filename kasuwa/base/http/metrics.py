"""Numbers for Prometheus, summed over the workers.

Each worker counts into memory-mapped files of its own in the folder that the server names by
PROMETHEUS_MULTIPROC_DIR before Python starts; whoever is asked for `/metrics` adds all files up. Without
that folder (one process, tests) the numbers are this process's alone.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SOURCE_DEADLINE_SECONDS = 2.0
_registry = CollectorRegistry()

requests = Counter(
    "kasuwa_http_requests", "Requests answered.", ["operation", "method", "status"], registry=_registry
)
request_seconds = Histogram(
    "kasuwa_http_request_seconds",
    "Time from the request's headers to the end of its answer.",
    ["operation", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=_registry,
)
in_flight = Gauge(
    "kasuwa_http_in_flight", "Requests being answered.", registry=_registry, multiprocess_mode="livesum"
)
refused_connections = Counter(
    "kasuwa_http_refused", "Connections refused or cut by the protocol.", ["reason"], registry=_registry
)
db_pool_wait_seconds = Histogram(
    "kasuwa_db_pool_wait_seconds",
    "Time a transaction waited for a connection.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5),
    registry=_registry,
)
imaging_seconds = Histogram(
    "kasuwa_imaging_seconds",
    "Time to decode a picture and make its renditions: it was done, refused, or the processes were busy.",
    ["outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=_registry,
)
imaging_losses = Counter(
    "kasuwa_imaging_losses",
    "Processes for pictures that died, or were killed as they did not end.",
    registry=_registry,
)
refused_fetches = Counter(
    "kasuwa_fetch_refused", "Picture and webhook URLs not fetched.", ["reason"], registry=_registry
)
ledger_faults = Counter(
    "kasuwa_ledger_faults", "Ledger checks that did not add up.", ["ledger"], registry=_registry
)
messages = Counter(
    "kasuwa_messages",
    "Tries to send a message: it was sent, will be retried, or failed for good.",
    ["channel", "outcome"],
    registry=_registry,
)

Samples = dict[str, float]
Source = Callable[[], Awaitable[dict[str, Samples]]]
"""Asked at each scrape: {gauge: {label value: number}}, for what is true of the whole system."""

_sources: list[Source] = []
_SOURCE_GAUGES = {
    "kasuwa_queue_depth": ("Jobs waiting.", "queue"),
    "kasuwa_queue_oldest_seconds": ("Age of the oldest waiting job.", "queue"),
}


def add_source(source: Source) -> None:
    """Ask `source` at each scrape; its gauges are `kasuwa_queue_depth` and `kasuwa_queue_oldest_seconds`."""
    _sources.append(source)


def remove_source(source: Source) -> None:
    _sources.remove(source)


class _Asked:
    """What the sources said, as a collector for this one scrape."""

    def __init__(self, answers: list[dict[str, Samples]]) -> None:
        self.answers = answers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, (text, label) in _SOURCE_GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=[label])
            for answer in self.answers:
                for value, number in answer.get(name, {}).items():
                    family.add_metric([value], number)
            yield family


async def _ask_sources() -> list[dict[str, Samples]]:
    answers = []
    for source in _sources:
        try:
            async with asyncio.timeout(SOURCE_DEADLINE_SECONDS):
                answers.append(await source())
        except Exception:
            # The other numbers matter most when the database is away.
            structlog.get_logger().warning("a metrics source failed", exc_info=True)
    return answers


def _write(answers: list[dict[str, Samples]]) -> bytes:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder:
        scraped = CollectorRegistry()
        MultiProcessCollector(scraped, path=folder)  # type: ignore[no-untyped-call]
        text = generate_latest(scraped)
    else:
        text = generate_latest(_registry)
    asked = CollectorRegistry()
    asked.register(_Asked(answers))
    return text + generate_latest(asked)


async def scrape() -> bytes:
    """The answer of `/metrics` in Prometheus' text format, over all workers."""
    return await asyncio.to_thread(_write, await _ask_sources())
