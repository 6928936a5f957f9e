"""Seeing and ending sessions over /manage, one's own and those of a store's people."""

from collections.abc import AsyncIterator

import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.permissions import Role
from kasuwa.handover import WorkerSetup
from tests.client import Web, running_web
from tests.contract.cast import hire
from tests.people import code_of, edit, hire_at_both, stock_status
from tests.shop import PASSWORD, Shop, new_developer_key
from tests.ways_in import log_in_at_store, manage, sessions


@pytest.fixture(scope="module")
async def second_worker(worker_setup: WorkerSetup) -> AsyncIterator[Web]:
    async with running_web(worker_setup) as running:
        yield running


@pytest.fixture(scope="session")
async def key(web: Web) -> str:
    return await new_developer_key(web.services)


async def test_a_list_tells_where_each_session_was_opened(web: Web, shop: Shop, key: str) -> None:
    entered = await log_in_at_store(web, key, shop, **{"user-agent": "Till App/2.1 \x01 (Tecno)"})
    token = entered.json()["user"]["sessionId"]
    mine = await sessions(web, shop, session=token)
    [current] = [one for one in mine if one["isCurrent"]]
    assert (current["kind"], current["storeId"], current["storeName"]) == (
        "store",
        str(shop.store_id),
        "Ada's Corner",
    )
    assert (current["device"], current["address"]) == ("Till App/2.1  (Tecno)", "127.0.0.1")
    assert current["openedAt"] <= current["lastSeenAt"] < current["expiresAt"]
    assert sorted(one["kind"] for one in mine) == ["account", "store", "store"]
    assert not any(token in str(one) for one in mine)


async def test_an_ended_session_is_refused_at_once_on_every_worker(
    web: Web, second_worker: Web, shop: Shop, key: str
) -> None:
    token = (await log_in_at_store(web, key, shop)).json()["user"]["sessionId"]
    assert await stock_status(second_worker, shop.store_id, token) == 200
    [other] = [one for one in await sessions(web, shop, session=token) if one["isCurrent"]]
    for expected in (200, 404):
        answer = await manage(web, shop, "DELETE", f"sessions/{other['sessionId']}")
        assert answer.status_code == expected
    for worker in (web, second_worker):
        assert await stock_status(worker, shop.store_id, token) == 401
        # The control: whoever ended it goes on.
        assert await stock_status(worker, shop.store_id, shop.session) == 200


async def test_logging_out_ends_what_the_log_in_opened_and_nothing_else(
    web: Web, shop: Shop, key: str
) -> None:
    entered = (
        await web.post(
            "/cloudapi/app/access/",
            headers={"authorization": f"Bearer {key}"},
            json={"username": shop.email, "password": PASSWORD},
        )
    ).json()
    first, second = entered["tokens"]
    assert await stock_status(web, second["storeId"], second["sessiontoken"]) == 200
    store = f"/manage/{first['storeId']}/sessions/current"
    answer = await web.delete(store, headers={"sessiontoken": first["sessiontoken"]})
    assert answer.json() == {"ended": 3}
    for one in (first, second):
        assert await stock_status(web, one["storeId"], one["sessiontoken"]) == 401
    bearer = {"authorization": f"Bearer {entered['accessToken']}"}
    assert (await web.get("/cloudapi/utils/countries", headers=bearer)).status_code == 401
    assert await stock_status(web, shop.store_id, shop.session) == 200


async def test_all_others_end_but_this_log_in_and_a_switched_one_belongs_to_it(
    web: Web, shop: Shop, key: str
) -> None:
    other = (await log_in_at_store(web, key, shop)).json()["user"]["sessionId"]
    path = f"/cloudapi/user/{shop.user_id}/switchStore/{shop.second_store_id}"
    switched = (await web.get(path, headers={"sessiontoken": shop.session})).json()["sessionId"]
    there = f"/manage/{shop.second_store_id}/sessions"
    ended = await web.delete(there, headers={"sessiontoken": switched})
    assert ended.json() == {"ended": 2}
    assert await stock_status(web, shop.store_id, other) == 401
    left = (await web.get(there, headers={"sessiontoken": switched})).json()["data"]
    assert {one["isCurrent"] for one in left} == {True, False}
    assert (await web.delete(f"{there}/current", headers={"sessiontoken": switched})).json()["ended"] == 2


async def test_an_owner_ends_a_users_sessions_at_this_store_alone(web: Web, shop: Shop) -> None:
    staff, there = await hire_at_both(shop, Role.CASHIER)
    async with shop.owner.transaction() as db:
        spare = await open_session(shop.owner, db, staff.user_id, shop.store_id)
    path = f"users/{staff.user_id}/sessions"
    listed = await sessions(web, shop, path)
    assert {one["storeId"] for one in listed} == {str(shop.store_id)}
    assert len(listed) == 2
    one = f"{path}/{spare.session_id}"
    assert (await manage(web, shop, "DELETE", one)).json() == {"ended": 1}
    assert (await manage(web, shop, "DELETE", one)).status_code == 404
    assert await stock_status(web, shop.store_id, staff.session) == 200
    assert (await manage(web, shop, "DELETE", path)).json() == {"ended": 1}
    assert await stock_status(web, shop.store_id, staff.session) == 401
    assert await stock_status(web, shop.second_store_id, there) == 200
    audit = await manage(web, shop, "GET", "audit", params={"action": "session.end"})
    assert [one["subject"]["id"] for one in audit.json()["data"]] == [str(staff.user_id)] * 2


async def test_nobody_else_sees_or_ends_them(web: Web, shop: Shop, other_shop: Shop) -> None:
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    [mine] = await sessions(web, shop)
    for path in (f"users/{shop.user_id}/sessions", f"users/{shop.user_id}/sessions/{mine['sessionId']}"):
        assert (await manage(web, shop, "DELETE", path, session=manager.session)).status_code == 403
    await edit(web, shop, manager.user_id, extraPermissions=["user.write"])
    # Whoever may manage people still does not manage those above, nor sees where they are.
    for method in ("GET", "DELETE"):
        path = f"users/{shop.user_id}/sessions"
        refused = await manage(web, shop, method, path, session=manager.session)
        assert (refused.status_code, code_of(refused)) == (403, "rank-too-high")
    for session_id in (mine["sessionId"], str(new_id()), "nonsense"):
        refused = await manage(web, shop, "DELETE", f"sessions/{session_id}", session=manager.session)
        assert (refused.status_code, code_of(refused)) == (404, "session-not-found")
        path = f"/manage/{other_shop.store_id}/sessions/{session_id}"
        foreign = await web.delete(path, headers={"sessiontoken": other_shop.session})
        assert (foreign.status_code, code_of(foreign)) == (404, "session-not-found")
    assert await stock_status(web, shop.store_id, shop.session) == 200


# Owners --------------------------------------------------------------------------------------------


async def promote(
    web: Web, shop: Shop, user_id: object, *, session: str = "", password: str
) -> tuple[int, str]:
    path = f"users/{user_id}/make-owner"
    answer = await manage(
        web, shop, "POST", path, session=session or shop.session, json={"password": password}
    )
    return answer.status_code, "" if answer.is_success else code_of(answer)


async def test_a_second_owner_is_made_with_the_password_and_can_take_over(web: Web, shop: Shop) -> None:
    heir = await hire(shop, Role.MANAGER, shop.store_id)
    # Before there is another owner, nothing takes the only one away.
    refused = await edit(web, shop, shop.user_id, role="MANAGER")
    assert (refused.status_code, code_of(refused)) == (409, "last-owner")
    assert await promote(web, shop, heir.user_id, password="guess") == (422, "wrong-password")
    assert await stock_status(web, shop.store_id, heir.session) == 200
    assert await promote(web, shop, heir.user_id, password=PASSWORD) == (200, "")
    assert await promote(web, shop, heir.user_id, password=PASSWORD) == (200, "")
    assert await stock_status(web, shop.store_id, heir.session) == 401
    async with shop.owner.transaction() as db:
        roles = await db.values(
            "SELECT role || ' ' || store_id FROM membership"
            " WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=heir.user_id,
        )
    assert roles == [f"OWNER {shop.store_id}"]
    async with shop.owner.transaction() as db:
        again = await open_session(shop.owner, db, heir.user_id, shop.store_id)
    demoted = await edit(web, shop, shop.user_id, session=again.token, role="MANAGER")
    assert demoted.status_code == 200, demoted.text
    assert await stock_status(web, shop.store_id, shop.session) == 401


async def test_only_an_owner_makes_one_of_somebody_active(web: Web, shop: Shop, other_shop: Shop) -> None:
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    await edit(web, shop, manager.user_id, extraPermissions=["user.write"])
    by_manager = {"session": manager.session, "password": PASSWORD}
    assert await promote(web, shop, cashier.user_id, **by_manager) == (403, "rank-too-high")
    assert await promote(web, shop, manager.user_id, **by_manager) == (403, "rank-too-high")
    await edit(web, shop, cashier.user_id, status="suspended")
    assert await promote(web, shop, cashier.user_id, password=PASSWORD) == (409, "user-not-active")
    for unknown in (other_shop.user_id, new_id(), "nonsense"):
        assert await promote(web, shop, unknown, password=PASSWORD) == (404, "user-not-found")
