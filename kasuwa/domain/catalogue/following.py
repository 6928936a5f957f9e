"""Products whose categories were renamed, moved or deleted: their cards show that.

As many as fit into a short transaction are written in the transaction of the change, so that in most shops
the next list shows it. The others are written by jobs that are queued in it: docs/decisions/categories.md.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Services
from kasuwa.base.db import Database
from kasuwa.base.jobs import enqueue
from kasuwa.domain.catalogue.cards import refresh_cards

FOLLOW_JOB = "catalogue.follow"

WRITTEN_AT_ONCE = 100
_JOB_HOLDS = 1000


class _Followers(Struct, frozen=True):
    product_ids: tuple[UUID, ...]
    changed: bool


async def read_products_of(db: Database, category_ids: Sequence[UUID]) -> list[UUID]:
    """The products directly in one of the categories, archived ones too."""
    return await db.values(
        """
        SELECT DISTINCT product_id FROM product_category
        WHERE merchant_id = current_merchant() AND category_id = ANY(:ids::uuid[]) ORDER BY product_id
        """,
        ids=list(category_ids),
    )


async def follow_categories(db: Database, product_ids: Sequence[UUID], *, changed: bool) -> None:
    """Have the cards of the products show their categories as they are now.

    `changed` says that they are in other categories than before, which is a change of the product too. A
    product that somebody changes at this moment is left to a job, so that nobody is waited for.
    """
    written = await _write(
        db,
        await db.values(
            """
            SELECT product_id FROM product
            WHERE merchant_id = current_merchant() AND product_id = ANY(:ids::uuid[])
            ORDER BY product_id FOR NO KEY UPDATE SKIP LOCKED
            """,
            ids=list(product_ids[:WRITTEN_AT_ONCE]),
        ),
        changed=changed,
    )
    rest = [product_id for product_id in product_ids if product_id not in written]
    for start in range(0, len(rest), _JOB_HOLDS):
        await enqueue(db, FOLLOW_JOB, _Followers(tuple(rest[start : start + _JOB_HOLDS]), changed))


async def run_follow(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Write the cards of the job's products, a few at a time: nobody waits long for a product."""
    assert merchant_id is not None
    job = msgspec.convert(payload, _Followers)
    for start in range(0, len(job.product_ids), WRITTEN_AT_ONCE):
        async with services.pool.transaction(merchant_id) as db:
            ids = await db.values(
                """
                SELECT product_id FROM product
                WHERE merchant_id = current_merchant() AND product_id = ANY(:ids::uuid[])
                ORDER BY product_id FOR NO KEY UPDATE
                """,
                ids=list(job.product_ids[start : start + WRITTEN_AT_ONCE]),
            )
            await _write(db, ids, changed=job.changed)


async def _write(db: Database, ids: Sequence[UUID], *, changed: bool) -> set[UUID]:
    """Write the cards of products that are locked; answer which."""
    if changed:
        await db.execute(
            """
            UPDATE product SET version = version + 1, updated_at = now()
            WHERE merchant_id = current_merchant() AND product_id = ANY(:ids::uuid[])
            """,
            ids=list(ids),
        )
    await refresh_cards(db, ids)
    return set(ids)
