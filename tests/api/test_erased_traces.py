"""What others wrote about a customer goes with them: complaints, and checks of their addresses."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kasuwa.database import DatabaseUrls
from kasuwa.domain.customers import erasure
from kasuwa.domain.messages import courier
from tests.api.test_manage_complaints import complain
from tests.api.test_manage_customers import Canary, Seen, ask, files_with, tables_with
from tests.base.database import connected, superuser_url
from tests.client import Web
from tests.shop import Shop


@pytest.fixture
def seen(database_urls: DatabaseUrls, data_folder: Path) -> Seen:
    async def search(words: list[str]) -> set[str]:
        async with connected(superuser_url(database_urls)) as superuser:
            return await tables_with(superuser, words) | files_with(data_folder, words)

    return search


async def erase(web: Web, shop: Shop, canary: Canary) -> None:
    await ask(web, shop, f"{canary.place}/erase", method="POST")
    while await web.services.jobs.run_due():
        pass


async def skip_complaints(*_: Any) -> list[UUID]:
    return []


async def test_an_erasure_that_skips_complaints_is_found(
    web: Web, shop: Shop, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Canary()
    await gone.live(web, shop)
    monkeypatch.setattr(erasure, "forget_complaints", skip_complaints)
    await erase(web, shop, gone)
    left = {"complaint", "complaint_note", "complaint_attachment", "message", "outbox.jsonl"}
    assert await seen(gone.words) == left


async def test_an_erasure_that_skips_checks_of_addresses_is_found(
    web: Web, shop: Shop, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Canary()
    await gone.live(web, shop)
    monkeypatch.setattr(courier, "_checks", lambda *_: False)
    await erase(web, shop, gone)
    assert await seen(gone.words) == {"outbox.jsonl"}


async def test_the_ticket_stays_and_says_nothing_and_other_complaints_stay_whole(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    gone, stays = Canary(), Canary()
    for canary in (gone, stays):
        await canary.live(web, shop)
    # Another merchant's complaint with the same address is theirs.
    await complain(web, other_shop, contactEmail=gone.body["email"])
    data = await ask(web, shop, f"{stays.place}/export", method="POST")
    assert [one["contactEmail"] for one in data["complaints"]] == [stays.body["email"], shop.email]
    await erase(web, shop, gone)
    listed = (await ask(web, shop, "complaints"))["data"]
    assert [(one["ticketId"], one["subject"] != "", one["attachmentCount"]) for one in listed] == [
        ("T-4", True, 0),
        ("T-3", True, 1),
        ("T-2", False, 0),
        ("T-1", False, 0),
    ]
    emptied = await ask(web, shop, f"complaints/{listed[-1]['complaintId']}")
    assert (emptied["message"], emptied["contactEmail"], emptied["contactMobile"]) == ("", None, None)
    assert [(one["status"], one["note"]) for one in emptied["notes"]] == [("CLOSED", None)]
    [theirs] = (await ask(web, other_shop, "complaints"))["data"]
    whole = await ask(web, other_shop, f"complaints/{theirs['complaintId']}")
    assert whole["contactEmail"] == gone.body["email"]


async def test_the_shops_people_keep_what_they_complained_of_under_their_own_address(
    web: Web, shop: Shop
) -> None:
    gone = Canary()
    await gone.live(web, shop)
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE user_account SET email = :email WHERE merchant_id = current_merchant()"
            " AND user_id = :user_id",
            email=gone.body["email"],
            user_id=shop.user_id,
        )
    await complain(web, shop)
    await erase(web, shop, gone)
    [own, *others] = (await ask(web, shop, "complaints"))["data"]
    assert own["subject"] == "The printer"
    assert [one["subject"] for one in others] == ["", ""]
