"""Complaints of store users over the StoreHarmony API."""

import asyncio
import base64
from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.shop import Shop


def account(shop: Shop, path: str) -> str:
    return f"/cloudapi/user/{shop.user_id}{path}"


def complaint(**changes: Any) -> dict[str, Any]:
    return {
        "subject": "The printer",
        "message": "It prints every receipt twice.",
        "category": "HARDWARE",
    } | changes


def attachment(content: bytes, content_type: str = "image/png", name: str = "photo.png") -> dict[str, str]:
    return {
        "fileName": name,
        "contentType": content_type,
        "data": base64.b64encode(content).decode(),
    }


async def complain(web: Web, shop: Shop, **changes: Any) -> httpx.Response:
    return await web.post(
        account(shop, "/complaint"), headers={"sessiontoken": shop.session}, json=complaint(**changes)
    )


async def test_a_complaint_is_kept_with_its_files_under_a_ticket(
    web: Web, shop: Shop, png: bytes, schema_owner: SchemaOwner
) -> None:
    files = [attachment(png), attachment(b"%PDF-1.7 receipt", "application/pdf", "receipt.pdf")]
    answer = await complain(
        web, shop, attachments=files, severity="HIGH", contactMobile="0803 123 4567", reference="R-17"
    )
    assert answer.status_code == 200, answer.text
    ticket = answer.json()
    assert (ticket["ticketId"], ticket["status"], ticket["severity"]) == ("T-1", "OPEN", "HIGH")
    assert (ticket["attachmentCount"], ticket["storeId"]) == (2, str(shop.store_id))
    assert (await complain(web, shop)).json()["ticketId"] == "T-2"
    kept = await schema_owner.fetchrow(
        "SELECT * FROM complaint WHERE merchant_id = $1 AND number = 1", shop.merchant_id
    )
    assert kept is not None
    assert (kept["contact_email"], kept["contact_mobile"]) == (shop.email, "+2348031234567")
    contents = await schema_owner.fetch(
        "SELECT content FROM complaint_attachment WHERE merchant_id = $1 ORDER BY position", shop.merchant_id
    )
    assert [row["content"] for row in contents] == [png, b"%PDF-1.7 receipt"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"subject": "ab"}, "/subject"),
        ({"message": "x" * 5001}, "/message"),
        ({"category": "WEATHER"}, "/category"),
        ({"contactEmail": "nobody"}, "/contactEmail"),
        ({"contactMobile": "12345678"}, "/contactMobile"),
        ({"attachments": [attachment(b"GIF89a")]}, "/attachments/0/contentType"),
        (
            {"attachments": [attachment(b"RIFF\x24\x00\x00\x00WAVEfmt ", content_type="image/webp")]},
            "/attachments/0/contentType",
        ),
        (
            {"attachments": [attachment(b"\x89PNG\r\n\x1a\n"), attachment(b"MZ", "application/pdf")]},
            "/attachments/1/contentType",
        ),
        ({"attachments": [attachment(b"x") | {"data": "not base64!"}]}, "/attachments/0/data"),
        ({"attachments": [attachment(b"x", name="../../etc/passwd")]}, "/attachments/0/fileName"),
        ({"attachments": [attachment(b"x")] * 4}, "/attachments"),
        ({"ticketId": "T-9"}, "/ticketId"),
    ],
)
async def test_a_complaint_that_cannot_be_is_refused(
    web: Web, shop: Shop, change: dict[str, Any], pointer: str
) -> None:
    answer = await complain(web, shop, **change)
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_a_complaint_names_an_own_location_only(web: Web, shop: Shop, other_shop: Shop) -> None:
    ticket = await complain(web, shop, storeId=str(shop.second_store_id))
    assert ticket.json()["storeId"] == str(shop.second_store_id)
    for store_id in (str(other_shop.store_id), str(new_id()), "nowhere"):
        assert (await complain(web, shop, storeId=store_id)).status_code == 404


async def test_one_key_logs_one_complaint(web: Web, shop: Shop) -> None:
    headers = {"sessiontoken": shop.session, "idempotency-key": new_id().hex}
    answers = await asyncio.gather(
        *(web.post(account(shop, "/complaint"), headers=headers, json=complaint()) for _ in range(5))
    )
    assert {answer.json()["ticketId"] for answer in answers} == {"T-1"}
