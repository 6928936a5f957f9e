"""Many changes at once, each line named by the shop's own words."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct, structs

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.errors import VariantUnknown
from kasuwa.domain.inventory.records import Move, Moved
from kasuwa.domain.permissions import Permission


class Change(Struct, frozen=True, kw_only=True):
    """A move whose variant is still to be found: by `sku` where it is given, else by the move's own id."""

    move: Move
    sku: str | None = None


class Changed(Struct, frozen=True):
    """What became of a change; without a variant it could not be found."""

    variant_id: UUID | None
    moved: Moved


async def change_stock(context: Context, changes: Sequence[Change], *, all_or_nothing: bool) -> list[Changed]:
    """Move the lines at once, at most 5,000, each with its own result, or all of them, or none.

    Raises, when all or nothing is asked for, VariantUnknown and what `move_stock` raises.
    """
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        variants = await _find_variants(db, changes)
        unknown = [_unknown(change) for change, found in zip(changes, variants, strict=True) if found is None]
        if all_or_nothing and unknown:
            raise VariantUnknown(faults=[fault for problem in unknown for fault in problem.faults])
        moves = [
            structs.replace(change.move, variant_id=variant_id)
            for change, variant_id in zip(changes, variants, strict=True)
            if variant_id is not None
        ]
        moved = iter(await move_stock(context, db, moves, all_or_nothing=all_or_nothing))
        return [
            Changed(None, Moved(problem=_unknown(change)))
            if variant_id is None
            else Changed(variant_id, next(moved))
            for change, variant_id in zip(changes, variants, strict=True)
        ]


def _unknown(change: Change) -> VariantUnknown:
    name = "variantId" if change.sku is None else "sku"
    fault = FieldFault(f"{change.move.pointer}/{name}", "unknown", "Name a variant of this account.")
    return VariantUnknown(faults=[fault])


class _Found(Struct, frozen=True):
    place: int
    variant_id: UUID


async def _find_variants(db: Database, changes: Sequence[Change]) -> list[UUID | None]:
    rows = await db.all(
        """
        SELECT n.place::integer AS place, v.variant_id
        FROM unnest(:variant_ids::uuid[], :sku_keys::text[]) WITH ORDINALITY AS n (variant_id, sku_key, place)
        JOIN variant v ON v.merchant_id = current_merchant() AND NOT v.archived
          AND (v.variant_id = n.variant_id OR v.sku_key = n.sku_key)
        """,
        into=_Found,
        variant_ids=[change.move.variant_id if change.sku is None else None for change in changes],
        sku_keys=[None if change.sku is None else sku_key(change.sku) for change in changes],
    )
    found = {row.place: row.variant_id for row in rows}
    return [found.get(place) for place in range(1, len(changes) + 1)]
