"""The text pages of a store, which are open to everybody."""

import httpx
import pytest

from kasuwa.base.ids import new_id
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.shop import Shop

# The path, what it is in the settings, and its kind.
PAGES = [
    ("aboutus", "about", "about"),
    ("policies/privacy", "privacyPolicy", "privacy"),
    ("policies/delivery", "deliveryPolicy", "delivery"),
]


async def read(web: Web, store_id: object, path: str, **headers: str) -> httpx.Response:
    return await web.get(f"/cloudapi/estore/{store_id}/{path}", headers=headers)


@pytest.mark.parametrize(("path", "field", "kind"), PAGES)
async def test_what_the_merchant_wrote_is_read_by_anybody_letter_for_letter(
    web: Web, shop: Shop, path: str, field: str, kind: str
) -> None:
    assert (await read(web, shop.store_id, path)).status_code == 404
    text = f"<script>alert({kind!r})</script>\n & more"
    settings = f"/manage/{shop.store_id}/settings"
    headers = {"sessiontoken": shop.session}
    written = await web.call("PATCH", settings, headers=headers, json={"pages": {field: text}})
    assert written.status_code == 200, written.text
    answer = await read(web, shop.store_id, path)
    page = answer.json()
    assert (page["kind"], page["content"], page["contentType"]) == (kind, text, "text/plain")
    again = await read(web, shop.store_id, path, **{"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    others = [one for one, _, _ in PAGES if one != path]
    assert [(await read(web, shop.store_id, one)).status_code for one in others] == [404, 404]
    assert (await read(web, shop.second_store_id, path)).status_code == 404
    await web.call("PATCH", settings, headers=headers, json={"pages": {field: None}})
    assert (await read(web, shop.store_id, path)).status_code == 404


async def test_a_store_that_is_not_open_has_no_pages(web: Web, shop: Shop, schema_owner: SchemaOwner) -> None:
    headers = {"sessiontoken": shop.session}
    body = {"pages": {"about": "We weave."}}
    await web.call("PATCH", f"/manage/{shop.store_id}/settings", headers=headers, json=body)
    assert (await read(web, shop.store_id, "aboutus")).status_code == 200
    await schema_owner.execute("UPDATE store SET status = 'closed' WHERE store_id = $1", shop.store_id)
    for store_id in (shop.store_id, new_id(), "nowhere"):
        assert (await read(web, store_id, "aboutus")).status_code == 404
