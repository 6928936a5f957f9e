"""Whether answers or their times tell who has an account: log-in, registration and both steps of a reset.

Run: python -m tests.faults.enumeration --calls 200   (beside nothing else: it measures times)
With --broken hash-only-the-known it must find a fault at each log-in, with work-for-the-known elsewhere.
"""

import asyncio
import random
import re
import statistics
import sys
from collections.abc import Callable
from math import erf, sqrt
from time import perf_counter
from typing import Any
from uuid import UUID

import httpx
from msgspec import Struct

from kasuwa.base.ids import new_id
from tests.accounts import registration
from tests.faults.by_hand import read_options
from tests.faults.installation import Installation, new_folder
from tests.mobiles import new_mobile
from tests.shop import PASSWORD, Shop, new_developer_key, new_shop

# A difference counts when it is as large as this and no chance: one of the two alone is noise.
MOST_MS = 5.0
LEAST_P = 0.01
# Waits after wrong tries hold for known and unknown names alike.
WITHOUT_WAITS = {
    "KASUWA_LOGIN_TRIES": "100000",
    "KASUWA_SMS_CODES_PER_ADDRESS": "100000",
    "KASUWA_SMS_CODES_PER_DAY": "100000",
}
_PASSING_HEADERS = {"date", "x-request-id", "ratelimit-remaining", "content-length"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
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


class _Person(Struct, frozen=True):
    """Somebody by their addresses, who has an account or has none."""

    email: str
    mobile: str


class _Asked(Struct, frozen=True, kw_only=True):
    """What somebody who may not know asks about a person; `of_shop`: with the session of a shop's app."""

    name: str
    path: str
    body: Callable[[_Person], dict[str, Any]]
    of_shop: bool = False


async def compare(installation: Installation, *, calls: int) -> list[Compared]:
    """Ask so many times for somebody who is known and for somebody who is not, in a random order."""
    with installation.serving() as server:
        async with installation.services() as services:
            # Each is asked for once: who is asked for again and again has to wait, known or not.
            owners = [await new_shop(services) for _ in range(calls + _WARM)]
            key = await new_developer_key(services)
        users = [_Person(one.email, one.mobile) for one in owners]
        app = {"Authorization": f"Bearer {key}"}
        shop = {"sessiontoken": owners[0].session}
        async with installation.client(base_url=server.url, timeout=60) as client:
            customers = [await _new_customer(client, owners[0]) for _ in owners]
            return [
                await _compare(client, asked, shop, customers)
                if asked.of_shop
                else await _compare(client, asked, app, users)
                for asked in [*_ASKED_BY_ANYBODY, *_asked_by_apps_of(owners[0].store_id)]
            ]


async def _new_customer(client: httpx.AsyncClient, shop: Shop) -> _Person:
    person = _somebody()
    answer = await client.post(
        f"/cloudapi/crm/{shop.store_id}/customers/register",
        headers={"sessiontoken": shop.session},
        json={"email": person.email, "firstname": "Ada", "lastname": "Obi", "password": PASSWORD},
    )
    assert answer.status_code == 200, answer.text
    return person


def _somebody() -> _Person:
    return _Person(f"ada.{new_id().hex}@shop.example", new_mobile())


_GUESS = "a wrong guess"
_CODE = {"code": "000000", "newPassword": "nine brown kettles"}
# In this order: the second step of a reset finds the codes that the first one sent.
_ASKED_BY_ANYBODY = (
    _Asked(
        name="userLoginForApps",
        path="/cloudapi/app/access/",
        body=lambda one: {"username": one.email, "password": _GUESS},
    ),
    _Asked(
        name="authenticateUser",
        path="/cloudapi/app/access/login",
        body=lambda one: {"userToken": one.email, "passToken": _GUESS},
    ),
    _Asked(
        name="resetUserPassword",
        path="/cloudapi/app/access/resetpassword",
        body=lambda one: {"username": one.email, "channel": "email"},
    ),
    _Asked(
        name="resetUserPassword, second step",
        path="/cloudapi/app/access/resetpassword",
        body=lambda one: {"username": one.email, **_CODE},
    ),
    _Asked(
        name="registerNewStore, e-mail",
        path="/cloudapi/app/access/register",
        body=lambda one: registration(email=one.email),
    ),
    _Asked(
        name="registerNewStore, mobile",
        path="/cloudapi/app/access/register",
        body=lambda one: registration(mobile=one.mobile),
    ),
)


def _asked_by_apps_of(store_id: UUID) -> tuple[_Asked, ...]:
    """What a customer asks by the shop's app; that registers nobody twice, and says so to the shop."""
    path = f"/cloudapi/crm/{store_id}/customers/"
    return (
        _Asked(
            name="crmLoginCustomer",
            path=f"{path}login",
            body=lambda one: {"username": one.email, "password": _GUESS},
            of_shop=True,
        ),
        _Asked(
            name="crmResetCustomerPassword",
            path=f"{path}resetpassword",
            body=lambda one: {"username": one.email, "channel": "email"},
            of_shop=True,
        ),
        _Asked(
            name="crmResetCustomerPassword, second step",
            path=f"{path}resetpassword",
            body=lambda one: {"username": one.email, **_CODE},
            of_shop=True,
        ),
    )


async def _compare(
    client: httpx.AsyncClient, asked: _Asked, headers: dict[str, str], known: list[_Person]
) -> Compared:
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    answers: dict[str, set[str]] = {"known": set(), "unknown": set()}
    for person in known:
        people = {"known": person, "unknown": _somebody()}
        for kind in random.sample(["known", "unknown"], 2):
            body = asked.body(people[kind])
            begun = perf_counter()
            answer = await client.post(asked.path, headers=headers, json=body)
            times[kind].append((perf_counter() - begun) * 1000)
            answers[kind].add(_plain(answer))
    different = sorted(answers["known"] ^ answers["unknown"])
    of_known, of_others = (times[kind][_WARM:] for kind in ("known", "unknown"))
    return Compared(
        operation=asked.name,
        differences=[f"{asked.name} answers only some with {one}" for one in different],
        known_ms=statistics.median(of_known),
        unknown_ms=statistics.median(of_others),
        p=mann_whitney(of_known, of_others),
    )


def _plain(answer: httpx.Response) -> str:
    """The answer without what tells two requests for the same person apart."""
    headers = sorted((k, v) for k, v in answer.headers.items() if k not in _PASSING_HEADERS)
    text = _ID.sub("<id>", answer.text.replace(answer.headers["x-request-id"], "<request>"))
    return f"{answer.status_code} {headers} {_TIME.sub('<time>', text)}"


def main() -> None:
    broken = "hash-only-the-known work-for-the-known name-the-unknown"
    options = read_options(__doc__, broken=broken, calls=200)
    with new_folder() as folder:
        installation = Installation(folder / "data", broken=options.broken, **WITHOUT_WAITS)
        compared = asyncio.run(compare(installation, calls=options.calls))
    faults = [fault for one in compared for fault in one.faults()]
    sys.stdout.write("".join(f"{one.said()}\n" for one in compared))
    sys.stdout.write(f"{len(faults)} faults\n" + "".join(f"{one}\n" for one in faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
