"""What becomes of each row, before anything is written. No database: what is there was looked up before."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from msgspec import Struct

from kasuwa.base.money import is_beyond
from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.bulk_changes import price_faults
from kasuwa.domain.catalogue.bulk_records import (
    BulkProduct,
    BulkRow,
    FieldChange,
    OnDuplicate,
    Outcome,
    Unreadable,
)
from kasuwa.domain.catalogue.choices import LIMITS, Limits, arrange_product
from kasuwa.domain.catalogue.errors import VariantsWrong
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.catalogue.records import CategoryName, NewVariant, Price, Product
from kasuwa.domain.inventory.actions import Count
from kasuwa.domain.inventory.errors import TOO_DEAR


class Known(Struct, frozen=True):
    """What is there: SKUs with product and kind, barcodes with the SKU that has them, stores, categories.

    And how many decimals a quantity has in each unit.
    """

    skus: Mapping[str, tuple[UUID, str]]
    barcodes: Mapping[str, str]
    store_ids: frozenset[UUID]
    categories: Mapping[UUID, CategoryName]
    decimals: dict[str, int]


class Update:
    """A row that changes a product. Once the product is held these are known: `held`, as it is; `before` and
    `after`, as the caller's store sells it."""

    held: Product
    before: Product
    after: Product

    def __init__(self, index: int, product_id: UUID, row: BulkProduct) -> None:
        self.index = index
        self.product_id = product_id
        self.row = row
        self.changes: list[FieldChange] = []
        self.added: list[NewVariant] = []
        self.counts: list[Count] = []


class Plan:
    """Creations and updates, and the outcomes of the rows that are neither."""

    def __init__(self, rows: Sequence[BulkRow], known: Known) -> None:
        self.rows = rows
        self.known = known
        self.creations: list[tuple[int, BulkProduct]] = []
        self.updates: list[Update] = []
        self._outcomes: dict[int, Outcome] = {}

    def note(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome

    def fail(self, index: int, faults: Sequence[FieldFault]) -> None:
        self.note(index, Outcome(status="failed", sku=sku_of(self.rows[index]), faults=tuple(faults)))

    def is_failed(self, index: int) -> bool:
        outcome = self._outcomes.get(index)
        return outcome is not None and outcome.status == "failed"

    def has_failed(self) -> bool:
        return any(outcome.status == "failed" for outcome in self._outcomes.values())

    def outcomes(self) -> list[Outcome]:
        return [self._outcomes[index] for index in range(len(self.rows))]

    def outcomes_of_nothing(self) -> list[Outcome]:
        """Nothing is written because some row failed: the others say so."""
        why = FieldFault("", "not_written", "Nothing was written, because another row failed.")
        return [
            self._outcomes[index]
            if self.is_failed(index)
            else Outcome(status="skipped", sku=sku_of(row), faults=(why,))
            for index, row in enumerate(self.rows)
        ]


def plan_rows(
    rows: Sequence[BulkRow], known: Known, on_duplicate: OnDuplicate, limits: Limits = LIMITS
) -> Plan:
    """Say of each row whether it is made, changes a product, is left out or fails."""
    plan = Plan(rows, known)
    changing: set[UUID] = set()
    for index, row in enumerate(rows):
        if isinstance(row, BulkProduct):
            row = _arranged(row, limits)
        if isinstance(row, Unreadable):
            plan.fail(index, row.faults)
            continue
        matches = {known.skus[key] for v in row.sold if v.sku and (key := sku_key(v.sku)) in known.skus}
        faults = _faults_of(row, known, is_new=not matches)
        if matches and on_duplicate == "fail":
            faults += _taken_skus(row, known)
        elif matches and on_duplicate == "update":
            faults += _match_faults(row, matches)
        if not (matches and on_duplicate == "skip"):
            faults += _taken_barcodes(row, known)
        if faults:
            plan.fail(index, faults)
            continue
        if not matches:
            plan.creations.append((index, row))
        elif on_duplicate == "skip":
            product_id = min(matches)[0]
            plan.note(index, Outcome(status="skipped", product_id=product_id, sku=sku_of(row)))
        else:
            ((product_id, _),) = matches
            if product_id in changing:
                text = "An earlier row changes the same product; put them together."
                plan.fail(index, [FieldFault("/sku", "duplicate", text)])
                continue
            changing.add(product_id)
            plan.updates.append(Update(index, product_id, row))
    return plan


def _arranged(row: BulkProduct, limits: Limits) -> BulkRow:
    """The row with its variants in order. One that gives no options adds to a product that has them."""
    try:
        new = arrange_product(row.new, limits) if row.new.options else row.new
    except VariantsWrong as wrong:
        return Unreadable(wrong.faults, sku_of(row))
    return BulkProduct(new=new, given=row.given)


def refuse_repeated(rows: Sequence[BulkRow]) -> list[BulkRow]:
    """Within one call nobody may have a SKU or a barcode twice: the first row keeps it."""
    seen: set[tuple[str, str]] = set()
    kept: list[BulkRow] = []
    for row in rows:
        if isinstance(row, BulkProduct):
            faults = []
            for pointer, code in _codes_of(row):
                if code in seen:
                    text = f"An earlier row has this {code[0]}; give another."
                    faults.append(FieldFault(pointer, "duplicate", text))
                seen.add(code)
            if faults:
                row = Unreadable(tuple(faults), sku_of(row))
        kept.append(row)
    return kept


def _codes_of(row: BulkProduct) -> list[tuple[str, tuple[str, str]]]:
    codes = []
    for place, variant in enumerate(row.sold):
        pointer = row.pointer(place)
        if variant.sku:
            codes.append((f"{pointer}/sku", ("SKU", sku_key(variant.sku))))
        if variant.barcode:
            codes.append((f"{pointer}/barcode", ("barcode", variant.barcode)))
    return codes


def _faults_of(row: BulkProduct, known: Known, *, is_new: bool) -> list[FieldFault]:
    """What is wrong with the row itself. The prices of an update are looked at when they are complete."""
    faults = [
        FieldFault(f"/categoryIds/{place}", "unknown", "Name categories of this account.")
        for place, category_id in enumerate(row.new.category_ids)
        if category_id not in known.categories
    ]
    if is_new:
        faults += [
            FieldFault(pointer, "required", "A new product needs this.")
            for field, pointer in (("name", "/name"), ("price.selling_minor", "/prices/sellingPrice"))
            if not row.gives(field)
        ]
    if row.new.main is not None:
        text = "Leave it empty here: what lies there is counted by the product's variants."
        faults += [
            FieldFault(f"{opening.pointer}/quantity", "not_sold", text)
            for opening in row.new.main.opening
            if opening.quantity
        ]
    for place, variant in enumerate(row.sold):
        pointer = row.pointer(place)
        if any(opening.store_id not in known.store_ids for opening in variant.opening):
            text = "Name locations of this account."
            faults.append(FieldFault(f"{pointer}/locationQuantities", "unknown", text))
        if is_new:
            price = variant.price or row.sold[0].price
            faults += opening_faults(variant, price, row.new.unit, known.decimals[row.new.unit], pointer)
        if is_new and variant.price is not None:
            faults += price_faults(variant.price, f"{pointer}/prices")
    return faults


def opening_faults(
    new: NewVariant, price: Price | None, unit: str, decimals: int, pointer: str
) -> list[FieldFault]:
    """Where a part of a unit is to lie that has no parts, or more than may have been paid for it in all.

    The price is the one that holds for it.
    """
    faults = []
    for opening in new.opening:
        field = f"{opening.pointer or pointer}/quantity"
        if opening.quantity != round(opening.quantity, decimals):
            faults.append(FieldFault(field, "decimals", f"The unit {unit} allows {decimals} decimals."))
        if price is None or price.cost_minor is None:
            continue
        if is_beyond(opening.quantity * price.cost_minor, price.currency):
            faults.append(FieldFault(field, "maximum", TOO_DEAR))
    return faults


def _taken_skus(row: BulkProduct, known: Known) -> list[FieldFault]:
    return [
        FieldFault(f"{row.pointer(place)}/sku", "taken", "Another product has this SKU; choose another.")
        for place, variant in enumerate(row.sold)
        if variant.sku and sku_key(variant.sku) in known.skus
    ]


def _taken_barcodes(row: BulkProduct, known: Known) -> list[FieldFault]:
    faults = []
    for place, variant in enumerate(row.sold):
        holder = known.barcodes.get(variant.barcode) if variant.barcode else None
        if holder is not None and (variant.sku is None or holder != sku_key(variant.sku)):
            text = "Another product has this barcode; choose another."
            faults.append(FieldFault(f"{row.pointer(place)}/barcode", "taken", text))
    return faults


def _match_faults(row: BulkProduct, matches: set[tuple[UUID, str]]) -> list[FieldFault]:
    """Whether what the row names can be the one product that it changes."""
    if len(matches) > 1:
        return [FieldFault("/sku", "several", "These SKUs are of several products; change them one by one.")]
    ((_, kind),) = matches
    if kind == row.new.kind:
        return []
    has = "has no variants" if kind == "simple" else "has variants"
    return [FieldFault("/sku", "kind", f"The product with this SKU {has}: give the row the same form.")]


def sku_of(row: BulkRow) -> str | None:
    """The SKU by which the caller knows the row."""
    if isinstance(row, Unreadable):
        return row.sku
    return next((variant.sku for variant in row.sold if variant.sku), None)
