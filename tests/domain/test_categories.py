"""The category tree: kept whole by the database, races settled, and followed by the products' cards."""

from collections.abc import Awaitable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kasuwa.base.context import Context
from kasuwa.base.problems import Forbidden, Problem
from kasuwa.domain.catalogue import categories, following
from kasuwa.domain.catalogue.actions import ProductChange, create_product, remove_product, update_product
from kasuwa.domain.catalogue.cards import card_faults
from kasuwa.domain.catalogue.categories import (
    CategoryChange,
    create_category,
    delete_category,
    find_category_id,
    update_category,
)
from kasuwa.domain.catalogue.category_bulk import NewCategory, create_categories
from kasuwa.domain.catalogue.category_lists import (
    CategoryNode,
    CategoryWish,
    category_key,
    get_category,
    list_categories,
    read_tree_ids,
)
from kasuwa.domain.catalogue.errors import (
    CategoryLoop,
    CategoryNameTaken,
    CategoryNotFound,
    CategoryTooDeep,
    TooManyCategories,
    UnknownCategory,
)
from kasuwa.domain.catalogue.queries import get_product
from kasuwa.domain.catalogue.records import Category
from kasuwa.domain.media.actions import show_on_category, show_picture
from kasuwa.domain.media.jobs import sweep_pictures
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS, Place
from tests.conftest import SchemaOwner, picture_bytes
from tests.domain.test_catalogue import a_product, outcomes, own
from tests.shop import Shop


async def flat(context: Context) -> list[tuple[str, ...]]:
    """The paths of all categories in the order of the tree."""
    page = await list_categories(context, CategoryWish(as_tree=False, size=200))
    return [row.category.path for row in page.rows]


async def product_in(context: Context, *category_ids: UUID) -> UUID:
    new = msgspec.structs.replace(a_product(), category_ids=category_ids)
    return (await create_product(context, new)).product_id


async def cards_are_right(context: Context, *product_ids: UUID) -> bool:
    async with own(context).reading() as db:
        return await card_faults(db, product_ids) == []


async def audit(context: Context, category_id: UUID) -> list[tuple[str, Any, Any]]:
    """The entries of the category: action, path before, path after."""
    async with own(context).reading() as db:
        return await db.all(
            """
            SELECT action, before -> 'path' AS before, after -> 'path' AS after FROM audit_entry
            WHERE merchant_id = current_merchant() AND subject_kind = 'category' AND subject_id = :id
            ORDER BY audit_id
            """,
            into=lambda action, before, after: (
                action,
                before and msgspec.json.decode(before),
                after and msgspec.json.decode(after),
            ),
            id=str(category_id),
        )


# What may be done, and what is kept of it ----------------------------------------------------------


async def test_who_may_only_sell_changes_nothing(shop: Shop) -> None:
    category_id = await create_category(shop.owner, "Drinks")
    for refused in (
        create_category(shop.cashier(), "Toys"),
        update_category(shop.cashier(), category_id, CategoryChange(name="Toys")),
        delete_category(shop.cashier(), category_id),
        create_categories(shop.cashier(), [NewCategory(name="Toys")]),
    ):
        with pytest.raises(Forbidden):
            await refused
    assert await flat(shop.owner) == [("Drinks",)]


async def test_another_merchants_categories_are_not_there(shop: Shop, other_shop: Shop) -> None:
    theirs = await create_category(other_shop.owner, "Drinks")
    mine = await create_category(shop.owner, "Drinks")
    for wrong in (
        create_category(shop.owner, "Malt", parent_id=theirs),
        update_category(shop.owner, theirs, CategoryChange(name="Mine")),
        delete_category(shop.owner, theirs),
        get_category(shop.owner, theirs),
        list_categories(shop.owner, CategoryWish(parent_id=theirs)),
    ):
        with pytest.raises(CategoryNotFound):
            await wrong
    for unknown in (
        update_category(shop.owner, mine, CategoryChange(parent_id=theirs)),
        delete_category(shop.owner, mine, move_items_to=theirs),
    ):
        with pytest.raises(UnknownCategory):
            await unknown
    async with own(shop.owner).reading() as db:
        assert await read_tree_ids(db, theirs) == []
        assert await find_category_id(db, "Drinks") == mine
    found = await list_categories(shop.owner, CategoryWish(text="drinks"))
    assert [row.category.category_id for row in found.rows] == [mine]
    assert await flat(other_shop.owner) == [("Drinks",)]


async def test_every_change_is_in_the_audit_trail(context: Context) -> None:
    drinks = await create_category(context, "Drinks")
    malt = await create_category(context, "Malt", parent_id=drinks)
    await update_category(context, malt, CategoryChange(parent_id=None))
    await create_categories(
        context, [NewCategory(name="MALT", children=(NewCategory(name="Toys"),))], on_duplicate="update"
    )
    (toys,) = [row.category_id for row in await below(context, malt) if row.name == "Toys"]
    kept = await keep_bytes(context, picture_bytes("PNG"), STOREHARMONY_FORMATS)
    await show_on_category(context, malt, kept)
    await delete_category(context, malt, with_children=True)
    assert await audit(context, malt) == [
        ("category.create", None, ["Drinks", "Malt"]),
        ("category.update", ["Drinks", "Malt"], ["Malt"]),
        ("category.update", ["Malt"], ["MALT"]),
        ("category.picture", ["MALT"], ["MALT"]),
        ("category.delete", ["MALT"], None),
    ]
    assert [action for action, _, _ in await audit(context, toys)] == ["category.create", "category.delete"]


async def below(context: Context, category_id: UUID) -> list[Any]:
    page = await list_categories(context, CategoryWish(as_tree=False, parent_id=category_id))
    return [row.category for row in page.rows]


async def test_a_shop_has_a_most_of_categories(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categories, "MOST_CATEGORIES", 3)
    await create_category(context, "A")
    made = await create_categories(
        context, [NewCategory(name="B", children=(NewCategory(name="C"), NewCategory(name="D")))]
    )
    assert [outcome.status for outcome in made] == ["created", "created", "failed"]
    with pytest.raises(TooManyCategories):
        await create_category(context, "E")
    assert len(await flat(context)) == 3


@pytest.mark.parametrize("name", ["\u0301", "ﷺ" * 120, "İstanbul", "ﬁsh", "ß", "a\u200b", "🧃" * 120])
async def test_odd_names_are_kept_as_they_are(context: Context, name: str) -> None:
    category_id = await create_category(context, name)
    assert (await get_category(context, category_id)).name == name
    with pytest.raises(CategoryNameTaken):
        await create_category(context, name)
    assert category_key(name)
    found = await list_categories(context, CategoryWish(text=category_key(name)))
    assert [row.category.name for row in found.rows] == [name]


# The database keeps the tree whole -----------------------------------------------------------------


class _Model:
    """What the tree should be: parent and name of each, by id."""

    def __init__(self) -> None:
        self.nodes: dict[UUID, tuple[UUID | None, str]] = {}

    def path(self, node: UUID | None) -> tuple[str, ...]:
        if node is None:
            return ()
        parent, name = self.nodes[node]
        return (*self.path(parent), name)

    def below(self, node: UUID) -> set[UUID]:
        children = {one for one, (parent, _) in self.nodes.items() if parent == node}
        return {node}.union(*(self.below(child) for child in children))

    def height(self, node: UUID) -> int:
        return max(len(self.path(one)) for one in self.below(node)) - len(self.path(node)) + 1

    def taken(self, parent: UUID | None, name: str, but: UUID | None = None) -> bool:
        return any(
            key != but and (above, category_key(other)) == (parent, category_key(name))
            for key, (above, other) in self.nodes.items()
        )

    def refusals(self, node: UUID, parent: UUID | None, name: str) -> set[type[Problem]]:
        """What may be said to the change; several things can be wrong with it."""
        if parent is not None and parent in self.below(node):
            return {CategoryLoop}
        deep = {CategoryTooDeep} if len(self.path(parent)) + self.height(node) > 6 else set()
        return deep | ({CategoryNameTaken} if self.taken(parent, name, but=node) else set())


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "move", "move", "rename", "place", "delete"]),
        st.integers(0, 30),
        st.integers(0, 30),
        st.sampled_from("aAbBcdé"),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
async def test_whatever_is_done_to_a_tree_it_stays_what_it_should_be(shop: Shop, steps: Any) -> None:
    context, model = own(shop.owner), _Model()
    for category_id in [
        row.category.category_id for row in (await list_categories(context, CategoryWish())).rows
    ]:
        await delete_category(context, category_id, with_children=True)
    for step in steps:
        await _do(context, model, *step)
    page = await list_categories(context, CategoryWish(as_tree=False, size=200))
    assert {row.category.category_id: row.category.path for row in page.rows} == {
        node: model.path(node) for node in model.nodes
    }
    tree = await list_categories(context, CategoryWish(size=200))
    assert [category.category_id for category in walked(tree.rows)] == [
        row.category.category_id for row in page.rows
    ]
    for row in page.rows:
        async with own(context).reading() as db:
            assert set(await read_tree_ids(db, row.category.category_id)) == model.below(
                row.category.category_id
            )


def walked(rows: Sequence[CategoryNode]) -> Iterator[Any]:
    for row in rows:
        yield row.category
        yield from walked(row.children or ())


async def _do(context: Context, model: _Model, step: str, one: int, other: int, name: str) -> None:
    """The step on the shop and on the model, which must agree on what is refused."""
    nodes = list(model.nodes)
    if step == "add":
        parent = nodes[one % len(nodes)] if nodes and one % 3 else None
        made = await _outcome(create_category(context, name, parent_id=parent))
        if len(model.path(parent)) >= 6:
            assert made is CategoryTooDeep
        elif model.taken(parent, name):
            assert made is CategoryNameTaken
        else:
            model.nodes[made] = (parent, name)
    elif nodes:
        await _alter(context, model, step, nodes[one % len(nodes)], nodes[other % len(nodes)], name)


async def _alter(context: Context, model: _Model, step: str, node: UUID, target: UUID, name: str) -> None:
    parent, old_name = model.nodes[node]
    if step == "delete":
        gone = await delete_category(context, node, with_children=True)
        assert set(gone.category_ids) == model.below(node)
        for deleted in gone.category_ids:
            del model.nodes[deleted]
        return
    if step == "place":
        await update_category(context, node, CategoryChange(position=len(name)))
        return
    new_parent, new_name = (target, old_name) if step == "move" else (parent, name)
    change = CategoryChange(parent_id=target) if step == "move" else CategoryChange(name=name)
    found = await _outcome(update_category(context, node, change))
    wrong = model.refusals(node, new_parent, new_name)
    assert found in wrong if wrong else isinstance(found, Category)
    if not wrong:
        model.nodes[node] = (new_parent, new_name)


async def _outcome(work: Awaitable[Any]) -> Any:
    (found,) = await outcomes([work])
    return found


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE category SET parent_id = category_id WHERE category_id = $1",
        "UPDATE category SET path = '{Elsewhere}' WHERE category_id = $1",
        "UPDATE category SET tree_key = '1' WHERE category_id = $1",
        "UPDATE category SET position = -1 WHERE category_id = $1",
    ],
)
async def test_not_even_the_owner_of_the_tables_can_break_a_place(
    context: Context, schema_owner: SchemaOwner, statement: str
) -> None:
    category_id = await create_category(context, "Drinks")
    with pytest.raises(Exception, match=r"cannot stand below|category_(placed|position)"):
        await schema_owner.execute(statement, category_id)


# Products follow -----------------------------------------------------------------------------------


async def test_more_products_than_fit_into_the_change_follow_by_jobs(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "WRITTEN_AT_ONCE", 2)
    monkeypatch.setattr(following, "_JOB_HOLDS", 3)
    top = await create_category(context, "Drinks")
    malt = await create_category(context, "Malt", parent_id=top)
    products = [await product_in(context, malt) for _ in range(7)]
    await update_category(context, top, CategoryChange(name="Cold drinks"))
    assert not await cards_are_right(context, *products)
    assert await cards_are_right(context, *sorted(products)[:2])
    await context.services.jobs.run_due()
    assert await cards_are_right(context, *products)
    versions = [(await get_product(context, product_id)).version for product_id in products]
    assert versions == [1] * 7
    await delete_category(context, malt)
    await context.services.jobs.run_due()
    assert await cards_are_right(context, *products)
    versions = [(await get_product(context, product_id)).version for product_id in products]
    assert versions == [2] * 7


async def test_a_product_that_somebody_changes_is_not_waited_for(context: Context) -> None:
    category_id = await create_category(context, "Drinks")
    held, free = await product_in(context, category_id), await product_in(context, category_id)
    changing = own(context)
    async with changing.transaction():
        await update_product(changing, held, ProductChange(name="Held"))
        await update_category(own(context), category_id, CategoryChange(name="Cold drinks"))
        assert await cards_are_right(context, free)
    await context.services.jobs.run_due()
    assert await cards_are_right(context, held, free)


async def test_a_job_whose_products_are_gone_does_nothing(context: Context) -> None:
    payload = {"product_ids": [str(uuid4())], "changed": True}
    await following.run_follow(context.services, context.merchant_id, payload)


# Pictures ------------------------------------------------------------------------------------------


async def test_a_categorys_picture_is_kept_while_it_is_shown_and_swept_after(context: Context) -> None:
    first, second = await create_category(context, "A"), await create_category(context, "B")
    old, new = [
        await keep_bytes(context, picture_bytes("PNG", seed=seed), STOREHARMONY_FORMATS) for seed in (1, 2)
    ]
    product_id = await product_in(context)
    await show_picture(context, product_id, new, Place())
    for category_id in (first, second):
        await show_on_category(context, category_id, old)

    async def swept() -> int:
        return await sweep_pictures(context.services, context.merchant_id, unused_for=timedelta(0))

    await show_on_category(context, first, new)
    assert await swept() == 0
    await delete_category(context, second)
    assert await swept() == 1
    # What a product or a category still shows stays, whoever goes first.
    await remove_product(context, product_id)
    assert await swept() == 0
    await delete_category(context, first)
    assert await swept() == 1
