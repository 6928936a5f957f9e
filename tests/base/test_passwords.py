"""Passwords: how they are kept, and which are refused."""

import pytest

from kasuwa.base import passwords
from kasuwa.base.passwords import hash_password, is_common, verify_password


async def test_a_password_is_kept_as_argon2id_and_the_same_in_every_unicode_form() -> None:
    kept = await hash_password("crème brûlée à Lagos")
    assert kept.startswith("$argon2id$v=19$m=19456,t=3,p=1$")
    assert await verify_password(kept, "cre\u0300me bru\u0302le\u0301e a\u0300 Lagos")
    assert not await verify_password(kept, "creme brulee a Lagos")
    assert not await verify_password("$argon2id$broken", "crème brûlée à Lagos")
    assert not await verify_password(None, "")


@pytest.mark.parametrize(
    ("password", "common"),
    [
        ("1q2w3e4r5t", True),
        ("Manchester", True),
        ("password2026!!", True),
        ("!!!ngozi.eze123", True),
        ("ababababababab", True),
        ("seven green baskets", False),
        ("correct horse battery staple", False),
        ("xK4$vv91-pQm", False),
    ],
)
def test_what_everybody_tries_first_is_known(password: str, common: bool) -> None:
    assert is_common(password, ["ngozi.eze", "Ngozi", ""]) is common


def test_the_list_of_common_passwords_is_long() -> None:
    assert len(passwords._common_passwords()) >= 3000
