"""Guessing, and forged addresses: who gets in, who has to wait, and where links lead."""

import re
from collections.abc import AsyncIterator

import msgspec
import pytest

from kasuwa.base.tries import Tries
from kasuwa.handover import WorkerSetup
from tests.accounts import Account, confirm, log_in, open_account
from tests.client import Web, running_web
from tests.conftest import SchemaOwner

# Guessing -----------------------------------------------------------------------------------------


def calling_from(web: Web, address: str) -> Web:
    """The same application for somebody at another address."""
    return Web(web.app, web.services, address=address)


async def test_guesses_have_to_wait_but_the_owner_gets_in_from_elsewhere(
    web: Web,
    worker_setup: WorkerSetup,
    schema_owner: SchemaOwner,
    app_headers: dict[str, str],
    ada: Account,
) -> None:
    name, place = ada.body["email"], "203.0.113.7"
    bucket = Tries("login", f"{name}\n{place}", 5).bucket
    async with running_web(worker_setup) as second:
        guesser, elsewhere = calling_from(web, place), calling_from(web, "198.51.100.9")
        same_place = calling_from(second, place)
        for one in (guesser, same_place, guesser, same_place, guesser):
            assert (await log_in(one, app_headers, name, "guess")).status_code == 401
        # As after four more, so that the wait outlasts this test.
        await schema_owner.execute(
            "UPDATE rate_bucket SET level = level + 4, since = clock_timestamp() WHERE bucket = $1", bucket
        )
        for one in (guesser, same_place):
            # Not even with the right password, on any worker, whatever headers claim about the address.
            claimed = app_headers | {"x-forwarded-for": "192.0.2.44"}
            refused = await log_in(one, claimed, name)
            assert (refused.status_code, refused.json()["type"]) == (429, "/docs/problems#too-many-requests")
            assert 0 < int(refused.headers["retry-after"]) <= 16
        assert (await log_in(elsewhere, app_headers, name)).status_code == 200
        await schema_owner.execute(
            "UPDATE rate_bucket SET since = since - interval '1 hour' WHERE bucket = $1", bucket
        )
        assert (await log_in(guesser, app_headers, name)).status_code == 200
        # The right password clears the count: five more are free.
        for _ in range(5):
            assert (await log_in(guesser, app_headers, name, "guess")).status_code == 401


# Links --------------------------------------------------------------------------------------------


@pytest.fixture
async def public_web(worker_setup: WorkerSetup) -> AsyncIterator[Web]:
    """The application of an installation that knows its public address."""
    settings = msgspec.structs.replace(worker_setup.settings, public_url="https://shop.example")
    async with running_web(msgspec.structs.replace(worker_setup, settings=settings)) as web:
        yield web


HOSTILE = [
    "evil.example",
    "shop.example.evil.example",
    "evil.example:443",
    "shop.example@evil.example",
    "[::1",
    "",
]


async def test_every_link_begins_with_the_public_address_whatever_host_is_claimed(
    public_web: Web, app_headers: dict[str, str]
) -> None:
    for host in HOSTILE:
        headers = app_headers | {"host": host, "x-forwarded-host": "evil.example"}
        account = await open_account(public_web, headers)
        links = re.findall(r"\S+://\S+", account.mail["text"])
        assert [link.partition("?")[0] for link in links] == ["https://shop.example/verify"]
        await confirm(public_web, headers, account)
        entered = (await log_in(public_web, headers, account.body["email"])).json()
        assert entered["webRedirectUrl"].startswith("https://shop.example/enter?token=")


async def test_without_a_public_address_no_foreign_host_is_repeated(
    web: Web, app_headers: dict[str, str]
) -> None:
    for host in HOSTILE:
        headers = app_headers | {"host": host}
        account = await open_account(web, headers)
        assert "://" not in account.mail["text"]
        await confirm(web, headers, account)
        assert "webRedirectUrl" not in (await log_in(web, headers, account.body["email"])).json()
    # The control: a host of our own is repeated, so the check above can fail.
    entered = (await log_in(web, app_headers | {"host": "localhost:8000"}, account.body["email"])).json()
    assert entered["webRedirectUrl"].startswith("http://localhost:8000/enter?token=")
