"""The last hundred units go to a hundred buyers, whoever else wants them at the same moment."""

from collections.abc import Callable

from tests.faults.buyers import UNITS, sell
from tests.faults.crowds import crowd
from tests.faults.installation import Installation

BUYERS = 500


async def test_five_hundred_buyers_of_the_last_hundred_units(install: Callable[..., Installation]) -> None:
    sold = await sell(install(), buyers=BUYERS, sessions=20)
    assert sold.faults(BUYERS) == []


async def test_the_check_sees_a_server_that_looks_and_then_writes(
    install: Callable[..., Installation],
) -> None:
    sold = await sell(install("look-then-write"), buyers=BUYERS, sessions=20)
    assert sold.answers[200] > UNITS
    assert sold.faults(BUYERS) != []


async def test_buyers_at_three_locations_of_one_thing_and_of_two_in_either_order(
    install: Callable[..., Installation],
) -> None:
    crowded = await crowd(install(), buyers=3 * BUYERS, sessions=30)
    assert crowded.faults() == []


async def test_the_check_of_crowds_sees_a_server_that_looks_and_then_writes(
    install: Callable[..., Installation],
) -> None:
    crowded = await crowd(install("look-then-write"), buyers=3 * BUYERS, sessions=30)
    assert any("were promised" in fault for fault in crowded.faults())
