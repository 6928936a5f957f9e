"""Whoever leaves is not served any more, while their rows are still there."""

from datetime import timedelta

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.ids import new_id
from kasuwa.base.jobs import enqueue
from kasuwa.domain.users.actions import add_link, find_by_link
from kasuwa.domain.users.errors import LinkNotFound
from kasuwa.domain.users.login import ENTER_PURPOSE
from kasuwa.domain.users.queries import find_credentials, find_login, find_merchant_of
from tests.conftest import SchemaOwner
from tests.shop import Shop

KIND = "test.of_one_who_leaves"


async def found(services: Services, shop: Shop, token: str) -> list[bool]:
    """Whether each door still knows the merchant's people: name, credentials, account, link."""
    nobody = Context(services, request_id="test")
    try:
        await find_by_link(nobody, token, ENTER_PURPOSE)
    except LinkNotFound:
        by_link = False
    else:
        by_link = True
    return [
        await find_login(services.pool, shop.email) is not None,
        await find_credentials(services.pool, shop.email) is not None,
        await find_merchant_of(services.pool, shop.user_id) is not None,
        by_link,
    ]


@pytest.fixture
async def token(shop: Shop) -> str:
    """Of a link; a job waits too."""
    async with shop.owner.transaction() as db:
        await enqueue(db, KIND, {})
        made, _ = await add_link(db, shop.user_id, ENTER_PURPOSE, timedelta(minutes=5))
    return made


async def test_people_links_and_jobs_of_one_who_leaves_are_not_served(
    services: Services, shop: Shop, other_shop: Shop, token: str, schema_owner: SchemaOwner
) -> None:
    async def tries() -> int:
        await services.jobs.run_due()
        count: int = await schema_owner.fetchval("SELECT attempts FROM job WHERE kind = $1", KIND)
        return count

    await schema_owner.execute(
        "INSERT INTO removal (removal_id, of_merchant, merchant_hash) VALUES ($1, $2, '')",
        new_id(),
        shop.merchant_id,
    )
    try:
        assert await found(services, shop, token) == [False] * 4
        assert await tries() == 0
        assert await find_login(services.pool, other_shop.email) is not None
    finally:
        await schema_owner.execute("DELETE FROM removal WHERE of_merchant = $1", shop.merchant_id)
    # The control: without the mark all of it is there, and the job, which nobody knows, is tried.
    assert await found(services, shop, token) == [True] * 4
    assert await tries() == 1
    await schema_owner.execute("DELETE FROM job WHERE kind = $1", KIND)
