"""What is counted is what a scrape shows, and nothing else moves. Of the events: the tests of each part."""

import asyncio
from collections.abc import Callable

import pytest

from kasuwa.base.http import metrics
from kasuwa.base.http.middleware import Edge, EdgeOptions
from tests.base.http_toy import render_error

MOVES: dict[str, Callable[[], object]] = {
    'kasuwa_http_requests_total{method="GET",operation="test",status="200"}': (
        lambda: metrics.requests.labels("test", "GET", "200").inc()
    ),
    'kasuwa_http_request_seconds_count{operation="test",status="200"}': (
        lambda: metrics.request_seconds.labels("test", "200").observe(0.2)
    ),
    "kasuwa_http_in_flight": lambda: metrics.in_flight.inc(),
    'kasuwa_http_refused_total{reason="test"}': lambda: metrics.refused_connections.labels("test").inc(),
    "kasuwa_db_pool_wait_seconds_count": lambda: metrics.db_pool_wait_seconds.observe(0.01),
    "kasuwa_imaging_losses_total": lambda: metrics.imaging_losses.inc(),
    'kasuwa_imaging_seconds_count{outcome="test"}': lambda: metrics.imaging_seconds.labels("test").observe(1),
    'kasuwa_fetch_refused_total{reason="test"}': lambda: metrics.refused_fetches.labels("test").inc(),
    'kasuwa_messages_total{channel="test",outcome="sent"}': (
        lambda: metrics.messages.labels("test", "sent").inc()
    ),
    'kasuwa_ledger_faults_total{ledger="test"}': lambda: metrics.ledger_faults.labels("test").inc(),
}


@pytest.fixture(autouse=True)
def no_other_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another application of this process would be asked too, and its questions move numbers."""
    monkeypatch.setattr(metrics, "_sources", [])


async def _numbers() -> dict[str, float]:
    lines = (await metrics.scrape()).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(number) for name, number in pairs if not name.partition("{")[0].endswith("_created")}


@pytest.mark.parametrize(("name", "move"), MOVES.items(), ids=MOVES)
async def test_each_number_moves_by_one(name: str, move: Callable[[], object]) -> None:
    before = await _numbers()
    move()
    after = await _numbers()
    assert after[name] - before.get(name, 0) == 1
    moved = {other.partition("{")[0] for other in after if after[other] != before.get(other, 0)}
    family = name.partition("{")[0].removesuffix("_count").removesuffix("_total")
    assert all(other.startswith(family) for other in moved)


async def test_the_queue_is_asked_at_each_scrape() -> None:
    depth = 3.0

    async def queue() -> dict[str, dict[str, float]]:
        return {"kasuwa_queue_depth": {"mail": depth}, "kasuwa_queue_oldest_seconds": {"mail": 12.5}}

    metrics.add_source(queue)
    try:
        assert (await _numbers())['kasuwa_queue_depth{queue="mail"}'] == 3
        depth = 4.0
        numbers = await _numbers()
        assert numbers['kasuwa_queue_depth{queue="mail"}'] == 4
        assert numbers['kasuwa_queue_oldest_seconds{queue="mail"}'] == 12.5
    finally:
        metrics.remove_source(queue)


async def test_a_source_that_fails_or_hangs_costs_only_its_own_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail() -> dict[str, dict[str, float]]:
        raise ConnectionError

    async def hang() -> dict[str, dict[str, float]]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(metrics, "SOURCE_DEADLINE_SECONDS", 0.05)
    for source in (fail, hang):
        metrics.add_source(source)
    try:
        assert "kasuwa_http_in_flight" in await _numbers()
    finally:
        for source in (fail, hang):
            metrics.remove_source(source)


async def test_the_edge_counts_by_operation_and_status() -> None:
    async def app(scope: dict[str, dict[str, str]], _receive: object, send: Callable[..., object]) -> None:
        scope["state"]["operation"] = "getItem"
        await send({"type": "http.response.start", "status": 404, "headers": []})  # type: ignore[misc]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[misc]

    async def send(_message: object) -> None:
        return None

    scope: dict[str, object] = {
        "type": "http",
        "path": "/items/1",
        "method": "GET",
        "scheme": "http",
        "headers": [],
        "client": None,
    }
    before = await _numbers()
    await Edge(app, EdgeOptions(render_error=render_error))(scope, None, send)  # type: ignore[arg-type]
    after = await _numbers()
    for name in (
        'kasuwa_http_requests_total{method="GET",operation="getItem",status="404"}',
        'kasuwa_http_request_seconds_count{operation="getItem",status="404"}',
    ):
        assert after[name] - before.get(name, 0) == 1
