"""Whatever ends a proof ends it on every worker from the next request on: no worker remembers one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from kasuwa.api import store_sessions
from kasuwa.api.bigcommerce import dialect as bigcommerce
from kasuwa.api.shoplazza import dialect as shoplazza
from kasuwa.api.storeharmony import dialect as storeharmony
from kasuwa.base.context import Context
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.merchants.switching import switch_merchant, switch_store
from kasuwa.domain.permissions import Role
from kasuwa.handover import WorkerSetup
from tests.client import Web, running_web
from tests.contract.cast import hire
from tests.people import edit, remove, stock_status
from tests.shop import PASSWORD, Shop
from tests.ways_in import manage

Ask = Callable[[Web], Awaitable[int]]
End = Callable[[], Awaitable[object]]
Way = Callable[[Web, Shop], Awaitable[tuple[Ask, End, int]]]


@pytest.fixture(scope="module")
async def second_worker(worker_setup: WorkerSetup) -> AsyncIterator[Web]:
    async with running_web(worker_setup) as running:
        yield running


async def suspending_somebody(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    staff = await hire(shop, Role.CASHIER, shop.store_id)

    async def end() -> None:
        assert (await edit(web, shop, staff.user_id, status="suspended")).status_code == 200

    return _session(shop, staff.session), end, 401


async def removing_somebody(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    staff = await hire(shop, Role.CASHIER, shop.store_id)

    async def end() -> None:
        assert (await remove(web, shop, staff.user_id)).status_code == 200

    return _session(shop, staff.session), end, 401


async def lowering_a_role(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    staff = await hire(shop, Role.MANAGER, shop.store_id)
    path = f"/manage/{shop.store_id}/customers"

    async def ask(worker: Web) -> int:
        return (await worker.get(path, headers={"sessiontoken": staff.session})).status_code

    async def end() -> None:
        assert (await edit(web, shop, staff.user_id, role="CASHIER")).status_code == 200

    return ask, end, 401


async def another_password(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    async with shop.owner.transaction() as db:
        other = (await open_session(shop.owner, db, staff.user_id, shop.store_id)).token

    async def end() -> None:
        answer = await web.post(
            f"/cloudapi/user/{staff.user_id}/changePassword",
            headers={"sessiontoken": staff.session},
            json={"oldPassword": PASSWORD, "newPassword": "nine brown kettles"},
        )
        assert answer.status_code == 200, answer.text

    return _session(shop, other), end, 401


async def suspending_the_merchant(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    ask = _session(shop, shop.session)
    return ask, lambda: switch_merchant(_operator(shop), shop.merchant_id, "suspended"), 401


async def disabling_the_store(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    ask = _session(shop, shop.session)
    return ask, lambda: switch_store(_operator(shop), shop.store_id, "disabled"), 401


async def disabling_the_store_of_a_token(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    ask = _token(shop, shop.token)
    return ask, lambda: switch_store(_operator(shop), shop.store_id, "disabled"), 403


async def revoking_a_token(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    body = {"name": "feed", "scopes": ["read_product"]}
    made = (await manage(web, shop, "POST", "tokens", json=body)).json()
    return _token(shop, made["accessToken"]), _gone(web, shop, f"tokens/{made['tokenId']}"), 401


async def revoking_a_token_of_shoplazza(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    body = {"name": "feed", "scopes": ["read_product"]}
    made = (await manage(web, shop, "POST", "tokens", json=body)).json()

    async def ask(worker: Web) -> int:
        headers = {"access-token": made["accessToken"]}
        return (await worker.get("/openapi/2022-01/products", headers=headers)).status_code

    return ask, _gone(web, shop, f"tokens/{made['tokenId']}"), 401


async def revoking_a_key(web: Web, shop: Shop) -> tuple[Ask, End, int]:
    body = {"name": "kiosk", "scopes": ["read_reference"]}
    made = (await manage(web, shop, "POST", "keys", json=body)).json()

    async def ask(worker: Web) -> int:
        headers = {"x-developer-key": made["key"]}
        return (await worker.get("/cloudapi/utils/countries", headers=headers)).status_code

    return ask, _gone(web, shop, f"keys/{made['keyId']}"), 401


WAYS: tuple[Way, ...] = (
    suspending_somebody,
    removing_somebody,
    lowering_a_role,
    another_password,
    suspending_the_merchant,
    disabling_the_store,
    disabling_the_store_of_a_token,
    revoking_a_token,
    revoking_a_token_of_shoplazza,
    revoking_a_key,
)


async def answers(way: Way, web: Web, second_worker: Web, shop: Shop) -> tuple[set[int], set[int], int]:
    """What both workers answer before the end and after it, and what they should answer then."""
    ask, end, refusal = await way(web, shop)
    before = {await ask(worker) for worker in (web, second_worker)}
    await end()
    return before, {await ask(worker) for worker in (second_worker, web)}, refusal


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_it_holds_on_both_workers_from_the_next_request_on(
    web: Web, second_worker: Web, shop: Shop, way: Way
) -> None:
    before, after, refusal = await answers(way, web, second_worker, shop)
    assert (before, after) == ({200}, {refusal})


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_worker_that_remembers_proofs_is_found(
    web: Web, second_worker: Web, shop: Shop, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: each worker looks a proof up once, as one with a cache would."""
    for module, name in (
        (store_sessions, "resolve_session"),
        (bigcommerce, "resolve_access_token"),
        (shoplazza, "resolve_access_token"),
        (storeharmony, "resolve_developer_key"),
    ):
        monkeypatch.setattr(module, name, _remembered(getattr(module, name)))
    before, after, _ = await answers(way, web, second_worker, shop)
    assert (before, after) == ({200}, {200})


def _remembered(resolve: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    known: dict[tuple[object, str], Any] = {}

    async def look(pool: object, proof: str, **options: Any) -> Any:
        if (pool, proof) not in known:
            known[pool, proof] = await resolve(pool, proof, **options)
        return known[pool, proof]

    return look


def _session(shop: Shop, token: str) -> Ask:
    return lambda worker: stock_status(worker, shop.store_id, token)


def _token(shop: Shop, token: str) -> Ask:
    async def ask(worker: Web) -> int:
        path = f"/stores/{shop.store_hash}/v3/catalog/products"
        return (await worker.get(path, headers={"x-auth-token": token})).status_code

    return ask


def _gone(web: Web, shop: Shop, path: str) -> End:
    async def end() -> None:
        assert (await manage(web, shop, "DELETE", path)).status_code == 200

    return end


def _operator(shop: Shop) -> Context:
    return Context(shop.owner.services, request_id="operator")
