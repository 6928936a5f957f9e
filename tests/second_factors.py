"""What an app shows that holds somebody's second factor: RFC 6238 written out, not our own code again."""

import base64
import hashlib
import hmac
import time


def code_at(secret: str, step: int) -> str:
    """The code of a step of 30 seconds since 1970; `secret` in base 32."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), hashlib.sha1)
    place = digest[-1] & 15
    return f"{(int.from_bytes(digest[place : place + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"


def step_now() -> int:
    return int(time.time()) // 30


def code_now(secret: str, *, steps: int = 0) -> str:
    """The code that is shown now, or that many steps later."""
    return code_at(secret, step_now() + steps)
