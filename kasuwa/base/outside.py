"""Asking the JSON API of somebody else, whose address the operator wrote into the settings."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

_MOST_BYTES = 64 * 1024


class OutsideSilent(Exception):
    """No answer that can be read, in time. The message names no address and nothing that was sent."""


class OutsideAnswer(Struct, frozen=True):
    """A status and its JSON, None where there was none."""

    status: int
    body: Any


async def ask_json(
    method: str,
    url: str,
    *,
    seconds: float,
    query: Mapping[str, str] | None = None,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
) -> OutsideAnswer:
    """One request, all of it within `seconds`, without redirects. Raises OutsideSilent."""
    import aiohttp

    wait = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=wait, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(
                method, url, params=query, json=json, headers=headers, allow_redirects=False
            ) as response,
        ):
            content = await response.content.read(_MOST_BYTES + 1)
            while len(content) <= _MOST_BYTES and (more := await response.content.read(_MOST_BYTES)):
                content += more
            status = response.status
    except TimeoutError:
        raise OutsideSilent(f"no answer within {seconds:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Its message may hold the address with what was asked.
        raise OutsideSilent(type(error).__name__) from None
    if len(content) > _MOST_BYTES:
        raise OutsideSilent(f"more than {_MOST_BYTES} bytes")
    try:
        return OutsideAnswer(status, msgspec.json.decode(content) if content else None)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise OutsideSilent("the answer is no JSON") from None
