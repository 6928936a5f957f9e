"""Every expected no of the inventory."""

from kasuwa.base.money import MOST
from kasuwa.base.problems import Conflict, FieldFault, Invalid, NotFound, Problem


class NotEnoughStock(Conflict):
    code = "not-enough-stock"
    title = "There is not enough in stock"


class NotStocked(NotFound):
    code = "not-stocked"
    title = "This product is not counted at this location"


class NotTracked(Conflict):
    code = "not-tracked"
    title = "This product does not track quantity"


def untracked(pointer: str) -> FieldFault:
    """The name at `pointer` is that of a product whose quantity nobody tracks."""
    return FieldFault(pointer, "not_tracked", "Switch on trackQuantity of the product first.")


def has_variants(pointer: str) -> FieldFault:
    """The name at `pointer` is that of a product of which its variants alone are counted."""
    return FieldFault(pointer, "has_variants", "Name one of its variants: they are what is counted.")


class StockChanged(Conflict):
    code = "stock-changed"
    title = "The quantity has changed since it was read"


class SerialElsewhere(Conflict):
    code = "serial-elsewhere"
    title = "A serial number is not where it is said to be"


class BatchDiffers(Conflict):
    code = "batch-differs"
    title = "The batch is known with another expiry date"


class WrongQuantity(Invalid):
    code = "wrong-quantity"
    title = "A quantity or its unit is not acceptable"


class VariantUnknown(Invalid):
    code = "unknown-variant"
    title = "The product has no such variant"


class NoSuchVariant(NotFound):
    code = "variant-not-found"
    title = "There is no such variant"


SERIAL_TAKEN_AT_ONCE = SerialElsewhere(
    faults=[
        FieldFault(
            "/serialNumbers", "taken", "Another location took one of these serial numbers in just now."
        )
    ]
)

TOO_DEAR = f"Give less: what lies at a location may have cost {MOST:f} in all, quantity by unit cost."

# By the database's word: the class, the field, the field's code, and what to do.
_FAULTS: dict[str, tuple[type[Problem], str, str, str]] = {
    "not_stocked": (NotStocked, "", "", ""),
    "not_enough": (NotEnoughStock, "quantity", "maximum", "Only {told} can be taken."),
    "not_enough_in_batch": (NotEnoughStock, "batchNo", "maximum", "The batch has only {told}."),
    "expired": (NotEnoughStock, "quantity", "maximum", "Only {told} has not expired."),
    "changed": (
        StockChanged,
        "expectedQuantity",
        "changed",
        "The quantity is now {told}: look again, then give {told} as what you expect.",
    ),
    "decimals": (WrongQuantity, "quantity", "decimals", "The product's unit allows {told} decimals."),
    "too_much": (WrongQuantity, "quantity", "maximum", "Give a quantity below a million million."),
    "too_dear": (WrongQuantity, "quantity", "maximum", TOO_DEAR),
    "unknown_pack": (WrongQuantity, "pack", "unknown", "Name a pack of this product, or count in its unit."),
    "batch_expiry": (
        BatchDiffers,
        "expiryDate",
        "differs",
        "The batch expires on {told}; or give it another number.",
    ),
    "serial_here": (SerialElsewhere, "serialNumbers", "taken", "{told} is in stock already."),
    "serial_not_here": (SerialElsewhere, "serialNumbers", "unknown", "{told} is not in stock here."),
    "serial_other_batch": (SerialElsewhere, "serialNumbers", "batch", "{told} is not of this batch."),
    "serials_needed": (
        SerialElsewhere,
        "serials",
        "required",
        "Name the units: {told} here have serial numbers.",
    ),
    "serials_counted": (
        WrongQuantity,
        "serialNumbers",
        "count",
        "Name {told} serial numbers, one for each unit.",
    ),
}


def problem_of(fault: str, told: str, pointer: str = "") -> Problem:
    """What the database found about the line at `pointer`, as a Problem."""
    kind, field, code, advice = _FAULTS[fault]
    if not field:
        return kind()
    message = advice.format(told=told)
    detail = message if issubclass(kind, NotEnoughStock) else ""
    return kind(detail, faults=[FieldFault(f"{pointer}/{field}", code, message)])
