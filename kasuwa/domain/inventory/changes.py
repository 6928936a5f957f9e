"""Many changes at once, each line named by the shop's own words."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct, structs

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault, Problem
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.errors import NotTracked, VariantUnknown, has_variants, untracked
from kasuwa.domain.inventory.records import Move, Moved
from kasuwa.domain.permissions import Permission


class Change(Struct, frozen=True, kw_only=True):
    """A move whose variant is still to be found: by `sku` where it is given, else by the move's own id."""

    move: Move
    sku: str | None = None


class Changed(Struct, frozen=True):
    """What became of a change; without a variant there is none of that name."""

    variant_id: UUID | None
    moved: Moved


async def change_stock(context: Context, changes: Sequence[Change], *, all_or_nothing: bool) -> list[Changed]:
    """Move the lines at once, at most 5,000, each with its own result, or all of them, or none.

    Raises, when all or nothing is asked for, VariantUnknown, NotTracked and what `move_stock` raises.
    """
    context.require(Permission.STOCK_QUANTITY)
    async with context.transaction() as db:
        found = await _find_variants(db, changes)
        problems = [_problem_of(change, one) for change, one in zip(changes, found, strict=True)]
        if all_or_nothing:
            _raise_first([problem for problem in problems if problem is not None])
        moves = [
            structs.replace(change.move, variant_id=one.variant_id)
            for change, one, problem in zip(changes, found, problems, strict=True)
            if one is not None and problem is None
        ]
        moved = iter(await move_stock(context, db, moves, all_or_nothing=all_or_nothing))
        return [
            Changed(
                one.variant_id if one else None, next(moved) if problem is None else Moved(problem=problem)
            )
            for one, problem in zip(found, problems, strict=True)
        ]


class _Found(Struct, frozen=True):
    place: int
    variant_id: UUID
    is_sold: bool
    track_quantity: bool


def _problem_of(change: Change, found: _Found | None) -> Problem | None:
    """Why what the line names has no quantity that could change; None: it has."""
    pointer = f"{change.move.pointer}/{'variantId' if change.sku is None else 'sku'}"
    if found is None:
        return VariantUnknown(faults=[FieldFault(pointer, "unknown", "Name a variant of this account.")])
    if not found.track_quantity:
        return NotTracked(faults=[untracked(pointer)])
    if not found.is_sold:
        return VariantUnknown(faults=[has_variants(pointer)])
    return None


def _raise_first(problems: Sequence[Problem]) -> None:
    """As `move_stock`: the first Problem, with the faults of all."""
    if problems:
        first = problems[0]
        first.faults = tuple(fault for problem in problems for fault in problem.faults)
        raise first


async def _find_variants(db: Database, changes: Sequence[Change]) -> list[_Found | None]:
    rows = await db.all(
        """
        SELECT n.place::integer AS place, v.variant_id, v.position > 0 AS is_sold, p.track_quantity
        FROM unnest(:variant_ids::uuid[], :sku_keys::text[]) WITH ORDINALITY AS n (variant_id, sku_key, place)
        JOIN variant v ON v.merchant_id = current_merchant() AND NOT v.archived
          AND (v.variant_id = n.variant_id OR v.sku_key = n.sku_key)
        JOIN product p ON p.merchant_id = v.merchant_id AND p.product_id = v.product_id
        """,
        into=_Found,
        variant_ids=[change.move.variant_id if change.sku is None else None for change in changes],
        sku_keys=[None if change.sku is None else sku_key(change.sku) for change in changes],
    )
    found = {row.place: row for row in rows}
    return [found.get(place) for place in range(1, len(changes) + 1)]
