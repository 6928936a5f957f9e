"""PostgreSQL killed under writers: they are told success or 503, and what was acknowledged is there."""

from collections.abc import Callable

from tests.faults.installation import Installation
from tests.faults.postgres_kills import postgres_kills


async def test_writers_are_told_success_or_503_and_nothing_is_lost(
    install: Callable[..., Installation], record_property: Callable[[str, object], None]
) -> None:
    told = await postgres_kills(install(), rounds=5)
    record_property("told", told.line())
    assert told.faults == []
    assert told.told_503 > 0  # else no kill met a writer


async def test_the_check_sees_a_build_that_lets_errors_out(install: Callable[..., Installation]) -> None:
    told = await postgres_kills(install("let-errors-out"), rounds=2)
    assert any(": 500 " in fault for fault in told.faults), told.faults
