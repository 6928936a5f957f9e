"""Any history of stock leaves what a model in plain Python says it must."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from kasuwa.database import DatabaseUrls
from kasuwa.domain.inventory.records import State
from tests.domain.stock_machine import StockMachine
from tests.domain.stock_model import Lot, Shelf
from tests.shop import Shop


@pytest.fixture
def machine(shop: Shop, database_urls: DatabaseUrls) -> type[StockMachine]:
    class Here(StockMachine):
        urls = database_urls
        context = shop.owner
        store_ids = (shop.store_id, shop.second_store_id)

    return Here


def run_machine(machine: type[StockMachine], examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_history_leaves_what_the_model_says(machine: type[StockMachine]) -> None:
    run_machine(machine, 30)


@pytest.mark.parametrize("broken", ["put", "take"])
def test_a_ledger_that_reckons_otherwise_is_found(
    machine: type[StockMachine], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The control: against a model that is off by a little, or takes the last batch first, the run fails."""
    right = getattr(Shelf, broken)
    if broken == "put":

        def wrong(shelf: Shelf, state: State, quantity: Decimal, cost: Decimal | None = None) -> None:
            right(shelf, state, quantity, None if cost is None else cost + Decimal("0.000001"))
    else:

        def wrong(shelf: Shelf, quantity: Decimal, lots: list[Lot]) -> None:  # type: ignore[misc]
            right(shelf, quantity, lots[::-1])

    monkeypatch.setattr(Shelf, broken, wrong)
    with pytest.raises(AssertionError):
        run_machine(machine, 100, [Phase.generate])


def test_there_are_at_least_twenty_rules() -> None:
    machine = StockMachine()
    machine.teardown()
    assert len(machine.rules) >= 20
