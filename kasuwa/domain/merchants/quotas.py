"""How much a merchant may keep here. The database counts and refuses; see docs/decisions/quotas.md."""

from collections.abc import Mapping
from typing import Any, Literal, get_args
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.merchants.errors import MerchantNotFound
from kasuwa.domain.merchants.switching import operating_for

QuotaKind = Literal["file_bytes", "files", "products", "variants"]
KINDS: tuple[QuotaKind, ...] = get_args(QuotaKind)


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
            f"UPDATE merchant_use SET {assigned} WHERE merchant_id = current_merchant()",  # noqa: S608 - kinds of ours
            **wanted,
        )
        after = await _read(context, db, merchant_id)
        await write_audit(
            acting, db, "merchant.quota", "merchant", merchant_id, before=_most(before), after=_most(after)
        )
    return after


async def _read(context: Context, db: Database, merchant_id: UUID, *, lock: bool = False) -> list[Quota]:
    row = await db.find(
        """
        SELECT files, file_bytes, products, variants, most_files, most_file_bytes, most_products, most_variants
        FROM merchant_use WHERE merchant_id = current_merchant()
        """
        + ("FOR UPDATE" if lock else ""),
        into=_as_row,
    )
    if row is None:
        raise MerchantNotFound(f"No merchant has the id {merchant_id}: see `kasuwa merchant list`.")
    settings = context.services.settings.quotas()
    return [
        Quota(
            kind=kind,
            kept=row[kind],
            most=(settings[kind] if row[f"most_{kind}"] is None else row[f"most_{kind}"]) or None,
            own=row[f"most_{kind}"] is not None,
        )
        for kind in KINDS
    ]


def _as_row(**row: Any) -> dict[str, Any]:
    return row


def _most(quotas: list[Quota]) -> dict[str, int | None]:
    return {quota.kind: quota.most for quota in quotas}
