"""A guesser gets in nowhere. Ten thousand guesses at each door are the long run's: tests.faults.guessing."""

from collections.abc import Callable

from tests.faults.guessing import QUOTAS, guess_everywhere
from tests.faults.installation import Installation


async def test_no_guess_gets_in(install: Callable[..., Installation]) -> None:
    guessed = await guess_everywhere(install(**QUOTAS), guesses=40)
    assert [one.door for one in guessed if one.hits] == []
    assert len(guessed) == 8


async def test_the_right_one_is_among_them_where_tries_are_forgotten(
    install: Callable[..., Installation],
) -> None:
    guessed = await guess_everywhere(install("forget-tries", **QUOTAS), guesses=40)
    assert [one.door for one in guessed if not one.hits] == []
