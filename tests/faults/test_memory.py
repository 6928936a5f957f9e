"""Many large uploads at once: the server's memory has a ceiling, and what does not fit is told so."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable

import httpx
from msgspec import Struct

from tests.conftest import picture_bytes
from tests.faults.installation import Installation, Server
from tests.faults.uploads import UPLOADS, new_product, staged

UPLOADS_AT_ONCE = 60
CONTENT_BYTES = 6 * 1024 * 1024
CEILING_BYTES = 1_000_000_000


class Told(Struct, frozen=True):
    """Answers by status (or by how the line broke), the most memory, and whether the worker lived."""

    statuses: Counter[str]
    peak_bytes: int
    same_worker: bool


async def upload_at_once(installation: Installation) -> Told:
    """Sixty pictures of 6 MB as JSON arrays of byte values, sent at the same time."""
    # Bytes after the picture's own end are read by no decoder.
    picture = picture_bytes("PNG")
    values = list(picture) + [99] * (CONTENT_BYTES - len(picture))
    body = str(values).replace(" ", "").encode()
    async with staged(installation) as stage:
        async with installation.services() as services:
            product = await new_product(services, stage.shop)
        call = UPLOADS["storeharmony"](stage, product, b"", 1)
        headers = {**call.headers, "content-type": "application/json"}
        workers = stage.server.workers()

        async def send(client: httpx.AsyncClient) -> str:
            try:
                answer = await client.post(stage.server.url + call.path, headers=headers, content=body)
            except httpx.TransportError as error:
                return type(error).__name__
            return str(answer.status_code)

        limits = httpx.Limits(max_connections=UPLOADS_AT_ONCE)
        async with stage.installation.client(timeout=120, limits=limits) as client:
            watch = asyncio.create_task(watch_memory(stage.server))
            sending = [asyncio.create_task(send(client)) for _ in range(UPLOADS_AT_ONCE)]
            everything = asyncio.ensure_future(asyncio.wait(sending))
            await asyncio.wait([watch, everything], return_when=asyncio.FIRST_COMPLETED)
            for task in (*sending, everything, watch):
                task.cancel()
            statuses = await asyncio.gather(*sending, return_exceptions=True)
            peak_bytes = await watch
        return Told(
            Counter(status if isinstance(status, str) else "given up" for status in statuses),
            peak_bytes,
            stage.server.workers() == workers,
        )


async def watch_memory(server: Server) -> int:
    """The most memory of all the server's processes until this is cancelled, or it is over the ceiling."""
    peak_bytes = 0
    try:
        while peak_bytes <= CEILING_BYTES:
            peak_bytes = max(peak_bytes, await asyncio.to_thread(server.resident_bytes))
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        pass
    return peak_bytes


async def test_sixty_large_uploads_stay_below_the_ceiling(install: Callable[..., Installation]) -> None:
    told = await upload_at_once(install())
    sys.stdout.write(f"peak {told.peak_bytes / 1e6:.0f} MB, answers {dict(told.statuses)}\n")
    assert told.peak_bytes <= CEILING_BYTES
    assert told.same_worker
    assert told.statuses["200"] > 0
    assert set(told.statuses) <= {"200", "413", "429", "503"}


async def test_the_check_sees_a_server_that_reads_whole_bodies(install: Callable[..., Installation]) -> None:
    told = await upload_at_once(install("read-whole-bodies"))
    assert told.peak_bytes > CEILING_BYTES
