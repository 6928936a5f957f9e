"""Who may call the Shoplazza API, how often, and what two calls at once or twice come to."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.limits import _Lease
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.catalogue.queries import read_products
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.media import actions
from kasuwa.domain.merchants.actions import create_access_token
from kasuwa.handover import WorkerSetup
from tests.api.picture_server import PictureServer
from tests.api.shoplazza_calls import BASES, UNKNOWN, Shoplazza, new_product_id, positions
from tests.client import Web, running_web
from tests.shop import Shop

WRITERS = 50


async def new_token(shop: Shop, store_id: UUID, scopes: list[str]) -> str:
    operator = Context(shop.owner.services, request_id="test")
    return (await create_access_token(operator, store_id, scopes)).access_token


async def test_s09_without_a_known_token_the_answer_is_401(slz: Shoplazza, product_id: str) -> None:
    path = f"/products/{product_id}/images"
    for headers in ({}, {"access-token": ""}, {"access-token": "wrong"}, {"access-token": "x" * 9000}):
        slz.headers = dict(headers)
        answer = await slz.call("GET", path)
        assert slz.message(answer, 401) == "Unauthorized"
    if not slz.is_enveloped:
        assert answer.json() == {"error": "Unauthorized"}


async def test_s09_a_store_that_is_switched_off_is_told_so(
    slz: Shoplazza, shop: Shop, product_id: str
) -> None:
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE store SET status = 'disabled'"
            " WHERE merchant_id = current_merchant() AND store_id = :store_id",
            store_id=shop.store_id,
        )
    answer = await slz.call("GET", f"/products/{product_id}/images")
    assert slz.message(answer, 403) == "store is not active"
    if not slz.is_enveloped:
        assert answer.json() == {"error": "store is not active"}


async def test_a_token_may_do_what_its_scopes_say(
    slz: Shoplazza, shop: Shop, product_id: str, pictures: PictureServer
) -> None:
    made = await slz.add(product_id, src=pictures.url())
    reader = Shoplazza(slz.web, slz.base, shop.read_token)
    assert await reader.images(product_id) == [made]
    body = {"image": {"src": pictures.url()}}
    for method, path, options in (
        ("POST", f"/products/{product_id}/images", {"json": body}),
        ("PUT", f"/products/{product_id}/images/{made['id']}", {"json": body}),
        ("DELETE", f"/products/{product_id}/images/{made['id']}", {}),
        ("POST", "/products", {"json": {"product": {"title": "x", "has_only_default_variant": True}}}),
        ("DELETE", f"/products/{product_id}", {}),
    ):
        answer = await reader.call(method, path, **options)
        assert "write_product" in reader.message(answer, 403)
    assert await slz.images(product_id) == [made]
    writer = Shoplazza(slz.web, slz.base, await new_token(shop, shop.store_id, ["write_product"]))
    assert await writer.images(product_id) == [made]


async def test_s20_the_token_comes_in_every_spelling(slz: Shoplazza, shop: Shop, product_id: str) -> None:
    for headers in (
        {"Access-Token": shop.token},
        {"access-token": shop.token},
        {"ACCESS-TOKEN": shop.token},
        {"Authorization": shop.token},
        {"Authorization": f"Bearer {shop.token}"},
        {"authorization": f"bearer  {shop.token} "},
    ):
        slz.headers = headers
        assert await slz.images(product_id) == []
    # The control: near misses prove nobody.
    for headers in (
        {"Access-Token": f"Bearer {shop.token}"},
        {"Authorization": f"Basic {shop.token}"},
        {"X-Access-Token": shop.token},
        {"Access-Token": shop.token.swapcase()},
        {"Access-Token": shop.session},
    ):
        slz.headers = headers
        assert slz.message(await slz.call("GET", f"/products/{product_id}/images"), 401) == "Unauthorized"


async def test_ids_of_another_merchant_look_unknown(
    slz: Shoplazza, other_shop: Shop, product_id: str, pictures: PictureServer
) -> None:
    made = await slz.add(product_id, src=pictures.url())
    stranger = Shoplazza(slz.web, slz.base, other_shop.token)
    body = {"image": {"src": pictures.url(), "position": 1}}
    for method, path in (
        ("GET", "/images"),
        ("POST", "/images"),
        ("GET", "/images/count"),
        ("GET", f"/images/{made['id']}"),
        ("PUT", f"/images/{made['id']}"),
        ("DELETE", f"/images/{made['id']}"),
        ("GET", ""),
        ("DELETE", ""),
    ):
        options = {"json": body} if method in ("POST", "PUT") else {}
        answer = await stranger.call(method, f"/products/{product_id}{path}", **options)
        unknown = await stranger.call(method, f"/products/{UNKNOWN}{path}", **options)
        assert stranger.message(answer, 404) == "Product not found"
        assert answer.content == unknown.content
    theirs = await new_product_id(other_shop)
    answer = await stranger.call("GET", f"/products/{theirs}/images/{made['id']}")
    assert stranger.message(answer, 404) == "Image not found"
    assert (await stranger.get(f"/products?ids={product_id}"))["products"] == []
    assert await slz.images(product_id) == [made]


async def test_every_answer_has_a_request_id(slz: Shoplazza) -> None:
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("PATCH", "/products", 405),
        ("GET", "/products/abc", 422),
        ("POST", "/products", 415),
    ):
        answer = await slz.call(method, path, headers={"request-id": "asked-for-by-name"})
        assert slz.message(answer, status)
        assert answer.headers["request-id"] == "asked-for-by-name"
    answer = await slz.web.get("/openapi/2031-01/products")
    assert answer.status_code == 404
    assert answer.headers["request-id"]


async def test_options_names_the_methods_of_a_path(slz: Shoplazza, product_id: str) -> None:
    for path, allowed in (
        ("/products", "GET, HEAD, OPTIONS, POST"),
        ("/products/count", "GET, HEAD, OPTIONS"),
        (f"/products/{product_id}", "DELETE, GET, HEAD, OPTIONS"),
        (f"/products/{product_id}/images", "GET, HEAD, OPTIONS, POST"),
        (f"/products/{product_id}/images/{UNKNOWN}", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ):
        answer = await slz.web.client.options(slz.base + path)
        assert (answer.status_code, answer.headers["allow"]) == (204, allowed)


# Quotas ------------------------------------------------------------------------------------------


def with_quotas(setup: WorkerSetup) -> WorkerSetup:
    """The application as it is delivered: 40 requests of a token at once, 80 of a store."""
    settings = msgspec.structs.replace(setup.settings, shoplazza_burst=40, shoplazza_store_burst=80)
    return msgspec.structs.replace(setup, settings=settings)


async def test_s17_more_than_forty_requests_at_once_meet_a_full_bucket(
    worker_setup: WorkerSetup, shop: Shop, other_shop: Shop
) -> None:
    async with running_web(with_quotas(worker_setup)) as web:
        for base, of_shop in ((BASES[0], shop), (BASES[1], other_shop)):
            token = await new_token(of_shop, of_shop.store_id, ["read_product"])
            slz = Shoplazza(web, base, token)
            # More than 41, because the bucket leaks while a slow machine sends them.
            answers = await asyncio.gather(*(slz.call("GET", "/products/count") for _ in range(60)))
            statuses = [answer.status_code for answer in answers]
            assert set(statuses) == {200, 429}
            assert statuses.count(200) >= 40
            for answer in answers:
                if answer.status_code == 429:
                    assert "Try again" in slz.message(answer, 429)
                    assert int(answer.headers["retry-after"]) >= 1
            # The control: another app of the store has a bucket of its own.
            slz = Shoplazza(web, base, await new_token(of_shop, of_shop.store_id, ["read_product"]))
            assert (await slz.call("GET", "/products/count")).status_code == 200


class NoLock:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *failure: object) -> None: ...


async def test_s17_leases_that_are_taken_all_at_once_would_waste_the_bucket(
    worker_setup: WorkerSetup, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = _Lease.__init__

    def begin_without_lock(lease: _Lease) -> None:
        begin(lease)
        lease.asking = NoLock()  # type: ignore[assignment]

    monkeypatch.setattr(_Lease, "__init__", begin_without_lock)
    async with running_web(with_quotas(worker_setup)) as web:
        slz = Shoplazza(web, BASES[0], await new_token(shop, shop.store_id, ["read_product"]))
        answers = await asyncio.gather(*(slz.call("GET", "/products/count") for _ in range(60)))
        assert [answer.status_code for answer in answers].count(200) < 40


async def test_s17_the_apps_of_a_store_share_its_bucket(worker_setup: WorkerSetup, shop: Shop) -> None:
    async with running_web(with_quotas(worker_setup)) as web:
        tokens = [await new_token(shop, shop.store_id, ["read_product"]) for _ in range(4)]
        apps = [Shoplazza(web, BASES[0], token) for token in tokens]
        answers = await asyncio.gather(
            *(slz.call("GET", "/products/count") for slz in apps for _ in range(38))
        )
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(200) >= 80
        assert statuses.count(429) >= 1
        elsewhere = await new_token(shop, shop.second_store_id, ["read_product"])
        answer = await Shoplazza(web, BASES[0], elsewhere).call("GET", "/products/count")
        assert answer.status_code == 200


# Many at once ------------------------------------------------------------------------------------


async def add_at_once(slz: Shoplazza, product_id: str, src: str) -> list[int]:
    """The places that the writers were told; 0 for one that failed."""

    async def add() -> int:
        answer = await slz.web.client.post(
            f"{slz.base}/products/{product_id}/images", headers=slz.headers, json={"image": {"src": src}}
        )
        return int(slz.data(answer)["image"]["position"]) if answer.status_code == 200 else 0

    return sorted(await asyncio.gather(*(add() for _ in range(WRITERS))))


async def test_fifty_writers_at_once_leave_places_without_gaps(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    src = (await slz.add(product_id, src=pictures.url()))["src"]
    assert await add_at_once(slz, product_id, src) == list(range(2, WRITERS + 2))
    shown = await slz.images(product_id)
    assert positions(shown) == list(range(1, WRITERS + 2))
    assert len({image["id"] for image in shown}) == WRITERS + 1


async def test_without_the_products_lock_the_same_writers_are_told_one_place_twice(
    fetching_web: Web,
    shop: Shop,
    product_id: str,
    pictures: PictureServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look_without_lock(db: Database, wanted: UUID) -> Product:
        found = await read_products(db, [wanted])
        if not found:
            raise ProductNotFound()
        return found[0]

    slz = Shoplazza(fetching_web, BASES[0], shop.token)
    src = (await slz.add(product_id, src=pictures.url()))["src"]
    monkeypatch.setattr(actions, "lock_product", look_without_lock)
    assert await add_at_once(slz, product_id, src) != list(range(2, WRITERS + 2))


# Twice -------------------------------------------------------------------------------------------


async def test_one_idempotency_key_makes_one_image(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    path = f"/products/{product_id}/images"
    body = {"image": {"src": pictures.url(), "alt": "once"}}
    key = {"idempotency-key": f"image-of-{product_id}"}
    answers = await asyncio.gather(*(slz.call("POST", path, headers=key, json=body) for _ in range(10)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert slz.data(answers[0])["image"]["alt"] == "once"
    assert len(await slz.images(product_id)) == 1
    other = await slz.call("POST", path, headers=key, json={"image": {"src": pictures.url(), "alt": "two"}})
    assert slz.message(other, 409)
    assert slz.message(await slz.call("POST", path, headers={"idempotency-key": "short"}, json=body), 422)
    # The control: without a key every request has its effect.
    for _ in range(2):
        await slz.call("POST", path, json=body)
    assert len(await slz.images(product_id)) == 3


async def test_a_keyed_request_holds_no_connection_while_it_fetches(
    worker_setup: WorkerSetup, shop: Shop, product_id: str, pictures: PictureServer
) -> None:
    """With one connection in all, a request that kept one while it fetches could never go on."""
    settings = msgspec.structs.replace(
        worker_setup.settings, fetch_allow=pictures.host, database_connections=1
    )
    async with running_web(msgspec.structs.replace(worker_setup, settings=settings)) as web:
        slz = Shoplazza(web, BASES[0], shop.token)
        path, body = f"/products/{product_id}/images", {"image": {"src": pictures.url()}}
        answer = await slz.call("POST", path, json=body, headers={"idempotency-key": f"narrow-{product_id}"})
        assert answer.status_code == 200
        # The control: a question that claims the key, as a change does, holds the only connection.
        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(Context, "reading", Context.transaction)
            answer = await slz.call(
                "POST", path, json=body, headers={"idempotency-key": f"control-{product_id}"}
            )
            assert answer.status_code == 503
