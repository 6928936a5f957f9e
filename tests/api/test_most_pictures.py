"""A product shows at most a thousand pictures, whoever adds them."""

from collections.abc import Sized

import pytest

from kasuwa.api.bigcommerce import images as bigcommerce_images
from kasuwa.api.shoplazza import images as shoplazza_images
from kasuwa.api.storeharmony import pictures as storeharmony_pictures
from kasuwa.domain.catalogue.queries import read_pictures
from kasuwa.domain.media import actions
from kasuwa.domain.media.actions import show_pictures
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import MOST_PICTURES, STOREHARMONY_FORMATS, Place
from tests.api.editors import APIS, Editor, check_refused, new_editor
from tests.api.picture_server import PictureServer
from tests.api.shoplazza_calls import Shoplazza
from tests.client import Web
from tests.conftest import picture_bytes
from tests.shop import Shop


async def fill(editor: Editor, count: int) -> None:
    """Let the product show so many pictures: through the domain, in one change."""
    kept = await keep_bytes(editor.shop.owner, picture_bytes("PNG", seed=1), STOREHARMONY_FORMATS)
    more = [(kept, Place())] * (count - await shown(editor))
    await show_pictures(editor.shop.owner, editor.product.product_id, more)


async def shown(editor: Editor) -> int:
    async with editor.shop.owner.reading() as db:
        return len(await read_pictures(db, editor.product.product_id))


async def add_beyond_the_thousandth(api: str, editor: Editor, pictures: PictureServer) -> None:
    """The 999th and the 1000th come in, and the next one is refused before anything is written for it."""
    await fill(editor, MOST_PICTURES - 2)
    for count in (MOST_PICTURES - 1, MOST_PICTURES):
        answer = await editor.send(editor.adding(count))
        assert answer.is_success, answer.text
        assert await shown(editor) == count
    before = await editor.stored()
    pictures.asked.clear()
    check_refused(api, await editor.send(editor.adding(MOST_PICTURES + 1)), 403)
    assert await editor.stored() == before
    assert pictures.asked == []


@pytest.mark.parametrize("api", APIS)
async def test_the_thousandth_picture_is_the_last(
    fetching_web: Web, shop: Shop, pictures: PictureServer, api: str
) -> None:
    editor = await new_editor(api, fetching_web, shop, pictures)
    await add_beyond_the_thousandth(api, editor, pictures)


@pytest.mark.parametrize("api", ["storeharmony", "bigcommerce", "/openapi/2022-01"])
async def test_a_limit_that_is_asked_for_at_the_end_alone_would_be_noticed(
    fetching_web: Web, shop: Shop, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """The control: the product is left alone then, and the picture is fetched and kept all the same."""

    def always(shown: Sized, wanted: int = 1) -> None:
        pass

    for module in (bigcommerce_images, shoplazza_images, storeharmony_pictures):
        monkeypatch.setattr(module, "require_room", always)
    editor = await new_editor(api, fetching_web, shop, pictures)
    with pytest.raises(AssertionError, match="5 != 4"):
        await add_beyond_the_thousandth(api, editor, pictures)


@pytest.mark.parametrize("api", ["storeharmony", "bigcommerce", "/openapi/2022-01"])
async def test_a_product_without_a_limit_would_be_noticed(
    fetching_web: Web, shop: Shop, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    monkeypatch.setattr(actions, "MOST_PICTURES", MOST_PICTURES + 1)
    editor = await new_editor(api, fetching_web, shop, pictures)
    with pytest.raises(AssertionError):
        await add_beyond_the_thousandth(api, editor, pictures)


async def test_the_same_picture_at_its_place_may_come_again_to_a_full_product(
    fetching_web: Web, shop: Shop, pictures: PictureServer
) -> None:
    editor = await new_editor("storeharmony", fetching_web, shop, pictures)
    first = await editor.change("add")
    await fill(editor, MOST_PICTURES)
    again = await editor.change("add")
    assert (again.status_code, again.json()) == (200, first.json())
    assert await shown(editor) == MOST_PICTURES


async def test_a_product_with_more_images_than_it_may_show_is_not_made(
    slz: Shoplazza, shop: Shop, pictures: PictureServer
) -> None:
    """A thousand in the list, and one more that stands for a variant."""
    images = [{"src": pictures.good(1)}] * MOST_PICTURES
    variants = [{"price": "5.00", "image": {"src": pictures.good(2)}}]
    product = {"title": "Basket", "has_only_default_variant": True, "images": images, "variants": variants}
    pictures.asked.clear()
    answer = await slz.call("POST", "/products", json={"product": product})
    check_refused(slz.base, answer, 403)
    assert pictures.asked == []
    assert (await slz.get("/products/count"))["count"] == 0
    product["variants"] = [{"price": "5.00"}]
    made = slz.data(await slz.call("POST", "/products", json={"product": product}))
    assert len(made["product"]["images"]) == MOST_PICTURES
