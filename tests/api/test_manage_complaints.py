"""Complaints of a store, over /manage: listed, read with their files, and answered."""

import asyncio
import base64
from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.permissions import Role
from tests.accounts import messages_to
from tests.client import Web
from tests.contract.cast import hire
from tests.mobiles import new_mobile
from tests.shop import Shop

Json = dict[str, Any]


async def ask(web: Web, shop: Shop, path: str, *, method: str = "GET", **options: Any) -> httpx.Response:
    headers = {"sessiontoken": options.pop("session", shop.session), **options.pop("headers", {})}
    return await web.call(method, f"/manage/{shop.store_id}/{path}", headers=headers, **options)


async def complain(web: Web, shop: Shop, *, session: str = "", user_id: Any = None, **changes: Any) -> None:
    body = {"subject": "The printer", "message": "It prints twice.", "category": "HARDWARE"} | changes
    answer = await web.post(
        f"/cloudapi/user/{user_id or shop.user_id}/complaint",
        headers={"sessiontoken": session or shop.session},
        json=body,
    )
    assert answer.status_code == 200, answer.text


async def only_one(web: Web, shop: Shop) -> Json:
    [listed] = (await ask(web, shop, "complaints")).json()["data"]
    answer = await ask(web, shop, f"complaints/{listed['complaintId']}")
    assert answer.status_code == 200, answer.text
    return {**answer.json(), "tag": answer.headers["etag"]}


async def set_status(
    web: Web, shop: Shop, complaint_id: str, status: str, note: str | None = None, **options: Any
) -> httpx.Response:
    body = {"status": status} | ({} if note is None else {"note": note})
    return await ask(web, shop, f"complaints/{complaint_id}/status", method="PUT", json=body, **options)


def attachment(content: bytes, content_type: str, name: str) -> Json:
    return {"fileName": name, "contentType": content_type, "data": base64.b64encode(content).decode()}


async def test_a_complaint_is_read_with_its_words_and_its_files_are_saved(
    web: Web, shop: Shop, png: bytes
) -> None:
    name = 'Ọjà "1"; x=\u202egnp.pdf'
    files = [attachment(png, "image/png", "photo.png"), attachment(b"%PDF-1.7 <b>", "application/pdf", name)]
    await complain(web, shop, attachments=files, reference="R-17", message="<script>alert(1)</script>")
    found = await only_one(web, shop)
    assert (found["ticketId"], found["status"], found["userName"]) == ("T-1", "OPEN", "Ada Obi")
    assert (found["message"], found["reference"]) == ("<script>alert(1)</script>", "R-17")
    assert (found["contactEmail"], found["contactMobile"]) == (shop.email, None)
    assert [(one["position"], one["fileName"], one["sizeBytes"]) for one in found["attachments"]] == [
        (1, "photo.png", len(png)),
        (2, name, 12),
    ]
    base = f"complaints/{found['complaintId']}/attachments"
    first, second = await ask(web, shop, f"{base}/1"), await ask(web, shop, f"{base}/2")
    assert (first.content, first.headers["content-type"]) == (png, "image/png")
    assert (second.content, second.headers["content-type"]) == (b"%PDF-1.7 <b>", "application/pdf")
    for file in (first, second):
        assert file.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in file.headers["content-security-policy"]
        assert "private" in file.headers["cache-control"]
    disposition = second.headers["content-disposition"]
    assert disposition.startswith("attachment; filename*=UTF-8''")
    assert disposition.isascii()
    assert not set(disposition.partition("''")[2]) & set('";= \r\n')
    for position, status in (("3", 404), ("0", 422), ("x", 422)):
        assert (await ask(web, shop, f"{base}/{position}")).status_code == status


async def test_the_list_is_of_the_store_filtered_and_misses_nothing(web: Web, shop: Shop) -> None:
    for n in range(5):
        await complain(web, shop, subject=f"Printer {n}")
    await complain(web, shop, storeId=str(shop.second_store_id))
    whole = (await ask(web, shop, "complaints")).json()["data"]
    assert [one["subject"] for one in whole] == [f"Printer {n}" for n in (4, 3, 2, 1, 0)]
    await set_status(web, shop, whole[1]["complaintId"], "CLOSED")
    closed = (await ask(web, shop, "complaints", params={"status": "CLOSED"})).json()["data"]
    assert [one["subject"] for one in closed] == ["Printer 3"]
    found: list[str] = []
    cursor: Json = {}
    for _ in range(3):
        page = (await ask(web, shop, "complaints", params={"size": "2", **cursor})).json()
        found += [one["subject"] for one in page["data"]]
        cursor = {"cursor": page["nextCursor"]}
    assert cursor == {"cursor": None}
    assert found == [one["subject"] for one in whole]
    assert (await ask(web, shop, "complaints", params={"cursor": "nonsense"})).status_code == 422


async def test_a_new_status_is_noted_audited_and_told(web: Web, shop: Shop) -> None:
    await complain(web, shop)
    complaint = await only_one(web, shop)
    changed = await set_status(web, shop, complaint["complaintId"], "IN_PROGRESS", "We send a new one.")
    assert changed.status_code == 200, changed.text
    assert changed.json()["status"] == "IN_PROGRESS"
    [note] = changed.json()["notes"]
    assert (note["status"], note["note"], note["userId"]) == (
        "IN_PROGRESS",
        "We send a new one.",
        str(shop.user_id),
    )
    # A note to the same status is for colleagues; the same status without one is nothing.
    noted = await set_status(web, shop, complaint["complaintId"], "IN_PROGRESS", "Ordered.")
    same = await set_status(web, shop, complaint["complaintId"], "IN_PROGRESS")
    assert (len(noted.json()["notes"]), same.json()) == (2, noted.json())
    [mail] = await messages_to(web.services, shop.email)
    assert mail["template"] == "complaint-in-progress"
    assert "T-1" in mail["text"]
    assert "We send a new one." in mail["text"]
    trail = (await ask(web, shop, "audit", params={"action": "complaint.status"})).json()["data"]
    # The trail cannot be changed: it has no words that may tell of somebody who is erased later.
    shown = [(entry["after"]["status"], entry["after"]["hasNote"]) for entry in trail]
    assert shown == [("IN_PROGRESS", True)] * 2


async def test_an_address_that_nobody_proved_gets_no_words_of_ours(web: Web, shop: Shop) -> None:
    elsewhere = f"zq.{new_id().hex}@shop.example"
    await complain(web, shop, contactEmail=elsewhere)
    complaint = await only_one(web, shop)
    await set_status(web, shop, complaint["complaintId"], "RESOLVED", "Visit evil.example")
    [mail] = await messages_to(web.services, elsewhere)
    assert "T-1" in mail["text"]
    assert "evil" not in mail["text"]


async def test_who_left_a_mobile_alone_is_told_by_sms_and_who_left_nothing_is_not(
    web: Web, shop: Shop
) -> None:
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE user_account SET email = ''"
            " WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=staff.user_id,
        )
    mobile = new_mobile()
    await complain(web, shop, session=staff.session, user_id=staff.user_id, contactMobile=mobile)
    complaint = await only_one(web, shop)
    await set_status(web, shop, complaint["complaintId"], "CLOSED", "Done.")
    [sms] = await messages_to(web.services, mobile)
    assert (sms["channel"], sms["text"]) == ("sms", "Your complaint T-1 is closed.")
    async with shop.owner.transaction() as db:
        await db.execute("UPDATE complaint SET contact_mobile = '' WHERE merchant_id = current_merchant()")
    again = await set_status(web, shop, complaint["complaintId"], "OPEN")
    assert again.status_code == 200
    listed = (await ask(web, shop, "messages")).json()["data"]
    assert [one["template"] for one in listed] == ["complaint-closed"]


async def test_an_sms_beyond_the_roof_is_noted_and_does_not_leave(web: Web, shop: Shop) -> None:
    mobile = new_mobile()
    await complain(web, shop, contactMobile=mobile)
    async with shop.owner.transaction() as db:
        await db.execute("UPDATE complaint SET contact_email = '' WHERE merchant_id = current_merchant()")
    complaint_id = (await only_one(web, shop))["complaintId"]
    most = web.services.settings.sms_codes_per_number
    for turn in range(most + 1):
        status = ("CLOSED", "OPEN")[turn % 2]
        assert (await set_status(web, shop, complaint_id, status)).status_code == 200
    listed = (await ask(web, shop, "messages")).json()["data"]
    assert [one["status"] for one in listed] == ["failed", *["queued"] * most]


async def test_a_mail_beyond_the_roof_is_noted_and_does_not_leave_and_the_status_changes(
    web: Web, shop: Shop
) -> None:
    elsewhere, other = (f"zq.{new_id().hex}@shop.example" for _ in range(2))
    await complain(web, shop, contactEmail=elsewhere)
    complaint_id = (await only_one(web, shop))["complaintId"]
    for turn in range(11):
        answer = await set_status(web, shop, complaint_id, ("CLOSED", "OPEN")[turn % 2])
        assert answer.status_code == 200
    assert answer.json()["status"] == "CLOSED"
    listed = (await ask(web, shop, "messages")).json()["data"]
    assert [one["status"] for one in listed] == ["failed", *["queued"] * 10]
    assert "mails about complaints" in listed[0]["lastError"]
    assert len(await messages_to(web.services, elsewhere)) == 10
    # Another ticket with the same address is counted with it; another address is not.
    await complain(web, shop, contactEmail=elsewhere.upper())
    await complain(web, shop, contactEmail=other)
    newest, before = (await ask(web, shop, "complaints")).json()["data"][:2]
    for one in (newest, before):
        await set_status(web, shop, one["complaintId"], "CLOSED")
    assert len(await messages_to(web.services, elsewhere, elsewhere.upper())) == 10
    assert len(await messages_to(web.services, other)) == 1


async def test_one_of_several_changes_of_one_version_wins(web: Web, shop: Shop) -> None:
    await complain(web, shop)
    complaint = await only_one(web, shop)
    answers = await asyncio.gather(
        *(
            set_status(web, shop, complaint["complaintId"], status, headers={"if-match": complaint["tag"]})
            for status in ("RESOLVED", "CLOSED", "WAITING_FOR_USER")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    assert len((await only_one(web, shop))["notes"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"status": "LOST"}, "/status"),
        ({"note": "x"}, "/status"),
        ({"status": "OPEN", "note": ""}, "/note"),
        ({"status": "OPEN", "note": "x" * 2001}, "/note"),
        ({"status": "OPEN", "subject": "x"}, "/subject"),
    ],
)
async def test_a_status_that_cannot_be_is_refused(web: Web, shop: Shop, body: Json, pointer: str) -> None:
    await complain(web, shop)
    complaint_id = (await only_one(web, shop))["complaintId"]
    answer = await ask(web, shop, f"complaints/{complaint_id}/status", method="PUT", json=body)
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_another_stores_complaint_is_unknown_and_a_cashier_reads_none(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    file = attachment(b"%PDF-1.7", "application/pdf", "receipt.pdf")
    await complain(web, other_shop, attachments=[file])
    theirs = (await only_one(web, other_shop))["complaintId"]
    await complain(web, shop, storeId=str(shop.second_store_id), attachments=[file])
    async with shop.owner.reading() as db:
        elsewhere = await db.value(
            "SELECT complaint_id FROM complaint WHERE merchant_id = current_merchant()"
        )
    for complaint_id in (theirs, str(elsewhere), str(new_id()), "nonsense"):
        assert (await ask(web, shop, f"complaints/{complaint_id}")).status_code == 404
        assert (await ask(web, shop, f"complaints/{complaint_id}/attachments/1")).status_code == 404
        assert (await set_status(web, shop, complaint_id, "CLOSED")).status_code == 404
    # The control: their own shop reads it, a manager too.
    manager = (await hire(other_shop, Role.MANAGER, other_shop.store_id)).session
    path = f"complaints/{theirs}/attachments/1"
    assert (await ask(web, other_shop, path, session=manager)).status_code == 200
    cashier = (await hire(other_shop, Role.CASHIER, other_shop.store_id)).session
    for path in ("complaints", f"complaints/{theirs}", f"complaints/{theirs}/attachments/1"):
        assert (await ask(web, other_shop, path, session=cashier)).status_code == 403
    assert (await set_status(web, other_shop, theirs, "CLOSED", session=cashier)).status_code == 403
