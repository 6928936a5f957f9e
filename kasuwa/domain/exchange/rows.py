"""Rows of a file put together to products, as BulkProduct has them."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import Struct

from kasuwa.base.problems import FieldFault
from kasuwa.base.tables import BadRow, TableRow
from kasuwa.domain.catalogue.bulk_records import BulkProduct, BulkRow, Unreadable
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    OptionValue,
    Price,
    ProductOption,
    Tax,
)
from kasuwa.domain.exchange.cells import CellWrong, split_list
from kasuwa.domain.exchange.columns import LIMITS, OPTIONS, Column


def printable(text: str, most: int = 80) -> str:
    """The beginning of a text from a file, as it can be kept and shown."""
    return text[:most].encode(errors="replace").decode().replace("\0", "\ufffd")


class RowFault(Struct, frozen=True):
    """What is wrong in the file: row, column, the value as it stands there, and what to do."""

    row: int
    column: str
    value: str
    code: str
    message: str


class Group(Struct, frozen=True):
    """The rows of one product. `faults` are those found while reading."""

    rows: list[TableRow | BadRow]
    row: BulkRow
    faults: list[RowFault]

    @property
    def last(self) -> int:
        return self.rows[-1].number


class _Read(Struct):
    """One row, read cell by cell: the fields that it gives a value."""

    source: TableRow | BadRow
    values: dict[str, Any]
    stock: dict[UUID, dict[str, Decimal]]
    faults: list[RowFault]

    @property
    def parent(self) -> str:
        parent: str = self.values.get("parent sku", "")
        return parent


class Reader:
    """Reads the rows of one file for one store."""

    def __init__(self, columns: Sequence[Column], currency: str) -> None:
        self._columns = list(enumerate(columns))
        self._currency = currency
        given = {column.field for column in columns if column.part not in ("ignored", "place", "option")}
        # Stock of a product that is there is counted only when asked for, which the verb knows.
        self._given = frozenset(given | ({"price.currency"} & given))
        self._figures = {
            column.store_id: frozenset(c.field for c in columns if c.store_id == column.store_id)
            for column in columns
            if column.store_id is not None
        }

    def groups(self, rows: Iterator[TableRow | BadRow]) -> Iterator[Group]:
        """The products, each as soon as its last row has been read."""
        held: list[_Read] = []
        for source in rows:
            read = self._read(source)
            sku = held[0].values.get("sku") if held else None
            if held and read.parent and (read.parent == sku or not sku) and len(held) <= LIMITS.variants:
                held.append(read)
                continue
            if held:
                yield self._group(held)
            held = [read]
        if held:
            yield self._group(held)

    def _read(self, source: TableRow | BadRow) -> _Read:
        read = _Read(source, {}, {}, [])
        if isinstance(source, BadRow):
            read.faults.append(RowFault(source.number, "", "", "row", source.reason))
            return read
        for place, column in self._columns:
            cell = source.cells[place]
            if column.part == "ignored" or not cell or cell.isspace():
                continue
            try:
                value = column.read(cell)
            except CellWrong as wrong:
                read.faults.append(
                    RowFault(source.number, column.name, printable(cell), wrong.code, wrong.advice)
                )
                continue
            if column.store_id is not None:
                read.stock.setdefault(column.store_id, {})[column.field] = value
            else:
                read.values[column.field] = value
        return read

    def _group(self, held: list[_Read]) -> Group:
        rows = [read.source for read in held]
        faults = [fault for read in held for fault in read.faults]
        first, others = held[0], held[1:]
        if first.parent:
            text = "Put the row of the product itself, with this SKU, before the rows of its variants."
            faults.append(
                RowFault(first.source.number, "parent sku", printable(first.parent), "parent", text)
            )
        needed = (("name", "name"), ("price.selling_minor", "price"))
        for name, column in needed if isinstance(first.source, TableRow) else ():
            # A file without the column changes products that are there; what it makes anew is refused.
            is_asked = name in self._given and name not in first.values
            if is_asked and not any(f.column == column for f in first.faults):
                text = f"Give the {column}."
                faults.append(RowFault(first.source.number, column, "", "required", text))
        currency = first.values.get("currency", self._currency)
        if currency != self._currency:
            text = f"The store's prices are in {self._currency}."
            faults.append(RowFault(first.source.number, "currency", printable(currency), "currency", text))
        if faults:
            sku = first.values.get("sku")
            why = tuple(FieldFault(f.column, f.code, f.message) for f in faults)
            return Group(rows, Unreadable(why, sku), faults)
        row = BulkProduct(
            new=self._product(first, others),
            given=self._given,
            category_paths=first.values.get("category_ids", ()),
        )
        return Group(rows, row, [])

    def _product(self, first: _Read, others: Sequence[_Read]) -> NewProduct:
        values = first.values
        plain = {"name": "", **{name: values[name] for name in _PLAIN if name in values}}
        taxes = {name: values[f"tax.{name}"] for name in ("taxable", "rate", "vat_type", "code")
                 if f"tax.{name}" in values}  # fmt: skip
        common = plain | {"tax": Tax(**taxes)}
        # A product with variants names its options, even while it has none.
        if not others and "name1" not in values:
            return NewProduct(variants=(self._variant(first, "", self._price(first)),), **common)
        options = tuple(
            ProductOption(values[f"name{n}"], tuple(split_list(values.get(f"value{n}", ""), ";")))
            for n in range(1, OPTIONS + 1)
            if f"name{n}" in values
        )
        names = [option.name for option in options]
        return NewProduct(
            kind="variant",
            options=options,
            main=self._variant(first, "", self._price(first)),
            variants=tuple(
                self._variant(read, f"/variants/{place}", self._own_price(read), names)
                for place, read in enumerate(others)
            ),
            **common,
        )

    def _variant(
        self, read: _Read, pointer: str, price: Price | None, options: Sequence[str] = ()
    ) -> NewVariant:
        values = read.values
        return NewVariant(
            price=price,
            sku=values.get("sku"),
            barcode=values.get("barcode"),
            name=values.get("variant.name", ""),
            active=values.get("active", True),
            options=tuple(
                OptionValue(name, values.get(f"value{n}", "")) for n, name in enumerate(options, start=1)
            ),
            opening=tuple(
                self._opening(store_id, figures, f"{pointer}/locations/{store_id}")
                for store_id, figures in read.stock.items()
            ),
        )

    def _opening(self, store_id: UUID, figures: Mapping[str, Decimal], pointer: str) -> OpeningStock:
        columns = self._figures[store_id]
        # No figure is no count, where no level is no level; and who expects no figure expects nothing there.
        given = columns if "quantity" in figures else columns - {"quantity"}
        nothing = Decimal(0) if "expected_quantity" in columns else None
        return OpeningStock(
            store_id,
            figures.get("quantity", Decimal(0)),
            figures.get("reorder_level"),
            figures.get("reorder_quantity"),
            pointer,
            figures.get("expected_quantity", nothing),
            given,
        )

    def _price(self, read: _Read) -> Price:
        fields = {name: read.values[f"price.{name}"] for name in _PRICE if f"price.{name}" in read.values}
        return Price(currency=self._currency, **{"selling_minor": 0, **fields})

    def _own_price(self, read: _Read) -> Price | None:
        """None: the product's holds."""
        return self._price(read) if "price.selling_minor" in read.values else None


_PLAIN = (
    "name",
    "slug",
    "status",
    "description",
    "brand",
    "unit",
    "tags",
    "track_quantity",
    "visible_online",
    "weight_grams",
    "expiry_date",
)
_PRICE = tuple(name for name in Price.__struct_fields__ if name != "currency")

# Pointers of the bulk's faults, by their last word, and the columns they mean.
_COLUMNS = {
    "name": "name",
    "sellingPrice": "price",
    "sku": "sku",
    "barcode": "barcode",
    "promoPrice": "promo price",
    "promoEndsAt": "promo ends at",
    "categoryIds": "categories",
    "quantity": "quantity",
    "expectedQuantity": "expected quantity",
    "unit": "unit",
    "options": "option1 value",
    "value": "option1 value",
}


def place_fault(group: Group, fault: FieldFault, columns: Sequence[Column]) -> RowFault:
    """A fault of the bulk in the file's words: which row, which column, which value."""
    words = fault.pointer.strip("/").split("/")
    place = int(words[1]) + 1 if words[0] == "variants" and len(words) > 1 and words[1].isdigit() else 0
    source = group.rows[min(place, len(group.rows) - 1)]
    name = next((_COLUMNS[word] for word in reversed(words) if word in _COLUMNS), "")
    if "locations" in words:
        name += _place_of(words[words.index("locations") + 1], columns)
    value = next((source.cells[n] for n, c in enumerate(columns) if c.name == name and name), "")
    return RowFault(source.number, name, printable(value), fault.code, fault.message)


def _place_of(store_id: str, columns: Sequence[Column]) -> str:
    """How the file names the location in its columns: " @ Wuse", or nothing for the one that imports."""
    name = next(column.name for column in columns if str(column.store_id) == store_id)
    _, at, place = name.partition(" @ ")
    return at + place
