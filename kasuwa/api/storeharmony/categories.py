"""Categories in StoreHarmony's words."""

from collections import Counter
from typing import Any, TypeVar
from uuid import UUID

from msgspec import UNSET, UnsetType

from kasuwa.api.storeharmony.contract import (
    CreateStoreSubCategoryPath,
    DeleteStoreCategoryPath,
    DeleteStoreCategoryQuery,
    GetStoreCategoriesQuery,
    StockCategoryBulkCreate,
    StockCategoryBulkNode,
    StockCategoryCreate,
    StockCategoryUpdate,
    UpdateStoreCategoryPath,
    UploadCategoryPicturePath,
)
from kasuwa.api.storeharmony.paging import page_view
from kasuwa.api.storeharmony.pictures import read_picture
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange
from kasuwa.base.http.caching import require_match
from kasuwa.base.ids import read_id
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.categories import (
    CategoryChange,
    create_category,
    delete_category,
    lock_category,
    update_category,
)
from kasuwa.domain.catalogue.category_bulk import CategoryOutcome, NewCategory, create_categories
from kasuwa.domain.catalogue.category_lists import (
    CategoryNode,
    CategoryWish,
    category_key,
    get_category,
    list_categories,
)
from kasuwa.domain.catalogue.errors import CategoryNotFound
from kasuwa.domain.catalogue.records import Category
from kasuwa.domain.media.actions import show_on_category
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS
from kasuwa.domain.permissions import Permission

Json = dict[str, Any]
T = TypeVar("T")

# Looked for where an id cannot be read as one: nobody has it.
_NOBODYS = UUID(int=0)


@api.operation("getStoreCategories")
async def get_store_categories(context: Context, query: GetStoreCategoriesQuery) -> Json:
    text = query.search or ""
    page = await list_categories(
        context,
        CategoryWish(
            as_tree=query.view == "tree",
            parent_id=None if query.parentid is None else read_id(query.parentid) or _NOBODYS,
            text=category_key(text) if text.strip() else "",
            page=query.page,
            size=query.size,
            cursor=query.cursor,
        ),
    )
    return page_view(page, lambda row: _node_view(context, row))


@api.operation("createStoreCategory")
async def create_store_category(context: Context, body: StockCategoryCreate) -> Answer:
    return await _create(context, body, None)


@api.operation("createStoreSubCategory")
async def create_store_sub_category(
    context: Context, path: CreateStoreSubCategoryPath, body: StockCategoryCreate
) -> Answer:
    return await _create(context, body, category_id(path.categoryid))


@api.operation("createBulkStoreCategory")
async def create_bulk_store_category(context: Context, body: StockCategoryBulkCreate) -> Json:
    wanted = [_new_category(node) for node in body.categories]
    outcomes = await create_categories(context, wanted, on_duplicate=body.onDuplicate)
    counts = Counter(outcome.status for outcome in outcomes)
    return {
        **{status: counts[status] for status in ("created", "updated", "skipped", "failed")},
        "rows": [_outcome_view(outcome) for outcome in outcomes],
    }


@api.operation("updateStoreCategory")
async def update_store_category(
    context: Context, exchange: Exchange, path: UpdateStoreCategoryPath, body: StockCategoryUpdate
) -> Answer:
    changed_id = category_id(path.categoryid)
    async with context.transaction():
        await require_version(context, exchange, changed_id)
        return answered(context, await update_category(context, changed_id, _change(body)))


@api.operation("deleteStoreCategory")
async def delete_store_category(
    context: Context, exchange: Exchange, path: DeleteStoreCategoryPath, query: DeleteStoreCategoryQuery
) -> Json:
    gone_id = category_id(path.categoryid)
    heir_id = None if query.moveitemsto is None else read_id(query.moveitemsto) or _NOBODYS
    async with context.transaction():
        await require_version(context, exchange, gone_id)
        deletion = await delete_category(
            context, gone_id, with_children=query.withchildren, move_items_to=heir_id
        )
    return {
        "deletedCategoryIds": deletion.category_ids,
        "movedItems": deletion.moved,
        "uncategorisedItems": deletion.uncategorised,
    }


@api.operation("uploadCategoryPicture", read=read_picture)
async def upload_category_picture(
    context: Context, exchange: Exchange, path: UploadCategoryPicturePath, body: bytes
) -> Answer:
    shown_on = category_id(path.categoryid)
    # Before the slow part: what is not there, or has changed, needs no picture.
    require_match(exchange.request, _tag(await get_category(context, shown_on)))
    kept = await keep_bytes(context, body, STOREHARMONY_FORMATS, permission=Permission.CATEGORY_WRITE)
    async with context.transaction():
        await require_version(context, exchange, shown_on)
        category = await show_on_category(context, shown_on, kept)
    return Answer(category.picture_path, headers={"ETag": _tag(category)})


async def require_version(context: Context, exchange: Exchange, wanted_id: UUID) -> None:
    """Raises PreconditionFailed when If-Match names another version. Inside the transaction of the change."""
    if "if-match" in exchange.request.headers:
        async with context.transaction() as db:
            require_match(exchange.request, _tag(await lock_category(db, wanted_id)))


def category_id(text: str) -> UUID:
    """The id of a category; what is no UUID is as unknown as any other."""
    found = read_id(text)
    if found is None:
        raise CategoryNotFound()
    return found


def answered(context: Context, category: Category) -> Answer:
    """The category, with the ETag that If-Match takes."""
    return Answer(category_view(context, category), headers={"ETag": _tag(category)})


def category_view(context: Context, category: Category) -> Json:
    return {
        "categoryId": category.category_id,
        "storeId": context.store_id,
        "parentId": category.parent_id,
        "name": category.name,
        "slug": category.slug,
        "description": category.description,
        "pictureUrl": category.picture_path,
        "position": category.position,
        "depth": category.depth,
        "path": category.path,
        "itemCount": category.item_count,
        "visibleOnline": category.visible_online,
        "version": category.version,
        "createdAt": category.created_at,
        "updatedAt": category.updated_at,
    }


def _node_view(context: Context, node: CategoryNode) -> Json:
    view = category_view(context, node.category)
    if node.children is not None:
        view["children"] = [_node_view(context, child) for child in node.children]
    return view


async def _create(context: Context, body: StockCategoryCreate, parent_id: UUID | None) -> Answer:
    async with context.transaction():
        new_id = await create_category(
            context,
            body.name,
            parent_id=parent_id,
            description=_or_none(body.description),
            position=_or_none(body.position),
            visible_online=body.visibleOnline,
        )
        return answered(context, await get_category(context, new_id))


def _new_category(node: StockCategoryBulkNode) -> NewCategory:
    return NewCategory(
        name=node.name,
        description=node.description,
        position=node.position,
        visible_online=node.visibleOnline,
        children=() if node.children is UNSET else tuple(_new_category(child) for child in node.children),
    )


def _fault_view(fault: FieldFault) -> Json:
    return ({"field": fault.pointer} if fault.pointer else {}) | {"message": fault.message}


def _outcome_view(outcome: CategoryOutcome) -> Json:
    fault = outcome.fault
    return {
        "pointer": "/categories/" + "/children/".join(map(str, outcome.place)),
        "status": outcome.status,
        "categoryId": outcome.category_id,
        "name": outcome.name,
        "errors": [] if fault is None else [_fault_view(fault)],
    }


def _change(body: StockCategoryUpdate) -> CategoryChange:
    parent_id: UUID | UnsetType | None
    if body.parentId is UNSET or body.parentId is None:
        parent_id = body.parentId
    else:
        parent_id = read_id(body.parentId) or _NOBODYS
    return CategoryChange(
        name=body.name,
        parent_id=parent_id,
        description=body.description,
        position=body.position,
        visible_online=body.visibleOnline,
    )


def _tag(category: Category) -> str:
    """Its version alone: a product that comes or goes changes no category."""
    return f'"{category.version}"'


def _or_none(value: T | UnsetType | None) -> T | None:
    return None if value is UNSET else value
