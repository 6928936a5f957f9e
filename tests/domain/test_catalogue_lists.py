"""Lists of products: complete in every order, forged cursors refused."""

import base64
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID, uuid4

import msgspec
import pytest

from kasuwa.base.context import Context
from kasuwa.base.cursors import CursorWrong
from kasuwa.base.pages import Page
from kasuwa.domain.catalogue.actions import create_product, remove_product
from kasuwa.domain.catalogue.errors import PageTooDeep
from kasuwa.domain.catalogue.lists import ListedProduct, list_products
from kasuwa.domain.catalogue.queries import sort_name
from kasuwa.domain.catalogue.records import (
    OpeningStock,
    PageWish,
    Price,
    Product,
    ProductFilter,
    SortKey,
)
from tests.domain.test_catalogue import DIALECT, EVERYTHING, a_product
from tests.shop import Shop

SORTS: tuple[SortKey, ...] = get_args(SortKey)


@pytest.fixture
async def shelf(context: Context) -> list[Product]:
    """Twenty-three products with equal names, prices and stock among them."""
    products = []
    for n in range(23):
        opening = (OpeningStock(context.store_id, Decimal(n % 4), reorder_level=Decimal(2)),)
        price = Price(currency="NGN", selling_minor=100 * (n % 5))
        new = a_product(f"{('Ẹ́ḱẹ', 'Éko', 'Zobo')[n % 3]} {n // 6}", price=price, opening=opening)
        status = "inactive" if n % 11 == 10 else "active"
        products.append(
            await create_product(
                context, msgspec.structs.replace(new, status=status, visible_online=n % 2 == 0)
            )
        )
    return products


async def walk(
    context: Context, wanted: ProductFilter, wish: PageWish
) -> tuple[list[UUID], list[Page[ListedProduct]]]:
    """Every row by cursors, and the pages."""
    ids: list[UUID] = []
    pages: list[Page[ListedProduct]] = []
    cursor = None
    while cursor is not None or not pages:
        pages.append(
            await list_products(context, DIALECT, wanted, msgspec.structs.replace(wish, cursor=cursor))
        )
        ids += [row.product_id for row in pages[-1].rows]
        cursor = pages[-1].next_cursor
    return ids, pages


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("descending", [False, True])
async def test_a_walk_by_cursors_and_one_by_pages_see_the_whole_list_in_order(
    context: Context, shelf: list[Product], sort: SortKey, descending: bool
) -> None:
    wish = PageWish(sort=sort, descending=descending, size=100)
    whole = (await list_products(context, DIALECT, EVERYTHING, wish)).rows
    assert {row.product_id for row in whole} == {product.product_id for product in shelf}
    for size in (1, 4, 22, 23, 24):
        ids, pages = await walk(context, EVERYTHING, msgspec.structs.replace(wish, size=size))
        assert ids == [row.product_id for row in whole], size
        assert {(page.total, page.total_is_exact) for page in pages} == {(23, True)}
        assert len(pages) == pages[0].pages
        numbered = [
            row.product_id
            for page in range(1, pages[0].pages + 1)
            for row in (
                await list_products(
                    context, DIALECT, EVERYTHING, msgspec.structs.replace(wish, size=size, page=page)
                )
            ).rows
        ]
        assert numbered == ids, size


async def test_each_sort_is_the_order_it_says(context: Context, shelf: list[Product]) -> None:
    by: dict[str, Any] = {
        "name": lambda p: sort_name(p.name),
        "sku": lambda p: p.main.sku.casefold(),
        "number": lambda p: p.number,
        "created_at": lambda p: p.created_at,
        "updated_at": lambda p: p.updated_at,
        "price": lambda p: p.main.price.selling_minor,
        "effective_price": lambda p: p.main.price.selling_minor,
        "visible_online": lambda p: p.visible_online,
        "quantity": lambda p: shelf.index(p) % 4,
    }
    assert set(by) == set(SORTS)
    known = {product.product_id: product for product in shelf}
    for sort, value in by.items():
        rows = (await list_products(context, DIALECT, EVERYTHING, PageWish(sort=sort))).rows  # type: ignore[arg-type]
        values = [value(known[row.product_id]) for row in rows]
        assert values == sorted(values), sort


async def ids(context: Context, **wanted: Any) -> set[UUID]:
    page = await list_products(context, DIALECT, ProductFilter(**wanted), PageWish(size=100))
    found = {row.product_id for row in page.rows}
    assert page.total == len(found)
    return found


async def test_every_filter_shows_what_it_says(context: Context, shelf: list[Product]) -> None:
    active = [product for product in shelf if product.status == "active"]

    def those(keep: Any) -> set[UUID]:
        return {product.product_id for product in active if keep(product)}

    first, middle = active[0], active[10]
    assert await ids(context) == those(lambda p: True)
    assert await ids(context, statuses=("inactive",)) == {p.product_id for p in shelf} - await ids(context)
    assert await ids(context, product_ids=(first.product_id, uuid4())) == {first.product_id}
    assert await ids(context, numbers=(first.number, 10**9)) == {first.product_id}
    assert await ids(context, not_numbers=(first.number,)) == those(lambda p: p != first)
    assert await ids(context, number_from=middle.number) == those(lambda p: p.number >= middle.number)
    assert await ids(context, number_to=middle.number) == those(lambda p: p.number <= middle.number)
    assert await ids(context, name=first.name) == those(lambda p: p.name == first.name)
    assert await ids(context, skus=(first.main.sku.lower(), "none")) == {first.product_id}
    assert await ids(context, visible_online=False) == those(lambda p: not p.visible_online)
    assert await ids(context, low_stock=True) == those(lambda p: shelf.index(p) % 4 <= 2)
    assert await ids(context, low_stock=False) == those(lambda p: shelf.index(p) % 4 > 2)
    assert await ids(context, updated_from=middle.updated_at) == those(
        lambda p: p.updated_at >= middle.updated_at
    )
    assert await ids(context, updated_to=middle.updated_at) == those(
        lambda p: p.updated_at <= middle.updated_at
    )
    assert await ids(context, category_id=uuid4()) == set()
    assert await ids(context, extra={"a": 1}) == set()
    assert await ids(context, text="eko", visible_online=True) == those(
        lambda p: "eko" in sort_name(p.name) and p.visible_online
    )


@pytest.mark.parametrize(
    ("name", "text", "is_found"),
    [
        ("100% cotton", "100% c", True),
        ("100% cotton", "%", False),
        ("under_score", "r_s", False),
        ("under_score", "score", True),
        ("back\\slash", "k\\s", False),
        ("back\\slash", "slas", True),
        ("men's shoe", "mens", True),
        ("Basketball", "ketb", True),
        ("Ẹ̀kọ́ gbígbóná", "EKO GBI", True),
        ("Eko gbigbona", "ẹ̀kọ́", True),
        ("Ƙwai guda shida", "kwai", True),
        ("Kwai guda shida", "ƙwai", True),
        ("Straße", "STRAßE", True),
        ("Øl", "ol", True),
        ("Basket", "baskets", False),
        ("Basket", "%", False),
        ("Basket", "'; DROP TABLE product; --", False),
    ],
)
async def test_text_is_found_by_its_words_whatever_their_accents(
    context: Context, name: str, text: str, is_found: bool
) -> None:
    product = await create_product(context, a_product(name))
    found = {product.product_id} if is_found else set()
    assert await ids(context, text=text, corrects_text=False) == found


async def test_text_finds_skus_and_barcodes_and_never_another_merchants(
    context: Context, other_shop: Shop
) -> None:
    product = await create_product(context, a_product(sku="Malt-33", barcode="5000112637922"))
    await create_product(other_shop.owner, a_product(sku="Malt-33", barcode="5000112637922"))
    for text in ("malt-3", "LT-33", "2637", "bask"):
        assert await ids(context, text=text) == {product.product_id}


async def test_a_page_too_deep_points_to_the_cursor(context: Context) -> None:
    for page, size in ((10_001, 1), (101, 100)):
        with pytest.raises(PageTooDeep):
            await list_products(context, DIALECT, ProductFilter(), PageWish(page=page, size=size))
    page_ = await list_products(context, DIALECT, ProductFilter(), PageWish(page=100, size=100))
    assert page_.rows == ()


def forged(*parts: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(parts)).decode()


FORGERIES = {
    "number": ["9" * 30, "1_000", "1.5", " 1", "x", "", "１", "9223372036854775808"],
    "price": ["1e5", "NaN"],
    "quantity": ["NaN", "Infinity", "1e400", "9" * 40, "x", "1,5"],
    "created_at": [
        "now",
        "infinity",
        "2026-02-30 00:00:00+00",
        "2026-W01-1",
        "99999-01-01",
        "0000-01-01 00:00:00+00",
    ],
    "name": ["\0", "x" * 5000],
    "sku": ["\0"],
    "visible_online": ["maybe", "1"],
}


@pytest.mark.parametrize(("sort", "value"), [(s, v) for s, values in FORGERIES.items() for v in values])
async def test_a_forged_value_in_a_cursor_is_refused(context: Context, sort: SortKey, value: str) -> None:
    cursor = forged(sort, False, value, uuid4())
    with pytest.raises(CursorWrong):
        await list_products(context, DIALECT, ProductFilter(), PageWish(sort=sort, cursor=cursor))


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "AAAA",
        forged("name", False, "x"),
        forged("name", False, "x", "no id"),
        forged("name", False, "x", UUID(int=7), "more"),
        forged("name", True, "x", UUID(int=7)),
        forged("number", False, "1", UUID(int=7)),
        forged("nothing", False, "1", UUID(int=7)),
    ],
)
async def test_a_cursor_of_another_list_or_of_none_is_refused(context: Context, cursor: str) -> None:
    with pytest.raises(CursorWrong):
        await list_products(context, DIALECT, ProductFilter(), PageWish(cursor=cursor))


async def test_a_cursor_names_a_place_that_may_be_gone(context: Context, shelf: list[Product]) -> None:
    wish = PageWish(size=5)
    page = await list_products(context, DIALECT, ProductFilter(), wish)
    await remove_product(context, page.rows[-1].product_id)
    following = await list_products(
        context, DIALECT, ProductFilter(), msgspec.structs.replace(wish, cursor=page.next_cursor)
    )
    assert not {row.product_id for row in page.rows} & {row.product_id for row in following.rows}
    assert len(following.rows) == 5
