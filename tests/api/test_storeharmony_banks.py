"""Bank accounts of a store and of a user over the StoreHarmony API."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.permissions import Role
from kasuwa.domain.staff.actions import remove_staff
from tests.api.test_manage_tills import PIN, entered, open_till, set_pin
from tests.banking import body, new_account, new_number, wrong_number
from tests.client import Web
from tests.contract.cast import hire
from tests.people import edit
from tests.shop import Shop

Json = dict[str, Any]


def here(shop: Shop, **more: str) -> dict[str, str]:
    return {"sessiontoken": shop.session} | more


def banks(shop: Shop, rest: str = "") -> str:
    return f"/cloudapi/app/{shop.store_id}/admin/banks{rest}"


async def add(web: Web, shop: Shop, **changes: Any) -> Json:
    answer = await web.post(banks(shop), headers=here(shop), json=body(**changes))
    assert answer.status_code == 200, answer.text
    account: Json = answer.json()
    return account


async def read(web: Web, shop: Shop, account: Json) -> httpx.Response:
    return await web.get(banks(shop, f"/{account['bankId']}"), headers=here(shop))


def faults(answer: httpx.Response) -> set[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return {(one["pointer"], one["code"]) for one in answer.json()["errors"]}


# A life -------------------------------------------------------------------------------------------


async def test_an_account_from_its_beginning_to_its_end(web: Web, shop: Shop) -> None:
    number = new_number()
    first = await add(web, shop, userBankAccNo=number, accountType="savings")
    assert first["bankId"] == first["internalAccountNo"]
    expected = {
        "bankCode": "058",
        "bankFullName": "Guaranty Trust Bank",
        "userBankAccNo": number,
        "userBankAccName": "ADA STORES LTD",
        "accountType": "savings",
        "activated": True,
        "defaultAccount": True,
        "verified": False,
        "storeId": str(shop.store_id),
        "createdBy": str(shop.user_id),
    }
    assert {name: first[name] for name in expected} == expected
    second = await add(web, shop, bankCode="50211", bankFullName="Kuda MFB")
    assert (second["defaultAccount"], second["accountType"]) == (False, "current")
    path = banks(shop, f"/{second['bankId']}")
    made_default = await web.post(f"{path}/setdefault", headers=here(shop))
    assert made_default.json()["defaultAccount"] is True
    page = (await web.get(banks(shop), headers=here(shop))).json()
    assert [row["bankId"] for row in page["data"]] == [second["bankId"], first["bankId"]]
    assert (page["totalElements"], page["totalPages"], page["nextCursor"]) == (2, 1, None)
    refused = await web.put(f"{path}/delete", headers=here(shop), json={})
    assert refused.status_code == 409
    out = await web.put(
        f"{path}/delete",
        headers=here(shop),
        json={"reason": "closed", "replacementBankId": first["bankId"]},
    )
    assert {name: out.json()[name] for name in ("bankId", "status", "defaultBankId")} == {
        "bankId": second["bankId"],
        "status": "deactivated",
        "defaultBankId": first["bankId"],
    }
    idle = (await web.get(banks(shop), headers=here(shop), params={"activated": "false"})).json()
    assert [row["bankId"] for row in idle["data"]] == [second["bankId"]]
    gone = await web.delete(path, headers=here(shop))
    assert (gone.json()["status"], gone.json()["defaultBankId"]) == ("deleted", first["bankId"])
    assert (await read(web, shop, second)).status_code == 404
    assert (await web.delete(path, headers=here(shop))).status_code == 404


async def test_the_last_default_leaves_by_being_taken_out_of_use(web: Web, shop: Shop) -> None:
    only = await add(web, shop)
    path = banks(shop, f"/{only['bankId']}")
    kept = await web.delete(path, headers=here(shop))
    assert (kept.status_code, kept.json()["type"]) == (409, "/docs/problems#bank-account-in-use")
    # Without a body, and so without a media type.
    out = await web.put(f"{path}/delete", headers=here(shop))
    assert (out.status_code, out.json()["defaultBankId"]) == (200, None)
    again = await web.put(f"{path}/delete", headers=here(shop), content=b"")
    assert again.json() == out.json()
    refused = await web.post(f"{path}/setdefault", headers=here(shop))
    assert refused.status_code == 409
    back = await web.put(path, headers=here(shop), json=body(activated=True))
    assert (back.json()["activated"], back.json()["defaultAccount"]) == (True, True)


async def test_a_body_that_may_be_left_out_still_needs_its_media_type(web: Web, shop: Shop) -> None:
    account = await add(web, shop)
    path = banks(shop, f"/{account['bankId']}/delete")
    for media_type in ("text/plain", ""):
        answer = await web.put(
            path, headers=here(shop, **{"content-type": media_type}), content=b'{"reason": "x"}'
        )
        assert answer.status_code == 415
    assert (await read(web, shop, account)).json()["activated"] is True


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bankCode": "999", "userBankAccNo": new_number()}, {("/bankCode", "unknown")}),
        ({"bankCode": "030"}, {("/bankCode", "inactive")}),
        ({"userBankAccNo": wrong_number()}, {("/userBankAccNo", "nuban_check_digit")}),
        ({"userBankAccNo": "01234S6789"}, {("/userBankAccNo", "pattern")}),
        ({"userBankAccNo": "0123456789\n"}, {("/userBankAccNo", "pattern")}),
        ({"userBankAccNo": "٠١٢٣٤٥٦٧٨٩"}, {("/userBankAccNo", "pattern")}),
        ({"userBankAccNo": "0" * 5000}, {("/userBankAccNo", "pattern")}),
        ({"userBankAccNo": 123456789}, {("/userBankAccNo", "type")}),
        ({"bankCode": "０５８", "userBankAccNo": new_number()}, {("/bankCode", "pattern")}),
        ({"bankFullName": "Zenith Bank Plc"}, {("/bankFullName", "other_bank")}),
        ({"userBankAccName": "   "}, {("/userBankAccName", "blank")}),
        ({"userBankAccName": "x" * 161}, {("/userBankAccName", "too_long")}),
        ({"accountType": "CURRENT"}, {("/accountType", "enum")}),
        ({"internalAccountNo": "1"}, {("/internalAccountNo", "not_yours")}),
        ({"activated": False, "defaultAccount": True}, {("/defaultAccount", "inactive")}),
    ],
)
async def test_what_cannot_be_is_refused_naming_the_field(
    web: Web, shop: Shop, changes: Json, expected: set[tuple[str, str]]
) -> None:
    sent = body(**changes)
    answer = await web.post(banks(shop), headers=here(shop), json=sent)
    assert faults(answer) == expected
    assert str(sent["userBankAccNo"]) not in answer.text
    assert (await web.get(banks(shop), headers=here(shop))).json()["data"] == []


async def test_a_nul_is_malformed_and_nothing_is_written(web: Web, shop: Shop) -> None:
    answer = await web.post(banks(shop), headers=here(shop), json=body(userBankAccName="Ada\0"))
    assert answer.status_code == 400
    assert (await web.get(banks(shop), headers=here(shop))).json()["totalElements"] == 0


async def test_a_number_stands_once_in_a_store(web: Web, shop: Shop) -> None:
    account = await add(web, shop)
    other = await add(web, shop)
    same = body(userBankAccNo=account["userBankAccNo"])
    for answer in (
        await web.post(banks(shop), headers=here(shop), json=same),
        await web.put(banks(shop, f"/{other['bankId']}"), headers=here(shop), json=same),
    ):
        assert (answer.status_code, answer.json()["type"]) == (409, "/docs/problems#bank-account-listed")
        assert account["userBankAccNo"] not in answer.text


@pytest.mark.parametrize("bank_id", ["1", "x" * 64, "00000000-0000-0000-0000-000000000000", "%00", "٣"])
async def test_an_id_that_is_none_is_as_unknown_as_any(web: Web, shop: Shop, bank_id: str) -> None:
    path = banks(shop, f"/{bank_id}")
    answers = [
        await web.get(path, headers=here(shop)),
        await web.put(path, headers=here(shop), json=body()),
        await web.delete(path, headers=here(shop)),
        await web.put(f"{path}/delete", headers=here(shop), json={}),
        await web.post(f"{path}/setdefault", headers=here(shop)),
        await web.get(f"/cloudapi/user/{shop.user_id}/bank/{bank_id}", headers=here(shop)),
    ]
    assert {answer.status_code for answer in answers} <= ({400, 422} if bank_id == "%00" else {404})


# Changes ------------------------------------------------------------------------------------------


async def test_an_account_that_was_read_before_it_changed_is_not_overwritten(web: Web, shop: Shop) -> None:
    account = await add(web, shop)
    path = banks(shop, f"/{account['bankId']}")
    seen = (await read(web, shop, account)).headers["etag"]
    changed = await web.put(path, headers=here(shop, **{"if-match": seen}), json=body(accountType="savings"))
    assert changed.status_code == 200
    stale = await web.put(path, headers=here(shop, **{"if-match": seen}), json=body())
    assert stale.status_code == 412
    stale = await web.put(f"{path}/delete", headers=here(shop, **{"if-match": seen}), json={})
    assert stale.status_code == 412
    # A change answers with the tag that the next read has.
    fresh = changed.headers["etag"]
    assert (await read(web, shop, account)).headers["etag"] == fresh
    last = await web.put(f"{path}/delete", headers=here(shop, **{"if-match": fresh}), json={})
    assert last.status_code == 200


async def test_a_change_keeps_what_it_does_not_say(web: Web, shop: Shop) -> None:
    await add(web, shop)
    account = await add(web, shop, accountType="domiciliary")
    path = banks(shop, f"/{account['bankId']}")
    await web.put(f"{path}/delete", headers=here(shop), json={})
    sent = {name: account[name] for name in ("bankCode", "bankFullName", "userBankAccNo", "userBankAccName")}
    changed = (await web.put(path, headers=here(shop), json=sent | {"userBankAccName": "Ada"})).json()
    assert (changed["accountType"], changed["activated"], changed["userBankAccName"]) == (
        "domiciliary",
        False,
        "Ada",
    )
    # What a client read it sends back whole.
    whole = await web.put(path, headers=here(shop), json=changed)
    assert whole.status_code == 200, whole.text
    other_id = await web.put(path, headers=here(shop), json=sent | {"internalAccountNo": str(new_id())})
    assert faults(other_id) == {("/internalAccountNo", "other_account")}


async def test_a_repeated_request_with_its_key_adds_one_account(web: Web, shop: Shop) -> None:
    sent, headers = body(), here(shop, **{"Idempotency-Key": "one-account-1"})
    first = await web.post(banks(shop), headers=headers, json=sent)
    second = await web.post(banks(shop), headers=headers, json=sent)
    assert first.json() == second.json()
    third = await web.post(banks(shop), headers=headers, json=body())
    assert third.status_code == 409
    path = banks(shop, f"/{first.json()['bankId']}/delete")
    out = [await web.put(path, headers=here(shop, **{"Idempotency-Key": "out-1-of-use"})) for _ in range(2)]
    assert out[0].status_code == 200
    assert out[0].content == out[1].content


# Whose --------------------------------------------------------------------------------------------


async def test_accounts_of_others_are_not_there(web: Web, shop: Shop, other_shop: Shop) -> None:
    account = await add(web, shop)
    headers = here(other_shop)
    unknown = {"bankId": str(new_id())}
    for one in (account, unknown):
        path = banks(other_shop, f"/{one['bankId']}")
        answers = [
            await web.get(path, headers=headers),
            await web.put(path, headers=headers, json=body()),
            await web.delete(path, headers=headers),
            await web.put(f"{path}/delete", headers=headers, json={}),
            await web.post(f"{path}/setdefault", headers=headers),
            await web.get(f"/cloudapi/user/{other_shop.user_id}/bank/{one['bankId']}", headers=headers),
            await wallet(web, other_shop, internalAccountNo=one["bankId"]),
        ]
        assert [answer.status_code for answer in answers] == [404] * 7
    # A foreign store in the path, a foreign user in the path.
    assert (await web.get(banks(shop), headers=headers)).status_code == 404
    foreign = f"/cloudapi/user/{shop.user_id}/bank/{account['bankId']}"
    assert (await web.get(foreign, headers=headers)).status_code == 404
    assert (await read(web, shop, account)).json() == account


async def test_a_cashier_sees_neither_accounts_nor_numbers_and_a_manager_changes_none(
    web: Web, shop: Shop
) -> None:
    account = await add(web, shop)
    for role, may_read in ((Role.MANAGER, True), (Role.CASHIER, False)):
        staff = await hire(shop, role, shop.store_id)
        headers = {"sessiontoken": staff.session}
        reads = [
            await web.get(banks(shop), headers=headers),
            await web.get(banks(shop, f"/{account['bankId']}"), headers=headers),
            await web.get(f"/cloudapi/user/{staff.user_id}/bank/{account['bankId']}", headers=headers),
        ]
        assert {answer.status_code for answer in reads} == {200 if may_read else 403}
        written = [
            await web.post(banks(shop), headers=headers, json=body()),
            await web.put(banks(shop, f"/{account['bankId']}"), headers=headers, json=body()),
            await web.delete(banks(shop, f"/{account['bankId']}"), headers=headers),
            await web.put(banks(shop, f"/{account['bankId']}/delete"), headers=headers),
            await web.post(banks(shop, f"/{account['bankId']}/setdefault"), headers=headers),
            await web.post(
                f"/cloudapi/user/{staff.user_id}/setDefaultWalletBank",
                headers=headers,
                json={"internalAccountNo": account["bankId"]},
            ),
        ]
        assert {answer.status_code for answer in written} == {403}
        profile = await web.get(f"/cloudapi/user/{staff.user_id}/store/{shop.store_id}", headers=headers)
        number = account["userBankAccNo"]
        shown = number if may_read else f"******{number[-4:]}"
        assert profile.json()["defaultBank"]["userBankAccNo"] == shown
        assert (number in profile.text) is may_read


async def test_the_stores_profile_shows_the_accounts_in_use_the_default_first(web: Web, shop: Shop) -> None:
    path = f"/cloudapi/user/{shop.user_id}/store/{shop.store_id}"
    empty = (await web.get(path, headers=here(shop))).json()
    assert (empty["bankAccounts"], "defaultBank" in empty) == ([], False)
    first, second = await add(web, shop), await add(web, shop)
    await web.post(banks(shop, f"/{second['bankId']}/setdefault"), headers=here(shop))
    await new_account(shop.owner, active=False)
    store = (await web.get(path, headers=here(shop))).json()
    assert [one["internalAccountNo"] for one in store["bankAccounts"]] == [second["bankId"], first["bankId"]]
    assert store["defaultBank"]["userBankAccNo"] == second["userBankAccNo"]
    entered = await web.get(f"/cloudapi/user/{shop.user_id}/switchStore/{shop.store_id}", headers=here(shop))
    assert entered.json()["defaultBank"] == store["defaultBank"]


# Wallets ------------------------------------------------------------------------------------------


async def wallet(web: Web, shop: Shop, **selection: Any) -> httpx.Response:
    return await web.post(
        f"/cloudapi/user/{shop.user_id}/setDefaultWalletBank", headers=here(shop), json=selection
    )


async def test_a_wallets_account_is_named_by_id_or_by_bank_and_number(web: Web, shop: Shop) -> None:
    first = await add(web, shop)
    second = await add(web, shop, bankCode="50211", bankFullName="Kuda")
    chosen = await wallet(web, shop, internalAccountNo=first["bankId"])
    assert chosen.json()["internalAccountNo"] == first["bankId"]
    chosen = await wallet(web, shop, bankCode="950211", userBankAccNo=second["userBankAccNo"])
    assert chosen.json()["internalAccountNo"] == second["bankId"]
    read_back = await web.get(f"/cloudapi/user/{shop.user_id}/bank/{second['bankId']}", headers=here(shop))
    assert read_back.json() == chosen.json()
    # It is paid out to: it stays until something else takes its place.
    path = banks(shop, f"/{second['bankId']}")
    assert (await web.delete(path, headers=here(shop))).status_code == 409
    assert (await web.put(f"{path}/delete", headers=here(shop), json={})).status_code == 409
    out = await web.put(f"{path}/delete", headers=here(shop), json={"replacementBankId": first["bankId"]})
    assert out.status_code == 200
    assert (await web.delete(path, headers=here(shop))).status_code == 200


async def test_another_location_is_searched_when_it_is_named(web: Web, shop: Shop) -> None:
    async with shop.owner.transaction() as db:
        session = await open_session(shop.owner, db, shop.user_id, shop.second_store_id)
    there = await web.post(
        f"/cloudapi/app/{shop.second_store_id}/admin/banks",
        headers={"sessiontoken": session.token},
        json=body(),
    )
    account_id = there.json()["bankId"]
    assert (await wallet(web, shop, internalAccountNo=account_id)).status_code == 404
    named = await wallet(web, shop, storeId=str(shop.second_store_id), internalAccountNo=account_id)
    assert named.status_code == 200
    assert (await wallet(web, shop, storeId="x", internalAccountNo=account_id)).status_code == 404
    of_user = await web.get(f"/cloudapi/user/{shop.user_id}/bank/{account_id}", headers=here(shop))
    assert of_user.status_code == 200


@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"bankCode": "058"},
        {"userBankAccNo": "0123456789"},
        {"internalAccountNo": "x", "bankCode": "058", "userBankAccNo": "0123456789"},
        {"internalAccountNo": "x", "extra": True},
        {"bankCode": "058", "userBankAccNo": "01234S6789"},
    ],
)
async def test_half_a_selection_is_refused(web: Web, shop: Shop, selection: Json) -> None:
    assert (await wallet(web, shop, **selection)).status_code == 422


async def test_an_account_out_of_use_cannot_be_a_wallets(web: Web, shop: Shop) -> None:
    account = await new_account(shop.owner, active=False)
    answer = await wallet(web, shop, internalAccountNo=str(account.bank_account_id))
    assert (answer.status_code, answer.json()["type"]) == (409, "/docs/problems#bank-account-inactive")


# Who sees a number --------------------------------------------------------------------------------


async def number_in_profile(web: Web, shop: Shop, user_id: object, session: str) -> str:
    path = f"/cloudapi/user/{user_id}/store/{shop.store_id}"
    answer = await web.get(path, headers={"sessiontoken": session})
    assert answer.status_code == 200, answer.text
    [shown] = answer.json()["bankAccounts"]
    return str(shown["userBankAccNo"])


async def test_a_pin_shows_no_number_even_to_the_owner(web: Web, shop: Shop) -> None:
    number = (await add(web, shop))["userBankAccNo"]
    till = await open_till(web, shop)
    await set_pin(web, shop, PIN, shop.session)
    by_pin = await entered(web, shop, till, shop.user_id)
    assert (await web.get(banks(shop), headers={"sessiontoken": by_pin})).status_code == 403
    assert await number_in_profile(web, shop, shop.user_id, by_pin) == f"******{number[-4:]}"
    assert await number_in_profile(web, shop, shop.user_id, shop.session) == number


async def test_what_somebody_was_given_besides_their_role_counts_everywhere(web: Web, shop: Shop) -> None:
    account = await add(web, shop)
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    masked = await number_in_profile(web, shop, cashier.user_id, cashier.session)
    assert masked == f"******{account['userBankAccNo'][-4:]}"
    granted = await edit(web, shop, cashier.user_id, extraPermissions=["bank.read", "bank.write"])
    assert granted.is_success, granted.text
    seen = await number_in_profile(web, shop, cashier.user_id, cashier.session)
    assert seen == account["userBankAccNo"]
    here_now = {"sessiontoken": cashier.session}
    path = f"/cloudapi/user/{cashier.user_id}/bank/{account['bankId']}"
    one = await web.get(path, headers=here_now)
    assert (one.status_code, one.json().get("userBankAccNo")) == (200, account["userBankAccNo"]), one.text
    wallet_path = f"/cloudapi/user/{cashier.user_id}/setDefaultWalletBank"
    chosen = await web.post(wallet_path, headers=here_now, json={"internalAccountNo": account["bankId"]})
    assert chosen.status_code == 200, chosen.text


async def wallets_of(shop: Shop, user_id: UUID) -> int:
    async with shop.owner.reading() as db:
        found: int = await db.value(
            "SELECT count(*) FROM wallet_bank WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=user_id,
        )
    return found


async def test_whoever_is_removed_from_a_location_is_paid_out_to_none_of_its_accounts(
    web: Web, shop: Shop
) -> None:
    account = await add(web, shop)
    # The control: a colleague with the same account stays, and keeps theirs.
    gone, stays = [await hire(shop, Role.CASHIER, shop.store_id) for _ in range(2)]
    for one in (gone, stays):
        await edit(web, shop, one.user_id, extraPermissions=["bank.read", "bank.write"])
        path = f"/cloudapi/user/{one.user_id}/setDefaultWalletBank"
        body = {"internalAccountNo": account["bankId"]}
        answer = await web.post(path, headers={"sessiontoken": one.session}, json=body)
        assert answer.status_code == 200, answer.text
    assert [await wallets_of(shop, one.user_id) for one in (gone, stays)] == [1, 1]
    await remove_staff(shop.owner, gone.user_id)
    assert [await wallets_of(shop, one.user_id) for one in (gone, stays)] == [0, 1]
