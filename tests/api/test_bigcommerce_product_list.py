"""Lists of products: filters, sorts, pages and the choice of fields."""

from typing import Any

import pytest

from tests.api.bigcommerce_calls import BigCommerceCalls, check_error

PRODUCTS = "/catalog/products"


@pytest.fixture
async def four(bc: BigCommerceCalls) -> BigCommerceCalls:
    """Products 1 to 4, each different in every way that a filter knows."""
    bodies: list[dict[str, Any]] = [
        {"name": "Basket", "sku": "D-4", "price": 10, "inventory_level": 9, "brand_id": 7},
        {"name": "Candle", "sku": "C-3", "price": 30, "sale_price": 5, "is_visible": False},
        {"name": "Apron", "sku": "B-2", "price": 20, "type": "digital", "inventory_level": 4},
        {"name": "Drum", "sku": "A-1", "price": 40, "description": "Of goat skin", "brand_id": 8},
    ]
    for body in bodies:
        await bc.new_product(**body)
    return bc


async def numbers(bc: BigCommerceCalls, query: str) -> list[int]:
    answer = await bc.get(PRODUCTS + query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    found = [product["id"] for product in body["data"]]
    assert body["meta"]["pagination"]["count"] == len(found)
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("?id=3", [3]),
        ("?id:in=4,2,99", [2, 4]),
        ("?id=2&id:in=3,4", []),
        ("?id:in=", []),
        ("?id:not_in=1,3", [2, 4]),
        ("?id:min=3", [3, 4]),
        ("?id:max=2", [1, 2]),
        ("?id:greater=1&id:less=4", [2, 3]),
        ("?id:greater=9223372036854775807", []),
        ("?id:less=-9223372036854775808", []),
        ("?name=Candle", [2]),
        ("?name=candle", []),
        ("?sku=a-1", [4]),
        ("?sku:in=A-1,C-3,none", [2, 4]),
        ("?sku=A-1&sku:in=C-3", []),
        ("?keyword=goat", [4]),
        ("?keyword=bask", [1]),
        ("?is_visible=false", [2]),
        ("?is_visible=true", [1, 3, 4]),
        ("?type=digital", [3]),
        ("?type=physical", [1, 2, 4]),
        ("?brand_id=8", [4]),
        ("?brand_id=0", [2, 3]),
        ("?brand_id=0&type=physical", [2]),
        ("?date_modified:min=2020-01-01", [1, 2, 3, 4]),
        ("?date_modified:max=2020-01-01T00:00:00Z", []),
        ("?date_modified:min=2020-01-01T00:00:00+01:00&date_modified:max=2999-01-01", [1, 2, 3, 4]),
    ],
)
async def test_each_filter_finds_its_products(
    four: BigCommerceCalls, query: str, expected: list[int]
) -> None:
    assert await numbers(four, query) == expected


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("id", [1, 2, 3, 4]),
        ("name", [3, 1, 2, 4]),
        ("sku", [4, 3, 2, 1]),
        ("price", [1, 3, 2, 4]),
        ("calculated_price", [2, 1, 3, 4]),
        ("date_modified", [1, 2, 3, 4]),
        ("date_last_imported", [1, 2, 3, 4]),
        ("total_sold", [1, 2, 3, 4]),
        ("inventory_level", [2, 4, 3, 1]),
        ("is_visible", [2, 1, 3, 4]),
    ],
)
async def test_each_sort_in_both_directions(four: BigCommerceCalls, sort: str, expected: list[int]) -> None:
    assert await numbers(four, f"?sort={sort}") == expected
    assert await numbers(four, f"?sort={sort}&direction=desc") == expected[::-1]


async def test_pages_and_their_links_keep_the_filter(four: BigCommerceCalls) -> None:
    first = (await four.get(f"{PRODUCTS}?is_visible=true&limit=2&sort=name")).json()
    page = first["meta"]["pagination"]
    assert (page["total"], page["count"], page["per_page"], page["total_pages"]) == (3, 2, 2, 2)
    assert page["links"]["next"] == "?is_visible=true&sort=name&page=2&limit=2"
    second = (await four.get(PRODUCTS + page["links"]["next"])).json()
    assert [product["id"] for product in first["data"] + second["data"]] == [3, 1, 4]
    assert "next" not in second["meta"]["pagination"]["links"]
    for far in (100_000, 2**62):
        beyond = (await four.get(f"{PRODUCTS}?page={far}&limit=250&type=physical")).json()
        assert (beyond["data"], beyond["meta"]["pagination"]["total"]) == ([], 3)
        assert (await four.get(f"{PRODUCTS}?page={far}&limit=250")).json()["data"] == []
    assert (await four.get(f"{PRODUCTS}?include=options")).json()["meta"]["pagination"]["per_page"] == 10


async def test_what_a_query_cannot_say(four: BigCommerceCalls) -> None:
    check_error(await four.get(f"{PRODUCTS}?limit=251"), 413)
    for query in (
        "?limit=0",
        "?page=0",
        "?id=x",
        "?id=99999999999999999999",
        "?sort=colour",
        "?direction=up",
        "?type=other",
        "?is_visible=1",
        "?date_modified:min=yesterday",
        "?date_modified:max=2999-99-99",
        "?include=everything",
        "?id=1&id=2",
        "?name=a%00b",
    ):
        body = check_error(await four.get(PRODUCTS + query), 422)
        assert body["errors"], query


async def test_fields_are_chosen_and_id_stays(four: BigCommerceCalls) -> None:
    chosen = (await four.get(f"{PRODUCTS}?include_fields=name,price&limit=1")).json()["data"]
    assert chosen == [{"id": 1, "name": "Basket", "price": 10}]
    (rest,) = (await four.get(f"{PRODUCTS}?exclude_fields=id,name&id=1")).json()["data"]
    assert rest["id"] == 1
    assert "name" not in rest
    assert rest["sku"] == "D-4"
    made = await four.post(
        f"{PRODUCTS}?include_fields=name", {"name": "Egg", "type": "physical", "weight": 1, "price": 1}
    )
    assert made.json()["data"] == {"id": 5, "name": "Egg"}


async def test_what_is_made_elsewhere_is_listed_here(four: BigCommerceCalls) -> None:
    shop = four.shop
    stock, session = f"/cloudapi/app/{shop.store_id}/stock", {"sessiontoken": shop.session}
    body = {
        "name": "x" * 200,
        "prices": {"sellingPrice": 5.5},
        "unit": "kg",
        "quantity": 2.5,
        "barcode": "9" * 20,
        "weightGrams": 1500,
    }
    made = await four.web.post(stock, headers=session, json=body)
    assert made.status_code == 200, made.text
    (listed,) = (await four.get(f"{PRODUCTS}?id=5")).json()["data"]
    read = (await four.get(f"{PRODUCTS}/5")).json()["data"]
    assert listed == read
    assert (read["type"], read["inventory_level"], read["upc"], read["weight"]) == ("physical", 2, "", 1.5)
    assert (read["price"], read["inventory_tracking"], read["is_visible"]) == (5.5, "product", False)
