"""Low stock has one definition, the ledger's: lists, filters, the search and the item itself say the same."""

from typing import Any

from kasuwa.database import DatabaseUrls
from tests.api.variant_calls import make, make_simple, remove, session, size, stock
from tests.base.database import connected, superuser_url
from tests.client import Web
from tests.shop import Shop

Item = dict[str, Any]


async def sayings(web: Web, shop: Shop) -> dict[str, dict[str, bool]]:
    """By name of a product: what each way of asking says of its stock."""
    heads = session(shop)
    said: dict[str, dict[str, bool]] = {}

    def note(way: str, items: list[Item]) -> None:
        for item in items:
            said.setdefault(item["name"], {})[way] = item["lowStock"]

    note("list", (await web.get(stock(shop), headers=heads)).json()["data"])
    note("list by SKU", (await web.get(stock(shop), headers=heads, params={"sort": "sku"})).json()["data"])
    for with_variants in (True, False):
        query = {"includeVariants": with_variants}
        items = (await web.post(stock(shop, "/query"), headers=heads, json=query)).json()["data"]
        note(f"search, variants {with_variants}", items)
    note("item", [(await web.get(stock(shop, f"/{i['itemId']}"), headers=heads)).json() for i in items])
    for wanted in (True, False):
        for way, low in (
            ("filter", await web.get(stock(shop), headers=heads, params={"lowstock": str(wanted).lower()})),
            ("condition", await low_by_condition(web, shop, wanted=wanted)),
        ):
            note_found(said, way, [item["name"] for item in low.json()["data"]], wanted=wanted)
    return said


def note_found(said: dict[str, dict[str, bool]], way: str, names: list[str], *, wanted: bool) -> None:
    for name in names:
        assert way not in said[name], f"{name} is found as low and as not low"
        said[name][way] = wanted


async def low_by_condition(web: Web, shop: Shop, *, wanted: bool) -> Any:
    query = {"filters": [{"field": "lowStock", "value": wanted}]}
    return await web.post(stock(shop, "/query"), headers=session(shop), json=query)


def agreed(said: dict[str, dict[str, bool]]) -> dict[str, bool]:
    """What all seven ways say."""
    assert {name: len(ways) for name, ways in said.items()} == dict.fromkeys(said, 7)
    assert {name: set(ways.values()) for name, ways in said.items() if len(set(ways.values())) > 1} == {}
    return {name: next(iter(ways.values())) for name, ways in said.items()}


async def test_every_way_of_asking_says_the_same(web: Web, shop: Shop) -> None:
    def variants(quantity: int, level: int) -> list[dict[str, Any]]:
        return [size("M", quantity=quantity, reorderLevel=level), size("L", quantity=50)]

    await make_simple(web, shop, name="At its level", quantity=5, reorderLevel=5)
    await make_simple(web, shop, name="Above it", quantity=6, reorderLevel=5)
    await make_simple(web, shop, name="Without a level", quantity=0)
    await make_simple(web, shop, name="Not counted", trackQuantity=False)
    await make(web, shop, name="One variant", variants=variants(2, 2))
    await make(web, shop, name="No variant", variants=variants(3, 2), reorderLevel=52)
    await make(web, shop, name="All together", variants=variants(2, 1), reorderLevel=52)
    assert agreed(await sayings(web, shop)) == {
        "At its level": True,
        "Above it": False,
        "Without a level": False,
        "Not counted": False,
        "One variant": True,
        "No variant": False,
        "All together": True,
    }


async def test_what_is_said_is_the_ledgers_own_word(
    web: Web, shop: Shop, database_urls: DatabaseUrls
) -> None:
    """The control: a balance that says of itself wrongly whether it is low is believed by all."""
    await make_simple(web, shop, name="Malt", quantity=6, reorderLevel=5)
    assert agreed(await sayings(web, shop)) == {"Malt": False}
    # A page with variants is read another way than one without.
    await believe(shop, database_urls)
    assert agreed(await sayings(web, shop)) == {"Malt": True}
    await make(web, shop, name="Shirt", variants=[size("M", quantity=6, reorderLevel=5)])
    assert agreed(await sayings(web, shop)) == {"Malt": True, "Shirt": False}
    await believe(shop, database_urls)
    assert agreed(await sayings(web, shop)) == {"Malt": True, "Shirt": True}


async def believe(shop: Shop, database_urls: DatabaseUrls) -> None:
    """Let every balance with the level 5 say that it is low."""
    async with connected(superuser_url(database_urls)) as admin:
        await admin.execute("SET session_replication_role = replica")
        await admin.execute(
            "UPDATE stock_balance SET is_low = true WHERE merchant_id = $1 AND reorder_level = 5",
            shop.merchant_id,
        )


async def test_over_several_locations_a_product_is_low_that_is_low_at_one(web: Web, shop: Shop) -> None:
    elsewhere = [{"storeId": str(shop.second_store_id), "quantity": 1, "reorderLevel": 1}]
    await make_simple(web, shop, name="Malt", quantity=6, reorderLevel=5, locationQuantities=elsewhere)
    here, there = str(shop.store_id), str(shop.second_store_id)
    for stores, low in (([here], False), ([there], True), ([here, there], True)):
        query = {"storeIds": stores, "filters": [{"field": "lowStock", "value": low}]}
        page = await web.post(stock(shop, "/query"), headers=session(shop), json=query)
        assert [row["lowStock"] for row in page.json()["data"]] == [low], stores


async def test_a_variant_that_was_taken_off_is_not_to_be_ordered_again(web: Web, shop: Shop) -> None:
    item = await make(
        web,
        shop,
        name="Shirt",
        variants=[size("M", quantity=1, reorderLevel=5), size("L", quantity=50)],
    )
    assert item["lowStock"] is True
    gone = next(v["variantId"] for v in item["variants"] if v["options"][0]["value"] == "M")
    answer = await remove(web, shop, item, variantIds=[gone], onRemainingStock="write_off", note="torn")
    assert answer.status_code == 200, answer.text
    assert agreed(await sayings(web, shop)) == {"Shirt": False}
