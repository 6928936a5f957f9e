"""Nobody learns who has an account by asking: answers are alike. Their times are compared by the long run."""

from collections.abc import Callable

from tests.faults.enumeration import WITHOUT_WAITS, compare
from tests.faults.installation import Installation


async def test_known_people_and_others_are_answered_alike(install: Callable[..., Installation]) -> None:
    compared = await compare(install(**WITHOUT_WAITS), calls=4)
    assert [difference for one in compared for difference in one.differences] == []


async def test_the_check_sees_a_server_that_names_the_unknown(install: Callable[..., Installation]) -> None:
    compared = await compare(install("name-the-unknown", **WITHOUT_WAITS), calls=1)
    # Whoever asks for a code is answered before anybody looks.
    assert {one.operation for one in compared if not one.differences} == {
        "resetUserPassword",
        "crmResetCustomerPassword",
    }
