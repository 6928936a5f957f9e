"""What the tests of the BigCommerce API stand on: an application that may fetch from a picture server."""

import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

from kasuwa.app import WorkerSetup
from kasuwa.domain.media.actions import show_pictures
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import BIGCOMMERCE_FORMATS, Place
from tests.client import Web, running_web
from tests.conftest import picture_bytes
from tests.shop import Shop

TYPE = "/api-docs/getting-started/api-status-codes"
QUOTA_HEADERS = (
    "X-Rate-Limit-Time-Window-Ms",
    "X-Rate-Limit-Time-Reset-Ms",
    "X-Rate-Limit-Requests-Quota",
    "X-Rate-Limit-Requests-Left",
)


class PictureServer:
    """A real web server on loopback. It counts what is asked of it by path."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._ending = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def good(self, seed: int = 0, size: tuple[int, int] = (800, 600)) -> str:
        """The address of a good PNG."""
        path = f"/{size[0]}x{size[1]}/{seed}.png"
        if path not in self.files:
            self.files[path] = picture_bytes("PNG", size=size, seed=seed)
        return self.url(path)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        self.asked[parts.path] += 1
        if parts.path == "/redirect":
            self._send(request, 302, b"", Location=parse_qs(parts.query)["to"][0])
        elif parts.path.startswith("/slow"):
            self._ending.wait(10)
            request.close_connection = True
        elif parts.path in self.files:
            self._send(request, 200, self.files[parts.path])
        else:
            self._send(request, 404, b"nothing here")

    def close(self) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, content: bytes, **headers: str) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)


class BigCommerceCalls:
    """Calls the API as an app that has the shop's token."""

    def __init__(self, web: Web, shop: Shop) -> None:
        self.web = web
        self.shop = shop
        self.base = f"/stores/{shop.store_hash}/v3"
        self.names = 0

    async def call(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = {"X-Auth-Token": self.shop.token if token is None else token, **options.pop("headers", {})}
        answer = await self.web.call(method, self.base + path, headers=headers, **options)
        check_quota_headers(answer)
        return answer

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return await self.call("POST", path, **({"json": json} if json is not None else {}), **options)

    async def put(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return await self.call("PUT", path, **({"json": json} if json is not None else {}), **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("DELETE", path, **options)

    async def new_product(self, **fields: Any) -> dict[str, Any]:
        """A product without images, made through the API."""
        self.names += 1
        body = {"name": f"Product {self.names}", "type": "physical", "weight": 1, "price": 500, **fields}
        answer = await self.post("/catalog/products", body)
        assert answer.status_code == 200, answer.text
        product: dict[str, Any] = answer.json()["data"]
        return product

    async def images(self, product: int, query: str = "") -> list[dict[str, Any]]:
        answer = await self.get(f"/catalog/products/{product}/images{query}")
        assert answer.status_code == 200, answer.text
        images: list[dict[str, Any]] = answer.json()["data"]
        return images

    async def upload(
        self, product: int, content: bytes, name: str = "a.png", **fields: Any
    ) -> httpx.Response:
        """Multipart, as curl -F sends it."""
        return await self.post(
            f"/catalog/products/{product}/images", files={"image_file": (name, content)}, data=fields
        )

    async def show_many(self, product: int, count: int, content: bytes) -> None:
        """Images without as many uploads: through the domain, in one change."""
        context = self.shop.owner
        kept = await keep_bytes(context, content, BIGCOMMERCE_FORMATS)
        async with context.reading() as db:
            product_id = await db.value(
                "SELECT product_id FROM product WHERE merchant_id = current_merchant() AND number = :number",
                number=product,
            )
        await show_pictures(context, product_id, [(kept, Place())] * count)


def check_quota_headers(answer: httpx.Response) -> None:
    """All four integers on every answer, whatever it says."""
    values = [int(answer.headers[name]) for name in QUOTA_HEADERS]
    assert values[0] == 30_000
    assert 0 <= values[1] <= 30_000
    assert 0 <= values[3] <= values[2]


def check_error(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The vendor's error with that status; answer its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"].endswith(TYPE)
    return body


@pytest.fixture(scope="session")
def pictures() -> Iterator[PictureServer]:
    server = PictureServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
async def fetching_web(worker_setup: WorkerSetup, pictures: PictureServer) -> AsyncIterator[Web]:
    """The application, allowed to fetch from the picture server."""
    settings = msgspec.structs.replace(worker_setup.settings, fetch_allow=f"127.0.0.1:{pictures.port}")
    async with running_web(msgspec.structs.replace(worker_setup, settings=settings)) as running:
        yield running


@pytest.fixture
def bc(fetching_web: Web, shop: Shop) -> BigCommerceCalls:
    return BigCommerceCalls(fetching_web, shop)


@pytest.fixture
async def product(bc: BigCommerceCalls) -> int:
    """The number of a product without images."""
    number: int = (await bc.new_product())["id"]
    return number
