"""A person's own account over the StoreHarmony API: profile, password, picture, default store."""

import asyncio
import base64
from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.permissions import Role
from tests.accounts import ACCESS, log_in, messages_to
from tests.client import Web
from tests.conftest import SchemaOwner, picture_bytes
from tests.contract.cast import hire
from tests.people import code_of, edit, hire_at_both, stock_status
from tests.shop import PASSWORD, Shop


def account(shop: Shop, path: str = "") -> str:
    return f"/cloudapi/user/{shop.user_id}{path}"


async def update(web: Web, shop: Shop, **body: Any) -> httpx.Response:
    return await web.put(account(shop), headers={"sessiontoken": shop.session}, json=body)


async def change_password(
    web: Web, shop: Shop, new: str = "three tall baobab trees", old: str = PASSWORD, **more: Any
) -> httpx.Response:
    return await web.post(
        account(shop, "/changePassword"),
        headers={"sessiontoken": shop.session},
        json={"oldPassword": old, "newPassword": new} | more,
    )


# Profile ------------------------------------------------------------------------------------------


async def test_a_profile_is_read_and_changed_by_its_owner(web: Web, shop: Shop) -> None:
    headers = {"sessiontoken": shop.session}
    before = (await web.get(account(shop), headers=headers)).json()
    assert (before["email"], before["emailVerified"], before["storeCount"]) == (shop.email, True, 2)
    assert (before["userClass"], before["storeRole"], before["status"]) == ("OWNER", "OWNER", "ACTIVE")
    assert (before["defaultStoreId"], before["currentStoreId"]) == (str(shop.store_id),) * 2
    wanted = {
        "firstName": "Adaeze",
        "otherNames": "Ngozi Ọlá",
        "gender": "FEMALE",
        "birthDate": "1990-05-31",
        "address": "12 Broad Street",
        "city": "Lagos",
        "state": "Lagos",
        "stateCode": "NG-LA",
        "countryCode": "GH",
        "locale": "ha-NG",
        "timezone": "Africa/Accra",
    }
    changed = await update(web, shop, **wanted)
    assert changed.status_code == 200, changed.text
    assert changed.json().items() >= wanted.items()
    assert changed.json()["country"] == "Ghana"
    after = (await web.get(account(shop), headers=headers)).json()
    assert after == changed.json()
    assert after["lastName"] == before["lastName"]
    # The trail is read by others too: it says what was changed, and not to what.
    audit = await web.get(
        f"/manage/{shop.store_id}/audit", headers=headers, params={"action": "user.profile"}
    )
    assert "address" in audit.json()["data"][0]["after"]["changed"]
    assert "Broad Street" not in audit.text


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "ａda@shop.example"}, "/email"),
        ({"email": "ada@"}, "/email"),
        ({"mobile": "12345678"}, "/mobile"),
        ({"mobile": "+999 803 123 4567"}, "/mobile"),
        ({"birthDate": "2999-01-01"}, "/birthDate"),
        ({"birthDate": "1899-12-31"}, "/birthDate"),
        ({"birthDate": "1990-02-30"}, "/birthDate"),
        ({"timezone": "Africa/Atlantis"}, "/timezone"),
        ({"timezone": "../../etc/passwd"}, "/timezone"),
        ({"countryCode": "ZZ"}, "/countryCode"),
        ({"country": "Wakanda"}, "/country"),
        ({"gender": "female"}, "/gender"),
        ({"firstName": "x" * 81}, "/firstName"),
        ({"emailVerified": True}, "/emailVerified"),
        ({"role": "OWNER"}, "/role"),
    ],
)
async def test_a_value_that_cannot_be_is_named(
    web: Web, shop: Shop, change: dict[str, Any], pointer: str
) -> None:
    answer = await update(web, shop, **change)
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_nul_nothing_and_too_much_are_refused(web: Web, shop: Shop) -> None:
    assert (await update(web, shop, city="La\u0000gos")).status_code == 400
    assert (await update(web, shop)).status_code == 422
    assert (await update(web, shop, city="x" * 11 * 2**20)).status_code == 413


async def test_somebody_elses_account_is_as_unknown_as_none(web: Web, shop: Shop, other_shop: Shop) -> None:
    colleague = await hire(shop, Role.CASHIER, shop.store_id)
    headers = {"sessiontoken": shop.session}
    for user_id in (other_shop.user_id, colleague.user_id, new_id(), "me"):
        path = f"/cloudapi/user/{user_id}"
        for answer in (
            await web.get(path, headers=headers),
            await web.put(path, headers=headers, json={"city": "Kano"}),
            await web.get(f"{path}/profileImage", headers=headers),
            await web.post(f"{path}/store/{shop.store_id}/setDefault", headers=headers),
        ):
            assert answer.status_code == 404, answer.text


async def test_a_new_email_is_unverified_and_the_old_one_is_told(
    web: Web, shop: Shop, other_shop: Shop, app_headers: dict[str, str]
) -> None:
    new = f"ada.new.{new_id().hex}@shop.example"
    changed = (await update(web, shop, email=new)).json()
    assert (changed["email"], changed["emailVerified"]) == (new, False)
    assert [one["template"] for one in await messages_to(web.services, shop.email)] == ["address-changed"]
    # Until it is proved, the old one logs in and the new one does not.
    assert (await log_in(web, app_headers, shop.email, PASSWORD)).status_code == 200
    assert (await log_in(web, app_headers, new, PASSWORD)).status_code == 401
    [mail] = await messages_to(web.services, new)
    proof = {"accountId": str(shop.user_id), "channel": "email", "code": mail["code"]}
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=proof)).status_code == 200
    assert (await log_in(web, app_headers, new, PASSWORD)).status_code == 200
    assert (await log_in(web, app_headers, shop.email, PASSWORD)).status_code == 401
    # The same address again sends nothing more.
    assert (await update(web, shop, email=new)).json()["emailVerified"] is True
    assert len(await messages_to(web.services, new)) == 1
    # An address of another business is answered like a new one, and never becomes a log-in name here.
    taken = await update(web, shop, email=other_shop.email)
    assert (taken.status_code, taken.json()["emailVerified"]) == (200, False)
    [mail] = [one for one in await messages_to(web.services, other_shop.email) if one["code"]]
    proof["code"] = mail["code"]
    assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=proof)).status_code == 200
    entered = await log_in(web, app_headers, other_shop.email, PASSWORD)
    assert entered.json()["accountId"] == str(other_shop.user_id)
    assert (await log_in(web, app_headers, new, PASSWORD)).json()["accountId"] == str(shop.user_id)


async def test_a_colleagues_address_is_said_to_be_taken(web: Web, shop: Shop) -> None:
    colleague = await hire(shop, Role.CASHIER, shop.second_store_id)
    answer = await update(web, shop, email=colleague.email)
    assert (answer.status_code, code_of(answer)) == (409, "login-name-taken")


async def test_a_code_sent_to_the_old_address_does_not_prove_the_new_one(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    first, second = (f"ada.{new_id().hex}@shop.example" for _ in range(2))
    await update(web, shop, email=first)
    [mail] = await messages_to(web.services, first)
    await update(web, shop, email=second)
    [newer] = await messages_to(web.services, second)
    proof = {"accountId": str(shop.user_id), "channel": "email", "code": mail["code"]}
    if mail["code"] != newer["code"]:
        assert (await web.post(f"{ACCESS}verify", headers=app_headers, json=proof)).status_code == 422
    [token] = [word for word in mail["text"].split() if len(word) == 43]
    linked = await web.post(f"{ACCESS}verifyweb", headers=app_headers, json={"token": token})
    assert linked.status_code == 404


async def test_if_match_guards_a_profile(web: Web, shop: Shop) -> None:
    headers = {"sessiontoken": shop.session}
    tag = (await web.get(account(shop), headers=headers)).headers["etag"]
    guarded = headers | {"if-match": tag}
    assert (await web.put(account(shop), headers=guarded, json={"city": "Kano"})).status_code == 200
    assert (await web.put(account(shop), headers=guarded, json={"city": "Jos"})).status_code == 412


# Password -----------------------------------------------------------------------------------------


async def test_a_new_password_renews_the_session_and_ends_the_others(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    other = (await log_in(web, app_headers, shop.email, PASSWORD)).json()["tokens"][0]["sessiontoken"]
    changed = await change_password(web, shop)
    assert changed.status_code == 200, changed.text
    assert changed.json()["sessionsRevoked"] == 3  # two stores' and the account's
    # The others at once; the one that asked at the first use of the new one.
    assert await stock_status(web, shop.store_id, other) == 401
    assert await stock_status(web, shop.store_id, shop.session) == 200
    assert await stock_status(web, shop.store_id, changed.json()["sessionId"]) == 200
    assert await stock_status(web, shop.store_id, shop.session) == 401
    assert (await log_in(web, app_headers, shop.email, PASSWORD)).status_code == 401
    assert (await log_in(web, app_headers, shop.email, "three tall baobab trees")).status_code == 200
    assert (await messages_to(web.services, shop.email))[-1]["template"] == "password-changed"


async def test_other_sessions_stay_when_that_is_wished(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    other = (await log_in(web, app_headers, shop.email, PASSWORD)).json()["tokens"][0]["sessiontoken"]
    changed = await change_password(web, shop, revokeOtherSessions=False)
    assert changed.json()["sessionsRevoked"] == 0
    assert await stock_status(web, shop.store_id, other) == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"old": "not my password"}, "/oldPassword"),
        ({"new": PASSWORD}, "/newPassword"),
        ({"new": "1q2w3e4r5t"}, "/newPassword"),
        ({"new": "aaaaaaaaaaaa"}, "/newPassword"),
        ({"new": "short"}, "/newPassword"),
        ({"new": "x" * 129}, "/newPassword"),
    ],
)
async def test_a_wrong_or_weak_password_is_refused_and_changes_nothing(
    web: Web, shop: Shop, app_headers: dict[str, str], body: dict[str, str], pointer: str
) -> None:
    answer = await change_password(web, shop, **body)
    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    assert (await log_in(web, app_headers, shop.email, PASSWORD)).status_code == 200
    assert await stock_status(web, shop.store_id, shop.session) == 200


async def test_guessing_the_present_password_is_slowed_down(web: Web, shop: Shop) -> None:
    statuses = [
        (await change_password(web, shop, old=f"guess number {guess}")).status_code for guess in range(12)
    ]
    assert statuses[0] == 422
    assert statuses[-1] == 429


async def test_two_changes_at_once_leave_one_password(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    wanted = ["three tall baobab trees", "four small fishing boats"]
    answers = await asyncio.gather(*(change_password(web, shop, new) for new in wanted))
    assert sorted(answer.status_code for answer in answers) in ([200, 422], [200, 401])
    entered = [(await log_in(web, app_headers, shop.email, new)).status_code for new in wanted]
    assert sorted(entered) == [200, 401]


# Default store, VAT and currency ------------------------------------------------------------------


async def test_the_default_store_is_the_one_that_a_log_in_opens(
    web: Web, shop: Shop, other_shop: Shop, app_headers: dict[str, str]
) -> None:
    headers = {"sessiontoken": shop.session}
    set_to = f"/store/{shop.second_store_id}/setDefault"
    answer = await web.post(account(shop, set_to), headers=headers)
    assert (answer.status_code, answer.json()["id"]) == (200, str(shop.second_store_id))
    body = {"userToken": shop.email, "passToken": PASSWORD}
    entered = (await web.post(f"{ACCESS}login", headers=app_headers, json=body)).json()
    assert entered["user"]["defStore"]["id"] == str(shop.second_store_id)
    # Again is the same.
    assert (await web.post(account(shop, set_to), headers=headers)).status_code == 200
    for store_id in (other_shop.store_id, new_id(), "nowhere"):
        answer = await web.post(account(shop, f"/store/{store_id}/setDefault"), headers=headers)
        assert answer.status_code == 404


async def test_vat_and_currency_of_an_own_location(
    web: Web, shop: Shop, other_shop: Shop, schema_owner: SchemaOwner
) -> None:
    headers = {"sessiontoken": shop.session}

    async def set_info(store_id: object, **change: Any) -> httpx.Response:
        body = {"taxRate": 7.5, "vatType": "inclusive", "currency": "GHS"} | change
        return await web.post(account(shop, f"/store/{store_id}/financialInfo"), headers=headers, json=body)

    answer = await set_info(shop.second_store_id, taxRate=0.075)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["taxRate"], shown["taxType"], shown["currency"]) == (0.075, "inclusive", "GHS")
    for store_id in (other_shop.store_id, new_id(), "nowhere"):
        assert (await set_info(store_id)).status_code == 404
    for change in ({"currency": "QQQ"}, {"taxRate": 101}, {"taxRate": 7.1234567}, {"vatType": "both"}):
        assert (await set_info(shop.second_store_id, **change)).status_code == 422
    audit = await web.get(
        f"/manage/{shop.store_id}/audit", headers=headers, params={"subjectid": str(shop.second_store_id)}
    )
    entry = next(one for one in audit.json()["data"] if one["action"] == "store.finance")
    assert (entry["before"]["currency"], entry["after"]["currency"]) == ("NGN", "GHS")


async def test_a_currency_that_goods_are_booked_in_stays(web: Web, shop: Shop) -> None:
    headers = {"sessiontoken": shop.session}
    made = await web.post(
        f"/cloudapi/app/{shop.store_id}/stock",
        headers=headers,
        json={"name": "Basket", "prices": {"sellingPrice": 500}, "quantity": 3},
    )
    if made.status_code == 404:
        pytest.fail("the path of createSimpleProduct has changed")
    path = account(shop, f"/store/{shop.store_id}/financialInfo")
    body = {"taxRate": 5, "vatType": "exclusive", "currency": "GHS"}
    refused = await web.post(path, headers=headers, json=body)
    assert (refused.status_code, code_of(refused)) == (409, "currency-in-use")
    assert (await web.post(path, headers=headers, json=body | {"currency": "NGN"})).status_code == 200


async def test_vat_needs_its_permission_at_that_very_location(web: Web, shop: Shop) -> None:
    manager, there = await hire_at_both(shop, Role.MANAGER)
    body = {"taxRate": 5, "vatType": "exclusive", "currency": "NGN"}

    async def status(store_id: object, session: str) -> int:
        path = f"/cloudapi/user/{manager.user_id}/store/{store_id}/financialInfo"
        return (await web.post(path, headers={"sessiontoken": session}, json=body)).status_code

    assert await status(shop.store_id, manager.session) == 403
    assert await status(shop.second_store_id, there) == 403
    given = await edit(web, shop, manager.user_id, extraPermissions=["store.write"])
    assert given.status_code == 200, given.text
    assert await status(shop.store_id, manager.session) == 200
    assert await status(shop.second_store_id, manager.session) == 403
    assert await status(shop.second_store_id, there) == 403
    # An owner here who is a cashier there.
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE membership SET role = 'CASHIER' WHERE merchant_id = current_merchant()"
            " AND store_id = :store_id AND user_id = :user_id",
            store_id=shop.second_store_id,
            user_id=shop.user_id,
        )
    path = account(shop, f"/store/{shop.second_store_id}/financialInfo")
    assert (await web.post(path, headers={"sessiontoken": shop.session}, json=body)).status_code == 403


# Picture ------------------------------------------------------------------------------------------


async def upload(web: Web, shop: Shop, **options: Any) -> httpx.Response:
    headers = {"sessiontoken": shop.session} | options.pop("headers", {})
    return await web.post(account(shop, "/profileImage"), headers=headers, **options)


async def test_a_picture_comes_in_every_form_and_goes_out_to_its_owner_only(
    web: Web, shop: Shop, other_shop: Shop, png: bytes
) -> None:
    headers = {"sessiontoken": shop.session}
    assert (await web.get(account(shop, "/profileImage"), headers=headers)).status_code == 404
    pieces = [base64.b64encode(png[:300]).decode(), base64.b64encode(png[300:]).decode()]
    for options in (
        {"json": pieces},
        {"json": list(png)},
        {"content": png, "headers": {"content-type": "image/png"}},
        {"content": png, "headers": {"content-type": "application/octet-stream"}},
        {"files": {"file": ("me.png", png, "image/png")}},
    ):
        answer = await upload(web, shop, **options)
        assert answer.status_code == 200, answer.text
        path = answer.json()
        assert path.startswith(account(shop, "/profileImage"))
        assert "/media/" not in path
    profile = (await web.get(account(shop), headers=headers)).json()
    assert profile["profileImageUrl"] == path
    shown = await web.get(path, headers=headers | {"accept": "image/png,image/jpeg"})
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    assert shown.content.startswith(b"\xff\xd8\xff")
    assert (shown.headers["cache-control"], shown.headers["x-content-type-options"]) == (
        "private, no-cache",
        "nosniff",
    )
    again = await web.get(path, headers=headers | {"accept": "*/*", "if-none-match": shown.headers["etag"]})
    assert again.status_code == 304
    webp = await web.get(path, headers=headers | {"accept": "image/webp,*/*"})
    assert webp.headers["content-type"] == "image/webp"
    assert (await web.get(path)).status_code == 401
    assert (await web.get(path, headers={"sessiontoken": other_shop.session})).status_code == 404
    colleague = await hire(shop, Role.MANAGER, shop.store_id)
    assert (await web.get(path, headers={"sessiontoken": colleague.session})).status_code == 404


async def test_the_smallest_image_that_has_the_edge_is_given(web: Web, shop: Shop) -> None:
    await upload(
        web, shop, content=picture_bytes("JPEG", size=(1600, 1200)), headers={"content-type": "image/jpeg"}
    )
    sizes = []
    for query in ({"size": 64}, {"size": 512}, {}):
        shown = await web.get(
            account(shop, "/profileImage"),
            headers={"sessiontoken": shop.session, "accept": "image/jpeg"},
            params=query,
        )
        sizes.append(len(shown.content))
    assert sizes[0] < sizes[1] <= sizes[2]
    refused = await web.get(
        account(shop, "/profileImage"), headers={"sessiontoken": shop.session}, params={"size": 63}
    )
    assert refused.status_code == 400


async def test_what_is_no_picture_is_refused(web: Web, shop: Shop) -> None:
    for content in (b"%PDF-1.7 not a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b""):
        answer = await upload(web, shop, content=content, headers={"content-type": "image/png"})
        assert answer.status_code in (400, 422), answer.text


async def test_a_new_picture_takes_the_place_of_the_old_one_which_is_swept(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    paths = []
    for seed in (1, 2):
        content = picture_bytes("PNG", seed=seed)
        answer = await upload(web, shop, content=content, headers={"content-type": "image/png"})
        paths.append(answer.json())
    assert paths[0] != paths[1]
    unused = await schema_owner.fetchval(
        "SELECT count(*) FROM picture WHERE merchant_id = $1 AND unused_since IS NOT NULL", shop.merchant_id
    )
    assert unused == 1
