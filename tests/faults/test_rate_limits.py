"""A quota over HTTP: one token at four workers, and together they accept what is promised, and no more."""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeAlias

import httpx
import pytest

from tests.faults.broken import SHORT_WINDOW_SECONDS
from tests.faults.installation import Installation, Server
from tests.shop import Shop, new_shop

WORKERS, QUOTA, WINDOWS = 4, 40, 3
# Shoplazza's own bucket: what fits, and what leaks from it in each second.
BUCKET, LEAK, LEAKING_SECONDS = 40, 2, 12
QUOTAS = {
    "KASUWA_BIGCOMMERCE_REQUESTS_PER_WINDOW": str(QUOTA),
    "KASUWA_SHOPLAZZA_BURST": str(BUCKET),
}
# Connections lie with the workers as they come; every worker must get some.
_AT_ONCE = 24


async def accepted_in(seconds: float, server: Server, path: str, header: str, token: str) -> int:
    """How many of more than the quota were accepted and answered in so many seconds."""
    statuses: Counter[int] = Counter()
    limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
    open_client = server.installation.client
    async with open_client(base_url=server.url, headers={header: token}, limits=limits, timeout=30) as client:
        # Without a token nothing is spent: the connections are there before the first window begins.
        await asyncio.gather(*(client.get(path, headers={header: "nobody"}) for _ in range(_AT_ONCE)))
        begun, turn = monotonic(), 0

        async def ask() -> None:
            answer = await client.get(path)
            # What comes later may be of a window that nobody asked about.
            if monotonic() - begun < seconds:
                statuses[answer.status_code] += 1

        while (passed := monotonic() - begun) < seconds:
            await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
            turn += 1
            await asyncio.sleep(max(0.0, turn * 0.2 - passed))
    assert set(statuses) == {200, 429}, statuses
    sys.stdout.write(f"{dict(statuses)} in {seconds} s\n")
    return statuses[200]


async def share_of_windows(server: Server, shop: Shop) -> float:
    """What a token got of its quota, over three whole windows."""
    path = f"/stores/{shop.store_hash}/v3/catalog/products"
    seconds = WINDOWS * SHORT_WINDOW_SECONDS
    return await accepted_in(seconds, server, path, "x-auth-token", shop.token) / (WINDOWS * QUOTA)


async def share_of_a_bucket(server: Server, shop: Shop) -> float:
    """What a token got of what its bucket held at first and of what leaked from it."""
    path, allowed = "/openapi/2022-01/products", BUCKET + LEAK * LEAKING_SECONDS
    return await accepted_in(LEAKING_SECONDS, server, path, "access-token", shop.token) / allowed


_Share: TypeAlias = Callable[[Server, Shop], Awaitable[float]]


async def ask_three_times(
    installation: Installation, share: _Share, is_enough: Callable[[float], bool]
) -> list[float]:
    """What was accepted, each time by another store's token, until it is enough."""
    shares: list[float] = []
    with installation.serving(workers=WORKERS) as server:
        async with installation.services() as services:
            while len(shares) < 3 and not any(map(is_enough, shares)):
                shares.append(await share(server, await new_shop(services)))
    return shares


@pytest.mark.parametrize("share", [share_of_windows, share_of_a_bucket])
async def test_four_workers_accept_a_tokens_quota_within_five_percent(
    share: _Share, install: Callable[..., Installation]
) -> None:
    installation = install("short-windows", **QUOTAS)
    # The machine may stand still for a part of a window; it does not do so each time.
    shares = await ask_three_times(installation, share, lambda one: one >= 0.95)
    assert 0.95 <= max(shares) <= 1.05


@pytest.mark.parametrize("share", [share_of_windows, share_of_a_bucket])
async def test_the_check_sees_workers_that_count_for_themselves(
    share: _Share, install: Callable[..., Installation]
) -> None:
    installation = install("count-alone", **QUOTAS)
    shares = await ask_three_times(installation, share, lambda one: one > 1.05)
    assert max(shares) > 1.05
