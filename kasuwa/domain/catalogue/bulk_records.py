"""The words of writing many products at once."""

from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.actions import main_of
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, Price

OnDuplicate = Literal["fail", "skip", "update"]
# What becomes of stock that is counted already: left alone; set where it is what the row expects; set anyhow.
StockWish = Literal["kept", "expected", "overwritten"]
OutcomeStatus = Literal["created", "updated", "skipped", "failed"]


class BulkProduct(Struct, frozen=True, kw_only=True):
    """A row: the product as it is to be made.

    `given` names the fields that a product which is there already takes over (None: all). They are those of
    NewProduct, `tax.*`, `price.*` and, of what is sold, `barcode`, `variant.name`, `active`,
    `quantity`, `reorder_level` and `reorder_quantity`.
    """

    new: NewProduct
    given: frozenset[str] | None = None
    # Of a file: categories by the names from the top down, whose ids are put into `new` before it is written.
    category_paths: tuple[tuple[str, ...], ...] = ()

    @property
    def sold(self) -> tuple[NewVariant, ...]:
        """Everything that has a SKU, by position: of a product with variants itself first."""
        return self.new.variants if self.new.kind == "simple" else (main_of(self.new), *self.new.variants)

    @property
    def main_price(self) -> Price:
        """The price that holds for variants without one of their own."""
        price = self.sold[0].price
        assert price is not None, "a product without a price"
        return price

    def pointer(self, place: int) -> str:
        """Where in the row that one of `sold` stands."""
        return "" if place == 0 else f"/variants/{place - 1}"

    def gives(self, field: str) -> bool:
        return self.given is None or field in self.given


class Unreadable(Struct, frozen=True):
    """A row that could not even be read: it fails with these faults."""

    faults: tuple[FieldFault, ...]
    sku: str | None = None


BulkRow = BulkProduct | Unreadable


class FieldChange(Struct, frozen=True):
    """What an update changes of a product, or of the variant with that SKU."""

    sku: str
    field: str
    before: Any
    after: Any


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a row. Skipped: it is there already, or nothing would change.

    A fault's pointer leads into the row: /name, /variants/1/sku.
    """

    status: OutcomeStatus
    product_id: UUID | None = None
    sku: str | None = None
    faults: tuple[FieldFault, ...] = ()
    changes: tuple[FieldChange, ...] = ()
