"""People of a store, for tests: adding them over HTTP, and what they may do then."""

from typing import Any
from uuid import UUID

import httpx

from kasuwa.base.ids import new_id
from kasuwa.domain.merchants.actions import join_store, open_session
from kasuwa.domain.permissions import Role
from tests.client import Web
from tests.contract.cast import Staff, hire
from tests.shop import Shop


def users_of(store_id: str | UUID, user_id: str | UUID = "") -> str:
    path = f"/cloudapi/app/{store_id}/admin/users"
    return f"{path}/{user_id}" if user_id else path


def new_person(**changes: Any) -> dict[str, Any]:
    """A body for addUserToStore with an address that nobody else has; a change to None leaves a field out."""
    body = {
        "firstname": "Bola",
        "lastname": "Ade",
        "email": f"bola.{new_id().hex}@shop.example",
        "role": "CASHIER",
    } | changes
    return {name: value for name, value in body.items() if value is not None}


async def add(web: Web, shop: Shop, *, session: str = "", **changes: Any) -> httpx.Response:
    headers = {"sessiontoken": session or shop.session}
    return await web.post(users_of(shop.store_id), headers=headers, json=new_person(**changes))


async def edit(
    web: Web, shop: Shop, user_id: str | UUID, *, session: str = "", **body: Any
) -> httpx.Response:
    headers = {"sessiontoken": session or shop.session}
    return await web.put(users_of(shop.store_id, user_id), headers=headers, json=body)


async def remove(web: Web, shop: Shop, user_id: str | UUID, *, session: str = "") -> httpx.Response:
    headers = {"sessiontoken": session or shop.session}
    return await web.delete(users_of(shop.store_id, user_id), headers=headers)


async def hire_at_both(shop: Shop, role: Role) -> tuple[Staff, str]:
    """Somebody at both locations, and their session at the second one."""
    staff = await hire(shop, role, shop.store_id)
    async with shop.owner.transaction() as db:
        await join_store(db, staff.user_id, shop.second_store_id, role)
        there = await open_session(shop.owner, db, staff.user_id, shop.second_store_id)
    return staff, there.token


async def stock_status(web: Web, store_id: str | UUID, token: str) -> int:
    """The status of a call that every role may do."""
    answer = await web.get(f"/cloudapi/app/{store_id}/stock", headers={"sessiontoken": token})
    return answer.status_code


def code_of(answer: httpx.Response) -> str:
    """Which Problem the answer is."""
    found: str = answer.json()["type"].partition("#")[2]
    return found
