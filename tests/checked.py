"""httpx for real servers: every answer is held against the contracts, as those of tests/client.py are."""

from typing import Any

import httpx

from tests.client import check_answer


async def _check(response: httpx.Response) -> None:
    await response.aread()
    check_answer(response)


def _check_now(response: httpx.Response) -> None:
    response.read()
    check_answer(response)


class AsyncClient(httpx.AsyncClient):
    """An AsyncClient that raises AssertionError for an answer no contract promises."""

    def __init__(self, **options: Any) -> None:
        super().__init__(event_hooks={"response": [_check]}, **options)


class Client(httpx.Client):
    """A Client that does the same."""

    def __init__(self, **options: Any) -> None:
        super().__init__(event_hooks={"response": [_check_now]}, **options)


def get(url: str, *, verify: bool = True, **options: Any) -> httpx.Response:
    """One GET over a connection of its own; `options` are those of httpx's request."""
    with Client(verify=verify, timeout=60) as client:
        return client.get(url, **options)


def post(url: str, *, verify: bool = True, **options: Any) -> httpx.Response:
    """One POST over a connection of its own."""
    with Client(verify=verify, timeout=60) as client:
        return client.post(url, **options)
