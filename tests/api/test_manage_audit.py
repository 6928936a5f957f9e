"""The audit trail of a shop, over /manage."""

from typing import Any

import pytest

from kasuwa.domain.catalogue.actions import ProductChange, create_product, update_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from kasuwa.domain.permissions import Role
from kasuwa.domain.stores import reach
from tests.banking import body as bank_body
from tests.client import Web
from tests.contract.cast import hire
from tests.people import edit, new_person, users_of
from tests.shop import Shop

Json = dict[str, Any]


async def changed_product(shop: Shop) -> str:
    """A product that was made and changed twice."""
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=50_000), opening=(OpeningStock(shop.store_id),)
    )
    product = await create_product(shop.owner, NewProduct(name="Kettle", variants=(variant,)))
    for name in ("Iron kettle", "Old iron kettle"):
        await update_product(shop.owner, product.product_id, ProductChange(name=name))
    return str(product.product_id)


async def trail(web: Web, shop: Shop, *, status: int = 200, **query: str) -> Json:
    answer = await web.call(
        "GET",
        f"/manage/{shop.store_id}/audit",
        params=query,
        headers={"sessiontoken": shop.session},
    )
    assert answer.status_code == status, answer.text
    body: Json = answer.json()
    return body


async def test_each_change_says_who_and_what_before_and_after_newest_first(web: Web, shop: Shop) -> None:
    product_id = await changed_product(shop)
    entries = (await trail(web, shop, subject="product", subjectid=product_id))["data"]
    assert [entry["action"] for entry in entries] == ["product.update", "product.update", "product.create"]
    assert [entry["after"]["name"] for entry in entries] == ["Old iron kettle", "Iron kettle", "Kettle"]
    assert [entry["before"] and entry["before"]["name"] for entry in entries] == [
        "Iron kettle",
        "Kettle",
        None,
    ]
    assert entries[0]["actor"]["kind"] == "user"
    assert entries[0]["subject"] == {"kind": "product", "id": product_id}


async def test_the_list_goes_on_with_its_cursor_and_misses_nothing(web: Web, shop: Shop) -> None:
    await changed_product(shop)
    whole = (await trail(web, shop, size="200"))["data"]
    found, cursor = [], ""
    while True:
        query = {"size": "2", "cursor": cursor} if cursor else {"size": "2"}
        page = await trail(web, shop, status=200, **query)
        found += page["data"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert found == whole
    assert len(whole) >= 3


async def test_filters_hold_together(web: Web, shop: Shop) -> None:
    product_id = await changed_product(shop)
    (first,) = (await trail(web, shop, action="product.create", subjectid=product_id))["data"]
    assert (await trail(web, shop, subjectid=product_id, until=first["at"]))["data"] == []
    assert len((await trail(web, shop, subjectid=product_id, since=first["at"]))["data"]) == 3


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"cursor": "before"}, "#/query/cursor"),
        ({"size": "0"}, "#/query/size"),
        ({"since": "yesterday"}, "#/query/since"),
    ],
)
async def test_a_bad_value_is_named(web: Web, shop: Shop, query: dict[str, str], pointer: str) -> None:
    assert (await trail(web, shop, status=422, **query))["errors"][0]["pointer"] == pointer


async def test_another_shops_trail_is_not_there(web: Web, shop: Shop, other_shop: Shop) -> None:
    product_id = await changed_product(other_shop)
    assert (await trail(web, shop, subjectid=product_id))["data"] == []
    answer = await web.call(
        "GET", f"/manage/{other_shop.store_id}/audit", headers={"sessiontoken": shop.session}
    )
    assert answer.status_code == 404


# By location --------------------------------------------------------------------------------------


async def told_elsewhere(web: Web, shop: Shop) -> tuple[set[str], str]:
    """The actions that the manager of the second store reads, and all that they are told of the first one."""
    owner, new = {"sessiontoken": shop.session}, new_person(email=f"zq.{shop.email}")
    added = await web.post(users_of(shop.store_id), headers=owner, json=new)
    assert added.is_success, added.text
    changed = await edit(web, shop, added.json()["userId"], firstname="Zqada")
    assert changed.is_success, changed.text
    bank = await web.post(
        f"/cloudapi/app/{shop.store_id}/admin/banks",
        headers=owner,
        json=bank_body(userBankAccName="ZQ HOLDER LTD"),
    )
    assert bank.is_success, bank.text
    manager = await hire(shop, Role.MANAGER, shop.second_store_id)
    place, headers = f"/manage/{shop.second_store_id}", {"sessiontoken": manager.session}
    trail, messages = [
        await web.call("GET", f"{place}/{name}", params={"size": "200"}, headers=headers)
        for name in ("audit", "messages")
    ]
    listed = await web.call("GET", f"/manage/{shop.store_id}/messages", headers=owner)
    [letter] = [one for one in listed.json()["data"] if one["to"].startswith("z***")]
    again = await web.call("POST", f"{place}/messages/{letter['messageId']}/resend", headers=headers)
    assert again.status_code in (404, 409), again.text
    seen = {entry["action"] for entry in trail.json()["data"]}
    return seen, trail.text + messages.text + ("there" if again.status_code == 409 else "")


async def test_a_manager_reads_the_trail_of_their_own_location(web: Web, shop: Shop) -> None:
    seen, told = await told_elsewhere(web, shop)
    assert [word for word in ("zq", "ZQ HOLDER", "Zqada", "z***", "there") if word in told] == []
    assert "bank.create" not in seen
    whole = {entry["action"] for entry in (await trail(web, shop, size="200"))["data"]}
    assert {"bank.create", "user.change"} <= whole


async def test_it_is_the_reach_that_keeps_them_apart(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach.Reach, "conditions", [])
    monkeypatch.setattr(reach.Reach, "values", {})
    seen, told = await told_elsewhere(web, shop)
    assert [word for word in ("ZQ HOLDER", "Zqada", "z***", "there") if word not in told] == []
    assert "bank.create" in seen
    # Whoever reads of them there reads no address of theirs.
    assert f"zq.{shop.email}" not in told
