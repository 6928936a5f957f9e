"""Workers replaced and servers stopped under load: no request that was begun fails."""

import sys
from collections.abc import Callable

from tests.faults.installation import Installation
from tests.faults.rolling_stops import rolling_stops


async def test_no_request_fails_while_workers_are_replaced_and_stopped(
    install: Callable[..., Installation],
) -> None:
    told = await rolling_stops(install(), replacements=3, stops=2)
    assert told.faults == []
    sys.stdout.write(f"{told.answered} answered, {told.refused} found nobody between stop and start\n")


async def test_the_check_sees_workers_that_end_at_once(install: Callable[..., Installation]) -> None:
    told = await rolling_stops(install("end-at-once"), replacements=1, stops=1)
    assert told.faults != []
