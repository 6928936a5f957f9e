"""Many large uploads at once: the server's memory has a ceiling, and what does not fit is told so."""

import asyncio
from collections import Counter

import httpx
from msgspec import Struct

from tests.conftest import picture_bytes
from tests.faults.installation import Installation
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
    values = list(picture) + [251] * (CONTENT_BYTES - len(picture))
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
        async with httpx.AsyncClient(timeout=120, limits=limits) as client:
            watch = asyncio.create_task(watch_memory(stage.server))
            sending = [asyncio.create_task(send(client)) for _ in range(UPLOADS_AT_ONCE)]
            await asyncio.wait([watch, asyncio.gather(*sending)], return_when=asyncio.FIRST_COMPLETED)
            for task in (*sending, watch):
                task.cancel()
            statuses = await asyncio.gather(*sending, return_exceptions=True)
            (peak_bytes,) = await asyncio.gather(watch)
        return Told(
            Counter(status if isinstance(status, str) else "given up" for status in statuses),
            peak_bytes,
            stage.server.workers() == workers,
        )
