"""Mobile numbers for people in tests."""

import secrets
from itertools import count

# Those of Nigeria from 0801 0000000 on can be anybody's. Random numbers meet after a few thousand of them;
# two processes that count from places of their own hardly ever do.
_NUMBERS, _COUNTED = 9 * 10**7, count(secrets.randbelow(9 * 10**7))


def new_mobile() -> str:
    """A number in E.164 that nobody else has."""
    return f"+23480{10**7 + next(_COUNTED) % _NUMBERS}"


def as_dialled(mobile: str) -> str:
    """A number in E.164 as it is written within the country."""
    return f"0{mobile.removeprefix('+234')}"
