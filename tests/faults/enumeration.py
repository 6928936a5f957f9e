"""Whether answers or their times tell who has an account: log-in and reset, for known people and for others.

Run: python -m tests.faults.enumeration --calls 200   (beside nothing else: it measures times)
With --broken hash-only-the-known it must find a fault.
"""

import argparse
import asyncio
import random
import re
import statistics
import sys
from collections.abc import Iterator
from math import erf, sqrt
from time import perf_counter

import httpx
from msgspec import Struct

from kasuwa.base.ids import new_id
from tests.faults.installation import Installation, new_folder
from tests.shop import new_developer_key, new_shop

# A difference counts when it is as large as this and no chance: one of the two alone is noise.
MOST_MS = 5.0
LEAST_P = 0.01
# Waits after wrong tries hold for known and unknown names alike.
WITHOUT_WAITS = {"KASUWA_LOGIN_TRIES": "100000"}
_PASSING_HEADERS = {"date", "x-request-id", "ratelimit-remaining", "content-length"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
# The first calls find caches empty.
_WARM = 3


class Compared(Struct, frozen=True, kw_only=True):
    """One operation: the answers that differ, the medians in ms, and the chance that those are alike."""

    operation: str
    differences: list[str]
    known_ms: float
    unknown_ms: float
    p: float

    def faults(self) -> list[str]:
        found = list(self.differences)
        if abs(self.known_ms - self.unknown_ms) >= MOST_MS and self.p <= LEAST_P:
            found.append(f"{self.operation}: the time tells who is known")
        return found

    def said(self) -> str:
        return (
            f"{self.operation}: medians {self.known_ms:.1f} ms for the known, {self.unknown_ms:.1f} ms for"
            f" others, Mann-Whitney p = {self.p:.3f}; {len(self.differences)} differences"
        )


def mann_whitney(first: list[float], second: list[float]) -> float:
    """The two-sided p of the U test, by its normal approximation."""
    wins = sum((x > y) + 0.5 * (x == y) for x in first for y in second)
    n, m = len(first), len(second)
    z = (wins - n * m / 2) / sqrt(n * m * (n + m + 1) / 12)
    return 1 - erf(abs(z) / sqrt(2))


async def compare(installation: Installation, *, calls: int) -> list[Compared]:
    """Ask so many times for somebody who is known and for somebody who is not, in a random order."""
    with installation.serving() as server:
        async with installation.services() as services:
            # Each is asked for once: who is asked for again and again has to wait, known or not.
            known = [(await new_shop(services)).email for _ in range(calls + _WARM)]
            key = await new_developer_key(services)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
            return [await _compare(client, *asked, known) for asked in _asked()]


def _asked() -> Iterator[tuple[str, str, dict[str, str]]]:
    """The operations that somebody without a session asks about a person; NAME stands for whom."""
    yield "userLoginForApps", "/cloudapi/app/access", {"username": "NAME", "password": "a wrong guess"}
    yield (
        "authenticateUser",
        "/cloudapi/app/access/login",
        {"userToken": "NAME", "passToken": "a wrong guess"},
    )
    yield "resetUserPassword", "/cloudapi/app/access/resetpassword", {"username": "NAME", "channel": "email"}


async def _compare(
    client: httpx.AsyncClient, name: str, path: str, body: dict[str, str], known: list[str]
) -> Compared:
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    answers: dict[str, set[str]] = {"known": set(), "unknown": set()}
    for email in known:
        people = {"known": email, "unknown": f"{new_id().hex[-len(email.partition('@')[0]) :]}@shop.example"}
        for kind in random.sample(["known", "unknown"], 2):
            asked = {field: value.replace("NAME", people[kind]) for field, value in body.items()}
            begun = perf_counter()
            answer = await client.post(path, json=asked)
            times[kind].append((perf_counter() - begun) * 1000)
            answers[kind].add(_plain(answer, people[kind]))
    different = sorted(answers["known"] ^ answers["unknown"])
    of_known, of_others = (times[kind][_WARM:] for kind in ("known", "unknown"))
    return Compared(
        operation=name,
        differences=[f"{name} answers only some with {one}" for one in different],
        known_ms=statistics.median(of_known),
        unknown_ms=statistics.median(of_others),
        p=mann_whitney(of_known, of_others),
    )


def _plain(answer: httpx.Response, email: str) -> str:
    """The answer without what tells two requests for the same person apart."""
    headers = sorted((k, v) for k, v in answer.headers.items() if k not in _PASSING_HEADERS)
    text = answer.text.replace(answer.headers["x-request-id"], "<id>").replace(f"{email[0]}***@", "<sent>")
    return f"{answer.status_code} {headers} {_TIME.sub('<time>', text)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--broken", default="")
    options = parser.parse_args()
    with new_folder() as folder:
        installation = Installation(folder / "data", broken=options.broken, **WITHOUT_WAITS)
        compared = asyncio.run(compare(installation, calls=options.calls))
    faults = [fault for one in compared for fault in one.faults()]
    sys.stdout.write("".join(f"{one.said()}\n" for one in compared))
    sys.stdout.write(f"{len(faults)} faults\n" + "".join(f"{one}\n" for one in faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
