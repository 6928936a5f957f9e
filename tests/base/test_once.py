"""Idempotency-Key: one key, one effect, and the same answer again."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterable
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from kasuwa.base import once as keys
from kasuwa.base.context import Services
from kasuwa.base.once import KeptAnswer, KeyReused, Once, StillRunning, packed
from kasuwa.base.secrets import Sealer, new_key
from kasuwa.database import DatabaseUrls
from kasuwa.handover import WorkerSetup
from tests.base.database import connected, superuser_url
from tests.base.keyed_process import Order
from tests.client import Web
from tests.locks import until_somebody_waits
from tests.shop import Shop

TYPE = "application/problem+json"


def a_product(**changed: Any) -> dict[str, Any]:
    return {"name": "Malt drink", "prices": {"sellingPrice": 500}, "quantity": 3} | changed


def path(shop: Shop) -> str:
    return f"/cloudapi/app/{shop.store_id}/stock"


def headers(shop: Shop, key: str) -> dict[str, str]:
    return {"sessiontoken": shop.session, "idempotency-key": key}


async def create(web: Web, shop: Shop, key: str, **changed: Any) -> httpx.Response:
    return await web.post(path(shop), headers=headers(shop, key), json=a_product(**changed))


async def at_once(requests: Iterable[Coroutine[Any, Any, httpx.Response]]) -> list[httpx.Response]:
    """25 at a time: who comes last must not wait longer than a request may, on a slow machine either."""
    turn = asyncio.Semaphore(25)

    async def wait_and_ask(request: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        async with turn:
            return await request

    return await asyncio.gather(*map(wait_and_ask, requests))


async def products(shop: Shop) -> int:
    async with shop.owner.reading() as db:
        return int(await db.value("SELECT count(*) FROM product"))


def caller_of(shop: Shop) -> str:
    return f"storeharmony/user/{shop.merchant_id}/{shop.store_id}/{shop.user_id}"


def a_once(services: Services, *, caller: str = "", key: str = "a-key-of-its-own", **other: Any) -> Once:
    return Once(services.sealer, caller=caller, key=key, request=other.pop("request", b""), **other)


# Over HTTP ---------------------------------------------------------------------------------------


async def test_a_hundred_requests_with_one_key_have_one_effect_and_one_answer(web: Web, shop: Shop) -> None:
    answers = await at_once(create(web, shop, "the-same-key") for _ in range(100))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert await products(shop) == 1


async def test_without_a_key_ten_requests_have_ten_effects(web: Web, shop: Shop) -> None:
    """The control: it is the key that does it."""
    send = {"sessiontoken": shop.session}
    answers = await asyncio.gather(*(web.post(path(shop), headers=send, json=a_product()) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert await products(shop) == 10


async def test_the_same_key_with_another_body_is_409(web: Web, shop: Shop) -> None:
    assert (await create(web, shop, "key-of-two-bodies")).status_code == 200
    other = await create(web, shop, "key-of-two-bodies", name="Other")
    assert other.status_code == 409
    assert other.headers["content-type"] == TYPE
    assert other.json()["type"].endswith("#idempotency-key-reused")
    assert await products(shop) == 1


async def test_the_same_key_of_somebody_else_is_another_key(web: Web, shop: Shop, other_shop: Shop) -> None:
    ours, theirs = (
        await create(web, shop, "key-of-two"),
        await create(web, other_shop, "key-of-two", name="X"),
    )
    assert (ours.status_code, theirs.status_code) == (200, 200)
    assert ours.json()["itemId"] != theirs.json()["itemId"]
    assert (await products(shop), await products(other_shop)) == (1, 1)


async def test_a_till_that_logged_in_again_may_repeat_what_it_sent(web: Web, shop: Shop) -> None:
    from kasuwa.domain.merchants.actions import open_session

    first = await create(web, shop, "key-of-a-till")
    async with shop.owner.transaction() as db:
        session = await open_session(shop.owner, db, shop.user_id, shop.store_id)
    again = await create(web, msgspec.structs.replace(shop, session=session.token), "key-of-a-till")
    assert again.content == first.content
    assert await products(shop) == 1


async def test_a_refusal_keeps_nothing_and_the_same_key_works_later(web: Web, shop: Shop) -> None:
    taken = (await create(web, shop, "key-of-the-first", sku="S-1")).json()
    assert (await create(web, shop, "key-refused", sku="S-1")).status_code == 409
    send = {"sessiontoken": shop.session}
    await web.put(f"{path(shop)}/{taken['itemId']}", headers=send, json={"sku": "S-2"})
    again = await create(web, shop, "key-refused", sku="S-1")
    assert again.status_code == 200, again.text
    assert again.json()["sku"] == "S-1"


@pytest.mark.parametrize("key", ["short", "x" * 129, "with space in it"])
async def test_a_key_that_is_none_is_refused(web: Web, shop: Shop, key: str) -> None:
    answer = await create(web, shop, key)
    assert answer.status_code in (400, 422)
    assert await products(shop) == 0


async def test_while_another_process_holds_the_key_it_is_409_with_retry_after(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "WAIT_SECONDS", 0.3)
    holder = a_once(web.services, caller=caller_of(shop), key="key-held-elsewhere")
    async with web.services.pool.transaction() as db:
        await holder.claim(db)
        waiting = await create(web, shop, "key-held-elsewhere")
        await db.call("ROLLBACK; BEGIN")
    assert (waiting.status_code, waiting.headers["retry-after"]) == (409, "5")
    assert waiting.json()["type"].endswith("#still-running")
    assert (await create(web, shop, "key-held-elsewhere")).status_code == 200


async def test_while_this_process_holds_the_key_it_is_409_with_retry_after(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "WAIT_SECONDS", 0.3)
    assert (await create(web, shop, "key-before")).status_code == 200
    async with web.services.pool.transaction(shop.merchant_id) as db:
        await db.value("SELECT 1 FROM merchant_counter WHERE name = 'product' FOR UPDATE")
        first = asyncio.create_task(create(web, shop, "key-held-here"))
        await until_somebody_waits(db)
        second = await create(web, shop, "key-held-here")
    assert (second.status_code, second.headers["retry-after"]) == (409, "5")
    assert (await first).status_code == 200
    assert (await create(web, shop, "key-held-here")).content == (await first).content


async def test_those_who_wait_for_a_key_hold_no_connections(web: Web, shop: Shop, other_shop: Shop) -> None:
    """Else one impatient caller would take every connection of the process."""
    assert (await create(web, shop, "key-before")).status_code == 200
    async with web.services.pool.transaction(shop.merchant_id) as db:
        await db.value("SELECT 1 FROM merchant_counter WHERE name = 'product' FOR UPDATE")
        waiting = [asyncio.create_task(create(web, shop, "key-of-fifty")) for _ in range(50)]
        await asyncio.sleep(0.2)
        assert (await create(web, other_shop, "key-of-another")).status_code == 200
    answers = await asyncio.gather(*waiting)
    assert len({answer.content for answer in answers}) == 1


async def test_the_kept_answer_does_not_give_itself_away(
    web: Web, shop: Shop, database_urls: DatabaseUrls
) -> None:
    canary = f"canary {uuid4()}"
    await create(web, shop, "key-of-the-canary", name=canary)
    async with connected(superuser_url(database_urls)) as admin:
        rows = await admin.fetch("SELECT scope_hash, fingerprint, sealed FROM once")
    stored = b"".join(b"".join(row.values()) for row in rows)
    assert canary.encode() not in stored
    assert b"key-of-the-canary" not in stored
    once = a_once(web.services, caller=caller_of(shop), key="key-of-the-canary")
    opened = [row for row in rows if row["scope_hash"] == once._scope_hash]
    assert canary.encode() in once._sealer.open(opened[0]["sealed"])


# Crashes -----------------------------------------------------------------------------------------


async def crash_and_repeat(web: Web, setup: WorkerSetup, shop: Shop, dies: str) -> tuple[int, int]:
    """Kill a process amid a keyed request, repeat it here: how many effects, and the answer's status."""
    key = f"key-of-the-crash-{dies}"
    order = Order(setup, path(shop), headers(shop, key), a_product(), dies)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.base.keyed_process", stdin=asyncio.subprocess.PIPE
    )
    await child.communicate(msgspec.json.encode(order))
    assert child.returncode == -signal.SIGKILL
    assert await products(shop) == (0 if dies == "before" else 1)
    answer = await create(web, shop, key)
    return await products(shop), answer.status_code


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_after_a_crash_the_repeat_has_one_effect_and_an_answer(
    web: Web, worker_setup: WorkerSetup, shop: Shop, dies: str
) -> None:
    assert await crash_and_repeat(web, worker_setup, shop, dies) == (1, 200)


async def test_a_build_with_two_commits_loses_the_answer_in_a_crash_between(
    web: Web, worker_setup: WorkerSetup, shop: Shop
) -> None:
    """The control: there the caller never learns what became of the request."""
    assert await crash_and_repeat(web, worker_setup, shop, "between") == (1, 409)


# The key itself ----------------------------------------------------------------------------------


async def keep(services: Services, once: Once, body: bytes = b"kept") -> None:
    async with services.pool.transaction() as db:
        await once.claim(db)
        await once.keep(db, packed(KeptAnswer(200, {"x": "y"}, body)))


async def test_a_key_is_forgotten_after_its_time(services: Services, database_urls: DatabaseUrls) -> None:
    caller = str(uuid4())
    once = a_once(services, caller=caller, kept_seconds=0.2)
    await keep(services, once)
    assert await once.find(services.pool) == KeptAnswer(200, {"x": "y"}, b"kept")
    await asyncio.sleep(0.25)
    assert await once.find(services.pool) is None
    await keep(services, a_once(services, caller=caller, kept_seconds=0.0), b"again")
    await services.jobs.sweep()
    async with connected(superuser_url(database_urls)) as admin:
        assert await admin.fetchval("SELECT count(*) FROM once WHERE expires_at <= now()") == 0


async def test_another_request_under_a_key_that_was_taken_meanwhile_is_refused(services: Services) -> None:
    caller = str(uuid4())
    await keep(services, a_once(services, caller=caller))
    other = a_once(services, caller=caller, request=b"other")
    with pytest.raises(KeyReused):
        await other.find(services.pool)
    with pytest.raises(KeyReused):
        await keep(services, other)


async def test_a_claim_without_an_answer_is_still_running(services: Services) -> None:
    """No build of ours commits one; whoever does must not make its caller repeat the effect."""
    caller = str(uuid4())
    async with services.pool.transaction() as db:
        await a_once(services, caller=caller).claim(db)
    assert await a_once(services, caller=caller).find(services.pool) is None
    with pytest.raises(StillRunning):
        await keep(services, a_once(services, caller=caller))


async def test_an_answer_is_read_after_the_sealing_key_was_changed(services: Services) -> None:
    old, new = new_key(), new_key()
    caller = str(uuid4())
    await keep(services, Once(Sealer([old]), caller=caller, key="k", request=b""))
    rotated = Once(Sealer([new, old]), caller=caller, key="k", request=b"")
    kept = await rotated.find(services.pool)
    assert kept is not None
    assert kept.body == b"kept"
