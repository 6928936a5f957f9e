"""Prices over the StoreHarmony API: changed at one store or all, listed, and told as they change."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from kasuwa.api.storeharmony.prices import LINE_VERSION, price_line
from kasuwa.domain.catalogue import price_feed
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OptionValue, Price, ProductOption
from kasuwa.domain.permissions import Role
from tests.api.test_storeharmony_products import deduct, make, session, stock
from tests.client import Web
from tests.contract.cast import hire
from tests.shop import Shop

START = "2026-01-01T00:00:00Z"


async def second_till(shop: Shop, role: Role = Role.OWNER) -> tuple[str, dict[str, str]]:
    """Address and session of somebody at the shop's second store."""
    staff = await hire(shop, role, shop.second_store_id)
    return f"/cloudapi/app/{shop.second_store_id}/stock", {"sessiontoken": staff.session}


async def price(web: Web, shop: Shop, item: dict[str, Any], **body: Any) -> httpx.Response:
    path = stock(shop, f"/{item['itemId']}/updateprices")
    return await web.post(path, headers=session(shop), json=body)


async def priced(web: Web, shop: Shop, item: dict[str, Any], **body: Any) -> dict[str, Any]:
    """The line of a simple product after a change that works."""
    answer = await price(web, shop, item, **body)
    assert answer.status_code == 200, answer.text
    (line,) = answer.json()["data"]
    found: dict[str, Any] = line
    return found


async def feed(web: Web, shop: Shop, since: str = START, **query: Any) -> dict[str, Any]:
    answer = await web.get(
        stock(shop, "/prices/changes"), params={"since": since, **query}, headers=session(shop)
    )
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def price_list(web: Web, shop: Shop, **query: Any) -> dict[str, Any]:
    answer = await web.get(stock(shop, "/prices"), params=query, headers=session(shop))
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def kaftan(shop: Shop, sizes: str = "SML") -> dict[str, Any]:
    """A product with a variant for each size, and the ids of these."""
    variants = tuple(NewVariant(sku=f"KAF-{size}", options=(OptionValue("Size", size),)) for size in sizes)
    new = NewProduct(
        name="Kaftan",
        kind="variant",
        options=(ProductOption("Size", tuple(sizes)),),
        main=NewVariant(price=Price(currency="NGN", selling_minor=900_000)),
        variants=variants,
    )
    product = await create_product(shop.owner, new)
    ids = [str(variant.variant_id) for variant in product.variants]
    return {"itemId": str(product.product_id), "ids": ids}


# Changing ------------------------------------------------------------------------------------------


async def test_a_price_of_this_store_is_shown_here_and_nowhere_else(web: Web, shop: Shop) -> None:
    item = await make(web, shop, sku="MALT", prices={"sellingPrice": 500, "costPrice": 350})
    line = await priced(web, shop, item, prices={"sellingPrice": 550.5}, reason="rent")
    assert (line["itemId"], line["variantId"], line["prices"]["sellingPrice"]) == (
        item["itemId"],
        None,
        550.5,
    )
    there, who = await second_till(shop)
    for path, query in (
        (f"/{item['itemId']}", {}),
        ("", {}),
        ("", {"search": "malt"}),
        ("/findbysku", {"sku": "malt"}),
        ("/prices", {}),
    ):
        here = (await web.get(stock(shop, path), params=query, headers=session(shop))).json()
        other = (await web.get(there + path, params=query, headers=who)).json()
        shown = [(page["data"][0] if "data" in page else page)["prices"] for page in (here, other)]
        assert [prices["sellingPrice"] for prices in shown] == [550.5, 500], path
        assert [prices["costPrice"] for prices in shown] == [350, 350], path


async def test_a_price_of_all_stores_is_shown_everywhere(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    await priced(web, shop, item, prices={"sellingPrice": 550, "wholesalePrice": 500})
    line = await priced(web, shop, item, prices={"sellingPrice": 600}, applyTo="all_stores")
    # What is not named stays as each store has it.
    assert (line["prices"]["sellingPrice"], line["prices"]["wholesalePrice"]) == (600, 500)
    there, who = await second_till(shop)
    (other,) = (await web.get(there, headers=who)).json()["data"]
    assert (other["prices"]["sellingPrice"], other["prices"]["wholesalePrice"]) == (600, None)
    # Nothing differs any more: the store has no price of its own from now on, nor a card.
    await priced(web, shop, item, prices={"wholesalePrice": None}, applyTo="all_stores")
    async with shop.owner.reading() as db:
        assert await db.value("SELECT count(*) FROM price WHERE merchant_id = current_merchant()") == 1
        assert await db.value("SELECT count(*) FROM store_card WHERE merchant_id = current_merchant()") == 0
    (here,) = (await web.get(stock(shop), headers=session(shop))).json()["data"]
    assert (here["prices"]["sellingPrice"], here["prices"]["wholesalePrice"]) == (600, None)


async def test_a_promotion_has_its_window_and_ends_by_null(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    window = {"promoStartsAt": "2026-01-01T00:00:00Z", "promoEndsAt": "2096-01-01T00:00:00+01:00"}
    line = await priced(web, shop, item, prices={"promoPrice": 450, **window})
    assert line["prices"]["effectivePrice"] == 450
    assert line["prices"]["promoEndsAt"] == "2095-12-31T23:00:00Z"
    later = await priced(web, shop, item, prices={"promoStartsAt": "2095-01-01T00:00:00Z"})
    assert later["prices"]["effectivePrice"] == 500
    ended = await priced(web, shop, item, prices={"promoPrice": None})
    assert [ended["prices"][name] for name in ("promoPrice", "promoStartsAt", "promoEndsAt")] == [None] * 3


async def test_the_prices_of_a_product_are_those_of_variants_without_their_own(web: Web, shop: Shop) -> None:
    item = await kaftan(shop)
    answer = await price(
        web,
        shop,
        item,
        prices={"sellingPrice": 9500},
        variantPrices=[{"variantId": item["ids"][1], "prices": {"sellingPrice": 9900, "promoPrice": 9000}}],
    )
    lines = answer.json()["data"]
    assert [line["variantId"] for line in lines] == item["ids"]
    assert [line["name"] for line in lines] == ["Kaftan – S", "Kaftan – M", "Kaftan – L"]
    assert [line["prices"]["effectivePrice"] for line in lines] == [9500, 9000, 9500]
    (listed,) = (await web.get(stock(shop), headers=session(shop))).json()["data"]
    assert [variant["prices"]["effectivePrice"] for variant in listed["variants"]] == [9500, 9000, 9500]
    changes = (await feed(web, shop))["data"]
    assert [change["changeType"] for change in changes] == ["created"] * 3 + ["price_changed"] * 3


@pytest.mark.parametrize(
    ("prices", "status", "field"),
    [
        ({"sellingPrice": 10**12 + 1}, 422, "sellingPrice"),
        ({"sellingPrice": -0.01}, 422, "sellingPrice"),
        ({"sellingPrice": 10.005}, 422, "sellingPrice"),
        ({"sellingPrice": 1e300}, 422, "sellingPrice"),
        ({"sellingPrice": None}, 422, "sellingPrice"),
        ({"sellingPrice": "500"}, 422, "sellingPrice"),
        ({"sellingPrice": True}, 422, "sellingPrice"),
        ({"costPrice": 0.001}, 422, "costPrice"),
        ({"promoPrice": 500}, 409, "promoPrice"),
        ({"promoPrice": 501, "sellingPrice": 501}, 409, "promoPrice"),
        ({"sellingPrice": 400, "promoPrice": 399, "wholesalePrice": 401}, 409, "wholesalePrice"),
        ({"promoStartsAt": START}, 422, "promoStartsAt"),
        ({"promoPrice": None, "promoEndsAt": START}, 422, "promoEndsAt"),
        ({"promoPrice": 1, "promoStartsAt": START, "promoEndsAt": START}, 422, "promoEndsAt"),
        ({"promoPrice": 1, "promoEndsAt": "0001-01-01T00:00:00+14:00"}, 422, "promoEndsAt"),
        ({"promoPrice": 1, "promoEndsAt": "tomorrow"}, 422, "promoEndsAt"),
        ({"wholesaleMinQuantity": 12}, 422, "wholesaleMinQuantity"),
        ({"wholesalePrice": 450, "wholesaleMinQuantity": 0}, 422, "wholesaleMinQuantity"),
        ({"wholesalePrice": 450, "wholesaleMinQuantity": 1.0005}, 422, "wholesaleMinQuantity"),
        ({"wholesalePrice": 450, "wholesaleMinQuantity": 1e18}, 422, "wholesaleMinQuantity"),
    ],
)
async def test_what_is_no_price_is_refused_by_its_field(
    web: Web, shop: Shop, prices: dict[str, Any], status: int, field: str
) -> None:
    item = await make(web, shop)
    before = (await feed(web, shop))["totalElements"]
    refused = await price(web, shop, item, prices=prices, applyTo="all_stores")
    assert refused.status_code == status, refused.text
    assert refused.json()["errors"][0]["pointer"] == f"/prices/{field}"
    # The same said of a variant is refused there.
    many = await kaftan(shop)
    wished = [{"variantId": many["ids"][0], "prices": {"sellingPrice": 500, **prices}}]
    refused = await price(web, shop, many, variantPrices=wished)
    assert refused.status_code == status, refused.text
    assert refused.json()["errors"][0]["pointer"] == f"/variantPrices/0/prices/{field}"
    read = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    assert read.json() == item
    assert (await feed(web, shop))["totalElements"] == before + 3


async def test_a_selling_price_below_what_was_promised_is_refused(web: Web, shop: Shop) -> None:
    item = await make(web, shop, prices={"sellingPrice": 500, "promoPrice": 450})
    for selling in (450, 400):
        refused = await price(web, shop, item, prices={"sellingPrice": selling})
        assert refused.status_code == 409
        assert refused.json()["errors"][0]["pointer"] == "/prices/sellingPrice"
    # Another store's own promotion is in the way as well, and is named.
    await priced(web, shop, item, prices={"promoPrice": None}, applyTo="all_stores")
    await priced(web, shop, item, prices={"promoPrice": 480})
    there, who = await second_till(shop)
    body = {"prices": {"sellingPrice": 470}, "applyTo": "all_stores"}
    refused = await web.post(f"{there}/{item['itemId']}/updateprices", headers=who, json=body)
    assert refused.status_code == 409
    assert "at another store" in refused.json()["errors"][0]["detail"]


async def test_a_variant_of_another_product_is_unknown_like_any_other(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    item, others, foreign = await kaftan(shop, "S"), await kaftan(other_shop, "S"), await make(web, shop)
    assert others["ids"] != item["ids"]
    wish = {"prices": {"sellingPrice": 10}}
    answers = []
    for unknown in (others["ids"][0], str(uuid4()), "var_1"):
        wished = [{"variantId": item["ids"][0], **wish}, {"variantId": unknown, **wish}]
        refused = await price(web, shop, item, variantPrices=wished)
        answers.append((refused.status_code, refused.json()["errors"]))
    assert answers[0][0] == 422
    assert answers[0][1][0]["pointer"] == "/variantPrices/1/variantId"
    assert answers == [answers[0]] * 3
    twice = await price(web, shop, item, variantPrices=[{"variantId": item["ids"][0], **wish}] * 2)
    assert (twice.status_code, twice.json()["errors"][0]["pointer"]) == (422, "/variantPrices/1/variantId")
    assert (await price(web, other_shop, foreign, prices={"sellingPrice": 1})).status_code == 404
    (line,) = (await price_list(web, shop, size=1))["data"]
    assert line["prices"]["sellingPrice"] == 9000


async def test_a_change_on_an_old_version_is_refused(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    path = stock(shop, f"/{item['itemId']}")
    tag = (await web.get(path, headers=session(shop))).headers["etag"]

    async def tagged(amount: int) -> int:
        answer = await web.post(
            f"{path}/updateprices",
            headers=session(shop) | {"if-match": tag},
            json={"prices": {"sellingPrice": amount}},
        )
        return answer.status_code

    # Both at once: the product is held before the tags are compared.
    assert sorted(await asyncio.gather(*(tagged(amount) for amount in (510, 520, 530)))) == [200, 412, 412]
    changed = (await web.get(path, headers=session(shop))).json()
    assert changed["version"] == item["version"] + 1


async def test_the_reason_is_kept_and_the_same_price_changes_nothing(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    await priced(web, shop, item, prices={"sellingPrice": 550}, reason="supplier increase")
    await priced(web, shop, item, prices={"sellingPrice": 550}, reason="again")
    (_, change) = (await feed(web, shop))["data"]
    assert (change["reason"], change["changedBy"]) == ("supplier increase", str(shop.user_id))
    assert (change["before"]["sellingPrice"], change["after"]["sellingPrice"]) == (500, 550)
    async with shop.owner.reading() as db:
        reasons = await db.values(
            "SELECT after ->> 'reason' FROM audit_entry WHERE merchant_id = current_merchant()"
            " AND action = 'product.price'"
        )
    assert reasons == ["supplier increase"]


async def test_a_repeat_with_the_same_key_changes_prices_once(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    headers = session(shop) | {"idempotency-key": "price-of-malt-1"}
    path = stock(shop, f"/{item['itemId']}/updateprices")
    body = {"prices": {"sellingPrice": 550}}
    first, again = [await web.post(path, headers=headers, json=body) for _ in range(2)]
    assert first.content == again.content
    assert [change["changeType"] for change in (await feed(web, shop))["data"]] == [
        "created",
        "price_changed",
    ]


async def test_costs_are_for_those_who_may_see_them(web: Web, shop: Shop) -> None:
    item = await make(web, shop, prices={"sellingPrice": 500, "costPrice": 350})
    await priced(web, shop, item, prices={"sellingPrice": 510})
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    who = {"sessiontoken": cashier.session}
    for path, query in (("/prices", {}), ("/prices/changes", {"since": START}), ("", {})):
        answer = await web.get(stock(shop, path), params=query, headers=who)
        assert answer.status_code == 200
        assert '"costPrice":350' not in answer.text, path
    refused = await web.post(
        stock(shop, f"/{item['itemId']}/updateprices"), headers=who, json={"prices": {"sellingPrice": 1}}
    )
    assert refused.status_code == 403


async def test_a_store_that_sells_in_other_money_has_prices_in_its_own(web: Web, shop: Shop) -> None:
    item = await make(web, shop, prices={"sellingPrice": 500, "costPrice": 350})
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE store SET currency = 'JPY' WHERE merchant_id = current_merchant() AND store_id = :id",
            id=shop.second_store_id,
        )
    there, who = await second_till(shop)
    path = f"{there}/{item['itemId']}/updateprices"
    for prices, field in (
        ({"costPrice": 50}, "sellingPrice"),
        ({"sellingPrice": 80.5}, "sellingPrice"),
        ({"sellingPrice": 80, "promoPrice": 70.1}, "promoPrice"),
    ):
        refused = await web.post(path, headers=who, json={"prices": prices})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, f"/prices/{field}")
    taken = await web.post(path, headers=who, json={"prices": {"sellingPrice": 80}})
    prices = taken.json()["data"][0]["prices"]
    assert (prices["currency"], prices["sellingPrice"], prices["costPrice"]) == ("JPY", 80, None)
    # Everybody else's price is in naira: it is not this store's to give, and does not touch it.
    refused = await web.post(
        path, headers=who, json={"prices": {"sellingPrice": 90}, "applyTo": "all_stores"}
    )
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (409, "/applyTo")
    await priced(web, shop, item, prices={"sellingPrice": 600}, applyTo="all_stores")
    (line,) = (await web.get(f"{there}/prices", headers=who)).json()["data"]
    assert (line["prices"]["currency"], line["prices"]["sellingPrice"]) == ("JPY", 80)


# The price list ------------------------------------------------------------------------------------


async def test_the_list_has_a_line_for_each_simple_product_and_variant(web: Web, shop: Shop) -> None:
    tax = {"taxable": True, "taxRate": 0.075, "vatType": "inclusive"}
    await make(web, shop, name="Malt", sku="M-1", barcode="600", unit="tin", tax=tax)
    await kaftan(shop)
    page = await price_list(web, shop)
    assert [(line["name"], line["sku"]) for line in page["data"]] == [
        ("Kaftan – S", "KAF-S"),
        ("Kaftan – M", "KAF-M"),
        ("Kaftan – L", "KAF-L"),
        ("Malt", "M-1"),
    ]
    malt = page["data"][-1]
    assert (malt["barcode"], malt["unit"], malt["tax"]["taxRate"]) == ("600", "tin", 0.075)
    assert (page["totalElements"], page["totalPages"], page["totalExact"]) == (4, 1, True)


async def test_pages_and_cursors_of_the_list_show_every_line_once(web: Web, shop: Shop) -> None:
    for name in ("Malt", "Malt", "Ọ̀pá " * 51, "soap"):
        await make(web, shop, name=name)
    await kaftan(shop)
    whole = (await price_list(web, shop))["data"]
    by_page: list[Any] = []
    by_cursor: list[Any] = []
    for number in (1, 2, 3, 4):
        by_page += (await price_list(web, shop, page=number, size=2))["data"]
    cursor: str | None = ""
    while cursor is not None:
        page = await price_list(web, shop, size=2, **({"cursor": cursor} if cursor else {}))
        by_cursor += page["data"]
        cursor = page["nextCursor"]
    assert by_page == by_cursor == whole
    assert len(whole) == 7


async def test_the_list_goes_by_category_and_status(web: Web, shop: Shop) -> None:
    plain, hidden = await make(web, shop, name="Plain"), await make(web, shop, name="Hidden")
    gone = await make(web, shop, name="Gone", quantity=1)
    await web.put(stock(shop, f"/{hidden['itemId']}"), headers=session(shop), json={"status": "inactive"})
    await deduct(web, shop, gone, quantity=1, reason="other")
    await web.delete(stock(shop, f"/{gone['itemId']}"), headers=session(shop))
    for status, item in (("active", plain), ("inactive", hidden), ("archived", gone)):
        page = await price_list(web, shop, status=status)
        assert [line["itemId"] for line in page["data"]] == [item["itemId"]]
        assert page["data"][0]["status"] == status
    above = await create_category(shop.owner, "Drinks")
    below = await create_category(shop.owner, "Malts", parent_id=above)
    malt = await make(web, shop, name="Malt", categoryIds=[str(below)])
    for category in (above, below):
        page = await price_list(web, shop, categoryid=str(category))
        assert [line["itemId"] for line in page["data"]] == [malt["itemId"]]
        assert page["data"][0]["categoryIds"] == [str(below)]
    for unknown in (str(uuid4()), "cat_1"):
        assert (await price_list(web, shop, categoryid=unknown))["data"] == []


@pytest.mark.parametrize(
    ("path", "query", "pointer"),
    [
        ("/prices", {"page": 201}, "#/query/page"),
        ("/prices", {"cursor": "x"}, "#/query/cursor"),
        ("/prices", {"cursor": "k6NhYmPEEA=="}, "#/query/cursor"),
        ("/prices/changes", {"since": START, "page": 201}, "#/query/page"),
        ("/prices/changes", {"since": START, "cursor": "x"}, "#/query/cursor"),
        ("/prices/changes", {"since": START, "until": "2025-12-31T00:00:00Z"}, "#/query/until"),
        ("/prices/changes", {"since": "yesterday"}, "#/query/since"),
        ("/prices/changes", {}, "#/query/since"),
    ],
)
async def test_a_page_that_is_none_is_refused(
    web: Web, shop: Shop, path: str, query: dict[str, Any], pointer: str
) -> None:
    refused = await web.get(stock(shop, path), params=query, headers=session(shop))
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == pointer


# The feed ------------------------------------------------------------------------------------------


async def test_a_till_goes_on_from_where_it_was(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    first = await feed(web, shop)
    assert [change["changeType"] for change in first["data"]] == ["created"]
    assert first["data"][0]["before"] is None
    assert (await feed(web, shop, first["asOf"]))["data"] == []
    await priced(web, shop, item, prices={"promoPrice": 450, "promoEndsAt": "2026-01-02T00:00:00Z"})
    second = await feed(web, shop, first["asOf"])
    (change,) = second["data"]
    # What it came to at the moment of the change: the promotion was over by then.
    assert (change["after"]["promoPrice"], change["after"]["effectivePrice"]) == (450, 500)
    await web.delete(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    (change,) = (await feed(web, shop, second["asOf"]))["data"]
    assert (change["changeType"], change["after"]) == ("removed", None)


async def test_a_till_that_has_everything_is_told_so_in_a_few_bytes(web: Web, shop: Shop) -> None:
    await make(web, shop)
    as_of = (await feed(web, shop))["asOf"]
    path, query = stock(shop, "/prices/changes"), {"since": as_of}
    tag = (await web.get(path, params=query, headers=session(shop))).headers["etag"]
    again = await web.get(path, params=query, headers=session(shop) | {"if-none-match": tag})
    assert again.status_code == 304


async def test_a_line_of_another_version_reads_the_same(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is put together from kept lines, or from what they were made of."""
    item = await make(web, shop, name='Malt "33" ₦', prices={"sellingPrice": 500.5, "costPrice": 350})
    await priced(web, shop, item, prices={"promoPrice": 450, "promoEndsAt": "2096-01-01T00:00:00Z"})
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    for who in (session(shop), {"sessiontoken": cashier.session}):
        for query in ({"since": START}, {"since": START, "size": 1}, {"since": START, "size": 1, "page": 2}):
            path = stock(shop, "/prices/changes")
            kept = await web.get(path, params=query, headers=who)
            with monkeypatch.context() as patch:
                patch.setattr(price_feed._words, "version", "storeharmony/0")
                assert (await web.get(path, params=query, headers=who)).json() == kept.json()


def test_a_line_that_reads_otherwise_has_another_version() -> None:
    """Whoever changes how a line reads changes LINE_VERSION, or old lines would be told in old words."""
    price = Price(currency="NGN", selling_minor=50_050, cost_minor=35_000)
    change = price_feed.PriceChange(
        change_id=UUID(int=1),
        kind="created",
        product_id=UUID(int=2),
        variant_id=None,
        sku="M-1",
        barcode=None,
        name="Malt",
        before=None,
        after=price,
        reason=None,
        changed_at=datetime(2026, 1, 1, tzinfo=UTC),
        user_id=None,
    )
    assert (LINE_VERSION, price_line(change).body) == (
        "storeharmony/1",
        '"changeType":"created","itemId":"00000000-0000-0000-0000-000000000002","variantId":null,"sku":"M-1",'
        '"barcode":null,"name":"Malt","before":null,"after":{"currency":"NGN","costPrice":350,'
        '"sellingPrice":500.5,"promoPrice":null,"promoStartsAt":null,"promoEndsAt":null,"wholesalePrice":null,'
        '"wholesaleMinQuantity":null,"effectivePrice":500.5},"reason":null,"changedBy":null}',
    )


# The other APIs ------------------------------------------------------------------------------------


async def test_an_app_is_shown_the_price_of_the_store_its_token_speaks_for(web: Web, shop: Shop) -> None:
    item = await make(web, shop, prices={"sellingPrice": 500})
    await make(web, shop, name="Middle", prices={"sellingPrice": 600})
    await priced(web, shop, item, prices={"sellingPrice": 700})
    bc, token = f"/stores/{shop.store_hash}/v3/catalog/products", {"x-auth-token": shop.token}
    listed = (await web.get(bc, params={"sort": "price"}, headers=token)).json()["data"]
    assert [product["price"] for product in listed] == [600, 700]
    number = listed[1]["id"]
    assert (await web.get(f"{bc}/{number}", headers=token)).json()["data"]["price"] == 700
    slz = {"access-token": shop.token}
    shown = (await web.get("/openapi/2022-01/products", headers=slz)).json()["products"]
    assert sorted(product["variants"][0]["price"] for product in shown) == ["600.00", "700.00"]
    one = (await web.get(f"/openapi/2022-01/products/{item['itemId']}", headers=slz)).json()["product"]
    assert one["variants"][0]["price"] == "700.00"
    # What an app shows is what it changes: the other store's price stays.
    changed = await web.put(f"{bc}/{number}", headers=token, json={"price": 720, "sale_price": 690})
    assert changed.json()["data"]["price"] == 720
    assert changed.json()["data"]["calculated_price"] == 690
    there, who = await second_till(shop)
    for address, headers, wanted in ((stock(shop), session(shop), 690), (there, who, 500)):
        read = (await web.get(f"{address}/{item['itemId']}", headers=headers)).json()
        assert read["prices"]["effectivePrice"] == wanted
    kinds = [change["changeType"] for change in (await feed(web, shop))["data"]]
    assert kinds == ["created", "created", "price_changed", "price_changed"]
