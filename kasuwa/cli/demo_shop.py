"""The demo's shop: a merchant with two locations, categories, and products with photographs and stock.

Everything goes through the domain's own verbs, as anybody's would. Each step first looks whether it was done:
a fill that was cut short goes on where it stopped.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec import Struct

import kasuwa
from kasuwa.base.context import Caller, Context, MerchantId, StoreId, UserId
from kasuwa.base.problems import Problem
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.categories import create_category, find_category_id
from kasuwa.domain.catalogue.queries import find_sku, get_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from kasuwa.domain.media.actions import show_picture
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS, Place
from kasuwa.domain.merchants.actions import found_merchant, join_store, open_store
from kasuwa.domain.merchants.authentication import find_login
from kasuwa.domain.merchants.records import NewOwner, NewStore
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, Role
from kasuwa.domain.stores.queries import read_store_ids

USERNAME = "demo"
EMAIL = "demo@kasuwa.example"
_INDEX = "photographs.json"
PHOTOGRAPHS = Path(kasuwa.__file__).parent.parent / ".cache" / "demo-photographs"

_PRODUCTS = Path(kasuwa.__file__).parent / "demo_products.json"
_FILL_LOCK = 5_218_730_664  # any number, so long as it is always the same one
_AT_ONCE = 4


_IKEJA = NewStore(
    name="Kasuwa Demo, Ikeja",
    country="Nigeria",
    country_code="NG",
    state="Lagos",
    state_code="NG-LA",
    city="Ikeja",
    currency="NGN",
    tax_rate=Decimal("7.5"),
    vat_type="inclusive",
)
_WUSE = msgspec.structs.replace(
    _IKEJA, name="Kasuwa Demo, Wuse", state="Federal Capital Territory", state_code="NG-FC", city="Abuja"
)


class NoPhotographs(Problem):
    code = "no-demo-photographs"
    title = "The demo's photographs are not installed"


class DemoProduct(Struct, frozen=True):
    """One line of demo_products.json; `photograph` names a file of the photographs' folder."""

    sku: str
    name: str
    category: str
    price_minor: int
    description: str
    photograph: str
    alt_text: str


class DemoCatalogue(Struct, frozen=True):
    currency: str
    products: tuple[DemoProduct, ...]


class DemoShop(Struct, frozen=True):
    """Where the demo's merchant stands in the data."""

    merchant_id: UUID
    user_id: UUID
    store_ids: tuple[UUID, ...]


def read_catalogue() -> DemoCatalogue:
    return msgspec.json.decode(_PRODUCTS.read_bytes(), type=DemoCatalogue)


def check_photographs(folder: Path, catalogue: DemoCatalogue) -> None:
    """Raises NoPhotographs, which says how to come by them."""
    missing = [p.photograph for p in catalogue.products if not (folder / p.photograph).is_file()]
    if missing:
        raise NoPhotographs(
            f"{len(missing)} of the demo's {len(catalogue.products)} photographs are not in {folder}. In a "
            "clone `make serve` (or `python -m tools.demo_photographs`) installs them; elsewhere name a "
            "folder that has them by --photographs."
        )


class Credit(Struct, frozen=True):
    """Whom to thank for a photograph: a line of the index that set-up writes beside them."""

    file: str
    photographer: str
    source: str
    licence: str


def read_credits(folder: Path) -> dict[str, Credit]:
    """The credits of the folder's photographs by file; none of a folder of one's own."""
    index = folder / _INDEX
    if not index.is_file():
        return {}
    return {one.file: one for one in msgspec.json.decode(index.read_bytes(), type=list[Credit])}


async def find_shop(context: Context) -> DemoShop | None:
    """The demo's merchant, if it has been founded."""
    login = await find_login(context.services.pool, USERNAME)
    if login is None:
        return None
    async with context.services.pool.transaction(UUID(int=login.merchant_id.int)) as db:
        store_ids = await read_store_ids(db)
    return DemoShop(UUID(int=login.merchant_id.int), UUID(int=login.user_id.int), tuple(store_ids))


def owner_at(context: Context, shop: DemoShop, store_id: UUID) -> Context:
    """The demo's owner at a store."""
    return context.acting_as(
        Caller(
            kind="user",
            id=str(shop.user_id),
            merchant_id=MerchantId(shop.merchant_id),
            store_id=StoreId(store_id),
            user_id=UserId(shop.user_id),
            role=Role.OWNER,
            permissions=PERMISSIONS_OF_ROLE[Role.OWNER],
        )
    )


@asynccontextmanager
async def filling(context: Context) -> AsyncIterator[None]:
    """One fill at a time on one database; the others wait, and then find everything done."""
    pool = context.services.pool
    connection = await pool.acquire()
    try:
        # Waiting in the server would meet the connection's time limit.
        taken = "SELECT pg_try_advisory_lock($1)"
        while not await connection.fetchval(taken, _FILL_LOCK):  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(0.2)
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _FILL_LOCK)
        await pool.release(connection)


async def found_shop(context: Context, password_hash: str) -> DemoShop:
    """Found the demo's merchant with its first location. Raises LoginNameTaken."""
    owner = NewOwner(
        username=USERNAME,
        email=EMAIL,
        mobile="+2348030000000",
        first_name="Amina",
        last_name="Bello",
        password_hash=password_hash,
        is_verified=True,
    )
    _, founded = await found_merchant(context, _IKEJA, owner)
    return DemoShop(founded.merchant_id, founded.user_id, (founded.store_id,))


async def fill_shop(context: Context, shop: DemoShop, photographs: Path) -> int:
    """Bring every product, its picture and its stock; answer how many products the demo has."""
    catalogue = read_catalogue()
    check_photographs(photographs, catalogue)
    acting = owner_at(context, shop, shop.store_ids[0])
    if len(shop.store_ids) == 1:
        shop = await _open_second(acting, shop)
    categories = {
        name: await _category(acting, name) for name in dict.fromkeys(p.category for p in catalogue.products)
    }
    product_ids = [
        await _product(acting, shop, place, product, catalogue.currency, categories[product.category])
        for place, product in enumerate(catalogue.products)
    ]
    slots = asyncio.Semaphore(_AT_ONCE)
    credited = read_credits(photographs)

    async def show(product_id: UUID, product: DemoProduct) -> None:
        credit = credited.get(product.photograph)
        by = "" if credit is None else f" (photograph: {credit.photographer})"
        file = photographs / product.photograph
        async with slots:
            at_home = owner_at(context, shop, shop.store_ids[0])
            await _picture(at_home, product_id, file, product.alt_text + by)

    async with asyncio.TaskGroup() as tasks:
        for product_id, product in zip(product_ids, catalogue.products, strict=True):
            tasks.create_task(show(product_id, product))
    return len(product_ids)


async def _open_second(acting: Context, shop: DemoShop) -> DemoShop:
    async with acting.transaction() as db:
        second = await open_store(acting, db, _WUSE)
        await join_store(db, shop.user_id, second.store_id, Role.OWNER)
    return msgspec.structs.replace(shop, store_ids=(*shop.store_ids, second.store_id))


async def _category(acting: Context, name: str) -> UUID:
    async with acting.reading() as db:
        found = await find_category_id(db, name)
    return found or await create_category(acting, name)


async def _product(
    acting: Context, shop: DemoShop, place: int, product: DemoProduct, currency: str, category_id: UUID
) -> UUID:
    async with acting.reading() as db:
        found = await find_sku(db, product.sku)
    if found is not None:
        return UUID(int=found[0].int)
    price = Price(
        currency=currency,
        selling_minor=product.price_minor,
        cost_minor=product.price_minor * 7 // 1000 * 100,
    )
    # Different everywhere, nothing at a few, and the same at every fill.
    quantities = (3 + place * 7 % 40, place * 5 % 23)
    opening = tuple(
        OpeningStock(store_id, Decimal(quantity), reorder_level=Decimal(5), reorder_quantity=Decimal(20))
        for store_id, quantity in zip(shop.store_ids, quantities, strict=False)
    )
    created = await create_product(
        acting,
        NewProduct(
            name=product.name,
            description=product.description,
            category_ids=(category_id,),
            visible_online=True,
            variants=(NewVariant(price=price, sku=product.sku, opening=opening),),
        ),
    )
    return created.product_id


async def _picture(acting: Context, product_id: UUID, file: Path, alt_text: str) -> None:
    if (await get_product(acting, product_id)).pictures:
        return
    content = await asyncio.to_thread(file.read_bytes)
    kept = await keep_bytes(acting, content, STOREHARMONY_FORMATS)
    await show_picture(acting, product_id, kept, Place(alt_text=alt_text))
