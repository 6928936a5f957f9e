"""What a merchant may keep: refused beyond it in each API's own words, and never passed by a race."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from kasuwa.base.ids import new_id
from kasuwa.domain.customers.erasure import erase_customer
from kasuwa.domain.merchants.quotas import QuotaKind, read_quotas, set_quotas
from tests.api.bigcommerce_calls import BigCommerceCalls
from tests.api.picture_server import PictureServer
from tests.api.shoplazza_calls import Shoplazza
from tests.api.test_manage_complaints import attachment
from tests.api.test_shoplazza_products import plain
from tests.api.test_storeharmony_customers import ask
from tests.api.test_storeharmony_pictures import add
from tests.api.test_storeharmony_products import deduct, make, session, stock
from tests.client import Web
from tests.conftest import SchemaOwner, picture_bytes
from tests.people import code_of
from tests.shop import Shop

_FREE = 3
NOTHING = {"file_bytes": 0, "files": 0, "products": 0, "variants": 0, "customers": 0}


async def allow(shop: Shop, **wanted: int | None) -> None:
    kinds: Mapping[QuotaKind, int | None] = wanted  # type: ignore[assignment]
    await set_quotas(shop.owner, shop.merchant_id, kinds)


async def kept(shop: Shop) -> dict[str, int]:
    return {quota.kind: quota.kept for quota in await read_quotas(shop.owner, shop.merchant_id)}


async def test_a_product_beyond_the_quota_is_refused_until_one_goes(web: Web, shop: Shop) -> None:
    first = await make(web, shop)
    await allow(shop, products=1)
    body = {"name": "Second", "prices": {"sellingPrice": 500}}
    refused = await web.post(stock(shop), headers=session(shop), json=body)
    assert (refused.status_code, refused.json()["type"].rpartition("#")[2]) == (409, "quota-reached")
    assert "may keep 1 products here. Delete some, or ask" in refused.json()["detail"]
    await web.delete(stock(shop, f"/{first['itemId']}"), headers=session(shop))
    await make(web, shop)
    assert (await kept(shop))["products"] == 1


async def test_an_archived_product_and_its_variants_are_not_kept(web: Web, shop: Shop) -> None:
    counted = await make(web, shop, quantity=3)
    assert await kept(shop) == NOTHING | {"products": 1, "variants": 1}
    await deduct(web, shop, counted, quantity=3, reason="other")
    gone = await web.delete(stock(shop, f"/{counted['itemId']}"), headers=session(shop))
    assert gone.status_code == 200
    assert await kept(shop) == NOTHING


async def test_of_a_bulk_what_fits_is_made_and_the_rest_is_named(web: Web, shop: Shop) -> None:
    await allow(shop, products=2)
    rows = [{"name": f"Row {number}", "prices": {"sellingPrice": 500}} for number in range(3)]
    answer = await web.post(stock(shop, "/createbulk"), headers=session(shop), json={"items": rows})
    assert (await kept(shop))["products"] == 2, answer.text
    assert "may keep 2 products here" in answer.text


async def test_bigcommerce_says_507_as_for_the_limit_of_a_plan(
    bc: BigCommerceCalls, product: int, shop: Shop
) -> None:
    await allow(shop, products=1, files=1)
    body = {"name": "Second", "type": "physical", "weight": 1, "price": 500}
    refused = await bc.post("/catalog/products", body)
    assert (refused.status_code, refused.json()["status"]) == (507, 507)
    assert "may keep 1 products" in refused.json()["detail"]
    assert (await bc.upload(product, picture_bytes("PNG"))).status_code == 200
    beyond = await bc.upload(product, picture_bytes("PNG", seed=1))
    assert (beyond.status_code, beyond.json()["status"]) == (507, 507)
    assert "may keep 1 files" in beyond.json()["detail"]


async def test_shoplazza_says_507_in_each_version(
    slz: Shoplazza, product_id: str, shop: Shop, pictures: PictureServer
) -> None:
    await allow(shop, products=1, files=1)
    await slz.add(product_id, src=pictures.good())
    beyond = await slz.call(
        "POST", f"/products/{product_id}/images", json={"image": {"src": pictures.good(1)}}
    )
    assert beyond.status_code == 507
    assert "may keep 1 files" in beyond.text
    refused = await slz.call("POST", "/products", json={"product": plain("Second")})
    assert refused.status_code == 507, refused.text
    assert "may keep 1 products" in refused.text


async def test_bytes_of_files_are_those_of_what_is_shown_once_each(web: Web, shop: Shop) -> None:
    first, second = await make(web, shop), await make(web, shop)
    content, other = picture_bytes("PNG"), picture_bytes("PNG", seed=1)
    for item in (first, second):
        assert (await add(web, shop, item, content)).status_code == 200
    shown = {"files": 1, "file_bytes": len(content), "products": 2, "variants": 2}
    assert await kept(shop) == NOTHING | shown
    await allow(shop, file_bytes=max(len(content), len(other)))
    beyond = await add(web, shop, first, other)
    assert (beyond.status_code, beyond.json()["type"].rpartition("#")[2]) == (507, "file-quota-reached")
    # What is shown already may be shown once more; what one of two still shows returns nothing.
    assert (await add(web, shop, first, content)).status_code == 200
    await web.delete(stock(shop, f"/{first['itemId']}"), headers=session(shop))
    assert (await kept(shop))["files"] == 1
    # The file itself goes a day later; the space is free at once.
    await web.delete(stock(shop, f"/{second['itemId']}"), headers=session(shop))
    assert (await kept(shop))["file_bytes"] == 0
    assert (await add(web, shop, await make(web, shop), other)).status_code == 200


async def test_files_of_complaints_take_bytes_until_they_are_removed(
    web: Web, shop: Shop, png: bytes
) -> None:
    path = f"/cloudapi/user/{shop.user_id}/complaint"
    file = attachment(png, "image/png", "photo.png")
    body = {"subject": "The printer", "message": "It prints twice.", "category": "HARDWARE"}
    await allow(shop, file_bytes=2 * len(png) - 1)
    with_file = body | {"attachments": [file]}
    assert (await web.post(path, headers=session(shop), json=with_file)).status_code == 200
    assert await kept(shop) == NOTHING | {"file_bytes": len(png)}
    beyond = await web.post(path, headers=session(shop), json=with_file)
    assert (beyond.status_code, code_of(beyond)) == (507, "file-quota-reached")
    # A picture finds as little room, and words alone take none.
    assert (await add(web, shop, await make(web, shop), png)).status_code == 507
    assert (await web.post(path, headers=session(shop), json=body)).status_code == 200
    complaints = f"/manage/{shop.store_id}/complaints"
    [one] = [
        row
        for row in (await web.get(complaints, headers=session(shop))).json()["data"]
        if row["attachmentCount"]
    ]
    place = f"{complaints}/{one['complaintId']}/attachments/1"
    removed = await web.delete(place, headers=session(shop))
    assert (removed.status_code, removed.json()["attachments"]) == (200, [])
    assert (await web.delete(place, headers=session(shop))).status_code == 404
    assert (await kept(shop))["file_bytes"] == 0
    assert (await web.post(path, headers=session(shop), json=with_file)).status_code == 200


async def test_a_build_that_does_not_count_files_of_complaints_is_found(
    web: Web, shop: Shop, png: bytes, schema_owner: SchemaOwner
) -> None:
    """The control of the test above: without the trigger the second one is taken."""
    body = {
        "subject": "The printer",
        "message": "It prints twice.",
        "category": "HARDWARE",
        "attachments": [attachment(png, "image/png", "photo.png")],
    }
    await allow(shop, file_bytes=2 * len(png) - 1)
    path = f"/cloudapi/user/{shop.user_id}/complaint"
    await schema_owner.execute("ALTER TABLE complaint_attachment DISABLE TRIGGER count_bytes")
    try:
        answers = [await web.post(path, headers=session(shop), json=body) for _ in range(2)]
    finally:
        await schema_owner.execute("ALTER TABLE complaint_attachment ENABLE TRIGGER count_bytes")
    assert [one.status_code for one in answers] == [200, 200]


async def test_a_quota_that_was_lowered_takes_nothing_away(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    await make(web, shop)
    await allow(shop, products=1)
    changed = await web.put(
        stock(shop, f"/{item['itemId']}"), headers=session(shop), json={"name": "New name"}
    )
    assert changed.status_code == 200
    await allow(shop, products=0)
    await make(web, shop)
    assert (await kept(shop))["products"] == 3


def buyer() -> dict[str, str]:
    return {"firstname": "Efe", "email": f"efe.{new_id().hex}@shop.example"}


async def test_a_customer_beyond_the_quota_is_refused_until_one_is_erased(web: Web, shop: Shop) -> None:
    await allow(shop, customers=1)
    first = await ask(web, shop, "register", buyer())
    refused = await ask(web, shop, "register", buyer(), status=409)
    assert refused["type"].rpartition("#")[2] == "quota-reached"
    assert "may keep 1 customers here. Erase some, or ask" in refused["detail"]
    assert await kept(shop) == NOTHING | {"customers": 1}
    for _ in range(2):  # who is erased already is not taken off again
        await erase_customer(shop.owner, UUID(first["customerId"]))
        assert await kept(shop) == NOTHING
    await ask(web, shop, "register", buyer())
    await ask(web, shop, "register", buyer(), status=409)


async def register(web: Web, shop: Shop) -> list[int]:
    """The statuses of twenty registrations at the same time."""

    async def one() -> int:
        status = 503
        while status == 503:  # a busy machine says so, and is asked again
            path = f"/cloudapi/crm/{shop.store_id}/customers/register"
            status = (await web.post(path, headers=session(shop), json=buyer())).status_code
        return status

    return sorted(await asyncio.gather(*(one() for _ in range(20))))


async def test_twenty_registrations_at_the_edge_do_not_pass_it(web: Web, shop: Shop) -> None:
    await allow(shop, customers=_FREE)
    assert await register(web, shop) == [200] * _FREE + [409] * (20 - _FREE)
    assert (await kept(shop))["customers"] == _FREE


async def crowd(web: Web, shop: Shop, item: dict[str, Any]) -> list[int]:
    """The statuses of twenty uploads of different pictures at the same time."""

    async def upload(seed: int) -> int:
        status = 503
        while status == 503:  # a busy machine says so, and is asked again
            status = (await add(web, shop, item, picture_bytes("PNG", seed=seed))).status_code
        return status

    return sorted(await asyncio.gather(*(upload(seed) for seed in range(20))))


async def test_twenty_uploads_at_the_edge_do_not_pass_it(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    await allow(shop, files=_FREE)
    assert await crowd(web, shop, item) == [200] * _FREE + [507] * (20 - _FREE)
    assert (await kept(shop))["files"] == _FREE


async def test_without_the_count_that_settles_it_they_pass(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    """The control: only the look before the upload is left."""
    item = await make(web, shop)
    await allow(shop, files=_FREE, customers=_FREE)
    await schema_owner.execute("ALTER FUNCTION require_quota RENAME TO require_quota_kept")
    await schema_owner.execute(
        "CREATE FUNCTION require_quota(uuid, text) RETURNS void LANGUAGE sql AS 'SELECT'"
    )
    try:
        await crowd(web, shop, item)
        assert await register(web, shop) == [200] * 20
    finally:
        await schema_owner.execute("DROP FUNCTION require_quota")
        await schema_owner.execute("ALTER FUNCTION require_quota_kept RENAME TO require_quota")
    assert (await kept(shop))["files"] > _FREE
