"""The plan of the list of complaints, read as the application's role: a page reads hardly more."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from kasuwa.base.context import Services
from kasuwa.database import DatabaseUrls
from kasuwa.domain.complaints.queries import read_page
from kasuwa.domain.complaints.records import Status
from tests.base.database import connected, superuser_url
from tests.base.test_plans import Recorder, explain, most_rows
from tests.shop import Shop, new_shop

EACH, SIZE = 20_000, 50

# One in a hundred is resolved; every second one is the other store's.
_FILL = """
    INSERT INTO complaint (merchant_id, complaint_id, number, user_id, store_id, category, severity, subject,
                           message, status)
    SELECT '{merchant}', ('01930000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, n, '{user}',
           CASE n % 2 WHEN 0 THEN '{store}' ELSE '{second}' END::uuid, 'BUG', 'LOW', 'Till', 'It is slow',
           CASE n % 100 WHEN 0 THEN 'RESOLVED' ELSE 'OPEN' END
    FROM generate_series(1, {each}) n
"""
_MIDDLE = UUID(f"01930000-0000-7000-8000-{EACH // 2:012d}")


@pytest.fixture(scope="module")
async def busy_shop(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Shop]:
    """One merchant of two, with twenty thousand complaints."""
    shops = [await new_shop(services) for _ in range(2)]
    async with connected(superuser_url(database_urls)) as admin:
        for shop in shops:
            await admin.execute(
                _FILL.format(
                    merchant=shop.merchant_id,
                    user=shop.user_id,
                    store=shop.store_id,
                    second=shop.second_store_id,
                    each=EACH,
                )
            )
        await admin.execute("ANALYZE complaint")
        yield shops[1]
        ids = [shop.merchant_id for shop in shops]
        await admin.execute("DELETE FROM complaint WHERE merchant_id = ANY($1)", ids)
        await admin.execute("VACUUM ANALYZE complaint")


@pytest.mark.parametrize("after", [None, _MIDDLE], ids=["first", "middle"])
@pytest.mark.parametrize("status", [None, "OPEN", "RESOLVED", "CLOSED"])
async def test_a_page_of_complaints_reads_its_rows_along_an_index(
    busy_shop: Shop, database_urls: DatabaseUrls, status: Status | None, after: UUID | None
) -> None:
    async with connected(database_urls.application) as connection:
        await connection.execute("BEGIN; SET LOCAL jit = off")
        await connection.execute(f"SET LOCAL app.merchant_id = '{busy_shop.merchant_id}'")
        recorder = Recorder(connection)
        await read_page(recorder, busy_shop.store_id, status=status, after=after, size=SIZE + 1)
        sql, parameters = recorder.asked[-1]
        plan = await explain(connection, sql, *parameters)
    assert "Seq Scan on complaint c" not in plan
    assert most_rows(plan) <= 4 * (SIZE + 1), plan
    assert (most_rows(plan) >= SIZE) == (status != "CLOSED"), plan
