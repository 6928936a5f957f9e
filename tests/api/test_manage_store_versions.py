"""Logo, favicon and banners are changed on the version that was read, where If-Match names one."""

from typing import Any

import httpx
import pytest

from kasuwa.api.manage import banners, settings
from tests.api.test_manage_settings import UNKNOWN, ask, change, picture, send_picture
from tests.client import Web
from tests.shop import Shop

Json = dict[str, Any]


async def put_logo(web: Web, shop: Shop, seed: int, tag: str) -> httpx.Response:
    headers = {"content-type": "image/png", "if-match": tag}
    return await ask(web, shop, "PUT", "pictures/logo", content=picture(seed), headers=headers)


async def tag_of(web: Web, shop: Shop, path: str) -> str:
    return str((await ask(web, shop, "GET", path)).headers["etag"])


async def test_a_logo_takes_the_place_of_the_one_that_was_seen_alone(web: Web, shop: Shop) -> None:
    seen = await tag_of(web, shop, "settings")
    first = await put_logo(web, shop, 81, seen)
    assert first.status_code == 200
    assert first.headers["etag"] == await tag_of(web, shop, "settings")
    late = await put_logo(web, shop, 82, seen)
    assert late.status_code == 412
    gone = await ask(web, shop, "DELETE", "pictures/logo", headers={"if-match": seen})
    assert gone.status_code == 412
    logo = first.json()["site"]["logo"]
    assert (await ask(web, shop, "GET", "settings")).json()["site"]["logo"] == logo
    # Whatever else of the settings was changed counts: one form shows them.
    await change(web, shop, {"theme": {"font": "Inter"}})
    assert (await put_logo(web, shop, 82, first.headers["etag"])).status_code == 412
    now = {"if-match": await tag_of(web, shop, "settings")}
    assert (await ask(web, shop, "DELETE", "pictures/logo", headers=now)).json()["site"]["logo"] is None
    assert (await put_logo(web, shop, 82, "*")).status_code == 200


async def test_a_banner_is_changed_and_removed_as_it_was_seen(web: Web, shop: Shop) -> None:
    content, kind = picture(83), {"content-type": "image/png"}
    made = await ask(web, shop, "POST", "banners", content=content, headers=kind)
    banner, seen = made.json(), made.headers["etag"]
    path = f"banners/{banner['bannerId']}"
    read = await ask(web, shop, "GET", path)
    assert (read.json(), read.headers["etag"]) == (banner, seen)
    assert (await ask(web, shop, "GET", path, headers={"if-none-match": seen})).status_code == 304
    changed = await ask(web, shop, "PATCH", path, json={"title": "Lace"}, headers={"if-match": seen})
    assert (changed.status_code, changed.json()["title"]) == (200, "Lace")
    now = changed.headers["etag"]
    assert now == await tag_of(web, shop, path)
    late = await ask(web, shop, "PATCH", path, json={"title": "Linen"}, headers={"if-match": seen})
    assert late.status_code == 412
    assert (await ask(web, shop, "DELETE", path, headers={"if-match": seen})).status_code == 412
    # Another one that is put before it moves it.
    other = await send_picture(web, shop, "POST", "banners", 84)
    await ask(web, shop, "PATCH", f"banners/{other['bannerId']}", json={"position": 1})
    assert (await ask(web, shop, "DELETE", path, headers={"if-match": now})).status_code == 412
    now = await tag_of(web, shop, path)
    assert (await ask(web, shop, "DELETE", path, headers={"if-match": now})).status_code == 204
    assert (await ask(web, shop, "GET", path)).status_code == 404


async def test_without_the_look_at_the_version_the_later_change_would_win(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of both tests above."""
    for module in (banners, settings):
        monkeypatch.setattr(module, "require_match", lambda request, tag: None)
    banner = await send_picture(web, shop, "POST", "banners", 85)
    stale = {"if-match": '"another"'}
    path = f"banners/{banner['bannerId']}"
    assert (await ask(web, shop, "PATCH", path, json={"title": "Late"}, headers=stale)).status_code == 200
    assert (await put_logo(web, shop, 85, '"another"')).status_code == 200


async def test_another_shops_banner_is_not_read(web: Web, shop: Shop, other_shop: Shop) -> None:
    theirs = (await send_picture(web, other_shop, "POST", "banners", 86))["bannerId"]
    for banner_id in (theirs, UNKNOWN, "nonsense"):
        assert (await ask(web, shop, "GET", f"banners/{banner_id}")).status_code == 404
    assert (await ask(web, other_shop, "GET", f"banners/{theirs}")).status_code == 200
