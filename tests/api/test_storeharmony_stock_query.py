"""The search over the inventory over HTTP: every field and order, texts, facets, and what is refused."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OptionValue, Price, ProductOption
from tests.api.test_storeharmony_products import make, session, stock
from tests.client import Web
from tests.shop import Shop

Item = dict[str, Any]


async def asked(web: Web, shop: Shop, **query: Any) -> httpx.Response:
    return await web.post(stock(shop, "/query"), headers=session(shop), json=query)


async def found(web: Web, shop: Shop, **query: Any) -> list[str]:
    """The names that are found, in their order; the total is theirs."""
    answer = await asked(web, shop, **query)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["totalElements"] == len(page["data"])
    assert page["totalExact"] is True
    return [item["name"] for item in page["data"]]


@pytest.fixture
async def goods(web: Web, shop: Shop) -> dict[str, Item]:
    drinks = await create_category(shop.owner, "Drinks")
    juices = await create_category(shop.owner, "Juices", parent_id=drinks)
    elsewhere = [{"storeId": str(shop.second_store_id), "quantity": 7, "reorderLevel": 1}]
    fields: dict[str, dict[str, Any]] = {
        "Zobo drink": {
            "prices": {
                "sellingPrice": 300,
                "costPrice": 120,
                "wholesalePrice": 250,
                "wholesaleMinQuantity": 12,
            },
            "brand": "Kano",
            "tags": ["cold", "red"],
            "categoryIds": [str(drinks)],
            "quantity": 4,
            "reorderLevel": 5,
            "sku": "ZOB-1",
            "barcode": "6151100000011",
            "expiryDate": "2027-01-31",
        },
        "Orange juice": {
            "prices": {"sellingPrice": 900.5, "promoPrice": 450},
            "brand": "Jos",
            "tags": ["cold"],
            "categoryIds": [str(juices)],
            "quantity": 0,
            "sku": "ORA-1",
            "unit": "carton",
            "locationQuantities": elsewhere,
        },
        "Ẹ̀kọ́ wrap": {
            "prices": {"sellingPrice": 100},
            "quantity": 60,
            "sku": "EKO-1",
            "visibleOnline": True,
            "description": "Solid pap in leaves, eaten with moin moin.",
        },
        "Ƙwai, crate": {"prices": {"sellingPrice": 3000}, "trackQuantity": False, "sku": "KWA-1"},
    }
    return {name: await make(web, shop, name=name, **one) for name, one in fields.items()}


ALL = ["Ẹ̀kọ́ wrap", "Ƙwai, crate", "Orange juice", "Zobo drink"]
EKO, EGGS, JUICE, ZOBO = ALL

CONDITIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"field": "sku", "value": "zob-1"}, [ZOBO]),
    ({"field": "sku", "op": "starts_with", "value": "o"}, [JUICE]),
    ({"field": "sku", "op": "in", "values": ["EKO-1", "ora-1", "none"]}, [EKO, JUICE]),
    ({"field": "sku", "op": "nin", "values": ["EKO-1", "ora-1"]}, [EGGS, ZOBO]),
    ({"field": "barcode", "value": "6151100000011"}, [ZOBO]),
    ({"field": "barcode", "op": "exists", "value": False}, [EKO, EGGS, JUICE]),
    ({"field": "name", "value": "eko wrap"}, [EKO]),
    ({"field": "name", "op": "contains", "value": "%"}, []),
    ({"field": "name", "op": "contains", "value": "JUI"}, [JUICE]),
    ({"field": "name", "op": "starts_with", "value": "ƙw"}, [EGGS]),
    ({"field": "brand", "value": "Kano"}, [ZOBO]),
    ({"field": "brand", "op": "ne", "value": "Kano"}, [EKO, EGGS, JUICE]),
    ({"field": "brand", "op": "exists", "value": True}, [JUICE, ZOBO]),
    ({"field": "tag", "value": "cold"}, [JUICE, ZOBO]),
    ({"field": "tag", "op": "ne", "value": "red"}, [EKO, EGGS, JUICE]),
    ({"field": "tag", "op": "exists", "value": False}, [EKO, EGGS]),
    ({"field": "categoryId", "op": "exists", "value": True}, [JUICE, ZOBO]),
    ({"field": "categoryId", "value": "not an id"}, []),
    ({"field": "type", "value": "simple"}, ALL),
    ({"field": "status", "op": "in", "values": ["active", "archived"]}, ALL),
    ({"field": "unit", "value": "carton"}, [JUICE]),
    ({"field": "sellingPrice", "op": "between", "values": [300, 900.5]}, [JUICE, ZOBO]),
    ({"field": "sellingPrice", "op": "gt", "value": 900.5}, [EGGS]),
    ({"field": "sellingPrice", "op": "ne", "value": 100}, [EGGS, JUICE, ZOBO]),
    ({"field": "costPrice", "op": "lte", "value": 120}, [ZOBO]),
    ({"field": "costPrice", "op": "exists", "value": False}, [EKO, EGGS, JUICE]),
    ({"field": "promoPrice", "value": 450}, [JUICE]),
    ({"field": "wholesalePrice", "op": "in", "values": [250, 1]}, [ZOBO]),
    ({"field": "effectivePrice", "op": "lt", "value": 500}, [EKO, JUICE, ZOBO]),
    ({"field": "onPromo", "value": True}, [JUICE]),
    ({"field": "onPromo", "value": False}, [EKO, EGGS, ZOBO]),
    ({"field": "quantity", "op": "gte", "value": 4}, [EKO, ZOBO]),
    ({"field": "available", "op": "gt", "value": 4}, [EKO]),
    ({"field": "reorderLevel", "value": 5}, [ZOBO]),
    ({"field": "lowStock", "value": True}, [ZOBO]),
    ({"field": "lowStock", "value": False}, [EKO, EGGS, JUICE]),
    ({"field": "trackQuantity", "value": False}, [EGGS]),
    ({"field": "visibleOnline", "op": "ne", "value": False}, [EKO]),
    ({"field": "hasImages", "value": True}, []),
    ({"field": "expiryDate", "op": "lt", "value": "2027-02-01"}, [ZOBO]),
    ({"field": "createdAt", "op": "lt", "value": "2020-01-01"}, []),
    ({"field": "updatedAt", "op": "gte", "value": "2020-01-01T00:00:00+01:00"}, ALL),
    ({"field": "optionValue", "optionName": "Size", "value": "L"}, []),
]


@pytest.mark.parametrize(("condition", "names"), CONDITIONS, ids=[str(c) for c, _ in CONDITIONS])
async def test_each_condition_finds_what_it_says(
    web: Web, shop: Shop, goods: dict[str, Item], condition: dict[str, Any], names: list[str]
) -> None:
    assert await found(web, shop, filters=[condition]) == names


async def test_conditions_all_hold_or_any(web: Web, shop: Shop, goods: dict[str, Item]) -> None:
    two = [{"field": "brand", "value": "Kano"}, {"field": "sellingPrice", "op": "gt", "value": 500}]
    assert await found(web, shop, filters=two) == []
    assert await found(web, shop, filters=two, match="any") == [EGGS, JUICE, ZOBO]
    assert await found(web, shop, filters=two, match="any", text="juice") == [JUICE]


async def test_a_category_covers_the_tree_below_unless_told_otherwise(
    web: Web, shop: Shop, goods: dict[str, Item]
) -> None:
    drinks = goods[ZOBO]["categories"][0]["categoryId"]
    condition = {"field": "categoryId", "op": "in", "values": [drinks]}
    assert await found(web, shop, filters=[condition]) == [JUICE, ZOBO]
    assert await found(web, shop, filters=[condition], includeSubcategories=False) == [ZOBO]
    assert await found(web, shop, filters=[condition | {"op": "nin"}]) == [EKO, EGGS]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("zobo", [ZOBO]),
        ("ORANGE ju", [JUICE]),
        ("eko", [EKO]),
        ("ẹko", [EKO]),
        ("kwai", [EGGS]),
        ("moin", [EKO]),
        ("kano", [ZOBO]),
        ("cold drink", [ZOBO]),
        ("ZOB-1", [ZOBO]),
        ("ZOB", [ZOBO]),
        ("6151100000011", [ZOBO]),
        ("61511000", [ZOBO]),
        ("zoob dirnk", [ZOBO]),
        ("ornage juic", [JUICE]),
        ("orangejuice", [JUICE]),
        ("xylophone", []),
        ("   ", ALL),
    ],
)
async def test_a_text_finds_what_was_meant(
    web: Web, shop: Shop, goods: dict[str, Item], text: str, names: list[str]
) -> None:
    assert await found(web, shop, text=text) == names


async def test_without_a_condition_on_status_only_active_products_are_found(
    web: Web, shop: Shop, goods: dict[str, Item]
) -> None:
    path = stock(shop, f"/{goods[EKO]['itemId']}")
    assert (await web.put(path, headers=session(shop), json={"status": "inactive"})).status_code == 200
    assert await found(web, shop) == [EGGS, JUICE, ZOBO]
    assert await found(web, shop, filters=[{"field": "status", "value": "inactive"}]) == [EKO]


ORDERS: dict[str, Callable[[Item], Any]] = {
    "name": lambda item: ALL.index(item["name"]),
    "sku": lambda item: item["sku"].lower(),
    "brand": lambda item: item["brand"] or "",
    "sellingPrice": lambda item: item["prices"]["sellingPrice"],
    "costPrice": lambda item: item["prices"]["costPrice"] or -1,
    "effectivePrice": lambda item: item["prices"]["effectivePrice"],
    "quantity": lambda item: item["quantity"] or 0,
    "available": lambda item: item["available"] or 0,
    "createdAt": lambda item: item["createdAt"],
    "updatedAt": lambda item: item["updatedAt"],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_every_order_holds_and_a_walk_by_cursors_sees_all_of_it(
    web: Web, shop: Shop, goods: dict[str, Item], order: str, direction: str
) -> None:
    for item in goods.values():
        said = {"description": "Stands on the shelf."}
        answer = await web.put(stock(shop, f"/{item['itemId']}"), headers=session(shop), json=said)
        assert answer.status_code == 200, answer.text
    sort = [{"field": order, "direction": direction}, {"field": "name"}]
    whole = (await asked(web, shop, sort=sort)).json()["data"]
    values = [ORDERS[order](item) for item in whole]
    assert values == sorted(values, reverse=direction == "desc")
    wishes: tuple[dict[str, Any], ...] = (
        {},
        {"text": "shelf"},
        {"filters": [{"field": "sellingPrice", "op": "gt", "value": 0}]},
    )
    for narrowed in wishes:
        walked: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await asked(web, shop, sort=sort, size=1, **narrowed, **cursor)).json()
            assert page["totalElements"] == len(ALL)
            walked += [item["name"] for item in page["data"]]
            if page["nextCursor"] is None:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert walked == [item["name"] for item in whole]


async def test_the_best_comes_first_and_a_walk_by_relevance_sees_all(web: Web, shop: Shop) -> None:
    for name in ("Lamp shade for a desk lamp", "Lamp", "Lampstand", "Desk lamp"):
        await make(web, shop, name=name)
    await make(web, shop, name="Torch", sku="LAMP")
    best = ["Torch", "Lamp", "Desk lamp", "Lamp shade for a desk lamp", "Lampstand"]
    assert await found(web, shop, text="lamp") == best
    walked: list[str] = []
    cursor: dict[str, Any] = {}
    for _ in best:
        page = (await asked(web, shop, text="lamp", size=1, **cursor)).json()
        walked += [item["name"] for item in page["data"]]
        cursor = {"cursor": page["nextCursor"]}
    assert (walked, cursor) == (best, {"cursor": None})
    by_page = [(await asked(web, shop, text="lamp", size=2, page=n)).json() for n in (1, 2, 3, 4)]
    assert [item["name"] for page in by_page for item in page["data"]] == best
    assert {page["totalElements"] for page in by_page} == {5}


async def test_quantities_are_summed_over_the_locations_that_are_named(
    web: Web, shop: Shop, goods: dict[str, Item]
) -> None:
    both = [str(shop.store_id), str(shop.second_store_id)]
    for stores, quantity in ((both, 7), (both[:1], 0), (both[1:], 7)):
        (item,) = (await asked(web, shop, text="orange juice", storeIds=stores)).json()["data"]
        assert item["quantity"] == item["available"] == quantity
        assert item["storeId"] == (stores[0] if len(stores) == 1 else both[0])
    over = [{"field": "quantity", "op": "gt", "value": 5}]
    assert await found(web, shop, filters=over, storeIds=both) == [EKO, JUICE]


async def test_variants_are_found_by_their_options_and_shown_where_asked(web: Web, shop: Shop) -> None:
    new = NewProduct(
        name="Agbada",
        kind="variant",
        options=(ProductOption("Size", ("Small", "Grand")), ProductOption("Colour", ("Indigo",))),
        variants=tuple(
            NewVariant(
                price=Price(currency="NGN", selling_minor=minor),
                sku=f"AGB-{size}",
                name=size,
                options=(OptionValue("Size", size), OptionValue("Colour", "Indigo")),
            )
            for size, minor in (("Small", 100_000), ("Grand", 200_000))
        ),
    )
    await create_product(shop.owner, new)
    for text in ("agbada indigo", "grand agbada", "AGB-Grand", "agbada grnad"):
        (item,) = (await asked(web, shop, text=text)).json()["data"]
        assert [variant["name"] for variant in item["variants"]] == ["Small", "Grand"]
    (item,) = (await asked(web, shop, text="agbada", includeVariants=False)).json()["data"]
    assert item["variants"] == []
    size = {"field": "optionValue", "optionName": "size", "value": "GRAND"}
    assert await found(web, shop, filters=[size, {"field": "sellingPrice", "value": 2000}]) == ["Agbada"]
    assert await found(web, shop, filters=[size | {"op": "ne"}]) == []


async def test_facets_count_everything_that_is_found_not_only_the_page(
    web: Web, shop: Shop, goods: dict[str, Item]
) -> None:
    every = ["category", "brand", "tag", "price", "inStock"]
    page = (await asked(web, shop, size=1, facets=every)).json()
    assert len(page["data"]) == 1
    facets = page["facets"]
    assert facets.pop("complete") is True
    assert [(one["name"], one["count"]) for one in facets.pop("category")] == [("Drinks", 1), ("Juices", 1)]
    assert facets == {
        "brand": [{"value": "Jos", "count": 1}, {"value": "Kano", "count": 1}],
        "tag": [{"value": "cold", "count": 2}, {"value": "red", "count": 1}],
        "price": [
            {"from": 100, "to": 100, "count": 1},
            {"from": 300, "to": 300, "count": 1},
            {"from": 900.5, "to": 900.5, "count": 1},
            {"from": 3000, "to": 3000, "count": 1},
        ],
        "inStock": {"available": 3, "soldOut": 1},
    }
    narrowed = (await asked(web, shop, text="drink", facets=["brand"])).json()["facets"]
    assert narrowed == {"complete": True, "brand": [{"value": "Kano", "count": 1}]}
    assert "facets" not in (await asked(web, shop)).json()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"filters": [{"field": "onPromo", "op": "gt", "value": True}]}, "/filters/0/op"),
    ({"filters": [{"field": "sku", "value": 5}]}, "/filters/0/value"),
    ({"filters": [{"field": "sku", "value": "x" * 501}]}, "/filters/0/value"),
    ({"filters": [{"field": "quantity", "op": "gt", "value": "many"}]}, "/filters/0/value"),
    ({"filters": [{"field": "quantity", "op": "gt", "value": 1e300}]}, "/filters/0/value"),
    ({"filters": [{"field": "quantity", "op": "gt", "value": True}]}, "/filters/0/value"),
    ({"filters": [{"field": "sellingPrice", "op": "in", "values": [1, 0.001]}]}, "/filters/0/values/1"),
    ({"filters": [{"field": "sellingPrice", "value": 10**13}]}, "/filters/0/value"),
    ({"filters": [{"field": "sellingPrice", "op": "between", "values": [1]}]}, "/filters/0/values"),
    ({"filters": [{"field": "expiryDate", "value": "soon"}]}, "/filters/0/value"),
    (
        {"filters": [{"field": "createdAt", "op": "lt", "value": "0001-01-01T00:00:00+14:00"}]},
        "/filters/0/value",
    ),
    ({"filters": [{"field": "lowStock", "value": "yes"}]}, "/filters/0/value"),
    ({"filters": [{"field": "name", "op": "exists", "value": "yes"}]}, "/filters/0/value"),
    ({"storeIds": ["01234567-89ab-7def-8123-456789abcdef"]}, "/storeIds/0"),
    ({"storeIds": ["nowhere"]}, "/storeIds/0"),
    ({"page": 201}, "/page"),
    ({"cursor": "AAAA"}, "/cursor"),
    ({"cursor": "é"}, "/cursor"),
]


@pytest.mark.parametrize(("query", "pointer"), REFUSED, ids=[str(query)[:60] for query, _ in REFUSED])
async def test_what_cannot_be_read_is_refused_with_its_place(
    web: Web, shop: Shop, query: dict[str, Any], pointer: str
) -> None:
    answer = await asked(web, shop, **query)
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_a_cursor_of_another_query_is_refused(web: Web, shop: Shop, goods: dict[str, Item]) -> None:
    cursor = (await asked(web, shop, size=1)).json()["nextCursor"]
    answer = await asked(web, shop, sort=[{"field": "sellingPrice"}], cursor=cursor)
    assert answer.status_code == 422
    assert (await asked(web, shop, size=1, cursor=cursor)).status_code == 200


async def test_another_merchants_products_are_never_found(
    web: Web, shop: Shop, other_shop: Shop, goods: dict[str, Item]
) -> None:
    for text in ("zobo drink", "zbo drnik", "ZOB-1", "6151100000011", ""):
        page = (await asked(web, other_shop, text=text, facets=["brand", "category"])).json()
        assert page["data"] == page["facets"]["brand"] == page["facets"]["category"] == []
    theirs = [{"field": "itemId", "value": goods[ZOBO]["itemId"]}]
    assert await found(web, other_shop, filters=theirs) == []
