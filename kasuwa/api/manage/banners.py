"""Banners of a store."""

from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from kasuwa.api.manage.contract import (
    AddBannerQuery,
    BannerChange,
    ChangeBannerPath,
    GetBannerPath,
    RemoveBannerPath,
)
from kasuwa.api.manage.picture_bodies import read_picture
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange
from kasuwa.base.http.caching import etag, require_match
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.settings import banners, records
from kasuwa.domain.stores.settings.queries import get_banner, list_banners
from kasuwa.domain.stores.settings.rules import read_link

Json = dict[str, Any]

# What is no id is as unknown as any other.
_NOBODYS = UUID(int=0)


@api.operation("listBanners")
async def list_all(context: Context) -> Json:
    return {"data": [_view(banner) for banner in await list_banners(context)]}


@api.operation("getBanner")
async def get(context: Context, path: GetBannerPath) -> Json:
    return _view(await get_banner(context, read_id(path.bannerid)))


@api.operation("addBanner", read=read_picture)
async def add(context: Context, query: AddBannerQuery, body: bytes) -> Answer:
    new = records.NewBanner(
        placement=query.placement or "home",
        title=query.title or "",
        product_id=None if query.itemid is None else read_id(query.itemid) or _NOBODYS,
        link="" if query.link is None else read_link(query.link, "#/query/link"),
    )
    kept = await keep_bytes(context, body, STOREHARMONY_FORMATS, permission=Permission.STORE_WRITE)
    return _answered(await banners.add_banner(context, new, kept))


@api.operation("changeBanner")
async def change(context: Context, exchange: Exchange, path: ChangeBannerPath, body: BannerChange) -> Answer:
    banner_id = read_id(path.bannerid)
    wish = records.BannerChange(
        placement=body.placement,
        position=body.position,
        title=UNSET if isinstance(body.title, UnsetType) else body.title or "",
        product_id=_product_id(body.itemId),
        link=UNSET if isinstance(body.link, UnsetType) else _link(body.link),
        starts_at=body.startsAt,
        ends_at=body.endsAt,
    )
    async with context.transaction() as db:
        require_match(exchange.request, _tag(await banners.hold_banner(context, db, banner_id)))
        return _answered(await banners.change_banner(context, banner_id, wish))


@api.operation("removeBanner")
async def remove(context: Context, exchange: Exchange, path: RemoveBannerPath) -> None:
    banner_id = read_id(path.bannerid)
    async with context.transaction() as db:
        require_match(exchange.request, _tag(await banners.hold_banner(context, db, banner_id)))
        await banners.remove_banner(context, banner_id)


def _product_id(sent: str | UnsetType | None) -> UUID | UnsetType | None:
    return sent if sent is None or isinstance(sent, UnsetType) else read_id(sent) or _NOBODYS


def _link(sent: str | None) -> str:
    return "" if sent is None else read_link(sent, "/link")


def _tag(banner: records.Banner) -> str:
    """The ETag with which a read of the banner is answered."""
    return etag(encode(_view(banner)))


def _answered(banner: records.Banner) -> Answer:
    """The banner, with the ETag that If-Match takes."""
    return Answer(_view(banner), headers={"ETag": _tag(banner)})


def _view(banner: records.Banner) -> Json:
    return {
        "bannerId": banner.banner_id,
        "placement": banner.placement,
        "position": banner.position,
        "title": banner.title or None,
        "picture": banner.path,
        "itemId": banner.product_id,
        "link": banner.link or None,
        "startsAt": banner.starts_at,
        "endsAt": banner.ends_at,
        "addedAt": banner.added_at,
    }
