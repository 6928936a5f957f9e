"""Passwords: hashed with Argon2id in threads of their own, and compared with what everybody tries first."""

import asyncio
import base64
import importlib.util
import secrets
import unicodedata
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# Argon2id with 19 MiB, three passes, one lane: OWASP's least memory, for small machines,
# and the passes of RFC 9106.
HASHER = PasswordHasher(time_cost=3, memory_cost=19 * 1024, parallelism=1)
# Few at a time: hashing is slow on purpose and must leave cores and memory to everybody else.
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")

_SIGNS = "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ "


def _salted(length: int) -> str:
    return base64.b64encode(secrets.token_bytes(length)).decode().rstrip("=")


# What an unknown user's password is compared with, so that the answer takes as long as for a known one.
_NOBODYS_HASH = f"$argon2id$v=19$m=19456,t=3,p=1${_salted(16)}${_salted(32)}"


async def hash_password(password: str) -> str:
    """The hash to keep. The same characters in another Unicode form are the same password."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_THREADS, HASHER.hash, _normal(password))


async def verify_password(kept: str | None, password: str) -> bool:
    """Whether the password is the one behind `kept`. Without a user (None) it takes as long and says no."""
    loop = asyncio.get_running_loop()
    matches = await loop.run_in_executor(_THREADS, _verify, kept or _NOBODYS_HASH, _normal(password))
    return matches and kept is not None


def is_outdated(kept: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return HASHER.check_needs_rehash(kept)


def is_common(password: str, about: Iterable[str] = ()) -> bool:
    """Whether the password is one of those tried first.

    That is one of the 30,000 most used, one of them or a word of `about` (names, mail address) with digits
    and signs around it, or fewer than four different characters.
    """
    folded = _normal(password).casefold()
    bare = folded.strip(_SIGNS)
    words = {word.casefold() for word in about if word}
    known = _common_passwords()
    return len(set(folded)) < 4 or folded in known or bare in known or folded in words or bare in words


def _verify(kept: str, password: str) -> bool:
    try:
        return HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    # zxcvbn ships the list. Importing the package would keep 15 MB of tables that nothing here needs.
    package = importlib.util.find_spec("zxcvbn")
    assert package is not None
    assert package.submodule_search_locations
    place = f"{package.submodule_search_locations[0]}/frequency_lists.py"
    spec = importlib.util.spec_from_file_location("_frequency_lists", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return frozenset(module.FREQUENCY_LISTS["passwords"])
