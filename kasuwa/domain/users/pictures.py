"""A person's picture: kept like every other one, and given out to nobody but themselves."""

from typing import Any

import msgspec
from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.problems import NotFound
from kasuwa.domain.media.keeping import MEDIA_PATH, enqueue_sweep
from kasuwa.domain.media.records import KeptPicture, Rendition
from kasuwa.domain.users.profile import Profile, hold_account, own_id, read_profile


class NoPicture(NotFound):
    code = "no-profile-image"
    title = "There is no profile image"


class _Kept(Struct, frozen=True):
    renditions: list[Rendition]


async def set_picture(context: Context, kept: KeptPicture) -> Profile:
    """Show a kept picture as the user's own, instead of the one that is there."""
    user_id = own_id(context)
    async with context.transaction() as db:
        await hold_account(db, user_id)
        before = await read_profile(context, db)
        if before.picture_sha256 == kept.sha256:
            return before
        await db.execute(
            """
            UPDATE user_account SET picture_id = :picture_id, updated_at = now()
            WHERE merchant_id = current_merchant() AND user_id = :user_id
            """,
            user_id=user_id,
            picture_id=kept.picture_id,
        )
        await enqueue_sweep(db, context)
        await write_audit(context, db, "user.picture", "user", user_id)
        return await read_profile(context, db)


async def get_picture_file(context: Context, edge_px: int | None, *, wants_webp: bool) -> tuple[bytes, str]:
    """The user's picture and its media type: the smallest stored one with that edge, else the largest.

    Without `edge_px` the largest. Raises NoPicture.
    """
    async with context.reading() as db:
        kept = await db.find(
            """
            SELECT p.renditions FROM user_account u
            JOIN picture p ON p.merchant_id = u.merchant_id AND p.picture_id = u.picture_id
            WHERE u.merchant_id = current_merchant() AND u.user_id = :user_id
            """,
            into=_kept,
            user_id=own_id(context),
        )
    if kept is None:
        raise NoPicture("Upload one first.")
    kinds = [one for one in kept.renditions if (one.content_type == "image/webp") == wants_webp]
    ordered = sorted(kinds or kept.renditions, key=lambda one: one.width_px * one.height_px)
    large = [one for one in ordered if edge_px is not None and max(one.width_px, one.height_px) >= edge_px]
    chosen = large[0] if large else ordered[-1]
    content = await context.blobs.get(chosen.path.removeprefix(MEDIA_PATH))
    return content, chosen.content_type


def _kept(**row: Any) -> _Kept:
    return _Kept(msgspec.json.decode(row["renditions"], type=list[Rendition]))
