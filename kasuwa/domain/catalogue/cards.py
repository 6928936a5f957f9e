"""Cards: what a list shows of a product, written with every change in the words of each API.

An API registers how its card reads; a list is then one statement that joins cards with live stock.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from msgspec import Struct

from kasuwa.base.db import Database
from kasuwa.domain.catalogue.queries import read_products
from kasuwa.domain.catalogue.records import Product


class Card(Struct, frozen=True):
    """A JSON object as text; `body_without_cost` is for callers who may not see costs (None: the same)."""

    body: str
    body_without_cost: str | None = None


Renderer = Callable[[Product], Card]

_renderers: dict[str, Renderer] = {}


def register_card(dialect: str, renderer: Renderer) -> None:
    """Tell how the API's card of a product reads. Done once, when the application is put together."""
    _renderers[dialect] = renderer


async def refresh_cards(db: Database, product_ids: Sequence[UUID]) -> list[Product]:
    """Write the cards of the products anew, in the transaction of their change."""
    products = await read_products(db, product_ids)
    await _write_cards(db, _rendered(products))
    await _write_store_cards(db, [product for product in products if product.priced_store_ids])
    return products


@asynccontextmanager
async def cards_meanwhile(db: Database, products: Sequence[Product]) -> AsyncIterator[None]:
    """The cards of many products as they are now: rendered while the body writes what else there is of them,
    written after it."""
    rendering = asyncio.create_task(asyncio.to_thread(_rendered, products))
    try:
        yield
    finally:
        rows = await rendering
    await _write_cards(db, rows)
    await _write_store_cards(db, [product for product in products if product.priced_store_ids])


async def drop_store_cards(db: Database, product_id: UUID, store_ids: Sequence[UUID]) -> None:
    """These stores have no price of their own for the product any more."""
    await db.execute(
        "DELETE FROM store_card WHERE merchant_id = current_merchant() AND product_id = :product_id"
        " AND store_id = ANY(:ids::uuid[])",
        product_id=product_id,
        ids=list(store_ids),
    )


class _Rendered(Struct, frozen=True):
    product_id: UUID
    dialect: str
    card: Card
    stale_at: datetime | None
    has_store_cards: bool


def _rendered(products: Sequence[Product]) -> list[_Rendered]:
    now = datetime.now(UTC)
    return [
        _Rendered(
            product.product_id,
            dialect,
            renderer(product),
            _changes_at(product, now),
            bool(product.priced_store_ids),
        )
        for product in products
        for dialect, renderer in _renderers.items()
    ]


async def _write_cards(db: Database, rows: Sequence[_Rendered]) -> None:
    await db.execute(
        """
        INSERT INTO product_card (merchant_id, product_id, dialect, body, body_without_cost, stale_at,
                                  has_store_cards)
        SELECT current_merchant(), c.*
        FROM unnest(:ids::uuid[], :dialects::text[], :bodies::text[], :without::text[],
                    :stale::timestamptz[], :with_stores::boolean[]) c
        ON CONFLICT (merchant_id, dialect, product_id) DO UPDATE SET
          body = excluded.body, body_without_cost = excluded.body_without_cost, stale_at = excluded.stale_at,
          has_store_cards = excluded.has_store_cards
        """,
        ids=[row.product_id for row in rows],
        dialects=[row.dialect for row in rows],
        bodies=[_left_open(row.card.body) for row in rows],
        without=[_left_open(row.card.body_without_cost) for row in rows],
        stale=[row.stale_at for row in rows],
        with_stores=[row.has_store_cards for row in rows],
    )


async def _write_store_cards(db: Database, products: Sequence[Product]) -> None:
    rows = [
        (product.product_id, store_id, dialect, renderer(product.at(store_id)))
        for product in products
        for store_id in product.priced_store_ids
        for dialect, renderer in _renderers.items()
    ]
    if not rows:
        return
    await db.execute(
        """
        INSERT INTO store_card (merchant_id, product_id, store_id, dialect, body, body_without_cost)
        SELECT current_merchant(), c.*
        FROM unnest(:ids::uuid[], :stores::uuid[], :dialects::text[], :bodies::text[], :without::text[]) c
        ON CONFLICT (merchant_id, product_id, store_id, dialect) DO UPDATE SET
          body = excluded.body, body_without_cost = excluded.body_without_cost
        """,
        ids=[row[0] for row in rows],
        stores=[row[1] for row in rows],
        dialects=[row[2] for row in rows],
        bodies=[_left_open(row[3].body) for row in rows],
        without=[_left_open(row[3].body_without_cost) for row in rows],
    )


def _left_open(body: str | None) -> str | None:
    """Without its last brace: what a list adds to a card, it adds there."""
    assert body is None or body.endswith("}")
    return body and body[:-1]


async def refresh_stale_cards(db: Database) -> int:
    """Write the cards anew whose promotion has begun or ended since; answer how many products.

    A product that somebody changes at this moment is left out: that change writes its card.
    """
    ids = await db.values(
        """
        SELECT product_id FROM product p
        WHERE merchant_id = current_merchant() AND product_id IN (
          SELECT c.product_id FROM product_card c
          WHERE c.merchant_id = current_merchant() AND c.stale_at <= now()
          ORDER BY c.stale_at LIMIT 500
        )
        ORDER BY product_id
        FOR NO KEY UPDATE SKIP LOCKED
        """
    )
    await refresh_cards(db, ids)
    return len(ids)


async def rebuild_cards(db: Database, after: UUID | None, how_many: int) -> UUID | None:
    """Write the cards of the next products by id anew; answer the last one's id, None at the end."""
    ids = await db.values(
        """
        SELECT product_id FROM product
        WHERE merchant_id = current_merchant() AND (:after::uuid IS NULL OR product_id > :after)
        ORDER BY product_id LIMIT :how_many FOR UPDATE
        """,
        after=after,
        how_many=how_many,
    )
    if not ids:
        return None
    await refresh_cards(db, ids)
    return UUID(int=ids[-1].int)


def _changes_at(product: Product, now: datetime) -> datetime | None:
    """When a card of the product, the common one or a store's, next tells another price than it should."""
    variants = (product.main, *product.variants)
    prices = [variant.price for variant in variants]
    prices += [own.price for variant in variants for own in variant.store_prices]
    return min((at for at in (price.changes_at(now) for price in prices) if at), default=None)


class _CardRow(Struct, frozen=True):
    product_id: UUID
    store_id: UUID | None
    dialect: str
    body: str
    body_without_cost: str | None
    is_stale: bool
    has_store_cards: bool


async def card_faults(db: Database, product_ids: Sequence[UUID]) -> list[str]:
    """What is wrong with the stored cards of these products, in words; a card past its time is not."""
    rows = await db.all(
        """
        SELECT product_id, NULL::uuid AS store_id, dialect, body, body_without_cost,
               coalesce(stale_at <= now(), false) AS is_stale, has_store_cards
        FROM product_card
        WHERE merchant_id = current_merchant() AND product_id = ANY(:ids::uuid[])
        UNION ALL
        SELECT o.product_id, o.store_id, o.dialect, o.body, o.body_without_cost,
               coalesce(c.stale_at <= now(), false), true
        FROM store_card o
        LEFT JOIN product_card c
          ON c.merchant_id = o.merchant_id AND c.product_id = o.product_id AND c.dialect = o.dialect
        WHERE o.merchant_id = current_merchant() AND o.product_id = ANY(:ids::uuid[])
        """,
        into=_CardRow,
        ids=list(product_ids),
    )
    stored = {(row.product_id, row.store_id, row.dialect): row for row in rows}
    faults = []
    for product in await read_products(db, product_ids):
        stores = product.priced_store_ids
        for dialect, renderer in _renderers.items():
            for store_id in (None, *stores):
                row = stored.pop((product.product_id, store_id, dialect), None)
                fresh = renderer(product if store_id is None else product.at(store_id))
                faults += _faults_of(row, fresh, bool(stores), f"product {product.product_id}", dialect)
    faults += [
        f"product {row.product_id} has a card for {row.dialect} at a store without a price of its own"
        for row in stored.values()
        if row.store_id is not None
    ]
    return faults


def _faults_of(row: _CardRow | None, fresh: Card, with_stores: bool, what: str, dialect: str) -> list[str]:
    if row is None:
        return [f"{what} has no card for {dialect}"]
    wanted = (_left_open(fresh.body), _left_open(fresh.body_without_cost), with_stores)
    if not row.is_stale and (row.body, row.body_without_cost, row.has_store_cards) != wanted:
        return [f"the {dialect} card of {what} is not what it should be"]
    return []
