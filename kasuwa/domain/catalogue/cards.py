"""Cards: what a list shows of a product, written with every change in the words of each API.

An API registers how its card reads; a list is then one statement that joins cards with live stock.
"""

from collections.abc import Callable, Sequence
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
    now = datetime.now(UTC)
    rows = [
        (product.product_id, dialect, renderer(product), _changes_at(product, now))
        for product in products
        for dialect, renderer in _renderers.items()
    ]
    await db.execute(
        """
        INSERT INTO product_card (merchant_id, product_id, dialect, body, body_without_cost, stale_at)
        SELECT current_merchant(), c.*
        FROM unnest(:ids::uuid[], :dialects::text[], :bodies::text[], :without::text[],
                    :stale::timestamptz[]) c
        ON CONFLICT (merchant_id, dialect, product_id) DO UPDATE SET
          body = excluded.body, body_without_cost = excluded.body_without_cost, stale_at = excluded.stale_at
        """,
        ids=[row[0] for row in rows],
        dialects=[row[1] for row in rows],
        bodies=[_left_open(row[2].body) for row in rows],
        without=[_left_open(row[2].body_without_cost) for row in rows],
        stale=[row[3] for row in rows],
    )
    return products


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
    return min(
        (at for at in (variant.price.changes_at(now) for variant in (product.main, *product.variants)) if at),
        default=None,
    )


class _CardRow(Struct, frozen=True):
    product_id: UUID
    dialect: str
    body: str
    body_without_cost: str | None
    is_stale: bool


async def card_faults(db: Database, product_ids: Sequence[UUID]) -> list[str]:
    """What is wrong with the stored cards of these products, in words; a card past its time is not."""
    rows = await db.all(
        """
        SELECT product_id, dialect, body, body_without_cost, coalesce(stale_at <= now(), false) AS is_stale
        FROM product_card
        WHERE merchant_id = current_merchant() AND product_id = ANY(:ids::uuid[])
        """,
        into=_CardRow,
        ids=list(product_ids),
    )
    stored = {(row.product_id, row.dialect): row for row in rows}
    faults = []
    for product in await read_products(db, product_ids):
        for dialect, renderer in _renderers.items():
            row = stored.get((product.product_id, dialect))
            fresh = renderer(product)
            wanted = (_left_open(fresh.body), _left_open(fresh.body_without_cost))
            if row is None:
                faults.append(f"product {product.product_id} has no card for {dialect}")
            elif not row.is_stale and (row.body, row.body_without_cost) != wanted:
                faults.append(f"the {dialect} card of product {product.product_id} is not what it should be")
    return faults
