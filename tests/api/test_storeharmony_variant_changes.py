"""Variants over the StoreHarmony API: added and removed."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.variant_calls import (
    SIZES,
    code,
    make,
    make_simple,
    post,
    read,
    remove,
    sell_everything,
    session,
    size,
    stock,
)
from tests.client import Web
from tests.conftest import picture_bytes
from tests.shop import Shop

# Adding --------------------------------------------------------------------------------------------


async def test_a_simple_product_gets_variants_and_keeps_its_sku_and_its_ledger(web: Web, shop: Shop) -> None:
    simple = await make_simple(
        web, shop, sku="SHIRT", barcode="42", quantity=6, reorderLevel=4, prices={"sellingPrice": 7}
    )
    body = {"options": SIZES, "variants": [size("M", quantity=2), size("L", prices={"sellingPrice": 8})]}
    refused = await post(web, shop, f"/{simple['itemId']}/addvariants", body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (409, "/options")
    assert await read(web, shop, simple) == simple
    await sell_everything(shop)
    made = await post(web, shop, f"/{simple['itemId']}/addvariants", body)
    assert made.status_code == 200, made.text
    item = made.json()
    assert (item["type"], item["sku"], item["barcode"], item["options"]) == ("variant", "SHIRT", "42", SIZES)
    assert (item["quantity"], item["reorderLevel"], item["version"]) == (2, 4, simple["version"] + 1)
    assert [variant["prices"]["sellingPrice"] for variant in item["variants"]] == [7, 8]
    assert await read(web, shop, simple) == item
    found = await web.get(stock(shop, "/findbysku"), params={"sku": "shirt"}, headers=session(shop))
    assert found.json()["matchedVariantId"] is None
    async with shop.owner.reading() as db:
        assert await db.value("SELECT count(*) FROM stock_faults()") == 0
        kept = await db.values(
            "SELECT m.quantity FROM stock_movement m JOIN variant v USING (merchant_id, variant_id)"
            " WHERE v.position = 0 ORDER BY m.seq"
        )
    assert kept == [6, -6]


async def test_both_spellings_add_to_a_product_that_has_options(web: Web, shop: Shop) -> None:
    sizes = [{"name": "Size", "values": ["S", "M", "L", "XL"]}]
    item = await make(web, shop, options=sizes, variants=[size("M")])
    appended = await post(web, shop, f"/{item['itemId']}/variants", {"variants": [size("S", quantity=1)]})
    assert appended.status_code == 200, appended.text
    added = await post(web, shop, f"/{item['itemId']}/addvariants", {"variants": [size("L"), size("XL")]})
    names = [variant["name"] for variant in added.json()["variants"]]
    assert names == ["M", "S", "L", "XL"]
    assert appended.json() == {"itemId": item["itemId"], "data": [added.json()["variants"][1]]}
    assert added.json()["options"] == sizes
    assert added.json()["version"] == item["version"] + 2


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        # The whole list gives the order too; new values alone come last.
        (["S", "M", "L", "XL"], ["S", "M", "L", "XL"]),
        (["XL", "S"], ["M", "L", "XL", "S"]),
        (["M", "XL"], ["M", "L", "XL"]),
    ],
)
async def test_an_option_gets_more_values(web: Web, shop: Shop, sent: list[str], shown: list[str]) -> None:
    item = await make(web, shop)
    body = {"options": [{"name": "Size", "values": sent}], "variants": [size("XL")]}
    answer = await post(web, shop, f"/{item['itemId']}/addvariants", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["options"] == [{"name": "Size", "values": shown}]


@pytest.mark.parametrize(
    ("path", "body", "status", "pointer"),
    [
        ("variants", {"variants": [size("M")]}, 409, "/variants/0/options"),
        ("variants", {"variants": [size("XL")]}, 422, "/variants/0/options/0/value"),
        ("variants", {"variants": [size("L", sku="ank-m")]}, 409, "/variants/0/sku"),
        ("variants", {"variants": [size("L", sku="ank")]}, 422, "/variants/0/sku"),
        ("variants", {"variants": [size("L"), size("L")]}, 422, "/variants/1/options"),
        ("variants", {"variants": [size("L", imagePosition=2)]}, 422, "/variants/0/imagePosition"),
        ("addvariants", {"variants": [size("M")]}, 409, "/variants/0/options"),
        (
            "addvariants",
            {"options": [{"name": "Colour", "values": ["Red"]}], "variants": [size("L")]},
            422,
            "/options/0/name",
        ),
        (
            "addvariants",
            {"options": [{"name": "Size", "values": [f"{n}" for n in range(59)]}], "variants": [size("L")]},
            422,
            "/options/0/values",
        ),
    ],
)
async def test_what_cannot_be_added_is_named_and_nothing_is_added(
    web: Web, shop: Shop, path: str, body: dict[str, Any], status: int, pointer: str
) -> None:
    item = await make(web, shop, sku="ANK", variants=[size("M", sku="ANK-M")])
    answer = await post(web, shop, f"/{item['itemId']}/{path}", body)
    assert answer.status_code == status, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    assert await read(web, shop, item) == item


async def test_a_product_without_options_needs_them_first(web: Web, shop: Shop) -> None:
    item = await make_simple(web, shop)
    body = {"variants": [size("M")]}
    appended = await post(web, shop, f"/{item['itemId']}/variants", body)
    assert (appended.status_code, code(appended)) == (409, "no-options")
    added = await post(web, shop, f"/{item['itemId']}/addvariants", body)
    assert added.status_code == 422
    assert added.json()["errors"][0]["pointer"] == "/options"


async def test_a_variant_shows_a_picture_of_the_product(web: Web, shop: Shop) -> None:
    item = await make(web, shop, variants=[size("M")])
    for seed in (1, 2):
        picture = picture_bytes("PNG", size=(8, 6), seed=seed)
        headers = session(shop, **{"content-type": "image/png"})
        path = stock(shop, f"/{item['itemId']}/addpicture")
        assert (await web.post(path, headers=headers, content=picture)).status_code == 200
    body = {"variants": [size("L", imagePosition=2)]}
    added = await post(web, shop, f"/{item['itemId']}/variants", body)
    assert added.json()["data"][0]["imagePosition"] == 2

    async def change(**fields: Any) -> list[int | None]:
        changed = await web.put(stock(shop, f"/{item['itemId']}"), headers=session(shop), json=fields)
        assert changed.status_code == 200, changed.text
        return [variant["imagePosition"] for variant in changed.json()["variants"]]

    assert await change(imageOrder=[2, 1]) == [None, 1]
    images = (await read(web, shop, item))["images"]
    assert await change(removeImageIds=[images[0]["imageId"]]) == [None, None]


# Removing ------------------------------------------------------------------------------------------


async def test_what_still_lies_there_is_refused_or_written_off_with_the_note(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    large = item["variants"][1]["variantId"]
    refused = await remove(web, shop, item, variantIds=[large])
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (409, "/variantIds/0")
    assert await read(web, shop, item) == item
    answer = await remove(
        web, shop, item, variantIds=[large], onRemainingStock="write_off", note="Eaten by moths"
    )
    assert answer.status_code == 200, answer.text
    left = answer.json()
    assert ([variant["name"] for variant in left["variants"]], left["quantity"]) == (["M"], 5)
    assert left["options"] == SIZES
    assert await read(web, shop, item) == left
    async with shop.owner.reading() as db:
        assert await db.value("SELECT count(*) FROM stock_faults()") == 0
        last: list[dict[str, Any]] = await db.all(
            "SELECT quantity, after, reason FROM stock_movement"
            " WHERE variant_id::text = :large ORDER BY seq DESC LIMIT 1",
            into=dict,
            large=large,
        )
    assert last == [{"quantity": -3, "after": 0, "reason": "Eaten by moths"}]


async def test_a_removed_variant_gives_its_sku_and_its_combination_free(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    large = item["variants"][1]["variantId"]
    assert (
        await remove(web, shop, item, variantIds=[large], onRemainingStock="write_off")
    ).status_code == 200
    missing = await web.get(stock(shop, "/findbysku"), params={"sku": "ANK-L"}, headers=session(shop))
    assert missing.status_code == 404
    again = await remove(web, shop, item, variantIds=[large])
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (422, "/variantIds/0")
    back = await post(web, shop, f"/{item['itemId']}/variants", {"variants": [size("L", sku="ANK-L")]})
    assert back.status_code == 200, back.text
    assert back.json()["data"][0]["variantId"] != large


async def test_what_never_moved_is_deleted_and_the_rest_archived(web: Web, shop: Shop) -> None:
    item = await make(web, shop, variants=[size("M", quantity=1), size("L")])
    kept = (await post(web, shop, f"/{item['itemId']}/addvariants", WIDER)).json()["variants"]
    gone = [variant["variantId"] for variant in kept[:2]]
    await sell_everything(shop)
    assert (await remove(web, shop, item, variantIds=gone)).status_code == 200
    async with shop.owner.reading() as db:
        rows: list[dict[str, Any]] = await db.all(
            "SELECT name, archived FROM variant WHERE position > 0 ORDER BY position", into=dict
        )
    assert rows == [{"name": "M", "archived": True}, {"name": "XL", "archived": False}]


WIDER = {"options": [{"name": "Size", "values": ["XL"]}], "variants": [size("XL")]}


async def test_only_variants_of_the_product_are_removed_and_never_all(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    item = await make(web, shop, variants=[size("M"), size("L")])
    medium, large = (variant["variantId"] for variant in item["variants"])
    foreign = await make(web, other_shop)
    simple = await make_simple(web, shop)
    second = await make(web, shop, name="Another", variants=[size("M")])
    async with shop.owner.reading() as db:
        own = await db.values("SELECT variant_id::text FROM variant WHERE position IN (0, 1)")
    unknown = [str(uuid4()), "x", foreign["variants"][0]["variantId"], second["variants"][0]["variantId"]]
    for variant_id in (*unknown, *(one for one in own if one != medium)):
        answer = await remove(web, shop, item, variantIds=[medium, variant_id])
        assert (answer.status_code, code(answer)) == (422, "unknown-variant"), answer.text
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/variantIds/1"]
    nothing = await remove(web, shop, simple, variantIds=[medium])
    assert nothing.status_code == 422
    whole = await remove(web, shop, item, variantIds=[medium, large])
    assert (whole.status_code, code(whole)) == (409, "last-variant")
    assert await read(web, shop, item) == item
    # The same id in two spellings is one variant.
    twice = await remove(web, shop, item, variantIds=[medium, medium.upper()])
    assert [variant["name"] for variant in twice.json()["variants"]] == ["L"]


# Versions, repeats, the audit trail ----------------------------------------------------------------


@pytest.mark.parametrize("operation", ["variants", "addvariants", "removevariants"])
async def test_an_old_version_or_etag_changes_nothing(web: Web, shop: Shop, operation: str) -> None:
    item = await make(web, shop, variants=[size("M")])
    address = stock(shop, f"/{item['itemId']}")
    old = (await web.get(address, headers=session(shop))).headers["etag"]
    added = await post(web, shop, f"/{item['itemId']}/addvariants", WIDER | {"version": item["version"]})
    assert added.status_code == 200, added.text
    body: dict[str, Any] = {"variants": [size("L")]}
    if operation == "removevariants":
        body = {"variantIds": [item["variants"][0]["variantId"]]}
    method = "PUT" if operation == "removevariants" else "POST"
    path = stock(shop, f"/{item['itemId']}/{operation}")
    stale = await web.call(method, path, headers=session(shop), json=body | {"version": item["version"]})
    assert (stale.status_code, code(stale)) == (409, "version-old")
    other = await web.call(method, path, headers=session(shop, **{"if-match": old}), json=body)
    assert other.status_code == 412
    now = await web.get(address, headers=session(shop))
    assert now.json() == added.json()
    fresh = session(shop, **{"if-match": now.headers["etag"]})
    done = await web.call(method, path, headers=fresh, json=body | {"version": added.json()["version"]})
    assert done.status_code == 200, done.text


async def test_a_repeat_with_the_same_key_has_one_effect(web: Web, shop: Shop) -> None:
    item = await make(web, shop, variants=[size("M")])
    key = {"idempotency-key": f"add-{item['itemId']}"}
    body = {"variants": [size("L", quantity=4)]}
    answers = [await post(web, shop, f"/{item['itemId']}/variants", body, **key) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert (await read(web, shop, item))["quantity"] == 4


async def test_the_audit_trail_tells_what_came_and_went(web: Web, shop: Shop) -> None:
    item = await make(web, shop, variants=[size("M")])
    await post(web, shop, f"/{item['itemId']}/addvariants", WIDER)
    await remove(web, shop, item, variantIds=[item["variants"][0]["variantId"]])
    async with shop.owner.reading() as db:
        entries: list[dict[str, Any]] = await db.all(
            """
            SELECT action, jsonb_path_query_array(before::jsonb, '$.variants[*].name')::text AS before,
                   jsonb_path_query_array(after::jsonb, '$.variants[*].name')::text AS after
            FROM audit_entry WHERE subject_id = :id ORDER BY at, audit_id
            """,
            into=dict,
            id=item["itemId"],
        )
    assert [(entry["action"], entry["before"], entry["after"]) for entry in entries] == [
        ("product.create", None, '["M"]'),
        ("product.variants_added", '["M"]', '["M", "XL"]'),
        ("product.variants_removed", '["M", "XL"]', '["XL"]'),
    ]


async def test_another_shops_session_finds_no_product_to_change(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    item = await make(web, shop)
    for method, path, body in (
        ("GET", "variants", None),
        ("POST", "variants", {"variants": [size("L")]}),
        ("POST", "addvariants", WIDER),
        ("PUT", "removevariants", {"variantIds": [item["variants"][0]["variantId"]]}),
    ):
        answer = await web.call(
            method, stock(other_shop, f"/{item['itemId']}/{path}"), headers=session(other_shop), json=body
        )
        assert answer.status_code == 404, answer.text
    assert await read(web, shop, item) == item
