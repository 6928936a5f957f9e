"""After the commit: files that nobody shows any more go a day later."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Services
from kasuwa.domain.media.keeping import UNUSED_DAYS


class _Unused(Struct, frozen=True):
    picture_id: UUID
    sha256: str


async def sweep_pictures(
    services: Services, merchant_id: UUID, *, unused_for: timedelta | None = None
) -> int:
    """Delete the files and rows of pictures that nothing shows; answer how many pictures.

    The row stays locked while its files go: an upload of the same bytes waits for its claim, then writes
    the files again.
    """
    gone = 0
    while True:
        async with services.pool.transaction(merchant_id) as db:
            unused = await db.find(
                """
                SELECT picture_id, encode(sha256, 'hex') AS sha256 FROM picture p
                WHERE merchant_id = current_merchant() AND unused_since < now() - :unused_for::interval
                  AND NOT EXISTS (
                    SELECT FROM product_picture s
                    WHERE s.merchant_id = p.merchant_id AND s.picture_id = p.picture_id)
                  AND NOT EXISTS (
                    SELECT FROM category c
                    WHERE c.merchant_id = p.merchant_id AND c.picture_id = p.picture_id)
                  AND NOT EXISTS (
                    SELECT FROM user_account u
                    WHERE u.merchant_id = p.merchant_id AND u.picture_id = p.picture_id)
                  AND NOT EXISTS (
                    SELECT FROM store_picture s
                    WHERE s.merchant_id = p.merchant_id AND s.picture_id = p.picture_id)
                  AND NOT EXISTS (
                    SELECT FROM store_banner b
                    WHERE b.merchant_id = p.merchant_id AND b.picture_id = p.picture_id)
                ORDER BY unused_since LIMIT 1
                FOR UPDATE SKIP LOCKED
                """,
                into=_Unused,
                unused_for=timedelta(days=UNUSED_DAYS) if unused_for is None else unused_for,
            )
            if unused is None:
                return gone
            folder = f"{merchant_id}/{unused.sha256[:2]}/{unused.sha256}/"
            await services.blobs.delete([fact.key async for fact in services.blobs.list(folder)])
            await db.execute(
                "DELETE FROM picture WHERE merchant_id = current_merchant() AND picture_id = :picture_id",
                picture_id=unused.picture_id,
            )
            gone += 1


async def run_sweep(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    assert merchant_id is not None
    await sweep_pictures(services, merchant_id)
