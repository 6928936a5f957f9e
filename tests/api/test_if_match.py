"""If-Match and If-None-Match on products and their pictures, in every API that reads and changes them."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import pytest

from kasuwa.api import product_states
from kasuwa.api.bigcommerce import images as bigcommerce_images
from kasuwa.api.bigcommerce import products as bigcommerce_products
from kasuwa.api.shoplazza import images as shoplazza_images
from kasuwa.api.shoplazza import products as shoplazza_products
from kasuwa.api.storeharmony import pictures as storeharmony_pictures
from kasuwa.api.storeharmony import products as storeharmony_products
from kasuwa.domain.catalogue.actions import remove_product
from kasuwa.domain.catalogue.records import ShownPicture
from kasuwa.domain.inventory.actions import set_stock
from kasuwa.domain.media.actions import change_picture, remove_picture
from kasuwa.domain.media.records import PictureChange
from tests.api.editors import APIS, Editor, check_refused, new_editor
from tests.api.picture_server import PictureServer
from tests.client import Web
from tests.shop import Shop

# Those that show an image alone, and not only within its product.
IMAGE_APIS = [api for api in APIS if api != "storeharmony"]

OpenEditor = Callable[[str], Awaitable[Editor]]
Check = Callable[..., Awaitable[None]]


def own_id(picture: ShownPicture) -> UUID:
    return UUID(int=picture.product_picture_id.int)


@pytest.fixture
def open_editor(fetching_web: Web, shop: Shop, pictures: PictureServer) -> OpenEditor:
    return lambda api: new_editor(api, fetching_web, shop, pictures)


@pytest.mark.parametrize("api", APIS)
async def test_a_change_goes_through_with_each_tag_that_was_read(open_editor: OpenEditor, api: str) -> None:
    known = await open_editor(api)
    for name in known.changes:
        for what in known.readings_for(name):
            editor = await open_editor(api)
            answer = await editor.change(name, **{"If-Match": await editor.tag(what)})
            assert answer.is_success, f"{name} with the tag of the {what}: {answer.text}"


@pytest.mark.parametrize("api", APIS)
async def test_a_change_on_an_old_tag_is_refused_and_writes_nothing(
    open_editor: OpenEditor, pictures: PictureServer, api: str
) -> None:
    editor = await open_editor(api)
    tags = [await editor.tag(what) for what in editor.readings]
    await editor.change_elsewhere()
    before = await editor.stored()
    pictures.asked.clear()
    for name in editor.changes:
        for tag in (*tags, ", ".join(tags), '"never-given"', '"*"', ""):
            check_refused(api, await editor.change(name, **{"If-Match": tag}), 412)
    assert await editor.stored() == before
    # Nor is a picture fetched for a change that cannot be.
    assert pictures.asked == []


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("sent", ["nothing", "*", "several"])
async def test_one_of_several_tags_will_do_and_a_star_and_none(
    open_editor: OpenEditor, api: str, sent: str
) -> None:
    for name in (await open_editor(api)).changes:
        editor = await open_editor(api)
        several = f'"other", {await editor.tag(editor.readings_for(name)[0])}'
        headers = {"nothing": {}, "*": {"If-Match": "*"}, "several": {"If-Match": several}}[sent]
        answer = await editor.change(name, **headers)
        assert answer.is_success, f"{name}: {answer.text}"


@pytest.mark.parametrize("api", APIS)
async def test_what_has_not_changed_is_not_sent_again(open_editor: OpenEditor, api: str) -> None:
    editor = await open_editor(api)
    for what in editor.readings:
        tag = await editor.tag(what)
        again = await editor.read(what, **{"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag.removeprefix("W/")
        await editor.change_elsewhere(f"Another text for the {what}")
        now = await editor.read(what, **{"If-None-Match": tag})
        assert now.status_code == 200
        assert now.headers["etag"] != tag


@pytest.mark.parametrize("api", APIS)
async def test_the_answer_of_a_change_has_the_tag_for_the_next_one(open_editor: OpenEditor, api: str) -> None:
    editor = await open_editor(api)
    changed = await editor.change("change", **{"If-Match": await editor.tag(next(iter(editor.readings)))})
    again = await editor.change("change", **{"If-Match": changed.headers["etag"]})
    assert again.status_code == 200, again.text


@pytest.mark.parametrize(
    ("what", "query"),
    [
        ("picture", "?include_fields=sort_order"),
        ("picture", "?exclude_fields=description"),
        ("pictures", "?include_fields=sort_order"),
        ("pictures", "?page=2&limit=1"),
        ("product", "?include=images"),
        ("product", "?include_fields=name"),
    ],
)
async def test_bigcommerces_tag_is_of_all_fields_whichever_were_asked_for(
    open_editor: OpenEditor, what: str, query: str
) -> None:
    editor = await open_editor("bigcommerce")
    whole = await editor.tag(what)
    editor.readings[what] += query
    part = await editor.tag(what)
    # What the caller has is another text, though of the same state.
    assert (await editor.read(what, **{"If-None-Match": whole})).status_code == 200
    changed = await editor.change("change", **{"If-Match": part})
    assert changed.status_code == 200, changed.text
    for tag in (whole, part):
        check_refused("bigcommerce", await editor.change("change", **{"If-Match": tag}), 412)


@pytest.mark.parametrize("api", IMAGE_APIS)
async def test_a_neighbour_that_goes_matters_where_positions_are_shown(
    open_editor: OpenEditor, api: str
) -> None:
    """The second picture is the one that is changed; its sort order stays, its position does not."""
    editor = await open_editor(api)
    first, second = editor.product.pictures
    id_of = (lambda p: p.number) if api.startswith("bigcommerce") else own_id
    editor.readings["picture"] = editor.readings["picture"].replace(str(id_of(first)), str(id_of(second)))
    change = editor.changes["change"]
    editor.changes["change"] = msgspec.structs.replace(change, path=editor.readings["picture"])
    context, product_id = editor.shop.owner, editor.product.product_id
    # So that the flag is not passed on when the first one goes.
    await change_picture(context, product_id, own_id(second), PictureChange(is_thumbnail=True))
    tags = {what: await editor.tag(what) for what in editor.readings}
    await remove_picture(context, product_id, own_id(first))
    for what in ("pictures", "product"):
        if what in tags:
            check_refused(api, await editor.change("change", **{"If-Match": tags[what]}), 412)
    answer = await editor.change("change", **{"If-Match": tags["picture"]})
    assert answer.status_code == (200 if api.startswith("bigcommerce") else 412), answer.text


async def test_stock_that_moves_is_a_change_of_the_product_and_not_of_its_pictures(
    open_editor: OpenEditor,
) -> None:
    editor = await open_editor("bigcommerce")
    tags = {what: await editor.tag(what) for what in editor.readings}
    context, variant_id = editor.shop.owner, editor.product.main.variant_id
    async with context.transaction() as db:
        await set_stock(context, db, context.store_id, variant_id, Decimal(5), reason="delivery")
    check_refused("bigcommerce", await editor.change("change product", **{"If-Match": tags["product"]}), 412)
    for what in ("picture", "pictures"):
        fresh = await editor.tag(what)
        assert fresh == tags[what]
    assert (await editor.change("change", **{"If-Match": tags["picture"]})).status_code == 200


@pytest.mark.parametrize("api", APIS)
async def test_what_is_not_there_is_missing_whatever_the_tag_says(open_editor: OpenEditor, api: str) -> None:
    editor = await open_editor(api)
    tag = await editor.tag(next(iter(editor.readings)))
    await remove_product(editor.shop.owner, editor.product.product_id, on_remaining="write_off")
    for name in editor.changes:
        for sent in (tag, "*"):
            check_refused(api, await editor.change(name, **{"If-Match": sent}), 404)


# Two at once ---------------------------------------------------------------------------------------


CHANGES = [(api, name) for api in APIS for name in ("add", "change")] + [
    ("bigcommerce", "replace"),
    ("bigcommerce", "add file"),
    ("bigcommerce", "change product"),
]


async def two_at_once(editor: Editor, name: str) -> None:
    """Two editors with the same tag: one is told that it is old."""
    tag = await editor.tag(editor.readings_for(name)[0])
    answers = await asyncio.gather(*(editor.change(name, **{"If-Match": tag}) for _ in range(2)))
    told = [answer.status_code for answer in answers if not answer.is_success]
    assert told == [412]


def replace_checks(monkeypatch: pytest.MonkeyPatch, name: str, check: Check) -> None:
    for module in CALLERS:
        if hasattr(module, name):
            monkeypatch.setattr(module, name, check)


def waiting_for_the_other(check: Check) -> Check:
    """The check, after which each of two waits for the other to have passed it."""
    both = asyncio.Barrier(2)

    async def wait(*given: Any) -> None:
        await check(*given)
        await both.wait()

    return wait


CALLERS: tuple[ModuleType, ...] = (
    bigcommerce_images,
    bigcommerce_products,
    shoplazza_images,
    shoplazza_products,
    storeharmony_pictures,
    storeharmony_products,
)


@pytest.mark.parametrize(("api", "name"), CHANGES)
async def test_of_two_editors_with_the_same_tag_one_is_told(
    open_editor: OpenEditor, monkeypatch: pytest.MonkeyPatch, api: str, name: str
) -> None:
    # Both find their tag good before the slow part: what counts is the look under the lock.
    replace_checks(monkeypatch, "refuse_if_changed", waiting_for_the_other(product_states.refuse_if_changed))
    await two_at_once(await open_editor(api), name)


@pytest.mark.parametrize(("api", "name"), CHANGES)
async def test_a_look_before_the_lock_would_let_both_in(
    open_editor: OpenEditor, monkeypatch: pytest.MonkeyPatch, api: str, name: str
) -> None:
    """The control: compared without holding the product, the same tag is good for both."""
    replace_checks(monkeypatch, "require_unchanged", waiting_for_the_other(product_states.refuse_if_changed))
    with pytest.raises(AssertionError, match=r"\[\] == \[412\]"):
        await two_at_once(await open_editor(api), name)
