"""The columns of a file of products: their names, and what stands in them.

A product with variants is a row of its own, followed by one row for each variant, which names the product's
SKU under `parent sku`. See docs/product-files.md.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from msgspec import Struct

from kasuwa.base.money import decimals
from kasuwa.base.tables import TableWrong
from kasuwa.base.tables.records import MOST_CELL
from kasuwa.domain.catalogue.choices import Limits
from kasuwa.domain.exchange import cells
from kasuwa.domain.exchange.cells import Read
from kasuwa.domain.exchange.paths import read_paths

OPTIONS = 3
# Limits are the widest of our APIs, so that whatever they took comes back from a file. Where those set none:
# what the indexes of brands and tags hold of any script, and what a cell holds.
_MOST_INDEXED = 600
LIMITS = Limits(options=OPTIONS, values=500, variants=500)

# What each column says, in the words of BulkProduct.given. A column with None says where a row belongs.
PRODUCT: dict[str, tuple[str, Read]] = {
    "name": ("name", cells.read_text(1, 255)),
    "slug": ("slug", cells.read_text(1, 255)),
    "status": ("status", cells.read_choice("active", "inactive")),
    "description": ("description", cells.read_text(0, MOST_CELL)),
    "brand": ("brand", cells.read_text(0, _MOST_INDEXED)),
    "unit": ("unit", cells.read_text(1, 32)),
    "tags": ("tags", cells.read_list(1000, _MOST_INDEXED)),
    "categories": ("category_ids", read_paths(1000)),
    "taxable": ("tax.taxable", cells.read_bool),
    "tax rate": ("tax.rate", cells.read_rate),
    "vat type": ("tax.vat_type", cells.read_choice("inclusive", "exclusive")),
    "tax code": ("tax.code", cells.read_text(0, 40)),
    "track quantity": ("track_quantity", cells.read_bool),
    "visible online": ("visible_online", cells.read_bool),
    "weight grams": ("weight_grams", cells.read_whole),
    "expiry date": ("expiry_date", cells.read_date),
}
VARIANT: dict[str, tuple[str, Read]] = {
    "sku": ("sku", cells.read_code(1, 255)),
    "barcode": ("barcode", cells.read_code(1, 255)),
    "variant name": ("variant.name", cells.read_text(0, MOST_CELL)),
    "active": ("active", cells.read_bool),
}
MONEY = {
    "price": "price.selling_minor",
    "cost price": "price.cost_minor",
    "promo price": "price.promo_minor",
    "wholesale price": "price.wholesale_minor",
}
PRICE: dict[str, tuple[str, Read]] = {
    "promo starts at": ("price.promo_starts_at", cells.read_time),
    "promo ends at": ("price.promo_ends_at", cells.read_time),
    "wholesale min quantity": ("price.wholesale_min_quantity", cells.read_positive),
}
STOCK: dict[str, tuple[str, Read]] = {
    "quantity": ("quantity", cells.read_quantity),
    "expected quantity": ("expected_quantity", cells.read_quantity),
    "reorder level": ("reorder_level", cells.read_quantity),
    "reorder quantity": ("reorder_quantity", cells.read_quantity),
}
REORDER = ("reorder level", "reorder quantity")
PLACES = ("parent sku", "currency")
_NUMBERS = (*MONEY, *STOCK, "tax rate", "weight grams", "wholesale min quantity")
# What others call the same.
_ALIASES = {
    "title": "name",
    "product name": "name",
    "selling price": "price",
    "cost": "cost price",
    "stock": "quantity",
    "qty": "quantity",
    "stock on hand": "quantity",
    "ean": "barcode",
    "upc": "barcode",
    "gtin": "barcode",
    "category": "categories",
    "vendor": "brand",
    "weight": "weight grams",
    "parent": "parent sku",
}
# Columns that a file of failed rows has beside the others.
IGNORED = ("error", "row")


class Column(Struct, frozen=True):
    """A column of the file: `part` is product, variant, price, stock, option, place or ignored."""

    name: str
    part: str
    field: str
    read: Read
    store_id: UUID | None = None
    option: int = 0


def column_names(stores: Sequence[str]) -> list[str]:
    """Every column that an export has, in order; `stores` are the labels of the locations."""
    options = [f"option{n} {what}" for n in range(1, OPTIONS + 1) for what in ("name", "value")]
    stock = [f"{name} @ {store}" for store in stores for name in STOCK]
    return [
        "parent sku",
        *(("sku", "name", "slug")),
        *options,
        *(name for name in VARIANT if name != "sku"),
        *(name for name in PRODUCT if name not in ("name", "slug")),
        "currency",
        *MONEY,
        *PRICE,
        *stock,
    ]


def is_number(name: str) -> bool:
    """Whether the column of an export holds numbers."""
    return name.partition(" @ ")[0] in _NUMBERS


def read_header(
    header: Sequence[str], currency: str, home: UUID, stores: Mapping[str, UUID], *, ignore_unknown: bool
) -> tuple[list[Column], list[str]]:
    """What each column of the file is, and what was assumed. Raises TableWrong, which names the others."""
    columns: list[Column] = []
    unknown: list[str] = []
    for place, title in enumerate(header, start=1):
        column = _column(title, currency, home, stores)
        if column is None:
            unknown.append(_doubt(title, place, stores))
            column = Column(title, "ignored", title, str)
        columns.append(column)
    names = [(c.field, c.store_id) for c in columns if c.part != "ignored"]
    twice = sorted({name for name, store in names if names.count((name, store)) > 1})
    if twice:
        raise TableWrong(f"Columns that stand twice: {', '.join(twice)}.")
    if unknown and not ignore_unknown:
        raise TableWrong("Unknown columns: " + "; ".join(unknown) + ". Rename them, or leave them out.")
    if not any(c.field == "sku" for c in columns) and not any(c.field == "name" for c in columns):
        raise TableWrong(
            "The first row must name the columns, with sku or name among them. Look whether its cells are"
            f" parted by another sign; it reads: {', '.join(header)[:200]}"
        )
    return columns, [f"left out: {doubt}" for doubt in unknown]


def _column(title: str, currency: str, home: UUID, stores: Mapping[str, UUID]) -> Column | None:
    # The name of a store is taken as it is, the rest as people write it.
    what, at, store = title.partition(" @ ")
    name = re.sub(r"[\s_-]+", " ", what).strip().casefold()
    name = _ALIASES.get(name, name)
    if name in STOCK:
        field, read = STOCK[name]
        store_id = stores.get(cells.unescape(store.strip())) if at else home
        named = f"{name} @ {store.strip()}" if at else name
        return None if store_id is None else Column(named, "stock", field, read, store_id=store_id)
    if at:
        return None
    if name in IGNORED:
        return Column(name, "ignored", name, str)
    if name in MONEY:
        return Column(name, "price", MONEY[name], cells.read_amount(decimals(currency)))
    for part, known in (("product", PRODUCT), ("variant", VARIANT), ("price", PRICE)):
        if name in known:
            field, read = known[name]
            return Column(name, part, field, read)
    if name in PLACES:
        return Column(name, "place", name, cells.read_code(0, 255))
    option = re.fullmatch(r"option ?([1-3]) (name|value)s?", name)
    if option:
        number = int(option[1])
        return Column(name, "option", f"{option[2]}{number}", cells.read_text(0, MOST_CELL), option=number)
    return None


def _doubt(title: str, place: int, stores: Mapping[str, UUID]) -> str:
    shown = title.strip()[:60] or "(empty)"
    known = [*PRODUCT, *VARIANT, *MONEY, *PRICE, *STOCK, *PLACES, *_ALIASES]
    known += [f"{name} @ {store}" for store in stores for name in STOCK]
    near = difflib.get_close_matches(title.strip().casefold(), known, n=1)
    return f"{shown!r} in place {place}" + (f" (did you mean {near[0]!r}?)" if near else "")
