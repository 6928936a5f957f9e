"""The plans of the list of customers, as the application's role: a page reads hardly more than itself."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from kasuwa.base.context import Services
from kasuwa.database import DatabaseUrls
from kasuwa.domain.customers import queries
from kasuwa.domain.customers.queries import CustomerFilter
from tests.base.database import connected, superuser_url
from tests.base.test_plans import Recorder, explain, most_rows
from tests.shop import Shop, new_shop

EACH, SIZE = 20_000, 50

_FILL = """
    INSERT INTO customer (merchant_id, customer_id, store_id, username, email, first_name, last_name,
                          name_key, surname_key)
    SELECT '{merchant}', ('01930000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, '{store}', 'u' || n,
           'u' || n || '@shop.example', 'Efe' || n, 'Umar', 'efe' || n || ' umar', 'umar efe' || n
    FROM generate_series(1, {each}) n;
    INSERT INTO customer_name (merchant_id, name, kind, customer_id)
    SELECT merchant_id, email, 'email', customer_id FROM customer WHERE merchant_id = '{merchant}';
"""
_MIDDLE = UUID(f"01930000-0000-7000-8000-{EACH // 2:012d}")


@pytest.fixture(scope="module")
async def busy_shop(services: Services, database_urls: DatabaseUrls) -> AsyncIterator[Shop]:
    """One merchant of two, with twenty thousand customers."""
    shops = [await new_shop(services) for _ in range(2)]
    async with connected(superuser_url(database_urls)) as admin:
        for shop in shops:
            await admin.execute(_FILL.format(merchant=shop.merchant_id, store=shop.store_id, each=EACH))
        await admin.execute("ANALYZE customer, customer_name")
        yield shops[1]
        ids = [shop.merchant_id for shop in shops]
        for table in ("customer_name", "customer"):
            await admin.execute(f"DELETE FROM {table} WHERE merchant_id = ANY($1)", ids)
        await admin.execute("VACUUM ANALYZE customer, customer_name")


@pytest.mark.parametrize("after", [None, _MIDDLE], ids=["first", "middle"])
@pytest.mark.parametrize(
    ("wanted", "rows"),
    [({}, SIZE), ({"email": "u77@shop.example"}, 1), ({"name": "efe77 "}, 1), ({"name": "Umar efé77 "}, 1)],
    ids=["all", "email", "given-name", "family-name"],
)
async def test_a_page_of_customers_reads_its_rows_along_an_index(
    busy_shop: Shop, database_urls: DatabaseUrls, wanted: dict[str, Any], rows: int, after: UUID | None
) -> None:
    async with connected(database_urls.application) as connection:
        await connection.execute("BEGIN; SET LOCAL jit = off")
        await connection.execute(f"SET LOCAL app.merchant_id = '{busy_shop.merchant_id}'")
        recorder = Recorder(connection)
        await queries.read_page(recorder, CustomerFilter(**wanted), after=after, size=SIZE + 1)
        sql, parameters = recorder.asked[-1]
        plan = await explain(connection, sql, *parameters)
    assert "Seq Scan" not in plan
    assert rows <= most_rows(plan) <= 4 * (SIZE + 1), plan
