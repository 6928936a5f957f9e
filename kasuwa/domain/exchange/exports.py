"""Exporting products: the same columns that an import takes, so that what is exported can be loaded again."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.money import from_minor
from kasuwa.base.tables import write_xlsx
from kasuwa.domain.catalogue.queries import read_products, read_stock
from kasuwa.domain.catalogue.records import Price, Product, StockLevel, Variant
from kasuwa.domain.exchange.categories import paths_of_all
from kasuwa.domain.exchange.cells import escape, join_list
from kasuwa.domain.exchange.columns import MONEY, OPTIONS, REORDER, STOCK, column_names, is_number
from kasuwa.domain.exchange.paths import path_text
from kasuwa.domain.exchange.runs import read_failed, read_run
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import store_labels

_AT_ONCE = 200


async def export_products(context: Context) -> AsyncIterator[list[str]]:
    """The header, then the products that are not archived by their numbers, each before its variants."""
    context.require(Permission.STOCK_READ)
    async with context.reading() as db:
        labels = await store_labels(db)
        paths = {key: path_text(path) for key, path in (await paths_of_all(db)).items()}
    names = column_names(list(labels.values()))
    if not context.may(Permission.STOCK_COST):
        names.remove("cost price")
    yield names
    number = 0
    while True:
        async with context.reading() as db:
            ids = await _next_ids(db, number)
            products = await read_products(db, ids)
            stock = await read_stock(db, ids)
        if not products:
            return
        number = products[-1].number
        levels: dict[tuple[UUID, UUID], StockLevel] = {
            (level.variant_id, level.store_id): level for level in stock
        }
        for product in products:
            for values in _rows(product.at(context.store_id), levels, labels, paths):
                yield [values.get(name, "") for name in names]


async def _next_ids(db: Database, after: int) -> list[UUID]:
    return await db.values(NEXT_PRODUCTS, after=after, how_many=_AT_ONCE)


NEXT_PRODUCTS = """
    SELECT product_id FROM product
    WHERE merchant_id = current_merchant() AND number > :after AND status <> 'archived'
    ORDER BY number LIMIT :how_many
"""


def _rows(
    product: Product,
    levels: Mapping[tuple[UUID, UUID], StockLevel],
    labels: Mapping[UUID, str],
    paths: Mapping[UUID, str],
) -> list[dict[str, str]]:
    first = _product_cells(product, paths) | _variant_cells(product.main) | _price_cells(product.main.price)
    if product.kind == "simple":
        return [first | _stock_cells(product.main, levels, labels)]
    for place, option in enumerate(product.options[:OPTIONS], start=1):
        first[f"option{place} name"] = escape(option.name)
        first[f"option{place} value"] = escape(join_list(option.values, ";"))
    # What a product with variants keeps of its own is not sold, nor counted: but ordered again, in all.
    rows = [first | {"variant name": "", "active": ""} | _stock_cells(product.main, levels, labels, REORDER)]
    for variant in product.variants:
        row = {"parent sku": escape(product.main.sku, code=True)} | _variant_cells(variant)
        for place, value in enumerate(variant.options[:OPTIONS], start=1):
            row[f"option{place} value"] = escape(value.value)
        if variant.own_price:
            row |= _price_cells(variant.price)
        rows.append(row | _stock_cells(variant, levels, labels))
    return rows


def _product_cells(product: Product, paths: Mapping[UUID, str]) -> dict[str, str]:
    return {
        "name": escape(product.name),
        "slug": escape(product.slug),
        "status": product.status,
        "description": escape(product.description or ""),
        "brand": escape(product.brand or ""),
        "unit": escape(product.unit),
        "tags": escape(join_list(product.tags, ";")),
        "categories": escape(join_list(sorted(paths[c.category_id] for c in product.categories), ";")),
        "taxable": cell_text(product.tax.taxable),
        "tax rate": cell_text(product.tax.rate),
        "vat type": product.tax.vat_type or "",
        "tax code": escape(product.tax.code or ""),
        "track quantity": cell_text(product.track_quantity),
        "visible online": cell_text(product.visible_online),
        "weight grams": cell_text(product.weight_grams),
        "expiry date": cell_text(product.expiry_date),
        "currency": product.main.price.currency,
    }


def _variant_cells(variant: Variant) -> dict[str, str]:
    return {
        "sku": escape(variant.sku, code=True),
        "barcode": escape(variant.barcode or "", code=True),
        "variant name": escape(variant.name),
        "active": cell_text(variant.active),
    }


def _price_cells(price: Price) -> dict[str, str]:
    cells = {
        name: cell_text(None if minor is None else from_minor(minor, price.currency))
        for name, field in MONEY.items()
        for minor in [getattr(price, field.removeprefix("price."))]
    }
    return cells | {
        "promo starts at": cell_text(price.promo_starts_at),
        "promo ends at": cell_text(price.promo_ends_at),
        "wholesale min quantity": cell_text(price.wholesale_min_quantity),
    }


def _stock_cells(
    variant: Variant,
    levels: Mapping[tuple[UUID, UUID], StockLevel],
    labels: Mapping[UUID, str],
    names: Sequence[str] = tuple(STOCK),
) -> dict[str, str]:
    cells = {}
    for store_id, label in labels.items():
        level = levels.get((variant.variant_id, store_id))
        if level is not None:
            # What lies there stands twice: an import sets the one where the other is still so.
            figures = (level.on_hand, level.on_hand, level.reorder_level, level.reorder_quantity)
            for name, figure in zip(STOCK, figures, strict=True):
                if name in names:
                    cells[f"{name} @ {label}"] = cell_text(figure)
    return cells


def cell_text(value: Any) -> str:
    """A value as it stands in a file."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return format(value.normalize() + 0, "f")
        case datetime():
            return value.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
    return str(value)


async def export_csv(context: Context) -> AsyncIterator[bytes]:
    """The export as CSV in UTF-8 with a mark, by which spreadsheets know it."""
    async for piece in _written(export_products(context)):
        yield piece


async def export_jsonl(context: Context) -> AsyncIterator[bytes]:
    """The export as JSON lines. Every object has every column, so that the first one names them all."""
    names: list[str] = []
    async for row in export_products(context):
        if not names:
            names = row
            continue
        yield msgspec.json.encode(dict(zip(names, row, strict=True))) + b"\n"


async def export_xlsx(context: Context) -> AsyncIterator[bytes]:
    """The export as a spreadsheet with money and quantities as numbers. Raises TableWrong when it is full."""
    async for piece in write_xlsx(export_products(context), "Products", is_number):
        yield piece


# How products are exported, by the ending of the file's name.
EXPORTS: Mapping[str, Callable[[Context], AsyncIterator[bytes]]] = {
    "csv": export_csv,
    "jsonl": export_jsonl,
    "xlsx": export_xlsx,
}


async def failed_rows(context: Context, import_id: UUID) -> AsyncIterator[bytes]:
    """The rows of an import that failed, as a file that can be loaded again: with the reason beside each.

    Raises ImportNotFound.
    """
    context.require(Permission.STOCK_WRITE)
    run = await read_run(context, import_id)
    keep = [place for place, name in enumerate(run.header) if name.strip().casefold() not in ("error", "row")]

    async def rows() -> AsyncIterator[list[str]]:
        yield [*(run.header[place] for place in keep), "row", "error"]
        async for line in read_failed(context, import_id):
            number, said, cells = msgspec.json.decode(line, type=tuple[int, str, list[str]])
            cells += [""] * (len(run.header) - len(cells))
            yield [*(cells[place] for place in keep), str(number), said]

    async for piece in _written(rows()):
        yield piece


async def _written(rows: AsyncIterator[Sequence[str]]) -> AsyncIterator[bytes]:
    out = io.StringIO()
    out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\r\n")
    async for row in rows:
        writer.writerow(row)
        if out.tell() > 64 * 1024:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()
