"""The pictures of a store: logo and favicon. Like those of products they are public."""

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.media.keeping import enqueue_sweep
from kasuwa.domain.media.records import KeptPicture
from kasuwa.domain.stores.settings.actions import hold_settings
from kasuwa.domain.stores.settings.queries import largest_path, read_settings
from kasuwa.domain.stores.settings.records import PictureKind, StoreSettings

_PATHS: dict[PictureKind, str] = {"logo": "logo_path", "favicon": "favicon_url"}


async def set_picture(context: Context, kind: PictureKind, kept: KeptPicture) -> StoreSettings:
    """Show a kept picture as the store's, instead of the one that is there."""
    async with context.transaction() as db:
        before = await hold_settings(context, db)
        await db.execute(
            """
            INSERT INTO store_picture (merchant_id, store_id, kind, picture_id)
            VALUES (current_merchant(), :store_id, :kind, :picture_id)
            ON CONFLICT (merchant_id, store_id, kind)
            DO UPDATE SET picture_id = excluded.picture_id, updated_at = now()
            """,
            store_id=before.store_id,
            kind=kind,
            picture_id=kept.picture_id,
        )
        path = largest_path(
            await db.value(
                """
                SELECT renditions FROM picture
                WHERE merchant_id = current_merchant() AND picture_id = :picture_id
                """,
                picture_id=kept.picture_id,
            )
        )
        return await _show(context, db, before, kind, path)


async def remove_picture(context: Context, kind: PictureKind) -> StoreSettings:
    """Show none. Where there is none nothing changes."""
    async with context.transaction() as db:
        before = await hold_settings(context, db)
        await db.execute(
            """
            DELETE FROM store_picture
            WHERE merchant_id = current_merchant() AND store_id = :store_id AND kind = :kind
            """,
            store_id=before.store_id,
            kind=kind,
        )
        return await _show(context, db, before, kind, None)


async def _show(
    context: Context, db: Database, before: StoreSettings, kind: PictureKind, path: str | None
) -> StoreSettings:
    """Keep the path in the store's row, where every list of locations finds it."""
    name = _PATHS[kind]
    was = before.written.get(name)
    if was == path:
        return before
    await db.execute(
        """
        UPDATE store SET
          settings = jsonb_strip_nulls(settings || jsonb_build_object(:name::text, :path::text)),
          updated_at = now()
        WHERE merchant_id = current_merchant() AND store_id = :store_id
        """,
        store_id=before.store_id,
        name=name,
        path=path,
    )
    await enqueue_sweep(db, context)
    await write_audit(
        context, db, "store.picture", "store", before.store_id, before={name: was}, after={name: path}
    )
    return await read_settings(db, before.store_id)
