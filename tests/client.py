"""The application as a caller sees it, with every answer checked against the contracts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from litestar import Litestar

from kasuwa.app import create_app
from kasuwa.base.context import Services
from kasuwa.base.http.middleware import Edge
from kasuwa.handover import WorkerSetup
from tests.contract.harness import validate_answer

ORIGIN = "http://127.0.0.1:8000"


class Web:
    """Calls the application. Every answer has been checked, of `call` and of `client` alike.

    `unchecked` is for what breaks or crashes the server on purpose. `address` is where the calls come from.
    """

    def __init__(self, app: Edge, services: Services, *, address: str = "127.0.0.1") -> None:
        self.app = app
        self.services = services
        transport = httpx.ASGITransport(app=app, client=(address, 50_000))
        hooks = {"response": [_check]}
        self.client = httpx.AsyncClient(transport=transport, base_url=ORIGIN, event_hooks=hooks)
        self.unchecked = httpx.AsyncClient(transport=transport, base_url=ORIGIN)

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; `options` are httpx's."""
        return await self.client.request(method, path, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("POST", path, **options)

    async def put(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("PUT", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("DELETE", path, **options)


# Where each contract's paths begin. BigCommerce's V2 has no contract: its tests compare whole answers.
_DIALECTS = (("/cloudapi", "storeharmony"), ("/openapi/20", "shoplazza"), ("/manage", "manage"))


def check_answer(response: httpx.Response) -> None:
    """Refuse an answer that the contract does not promise, and every fault of the server's own."""
    path = response.request.url.path
    assert response.status_code != 500, f"{response.request.method} {path}: {response.text}"
    dialect = next((name for prefix, name in _DIALECTS if path.startswith(prefix)), None)
    if path.startswith("/stores/") and "/v3" in path:
        dialect = "bigcommerce"
    if response.request.method == "OPTIONS" and response.status_code == 204:
        return
    if response.status_code == 304 or (response.request.method == "HEAD" and response.status_code == 405):
        # Promised by the server as a whole: what has not changed, and a HEAD of what acts, have no body.
        assert response.content == b""
        return
    if dialect is not None:
        validate_answer(
            dialect,
            response.request.method,
            path,
            response.status_code,
            response.headers,
            response.content,
            known_only=True,
        )


async def _check(response: httpx.Response) -> None:
    await response.aread()
    check_answer(response)


@asynccontextmanager
async def running_web(setup: WorkerSetup) -> AsyncIterator[Web]:
    """The application, started as a worker starts it."""
    app = create_app(setup, run_jobs=False)
    litestar = app.app
    assert isinstance(litestar, Litestar)
    started, ending = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        # In a task of its own: a fixture's end runs in another task than its beginning.
        async with litestar.lifespan():
            started.set()
            await ending.wait()

    life = asyncio.create_task(live())
    await asyncio.wait({life, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        await life
    web = Web(app, litestar.state.services)
    async with web.client, web.unchecked:
        yield web
    ending.set()
    await life
