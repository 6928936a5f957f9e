"""Banners of a store: pictures that lead to a product or to an address."""

from uuid import UUID

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.queries import get_product_id
from kasuwa.domain.media.keeping import enqueue_sweep
from kasuwa.domain.media.records import KeptPicture
from kasuwa.domain.stores.settings.actions import hold_settings
from kasuwa.domain.stores.settings.errors import TooManyBanners
from kasuwa.domain.stores.settings.queries import pick_banner, read_banners
from kasuwa.domain.stores.settings.records import MOST_BANNERS, Banner, BannerChange, NewBanner


async def add_banner(context: Context, new: NewBanner, kept: KeptPicture) -> Banner:
    """Show a kept picture as the last banner of the store.

    Raises ProductNotFound, TooManyBanners, and Invalid for one that leads to two places.
    """
    _check_target(new.product_id, new.link)
    banner_id = new_id()
    async with context.transaction() as db:
        await hold_settings(context, db)
        count = len(await read_banners(db, context.store_id))
        if count >= MOST_BANNERS:
            raise TooManyBanners(f"Remove one of the {MOST_BANNERS} first.")
        if new.product_id is not None:
            await get_product_id(db, product_id=new.product_id)
        await db.execute(
            """
            INSERT INTO store_banner (merchant_id, banner_id, store_id, placement, position, title,
                                      product_id, link, picture_id)
            VALUES (current_merchant(), :banner_id, :store_id, :placement, :position, :title, :product_id,
                    :link, :picture_id)
            """,
            banner_id=banner_id,
            store_id=context.store_id,
            placement=new.placement,
            position=count + 1,
            title=new.title,
            product_id=new.product_id,
            link=new.link,
            picture_id=kept.picture_id,
        )
        banner = pick_banner(await read_banners(db, context.store_id), banner_id)
        await write_audit(context, db, "banner.add", "banner", banner_id, after=banner)
        return banner


async def hold_banner(context: Context, db: Database, banner_id: UUID | None) -> Banner:
    """The banner, which nobody else changes before this transaction ends. Raises BannerNotFound."""
    await hold_settings(context, db)
    return pick_banner(await read_banners(db, context.store_id), banner_id)


async def change_banner(context: Context, banner_id: UUID | None, change: BannerChange) -> Banner:
    """Change what is named. None is an id that no banner can have.

    Raises BannerNotFound, ProductNotFound, and Invalid for one that leads to two places or ends too early.
    """
    async with context.transaction() as db:
        await hold_settings(context, db)
        banners = await read_banners(db, context.store_id)
        before = pick_banner(banners, banner_id)
        wanted = _changed(before, change)
        if wanted.product_id is not None and wanted.product_id != before.product_id:
            await get_product_id(db, product_id=wanted.product_id)
        await db.execute(
            """
            UPDATE store_banner SET placement = :placement, title = :title, product_id = :product_id,
                                    link = :link, starts_at = :starts_at, ends_at = :ends_at
            WHERE merchant_id = current_merchant() AND banner_id = :banner_id
            """,
            banner_id=before.banner_id,
            placement=wanted.placement,
            title=wanted.title,
            product_id=wanted.product_id,
            link=wanted.link,
            starts_at=wanted.starts_at,
            ends_at=wanted.ends_at,
        )
        others = [one.banner_id for one in banners if one.banner_id != before.banner_id]
        others.insert(wanted.position - 1, before.banner_id)
        await _write_order(db, others)
        after = pick_banner(await read_banners(db, context.store_id), before.banner_id)
        if after != before:
            await write_audit(
                context, db, "banner.change", "banner", before.banner_id, before=before, after=after
            )
        return after


async def remove_banner(context: Context, banner_id: UUID | None) -> None:
    """Show it no more. Raises BannerNotFound."""
    async with context.transaction() as db:
        await hold_settings(context, db)
        banners = await read_banners(db, context.store_id)
        before = pick_banner(banners, banner_id)
        await db.execute(
            "DELETE FROM store_banner WHERE merchant_id = current_merchant() AND banner_id = :banner_id",
            banner_id=before.banner_id,
        )
        await _write_order(db, [one.banner_id for one in banners if one.banner_id != before.banner_id])
        await enqueue_sweep(db, context)
        await write_audit(context, db, "banner.remove", "banner", before.banner_id, before=before)


def _changed(before: Banner, change: BannerChange) -> Banner:
    named = {
        field: getattr(change, field)
        for field in change.__struct_fields__
        if not isinstance(getattr(change, field), UnsetType)
    }
    wanted = replace(before, **named)
    _check_target(wanted.product_id, wanted.link)
    if wanted.starts_at is not None and wanted.ends_at is not None and wanted.ends_at <= wanted.starts_at:
        place = "/startsAt" if change.ends_at is UNSET else "/endsAt"
        raise Invalid(faults=[FieldFault(place, "order", "It has to end after it begins.")])
    return wanted


def _check_target(product_id: UUID | None, link: str) -> None:
    if product_id is not None and link:
        fault = FieldFault("/link", "both", "It leads to a product or to an address; null takes one away.")
        raise Invalid(faults=[fault])


async def _write_order(db: Database, banner_ids: list[UUID]) -> None:
    await db.execute(
        """
        UPDATE store_banner b SET position = o.position
        FROM unnest(:banner_ids::uuid[]) WITH ORDINALITY AS o (banner_id, position)
        WHERE b.merchant_id = current_merchant() AND b.banner_id = o.banner_id AND b.position <> o.position
        """,
        banner_ids=banner_ids,
    )
