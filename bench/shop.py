"""A shop of thousands of products: one is made by the domain's verbs, the others are its rows again.

Cards are rendered by the APIs themselves, stock is booked through the ledger, both pictures are real files.
"""

import asyncio
import random
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
from msgspec import Struct

from bench.photograph import make_photograph
from kasuwa.base.context import Caller, Context, MerchantId, Services, StoreId, UserId
from kasuwa.base.ids import new_id
from kasuwa.base.passwords import hash_password
from kasuwa.cli.visiting import everything
from kasuwa.database import visiting_database
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.cards import refresh_cards
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from kasuwa.domain.media.actions import show_picture
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS, Place
from kasuwa.domain.merchants.actions import create_access_token, found_merchant, open_session
from kasuwa.domain.merchants.records import NewOwner, NewStore
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, Role
from kasuwa.settings import read_settings

PICTURES_EACH = 2
USERNAME = "bench@shop.example"
PASSWORD = "harmattan-kettle-29"
_AT_ONCE = 500
_MADE_OF = [
    "Cotton",
    "Leather",
    "Denim",
    "Silk",
    "Woollen",
    "Linen",
    "Rubber",
    "Steel",
    "Wooden",
    "Glass",
    "Clay",
    "Woven",
]
_KINDS = [
    "Sneaker",
    "Kaftan",
    "Agbada",
    "Handbag",
    "Lamp",
    "Kettle",
    "Blanket",
    "Sandal",
    "Bowl",
    "Chair",
    "Scarf",
    "Radio",
    "Torch",
    "Basket",
]


class BenchShop(Struct, frozen=True, kw_only=True):
    """Where the shop stands and who may come in: one merchant, one store, an owner with many sessions."""

    merchant_id: UUID
    store_id: UUID
    product_id: UUID
    sessions: tuple[str, ...]
    access_token: str


def build_shop(data: Path, *, products: int, sessions: int, seed: int = 7, breaking: str = "") -> BenchShop:
    """Fill a new data folder; its server must not run yet. `breaking` is SQL that makes the shop slow."""
    settings = read_settings({}, data=str(data))
    with visiting_database(settings) as urls:

        async def build() -> BenchShop:
            async with everything(settings, urls) as services:
                shop = await _build(services, products, sessions, random.Random(seed))
            owner = await asyncpg.connect(urls.owner)
            try:
                # What autovacuum does within minutes of such an import.
                await owner.execute("VACUUM ANALYZE")
                if breaking:
                    await owner.execute(breaking)
            finally:
                await owner.close()
            return shop

        return asyncio.run(build())


async def _build(services: Services, products: int, sessions: int, chance: random.Random) -> BenchShop:
    context, store_id, sessions_opened = await _found(services, sessions)
    token = await create_access_token(Context(services, request_id="bench"), store_id, ["read_product"])
    category_id = await create_category(context, "Household")
    new = NewProduct(
        name="Cotton Sneaker 0",
        variants=(
            NewVariant(
                price=Price(currency="NGN", selling_minor=1_250_000, cost_minor=900_000),
                sku="SKU-00000",
                barcode="6150000000000",
                opening=(OpeningStock(StoreId(store_id), Decimal(40), Decimal(5), Decimal(20)),),
            ),
        ),
        description="Made in Aba from local material; sturdy, easy to clean, and repaired free for a year.",
        brand="Kasuwa",
        unit="each",
        tags=("new", "household"),
        category_ids=(category_id,),
        visible_online=True,
        weight_grams=450,
    )
    template = (await create_product(context, new)).product_id
    for number in range(PICTURES_EACH):
        kept = await keep_bytes(context, make_photograph(800, 600, seed=number), STOREHARMONY_FORMATS)
        await show_picture(context, template, kept, Place(alt_text=f"View {number + 1}"))
    for first in range(1, products, _AT_ONCE):
        product_ids = await _multiply(
            context, template, range(first, min(first + _AT_ONCE, products)), chance
        )
        async with context.transaction() as db:
            await refresh_cards(db, product_ids)
    return BenchShop(
        merchant_id=context.merchant_id,
        store_id=store_id,
        product_id=template,
        sessions=tuple(sessions_opened),
        access_token=token.access_token,
    )


async def _found(services: Services, sessions: int) -> tuple[Context, UUID, list[str]]:
    """A merchant; its owner at the first store, and the tokens of as many sessions."""
    store = NewStore(name="Bench", country_code="NG", country="Nigeria", currency="NGN")
    owner = NewOwner(
        username=USERNAME,
        email=USERNAME,
        mobile="+2348031234567",
        first_name="Ada",
        last_name="Obi",
        password_hash=await hash_password(PASSWORD),
        is_verified=True,
    )
    founder, founded = await found_merchant(Context(services, request_id="bench"), store, owner)
    context = founder.acting_as(
        Caller(
            kind="user",
            id=str(founded.user_id),
            merchant_id=MerchantId(founded.merchant_id),
            store_id=StoreId(founded.store_id),
            user_id=UserId(founded.user_id),
            role=Role.OWNER,
            permissions=PERMISSIONS_OF_ROLE[Role.OWNER],
        )
    )
    async with context.transaction() as db:
        opened = [await open_session(context, db, founded.user_id, founded.store_id) for _ in range(sessions)]
    return context, founded.store_id, [session.token for session in opened]


async def _multiply(context: Context, template: UUID, marks: range, chance: random.Random) -> list[UUID]:
    """The template's rows again for each mark, with a name, SKU, price and stock of its own."""
    names = [f"{chance.choice(_MADE_OF)} {chance.choice(_KINDS)} {mark}" for mark in marks]
    times = len(marks)
    product_ids = [new_id() for _ in names]
    async with context.transaction() as db:
        rows = {
            "product_ids": product_ids,
            "variant_ids": [new_id() for _ in names],
            "names": names,
            "prices": [chance.randrange(50_000, 5_000_000, 500) for _ in names],
            "product_number": await db.value("SELECT take_numbers('product', :n)", n=times),
            "variant_number": await db.value("SELECT take_numbers('variant', :n)", n=times),
            "picture_number": await db.value(
                "SELECT take_numbers('product_picture', :n)", n=PICTURES_EACH * times
            ),
            "template": template,
            "times": times,
            "first": marks.start,
        }
        for statement in _AGAIN:
            await db.execute(_ROWS + statement, **rows)
    return product_ids


_ROWS = """
    WITH a AS (
      SELECT r.*, :product_number::bigint + r.n - 1 AS product_number,
             :variant_number::bigint + r.n - 1 AS variant_number,
             :picture_number::bigint + r.n - 1 AS picture_number, :template::uuid AS template,
             :times::bigint AS times, :first::bigint + r.n - 1 AS mark
      FROM unnest(:product_ids::uuid[], :variant_ids::uuid[], :names::text[], :prices::bigint[])
           WITH ORDINALITY r (product_id, variant_id, name, price, n)
    )
"""

# A row of the template again, with what differs; then what lies on the shelf, through the ledger.
_AGAIN = (
    *(
        f"""
    INSERT INTO {table}
    SELECT (jsonb_populate_record(t, {differing})).* FROM {table} t, a WHERE {of_template}
    """
        for table, of_template, differing in (
            (
                "product",
                "t.product_id = a.template",
                """jsonb_build_object('product_id', a.product_id, 'number', a.product_number, 'name', a.name,
               'sort_name', lower(a.name), 'slug', replace(lower(a.name), ' ', '-'))""",
            ),
            (
                "product_category",
                "t.product_id = a.template",
                "jsonb_build_object('product_id', a.product_id)",
            ),
            (
                "variant",
                "t.product_id = a.template",
                """jsonb_build_object('product_id', a.product_id, 'variant_id', a.variant_id,
               'number', a.variant_number, 'sku', 'SKU-' || a.mark, 'sku_key', 'sku-' || a.mark,
               'barcode', (6150000000000 + a.mark)::text)""",
            ),
            (
                "price",
                "t.variant_id = (SELECT variant_id FROM variant WHERE product_id = a.template)",
                "jsonb_build_object('variant_id', a.variant_id, 'selling_minor', a.price)",
            ),
            (
                "product_picture",
                "t.product_id = a.template",
                """jsonb_build_object('product_id', a.product_id, 'product_picture_id', gen_random_uuid(),
               'number', a.picture_number + CASE WHEN t.is_thumbnail THEN 0 ELSE a.times END)""",
            ),
            (
                "stock_balance",
                "t.product_id = a.template",
                """jsonb_build_object('product_id', a.product_id, 'variant_id', a.variant_id, 'on_hand', 0,
               'cost_value', 0, 'average_cost', NULL, 'seq', 0, 'head', '\\x')""",
            ),
        )
    ),
    """
    SELECT count(*) FROM move_stock((
      SELECT jsonb_agg(jsonb_build_object(
        'line', a.n, 'store_id', b.store_id, 'variant_id', a.variant_id, 'kind', 'opening',
        'state', 'on_hand', 'change', a.n % 90, 'actor', 'bench', 'device', '',
        'reason', 'opening stock', 'reference', '', 'note', '', 'party', '', 'request_id', ''))
      FROM a JOIN stock_balance b ON b.merchant_id = current_merchant() AND b.variant_id = a.variant_id))
    """,
)
