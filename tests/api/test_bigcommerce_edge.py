"""Cases B29 to B31, B35, B37 and X1: who may come in, quotas, spellings, other APIs and retries."""

import asyncio

import httpx
import msgspec
import pytest

from kasuwa.domain.merchants.actions import create_access_token, operating_on
from kasuwa.handover import WorkerSetup
from tests.api.bigcommerce_calls import BigCommerceCalls, check_error, check_quota_headers
from tests.api.picture_server import PictureServer
from tests.client import Web, running_web
from tests.conftest import picture_bytes
from tests.shop import Shop

KEY = {"Idempotency-Key": "order-of-images-1"}


def images_of(product: int) -> str:
    return f"/catalog/products/{product}/images"


async def test_b29_only_the_stores_own_token_comes_in(
    bc: BigCommerceCalls, product: int, shop: Shop, other_shop: Shop, pictures: PictureServer
) -> None:
    path, body = images_of(product), {"image_url": pictures.good()}
    check_error(await bc.get(path, token=""), 401)
    for token in ("wrong", "x" * 5000):
        check_error(await bc.get(path, token=token), 401)
    assert (await bc.get(path, token=shop.read_token)).status_code == 200
    check_error(await bc.post(path, body, token=shop.read_token), 403)
    check_error(await bc.delete(f"{path}/1", token=shop.read_token), 403)
    foreign = BigCommerceCalls(bc.web, other_shop)
    answers = [
        # Another merchant's store, a store that is nobody's, and one's own with another's token.
        await foreign.get(path, token=shop.token),
        await bc.web.get(f"/stores/nobody/v3{path}", headers={"X-Auth-Token": shop.token}),
        await bc.get(path, token=other_shop.token),
        await bc.get(path, token="wrong"),
    ]
    for answer in answers:
        check_error(answer, 401)
        assert answer.json() == answers[0].json()
    assert await bc.images(product) == []


async def test_b29_a_token_of_the_merchants_other_store_does_not_open_this_one(
    bc: BigCommerceCalls, product: int, shop: Shop
) -> None:
    operator = await operating_on(shop.owner, shop.second_store_id)
    token = await create_access_token(operator, shop.second_store_id, ["read_product"])
    check_error(await bc.get(images_of(product), token=token.access_token), 401)


async def test_b29_a_store_that_is_switched_off(bc: BigCommerceCalls, product: int, shop: Shop) -> None:
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE store SET status = 'disabled'"
            " WHERE merchant_id = current_merchant() AND store_id = :store_id",
            store_id=shop.store_id,
        )
    check_error(await bc.get(images_of(product)), 403)


async def test_b30_the_quota_is_counted_down_and_then_refuses(worker_setup: WorkerSetup, shop: Shop) -> None:
    settings = msgspec.structs.replace(worker_setup.settings, bigcommerce_requests_per_window=20)
    async with running_web(msgspec.structs.replace(worker_setup, settings=settings)) as web:
        bc = BigCommerceCalls(web, shop)
        # Both tokens of the store spend one quota. The window may end between two requests: then it is new.
        answers = [
            await bc.get("/catalog/products/1", token=token) for token in [shop.token, shop.read_token] * 30
        ]
        left = [int(answer.headers["X-Rate-Limit-Requests-Left"]) for answer in answers]
        last = next(index for index, answer in enumerate(answers) if answer.status_code == 429)
        assert left[last - 1] == 0
        assert left[last - 3 : last] == [2, 1, 0]
        assert {answer.headers["X-Rate-Limit-Requests-Quota"] for answer in answers} == {"20"}
        refused = answers[last]
        body = check_error(refused, 429)
        wait = int(refused.headers["X-Retry-After"])
        assert 1 <= wait <= 30
        assert (wait - 1) * 1000 <= int(refused.headers["X-Rate-Limit-Time-Reset-Ms"]) <= wait * 1000
        assert str(wait) in body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/catalog/products/999", {}, 404),
        ("GET", "/catalog/nothing", {}, 404),
        ("GET", "", {}, 404),
        ("POST", "/catalog/products/1", {}, 405),
        ("PATCH", "/catalog/products/1", {}, 501),
        ("GET", "/catalog/products", {"X-Auth-Token": ""}, 401),
        ("POST", "/catalog/products", {"Content-Type": "text/plain"}, 415),
        ("POST", "/catalog/products", {"Content-Type": "application/json"}, 400),
        (
            "POST",
            "/catalog/products",
            {"Content-Type": "application/json", "Content-Length": "99999999"},
            413,
        ),
        ("DELETE", "/catalog/products", {}, 422),
        ("HEAD", "/catalog/products/999", {}, 404),
    ],
)
async def test_b30_every_answer_has_the_four_integers(
    bc: BigCommerceCalls, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    # `call` checks the headers of each answer it gets.
    answer = await bc.call(method, path, headers=headers, content=b"")
    assert answer.status_code == status, answer.text
    if method != "HEAD":
        check_error(answer, status)


async def test_b30_the_check_of_the_four_integers_can_fail(bc: BigCommerceCalls) -> None:
    answer = await bc.get("/catalog/products")
    for name in list(answer.headers):
        if name.startswith("x-rate-limit"):
            spoilt = httpx.Response(200, headers={k: v for k, v in answer.headers.items() if k != name})
            with pytest.raises(KeyError):
                check_quota_headers(spoilt)


async def test_b31_media_types(bc: BigCommerceCalls, product: int) -> None:
    answer = await bc.post(images_of(product), content=b"x", headers={"content-type": "text/plain"})
    check_error(answer, 415)
    undefined = await bc.get(images_of(product), headers={"content-type": "undefined"})
    assert undefined.status_code == 200


async def test_b35_a_slash_at_the_end_makes_no_difference(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    made = await bc.post(f"{images_of(product)}/", {"image_url": pictures.good()})
    assert made.status_code == 200
    image = made.json()["data"]
    for path in (f"{images_of(product)}/{image['id']}", "/catalog/products", f"/catalog/products/{product}"):
        plain, slashed = await bc.get(path), await bc.get(f"{path}/")
        assert (slashed.status_code, slashed.json()["data"]) == (200, plain.json()["data"])


async def test_b37_methods_that_are_not_there(bc: BigCommerceCalls, product: int) -> None:
    image = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]
    wrong = await bc.put(images_of(product), {})
    assert check_error(wrong, 405)["detail"]
    assert {"GET", "POST"} <= {name.strip() for name in wrong.headers["allow"].split(",")}
    check_error(await bc.call("PATCH", f"{images_of(product)}/{image['id']}", json={"description": "x"}), 501)
    check_error(await bc.call("PATCH", "/catalog/nothing", json={}), 404)
    assert await bc.images(product) == [image]


async def test_accept_may_be_missing_or_anything(bc: BigCommerceCalls, product: int) -> None:
    for accept in (None, "*/*", "application/json", "text/html"):
        request = bc.web.client.build_request(
            "GET", bc.base + images_of(product), headers={"x-auth-token": bc.shop.token}
        )
        del request.headers["accept"]
        if accept is not None:
            request.headers["accept"] = accept
        answer = await bc.web.client.send(request)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


async def test_x1_a_picture_of_one_api_is_seen_through_the_others(
    bc: BigCommerceCalls, shop: Shop, pictures: PictureServer
) -> None:
    session = {"sessiontoken": shop.session}
    stock = f"/cloudapi/app/{shop.store_id}/stock"
    item = (
        await bc.web.post(stock, headers=session, json={"name": "Fan", "prices": {"sellingPrice": 900}})
    ).json()
    product = next(p for p in (await bc.get("/catalog/products?name=Fan")).json()["data"])["id"]
    await bc.post(images_of(product), {"image_url": pictures.good(4), "description": "From B"})
    added = await bc.web.post(
        f"{stock}/{item['itemId']}/addpicture?position=2",
        headers=session | {"content-type": "image/png"},
        content=picture_bytes("PNG", seed=5),
    )
    assert added.status_code == 200
    slz = (
        await bc.web.get(
            f"/openapi/2022-01/products/{item['itemId']}/images", headers={"Access-Token": shop.token}
        )
    ).json()["images"]
    added_there = await bc.web.post(
        f"/openapi/2022-01/products/{item['itemId']}/images",
        headers={"Access-Token": shop.token},
        json={"image": {"src": pictures.good(6), "alt": "From S"}},
    )
    assert added_there.status_code == 200
    here = await bc.images(product)
    there = (await bc.web.get(f"{stock}/{item['itemId']}", headers=session)).json()["images"]
    origin = "http://127.0.0.1:8000"
    assert [image["url_zoom"] for image in here] == [origin + image["url"] for image in there]
    assert [image["description"] for image in here] == ["From B", "", "From S"]
    assert len(slz) == 2
    removed = await bc.delete(f"{images_of(product)}/{here[0]['id']}")
    assert removed.status_code == 204
    left = (await bc.web.get(f"{stock}/{item['itemId']}", headers=session)).json()["images"]
    assert [image["alt"] for image in left] == ["", "From S"]


async def test_a_retry_with_its_key_creates_once(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    body = {"image_url": pictures.good(), "description": "Once"}
    first = await bc.post(images_of(product), body, headers=KEY)
    again = await bc.post(images_of(product), body, headers=KEY)
    assert (again.status_code, again.content) == (first.status_code, first.content) == (200, first.content)
    check_error(await bc.post(images_of(product), body | {"description": "Other"}, headers=KEY), 409)
    assert len(await bc.images(product)) == 1
    # The control: without the key there are two.
    await bc.post(images_of(product), body)
    assert len(await bc.images(product)) == 2


async def test_a_form_that_is_sent_again_has_another_boundary_and_the_same_key(
    bc: BigCommerceCalls, product: int
) -> None:
    sends = [
        bc.post(
            images_of(product),
            headers=KEY,
            files={"image_file": ("a.png", picture_bytes("PNG"))},
            data={"description": "Once"},
        )
        for _ in range(4)
    ]
    answers = await asyncio.gather(*sends)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(await bc.images(product)) == 1
    other = {"image_file": ("a.png", picture_bytes("PNG", seed=1))}
    check_error(
        await bc.post(images_of(product), headers=KEY, files=other, data={"description": "Once"}), 409
    )


async def test_a_retried_change_and_removal_answer_as_the_first_time(
    bc: BigCommerceCalls, product: int
) -> None:
    image = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]
    path = f"{images_of(product)}/{image['id']}"
    changes = [await bc.put(path, {"description": "New"}, headers=KEY) for _ in range(2)]
    assert changes[0].content == changes[1].content
    key = {"Idempotency-Key": "removal-of-image-1"}
    removals = [await bc.delete(path, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in removals] == [204, 204]
    check_error(await bc.delete(path), 404)
    check_error(await bc.put(path, {}, headers={"Idempotency-Key": "short"}), 422)


async def test_another_merchants_numbers_look_like_none(
    bc: BigCommerceCalls, web: Web, other_shop: Shop
) -> None:
    """The other merchant has so many products and images that its numbers lie beyond ours."""
    other = BigCommerceCalls(bc.web, other_shop)
    numbers = [(await other.new_product())["id"] for _ in range(3)]
    image = (await other.upload(numbers[-1], picture_bytes("PNG"))).json()["data"]["id"]
    own = (await bc.new_product())["id"]
    pairs = [
        ("GET", f"/catalog/products/{numbers[-1]}", "/catalog/products/77777"),
        ("PUT", f"/catalog/products/{numbers[-1]}", "/catalog/products/77777"),
        ("DELETE", f"/catalog/products/{numbers[-1]}", "/catalog/products/77777"),
        ("GET", images_of(numbers[-1]), images_of(77777)),
        ("GET", f"{images_of(own)}/{image}", f"{images_of(own)}/77777"),
        ("PUT", f"{images_of(own)}/{image}", f"{images_of(own)}/77777"),
        ("DELETE", f"{images_of(own)}/{image}", f"{images_of(own)}/77777"),
    ]
    name = {"X-Request-Id": "the-same-request"}
    for method, foreign, unknown in pairs:
        body = {"description": "x"} if method == "PUT" else None
        answers = [await bc.call(method, path, headers=name, json=body) for path in (foreign, unknown)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
    assert len(await other.images(numbers[-1])) == 1


async def test_descriptions_are_kept_as_they_were_sent(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    for text in ('Ọṣun \u200f‎— 1 < 2 & "3"', " spaces ", "𝔘" * 1000, "\u0000"[:0]):
        made = await bc.post(images_of(product), {"image_url": pictures.good(), "description": text})
        assert made.json()["data"]["description"] == text
    too_long = {"image_url": pictures.good(), "description": "x" * 65_536}
    check_error(await bc.post(images_of(product), too_long), 422)
    check_error(await bc.post(images_of(product), {"image_url": pictures.good(), "description": "a\0b"}), 400)
    check_error(await bc.upload(product, picture_bytes("PNG"), description="a\0b"), 422)
