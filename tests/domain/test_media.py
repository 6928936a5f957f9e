"""Pictures on products: once for each merchant, in order, never lost."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from kasuwa.base.context import Context
from kasuwa.base.imaging import NotAPicture
from kasuwa.base.problems import Forbidden
from kasuwa.domain.catalogue.actions import create_product, remove_product
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.catalogue.queries import get_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, Price, Product, ShownPicture
from kasuwa.domain.media import keeping
from kasuwa.domain.media.actions import (
    arrange_pictures,
    change_picture,
    remove_picture,
    show_picture,
    show_pictures,
)
from kasuwa.domain.media.errors import OrderWrong, PictureNotFound, TooManyPictures
from kasuwa.domain.media.jobs import sweep_pictures
from kasuwa.domain.media.keeping import MEDIA_PATH, keep_bytes, keep_url
from kasuwa.domain.media.records import STOREHARMONY_FORMATS, KeptPicture, PictureChange, Place
from tests.conftest import picture_bytes
from tests.shop import Shop


def a_product(name: str = "Basket") -> NewProduct:
    return NewProduct(name=name, variants=(NewVariant(price=Price(currency="NGN", selling_minor=150_000)),))


@pytest.fixture
async def basket(context: Context) -> Product:
    return await create_product(context, a_product())


async def keep(context: Context, seed: int = 0) -> KeptPicture:
    return await keep_bytes(context, picture_bytes("PNG", seed=seed), STOREHARMONY_FORMATS)


async def shown(context: Context, product: Product) -> tuple[ShownPicture, ...]:
    return (await get_product(context, product.product_id)).pictures


async def show_three(context: Context, product: Product) -> list[ShownPicture]:
    for seed in range(3):
        await show_picture(
            context, product.product_id, await keep(context, seed), Place(alt_text=f"view {seed}")
        )
    return list(await shown(context, product))


async def test_the_same_bytes_are_kept_once_and_keep_each_products_own_alt_text(
    context: Context, basket: Product
) -> None:
    bag = await create_product(context, a_product("Bag"))
    front = await show_picture(context, basket.product_id, await keep(context), Place(alt_text="Front"))
    side = await show_picture(context, bag.product_id, await keep(context), Place(alt_text="Side"))
    assert front.picture.picture_id == side.picture.picture_id
    assert (front.picture.alt_text, side.picture.alt_text) == ("Front", "Side")
    async with context.transaction() as db:
        assert await db.value("SELECT count(*) FROM picture") == 1


async def test_two_merchants_never_share_a_file(context: Context, other_shop: Shop) -> None:
    ours, theirs = await keep(context), await keep(other_shop.owner)
    assert ours.sha256 == theirs.sha256
    assert ours.picture_id != theirs.picture_id
    for merchant_id in (context.merchant_id, other_shop.merchant_id):
        folder = f"{merchant_id}/{ours.sha256[:2]}/{ours.sha256}/"
        assert len([fact async for fact in context.blobs.list(folder)]) == 8


async def test_a_format_the_api_does_not_take_is_refused_also_when_the_bytes_are_known(
    context: Context,
) -> None:
    content = picture_bytes("BMP")
    await keep_bytes(context, content, STOREHARMONY_FORMATS)
    with pytest.raises(NotAPicture):
        await keep_bytes(context, content, frozenset({"PNG"}))


async def test_who_may_only_sell_may_not_upload(shop: Shop) -> None:
    with pytest.raises(Forbidden):
        await keep(shop.cashier())


async def test_a_picture_inserted_at_a_position_moves_the_later_ones_back(
    context: Context, basket: Product
) -> None:
    first, second, third = await show_three(context, basket)
    placed = await show_picture(context, basket.product_id, await keep(context, 9), Place(position=2))
    order = [picture.product_picture_id for picture in await shown(context, basket)]
    assert order == [
        first.product_picture_id,
        placed.picture.product_picture_id,
        second.product_picture_id,
        third.product_picture_id,
    ]
    assert [picture.position for picture in await shown(context, basket)] == [1, 2, 3, 4]


async def test_a_sort_order_may_be_shared_and_the_older_picture_comes_first(
    context: Context, basket: Product
) -> None:
    for seed in range(2):
        await show_picture(context, basket.product_id, await keep(context, seed), Place(sort_order=0))
    pictures = await shown(context, basket)
    assert [picture.sort_order for picture in pictures] == [0, 0]
    assert pictures[0].number < pictures[1].number


async def test_taking_a_sort_order_that_is_taken_pushes_the_later_ones_back(
    context: Context, basket: Product
) -> None:
    first, second, third = await show_three(context, basket)
    await change_picture(
        context, basket.product_id, UUID(int=first.product_picture_id.int), PictureChange(sort_order=2)
    )
    pictures = await shown(context, basket)
    assert [picture.sort_order for picture in pictures] == [1, 2, 3]
    assert [picture.number for picture in pictures] == [second.number, first.number, third.number]


@pytest.mark.parametrize("position", [1, 2, 3, 99])
async def test_a_picture_moves_to_a_position_and_the_others_close_up(
    context: Context, basket: Product, position: int
) -> None:
    pictures = await show_three(context, basket)
    moved = pictures[1]
    await change_picture(
        context, basket.product_id, UUID(int=moved.product_picture_id.int), PictureChange(position=position)
    )
    order = [picture.number for picture in await shown(context, basket)]
    rest = [picture.number for picture in pictures if picture is not moved]
    rest.insert(min(position, 3) - 1, moved.number)
    assert order == rest


async def test_exactly_one_picture_is_the_thumbnail_whatever_happens(
    context: Context, basket: Product
) -> None:
    first, second, third = await show_three(context, basket)

    async def holder() -> int:
        holders = [picture.number for picture in await shown(context, basket) if picture.is_thumbnail]
        assert len(holders) == 1
        return holders[0]

    async def set_flag(picture: ShownPicture, value: bool) -> None:
        change = PictureChange(is_thumbnail=value)
        await change_picture(context, basket.product_id, UUID(int=picture.product_picture_id.int), change)

    assert await holder() == first.number
    await set_flag(third, True)
    assert await holder() == third.number
    await set_flag(second, False)
    assert await holder() == third.number
    await remove_picture(context, basket.product_id, UUID(int=third.product_picture_id.int))
    assert await holder() == first.number
    await remove_picture(context, basket.product_id, UUID(int=first.product_picture_id.int))
    await set_flag(second, False)
    assert await holder() == second.number


async def test_new_bytes_get_a_new_address(context: Context, basket: Product) -> None:
    placed = await show_picture(context, basket.product_id, await keep(context, 1), Place())
    changed = await change_picture(
        context,
        basket.product_id,
        UUID(int=placed.picture.product_picture_id.int),
        PictureChange(picture=await keep(context, 2)),
    )
    before = {rendition.path for rendition in placed.picture.renditions}
    after = {rendition.path for rendition in changed.picture.renditions}
    assert not before & after
    assert changed.picture.number == placed.picture.number


async def test_pictures_are_arranged_by_their_positions(context: Context, basket: Product) -> None:
    pictures = await show_three(context, basket)
    await arrange_pictures(context, basket.product_id, order=[3, 1])
    order = [picture.number for picture in await shown(context, basket)]
    assert order == [pictures[2].number, pictures[0].number, pictures[1].number]
    with pytest.raises(OrderWrong):
        await arrange_pictures(context, basket.product_id, order=[4])


async def test_a_product_shows_at_most_a_thousand_pictures(context: Context, basket: Product) -> None:
    kept = await keep(context)
    await show_pictures(context, basket.product_id, [(kept, Place())] * 1000)
    with pytest.raises(TooManyPictures):
        await show_picture(context, basket.product_id, kept, Place())
    assert len(await shown(context, basket)) == 1000


async def test_fifty_writers_at_once_leave_positions_without_gaps(context: Context, basket: Product) -> None:
    kept = [await keep(context, seed) for seed in range(5)]

    async def write(number: int) -> None:
        own = context.acting_as(context.caller)
        await show_picture(own, basket.product_id, kept[number % 5], Place(position=1 + number % 7))

    await asyncio.gather(*(write(number) for number in range(50)))
    pictures = await shown(context, basket)
    keys = [(picture.sort_order, picture.number) for picture in pictures]
    assert len(pictures) == 50
    assert keys == sorted(set(keys))


async def test_somebody_elses_product_and_pictures_do_not_exist(
    context: Context, basket: Product, other_shop: Shop
) -> None:
    placed = await show_picture(context, basket.product_id, await keep(context), Place())
    stranger = other_shop.owner
    with pytest.raises(ProductNotFound):
        await get_product(stranger, basket.product_id)
    with pytest.raises(ProductNotFound):
        await show_picture(stranger, basket.product_id, await keep(stranger), Place())
    theirs = await create_product(stranger, a_product())
    with pytest.raises(PictureNotFound):
        await remove_picture(stranger, theirs.product_id, UUID(int=placed.picture.product_picture_id.int))


async def test_our_own_address_is_found_without_the_network_and_only_for_its_merchant(
    context: Context, other_shop: Shop
) -> None:
    context.url_base = other_shop.owner.url_base = "https://shop.example"
    kept = await keep(context)
    async with context.transaction() as db:
        path = await db.value("SELECT renditions->0->>'path' FROM picture")
    assert path.startswith(MEDIA_PATH)
    again = await keep_url(context, f"https://shop.example{path}", STOREHARMONY_FORMATS)
    assert again == kept
    with pytest.raises(Exception, match="404"):
        await keep_url(other_shop.owner, f"https://shop.example{path}", STOREHARMONY_FORMATS)


async def files_of(context: Context, kept: KeptPicture) -> int:
    folder = f"{context.merchant_id}/{kept.sha256[:2]}/{kept.sha256}/"
    return len([fact async for fact in context.blobs.list(folder)])


async def test_files_go_a_day_after_their_last_product_and_not_before(
    context: Context, basket: Product
) -> None:
    kept = await keep(context)
    await show_picture(context, basket.product_id, kept, Place())
    await remove_product(context, basket.product_id)
    assert await sweep_pictures(context.services, context.merchant_id) == 0
    assert await files_of(context, kept) == 8
    async with context.transaction() as db:
        await db.execute("UPDATE picture SET unused_since = now() - interval '25 hours'")
    assert await sweep_pictures(context.services, context.merchant_id) == 1
    assert await files_of(context, kept) == 0


async def race(context: Context, product: Product, rounds: int) -> int:
    """Let a sweep meet an upload of the same bytes; answer how often a shown picture has lost a file."""
    lost = 0
    for seed in range(rounds):
        kept = await keep(context, seed)
        async with context.transaction() as db:
            await db.execute("UPDATE picture SET unused_since = now() - interval '2 days'")

        async def upload(seed: int = seed) -> KeptPicture:
            own = context.acting_as(context.caller)
            again = await keep(own, seed)
            await show_picture(own, product.product_id, again, Place())
            return again

        _, again = await asyncio.gather(sweep_pictures(context.services, context.merchant_id), upload())
        lost += await files_of(context, again) != 8
        assert again.sha256 == kept.sha256
    return lost


async def test_no_file_is_lost_when_a_delete_meets_an_upload_of_the_same_bytes(
    context: Context, basket: Product
) -> None:
    assert await race(context, basket, rounds=12) == 0


async def test_without_the_claim_the_same_race_loses_files(
    context: Context, basket: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a build that looks first and writes later, as one would without the claim."""

    async def look(acting: Context, sha256: str, size_bytes: int) -> keeping._Claim:
        async with acting.services.pool.transaction(acting.merchant_id) as db:
            found = await db.find(
                "SELECT picture_id, format FROM picture WHERE sha256 = decode(:sha256, 'hex')",
                into=keeping._Claim,
                sha256=sha256,
            )
        if found is None:
            return await claim(acting, sha256, size_bytes)
        await asyncio.sleep(0.05)
        async with acting.services.pool.transaction(acting.merchant_id) as db:
            await db.execute(
                """
                INSERT INTO picture (merchant_id, picture_id, sha256, format, width_px, height_px, renditions)
                VALUES (current_merchant(), :picture_id, decode(:sha256, 'hex'), 'PNG', 80, 60,
                        '[{"name":"zoom","content_type":"image/png","width_px":80,"height_px":60,"path":"x",
                           "size_bytes":1}]')
                ON CONFLICT DO NOTHING
                """,
                picture_id=found.picture_id,
                sha256=sha256,
            )
        return found

    claim = keeping._claim
    monkeypatch.setattr(keeping, "_claim", look)
    assert await race(context, basket, rounds=6) > 0


async def test_the_sweep_leaves_a_young_claim_alone(context: Context) -> None:
    kept = await keep(context)
    assert await sweep_pictures(context.services, context.merchant_id) == 0
    assert await sweep_pictures(context.services, context.merchant_id, unused_for=timedelta(0)) == 1
    assert await files_of(context, kept) == 0
