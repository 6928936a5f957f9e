"""The audit trail of a shop, over /manage."""

from typing import Any

import pytest

from kasuwa.domain.catalogue.actions import ProductChange, create_product, update_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from tests.client import Web
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
