"""How much a merchant may keep here. The database counts and refuses; see docs/decisions/quotas.md."""

from collections.abc import Mapping
from typing import Literal, get_args
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.merchants.errors import MerchantNotFound
from kasuwa.domain.merchants.switching import operating_for

QuotaKind = Literal["file_bytes", "files", "products", "variants", "customers"]
KINDS: tuple[QuotaKind, ...] = get_args(QuotaKind)


_QUOTAS = """
    SELECT k.kind, kept_by(q.merchant_id, k.kind) AS kept,
           CASE k.kind WHEN 'files' THEN q.most_files WHEN 'file_bytes' THEN q.most_file_bytes
                       WHEN 'products' THEN q.most_products WHEN 'variants' THEN q.most_variants
                       ELSE q.most_customers END AS own
    FROM merchant_quota q CROSS JOIN unnest(:kinds::text[]) WITH ORDINALITY AS k (kind, place)
    WHERE q.merchant_id = current_merchant() ORDER BY k.place
"""
_LOCKED = f"{_QUOTAS} FOR UPDATE OF q"


class Quota(Struct, frozen=True, kw_only=True):
    """What of one kind is kept, and how much is allowed: None is any number.

    `own`: the operator said so for this merchant; else it is the setting's word.
    """

    kind: QuotaKind
    kept: int
    most: int | None
    own: bool


async def read_quotas(context: Context, merchant_id: UUID) -> list[Quota]:
    """Each kind of what the merchant keeps. Raises MerchantNotFound."""
    async with operating_for(context, merchant_id).reading() as db:
        return await _read(context, db, merchant_id)


async def set_quotas(
    context: Context, merchant_id: UUID, wanted: Mapping[QuotaKind, int | None]
) -> list[Quota]:
    """Allow so many of each kind: 0 is any number, None what the setting says. Raises MerchantNotFound.

    A merchant who has more keeps it, and may add nothing until there is less.
    """
    acting = operating_for(context, merchant_id)
    async with acting.transaction() as db:
        before = await _read(context, db, merchant_id, lock=True)
        assigned = ", ".join(f"most_{kind} = :{kind}" for kind in wanted)
        await db.execute(
            f"UPDATE merchant_quota SET {assigned} WHERE merchant_id = current_merchant()",  # noqa: S608 - kinds of ours
            **{str(kind): most for kind, most in wanted.items()},
        )
        after = await _read(context, db, merchant_id)
        await write_audit(
            acting, db, "merchant.quota", "merchant", merchant_id, before=_most(before), after=_most(after)
        )
    return after


async def has_row_quota(context: Context) -> bool:
    """Whether the caller's merchant adds products one transaction after the other, for a quota."""
    async with context.reading() as db:
        found: bool = await db.value(
            """
            SELECT allowed_to(current_merchant(), 'products') > 0
                OR allowed_to(current_merchant(), 'variants') > 0
            """
        )
    return found


async def _read(context: Context, db: Database, merchant_id: UUID, *, lock: bool = False) -> list[Quota]:
    # The lock makes those who set quotas wait for each other; counting goes on where there was none.
    found = await db.all(_LOCKED if lock else _QUOTAS, into=_Row, kinds=list(KINDS))
    if not found:
        raise MerchantNotFound(f"No merchant has the id {merchant_id}: see `kasuwa merchant list`.")
    settings = context.services.settings.quotas()
    return [
        Quota(
            kind=row.kind,
            kept=row.kept,
            most=(settings[row.kind] if row.own is None else row.own) or None,
            own=row.own is not None,
        )
        for row in found
    ]


class _Row(Struct, frozen=True):
    kind: QuotaKind
    kept: int
    own: int | None


def _most(quotas: list[Quota]) -> dict[str, int | None]:
    return {quota.kind: quota.most for quota in quotas}
