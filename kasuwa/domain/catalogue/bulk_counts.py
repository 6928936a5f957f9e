"""What a row says of the stock of a variant that is there. No database: compared with what was read."""

from decimal import Decimal

from msgspec.structs import replace

from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.bulk_plan import Update
from kasuwa.domain.catalogue.bulk_records import FieldChange, StockWish
from kasuwa.domain.catalogue.records import OpeningStock, StockLevel, Variant
from kasuwa.domain.inventory.actions import Count
from kasuwa.domain.inventory.errors import problem_of

FIGURES = ("quantity", "reorder_level", "reorder_quantity")
EXPECTATION_NEEDED = (
    "Say what lay there when it was counted, in a column of this name as an export has it, or have stock"
    " overwritten (--overwrite-stock, overwritestock=true), which undoes what was sold since."
)


def reckon_stock(
    update: Update, variant: Variant, opening: OpeningStock, level: StockLevel | None, wish: StockWish
) -> tuple[FieldFault, ...]:
    """Note what is to be booked, and when to order again; or answer why it cannot be.

    The ledger looks at the expectation again, under its lock.
    """
    given = [figure for figure in FIGURES if update.row.gives(figure) and opening.gives(figure)]
    on_hand = level.on_hand if level else Decimal(0)
    expected = opening.expected if wish == "expected" else None
    # Who gives the very figure that they expect asks for no change, whatever was sold since.
    is_counted = wish != "kept" and "quantity" in given and opening.quantity not in (on_hand, expected)
    if is_counted and wish == "expected":
        if expected is None and level is not None:
            return (FieldFault(f"{opening.pointer}/expectedQuantity", "required", EXPECTATION_NEEDED),)
        if (expected or 0) != on_hand:
            return problem_of("changed", f"{on_hand.normalize():f}", opening.pointer).faults
        expected = on_hand
    figures = (level.reorder_level, level.reorder_quantity) if level else (None, None)
    wanted = (
        opening.reorder_level if "reorder_level" in given else figures[0],
        opening.reorder_quantity if "reorder_quantity" in given else figures[1],
    )
    is_reordered = wanted != figures
    if is_counted:
        before = level.on_hand if level else None
        update.changes.append(FieldChange(variant.sku, "quantity", before, opening.quantity))
    if is_reordered:
        update.changes.append(FieldChange(variant.sku, "reorder", figures, wanted))
    if is_counted or is_reordered:
        stock = replace(opening, reorder_level=wanted[0], reorder_quantity=wanted[1], expected=expected)
        count = Count(
            update.product_id,
            variant.variant_id,
            stock,
            is_counted,
            is_reordered,
            is_sold=variant.position > 0,
        )
        update.counts.append(count)
    return ()
