"""What the tests of the APIs share: pictures to be fetched by an application that may, and accounts."""

from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from kasuwa.database import DatabaseUrls
from kasuwa.handover import WorkerSetup
from tests.accounts import Account, confirm, open_account
from tests.api.bigcommerce_calls import BigCommerceCalls
from tests.api.picture_server import PictureServer, serving_pictures
from tests.api.shoplazza_calls import BASES, Shoplazza, new_product_id
from tests.base.fetch.conftest import stage  # noqa: F401 - a fixture
from tests.client import Web, running_web
from tests.shop import Shop, new_developer_key


@pytest.fixture(scope="module", autouse=True)
async def _no_tries_of_other_files(database_urls: DatabaseUrls) -> None:
    """All tests ask from one address: what many files of them got wrong would make the next ones wait."""
    connection = await asyncpg.connect(database_urls.owner)
    await connection.execute("DELETE FROM rate_bucket")
    await connection.close()


@pytest.fixture(scope="session")
async def pictures() -> AsyncIterator[PictureServer]:
    async with serving_pictures() as server:
        yield server


@pytest.fixture(scope="session")
async def fetching_web(worker_setup: WorkerSetup, pictures: PictureServer) -> AsyncIterator[Web]:
    """The application, allowed to fetch from the picture server."""
    settings = msgspec.structs.replace(worker_setup.settings, fetch_allow=pictures.allowed)
    async with running_web(msgspec.structs.replace(worker_setup, settings=settings)) as running:
        yield running


@pytest.fixture(params=BASES)
def slz(request: pytest.FixtureRequest, fetching_web: Web, shop: Shop) -> Shoplazza:
    """The API in each of its versions, with a token that may write."""
    return Shoplazza(fetching_web, request.param, shop.token)


@pytest.fixture
async def product_id(shop: Shop) -> str:
    """A product of `shop` without images."""
    return await new_product_id(shop)


@pytest.fixture(scope="session")
async def app_headers(web: Web) -> dict[str, str]:
    """What an app sends with its developer key."""
    return {"authorization": f"Bearer {await new_developer_key(web.services)}"}


@pytest.fixture
async def account(web: Web, app_headers: dict[str, str]) -> Account:
    """An account that nobody has confirmed yet."""
    return await open_account(web, app_headers)


@pytest.fixture
async def ada(web: Web, app_headers: dict[str, str], account: Account) -> Account:
    """An account that is confirmed by e-mail."""
    await confirm(web, app_headers, account)
    return account


@pytest.fixture
def bc(fetching_web: Web, shop: Shop) -> BigCommerceCalls:
    """The API as an app calls it that has the shop's token."""
    return BigCommerceCalls(fetching_web, shop)


@pytest.fixture
async def product(bc: BigCommerceCalls) -> int:
    """The number of a product of `shop` without images."""
    number: int = (await bc.new_product())["id"]
    return number
