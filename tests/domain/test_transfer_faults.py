"""Where balances, ledger and transfers disagree, the check says so: each fault, by the hand of a forger."""

import pytest

from kasuwa.base.context import Context
from kasuwa.database import DatabaseUrls
from kasuwa.domain.transfers.actions import receive_transfer
from tests.base.database import superuser_url, undone
from tests.shop import Shop
from tests.transfers import Road, at_store, receipt, stocked, wanted

FORGERIES = {
    "more in transit than was sent": (
        "UPDATE stock_balance SET in_transit = in_transit + 1 WHERE in_transit > 0",
        "6.000 of variant",
    ),
    "in transit where nothing was sent": (
        "UPDATE stock_balance SET in_transit = 2 WHERE in_transit = 0",
        "2.000 of variant",
    ),
    "received without a movement": (
        "UPDATE stock_transfer_line SET received = received + 1",
        "line 1 has 4.000 on its way, and the ledger moved 5.000",
    ),
    "a movement that is gone": (
        "DELETE FROM stock_movement WHERE state = 'in_transit' AND quantity < 0",
        "line 1 has 5.000 on its way, and the ledger moved 8.000",
    ),
    "a parcel that is less": (
        "UPDATE stock_transfer_parcel SET outstanding = outstanding - 1",
        "line 1 has 5.000 of 8.000 on its way, and its parcels 4.000 of 8.000",
    ),
    "a parcel that is gone": ("DELETE FROM stock_transfer_parcel", "and its parcels 0 of 0"),
    "closed too early": (
        "UPDATE stock_transfer SET status = 'accepted', closed_at = now()",
        "it is accepted, and its lines are partially_received",
    ),
    "as if nothing had come": (
        "UPDATE stock_transfer SET status = 'shipped'",
        "it is shipped, and its lines are partially_received",
    ),
}


@pytest.fixture
async def merchant_id(context: Context, shop: Shop) -> str:
    """Eight are sent, and three have arrived."""
    malt = await stocked(context)
    road = Road(context, at_store(context, shop.second_store_id))
    transfer = await road.send(wanted(malt, 8))
    await receive_transfer(road.there, transfer.transfer_id, [receipt(transfer, "received", 3)])
    return str(shop.merchant_id)


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forgery_is_found(merchant_id: str, database_urls: DatabaseUrls, forgery: str) -> None:
    statement, words = FORGERIES[forgery]
    where = "AND" if "WHERE" in statement else "WHERE"
    async with undone(superuser_url(database_urls)) as admin:
        found = "SELECT fault FROM stock_transfer_faults() WHERE merchant_id = $1"
        assert await admin.fetch(found, merchant_id) == []
        await admin.execute("SET LOCAL session_replication_role = replica")
        changed = await admin.execute(f"{statement} {where} merchant_id = $1", merchant_id)
        assert changed.split()[-1] != "0"
        faults = [row["fault"] for row in await admin.fetch(found, merchant_id)]
    assert any(words in fault for fault in faults), faults
