"""Ids, tokens and codes. An id may be known to anybody; a token or a code is a secret."""

import hashlib
import secrets
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7: rises with time, so that a primary key's index grows at its end."""
    return uuid7()


def new_token() -> str:
    """A secret of 256 random bits, as 43 characters that need no escaping anywhere."""
    return secrets.token_urlsafe(32)


def new_code() -> str:
    """Six random digits, for a person to type."""
    return f"{secrets.randbelow(1_000_000):06d}"


def token_hash(token: str) -> bytes:
    """What is kept of a token. A plain SHA-256 does: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).digest()


def read_id(text: str) -> UUID | None:
    """The id in its canonical spelling, else None: an id that is no UUID is simply unknown."""
    if len(text) != 36:
        return None
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text.lower() else None


def read_number(text: str) -> int | None:
    """A number from 1 up in its plain spelling, within 63 bits; else None."""
    if not (text.isascii() and text.isdecimal()) or text.startswith("0") or len(text) > 19:
        return None
    value = int(text)
    return value if value < 2**63 else None
