"""Questions about a store's settings."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.catalogue.records import Rendition
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.settings.errors import BannerNotFound, PageNotFound
from kasuwa.domain.stores.settings.records import (
    Banner,
    DeliveryPoint,
    Front,
    Gateway,
    OpeningTime,
    Page,
    PageKind,
    StoreFacts,
    StoreSettings,
)


class _Row(Struct, frozen=True, kw_only=True):
    name: str
    country: str
    country_code: str
    state: str
    state_code: str
    city: str
    city_code: str
    time_zone: str
    address: str
    latitude: str
    longitude: str
    email: str
    mobile: str
    profile_type: str
    currency: str
    tax_rate: Decimal
    vat_type: Any
    settings: str
    has_google_key: bool
    updated_at: datetime

    def facts(self) -> StoreFacts:
        return StoreFacts(**{field: getattr(self, field) for field in StoreFacts.__struct_fields__})


async def get_settings(context: Context) -> StoreSettings:
    """What the merchant set about the caller's store."""
    context.require(Permission.STORE_WRITE)
    async with context.reading() as db:
        return await read_settings(db, context.store_id)


async def read_settings(db: Database, store_id: UUID) -> StoreSettings:
    row = await db.one(
        """
        SELECT name, country, country_code, state, state_code, city, city_code, time_zone, address, latitude,
               longitude,
               email, mobile, profile_type, currency, tax_rate, vat_type, settings,
               sealed_google_key IS NOT NULL AS has_google_key, updated_at
        FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id
        """,
        into=_Row,
        store_id=store_id,
    )
    kept: dict[str, Any] = msgspec.json.decode(row.settings)
    times, points = kept.pop("opening_times", []), kept.pop("delivery_points", [])
    return StoreSettings(
        store_id=store_id,
        facts=row.facts(),
        opening_times=msgspec.convert(times, tuple[OpeningTime, ...]),
        delivery_points=msgspec.convert(points, tuple[DeliveryPoint, ...]),
        features=kept.pop("features", {}),
        written=kept,
        pages=await _read_pages(db, store_id, get_args(PageKind)),
        gateways=await _read_gateways(db, store_id),
        has_google_key=row.has_google_key,
        updated_at=row.updated_at,
    )


async def read_front(context: Context, store_id: UUID) -> Front:
    """What the profile of a store shows beside its row. Whoever may see the store may see it."""
    async with context.reading() as db:
        return Front(
            pages=await _read_pages(db, store_id, ("about", "policy")),
            banners=await read_banners(db, store_id),
            gateways=await _read_gateways(db, store_id),
            has_google_key=await db.value(
                """
                SELECT sealed_google_key IS NOT NULL FROM store
                WHERE merchant_id = current_merchant() AND store_id = :store_id
                """,
                store_id=store_id,
            ),
        )


async def get_page(context: Context, kind: PageKind) -> Page:
    """A page of the caller's store, for whoever visits it. Raises PageNotFound."""
    async with context.reading() as db:
        return await db.one(
            """
            SELECT kind, content, updated_at FROM store_page
            WHERE merchant_id = current_merchant() AND store_id = :store_id AND kind = :kind
            """,
            into=Page,
            missing=PageNotFound(),
            store_id=context.store_id,
            kind=kind,
        )


async def list_banners(context: Context) -> tuple[Banner, ...]:
    """The banners of the caller's store in the order they are shown."""
    context.require(Permission.STORE_WRITE)
    async with context.reading() as db:
        return await read_banners(db, context.store_id)


async def get_banner(context: Context, banner_id: UUID | None) -> Banner:
    """A banner of the caller's store. Raises BannerNotFound; None is an id that no banner can have."""
    return pick_banner(await list_banners(context), banner_id)


def pick_banner(banners: Sequence[Banner], banner_id: UUID | None) -> Banner:
    """Raises BannerNotFound."""
    found = next((one for one in banners if one.banner_id == banner_id), None)
    if found is None:
        raise BannerNotFound()
    return found


async def read_banners(db: Database, store_id: UUID) -> tuple[Banner, ...]:
    rows = await db.all(
        """
        SELECT b.banner_id, b.placement, b.position, b.title, b.product_id, b.link, p.renditions,
               b.starts_at, b.ends_at, b.added_at
        FROM store_banner b
        JOIN picture p ON p.merchant_id = b.merchant_id AND p.picture_id = b.picture_id
        WHERE b.merchant_id = current_merchant() AND b.store_id = :store_id
        ORDER BY b.position, b.banner_id
        """,
        into=_banner,
        store_id=store_id,
    )
    return tuple(rows)


def largest_path(renditions: str) -> str:
    """Where the largest file of a picture lies."""
    files = msgspec.json.decode(renditions, type=list[Rendition])
    return next(file.path for file in files if file.name == "zoom" and file.content_type != "image/webp")


def _banner(**row: Any) -> Banner:
    return Banner(path=largest_path(row.pop("renditions")), **row)


async def _read_pages(db: Database, store_id: UUID, kinds: Sequence[PageKind]) -> dict[PageKind, str]:
    rows = await db.all(
        """
        SELECT kind, content, updated_at FROM store_page
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND kind = ANY (:kinds::text[])
        ORDER BY kind
        """,
        into=Page,
        store_id=store_id,
        kinds=list(kinds),
    )
    return {row.kind: row.content for row in rows}


async def _read_gateways(db: Database, store_id: UUID) -> tuple[Gateway, ...]:
    rows = await db.all(
        """
        SELECT gateway_id, provider, kind, remark, public_key,
               sealed_secret_key IS NOT NULL AS has_secret_key,
               sealed_webhook_secret IS NOT NULL AS has_webhook_secret
        FROM payment_gateway
        WHERE merchant_id = current_merchant() AND store_id = :store_id ORDER BY position, gateway_id
        """,
        into=Gateway,
        store_id=store_id,
    )
    return tuple(rows)
