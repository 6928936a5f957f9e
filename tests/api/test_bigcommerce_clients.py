"""The clients that apps really use, as they are published, over TLS against a server in its own process."""

import asyncio
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import trustme

from kasuwa.handover import WorkerSetup, handed
from tests.api.bigcommerce_calls import BigCommerceCalls
from tests.api.picture_server import PictureServer
from tests.base.http_serving import server_process
from tests.clients import node_packages
from tests.shop import Shop


class TlsServer(msgspec.Struct, frozen=True):
    """Where the server listens, and the file with the authority that its certificate is from."""

    port: int
    ca: Path


@pytest.fixture(scope="module")
def tls_server(
    worker_setup: WorkerSetup, pictures: PictureServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost", "api.bigcommerce.com")
    ca, chain, key = folder / "ca.pem", folder / "chain.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(str(ca))
    certificate.private_key_pem.write_to_path(str(key))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(chain), append=True)
    settings = msgspec.structs.replace(
        worker_setup.settings, fetch_allow=pictures.host, hosts="api.bigcommerce.com"
    )
    with server_process(
        "kasuwa.app:create_app",
        1,
        folder,
        render_error="kasuwa.app:render_error",
        environment=handed(msgspec.structs.replace(worker_setup, settings=settings)),
        tls_certificate=str(chain),
        tls_key=str(key),
    ) as server:
        yield TlsServer(urlsplit(server.url).port or 0, ca)


@pytest.fixture(scope="module")
def official() -> ModuleType:
    """The vendor's client for Python."""
    with warnings.catch_warnings():
        # Its own old spellings are its business.
        warnings.simplefilter("ignore")
        import bigcommerce.api
        import bigcommerce.connection
    module: ModuleType = bigcommerce
    return module


async def test_the_official_python_client_v3(
    tls_server: TlsServer,
    official: ModuleType,
    shop: Shop,
    product: int,
    pictures: PictureServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls_server.ca))
    first, second, missing = pictures.good(1), pictures.good(2), pictures.url("/missing")
    images = f"catalog/products/{product}/images"

    def use() -> None:
        connection = official.connection.OAuthConnection(
            "app",
            shop.store_hash,
            shop.token,
            host=f"127.0.0.1:{tls_server.port}",
            api_path="/stores/{}/v3/{}",
        )
        created = connection.create(images, {"image_url": first, "description": "Front"})["data"]
        assert created["url_zoom"].startswith(f"https://127.0.0.1:{tls_server.port}/media/")
        listed = connection.get(images, limit=10)
        assert (listed["data"], listed["meta"]["pagination"]["total"]) == ([created], 1)
        assert connection.get(images, created["id"])["data"] == created
        changed = connection.update(images, created["id"], {"description": "Back"})["data"]
        assert changed["description"] == "Back"
        replaced = connection.update(images, created["id"], {"image_url": second})["data"]
        assert replaced["image_file"] != created["image_file"]
        with pytest.raises(official.exception.ClientRequestException) as refused:
            connection.create(images, {"image_url": missing})
        assert refused.value.response.json()["title"] == "The field 'image_file' is invalid."
        assert connection.delete(images, created["id"]) == {}
        assert connection.get(images)["data"] == []
        assert set(connection.rate_limit) == {
            "ms_until_reset",
            "window_size_ms",
            "requests_remaining",
            "requests_quota",
        }
        assert all(isinstance(value, int) for value in connection.rate_limit.values())

    await asyncio.to_thread(use)


async def test_the_official_python_clients_resource_classes(
    tls_server: TlsServer,
    official: ModuleType,
    shop: Shop,
    product: int,
    pictures: PictureServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls_server.ca))
    monkeypatch.setenv("BC_API_ENDPOINT", f"127.0.0.1:{tls_server.port}")
    url = pictures.good(3)

    def use() -> None:
        api = official.api.BigcommerceApi(
            client_id="app", store_hash=shop.store_hash, access_token=shop.token
        )
        assert api.Time.all()["time"] > 0
        created = api.ProductImages.create(product, image_file=url, description="Front")
        assert created.description == "Front"
        (listed,) = api.ProductImages.all(product)
        assert (listed.id, listed.zoom_url) == (created.id, created.zoom_url)
        (of_product,) = api.Products.get(product).images()
        assert of_product.id == created.id
        assert api.ProductImages.count(product) == 1
        assert api.ProductImages.get(product, created.id).is_thumbnail is True
        assert created.update(description="Back").description == "Back"
        created.delete()
        assert api.ProductImages.count(product) == 0
        with pytest.raises(official.exception.ClientRequestException):
            api.ProductImages.get(product, created.id)

    await asyncio.to_thread(use)


async def test_node_bigcommerce(
    tls_server: TlsServer, shop: Shop, product: int, pictures: PictureServer, bc: BigCommerceCalls
) -> None:
    modules = await asyncio.to_thread(node_packages.install)
    command, environment = node_packages.node()
    order = {
        "ca": str(tls_server.ca),
        "port": tls_server.port,
        "token": shop.token,
        "store_hash": shop.store_hash,
        "product": product,
        "image_url": pictures.good(1),
        "other_url": pictures.good(2),
        "broken_url": pictures.url("/broken.png"),
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        str(node_packages.SOURCE / "images.cjs"),
        env=environment | {"NODE_PATH": str(modules), "ORDER": json.dumps(order)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    told: dict[str, Any] = json.loads(out)
    created = told["created"]["data"]
    assert created["url_zoom"].startswith("https://api.bigcommerce.com/media/")
    assert told["listed"]["data"] == [created]
    assert told["read"]["data"] == created
    assert (told["changed"]["data"]["description"], told["changed"]["data"]["sort_order"]) == ("Back", 4)
    assert told["replaced"]["data"]["image_file"] != created["image_file"]
    assert told["page"]["data"][0]["images"] == [told["replaced"]["data"]]
    assert told["deleted"] == ""
    assert told["empty"]["data"] == []
    assert (told["missing"]["code"], told["broken"]["code"], told["nothing"]["code"]) == (404, 400, 422)
    assert "may not be valid image" in told["broken"]["body"]["errors"]["invalid_reason"]
    assert await bc.images(product) == []
