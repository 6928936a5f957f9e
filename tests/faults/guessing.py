"""Guessing what is short: codes of every kind, a PIN at the till and a second factor.

Run: python -m tests.faults.guessing --guesses 10000
With --broken forget-tries the secrets must be found.
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import httpx
from msgspec import Struct

from kasuwa.base.tries import Tries
from tests.accounts import registration
from tests.faults.by_hand import read_options
from tests.faults.enumeration import WITHOUT_WAITS
from tests.faults.installation import Installation, new_folder
from tests.second_factors import code_now
from tests.shop import PASSWORD, Shop, new_developer_key, new_shop

# How many come at a time, after the tries that are free.
_AT_ONCE = 20
_FREE = 5
# A short run at the till would be a matter of luck: whether its right PIN comes when a wait has just ended.
_SHORT = 1000
_PIN = "4829"
QUOTAS = {name: value for name, value in WITHOUT_WAITS.items() if name != "KASUWA_LOGIN_TRIES"}


# A request that must be answered 200: its path, headers, method and fields; its answer.
_Ask: TypeAlias = Callable[..., Awaitable[dict[str, Any]]]


class Guessed(Struct, frozen=True, kw_only=True):
    """What came of the guesses at one door: those that were let in, and those that only had to wait."""

    door: str
    guesses: int
    hits: int
    refused_unread: int

    def said(self) -> str:
        return f"{self.door}: {self.hits} of {self.guesses} guesses got in, {self.refused_unread} had to wait"


class _Door(Struct, frozen=True, kw_only=True):
    """Where a guess goes: `call` makes the request's options of it.

    `waits` is what makes guesses wait, where something does; `now` is the right one where time changes it.
    """

    name: str
    call: Callable[[str], dict[str, Any]]
    secret: str
    waits: Tries | None = None
    now: Callable[[], str] | None = None
    is_in: Callable[[httpx.Response], bool] = lambda answer: answer.is_success


def _posted(path: str, headers: dict[str, str], body: Callable[[str], dict[str, Any]]) -> Any:
    return lambda secret: {"method": "POST", "url": path, "headers": headers, "json": body(secret)}


def _new_password(username: str) -> Callable[[str], dict[str, Any]]:
    return lambda code: {"username": username, "code": code, "newPassword": "nine brown kettles"}


async def guess_everywhere(installation: Installation, *, guesses: int) -> list[Guessed]:
    """So many guesses at each door, the right one among them, but not among those that are free."""
    with installation.serving() as server:
        async with installation.services() as services:
            # The owner of the second one is who has forgotten their password.
            shops = await new_shop(services), await new_shop(services)
            key = await new_developer_key(services)
        async with installation.client(base_url=server.url, timeout=60) as client:
            return [
                await _guess_at(installation, client, door, guesses)
                async for door in _doors(installation, client, *shops, {"authorization": f"Bearer {key}"})
            ]


async def _doors(
    installation: Installation, client: httpx.AsyncClient, shop: Shop, other: Shop, app: dict[str, str]
) -> AsyncIterator[_Door]:
    """Each with a secret made just now."""

    async def ask(path: str, headers: dict[str, str], method: str = "POST", **body: Any) -> dict[str, Any]:
        answer = await client.request(method, path, headers=headers, json=body)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    for doors in (
        _users_doors(installation, ask, other, app),
        _customers_doors(installation, ask, shop),
        _tills_doors(ask, shop),
        _later_doors(installation, ask, shop, app),
    ):
        async for door in doors:
            yield door


async def _users_doors(
    installation: Installation, ask: _Ask, other: Shop, app: dict[str, str]
) -> AsyncIterator[_Door]:
    access, owner = "/cloudapi/app/access/", registration()
    account = await ask(f"{access}register", app, **owner)
    proof = {"accountId": account["accountId"], "channel": "email"}
    yield _Door(
        name="a user's code",
        call=_posted(f"{access}verify", app, lambda code: {**proof, "code": code}),
        secret=await _mailed(installation, owner["email"], "verify-email"),
    )
    await ask(f"{access}resetpassword", app, username=other.email, channel="email")
    yield _Door(
        name="a user's reset",
        call=_posted(f"{access}resetpassword", app, _new_password(other.email)),
        secret=await _mailed(installation, other.email, "reset-password"),
    )


async def _customers_doors(installation: Installation, ask: _Ask, shop: Shop) -> AsyncIterator[_Door]:
    customers, buyer = f"/cloudapi/crm/{shop.store_id}/customers/", registration()["email"]
    session = {"sessiontoken": shop.session}
    await ask(
        f"{customers}register", session, email=buyer, firstname="Ada", lastname="Obi", password=PASSWORD
    )
    yield _Door(
        name="a customer's code",
        call=_posted(f"{customers}verifyemail", session, lambda code: {"email": buyer, "code": code}),
        secret=await _mailed(installation, buyer, "customer-verify-email"),
    )
    await ask(f"{customers}resetpassword", session, username=buyer, channel="email")
    yield _Door(
        name="a customer's reset",
        call=_posted(f"{customers}resetpassword", session, _new_password(buyer)),
        secret=await _mailed(installation, buyer, "reset-password"),
    )


async def _tills_doors(ask: _Ask, shop: Shop) -> AsyncIterator[_Door]:
    manage, session = f"/manage/{shop.store_id}/", {"sessiontoken": shop.session}
    await ask(f"{manage}pin", session, "PUT", pin=_PIN, password=PASSWORD)
    till = await ask(f"{manage}till", session)
    yield _Door(
        name="a PIN at the till",
        call=_posted(
            f"{manage}till/enter",
            {"tilltoken": till["tillToken"]},
            lambda pin: {"userId": str(shop.user_id), "pin": pin},
        ),
        secret=_PIN,
        waits=Tries("pin", f"{shop.user_id}\n{shop.store_id}", _FREE),
    )


async def _later_doors(
    installation: Installation, ask: _Ask, shop: Shop, app: dict[str, str]
) -> AsyncIterator[_Door]:
    session, address, invited = {"sessiontoken": shop.session}, *(registration()["email"] for _ in range(2))
    asked = await ask(f"/cloudapi/utils/verify/email?email={address}", app, "GET")
    tried = {"email": address, "reference": asked["reference"]}
    yield _Door(
        name="an address",
        call=lambda code: {
            "method": "GET",
            "url": "/cloudapi/utils/verify/email",
            "headers": app,
            "params": {**tried, "code": code},
        },
        secret=await _mailed(installation, address, "check-email"),
        is_in=lambda answer: answer.is_success and answer.json()["verified"] is True,
    )
    await ask(
        f"/cloudapi/app/{shop.store_id}/admin/users",
        session,
        firstname="Bola",
        lastname="Ade",
        username=invited.partition("@")[0],
        email=invited,
        role="CASHIER",
        storeIds=[str(shop.store_id)],
    )
    yield _Door(
        name="an invitation",
        call=_posted("/cloudapi/app/access/resetpassword", app, _new_password(invited)),
        secret=await _mailed(installation, invited, "invitation-email"),
    )
    factor = f"/manage/{shop.store_id}/second-factor"
    enrolled = await ask(factor, session, password=PASSWORD)
    key = enrolled["secret"]
    await ask(f"{factor}/confirm", session, code=code_now(key, steps=-1))
    yield _Door(
        name="a second factor",
        call=lambda code: {
            "method": "POST",
            "url": "/cloudapi/app/access/",
            "headers": {**app, "x-second-factor": code},
            "json": {"username": shop.email, "password": PASSWORD, "platformId": "till"},
        },
        secret=code_now(key),
        waits=Tries("second-factor", f"{shop.user_id}\n127.0.0.1", _FREE),
        now=lambda: code_now(key),
    )


async def _mailed(installation: Installation, address: str, template: str) -> str:
    """The code that has left for the address, once it has."""
    outbox = installation.data / "outbox.jsonl"
    for _ in range(600):
        lines = outbox.read_text("utf-8").splitlines() if outbox.exists() else []
        for line in map(json.loads, lines):
            if (line["to"], line["template"]) == (address, template):
                code: str = line["code"]
                return code
        await asyncio.sleep(0.1)
    raise AssertionError(f"no {template} has come")


async def _guess_at(
    installation: Installation, client: httpx.AsyncClient, door: _Door, guesses: int
) -> Guessed:
    answers: list[httpx.Response] = []
    doorway = asyncio.Semaphore(_AT_ONCE)

    async def guess(secret: str) -> None:
        async with doorway:
            if secret == door.secret and door.now is not None:
                secret = door.now()
            answers.append(await client.request(**door.call(secret)))

    space = 10 ** len(door.secret)
    wrong = [f"{(int(door.secret) + n) % space:0{len(door.secret)}d}" for n in range(1, guesses)]
    later = [*wrong[_FREE:], door.secret]
    random.shuffle(later)
    for one in wrong[:_FREE]:
        await guess(one)
    if door.waits is not None and guesses < _SHORT:
        async with installation.as_owner() as owner:
            await owner.execute(
                "UPDATE rate_bucket SET level = level + 8 WHERE bucket = $1", door.waits.bucket
            )
    await asyncio.gather(*(guess(one) for one in later))
    assert len(answers) == guesses
    return Guessed(
        door=door.name,
        guesses=guesses,
        hits=sum(map(door.is_in, answers)),
        refused_unread=sum(answer.status_code == 429 for answer in answers),
    )


def main() -> None:
    options = read_options(__doc__, broken="forget-tries", guesses=10_000)
    with new_folder() as folder:
        installation = Installation(folder / "data", broken=options.broken, **QUOTAS)
        guessed = asyncio.run(guess_everywhere(installation, guesses=options.guesses))
    sys.stdout.write("".join(f"{one.said()}\n" for one in guessed))
    hits = sum(one.hits for one in guessed)
    sys.stdout.write(f"{hits} successes\n")
    sys.exit(1 if hits else 0)


if __name__ == "__main__":
    main()
