"""The Shoplazza conformance cases of images, in all versions of the API."""

import asyncio
import re
import ssl

import pytest
import trustme

from kasuwa.base.fetch import Fetcher
from tests.api.picture_server import PictureServer, closed_port_url, serving_pictures
from tests.api.shoplazza_calls import UNKNOWN, Shoplazza, is_uuid, new_product_id, positions
from tests.client import Web
from tests.shop import Shop

SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def test_s01_the_first_image_is_stored_and_answered_with_nine_fields(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    wish = {"position": 1, "src": pictures.url(), "width": 300, "height": 300, "alt": "Front"}
    image = await slz.add(product_id, **wish)
    assert set(image) == {
        "id",
        "product_id",
        "position",
        "src",
        "width",
        "height",
        "alt",
        "created_at",
        "updated_at",
    }
    assert is_uuid(image["id"])
    assert image["product_id"] == product_id
    assert (image["position"], image["alt"]) == (1, "Front")
    assert (image["width"], image["height"]) == (800, 600)  # the picture's own, not the wish
    assert image["src"].startswith("//127.0.0.1:8000/media/")
    assert SECOND.fullmatch(image["created_at"])
    assert SECOND.fullmatch(image["updated_at"])
    file = await slz.web.get(f"http:{image['src']}")
    assert (file.status_code, file.headers["content-type"]) == (200, "image/jpeg")


async def test_s02_without_a_position_an_image_goes_to_the_end(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    made = [await slz.add(product_id, src=pictures.url(), alt=str(n)) for n in range(3)]
    shown = await slz.images(product_id)
    assert positions(shown) == [1, 2, 3]
    assert shown == made


async def test_s03_a_position_may_be_a_number_or_its_digits(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    for _ in range(2):
        await slz.add(product_id, src=pictures.url())
    assert (await slz.add(product_id, src=pictures.url(), position="2"))["position"] == 2
    assert (await slz.add(product_id, src=pictures.url(), position=2))["position"] == 2
    assert (await slz.add(product_id, src=pictures.url(), position="0003"))["position"] == 3
    assert (await slz.add(product_id, src=pictures.url(), position="9" * 5000))["position"] == 6


async def test_s04_an_image_at_the_first_place_moves_the_others_on(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    for alt in ("a", "b"):
        await slz.add(product_id, src=pictures.url(), alt=alt)
    await slz.add(product_id, src=pictures.url(), alt="new", position=1)
    shown = await slz.images(product_id)
    assert [(image["position"], image["alt"]) for image in shown] == [(1, "new"), (2, "a"), (3, "b")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"height": 0},
        {"position": 0},
        {"position": "0"},
        {"width": -1},
        {"width": "x"},
        {"position": 1.5},
        {"alt": 7},
    ],
)
async def test_s05_a_size_or_place_that_is_not_above_zero_is_400(
    slz: Shoplazza, product_id: str, pictures: PictureServer, wrong: dict[str, object]
) -> None:
    answer = await slz.call(
        "POST", f"/products/{product_id}/images", json={"image": {"src": pictures.url(), **wrong}}
    )
    assert f"image.{next(iter(wrong))}" in slz.message(answer, 400)
    assert await slz.images(product_id) == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"image":{}}',
        b'{"image":{"src":""}}',
        b'{"image":{"src":"not a url"}}',
        b'{"image":{"src":"ftp://host/a.png"}}',
        b'{"image":{"src":"/elsewhere/a.png"}}',
        b'{"image":{"src":"http://[half/a.png"}}',
        b'{"image":',
        b"[]",
        b"",
        b"\xff",
    ],
)
async def test_s06_a_body_without_a_readable_address_is_400(
    slz: Shoplazza, product_id: str, body: bytes
) -> None:
    answer = await slz.call(
        "POST",
        f"/products/{product_id}/images",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert slz.message(answer, 400)
    assert await slz.images(product_id) == []


@pytest.mark.parametrize("body", [b'{"image":{"src":"//host/a.png"}}', b"no json", b""])
async def test_s07_a_product_id_that_is_no_uuid_is_422_whatever_the_body(slz: Shoplazza, body: bytes) -> None:
    answer = await slz.call(
        "POST", "/products/abc/images", content=body, headers={"content-type": "application/json"}
    )
    assert slz.message(answer, 422) == "ProductId must be a valid UUID"
    for method, path in (
        ("GET", "/products/abc/images"),
        ("GET", "/products/abc/images/count"),
        ("GET", f"/products/abc/images/{UNKNOWN}"),
        ("DELETE", f"/products/{UNKNOWN.replace('-', '')}/images/{UNKNOWN}"),
        ("GET", "/products/abc"),
        ("DELETE", "/products/abc"),
    ):
        answer = await slz.call(method, path)
        assert slz.message(answer, 422) == "ProductId must be a valid UUID"


async def test_s08_an_unknown_product_is_404_and_nothing_is_fetched_for_it(
    slz: Shoplazza, pictures: PictureServer
) -> None:
    asked = len(pictures.asked)
    body = {"image": {"src": pictures.url()}}
    for method, path in (
        ("POST", f"/products/{UNKNOWN}/images"),
        ("GET", f"/products/{UNKNOWN}/images"),
        ("GET", f"/products/{UNKNOWN}/images/count"),
        ("GET", f"/products/{UNKNOWN}/images/{UNKNOWN}"),
        ("PUT", f"/products/{UNKNOWN}/images/{UNKNOWN}"),
        ("DELETE", f"/products/{UNKNOWN}/images/{UNKNOWN}"),
        ("GET", f"/products/{UNKNOWN}"),
        ("DELETE", f"/products/{UNKNOWN}"),
    ):
        answer = await slz.call(method, path, **({"json": body} if method in ("POST", "PUT") else {}))
        assert slz.message(answer, 404) == "Product not found"
    assert len(pictures.asked) == asked


async def test_s10_an_address_without_its_protocol_is_read_as_https(
    slz: Shoplazza, product_id: str, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving_pictures(serving) as secure:
        fetcher = Fetcher(allow=[secure.host], ssl_context=trusting)
        try:
            monkeypatch.setattr(slz.web.services, "fetcher", fetcher)
            image = await slz.add(product_id, src=f"//{secure.host}/good.png")
        finally:
            await fetcher.close()
        assert secure.asked == ["/good.png"]
    assert (image["width"], image["height"]) == (800, 600)
    # The control: the same spelling does not reach a server that speaks plain HTTP.
    monkeypatch.undo()
    answer = await slz.call(
        "POST", f"/products/{product_id}/images", json={"image": {"src": f"//{pictures.host}/good.png"}}
    )
    assert slz.message(answer, 422)


async def test_s10_an_image_of_ours_is_found_in_the_store_in_every_spelling(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    src = (await slz.add(product_id, src=pictures.url()))["src"]
    asked = len(pictures.asked)
    path = src.removeprefix("//127.0.0.1:8000")
    for spelling in (src, f"https:{src}", f"http:{src}", path):
        again = await slz.add(product_id, src=spelling)
        assert again["src"] == src
    assert len(pictures.asked) == asked
    # Where no host may be named the answer has a path, and that path is taken back.
    nameless = {"host": "shop.example"}
    answer = await slz.call("GET", f"/products/{product_id}/images", headers=nameless)
    assert [image["src"] for image in slz.data(answer)["images"]] == [path] * 5
    answer = await slz.call(
        "POST", f"/products/{product_id}/images", headers=nameless, json={"image": {"src": path}}
    )
    assert slz.data(answer)["image"]["src"] == path


async def test_s10_an_image_of_ours_is_nobody_elses(
    slz: Shoplazza, product_id: str, other_shop: Shop, pictures: PictureServer
) -> None:
    src = (await slz.add(product_id, src=pictures.url()))["src"]
    stranger = Shoplazza(slz.web, slz.base, other_shop.token)
    theirs = await new_product_id(other_shop)
    answer = await stranger.call("POST", f"/products/{theirs}/images", json={"image": {"src": src}})
    assert "could not be downloaded" in stranger.message(answer, 422)


@pytest.mark.parametrize("name", ["z" * 64, "a" * 64, "..", "["])
async def test_s10_an_address_of_ours_without_a_picture_is_422(
    slz: Shoplazza, shop: Shop, product_id: str, name: str
) -> None:
    src = f"/media/{shop.merchant_id}/{name[:2]}/{name}/zoom-1x1.jpg"
    answer = await slz.call("POST", f"/products/{product_id}/images", json={"image": {"src": src}})
    assert "could not be downloaded" in slz.message(answer, 422)


@pytest.mark.parametrize("path", ["/missing", "/page.html", "/broken.png", None])
async def test_s11_an_address_without_a_picture_is_422_and_leaves_nothing(
    slz: Shoplazza, product_id: str, pictures: PictureServer, path: str | None
) -> None:
    src = closed_port_url() if path is None else pictures.url(path)
    answer = await slz.call("POST", f"/products/{product_id}/images", json={"image": {"src": src}})
    message = slz.message(answer, 422)
    assert "could not be downloaded" in message or "not a picture" in message
    assert "refused" not in message
    assert await slz.images(product_id) == []


async def test_s11_a_silent_address_is_given_up_within_the_time_of_a_create(
    fetching_web: Web, shop: Shop, product_id: str, pictures: PictureServer
) -> None:
    slz = Shoplazza(fetching_web, "/openapi/2022-01", shop.token)
    answer = await asyncio.wait_for(
        slz.call("POST", f"/products/{product_id}/images", json={"image": {"src": pictures.url("/silent")}}),
        timeout=20,
    )
    assert "could not be downloaded" in slz.message(answer, 422)


async def test_s13_images_are_listed_counted_and_read_one_by_one(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    assert await slz.get(f"/products/{product_id}/images") == {"images": []}
    assert await slz.get(f"/products/{product_id}/images/count") == {"count": 0}
    made = [await slz.add(product_id, src=pictures.url()) for _ in range(2)]
    assert await slz.get(f"/products/{product_id}/images") == {"images": made}
    assert await slz.get(f"/products/{product_id}/images/count") == {"count": 2}
    for image in made:
        assert await slz.get(f"/products/{product_id}/images/{image['id']}") == {"image": image}


async def test_s14_an_image_id_is_a_uuid_and_belongs_to_its_product(
    slz: Shoplazza, shop: Shop, product_id: str, pictures: PictureServer
) -> None:
    other = await slz.add(await new_product_id(shop, "Bag"), src=pictures.url())
    for method in ("GET", "PUT", "DELETE"):
        options = {"content": b"no json", "headers": {"content-type": "application/json"}}
        answer = await slz.call(
            method, f"/products/{product_id}/images/abc", **(options if method == "PUT" else {})
        )
        assert slz.message(answer, 422) == "ImageId must be a valid UUID"
        body = {"json": {"image": {"position": 1}}} if method == "PUT" else {}
        for image_id in (other["id"], UNKNOWN):
            answer = await slz.call(method, f"/products/{product_id}/images/{image_id}", **body)
            assert slz.message(answer, 404) == "Image not found"


async def test_s15_an_image_is_moved_replaced_and_renamed(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    first, second, third = [await slz.add(product_id, src=pictures.url(), alt=a) for a in ("a", "b", "c")]

    async def change(image_id: str, **image: object) -> dict[str, object]:
        answer = await slz.call("PUT", f"/products/{product_id}/images/{image_id}", json={"image": image})
        changed: dict[str, object] = slz.data(answer)["image"]
        return changed

    assert (await change(third["id"], position=1))["position"] == 1
    assert [image["id"] for image in await slz.images(product_id)] == [third["id"], first["id"], second["id"]]
    changed = await change(first["id"], src=pictures.url("/other.png"))
    assert (changed["width"], changed["height"], changed["alt"]) == (320, 200, "a")
    assert changed["src"] != first["src"]
    assert (changed["id"], changed["position"]) == (first["id"], 2)
    assert (await change(first["id"], alt="Side"))["alt"] == "Side"
    assert (await change(first["id"], position=99))["position"] == 3
    unchanged = await slz.get(f"/products/{product_id}/images/{second['id']}")
    assert await change(second["id"]) == unchanged["image"]
    assert positions(await slz.images(product_id)) == [1, 2, 3]


@pytest.mark.parametrize(
    "image", [{"position": 0}, {"position": "x"}, {"src": ""}, {"src": "not a url"}, {"alt": 1}, []]
)
async def test_s15_a_change_of_the_wrong_shape_is_400(
    slz: Shoplazza, product_id: str, pictures: PictureServer, image: object
) -> None:
    made = await slz.add(product_id, src=pictures.url())
    answer = await slz.call("PUT", f"/products/{product_id}/images/{made['id']}", json={"image": image})
    assert slz.message(answer, 400)
    assert await slz.images(product_id) == [made]


async def test_s15_a_change_to_an_address_without_a_picture_changes_nothing(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    made = await slz.add(product_id, src=pictures.url())
    answer = await slz.call(
        "PUT",
        f"/products/{product_id}/images/{made['id']}",
        json={"image": {"src": pictures.url("/missing"), "position": 1, "alt": "lost"}},
    )
    assert "404" in slz.message(answer, 422)
    assert await slz.images(product_id) == [made]


async def test_s16_an_image_is_deleted_once_and_the_others_close_up(
    slz: Shoplazza, product_id: str, pictures: PictureServer
) -> None:
    made = [await slz.add(product_id, src=pictures.url()) for _ in range(3)]
    path = f"/products/{product_id}/images/{made[1]['id']}"
    assert slz.data(await slz.call("DELETE", path)) == {}
    assert slz.message(await slz.call("DELETE", path), 404) == "Image not found"
    shown = await slz.images(product_id)
    assert [image["id"] for image in shown] == [made[0]["id"], made[2]["id"]]
    assert positions(shown) == [1, 2]


async def test_s18_later_versions_wrap_every_answer_and_every_error(
    fetching_web: Web, shop: Shop, product_id: str, pictures: PictureServer
) -> None:
    for base in ("/openapi/2025-06", "/openapi/2026-01"):
        slz = Shoplazza(fetching_web, base, shop.token)
        body = {"image": {"src": pictures.url()}}
        made = (await slz.call("POST", f"/products/{product_id}/images", json=body)).json()
        assert (set(made), made["code"], made["message"]) == ({"code", "message", "data"}, "Success", "")
        path = f"/products/{product_id}/images/{made['data']['image']['id']}"
        assert (await slz.call("DELETE", path)).json() == {"code": "Success", "message": "", "data": {}}
        refused = await slz.call("GET", f"/products/{UNKNOWN}/images")
        assert refused.json() == {"code": "NotFound", "message": "Product not found"}


async def test_a_create_by_address_ends_within_six_seconds(
    fetching_web: Web, shop: Shop, product_id: str, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget that is handed to the fetch, not a stopwatch: what comes after it is short."""
    given: list[float] = []
    fetch = fetching_web.services.fetcher.fetch

    async def noting(url: str, *, seconds: float, max_bytes: int) -> object:
        given.append(seconds)
        return await fetch(url, seconds=seconds, max_bytes=max_bytes)

    monkeypatch.setattr(fetching_web.services.fetcher, "fetch", noting)
    slz = Shoplazza(fetching_web, "/openapi/2022-01", shop.token)
    await slz.add(product_id, src=pictures.url())
    assert len(given) == 1
    assert given[0] <= 4.0
