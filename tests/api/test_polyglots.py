"""Files that are two things at once, sent through all three APIs: refused, or served as a picture alone."""

from collections.abc import Awaitable, Callable

import httpx
import msgspec
import pytest

from kasuwa.base.imaging import ALL_FORMATS, Imaging, Rendered
from kasuwa.web import media
from tests.api.picture_server import PictureServer
from tests.api.test_pictures_everywhere import product_number
from tests.api.test_storeharmony_products import make, session, stock
from tests.base.polyglots import PAYLOAD, POLYGLOTS, left_of_it
from tests.client import Web
from tests.shop import Shop

_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
# These are whole pictures with something behind or inside: an API that takes their format takes them.
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG")

Upload = Callable[[Web, Shop, PictureServer, bytes], Awaitable[httpx.Response]]


async def by_storeharmony(web: Web, shop: Shop, _: PictureServer, content: bytes) -> httpx.Response:
    item = await make(web, shop)
    return await web.post(
        stock(shop, f"/{item['itemId']}/addpicture"),
        headers=session(shop),
        files={"file": ("a.jpg", content, "text/html")},
    )


async def by_bigcommerce(web: Web, shop: Shop, _: PictureServer, content: bytes) -> httpx.Response:
    number = await product_number(shop, await make(web, shop))
    return await web.post(
        f"/stores/{shop.store_hash}/v3/catalog/products/{number}/images",
        headers={"X-Auth-Token": shop.token},
        files={"image_file": ("a.php", content, "application/x-httpd-php")},
    )


async def by_shoplazza(web: Web, shop: Shop, pictures: PictureServer, content: bytes) -> httpx.Response:
    item = await make(web, shop)
    pictures.files["/a.svg"] = content
    return await web.post(
        f"/openapi/2022-01/products/{item['itemId']}/images",
        headers={"Access-Token": shop.token},
        json={"image": {"src": pictures.url("/a.svg")}},
    )


UPLOADS: dict[str, Upload] = {
    "storeharmony": by_storeharmony,
    "bigcommerce": by_bigcommerce,
    "shoplazza": by_shoplazza,
}


async def files_of(shop: Shop) -> list[str]:
    """The public addresses of everything that the shop keeps."""
    async with shop.owner.reading() as db:
        paths: list[str] = await db.value(
            "SELECT coalesce(array_agg(made ->> 'path'), '{}')"
            " FROM picture, jsonb_array_elements(renditions) made"
        )
    return paths


async def faults_of_files(web: Web, shop: Shop) -> list[str]:
    """What is wrong with the files, as they are served, and with the headers they come with."""
    faults = []
    for path in await files_of(shop):
        for accept in ("*/*", "image/webp"):
            answer = await web.get(path, headers={"accept": accept})
            kind = "webp" if accept == "image/webp" else path.rpartition(".")[2]
            wanted = {
                "content-type": _TYPES[kind],
                "x-content-type-options": "nosniff",
                "content-disposition": "inline",
                "content-security-policy": "default-src 'none'; sandbox",
            }
            got = {name: answer.headers.get(name) for name in wanted}
            faults += [f"{name}: {got[name]}" for name in wanted if got[name] != wanted[name]]
            faults += [f"left: {word!r}" for word in left_of_it(answer.content)]
            faults += [] if answer.status_code == 200 else [f"{path}: {answer.status_code}"]
    return faults


@pytest.mark.parametrize("api", list(UPLOADS))
@pytest.mark.parametrize("name", sorted(POLYGLOTS))
async def test_it_is_refused_or_served_as_a_picture_alone(
    fetching_web: Web, shop: Shop, pictures: PictureServer, name: str, api: str
) -> None:
    content = POLYGLOTS[name]
    answer = await UPLOADS[api](fetching_web, shop, pictures, content)
    if answer.is_success:
        assert len(await files_of(shop)) == 8
        assert await faults_of_files(fetching_web, shop) == []
    else:
        assert 400 <= answer.status_code < 500, answer.text
        assert not content.startswith(_PICTURES), answer.text
        assert await files_of(shop) == []


async def test_the_check_sees_a_renderer_that_gives_out_what_came_in(
    fetching_web: Web, shop: Shop, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = Imaging.render

    async def careless(self: Imaging, content: bytes, accepted: frozenset[str] = ALL_FORMATS) -> Rendered:
        rendered = await render(self, content, accepted)
        kept = [msgspec.structs.replace(one, content=one.content + PAYLOAD) for one in rendered.renditions]
        return msgspec.structs.replace(rendered, renditions=tuple(kept))

    monkeypatch.setattr(Imaging, "render", careless)
    await by_storeharmony(fetching_web, shop, pictures, POLYGLOTS["PNG and PHP"])
    assert "left: b'php'" in await faults_of_files(fetching_web, shop)


@pytest.mark.parametrize("header", ["Content-Security-Policy", "Content-Disposition"])
async def test_the_check_sees_a_header_that_is_missing(
    fetching_web: Web, shop: Shop, pictures: PictureServer, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(media._HEADERS, header)
    await by_storeharmony(fetching_web, shop, pictures, POLYGLOTS["PNG and PHP"])
    faults = await faults_of_files(fetching_web, shop)
    assert {fault.partition(":")[0] for fault in faults} == {header.lower()}
