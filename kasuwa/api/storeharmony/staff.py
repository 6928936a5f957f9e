"""People who work at a store, in StoreHarmony's words."""

from typing import Any

from msgspec import UNSET, UnsetType

from kasuwa.api.storeharmony.contract import (
    DeleteStoreUserPath,
    EditStoreUserPath,
    GetStoreUserPath,
    ListStoreUsersQuery,
    StoreUser,
    StoreUserCreate,
    StoreUserRemoved,
    StoreUserStoresItem,
    StoreUserUpdate,
)
from kasuwa.api.storeharmony.paging import page_view
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange
from kasuwa.base.http.caching import etag, require_match
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.domain.reference.contacts import read_email, read_mobile
from kasuwa.domain.staff.actions import add_staff, allow_change, change_staff, remove_staff
from kasuwa.domain.staff.queries import get_staff, list_staff, read_member
from kasuwa.domain.staff.records import NewStaff, StaffChange, StaffFilter, StaffMember
from kasuwa.domain.staff.rules import hold_places
from kasuwa.domain.stores.queries import country_of

Json = dict[str, Any]


@api.operation("listStoreUsers")
async def list_store_users(context: Context, query: ListStoreUsersQuery) -> Json:
    wanted = StaffFilter(
        everywhere=query.scope == "account",
        role=query.role,
        status=query.status,
        search=query.search or "",
    )
    found = await list_staff(context, wanted, page=query.page, size=query.size, cursor=query.cursor)
    return page_view(found, _store_user)


@api.operation("getStoreUser")
async def get_store_user(context: Context, path: GetStoreUserPath) -> StoreUser:
    return _store_user(await get_staff(context, read_id(path.userid)))


@api.operation("addUserToStore")
async def add_user_to_store(context: Context, body: StoreUserCreate) -> StoreUser:
    new = NewStaff(
        first_name=body.firstname,
        last_name=body.lastname,
        role=body.role,
        email=_email(body.email) or "",
        mobile=await _mobile(context, body.mobile) or "",
        username=body.username or "",
        place_ids=tuple(read_id(text) for text in body.storeIds or ()),
        extra_permissions=tuple(body.extraPermissions or ()),
        password=body.password or None,
        pos_pin=body.posPin or None,
    )
    return _store_user(await add_staff(context, new))


@api.operation("editStoreUser")
async def edit_store_user(
    context: Context, exchange: Exchange, path: EditStoreUserPath, body: StoreUserUpdate
) -> StoreUser:
    user_id = read_id(path.userid)
    change = StaffChange(
        first_name=body.firstname,
        last_name=body.lastname,
        email=_email(body.email),
        mobile=await _mobile(context, body.mobile),
        role=body.role,
        status=body.status,
        extra_permissions=UNSET if body.extraPermissions is UNSET else tuple(body.extraPermissions),
        pos_pin=body.posPin,
    )
    await allow_change(context, user_id, change)
    async with context.transaction() as db:
        if "if-match" in exchange.request.headers:
            await hold_places(context, db, ())
            present = _store_user(await read_member(context, db, user_id))
            require_match(exchange.request, etag(encode(present)))
        return _store_user(await change_staff(context, user_id, change))


@api.operation("deleteStoreUser")
async def delete_store_user(context: Context, path: DeleteStoreUserPath) -> StoreUserRemoved:
    removed = await remove_staff(context, read_id(path.userid))
    return StoreUserRemoved(
        userId=path.userid,
        storeId=str(context.store_id),
        removedAt=removed.at,
        sessionsEnded=removed.sessions_ended,
    )


def _email(text: str | UnsetType) -> str | UnsetType:
    return UNSET if text is UNSET else read_email(text, "/email")


async def _mobile(context: Context, text: str | UnsetType) -> str | UnsetType:
    """Read as somebody in the store's country dials it."""
    return UNSET if text is UNSET else read_mobile(text, await country_of(context), "/mobile")


def _store_user(member: StaffMember) -> StoreUser:
    return StoreUser(
        userId=str(member.user_id),
        accountId=str(member.user_id),
        storeId=str(member.store_id),
        username=member.username,
        firstname=member.first_name,
        lastname=member.last_name,
        email=member.email or None,
        mobile=member.mobile or None,
        role=member.role,
        permissions=member.permissions,
        status=member.status,
        stores=[
            StoreUserStoresItem(storeId=str(place.store_id), storeName=place.name, role=place.role)
            for place in member.places
        ],
        # A picture is its account's own: nobody else fetches it.
        profileImageUrl=None,
        lastLoginAt=member.last_login_at,
        createdAt=member.created_at,
        createdBy=None if member.created_by is None else str(member.created_by),
        updatedAt=member.updated_at,
    )
