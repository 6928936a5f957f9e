"""Writing many products at once: looked up, planned and written by the set, each with an outcome of its own.

Three steps in one transaction: what the rows name is looked up; a plan without the database says what becomes
of each; then each table is one statement. See docs/decisions/bulk.md.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from msgspec import Struct
from msgspec.structs import replace

from kasuwa.base.audit import AuditEntry, write_audits
from kasuwa.base.context import Context
from kasuwa.base.db import Database, passing_faults
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Problem, Unavailable
from kasuwa.domain.catalogue.actions import share_category_tree, slug_of
from kasuwa.domain.catalogue.bulk_changes import changed, changes_of, price_faults, sold
from kasuwa.domain.catalogue.bulk_counts import FIGURES, reckon_stock
from kasuwa.domain.catalogue.bulk_plan import (
    Known,
    Plan,
    Update,
    opening_faults,
    plan_rows,
    refuse_repeated,
    sku_of,
)
from kasuwa.domain.catalogue.bulk_records import (
    BulkProduct,
    BulkRow,
    FieldChange,
    OnDuplicate,
    Outcome,
    StockWish,
)
from kasuwa.domain.catalogue.bulk_rows import (
    VariantPlace,
    free_skus,
    insert_products,
    insert_variants,
    replace_categories,
    set_prices,
    update_products,
    update_variants,
)
from kasuwa.domain.catalogue.cards import cards_meanwhile
from kasuwa.domain.catalogue.choices import LIMITS, Limits, arrange_variants
from kasuwa.domain.catalogue.errors import ChoiceTaken, VariantsWrong
from kasuwa.domain.catalogue.numbers import Numbers
from kasuwa.domain.catalogue.price_feed import note_prices
from kasuwa.domain.catalogue.queries import read_products, read_stock, sku_key
from kasuwa.domain.catalogue.records import CategoryName, NewVariant, Price, Product, StockLevel
from kasuwa.domain.catalogue.variant_rows import follow_store_prices
from kasuwa.domain.inventory.actions import Opening, set_stocks
from kasuwa.domain.inventory.openings import may_open_at, open_new_balances
from kasuwa.domain.permissions import Permission

_RACES = ("variant_sku", "variant_barcode")
_TRIES = 4
# So many at once may be the first of a shop: the planner is told what the tables hold.
_MANY = 100


async def write_products(
    context: Context,
    rows: Sequence[BulkRow],
    *,
    on_duplicate: OnDuplicate = "fail",
    atomic: bool = False,
    stock: StockWish = "kept",
    numbers: Numbers | None = None,
    limits: Limits = LIMITS,
) -> list[Outcome]:
    """Make the products, or update those whose SKU is there; an outcome for each row, in their order.

    With `atomic` nothing is written when any row fails. `stock` says what an update does with quantities that
    are given: a row that expects something else than what lies there fails. A few hundred rows at a time;
    raises Unavailable when others keep taking the same SKUs meanwhile. `numbers` is where new products and
    variants have theirs from, `limits` how many variants a product may have.
    """
    context.require(Permission.STOCK_WRITE)
    if stock != "kept":
        context.require(Permission.STOCK_QUANTITY)
    wish = _Wish(on_duplicate, atomic, stock, numbers or Numbers(), limits)
    async with context.transaction() as db:
        await share_category_tree(db)
        return await _write_or_part(context, db, refuse_repeated(rows), wish)


class _Wish(Struct, frozen=True):
    on_duplicate: OnDuplicate
    atomic: bool
    stock: StockWish
    numbers: Numbers
    limits: Limits


async def _write_or_part(
    context: Context, db: Database, rows: Sequence[BulkRow], wish: _Wish
) -> list[Outcome]:
    """Write the rows together; what the database refuses of them is found by halves."""
    try:
        return await _try_to_write(context, db, rows, wish)
    except Unavailable:
        raise
    except Problem as problem:
        if wish.atomic:
            raise
        if len(rows) == 1:
            faults = problem.faults or (FieldFault("", problem.code, problem.detail or problem.title),)
            return [Outcome(status="failed", sku=sku_of(rows[0]), faults=faults)]
    half = len(rows) // 2
    first = await _write_or_part(context, db, rows[:half], wish)
    return first + await _write_or_part(context, db, rows[half:], wish)


async def _try_to_write(
    context: Context, db: Database, rows: Sequence[BulkRow], wish: _Wish
) -> list[Outcome]:
    for _ in range(_TRIES):
        try:
            # Not inside a transaction() of its own: that would fail the whole one with the attempt.
            async with context.attempt():
                with wish.numbers.attempt(), passing_faults():
                    return await _write(context, db, rows, wish)
        except asyncpg.UniqueViolationError as error:
            # Somebody took a SKU between the look and the write: looked up again, it is a duplicate.
            if error.constraint_name not in _RACES:
                raise
        except _Vanished:
            continue
    raise Unavailable("Others are writing the same SKUs at this moment. Try again.")


async def _write(context: Context, db: Database, rows: Sequence[BulkRow], wish: _Wish) -> list[Outcome]:
    plan = plan_rows(rows, await _look_up(context, db, rows), wish.on_duplicate, wish.limits)
    await _prepare_updates(context, db, plan, wish)
    if wish.atomic and plan.has_failed():
        return plan.outcomes_of_nothing()
    await _create(context, db, plan, wish.numbers)
    await _update(context, db, plan, wish.numbers)
    return plan.outcomes()


class _Vanished(Exception):
    """A product went away between the look and its lock: looked up again, its SKUs are free."""


class _Sku(Struct, frozen=True):
    sku_key: str
    barcode: str | None
    product_id: UUID
    variant_id: UUID
    product_kind: str


FIND_SKUS = """
    SELECT v.sku_key, v.barcode, v.product_id, v.variant_id, p.kind AS product_kind
    FROM variant v
    JOIN product p ON p.merchant_id = v.merchant_id AND p.product_id = v.product_id
    WHERE v.merchant_id = current_merchant() AND NOT v.archived AND v.sku_key = ANY(:keys::text[])
"""
FIND_BARCODES = """
    SELECT v.sku_key, v.barcode, v.product_id, v.variant_id, '' AS product_kind
    FROM variant v
    WHERE v.merchant_id = current_merchant() AND NOT v.archived AND v.barcode = ANY(:barcodes::text[])
"""


def _category_name(category_id: UUID, number: int, name: str, path: list[str]) -> CategoryName:
    return CategoryName(category_id, number, name, tuple(path))


class _Unit(Struct, frozen=True):
    unit: str
    decimals: int


async def _look_up(context: Context, db: Database, rows: Sequence[BulkRow]) -> Known:
    """What is there of all that the rows name."""
    products = [row.new for row in rows if isinstance(row, BulkProduct)]
    variants = [variant for row in rows if isinstance(row, BulkProduct) for variant in row.sold]
    found = await db.all(
        FIND_SKUS,
        into=_Sku,
        keys=[sku_key(variant.sku) for variant in variants if variant.sku],
    )
    coded = await db.all(
        FIND_BARCODES,
        into=_Sku,
        barcodes=[variant.barcode for variant in variants if variant.barcode],
    )
    categories = await db.all(
        """
        SELECT category_id, number, name, path FROM category
        WHERE merchant_id = current_merchant() AND category_id = ANY(:ids::uuid[])
        """,
        into=_category_name,
        ids=list({category_id for new in products for category_id in new.category_ids}),
    )
    return Known(
        decimals=await _read_decimals(db, {new.unit for new in products}),
        skus={row.sku_key: (row.product_id, row.product_kind) for row in found},
        barcodes={row.barcode: row.sku_key for row in coded if row.barcode},
        store_ids=frozenset(await may_open_at(context, db)),
        categories={category.category_id: category for category in categories},
    )


async def _read_decimals(db: Database, units: set[str]) -> dict[str, int]:
    """How many decimals a quantity has in each of the units."""
    found = await db.all(
        "SELECT unit, unit_decimals(unit) AS decimals FROM unnest(:units::text[]) AS unit",
        into=_Unit,
        units=list(units),
    )
    return {row.unit: row.decimals for row in found}


async def _prepare_updates(context: Context, db: Database, plan: Plan, wish: _Wish) -> None:
    """Hold the products that are to change, and reckon what changes of each."""
    if not plan.updates:
        return
    ids = sorted({update.product_id for update in plan.updates})
    # Archived ones have given their SKUs free, so that none of them is here.
    await db.values(
        """
        SELECT product_id FROM product
        WHERE merchant_id = current_merchant() AND product_id = ANY(:ids::uuid[])
        ORDER BY product_id FOR UPDATE
        """,
        ids=ids,
    )
    products = {product.product_id: product for product in await read_products(db, ids)}
    levels: dict[tuple[UUID, UUID], StockLevel] = {}
    if any(update.row.gives(figure) for update in plan.updates for figure in FIGURES):
        found = await read_stock(db, ids)
        levels = {(level.store_id, level.variant_id): level for level in found}
    decimals = plan.known.decimals | await _read_decimals(db, {one.unit for one in products.values()})
    for update in plan.updates:
        held = products.get(update.product_id)
        if held is None:
            raise _Vanished()
        update.held = held
        # What the caller's store shows is what it changes: its own price, where it has one.
        before = update.before = held.at(context.store_id)
        try:
            update.after = changed(before, update.row, plan.known.categories)
            update.changes = list(changes_of(before, update.after))
            _reckon_variants(update, levels, wish, decimals[update.after.unit], context.store_id)
        except (VariantsWrong, ChoiceTaken) as wrong:
            plan.fail(update.index, wrong.faults)
            continue
        faults = [
            fault
            for place, variant in enumerate(sold(update.after))
            for fault in price_faults(variant.price, f"{update.row.pointer(place)}/prices")
        ]
        if faults:
            plan.fail(update.index, faults)
    plan.updates = [update for update in plan.updates if not plan.is_failed(update.index)]


def _reckon_variants(
    update: Update,
    levels: dict[tuple[UUID, UUID], StockLevel],
    wish: _Wish,
    decimals: int,
    store_id: UUID,
) -> None:
    """Which variants come to the product, and what was counted of those that are there."""
    before, row = update.before, update.row
    known = {sku_key(variant.sku): variant for variant in sold(before)}
    faults: list[FieldFault] = []
    # What a product with variants keeps of its own is not counted, but may say when to order again.
    for opening in row.new.main.opening if row.new.main else ():
        level = levels.get((opening.store_id, before.main.variant_id))
        faults += reckon_stock(update, before.main, opening, level, wish.stock)
    for place, new in enumerate(row.new.variants, start=1):
        variant = known.get(sku_key(new.sku)) if new.sku else None
        if variant is None:
            update.added.append(new)
            price = new.price or _price_of_added(update, store_id)
            faults += opening_faults(new, price, update.after.unit, decimals, row.pointer(place))
            continue
        for opening in new.opening:
            level = levels.get((opening.store_id, variant.variant_id))
            faults += reckon_stock(update, variant, opening, level, wish.stock)
    if faults:
        raise VariantsWrong(faults=faults)
    if update.added:
        options = update.after.options
        added = arrange_variants(options, update.added, sold=before.variants, limits=wish.limits)
        update.added = list(added)
        update.changes += [FieldChange(new.sku or "", "variant", None, new.name) for new in update.added]


def _price_of_added(update: Update, store_id: UUID) -> Price:
    """The common price that new variants follow: where the store changes its own, that one stayed."""
    return (update.held if update.held.main.has_price_at(store_id) else update.after).main.price


async def _create(context: Context, db: Database, plan: Plan, numbers: Numbers) -> None:
    if not plan.creations:
        return
    made = [(new_id(), row) for _, row in plan.creations]
    first = await numbers.take(db, "product", len(made))
    named = [(made_id, row.new.slug or slug_of(row.new.name), row.new) for made_id, row in made]
    await insert_products(context, db, first, named)
    places = [
        _Place(product_id, position, row.main_price, variant)
        for product_id, row in made
        for position, variant in enumerate(row.sold, start=1 if row.new.kind == "simple" else 0)
    ]
    await _add_variants(context, db, places, numbers)
    products = await read_products(db, [product_id for product_id, _ in made])
    async with cards_meanwhile(db, products):
        await note_prices(context, db, [(None, product) for product in products])
        entries = [AuditEntry(subject_id=p.product_id, after=_audited(p)) for p in products]
        await write_audits(context, db, "product.create", "product", entries)
    if len(made) >= _MANY:
        await db.value("SELECT refresh_statistics()")
    for (index, _), product in zip(plan.creations, products, strict=True):
        plan.note(index, Outcome(status="created", product_id=product.product_id, sku=product.main.sku))


class _Place(Struct, frozen=True):
    """Where a variant comes; position 0 is what a product with variants keeps of its own."""

    product_id: UUID
    position: int
    main_price: Price
    new: NewVariant


async def _add_variants(context: Context, db: Database, places: Sequence[_Place], numbers: Numbers) -> None:
    """Insert variants with prices and opening stock."""
    first = await numbers.take(db, "variant", len(places))
    skus = await free_skus(db, first, [place.new.sku for place in places])
    placed = [
        VariantPlace(
            place.product_id, new_id(), place.position, sku, place.new.price or place.main_price, place.new
        )
        for place, sku in zip(places, skus, strict=True)
    ]
    await insert_variants(db, first, placed)
    openings = [
        Opening(
            place.product_id,
            place.variant_id,
            opening,
            place.price.cost_minor,
            is_sold=place.position > 0,
        )
        for place in placed
        for opening in place.new.opening
    ]
    await open_new_balances(context, db, openings)


async def _update(context: Context, db: Database, plan: Plan, numbers: Numbers) -> None:
    for update in plan.updates:
        outcome = Outcome(
            status="updated" if update.changes else "skipped",
            product_id=update.product_id,
            sku=update.before.main.sku,
            changes=tuple(update.changes),
        )
        plan.note(update.index, outcome)
    updates = [update for update in plan.updates if update.changes]
    if not updates:
        return
    await update_products(context, db, [update.after for update in updates])
    await _update_parts(context, db, updates, numbers)
    after = await read_products(db, [update.product_id for update in updates])
    async with cards_meanwhile(db, after):
        await note_prices(context, db, [(u.held, new) for u, new in zip(updates, after, strict=True)])
        entries = [
            AuditEntry(
                subject_id=new.product_id,
                before=_audited(update.before),
                after=_audited(new.at(context.store_id)),
            )
            for update, new in zip(updates, after, strict=True)
        ]
        await write_audits(context, db, "product.update", "product", entries)


async def _update_parts(context: Context, db: Database, updates: Sequence[Update], numbers: Numbers) -> None:
    """Categories, variants, prices and counts, as far as they change."""
    moved = [
        (update.product_id, [category.category_id for category in update.after.categories])
        for update in updates
        if update.after.categories != update.before.categories
    ]
    if moved:
        await replace_categories(db, moved)
    pairs = [
        pair
        for update in updates
        for pair in zip(sold(update.before), sold(update.after), strict=True)
        if pair[0] != pair[1]
    ]
    if pairs:
        await update_variants(db, [after for _, after in pairs])
        here = context.store_id
        priced = [
            (a.variant_id, here if a.has_price_at(here) else None, a.price)
            for b, a in pairs
            if a.price != b.price
        ]
        if priced:
            context.require(Permission.STOCK_PRICE)
            await set_prices(db, priced)
    added = [
        _Place(
            update.product_id,
            max(variant.position for variant in sold(update.before)) + place,
            _price_of_added(update, context.store_id),
            new,
        )
        for update in updates
        for place, new in enumerate(update.added, start=1)
    ]
    if added:
        await _add_variants(context, db, added, numbers)
        await follow_store_prices(db, [update.product_id for update in updates if update.added])
    counts = [count for update in updates for count in update.counts]
    await set_stocks(context, db, counts, reason="counted in a file")


def _audited(product: Product) -> Product:
    return replace(product, pictures=())
