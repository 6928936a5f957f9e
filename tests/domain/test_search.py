"""The one search: typing errors found, hostile words bounded, words kept by whoever changes a product."""

import asyncio
import json
import random
import unicodedata
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

import kasuwa
from bench.misspellings import misspelt
from bench.names import name_of
from kasuwa.base.context import Context, Services
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.database import DatabaseUrls
from kasuwa.domain.catalogue.actions import ProductChange, create_product, remove_product, update_product
from kasuwa.domain.catalogue.cards import refresh_cards
from kasuwa.domain.catalogue.queries import sort_name
from kasuwa.domain.catalogue.stock_query import StockQuery, query_stock
from kasuwa.domain.upkeep.jobs import run_word_sweep
from tests.base.database import connected, undone
from tests.conftest import SchemaOwner
from tests.domain.test_catalogue import a_product
from tests.shop import Shop, new_shop

PRODUCTS, MISSPELLINGS, MOST_MISSED = 1_000, 1_000, 50
DIALECT = "storeharmony"


async def fill(context: Context, names: list[str]) -> dict[str, UUID]:
    """A product of each name, in as few statements as there are tables."""
    ids = {name: new_id() for name in names}
    async with context.transaction() as db:
        number = await db.value("SELECT take_numbers('product', :n)", n=len(ids))
        rows = {"ids": list(ids.values()), "number": number}
        await db.execute(
            """
            INSERT INTO product (merchant_id, product_id, number, name, sort_name, slug)
            SELECT current_merchant(), r.id, :number::bigint + r.n - 1, r.name, r.sort_name, 'x'
            FROM unnest(:ids::uuid[], :names::text[], :sort_names::text[])
                 WITH ORDINALITY r (id, name, sort_name, n)
            """,
            names=list(ids),
            sort_names=[sort_name(name) for name in ids],
            **rows,
        )
        await db.execute(
            """
            INSERT INTO variant (merchant_id, variant_id, product_id, number, sku, sku_key)
            SELECT current_merchant(), r.id, r.id, :number::bigint + r.n - 1, 'N-' || r.n, 'n-' || r.n
            FROM unnest(:ids::uuid[]) WITH ORDINALITY r (id, n)
            """,
            **rows,
        )
        await db.execute(
            "INSERT INTO price (merchant_id, variant_id, currency, selling_minor)"
            " SELECT current_merchant(), id, 'NGN', 100 FROM unnest(:ids::uuid[]) id",
            ids=rows["ids"],
        )
        await refresh_cards(db, list(ids.values()))
    return ids


def demo_names() -> list[str]:
    content = json.loads((Path(kasuwa.__file__).parent / "demo_products.json").read_text("utf-8"))
    return [product["name"] for product in content["products"]]


@pytest.fixture(scope="module")
async def catalogue(services: Services) -> tuple[Context, dict[str, UUID]]:
    """The demo's products and others with names of real words."""
    context = (await new_shop(services)).owner
    names = dict.fromkeys([*demo_names(), *map(name_of, range(2 * PRODUCTS))])
    return context, await fill(context, list(names)[:PRODUCTS])


async def first_ten(context: Context, text: str, *, correcting: bool = True) -> list[UUID]:
    wanted = StockQuery(text=text, size=10, corrects_text=correcting)
    return [row.product_id for row in (await query_stock(context, DIALECT, wanted)).page.rows]


async def missed(
    context: Context, ids: dict[str, UUID], many: int, *, correcting: bool
) -> list[tuple[str, str]]:
    """Which of so many misspelt names do not find their product among the first ten."""
    chance = random.Random(43)
    of_demo = demo_names()
    names = [chance.choice(of_demo if n % 2 else list(ids)) for n in range(many)]
    wrong = [(name, misspelt(name, chance)) for name in names]
    return [
        (name, text)
        for name, text in wrong
        if ids[name] not in await first_ten(context, text, correcting=correcting)
    ]


async def test_a_thousand_misspelt_names_find_their_product_among_the_first_ten(
    catalogue: tuple[Context, dict[str, UUID]],
) -> None:
    lost = await missed(*catalogue, MISSPELLINGS, correcting=True)
    assert len(lost) <= MOST_MISSED, lost


async def test_without_corrections_most_of_them_are_missed(
    catalogue: tuple[Context, dict[str, UUID]],
) -> None:
    """The control."""
    assert len(await missed(*catalogue, 200, correcting=False)) > 100


# What anybody may type ---------------------------------------------------------------------------

HOSTILE = {
    "wildcards": "%_%\\%_",
    "tsquery": "a & b | !c <-> 'd':*A ( ) :* \\' !!",
    "quotes": "'; DROP TABLE product; -- \" ' '' $$ $1 :x",
    "long word": "x" * 10_000,
    "many words": "ab cd " * 2_000,
    "one letter often": "a " * 5_000,
    "marks": "\N{COMBINING GRAVE ACCENT}" * 10_000,
    "punctuation": "!?.,;:-_()[]{}/\\@#$%^&*+=~`|<>",
    "emoji": "\N{SHOPPING TROLLEY}\N{VARIATION SELECTOR-16} \N{WATERMELON}" * 100,
    "grows when normalised": "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 10_000,
    "digits": "1234567890" * 20,
    "right to left": "\N{RIGHT-TO-LEFT OVERRIDE}\u0645\u0644\u062d\N{POP DIRECTIONAL FORMATTING}",
    "lengthened": "\u0645" + "\u0640" * 9_000 + "\u0644\u062d",
    "control": "\x01\x02\x7f\x1b[2J",
    "backslash": "\\",
    "planes": "\U0010ffff\U0001f9ff\ufffd",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_words_find_at_most_little_and_cost_no_more_than_a_statement_may(
    catalogue: tuple[Context, dict[str, UUID]], text: str
) -> None:
    """Every statement of the application has a limit of five seconds: what goes beyond it fails here."""
    context, ids = catalogue
    found = (await query_stock(context, DIALECT, StockQuery(text=text))).page
    assert found.total <= len(ids)


NAMES = {
    "Ɗan wake da mai": ("dan wake", "ɗan wake", "DAN WAKE", "dna wake"),
    "Ƙosai mai zafi": ("kosai", "ƙosai", "kossai"),
    "Ɓawon gyaɗa": ("bawon gyada", "ɓawon"),
    "Ẹ̀wà àgànyìn": ("ewa aganyin", "ẹ̀wà", "ewa agayin"),
    "Ọ̀bẹ̀ ilá": ("obe ila", "ọbẹ", "OBE"),
    "ملح الطعام": ("ملح", "مِلْح", "الطعام"),
    "Men’s sandal": ("mens sandal", "men's", "men’s sandl"),
    "Crème brûlée": ("creme brulee", "CRÈME", "creme brulé"),
    "USB-C cable 2m": ("usb c", "usb-c cable", "cabel usb"),
}


@pytest.mark.parametrize(("name", "texts"), NAMES.items(), ids=NAMES)
async def test_names_of_every_script_are_found_as_people_type_them(
    context: Context, name: str, texts: tuple[str, ...]
) -> None:
    product = await create_product(context, a_product(name))
    for form in ("NFC", "NFD"):
        for text in (name, *texts):
            assert await first_ten(context, unicodedata.normalize(form, text)) == [product.product_id], text


# Who keeps the words -----------------------------------------------------------------------------


async def test_a_change_is_found_by_its_new_words_and_no_longer_by_the_old(context: Context) -> None:
    product = await create_product(context, a_product("Kettle"))
    await update_product(
        context, product.product_id, ProductChange(name="Teapot", brand="Indigo", tags=("clay",))
    )
    for text in ("teapot", "indigo", "clay", "tepaot"):
        assert await first_ten(context, text) == [product.product_id]
    assert await first_ten(context, "kettle", correcting=False) == []
    await remove_product(context, product.product_id)
    assert await first_ten(context, "teapot") == []


async def test_words_that_are_not_kept_are_not_found(context: Context, db: Database) -> None:
    """The control: without its row of words a product is not found."""
    product = await create_product(context, a_product("Kettle"))
    assert await first_ten(context, "kettle") == [product.product_id]
    await db.execute("DELETE FROM search_product WHERE merchant_id = current_merchant()")
    assert await first_ten(context, "kettle") == []


async def bring_words_crosswise(shop: Shop, urls: DatabaseUrls) -> None:
    """Two open transactions bring the same two new words, in opposite orders."""
    ids = list((await fill(shop.owner, ["one a", "one b", "other a", "other b"])).values())
    async with connected(urls.application) as one, connected(urls.application) as other:
        for connection in (one, other):
            await connection.execute(
                f"BEGIN; SET LOCAL app.merchant_id = '{shop.merchant_id}'; SET LOCAL lock_timeout = '200ms'"
            )
        for turn in (0, 1):
            for place, connection in enumerate((one, other)):
                word = ("zobo", "kunu")[(turn + place) % 2]
                await connection.execute(
                    "UPDATE product SET name = $1 WHERE merchant_id = $2 AND product_id = $3",
                    word,
                    shop.merchant_id,
                    ids[2 * place + turn],
                )
        await one.execute("COMMIT")
        await other.execute("COMMIT")


async def test_many_writers_bring_the_same_new_words_and_none_waits_for_another(
    shop: Shop, database_urls: DatabaseUrls
) -> None:
    await bring_words_crosswise(shop, database_urls)
    for text in ("zobo", "zbo", "kunu", "kkunu"):
        assert len(await first_ten(shop.owner, text)) == 2


async def test_with_a_key_on_the_word_alone_they_would_wait(
    shop: Shop, database_urls: DatabaseUrls, schema_owner: SchemaOwner
) -> None:
    """The control: each would wait for the other, until one of them is refused."""
    await schema_owner.execute(
        "CREATE UNIQUE INDEX one_word ON search_word (merchant_id, word)"
        f" WHERE merchant_id = '{shop.merchant_id}'"
    )
    try:
        with pytest.raises(asyncpg.LockNotAvailableError):
            await bring_words_crosswise(shop, database_urls)
    finally:
        await schema_owner.execute("DROP INDEX one_word")


async def test_products_made_at_once_are_all_found(context: Context) -> None:
    names = [f"Fura da nono {n}" for n in range(16)]
    made = await asyncio.gather(*(create_product(_again(context), a_product(name)) for name in names))
    found = await query_stock(context, DIALECT, StockQuery(text="furra da nono"))
    assert {row.product_id for row in found.page.rows} == {product.product_id for product in made}


def _again(context: Context) -> Context:
    return context.acting_as(context.caller)


async def vocabulary(context: Context) -> list[str]:
    async with context.reading() as db:
        return await db.values(
            "SELECT word FROM search_word WHERE merchant_id = current_merchant() ORDER BY 1"
        )


async def test_the_sweep_leaves_one_row_of_each_word_that_a_product_has(
    shop: Shop, services: Services, database_urls: DatabaseUrls
) -> None:
    await bring_words_crosswise(shop, database_urls)
    gone = await create_product(shop.owner, a_product("Kettle"))
    await remove_product(shop.owner, gone.product_id)
    assert await vocabulary(shop.owner) == ["kettle", "kunu", "kunu", "one", "other", "zobo", "zobo"]
    await run_word_sweep(services, shop.merchant_id, {})
    assert await vocabulary(shop.owner) == ["kunu", "zobo"]


async def test_a_word_that_a_change_counted_on_while_it_was_swept_comes_back(
    shop: Shop, services: Services, schema_owner: SchemaOwner
) -> None:
    await create_product(shop.owner, a_product("Kettle"))
    await schema_owner.execute("DELETE FROM search_word WHERE merchant_id = $1", shop.merchant_id)
    assert await vocabulary(shop.owner) == []
    await run_word_sweep(services, shop.merchant_id, {})
    assert await vocabulary(shop.owner) == ["kettle"]


async def rows_read_whole(url: str, shop: Shop, product_ids: list[UUID], *, before: str = "") -> int:
    """Rows of tables read from end to end while words are written, with a plan that would rather do so.

    Such a plan is what a connection keeps that first wrote words when the tables were small.
    """
    async with undone(url) as owner:
        await owner.execute(f"SET LOCAL random_page_cost = 1000000; {before}")
        await owner.execute("SELECT write_search_words($1, $2)", shop.merchant_id, product_ids)
        rows: int = await owner.fetchval(
            "SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables"
            " WHERE relname IN ('product', 'variant', 'search_product', 'search_word')"
        )
        return rows


async def test_words_are_written_by_keys_however_small_the_tables_seemed(
    shop: Shop, database_urls: DatabaseUrls
) -> None:
    product = await create_product(shop.owner, a_product("Kettle"))
    ids = [product.product_id]
    assert await rows_read_whole(database_urls.owner, shop, ids) == 0
    control = "ALTER FUNCTION write_search_words RESET enable_seqscan"
    assert await rows_read_whole(database_urls.owner, shop, ids, before=control) > 0
