"""Killed amid uploads: what was acknowledged is there, whole and in order, and nothing is there twice."""

from collections.abc import Callable

import pytest

from tests.faults.installation import Installation
from tests.faults.kill_uploads import KINDS, kill_rounds
from tests.faults.uploads import UPLOADS


@pytest.mark.timeout(600)
async def test_no_acknowledged_picture_is_lost_and_none_is_there_twice(
    install: Callable[..., Installation], record_property: Callable[[str, object], None]
) -> None:
    told = await kill_rounds(install(), kinds=KINDS * 5)
    record_property("told", told.line())
    assert told.faults == []
    assert told.rounds == 20
    assert told.acknowledged >= 20
    assert told.cut_off > 0  # else nothing was killed amid an upload


def test_every_api_is_tried() -> None:
    assert set(UPLOADS) == {"storeharmony", "bigcommerce", "shoplazza"}


@pytest.mark.parametrize(
    ("broken", "sign"),
    [
        ("answer-before-files", "has None bytes"),
        ("leave-files", "belongs to no picture"),
        ("answer-before-commit", "lost ['"),
        ("forget-keys", "more than once ['"),
    ],
)
async def test_the_check_sees_a_broken_build(
    install: Callable[..., Installation], broken: str, sign: str
) -> None:
    # A kill does not always fall into the moment that the fault opens: some rounds, until one does.
    told = await kill_rounds(install(broken), kinds=["everything"])
    for _ in range(5):
        if any(sign in fault for fault in told.faults):
            return
        told = await kill_rounds(install(broken), kinds=["everything"])
    pytest.fail(f"{broken} was not seen in six rounds: {told.faults}")
