"""A hundred decoding processes are killed: each picture is taken or refused, and the server goes on."""

import sys
from collections.abc import Callable

from tests.faults.decoder_kills import REFUSED, SETTINGS, kill_decoders
from tests.faults.installation import Installation


async def test_a_hundred_killed_decoders_cost_their_pictures_alone(
    install: Callable[..., Installation],
) -> None:
    told = await kill_decoders(install(**SETTINGS), 100)
    sys.stdout.write(f"{told}\n")
    assert told.faults == []
    # Where a process was faster than its end, its picture is taken.
    assert set(told.statuses) - {200} <= REFUSED
    assert told.kills >= 100
    assert sum(told.statuses[status] for status in REFUSED) > 25


async def test_the_check_sees_a_build_that_fails_with_its_decoder(
    install: Callable[..., Installation],
) -> None:
    told = await kill_decoders(install("fail-with-decoders", **SETTINGS), 4)
    assert told.statuses[500] > 0
