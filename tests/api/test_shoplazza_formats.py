"""What pictures the Shoplazza API takes, and the example of the vendor's page against a real server."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from PIL import Image

from kasuwa.handover import WorkerSetup, handed
from tests.api.picture_server import PictureServer
from tests.api.shoplazza_calls import BASES, Shoplazza, is_uuid
from tests.base.pictures import scene, write
from tests.client import Web
from tests.shop import Shop

ACCEPTED = {"jpg": "JPEG", "jp2": "JPEG2000", "png": "PNG", "webp": "WEBP", "gif": "GIF"}
REFUSED = {"bmp": "BMP", "avif": "AVIF", "tiff": "TIFF", "ico": "ICO"}
ORIENTATION_TAG = 0x0112

SERVE = """
import sys
from kasuwa.base.http.server import ServerOptions, serve
options = ServerOptions(app_factory="kasuwa.app:create_app", render_error="kasuwa.app:render_error", port=0)
sys.exit(serve(options, on_ready=lambda url: print("ready on", url, flush=True)))
"""


@pytest.mark.parametrize("ending", ACCEPTED)
async def test_s12_each_format_is_taken_with_its_true_size(
    slz: Shoplazza, product_id: str, pictures: PictureServer, ending: str
) -> None:
    pictures.files[f"/a.{ending}"] = write(scene(123, 45), ACCEPTED[ending])
    image = await slz.add(product_id, src=pictures.url(f"/a.{ending}"), width=1, height=9000)
    assert (image["width"], image["height"]) == (123, 45)
    file = await slz.web.get(f"http:{image['src']}")
    assert file.headers["content-type"] in ("image/jpeg", "image/png")
    assert Image.open(io.BytesIO(file.content)).size == (123, 45)


@pytest.mark.parametrize("ending", REFUSED)
async def test_s12_another_format_is_refused_by_its_content(
    slz: Shoplazza, product_id: str, pictures: PictureServer, ending: str
) -> None:
    # Named as a PNG: the name does not count.
    path = f"/{ending}.png"
    pictures.files[path] = write(scene(123, 45), REFUSED[ending])
    answer = await slz.call(
        "POST", f"/products/{product_id}/images", json={"image": {"src": pictures.url(path)}}
    )
    assert slz.message(answer, 422)
    assert await slz.images(product_id) == []


async def test_s12_a_turned_photograph_has_the_size_that_is_seen(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    photograph = scene(200, 100)
    exif = photograph.getexif()
    pictures.files["/level.jpg"] = write(photograph, "JPEG")
    exif[ORIENTATION_TAG] = 6
    pictures.files["/turned.jpg"] = write(photograph, "JPEG", exif=exif)
    turned = await slz.add(product_id, src=pictures.url("/turned.jpg"))
    level = await slz.add(product_id, src=pictures.url("/level.jpg"))
    assert (turned["width"], turned["height"]) == (100, 200)
    assert (level["width"], level["height"]) == (200, 100)
    file = await slz.web.get(f"http:{turned['src']}")
    assert Image.open(io.BytesIO(file.content)).size == (100, 200)


async def test_a_large_picture_is_given_out_smaller_but_says_its_own_size(
    fetching_web: Web, shop: Shop, product_id: str, pictures: PictureServer
) -> None:
    slz = Shoplazza(fetching_web, BASES[0], shop.token)
    pictures.files["/large.jpg"] = write(scene(2246, 1588), "JPEG")
    image = await slz.add(product_id, src=pictures.url("/large.jpg"))
    assert (image["width"], image["height"]) == (2246, 1588)
    file = await slz.web.get(f"http:{image['src']}")
    assert Image.open(io.BytesIO(file.content)).size[0] == 1280


# The vendor's page, against a server of its own ----------------------------------------------------


@pytest.fixture
def server_url(worker_setup: WorkerSetup, pictures: PictureServer) -> Iterator[str]:
    """A server as it is started for customers: a parent and a worker, in processes of their own."""
    settings = msgspec.structs.replace(worker_setup.settings, fetch_allow=pictures.host, workers=1)
    setup = msgspec.structs.replace(worker_setup, settings=settings)
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **handed(setup), "PYTHONPATH": os.getcwd()},
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(b"ready on "):
                    break
            yield line.decode().removeprefix("ready on ").strip()
        finally:
            process.terminate()


@pytest.mark.parametrize("base", BASES)
async def test_s01_the_curl_of_the_vendors_page_works_as_it_stands(
    server_url: str, shop: Shop, product_id: str, pictures: PictureServer, base: str
) -> None:
    body = {"image": {"position": 1, "src": pictures.url(), "width": 300, "height": 300, "alt": "test"}}
    curl = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--include", "--noproxy", "*", "--max-time", "30"),
        *("--request", "POST", "--url", f"{server_url}{base}/products/{product_id}/images"),
        *("--header", "accept: application/json"),
        *("--header", f"access-token: {shop.token}"),
        *("--header", "content-type: application/json"),
        *("--data", json.dumps(body)),
        stdout=subprocess.PIPE,
    )
    printed, _ = await curl.communicate()
    assert curl.returncode == 0
    head, _, sent = printed.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200")
    assert "\r\nrequest-id: " in head.lower()
    answer = json.loads(sent)
    image = (answer if base == BASES[0] else answer["data"])["image"]
    assert is_uuid(image["id"])
    assert image["product_id"] == product_id
    assert (image["position"], image["width"], image["height"]) == (1, 800, 600)
    assert image["src"].startswith(server_url.removeprefix("http:") + "/media/")
