"""What every test stands on: one real PostgreSQL for the run, and a merchant of its own for each test."""

import io
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest
from PIL import Image

from kasuwa.base.context import Context, Services
from kasuwa.base.db import Database
from kasuwa.database import DatabaseUrls, sealing_keys, serving_database
from kasuwa.handover import WorkerSetup
from kasuwa.settings import read_settings
from tests.client import Web, running_web
from tests.installed import Installed, keeping_installed
from tests.shop import Shop, new_shop

SchemaOwner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


# Where files of few and long tests lie. Given out last, they would keep one worker alone at the end.
_LONG = ("tests/faults/", "tests/contract/", "tests/test_bench.py", "tests/web/", "tests/cli/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, in the order of their folders; within a file nothing moves."""

    def rank(item: pytest.Item) -> int:
        return next((n for n, begin in enumerate(_LONG) if item.nodeid.startswith(begin)), len(_LONG))

    items.sort(key=rank)


# What these try is not which branches there are; measured, they would take a third longer.
_UNMEASURED = ("tests/faults/", "tests/contract/", "tests/test_bench.py")
_FOR_CHILDREN = "COVERAGE_PROCESS_CONFIG"
_put_away: dict[str, str] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Coverage, of this process and of those it starts, only where a test's folder is measured."""
    plugin = item.config.pluginmanager.get_plugin("_cov")
    controller = getattr(plugin, "cov_controller", None)
    if controller is not None:
        measured = not item.nodeid.startswith(_UNMEASURED)
        if controller.started and not measured:
            controller.pause()
            _put_away[_FOR_CHILDREN] = os.environ.pop(_FOR_CHILDREN)
        elif measured and not controller.started:
            os.environ.update(_put_away)
            controller.resume()
    return (yield)


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """A data folder of the run's own; short, and reachable for PostgreSQL's plain user."""
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def database_urls(data_folder: Path) -> Iterator[DatabaseUrls]:
    """The run's own PostgreSQL, migrated, with connections for every application that a test may open."""
    with serving_database(read_settings({}, data=str(data_folder), workers=4)) as urls:
        yield urls


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """Data folders for tests of processes of their own, without the seconds of a first start."""
    with keeping_installed() as found:
        yield found


@pytest.fixture(scope="session")
def worker_setup(data_folder: Path, database_urls: DatabaseUrls) -> WorkerSetup:
    """What a worker is told; limits are wide, so that only the tests of limits meet them."""
    settings = read_settings(
        {},
        data=str(data_folder),
        storeharmony_requests_per_second=100_000,
        bigcommerce_requests_per_window=1_000_000,
        shoplazza_burst=1_000_000,
        shoplazza_store_burst=1_000_000,
        sms_codes_per_address=1_000_000,
        sms_codes_per_day=1_000_000,
    )
    return WorkerSetup(settings, database_urls.application, sealing_keys(settings))


@pytest.fixture(scope="session")
async def web(worker_setup: WorkerSetup) -> AsyncIterator[Web]:
    """The whole application, called over ASGI; every answer is checked against the contracts."""
    async with running_web(worker_setup) as running:
        yield running


@pytest.fixture(scope="session")
def services(web: Web) -> Services:
    return web.services


@pytest.fixture
async def shop(services: Services) -> Shop:
    return await new_shop(services)


@pytest.fixture
async def other_shop(services: Services) -> Shop:
    """Somebody who has no business in `shop`."""
    return await new_shop(services, name="Bola's Stores")


@pytest.fixture
def context(shop: Shop) -> Context:
    """The owner of `shop` at the first store."""
    return shop.owner


@pytest.fixture
async def db(context: Context) -> AsyncIterator[Database]:
    """A transaction of the shop's merchant, as the application's role."""
    async with context.transaction() as database:
        yield database


@pytest.fixture
async def schema_owner(database_urls: DatabaseUrls) -> AsyncIterator[SchemaOwner]:
    """The role that owns the tables: for what no caller can do, such as moving the time of a row."""
    connection = await asyncpg.connect(database_urls.owner)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def png() -> bytes:
    """A small picture with something to see."""
    return picture_bytes("PNG")


def picture_bytes(format: str, *, size: tuple[int, int] = (80, 60), seed: int = 0) -> bytes:  # noqa: A002
    """A picture that differs with its seed."""
    image = Image.new("RGB", size, (40 + seed * 37 % 200, 90 + seed * 61 % 160, 120))
    for x in range(0, size[0], 4):
        image.putpixel((x, (x * (seed + 3)) % size[1]), (255, seed % 256, 0))
    out = io.BytesIO()
    image.save(out, format)
    return out.getvalue()
