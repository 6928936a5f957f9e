"""Uploads through every API that is built, repeated with their key until each is settled, and what must be
true of the data afterwards."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from uuid import UUID

import asyncpg
import httpx
import msgspec
from msgspec import Struct

from kasuwa.app import registered_operations
from kasuwa.base.context import Context, Services
from kasuwa.base.ids import new_id
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from tests.api.picture_server import PictureServer, serving_pictures
from tests.conftest import picture_bytes
from tests.faults.installation import Installation, Server
from tests.shop import Shop, new_shop

# Nothing may hang longer.
TIMEOUT_SECONDS = 10.0
_LONGEST_WAIT_SECONDS = 0.3


class Product(Struct, frozen=True):
    product_id: UUID
    number: int


class Call(Struct, frozen=True):
    """A request that can be sent again as it was."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


class Stage:
    """A shop in an installation that is served; `server` is whichever runs now."""

    def __init__(self, server: Server, shop: Shop, pictures: PictureServer, workers: int) -> None:
        self.installation = server.installation
        self.server = server
        self.shop = shop
        self.pictures = pictures
        self.workers = workers

    async def start_again(self) -> None:
        self.server = self.installation.start(workers=self.workers)
        await asyncio.to_thread(self.server.wait_until_ready)


def storeharmony_upload(stage: Stage, product: Product, content: bytes, position: int) -> Call:
    path = f"/cloudapi/app/{stage.shop.store_id}/stock/{product.product_id}/addpicture?position={position}"
    return Call(
        "POST",
        path,
        {"sessiontoken": stage.shop.session, "content-type": "application/octet-stream"},
        content,
    )


def bigcommerce_upload(stage: Stage, product: Product, content: bytes, position: int) -> Call:
    """Always at the end: its sort orders are numbers of the caller's own."""
    form = httpx.Request(
        "POST",
        "http://x",
        files={"image_file": ("a.png", content, "image/png")},
        data={"sort_order": str(position)},
    )
    path = f"/stores/{stage.shop.store_hash}/v3/catalog/products/{product.number}/images"
    headers = {"x-auth-token": stage.shop.token, "content-type": form.headers["content-type"]}
    return Call("POST", path, headers, form.read())


def shoplazza_upload(stage: Stage, product: Product, content: bytes, position: int) -> Call:
    name = f"/{hashlib.sha256(content).hexdigest()}.png"
    stage.pictures.files[name] = content
    body = msgspec.json.encode({"image": {"src": stage.pictures.url(name), "position": position}})
    path = f"/openapi/2022-01/products/{product.product_id}/images"
    return Call("POST", path, {"access-token": stage.shop.token, "content-type": "application/json"}, body)


_UPLOADS: dict[str, Callable[[Stage, Product, bytes, int], Call]] = {
    "storeharmony": storeharmony_upload,
    "bigcommerce": bigcommerce_upload,
    "shoplazza": shoplazza_upload,
}
_OPERATIONS = {
    ("storeharmony", "uploadProductPicture"),
    ("bigcommerce", "createProductImage"),
    ("shoplazza", "create_product_image"),
}
UPLOADS = {name: _UPLOADS[name] for name, _ in sorted(_OPERATIONS & registered_operations())}


class Log:
    """What became of all calls: answers by status, faults, and how long the slowest took."""

    def __init__(self, *, lines_may_break: bool = True) -> None:
        self.lines_may_break = lines_may_break
        self.statuses: Counter[str] = Counter()
        self.faults: list[str] = []
        self.slowest_seconds = 0.0
        self.acknowledged = 0

    @property
    def refused(self) -> int:
        """Answers that say: not now."""
        return self.statuses["503"] + self.statuses["507"]

    def fault(self, text: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(text)


class Uploader:
    """Sends one new picture after the other to a product of its own, each until it is settled.

    `order` is what the product must show then: the SHA-256 of each picture, in order.
    """

    def __init__(self, stage: Stage, api: str, product: Product, log: Log) -> None:
        self.stage = stage
        self.api = api
        self.product = product
        self.log = log
        self.order: list[str] = []
        self.stopping = False

    async def run(self) -> None:
        async with self.stage.installation.client(timeout=TIMEOUT_SECONDS) as client:
            while not self.stopping:
                number = len(self.order)
                content = picture_bytes("PNG", size=(24, 16), seed=number) + new_id().bytes
                # Every third one to the front, where order matters most.
                position = 1 if number % 3 == 2 and self.api != "bigcommerce" else number + 1
                call = UPLOADS[self.api](self.stage, self.product, content, position)
                await settle(client, self.stage, call, self.log)
                self.order.insert(position - 1, hashlib.sha256(content).hexdigest())


async def settle(client: httpx.AsyncClient, stage: Stage, call: Call, log: Log) -> httpx.Response:
    """Send the call with its key until it succeeds. What `attempt` calls a fault is noted there."""
    keyed = msgspec.structs.replace(call, headers={**call.headers, "idempotency-key": f"key-{new_id()}"})
    while True:
        answer = await attempt(client, stage, keyed, log)
        if answer is not None and answer.is_success:
            return answer
        wait = 0.1
        if answer is not None:
            with suppress(ValueError):
                wait = min(float(answer.headers.get("retry-after", "")), _LONGEST_WAIT_SECONDS)
        await asyncio.sleep(wait)


async def attempt(client: httpx.AsyncClient, stage: Stage, call: Call, log: Log) -> httpx.Response | None:
    """Send the call once; None when the line broke. All but success and a no for now is a fault."""
    begun = monotonic()
    try:
        answer = await client.request(
            call.method, stage.server.url + call.path, headers=call.headers, content=call.content
        )
    except httpx.TimeoutException:
        log.fault(f"{call.method} {call.path} had no answer within {TIMEOUT_SECONDS:g} s")
        return None
    except httpx.TransportError as error:
        log.statuses[type(error).__name__] += 1
        if not log.lines_may_break:
            log.fault(f"{call.method} {call.path}: {error!r}")
        return None
    finally:
        log.slowest_seconds = max(log.slowest_seconds, monotonic() - begun)
    log.statuses[str(answer.status_code)] += 1
    if answer.is_success:
        log.acknowledged += 1
    elif not is_no_for_now(answer):
        log.fault(f"{call.method} {call.path}: {answer.status_code} {answer.text[:300]}")
    return answer


def is_no_for_now(answer: httpx.Response) -> bool:
    """503 and 409 that say when to come again, and 507."""
    if answer.status_code == 507:
        return True
    return answer.status_code in (409, 503) and "retry-after" in answer.headers


class Uploading:
    """Uploaders at work."""

    def __init__(self, uploaders: list[Uploader], log: Log) -> None:
        self.uploaders = uploaders
        self.log = log

    async def acknowledged_more(self, count: int = 1) -> None:
        """Until so many more uploads are acknowledged."""
        wanted = self.log.acknowledged + count
        deadline = monotonic() + 60
        while self.log.acknowledged < wanted:
            assert monotonic() < deadline, f"nothing gets through: {self.log.statuses} {self.log.faults}"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def uploading(
    stage: Stage, *, uploaders_of_each: int = 1, lines_may_break: bool = True
) -> AsyncIterator[Uploading]:
    """Uploaders of every API, until the end of the block; then each settles what it has begun."""
    log = Log(lines_may_break=lines_may_break)
    async with stage.installation.services() as services:
        uploaders = [
            Uploader(stage, api, await new_product(services, stage.shop), log)
            for api in UPLOADS
            for _ in range(uploaders_of_each)
        ]
    tasks = [asyncio.create_task(uploader.run()) for uploader in uploaders]
    try:
        yield Uploading(uploaders, log)
        for uploader in uploaders:
            uploader.stopping = True
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def staged(installation: Installation, *, workers: int = 1) -> AsyncIterator[Stage]:
    """A server that is ready, a shop in it, and a server of pictures that it may ask."""
    async with serving_pictures() as pictures:
        installation.settings["KASUWA_FETCH_ALLOW"] = pictures.host
        stage = None
        server = installation.start(workers=workers)
        try:
            await asyncio.to_thread(server.wait_until_ready)
            async with installation.services() as services:
                stage = Stage(server, await new_shop(services), pictures, workers)
            yield stage
        finally:
            (stage.server if stage else server).kill_everything()


async def new_product(services: Services, shop: Shop) -> Product:
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=150_000), opening=(OpeningStock(shop.store_id),)
    )
    product = await create_product(
        Context(services, shop.owner.caller), NewProduct(name="Basket", variants=(variant,))
    )
    return Product(product.product_id, product.number)


async def faults_in(installation: Installation, uploaders: Sequence[Uploader]) -> list[str]:
    """What is wrong with what the uploaders left: each product's pictures, their order and their files."""
    faults: list[str] = []
    async with installation.as_owner() as owner:
        for uploader in uploaders:
            rows = await owner.fetch(_SHOWN, uploader.product.product_id)
            shown = [row["sha256"] for row in rows]
            if shown != uploader.order:
                faults.append(f"{uploader.api}: {_difference(shown, uploader.order)}")
    return faults + await faults_of_files(installation)


async def faults_of_files(installation: Installation) -> list[str]:
    """Every picture that is shown or finished has its files, whole."""
    async with installation.as_owner() as owner:
        rows = await owner.fetch(_ALL_SHOWN)
    return [fault for row in rows for fault in _faults_of_files(installation.data / "files", row)]


_SHOWN = """
    SELECT encode(p.sha256, 'hex') AS sha256
    FROM product_picture s JOIN picture p USING (merchant_id, picture_id)
    WHERE s.product_id = $1 ORDER BY s.sort_order, s.number
"""
_ALL_SHOWN = """
    SELECT picture_id, format, renditions
    FROM picture p WHERE format IS NOT NULL OR EXISTS (
      SELECT FROM product_picture s WHERE s.merchant_id = p.merchant_id AND s.picture_id = p.picture_id)
"""


def _difference(shown: list[str], wanted: list[str]) -> str:
    lost = [sha256[:8] for sha256 in wanted if sha256 not in shown]
    many = [sha256[:8] for sha256, count in Counter(shown).items() if count > 1]
    foreign = [sha256[:8] for sha256 in shown if sha256 not in wanted]
    return (
        f"{len(wanted)} acknowledged; lost {lost}, more than once {many}, unknown {foreign}, or out of order"
    )


def _faults_of_files(files: Path, row: "asyncpg.Record") -> list[str]:
    """A picture that is shown or finished has eight files, each as long as its row says."""
    renditions = msgspec.json.decode(row["renditions"])
    if row["format"] is None or len(renditions) != 8:
        return [f"picture {row['picture_id']} is shown and has {len(renditions)} files"]
    found = []
    for rendition in renditions:
        path = files / rendition["path"].removeprefix("/media/")
        size_bytes = path.stat().st_size if path.exists() else None
        if size_bytes != rendition["size_bytes"]:
            found.append(
                f"{rendition['path']} has {size_bytes} bytes and should have {rendition['size_bytes']}"
            )
    return found
