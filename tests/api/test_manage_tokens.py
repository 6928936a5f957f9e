"""Tokens of the BigCommerce and Shoplazza APIs over /manage: made, listed, rotated and ended by an owner."""

from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.permissions import Role
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.people import code_of, edit
from tests.shop import Shop
from tests.ways_in import manage

Json = dict[str, Any]


async def make(web: Web, shop: Shop, *scopes: str) -> Json:
    body = {"name": "feed", "scopes": list(scopes) or ["read_product"]}
    answer = await manage(web, shop, "POST", "tokens", json=body)
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    return made


async def listed(web: Web, shop: Shop) -> list[Json]:
    found: list[Json] = (await manage(web, shop, "GET", "tokens")).json()["data"]
    return found


async def status(web: Web, shop: Shop, token: str) -> int:
    path = f"/stores/{shop.store_hash}/v3/catalog/products"
    return (await web.get(path, headers={"x-auth-token": token})).status_code


async def rotate(web: Web, shop: Shop, token_id: str, minutes: int) -> httpx.Response:
    return await manage(web, shop, "POST", f"tokens/{token_id}/rotate", json={"overlapMinutes": minutes})


async def test_a_token_works_in_both_apis_as_far_as_its_scopes_and_is_shown_once(
    web: Web, shop: Shop
) -> None:
    made = await make(web, shop)
    assert (made["storeHash"], made["scopes"]) == (shop.store_hash, ["read_product"])
    assert await status(web, shop, made["accessToken"]) == 200
    shoplazza = {"access-token": made["accessToken"]}
    assert (await web.get("/openapi/2022-01/products", headers=shoplazza)).status_code == 200
    product = {"name": "Mat", "type": "physical", "weight": 1, "price": 5}
    path = f"/stores/{shop.store_hash}/v3/catalog/products"
    refused = await web.post(path, headers={"x-auth-token": made["accessToken"]}, json=product)
    assert refused.status_code == 403
    found = await listed(web, shop)
    assert [one["tokenId"] for one in found if one["name"] == "feed"] == [made["tokenId"]]
    assert made["accessToken"] not in str(found)


async def test_a_rotated_token_works_for_the_overlap_and_then_ends(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    old = await make(web, shop, "read_product", "write_product")
    rotated = await rotate(web, shop, old["tokenId"], 10)
    new: Json = rotated.json()
    assert new["scopes"] == ["read_product", "write_product"]
    for token in (old, new):
        assert await status(web, shop, token["accessToken"]) == 200
    ends = {one["tokenId"]: one["endsAt"] for one in await listed(web, shop)}
    assert ends[old["tokenId"]] is not None
    assert ends[new["tokenId"]] is None
    again = await rotate(web, shop, old["tokenId"], 1440)
    assert (again.status_code, code_of(again)) == (409, "token-ending")
    # As if eleven minutes had passed; not before the tenth is over.
    for minutes, expected in ((9, 200), (2, 401)):
        await schema_owner.execute(
            "UPDATE access_token SET revoked_at = revoked_at - make_interval(mins => $1) WHERE token_id = $2",
            minutes,
            old["tokenId"],
        )
        assert await status(web, shop, old["accessToken"]) == expected
    assert await status(web, shop, new["accessToken"]) == 200
    assert old["tokenId"] not in {one["tokenId"] for one in await listed(web, shop)}
    at_once = (await rotate(web, shop, new["tokenId"], 0)).json()
    assert await status(web, shop, new["accessToken"]) == 401
    assert await status(web, shop, at_once["accessToken"]) == 200


@pytest.mark.parametrize("is_ending", [False, True])
async def test_a_revoked_token_ends_at_once_also_while_it_is_ending(
    web: Web, shop: Shop, is_ending: bool
) -> None:
    made = await make(web, shop)
    if is_ending:
        await rotate(web, shop, made["tokenId"], 60)
    assert await status(web, shop, made["accessToken"]) == 200
    answer = await manage(web, shop, "DELETE", f"tokens/{made['tokenId']}")
    assert answer.json()["tokenId"] == made["tokenId"]
    assert await status(web, shop, made["accessToken"]) == 401
    for refused in (
        await manage(web, shop, "DELETE", f"tokens/{made['tokenId']}"),
        await rotate(web, shop, made["tokenId"], 5),
    ):
        assert (refused.status_code, code_of(refused)) == (404, "token-not-found")


async def test_only_an_owner_has_them_and_only_those_of_that_store(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    made = await make(web, shop)
    manager = await hire(shop, Role.MANAGER, shop.store_id)
    assert (await manage(web, shop, "GET", "tokens", session=manager.session)).status_code == 403
    path = f"/cloudapi/user/{shop.user_id}/switchStore/{shop.second_store_id}"
    there = (await web.get(path, headers={"sessiontoken": shop.session})).json()["sessionId"]
    at_second = f"/manage/{shop.second_store_id}/tokens"
    assert (await web.get(at_second, headers={"sessiontoken": there})).json() == {"data": []}
    elsewhere = f"/manage/{other_shop.store_id}/tokens"
    for base, session in ((at_second, there), (elsewhere, other_shop.session)):
        for token_id in (made["tokenId"], str(new_id()), "nonsense"):
            refused = await web.delete(f"{base}/{token_id}", headers={"sessiontoken": session})
            assert (refused.status_code, code_of(refused)) == (404, "token-not-found")
    assert await status(web, shop, made["accessToken"]) == 200


async def test_nobody_gives_an_app_more_than_they_have(web: Web, shop: Shop) -> None:
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    await edit(web, shop, cashier.user_id, extraPermissions=["token.write"])
    for scope in ("read_product", "write_product"):
        body = {"name": "feed", "scopes": [scope]}
        refused = await manage(web, shop, "POST", "tokens", session=cashier.session, json=body)
        # A cashier sees no costs, and a token with either scope does.
        assert refused.status_code == 403
        assert "stock.cost" in refused.json()["detail"]
    await edit(web, shop, cashier.user_id, extraPermissions=["token.write", "stock.cost"])
    body = {"name": "feed", "scopes": ["read_product"]}
    made = await manage(web, shop, "POST", "tokens", session=cashier.session, json=body)
    assert made.status_code == 200, made.text


async def test_a_store_has_a_hundred_at_most(web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kasuwa.domain.merchants.tokens.MOST_TOKENS", len(await listed(web, shop)) + 1)
    made = await make(web, shop)
    body = {"name": "feed", "scopes": ["read_product"]}
    refused = await manage(web, shop, "POST", "tokens", json=body)
    assert (refused.status_code, code_of(refused)) == (409, "too-many-tokens")
    await manage(web, shop, "DELETE", f"tokens/{made['tokenId']}")
    await make(web, shop)
