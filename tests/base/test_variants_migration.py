"""Products with variants that stood in a database before their options had a place of their own."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import msgspec
import pytest

from kasuwa.base.migrate import migrate, read_migrations
from kasuwa.base.postgres.bootstrap import bootstrap
from kasuwa.database import MIGRATIONS, DatabaseUrls
from tests.base.database import Connection, connected

MERCHANT, STORE, PRODUCT, SMALL, LARGE, PICTURE, PLACE = (uuid4() for _ in range(7))

_OPTIONS = [{"name": "Size", "values": ["L", "S"]}]
_ROWS: list[tuple[str, dict[str, Any]]] = [
    ("merchant", {"merchant_id": MERCHANT, "business_name": "Ada", "country_code": "NG", "currency": "NGN"}),
    (
        "store",
        {
            "store_id": STORE,
            "name": "Ada",
            "site_name": "ada",
            "store_hash": "abcde",
            "country_code": "NG",
            "currency": "NGN",
        },
    ),
    (
        "product",
        {
            "product_id": PRODUCT,
            "number": 1,
            "kind": "variant",
            "name": "Shirt",
            "sort_name": "shirt",
            "slug": "shirt",
            "extra": {"shoplazza": {"options": _OPTIONS, "spu": "1"}},
        },
    ),
    ("picture", {"picture_id": PICTURE, "sha256": "\\x01"}),
    (
        "product_picture",
        {
            "product_picture_id": PLACE,
            "number": 1,
            "product_id": PRODUCT,
            "picture_id": PICTURE,
            "sort_order": 0,
        },
    ),
    *(
        (
            "variant",
            {
                "variant_id": variant_id,
                "product_id": PRODUCT,
                "number": position,
                "position": position,
                "options": [{"name": "Size", "value": value}, {"name": "Cut", "value": "Slim"}],
                "sku": sku,
                "sku_key": sku.casefold(),
                "extra": extra,
            },
        )
        for position, (variant_id, value, sku, extra) in enumerate(
            (
                # The number that the product's own row gets is the third.
                (SMALL, "S", "K-000003", {"shoplazza": {"picture_id": str(PICTURE), "weight": "1"}}),
                (LARGE, "XL", "L", {}),
            ),
            start=1,
        )
    ),
    *(
        ("price", {"variant_id": variant_id, "currency": "NGN", "selling_minor": minor})
        for variant_id, minor in ((SMALL, 500), (LARGE, 600))
    ),
    *(
        ("stock_balance", {"store_id": STORE, "variant_id": variant_id, "product_id": PRODUCT})
        for variant_id in (SMALL, LARGE)
    ),
    ("merchant_counter", {"name": "variant", "value": 2}),
]


@pytest.fixture
async def before(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    """The schema's owner in a database that has every migration up to this one, and a shop."""
    name = f"migrated_{uuid4().hex}"
    await bootstrap(database_urls.admin, name)
    parts = urlsplit(database_urls.owner)
    async with connected(urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))) as owner:
        await migrate(owner, [one for one in read_migrations(MIGRATIONS) if one.name < "0042"])
        for table, row in _ROWS:
            columns = ", ".join({"merchant_id": None} | row)
            await owner.execute(
                f"INSERT INTO {table} ({columns})"
                f" SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1::jsonb)",
                msgspec.json.encode({"merchant_id": MERCHANT} | row).decode(),
            )
        yield owner
    async with connected(database_urls.admin) as admin:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_options_prices_and_pictures_get_their_place(before: Connection) -> None:
    await migrate(before, read_migrations(MIGRATIONS))
    product = await before.fetchrow("SELECT options::text, extra::text FROM product")
    assert product is not None
    assert msgspec.json.decode(product["options"]) == [
        {"name": "Size", "values": ["L", "S", "XL"]},
        {"name": "Cut", "values": ["Slim"]},
    ]
    assert msgspec.json.decode(product["extra"]) == {"shoplazza": {"spu": "1"}}
    rows = await before.fetch(
        """
        SELECT v.variant_id, v.position, v.number, v.sku, v.product_picture_id, v.extra::text, v.own_price,
               p.selling_minor, b.closed
        FROM variant v JOIN price p USING (merchant_id, variant_id)
        JOIN stock_balance b USING (merchant_id, variant_id) ORDER BY v.position
        """
    )
    own, small, large = (dict(row) for row in rows)
    assert own["sku"].startswith("K-000003-")
    assert (own["position"], own["number"], own["selling_minor"], own["closed"]) == (0, 3, 500, True)
    assert (small["variant_id"], small["product_picture_id"], small["closed"]) == (SMALL, PLACE, False)
    assert msgspec.json.decode(small["extra"]) == {"shoplazza": {"weight": "1"}}
    assert (large["product_picture_id"], large["own_price"], large["selling_minor"]) == (None, True, 600)
    assert await before.fetchval("SELECT value FROM merchant_counter WHERE name = 'variant'") == 3
    assert await before.fetchval("SELECT current_setting('app.merchant_id', true)") in (None, "")
