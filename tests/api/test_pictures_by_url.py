"""Pictures that products name by their address: eight at a time, within a time of all together, or named."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest

from kasuwa.api.bigcommerce import images as bigcommerce_images
from kasuwa.api.bigcommerce import product_changes as bigcommerce_products
from kasuwa.api.shoplazza import images as shoplazza_images
from kasuwa.api.shoplazza import products as shoplazza_products
from kasuwa.base.context import Context
from kasuwa.base.fetch import FetchFailed
from kasuwa.base.problems import Problem
from kasuwa.domain.media import keeping
from kasuwa.domain.media.keeping import keep_urls
from kasuwa.domain.media.records import SHOPLAZZA_FORMATS, KeptPicture
from tests.api.bigcommerce_calls import BigCommerceCalls, check_error
from tests.api.editors import APIS, check_refused, new_editor
from tests.api.picture_server import PictureServer
from tests.api.shoplazza_calls import Shoplazza
from tests.client import Web
from tests.shop import Shop

NEW = {"name": "Fan", "type": "physical", "weight": 1.25, "price": 500}
# The fault of each address that gives no picture, as the picture server has them.
FAULTS = ("closed", "silent", "missing", "page")
_PATHS = {"silent": "/silent", "missing": "/missing", "page": "/page.html"}
_FETCHING = tuple(api for api in APIS if api != "storeharmony")


Create = Callable[[list[str]], Coroutine[Any, Any, httpx.Response]]


def address(pictures: PictureServer, fault: str) -> str:
    return pictures.closed_url() if fault == "closed" else pictures.url(_PATHS[fault])


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses are given up after half a second, where in earnest it is five."""
    for module in (bigcommerce_images, bigcommerce_products, shoplazza_images, shoplazza_products):
        monkeypatch.setattr(module, "keep_urls", partial(keep_urls, seconds=0.5))


async def stored(shop: Shop) -> tuple[int, ...]:
    """Products, pictures that are shown, finished pictures, and what the trail tells."""
    async with shop.owner.reading() as db:
        return tuple(
            [
                await db.value(f"SELECT count(*) FROM {table}")
                for table in (
                    "product",
                    "product_picture",
                    "picture WHERE format IS NOT NULL",
                    "audit_entry",
                )
            ]
        )


# How many at once ----------------------------------------------------------------------------------


@asynccontextmanager
async def shut(pictures: PictureServer) -> AsyncIterator[None]:
    """The picture server lets everybody wait, until the end at the latest."""
    pictures.gate.clear()
    try:
        yield
    finally:
        pictures.gate.set()


async def come_eight_at_a_time(web: Web, pictures: PictureServer, create: Create) -> httpx.Response:
    """Twenty pictures: eight are asked for, and no ninth while those wait."""
    assert pictures.waiting == 0
    async with shut(pictures), asyncio.TaskGroup() as tasks:
        creating = tasks.create_task(create([pictures.good(seed) for seed in range(30, 50)]))
        async with asyncio.timeout(20):
            await pictures.wait_for(8)
        # A ninth would have come by the time that others are answered.
        for _ in range(20):
            assert (await web.get("/healthz")).status_code == 200
            await asyncio.sleep(0.01)
        most = pictures.waiting
        pictures.gate.set()
    answer = creating.result()
    assert most == 8
    return answer


def creating_at_bigcommerce(bc: BigCommerceCalls) -> Create:
    return lambda urls: bc.post("/catalog/products", NEW | {"images": [{"image_url": url} for url in urls]})


def creating_at_shoplazza(slz: Shoplazza) -> Create:
    def create(urls: list[str]) -> Coroutine[Any, Any, httpx.Response]:
        product = {
            "title": "Fan",
            "has_only_default_variant": True,
            "variants": [{"price": "5.00"}],
            "images": [{"src": url} for url in urls],
        }
        return slz.call("POST", "/products", json={"product": product})

    return create


async def test_bigcommerce_fetches_eight_at_a_time_and_keeps_the_order(
    bc: BigCommerceCalls, pictures: PictureServer
) -> None:
    answer = await come_eight_at_a_time(bc.web, pictures, creating_at_bigcommerce(bc))
    assert answer.status_code == 200, answer.text
    images = answer.json()["data"]["images"]
    assert len({image["url_zoom"] for image in images}) == 20
    assert [image["sort_order"] for image in images] == list(range(20))


async def test_shoplazza_fetches_eight_at_a_time_and_keeps_the_order(
    slz: Shoplazza, pictures: PictureServer
) -> None:
    answer = await come_eight_at_a_time(slz.web, pictures, creating_at_shoplazza(slz))
    images = slz.data(answer)["product"]["images"]
    assert len({image["src"] for image in images}) == 20
    assert [image["position"] for image in images] == list(range(1, 21))


@pytest.mark.parametrize("at_once", [7, 9])
async def test_another_number_at_a_time_would_be_noticed(
    bc: BigCommerceCalls, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """The control. Seven are never eight: the wait for the eighth ends when their time is over."""
    monkeypatch.setattr(keeping, "_FETCHES_AT_ONCE", at_once)
    monkeypatch.setattr(bigcommerce_products, "keep_urls", partial(keep_urls, seconds=2.0))
    with pytest.raises((AssertionError, BaseExceptionGroup, TimeoutError)):
        async with asyncio.timeout(4):
            await come_eight_at_a_time(bc.web, pictures, creating_at_bigcommerce(bc))


# The time of all together --------------------------------------------------------------------------


async def keep_most_of_them_silent(
    web: Web, shop: Shop, pictures: PictureServer, *, seconds: float
) -> list[KeptPicture | Problem]:
    """A good picture, twenty addresses that never answer, and another good one. One after the other each
    would have its own time; the answer has to come before that."""
    urls = [pictures.good(1), *[pictures.url("/silent")] * 20, pictures.good(2)]
    context = Context(web.services, shop.owner.caller)
    async with asyncio.timeout(4):
        return await keep_urls(context, urls, SHOPLAZZA_FORMATS, seconds=seconds)


async def test_all_addresses_share_one_deadline(
    fetching_web: Web, shop: Shop, pictures: PictureServer
) -> None:
    # 0.6 s for each of three rounds, if each had its own time: and the last one would come.
    first, *late = await keep_most_of_them_silent(fetching_web, shop, pictures, seconds=0.6)
    assert isinstance(first, KeptPicture)
    assert {type(result) for result in late} == {FetchFailed}
    assert {result.reason for result in late if isinstance(result, FetchFailed)} == {"timeout"}


async def test_a_wait_without_an_end_would_be_noticed(
    fetching_web: Web, shop: Shop, pictures: PictureServer
) -> None:
    """The control."""
    with pytest.raises(TimeoutError):
        await keep_most_of_them_silent(fetching_web, shop, pictures, seconds=60)


async def test_the_deadline_is_five_seconds_and_that_of_one_address_four(
    shop: Shop, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    async def note(context: Context, url: str, accepted: frozenset[str], *, seconds: float) -> KeptPicture:
        given.append(seconds)
        raise FetchFailed("timeout")

    monkeypatch.setattr(keeping, "keep_url", note)
    await keep_urls(shop.owner, ["http://a/1.png"], SHOPLAZZA_FORMATS)
    monkeypatch.setattr(keeping, "monotonic", iter([0.0, 1.5]).__next__)
    await keep_urls(shop.owner, ["http://a/1.png"], SHOPLAZZA_FORMATS)
    assert given == [4.0, 3.5]


# What a caller is told -----------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("change", ["add", "replace"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("api", _FETCHING)
async def test_b10_s11_an_address_without_a_picture_is_told_and_nothing_is_written(
    fetching_web: Web, shop: Shop, pictures: PictureServer, api: str, fault: str, change: str
) -> None:
    editor = await new_editor(api, fetching_web, shop, pictures)
    before = await stored(shop)
    url = address(pictures, fault)
    request = msgspec.json.encode(editor.changes[change].options).replace(
        pictures.good(7).encode(), url.encode()
    )
    answer = await editor.send(
        msgspec.structs.replace(editor.changes[change], options=msgspec.json.decode(request))
    )
    check_refused(api, answer, 400 if api.startswith("bigcommerce") else 422)
    assert await stored(shop) == before
    if api == "bigcommerce":
        assert check_error(answer, 400)["title"] == "The field 'image_file' is invalid."
    if api.startswith("bigcommerce"):
        broken = "could not be processed and may not be valid image."
        gone = "could not be downloaded and may be invalid."
        assert f"The resource at '{url}' {broken if fault == 'page' else gone}" in answer.text


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", FAULTS)
async def test_b32_a_product_is_saved_without_the_images_that_could_not_be_had(
    bc: BigCommerceCalls, shop: Shop, pictures: PictureServer, fault: str
) -> None:
    answer = await creating_at_bigcommerce(bc)([pictures.good(1), address(pictures, fault)])
    assert answer.status_code == 207, answer.text
    body = answer.json()
    assert len(body["data"][0]["images"]) == 1
    assert list(body["errors"]["errors"]) == ["images.1.image_url"]
    assert (await stored(shop))[:3] == (1, 1, 1)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", FAULTS)
async def test_s11_a_product_with_an_image_that_could_not_be_had_is_not_made(
    slz: Shoplazza, shop: Shop, pictures: PictureServer, fault: str
) -> None:
    before = await stored(shop)
    answer = await creating_at_shoplazza(slz)([pictures.good(1), address(pictures, fault)])
    message = slz.message(answer, 422)
    assert "product.images.1.src" in message
    products, shown, _, entries = await stored(shop)
    # The good picture's files go with their claim: nothing shows them.
    assert (products, shown, entries) == (before[0], before[1], before[3])


async def test_a_server_that_saves_the_rest_would_be_noticed(
    bc: BigCommerceCalls, shop: Shop, pictures: PictureServer
) -> None:
    """The control: as BigCommerce's product does, and Shoplazza's must not."""
    before = await stored(shop)
    await creating_at_bigcommerce(bc)([pictures.closed_url()])
    with pytest.raises(AssertionError):
        assert await stored(shop) == before


# A rendering that does not come to an end -----------------------------------------------------------


@asynccontextmanager
async def stuck(web: Web, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """Whatever arrives is rendered once the event is set, at the latest at the end."""
    freed, render = asyncio.Event(), web.services.imaging.render

    async def wait_and_render(*values: Any) -> Any:
        await freed.wait()
        return await render(*values)

    monkeypatch.setattr(web.services.imaging, "render", wait_and_render)
    try:
        yield freed
    finally:
        freed.set()


def check_busy(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"] == "2"
    assert "rendered in time" in answer.text


@pytest.mark.usefixtures("hurried")
async def test_what_arrived_and_is_not_rendered_in_time_is_for_another_try_at_shoplazza(
    slz: Shoplazza, product_id: str, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stuck(slz.web, monkeypatch):
        check_busy(await creating_at_shoplazza(slz)([pictures.good(70)]))
        body = {"image": {"src": pictures.good(71)}}
        check_busy(await slz.call("POST", f"/products/{product_id}/images", json=body))


@pytest.mark.usefixtures("hurried")
async def test_what_arrived_and_is_not_rendered_in_time_is_for_another_try_at_bigcommerce(
    bc: BigCommerceCalls, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = (await bc.post("/catalog/products", NEW)).json()["data"]
    async with stuck(bc.web, monkeypatch):
        check_busy(await bc.post(f"/catalog/products/{made['id']}/images", {"image_url": pictures.good(72)}))
        # The product is kept, and its answer names the picture that is not.
        images = [{"image_url": pictures.good(73)}]
        partly = await bc.post("/catalog/products", NEW | {"name": "Lamp", "images": images})
    assert partly.status_code == 207, partly.text
    assert "Too many pictures are being rendered" in partly.text


@pytest.mark.usefixtures("hurried")
async def test_it_is_the_time_of_all_together_that_ends_it(
    fetching_web: Web, shop: Shop, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless:
        """asyncio whose time-outs never come."""

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

        @staticmethod
        def timeout(_: float) -> asyncio.Timeout:
            return asyncio.timeout(None)

    monkeypatch.setattr(keeping, "asyncio", Endless())
    slz = Shoplazza(fetching_web, "/openapi/2022-01", shop.token)
    async with stuck(fetching_web, monkeypatch) as freed:
        creating = asyncio.create_task(creating_at_shoplazza(slz)([pictures.good(74)]))
        done, _ = await asyncio.wait([creating], timeout=3)
        assert not done
        freed.set()
        assert slz.data(await creating)["product"]["images"]
