"""Calls of /manage about people's ways in, for tests."""

from typing import Any

import httpx

from tests.client import Web
from tests.shop import PASSWORD, Shop


async def manage(
    web: Web, shop: Shop, method: str, path: str, *, session: str | None = None, **options: Any
) -> httpx.Response:
    """One call at the shop's first store, by its owner or with another session."""
    headers = {"sessiontoken": session or shop.session} | options.pop("headers", {})
    return await web.call(method, f"/manage/{shop.store_id}/{path}", headers=headers, **options)


async def sessions(web: Web, shop: Shop, path: str = "sessions", **options: Any) -> list[dict[str, Any]]:
    answer = await manage(web, shop, "GET", path, **options)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def log_in_at_store(
    web: Web,
    key: str,
    shop: Shop,
    *,
    code: str | None = None,
    email: str | None = None,
    password: str = PASSWORD,
    **headers: str,
) -> httpx.Response:
    """authenticateUser, with the password of `tests.shop` unless another is given."""
    given = {"authorization": f"Bearer {key}", **headers}
    if code is not None:
        given["x-second-factor"] = code
    body = {"userToken": email or shop.email, "passToken": password}
    return await web.post("/cloudapi/app/access/login", headers=given, json=body)
