"""The settings of a store, its pictures and its banners, over /manage."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.media.jobs import sweep_pictures
from kasuwa.domain.permissions import Role
from tests.api.shoplazza_calls import new_product_id
from tests.client import Web
from tests.conftest import SchemaOwner, picture_bytes
from tests.contract.cast import hire
from tests.shop import Shop

Json = dict[str, Any]
UNKNOWN = "0198c7a0-0000-7000-8000-000000000000"


async def ask(
    web: Web, shop: Shop, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
) -> httpx.Response:
    session = options.pop("session", shop.session)
    return await web.call(
        method,
        f"/manage/{shop.store_id}/{path}",
        headers={"sessiontoken": session, **(headers or {})},
        **options,
    )


async def change(web: Web, shop: Shop, body: Json, *, status: int = 200, **options: Any) -> Json:
    answer = await ask(web, shop, "PATCH", "settings", json=body, **options)
    assert answer.status_code == status, answer.text
    found: Json = answer.json()
    return found


def pointers(problem: Json) -> list[str]:
    return [fault["pointer"] for fault in problem["errors"]]


def picture(seed: int) -> bytes:
    return picture_bytes("PNG", size=(8, 6), seed=seed)


async def send_picture(web: Web, shop: Shop, method: str, path: str, seed: int, **query: str) -> Json:
    answer = await ask(
        web, shop, method, path, content=picture(seed), headers={"content-type": "image/png"}, params=query
    )
    assert answer.is_success, answer.text
    found: Json = answer.json()
    return found


# Settings -----------------------------------------------------------------------------------------


async def test_what_is_left_out_stays_and_null_takes_away(web: Web, shop: Shop) -> None:
    sent = {
        "business": {
            "tagLine": "Woven",
            "stateCode": "NG-LA",
            "regionCode": "NG-LA-01",
            "address": "1 Allen Avenue",
        },
        "pages": {"about": "Ours", "policy": "No refunds"},
        "features": {"cashOnDelivery": True, "partners": ["GIG"]},
    }
    written = await change(web, shop, sent)
    assert (written["business"]["state"], written["business"]["region"]) == ("Lagos", "Agege")
    # A region lies in its state: the state alone cannot be another.
    refused = await change(web, shop, {"business": {"stateCode": "NG-KN"}}, status=422)
    assert pointers(refused) == ["/business/regionCode"]
    same = await change(web, shop, {"theme": {"font": "Inter"}, "business": {}, "pages": {}})
    assert {**same, "updatedAt": ""} == {
        **written,
        "updatedAt": "",
        "theme": {**written["theme"], "font": "Inter"},
    }
    cleared = await change(
        web,
        shop,
        {
            "business": {"tagLine": None, "state": None, "region": None},
            "pages": {"policy": None},
            "features": {"cashOnDelivery": None, "partners": []},
        },
    )
    assert (cleared["business"]["tagLine"], cleared["business"]["stateCode"]) == (None, None)
    assert (cleared["pages"]["policy"], cleared["pages"]["about"]) == (None, "Ours")
    assert (cleared["features"]["cashOnDelivery"], cleared["features"]["partners"]) == (None, [])
    assert cleared["business"]["address"] == "1 Allen Avenue"


async def test_the_days_of_a_store_are_those_of_its_time_zone(web: Web, shop: Shop) -> None:
    assert (await ask(web, shop, "GET", "settings")).json()["business"]["timeZone"] == "Africa/Lagos"
    changed = await ask(web, shop, "PATCH", "settings", json={"business": {"timeZone": "Pacific/Kiritimati"}})
    assert changed.json()["business"]["timeZone"] == "Pacific/Kiritimati"
    async with shop.owner.reading() as db:
        zones = await db.values("SELECT time_zone FROM store ORDER BY created_at")
    assert zones == ["Pacific/Kiritimati", "Africa/Lagos"]


async def test_a_change_of_an_older_version_is_refused(web: Web, shop: Shop) -> None:
    read = await ask(web, shop, "GET", "settings")
    tag = read.headers["etag"]
    assert (await ask(web, shop, "GET", "settings", headers={"if-none-match": tag})).status_code == 304
    answers = await asyncio.gather(
        *(
            ask(
                web,
                shop,
                "PATCH",
                "settings",
                json={"site": {"title": f"Title {n}"}},
                headers={"if-match": tag},
            )
            for n in range(4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    [won] = [answer for answer in answers if answer.status_code == 200]
    again = await ask(web, shop, "GET", "settings")
    assert (again.headers["etag"], again.json()) == (won.headers["etag"], won.json())
    # What changes nothing keeps the version.
    assert (await ask(web, shop, "PATCH", "settings", json={})).headers["etag"] == won.headers["etag"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tax": {"currency": "XXQ"}}, "/tax/currency"),
        ({"tax": {"currency": "ngn"}}, "/tax/currency"),
        ({"tax": {"vatPercent": 100.01}}, "/tax/vatPercent"),
        ({"tax": {"vatPercent": -1}}, "/tax/vatPercent"),
        ({"tax": {"vatPercent": 7.50001}}, "/tax/vatPercent"),
        ({"tax": {"vatPercent": None}}, "/tax/vatPercent"),
        ({"tax": {"vatType": "both"}}, "/tax/vatType"),
        ({"business": {"name": "  "}}, "/business/name"),
        ({"business": {"countryCode": "QQ"}}, "/business/countryCode"),
        ({"business": {"stateCode": "GH-AA"}}, "/business/stateCode"),
        ({"business": {"regionCode": "NG-LA-IKJ"}}, "/business/regionCode"),
        ({"business": {"latitude": 6.5}}, "/business/longitude"),
        ({"business": {"latitude": 91, "longitude": 0}}, "/business/latitude"),
        ({"business": {"email": "nobody"}}, "/business/email"),
        ({"business": {"mobile": "12"}}, "/business/mobile"),
        ({"business": {"timeZone": "Africa/Atlantis"}}, "/business/timeZone"),
        ({"business": {"bvn": "1234567890"}}, "/business/bvn"),
        ({"site": {"domain": "https://shop.example/"}}, "/site/domain"),
        ({"site": {"domain": "localhost"}}, "/site/domain"),
        ({"site": {"logo": "/media/x"}}, "/site/logo"),
        ({"theme": {"primaryColor": "red"}}, "/theme/primaryColor"),
        ({"social": {"facebook": "javascript:alert(1)"}}, "/social/facebook"),
        ({"social": {"twitter": " JavaScript:alert(1)"}}, "/social/twitter"),
        ({"social": {"youtube": "//evil.example"}}, "/social/youtube"),
        ({"social": {"youtube": "java\tscript:alert(1)"}}, "/social/youtube"),
        ({"social": {"instagram": "https:\\\\evil.example"}}, "/social/instagram"),
        ({"site": {"domain": "127.0.0.1"}}, "/site/domain"),
        ({"site": {"domain": "a" * 64 + ".example"}}, "/site/domain"),
        ({"features": {"mobileAppLink": "ftp://ada.example/app"}}, "/features/mobileAppLink"),
        ({"features": {"mobileAppLink": "https://ada@evil.example/app"}}, "/features/mobileAppLink"),
        ({"features": {"facebookPage": "data:text/html,x"}}, "/features/facebookPage"),
        ({"pages": {"about": "x" * 100_001}}, "/pages/about"),
        ({"paymentGateways": [{"provider": "P", "gatewayId": UNKNOWN}]}, "/paymentGateways/0/gatewayId"),
        ({"paymentGateways": [{"provider": "P", "gatewayId": "x"}]}, "/paymentGateways/0/gatewayId"),
        ({"paymentGateways": [{"provider": "P"}] * 11}, "/paymentGateways"),
        ({"deliveryPoints": [{"name": "P", "pointId": UNKNOWN}]}, "/deliveryPoints/0/pointId"),
        ({"expireDate": "2031-01-01T00:00:00Z"}, "/expireDate"),
    ],
)
async def test_a_setting_that_cannot_be_is_refused_and_nothing_changes(
    web: Web, shop: Shop, body: Json, pointer: str
) -> None:
    before = await ask(web, shop, "GET", "settings")
    problem = await change(web, shop, {"theme": {"font": "Inter"}} | body, status=422)
    assert pointers(problem) == [pointer]
    assert (await ask(web, shop, "GET", "settings")).headers["etag"] == before.headers["etag"]


@pytest.mark.parametrize(
    ("times", "pointer"),
    [
        ([("MONDAY", "08:00", "08:00")], "/openingHours/0/closes"),
        ([("MONDAY", "20:00", "02:00")], "/openingHours/0/closes"),
        ([("MONDAY", "08:00", "12:00"), ("MONDAY", "11:59", "15:00")], "/openingHours/1"),
        ([("MONDAY", "08:00", "18:00"), ("MONDAY", "09:00", "10:00")], "/openingHours/1"),
        ([("MONDAY", "25:00", "26:00")], "/openingHours/0/opens"),
        ([("MONDAY", "08:00", "24:01")], "/openingHours/0/closes"),
        ([("SOMEDAY", "08:00", "18:00")], "/openingHours/0/day"),
        ([("MONDAY", "08:00", "18:00")] * 22, "/openingHours"),
    ],
)
async def test_opening_times_end_after_they_begin_and_do_not_overlap(
    web: Web, shop: Shop, times: list[tuple[str, str, str]], pointer: str
) -> None:
    sent = [{"day": day, "opens": opens, "closes": closes} for day, opens, closes in times]
    assert pointers(await change(web, shop, {"openingHours": sent}, status=422))[0] == pointer


async def test_times_that_touch_and_go_past_midnight_are_kept(web: Web, shop: Shop) -> None:
    sent = [
        {"day": "FRIDAY", "opens": "08:00", "closes": "12:00"},
        {"day": "FRIDAY", "opens": "12:00", "closes": "24:00"},
        {"day": "SATURDAY", "opens": "00:00", "closes": "02:00"},
    ]
    assert (await change(web, shop, {"openingHours": sent}))["openingHours"] == sent
    assert (await change(web, shop, {"openingHours": []}))["openingHours"] == []


async def test_percent_below_one_is_percent_and_not_a_fraction(web: Web, shop: Shop) -> None:
    for percent in (0.5, 0, 7.5, 0.0001, 100):
        assert (await change(web, shop, {"tax": {"vatPercent": percent}}))["tax"]["vatPercent"] == percent


async def test_the_currency_stays_once_goods_were_booked_in_it(web: Web, shop: Shop) -> None:
    assert (await change(web, shop, {"tax": {"currency": "GHS"}}))["tax"]["currency"] == "GHS"
    await change(web, shop, {"tax": {"currency": "NGN"}})
    headers = {"sessiontoken": shop.session}
    made = await web.post(
        f"/cloudapi/app/{shop.store_id}/stock",
        headers=headers,
        json={"name": "Basket", "prices": {"sellingPrice": 500}, "quantity": 3},
    )
    assert made.is_success, made.text
    problem = await change(web, shop, {"tax": {"currency": "GHS"}}, status=409)
    assert problem["type"].endswith("#currency-in-use")
    assert pointers(problem) == ["/tax/currency"]


async def test_secrets_are_sealed_masked_and_in_no_trail(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    sent = {
        "business": {"bvn": "22212345678"},
        "site": {"googleKey": "AIza-zqSecret"},
        "paymentGateways": [
            {"provider": "Paystack", "secretKey": "sk_zqSecret", "webhookSecret": "wh_zqSecret"},
            {"provider": "Flutterwave", "publicKey": "pk_shown"},
        ],
    }
    written = await change(web, shop, sent)
    assert written["business"]["bvn"] == "*******5678"
    assert written["site"]["googleKey"] == "********"
    first, second = written["paymentGateways"]
    assert (first["secretKey"], first["webhookSecret"]) == ("********", "********")
    assert (second["secretKey"], second["publicKey"]) == (None, "pk_shown")

    async def opened() -> list[str | None]:
        rows = await schema_owner.fetch(
            "SELECT sealed_secret_key FROM payment_gateway WHERE merchant_id = $1 ORDER BY position",
            shop.merchant_id,
        )
        sealer = web.services.sealer
        return [None if row[0] is None else sealer.open(row[0]).decode() for row in rows]

    assert await opened() == ["sk_zqSecret", None]
    # In another order, under another name: what is not named stays, null takes away.
    turned = await change(
        web,
        shop,
        {
            "paymentGateways": [
                {"gatewayId": second["gatewayId"], "provider": "Flutterwave", "publicKey": None},
                {"gatewayId": first["gatewayId"], "provider": "Paystack NG", "webhookSecret": None},
            ]
        },
    )
    assert [one["gatewayId"] for one in turned["paymentGateways"]] == [
        second["gatewayId"],
        first["gatewayId"],
    ]
    assert await opened() == [None, "sk_zqSecret"]
    assert turned["paymentGateways"][0]["publicKey"] is None
    assert turned["paymentGateways"][1]["webhookSecret"] is None
    problem = await change(
        web,
        shop,
        {"paymentGateways": [{"gatewayId": first["gatewayId"], "provider": "P"}] * 2},
        status=422,
    )
    assert pointers(problem) == ["/paymentGateways/1/gatewayId"]
    trail = await ask(web, shop, "GET", "audit", params={"action": "store.settings"})
    entries = trail.json()["data"]
    assert [entry["after"].get("secrets") for entry in entries] == [
        ["Paystack NG webhook_secret"],
        ["bvn", "google_key", "Paystack secret_key", "Paystack webhook_secret"],
    ]
    kept = await schema_owner.fetchval("SELECT settings::text FROM store WHERE store_id = $1", shop.store_id)
    assert not any(secret in trail.text + kept for secret in ("zqSecret", "22212345678"))


async def test_another_stores_gateway_and_point_are_unknown(web: Web, shop: Shop, other_shop: Shop) -> None:
    theirs = await change(
        web, other_shop, {"paymentGateways": [{"provider": "P"}], "deliveryPoints": [{"name": "Ojota"}]}
    )
    gateway = {"gatewayId": theirs["paymentGateways"][0]["gatewayId"], "provider": "P"}
    point = {"pointId": theirs["deliveryPoints"][0]["pointId"], "name": "Ojota"}
    assert pointers(await change(web, shop, {"paymentGateways": [gateway]}, status=422))
    assert pointers(await change(web, shop, {"deliveryPoints": [point]}, status=422))
    # The control: the other shop does know them.
    again = await change(web, other_shop, {"paymentGateways": [gateway], "deliveryPoints": [point]})
    assert again["deliveryPoints"] == theirs["deliveryPoints"]


async def test_texts_are_kept_letter_for_letter(web: Web, shop: Shop) -> None:
    text = "<script>alert('x')</script>\n  **Ẹ kú àárọ̀** & <b>more</b>\t"
    written = await change(web, shop, {"pages": {"privacyPolicy": text, "about": text}})
    assert (written["pages"]["privacyPolicy"], written["pages"]["about"]) == (text, text)
    # The trail keeps the beginning of a long one.
    await change(web, shop, {"pages": {"privacyPolicy": "x" * 100_000}})
    entry = (await ask(web, shop, "GET", "audit", params={"action": "store.settings"})).json()["data"][0]
    assert entry["before"] == {"page privacy": text}
    assert entry["after"]["page privacy"].endswith("x… (100000 letters)")
    assert len(entry["after"]["page privacy"]) < 2100


async def test_the_domain_is_in_the_credentials_too(
    web: Web, shop: Shop, app_headers: dict[str, str]
) -> None:
    await change(web, shop, {"site": {"domain": "àdá.example"}})
    answer = await web.get(
        f"/cloudapi/utils/store/{shop.store_id}/credentials",
        headers={"sessiontoken": shop.session, **app_headers},
    )
    domain = answer.json()["domain"]
    assert domain.isascii()
    assert domain.encode().decode("idna") == "àdá.example"


# Logo and favicon ---------------------------------------------------------------------------------


async def test_a_logo_is_shown_replaced_and_swept_when_nobody_shows_it(web: Web, shop: Shop) -> None:
    first = (await send_picture(web, shop, "PUT", "pictures/logo", 61))["site"]["logo"]
    assert (await web.client.get(first)).status_code == 200
    same = await send_picture(web, shop, "PUT", "pictures/logo", 61)
    assert same["site"]["logo"] == first
    second = (await send_picture(web, shop, "PUT", "pictures/logo", 62))["site"]["logo"]
    banner = await send_picture(web, shop, "POST", "banners", 62)
    locations = await web.get(
        f"/cloudapi/user/{shop.user_id}/locations", headers={"sessiontoken": shop.session}
    )
    assert second in [one["logoPath"] for one in locations.json()]
    gone = await ask(web, shop, "DELETE", "pictures/logo")
    assert gone.json()["site"]["logo"] is None
    assert (await ask(web, shop, "DELETE", "pictures/logo")).json()["site"]["logo"] is None
    swept = await sweep_pictures(web.services, shop.merchant_id, unused_for=timedelta(hours=-1))
    assert swept == 1, "the first logo; the second is a banner"
    assert banner["picture"] == second
    assert (await web.client.get(first)).status_code == 404
    assert (await web.client.get(second)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "pictures/logo"), ("PUT", "pictures/favicon"), ("POST", "banners")]
)
async def test_what_is_no_picture_is_refused(web: Web, shop: Shop, method: str, path: str) -> None:
    async def status(content: bytes, kind: str) -> int:
        answer = await ask(web, shop, method, path, content=content, headers={"content-type": kind})
        return answer.status_code

    assert await status(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml") == 400
    assert await status(b"%PDF-1.7", "image/png") == 400
    assert await status(b"", "image/png") == 400
    assert await status(picture(63), "application/json") == 415
    assert await status(b"x" * (8 * 1024 * 1024 + 1), "image/png") == 413


async def test_there_is_no_third_picture(web: Web, shop: Shop) -> None:
    answer = await ask(
        web, shop, "PUT", "pictures/cover", content=picture(63), headers={"content-type": "image/png"}
    )
    assert answer.status_code == 422


# Banners ------------------------------------------------------------------------------------------


async def test_banners_are_added_ordered_changed_and_removed(web: Web, shop: Shop) -> None:
    item_id = await new_product_id(shop)
    lace = await send_picture(web, shop, "POST", "banners", 64, title="Lace", itemid=item_id)
    app = await send_picture(
        web, shop, "POST", "banners", 65, link="https://ada.example/app", placement="checkout"
    )
    plain = await send_picture(web, shop, "POST", "banners", 64)
    assert [one["position"] for one in (lace, app, plain)] == [1, 2, 3]

    async def order() -> list[str]:
        rows = (await ask(web, shop, "GET", "banners")).json()["data"]
        assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
        return [row["bannerId"] for row in rows]

    ids = [one["bannerId"] for one in (lace, app, plain)]
    assert await order() == ids
    moved = await ask(web, shop, "PATCH", f"banners/{ids[2]}", json={"position": 1, "title": "First"})
    assert (moved.json()["position"], moved.json()["title"]) == (1, "First")
    assert await order() == [ids[2], ids[0], ids[1]]
    turned = await ask(
        web, shop, "PATCH", f"banners/{ids[0]}", json={"itemId": None, "link": "http://ada.example/"}
    )
    assert (turned.json()["itemId"], turned.json()["link"]) == (None, "http://ada.example/")
    last = await ask(web, shop, "PATCH", f"banners/{ids[2]}", json={"position": 30})
    assert last.json()["position"] == 3
    assert (await ask(web, shop, "DELETE", f"banners/{ids[0]}")).status_code == 204
    assert await order() == [ids[1], ids[2]]
    assert (await ask(web, shop, "DELETE", f"banners/{ids[0]}")).status_code == 404
    trail = (await ask(web, shop, "GET", "audit", params={"subject": "banner"})).json()["data"]
    assert [entry["action"] for entry in trail] == [
        "banner.remove",
        *["banner.change"] * 3,
        *["banner.add"] * 3,
    ]


async def test_a_banner_leads_to_one_good_place(web: Web, shop: Shop, other_shop: Shop) -> None:
    item_id, theirs = await new_product_id(shop), await new_product_id(other_shop)

    async def add(**query: str) -> httpx.Response:
        headers = {"content-type": "image/png"}
        return await ask(web, shop, "POST", "banners", content=picture(66), headers=headers, params=query)

    assert pointers((await add(link="javascript:alert(1)")).json()) == ["#/query/link"]
    assert (await add(link="https://a.example", itemid=item_id)).status_code == 422
    for unknown in (theirs, UNKNOWN, "nonsense"):
        assert (await add(itemid=unknown)).status_code == 404
    banner = (await add(itemid=item_id)).json()["bannerId"]
    for body, pointer in (
        ({"link": "https://a.example"}, "/link"),
        ({"itemId": None, "link": "data:text/html,x"}, "/link"),
        ({"startsAt": "2031-01-02T00:00:00Z", "endsAt": "2031-01-01T00:00:00Z"}, "/endsAt"),
        ({"placement": "roof"}, "/placement"),
        ({"position": 0}, "/position"),
    ):
        refused = await ask(web, shop, "PATCH", f"banners/{banner}", json=body)
        assert (refused.status_code, pointers(refused.json())) == (422, [pointer])
    for unknown in (theirs, UNKNOWN):
        answer = await ask(web, shop, "PATCH", f"banners/{banner}", json={"itemId": unknown})
        assert answer.status_code == 404


async def test_another_stores_banner_is_unknown(web: Web, shop: Shop, other_shop: Shop) -> None:
    theirs = (await send_picture(web, other_shop, "POST", "banners", 67))["bannerId"]
    for banner_id in (theirs, UNKNOWN, "nonsense"):
        assert (await ask(web, shop, "DELETE", f"banners/{banner_id}")).status_code == 404
        answer = await ask(web, shop, "PATCH", f"banners/{banner_id}", json={"title": "Mine"})
        assert answer.status_code == 404
    # The control: its own shop does change it.
    answer = await ask(web, other_shop, "PATCH", f"banners/{theirs}", json={"title": "Ours"})
    assert answer.json()["title"] == "Ours"


async def test_a_store_has_thirty_banners_at_most_however_many_come_at_once(web: Web, shop: Shop) -> None:
    for _ in range(28):
        await send_picture(web, shop, "POST", "banners", 68)
    headers = {"content-type": "image/png"}
    answers = await asyncio.gather(
        *(ask(web, shop, "POST", "banners", content=picture(68), headers=headers) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]


async def test_a_banner_outlives_its_product(web: Web, shop: Shop, schema_owner: SchemaOwner) -> None:
    item_id = await new_product_id(shop)
    banner = await send_picture(web, shop, "POST", "banners", 69, itemid=item_id)
    await schema_owner.execute("DELETE FROM product_card WHERE product_id = $1", item_id)
    await schema_owner.execute("DELETE FROM product WHERE product_id = $1", item_id)
    [left] = (await ask(web, shop, "GET", "banners")).json()["data"]
    assert (left["bannerId"], left["itemId"]) == (banner["bannerId"], None)


async def test_who_may_not_change_the_store_changes_and_reads_none_of_it(web: Web, shop: Shop) -> None:
    for role in (Role.CASHIER, Role.MANAGER):
        session = (await hire(shop, role, shop.store_id)).session
        for method, path, options in (
            ("GET", "settings", {}),
            ("PATCH", "settings", {"json": {"theme": {"font": "Inter"}}}),
            ("GET", "banners", {}),
            ("DELETE", f"banners/{UNKNOWN}", {}),
            ("PUT", "pictures/logo", {"content": picture(61), "headers": {"content-type": "image/png"}}),
        ):
            answer = await ask(web, shop, method, path, session=session, **options)
            assert answer.status_code == 403, (role, path)


async def test_one_key_adds_one_banner(web: Web, shop: Shop) -> None:
    headers = {"content-type": "image/png", "idempotency-key": new_id().hex}
    answers = [
        await ask(web, shop, "POST", "banners", content=picture(70), headers=headers) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert len((await ask(web, shop, "GET", "banners")).json()["data"]) == 1
    other = await ask(web, shop, "POST", "banners", content=picture(71), headers=headers)
    assert other.status_code == 409
