"""Any history of stock leaves what a model in plain Python says it must."""

import pytest
from hypothesis import Phase

from kasuwa.database import DatabaseUrls
from tests.domain.stock_machine import StockMachine
from tests.faults.histories import BROKEN, Told, broken, run_histories
from tests.shop import Shop


def test_any_history_leaves_what_the_model_says(shop: Shop, database_urls: DatabaseUrls) -> None:
    told = Told(seed=1)
    run_histories(database_urls, shop, told, examples=30, steps=40)
    assert told.faults == []
    assert (told.examples >= 30, told.steps >= 30 * 20) == (True, True)


@pytest.mark.parametrize("name", BROKEN)
def test_a_ledger_that_reckons_otherwise_is_found(shop: Shop, database_urls: DatabaseUrls, name: str) -> None:
    """The control: against a model that is off by a little, or takes the last batch first, the run fails."""
    told = Told(seed=1)
    with broken(name):
        run_histories(database_urls, shop, told, examples=100, steps=40, phases=(Phase.generate,))
    (fault,) = told.faults
    assert "AssertionError" in fault


def test_there_are_at_least_twenty_rules() -> None:
    machine = StockMachine()
    machine.teardown()
    assert len(machine.rules) >= 20
