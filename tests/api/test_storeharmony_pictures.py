"""Pictures of products over the StoreHarmony API: four ways in, one order, immutable files out."""

import asyncio
import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.api.test_storeharmony_products import change, make, session, stock
from tests.client import Web
from tests.conftest import picture_bytes
from tests.shop import Shop


async def add(
    web: Web,
    shop: Shop,
    item: dict[str, Any],
    content: bytes,
    *,
    kind: str = "image/png",
    position: str = "1",
) -> httpx.Response:
    return await web.post(
        stock(shop, f"/{item['itemId']}/addpicture"),
        params={"position": position},
        headers=session(shop, **{"content-type": kind}),
        content=content,
    )


async def images(web: Web, shop: Shop, item: dict[str, Any]) -> list[dict[str, Any]]:
    read = await web.get(stock(shop, f"/{item['itemId']}"), headers=session(shop))
    found: list[dict[str, Any]] = read.json()["images"]
    return found


def bodies(content: bytes) -> dict[str, tuple[str, bytes]]:
    """The same picture in every form that addpicture takes."""
    half = len(content) // 3 * 2
    pieces = [base64.b64encode(content[:half]).decode(), base64.b64encode(content[half:]).decode()]
    form = httpx.Request("POST", "http://x", files={"file": ("a.png", content, "image/png")})
    return {
        "base64 in one piece": (
            "application/json",
            json.dumps([base64.b64encode(content).decode()]).encode(),
        ),
        "base64 in pieces": ("application/json", json.dumps(pieces).encode()),
        "unsigned bytes": ("application/json", json.dumps(list(content)).encode()),
        "signed bytes": (
            "application/json",
            json.dumps([b - 256 if b > 127 else b for b in content]).encode(),
        ),
        "raw": ("image/png", content),
        "octets": ("application/octet-stream", content),
        "a form": (form.headers["content-type"], form.read()),
    }


@pytest.mark.parametrize("form", list(bodies(b"")))
async def test_every_form_of_the_body_gives_the_same_picture(web: Web, shop: Shop, form: str) -> None:
    item = await make(web, shop)
    content = picture_bytes("PNG", size=(64, 48))
    kind, body = bodies(content)[form]
    answer = await add(web, shop, item, body, kind=kind)
    assert answer.status_code == 200, answer.text
    (image,) = await images(web, shop, item)
    assert image["url"] == answer.json()
    assert (image["widthPx"], image["heightPx"], image["position"]) == (64, 48, 1)
    file = await web.get(answer.json())
    shown = Image.open(io.BytesIO(file.content))
    assert shown.size == (64, 48)


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("image/png", b"", 400),
        ("image/png", b"<html>no picture</html>", 400),
        ("image/png", picture_bytes("PNG", size=(400, 300))[:400], 400),
        ("application/json", b"[]", 400),
        ("application/json", b"{}", 400),
        ("application/json", b"[137, 80, 1.5]", 400),
        ("application/json", b"[137, 80, 256]", 400),
        ("application/json", b'["not base64!"]', 400),
        ("application/json", b"[137, 80", 400),
        ("text/plain", b"x", 415),
        ("multipart/form-data; boundary=x", b"--x--", 400),
        ("image/png", b"\x89PNG" + bytes(8 * 1024 * 1024), 413),
    ],
)
async def test_what_is_no_picture_is_refused_and_nothing_is_kept(
    web: Web, shop: Shop, kind: str, content: bytes, status: int
) -> None:
    item = await make(web, shop)
    answer = await add(web, shop, item, content, kind=kind)
    assert answer.status_code in ({400, 422} if status == 400 else {status}), answer.text
    assert await images(web, shop, item) == []


@pytest.mark.parametrize("position", ["0", "-1", "x", "1.5", "1001", ""])
async def test_a_position_that_is_none_is_refused(web: Web, shop: Shop, position: str) -> None:
    item = await make(web, shop)
    answer = await add(web, shop, item, picture_bytes("PNG"), position=position)
    assert answer.status_code in (400, 422)


async def test_pictures_are_inserted_ordered_and_taken_off(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    paths = [
        (await add(web, shop, item, picture_bytes("PNG", seed=seed), position=position)).json()
        for seed, position in enumerate(["1", "1", "2", "0099"])
    ]
    expected = [paths[1], paths[2], paths[0], paths[3]]
    shown = await images(web, shop, item)
    assert [image["url"] for image in shown] == expected
    assert [image["position"] for image in shown] == [1, 2, 3, 4]
    answer = await change(web, shop, item, imageOrder=[4, 1], removeImageIds=[shown[1]["imageId"]])
    assert [image["url"] for image in answer.json()["images"]] == [expected[3], expected[0], expected[2]]
    page = (await web.get(stock(shop), headers=session(shop))).json()
    assert page["data"][0]["images"] == answer.json()["images"]


async def test_a_picture_that_is_sent_again_before_its_answer_came_is_added_once(
    web: Web, shop: Shop
) -> None:
    """A phone on a bad line, without an Idempotency-Key."""
    item = await make(web, shop)
    content = picture_bytes("PNG", seed=77)
    answers = await asyncio.gather(*(add(web, shop, item, content) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(await images(web, shop, item)) == 1


async def test_the_same_bytes_at_the_same_place_are_not_added_twice(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    first = await add(web, shop, item, picture_bytes("PNG"))
    second = await add(web, shop, item, picture_bytes("PNG"))
    assert first.json() == second.json()
    assert len(await images(web, shop, item)) == 1


async def test_a_repeat_with_the_same_key_adds_one_picture_in_any_form(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    await add(web, shop, item, picture_bytes("PNG", seed=5))
    content = picture_bytes("PNG", seed=6)
    paths = set()
    for form in ("raw", "a form", "signed bytes"):
        kind, body = bodies(content)[form]
        answer = await web.post(
            stock(shop, f"/{item['itemId']}/addpicture?position=2"),
            headers=session(shop, **{"content-type": kind, "Idempotency-Key": "upload-0001"}),
            content=body,
        )
        assert answer.status_code == 200, answer.text
        paths.add(answer.json())
    assert len(paths) == 1
    assert len(await images(web, shop, item)) == 2


async def test_pictures_of_unknown_and_foreign_products(web: Web, shop: Shop, other_shop: Shop) -> None:
    theirs = await make(web, other_shop)
    for item in (theirs, {"itemId": "nope"}):
        assert (await add(web, shop, item, picture_bytes("PNG"))).status_code == 404


async def test_a_picture_file_is_immutable_typed_and_served_in_ranges(web: Web, shop: Shop) -> None:
    item = await make(web, shop)
    path = (await add(web, shop, item, picture_bytes("PNG", size=(300, 200)))).json()
    whole = await web.get(path)
    assert whole.headers["content-type"] == "image/jpeg"
    assert "immutable" in whole.headers["cache-control"]
    part = await web.get(path, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    tail = await web.get(path, headers={"range": "bytes=-5"})
    assert tail.content == whole.content[-5:]
    beyond = await web.get(path, headers={"range": "bytes=99999999-"})
    assert beyond.status_code == 416
    same = await web.get(path, headers={"if-none-match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    webp = await web.get(path, headers={"accept": "image/avif,image/webp,*/*"})
    assert webp.headers["content-type"] == "image/webp"
    assert webp.headers["etag"] != whole.headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "/media/x/y/z/a.jpg",
        "/media/..%2f..%2fetc/passwd/x/a.jpg",
        "/media/a/b/c/original",
        "/media/a/b/c/.jpg",
    ],
)
async def test_no_other_file_is_served(web: Web, path: str) -> None:
    assert (await web.get(path)).status_code == 404
