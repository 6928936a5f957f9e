"""The plans of the list of messages, read as the application's role: a page reads hardly more than itself."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from kasuwa.base.context import Services
from kasuwa.database import DatabaseUrls
from kasuwa.domain.messages import queries
from kasuwa.domain.messages.queries import MessageFilter
from kasuwa.domain.stores.reach import Reach
from tests.base.database import connected, superuser_url
from tests.base.test_plans import Recorder, explain, most_rows
from tests.shop import Shop, new_shop

EACH, SIZE = 20_000, 50

# One in a hundred failed; half are mails.
_FILL = """
    INSERT INTO message (merchant_id, message_id, store_id, channel, template, status)
    SELECT '{merchant}', ('01930000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, '{store}',
           CASE n % 2 WHEN 0 THEN 'email' ELSE 'sms' END, 'verify-mobile',
           CASE n % 100 WHEN 0 THEN 'failed' ELSE 'sent' END
    FROM generate_series(1, {each}) n
"""
_MIDDLE = UUID(f"01930000-0000-7000-8000-{EACH // 2:012d}")


@pytest.fixture(scope="module")
async def busy_shop(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Shop]:
    """One merchant of two, with twenty thousand messages."""
    shops = [await new_shop(services) for _ in range(2)]
    async with connected(superuser_url(database_urls)) as admin:
        for shop in shops:
            await admin.execute(_FILL.format(merchant=shop.merchant_id, store=shop.store_id, each=EACH))
        await admin.execute("ANALYZE message")
        yield shops[1]
        ids = [shop.merchant_id for shop in shops]
        await admin.execute("DELETE FROM message WHERE merchant_id = ANY($1)", ids)
        await admin.execute("VACUUM ANALYZE message")


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole shop", "a location"])
@pytest.mark.parametrize("after", [None, _MIDDLE], ids=["first", "middle"])
@pytest.mark.parametrize(
    "wanted",
    [{}, {"status": "failed"}, {"status": "sent"}, {"channel": "sms"}, {"status": "queued"}],
    ids=str,
)
async def test_a_page_of_messages_reads_its_rows_along_an_index(
    busy_shop: Shop, database_urls: DatabaseUrls, wanted: dict[str, Any], after: UUID | None, is_whole: bool
) -> None:
    async with connected(database_urls.application) as connection:
        await connection.execute("BEGIN; SET LOCAL jit = off")
        await connection.execute(f"SET LOCAL app.merchant_id = '{busy_shop.merchant_id}'")
        recorder = Recorder(connection)
        within = Reach([busy_shop.store_id], is_whole=is_whole, is_owner=False)
        await queries.read_page(recorder, MessageFilter(**wanted), within=within, after=after, size=SIZE + 1)
        sql, parameters = recorder.asked[-1]
        plan = await explain(connection, sql, *parameters)
    assert "Seq Scan" not in plan
    assert most_rows(plan) <= 4 * (SIZE + 1), plan
    assert (most_rows(plan) >= SIZE) == (wanted.get("status") != "queued"), plan
