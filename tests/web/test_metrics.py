"""What the operator's Prometheus sees: each number moves when what it counts happens."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from kasuwa.base.http import metrics
from kasuwa.base.jobs import enqueue
from kasuwa.handover import WorkerSetup
from tests.api.test_storeharmony_products import make, session, stock
from tests.client import Web, running_web
from tests.conftest import picture_bytes
from tests.shop import Shop


async def number(web: Web, pattern: str) -> float:
    """The sample whose line begins with the pattern; 0 while there is none."""
    found = re.search(rf"^{pattern} (\S+)$", (await web.get("/metrics")).text, re.M)
    return float(found.group(1)) if found else 0.0


async def test_requests_are_counted_by_operation_and_status(web: Web, shop: Shop) -> None:
    made = r'kasuwa_http_requests_total\{method="POST",operation="createSimpleProduct",status="200"\}'
    refused = r'kasuwa_http_requests_total\{method="POST",operation="createSimpleProduct",status="422"\}'
    took = r'kasuwa_http_request_seconds_count\{operation="createSimpleProduct",status="200"\}'
    before = [await number(web, each) for each in (made, refused, took)]
    await make(web, shop)
    await web.post(stock(shop), headers=session(shop), json={"name": ""})
    after = [await number(web, each) for each in (made, refused, took)]
    assert [a - b for a, b in zip(after, before, strict=True)] == [1, 1, 1]


async def test_waiting_for_a_connection_is_observed(web: Web, shop: Shop) -> None:
    pool = web.services.pool
    held = [await pool.acquire() for _ in range(web.services.settings.database_connections)]
    before = await number(web, "kasuwa_db_pool_wait_seconds_count")
    making = asyncio.create_task(make(web, shop))
    await asyncio.sleep(0.05)
    assert not making.done()
    for connection in held:
        await pool.put_back(connection)
    await making
    assert await number(web, "kasuwa_db_pool_wait_seconds_count") > before


@pytest.fixture
async def alone(worker_setup: WorkerSetup, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    """The only application of this process that is asked at a scrape."""
    monkeypatch.setattr(metrics, "_sources", [])
    async with running_web(worker_setup) as running:
        yield running


async def test_the_queue_shows_its_depth_and_its_oldest_job(alone: Web, shop: Shop) -> None:
    depth = r'kasuwa_queue_depth\{queue="waiting"\}'
    before = await number(alone, depth)
    async with shop.owner.transaction() as db:
        await enqueue(db, "nobody.does.this", {}, due=datetime.now(UTC) - timedelta(hours=1))
    assert await number(alone, depth) == before + 1
    oldest = await number(alone, r'kasuwa_queue_oldest_seconds\{queue="waiting"\}')
    assert 3_600 <= oldest < 7_200
    async with alone.services.pool.autocommit() as db:
        await db.values(
            """
            SELECT finish_job(job_id, attempts) FROM claim_jobs(1000, interval '1 hour')
            WHERE kind = 'nobody.does.this'
            """
        )


@pytest.mark.parametrize(
    ("outcome", "content", "status"),
    [("done", picture_bytes("PNG", seed=77), 200), ("refused", picture_bytes("PNG")[:60], 400)],
    ids=["done", "refused"],
)
async def test_decoding_a_picture_is_observed(
    web: Web, shop: Shop, outcome: str, content: bytes, status: int
) -> None:
    observed = rf'kasuwa_imaging_seconds_count\{{outcome="{outcome}"\}}'
    item = await make(web, shop)
    before = await number(web, observed)
    answer = await web.post(
        stock(shop, f"/{item['itemId']}/addpicture"),
        headers=session(shop, **{"content-type": "image/png"}),
        content=content,
    )
    assert answer.status_code == status
    assert await number(web, observed) == before + 1


async def test_a_process_for_pictures_that_died_is_counted(web: Web) -> None:
    imaging = web.services.imaging
    await imaging.render(picture_bytes("PNG"))
    before = await number(web, "kasuwa_imaging_losses_total")
    os.kill(imaging.processes()[0].pid, signal.SIGKILL)
    await imaging.render(picture_bytes("PNG"))
    assert await number(web, "kasuwa_imaging_losses_total") == before + 1


async def test_a_refused_address_is_counted(web: Web) -> None:
    refused = r'kasuwa_fetch_refused_total\{reason="refused"\}'
    before = await number(web, refused)
    with pytest.raises(Exception, match="does not answer"):
        await web.services.fetcher.fetch("http://127.0.0.1/")
    assert await number(web, refused) == before + 1
