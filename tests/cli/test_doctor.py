"""The doctor finds each kind of fault, and nothing else: every check is shown to turn red and green again."""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from kasuwa.app import card_code, open_services
from kasuwa.base.context import Context
from kasuwa.base.http import metrics
from kasuwa.base.secrets import new_key
from kasuwa.cli.doctor.examination import ServerRuns, examine
from kasuwa.cli.doctor.report import Report
from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls, sealing_keys, serving_database
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS
from kasuwa.domain.stores.settings.actions import change_settings
from kasuwa.domain.stores.settings.pictures import set_picture
from kasuwa.domain.stores.settings.records import GatewayWish, SettingsChange
from kasuwa.domain.transfers.actions import receive_transfer, send
from kasuwa.domain.transfers.records import NewTransfer, Receipt, WantedLine
from kasuwa.domain.upkeep.jobs import CARDS_JOB, DAILY_JOB, LEDGER_JOB, enqueue_daily, enqueue_rebuild
from kasuwa.handover import WorkerSetup
from kasuwa.settings import Settings, read_settings
from tests.banking import new_account
from tests.cli.staging import Installation, add_product
from tests.conftest import picture_bytes
from tests.contract.proofs import begin_factor
from tests.shop import Shop, new_shop
from tests.transfers import at_store


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-doctor-"))
    folder.chmod(0o755)
    yield read_settings({}, data=str(folder))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def urls(settings: Settings) -> Iterator[DatabaseUrls]:
    with serving_database(settings) as found:
        yield found


@pytest.fixture(scope="module")
async def merchant_id(settings: Settings, urls: DatabaseUrls) -> str:
    """Two merchants; the first has two products with pictures and stock, and something on its way."""
    async with everything(settings, urls) as services:
        shop = await new_shop(services)
        await new_shop(services, name="Bola's Stores")
        for seed in (1, 2):
            await add_product(shop.owner, seed)
        await create_category(shop.owner, "Rice", parent_id=await create_category(shop.owner, "Food"))
        await send_some(shop)
        await new_account(shop.owner)
        await set_up_store(shop.owner)
        await begin_factor(shop, shop.user_id)
        return str(shop.merchant_id)


async def set_up_store(context: Context) -> None:
    """A BVN, a gateway with a secret, and a logo."""
    gateway = GatewayWish(gateway_id=None, provider="Paystack", secret_key="sk_secret")
    await change_settings(context, SettingsChange(secrets={"bvn": "22212345678"}, gateways=(gateway,)))
    kept = await keep_bytes(context, picture_bytes("PNG", size=(8, 6), seed=3), STOREHARMONY_FORMATS)
    await set_picture(context, "logo", kept)


async def send_some(shop: Shop) -> None:
    """Five of a product to the second location, of which two have arrived."""
    async with shop.owner.reading() as db:
        variant_id = await db.value("SELECT variant_id FROM variant ORDER BY number LIMIT 1")
    line = WantedLine(variant_id=variant_id, quantity=Decimal(5))
    sent = await send(shop.owner, NewTransfer(destination_id=shop.second_store_id, lines=(line,)))
    line_id = sent.transfer.lines[0].line_id
    arrived = Receipt(line_id=line_id, outcome="received", quantity=Decimal(2))
    there = at_store(shop.owner, shop.second_store_id)
    await receive_transfer(there, sent.transfer.transfer_id, [arrived])


@asynccontextmanager
async def superuser(settings: Settings, urls: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Past every trigger and policy, as a disk or a careless administrator is."""
    connection = await asyncpg.connect(urls.admin.replace("/postgres?", f"/{settings.database_name}?"))
    try:
        await connection.execute("SET session_replication_role = replica")
        yield connection
    finally:
        await connection.close()


def red(report: Report) -> dict[str, str]:
    """The checks that found something, with their first finding."""
    return {check.check: check.shown[0].text for check in report.checks if not check.ok}


async def test_whole_data_is_green_and_every_check_looked_at_something(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    report = await examine(settings, urls)
    assert red(report) == {}
    assert report.ok
    assert report.merchants == 2
    looked_at = {check.check: check.looked_at for check in report.checks}
    assert all(looked_at[name] > 0 for name in looked_at if name != "jobs given up"), looked_at


BROKEN_ROWS = {
    "ledger of stock": (
        "UPDATE stock_movement SET reason = 'opening stocK' WHERE kind = 'opening'",
        "UPDATE stock_movement SET reason = 'opening stock' WHERE kind = 'opening'",
        "changed after it was written",
    ),
    "ledger of stock_transfer": (
        "UPDATE stock_transfer_line SET received = received + 1",
        "UPDATE stock_transfer_line SET received = received - 1",
        "are in transit at store",
    ),
    "product counters": (
        "UPDATE merchant_counter SET value = value + 1 WHERE name = 'products.active'",
        "UPDATE merchant_counter SET value = value - 1 WHERE name = 'products.active'",
        "products.active says 3, and there are 2",
    ),
    "what merchants keep": (
        "UPDATE merchant_counter SET value = value + 1 WHERE name = 'kept.variants'",
        "UPDATE merchant_counter SET value = value - 1 WHERE name = 'kept.variants'",
        "the counter of variants says",
    ),
    "rising numbers": (
        "UPDATE merchant_counter SET value = value - 1 WHERE name = 'product'",
        "UPDATE merchant_counter SET value = value + 1 WHERE name = 'product'",
        "the number 2 is given out",
    ),
    "thumbnails": (
        "UPDATE product_picture SET is_thumbnail = false WHERE is_thumbnail AND number = 1",
        "UPDATE product_picture SET is_thumbnail = true WHERE number = 1",
        "2 pictures and 0 thumbnails",
    ),
    "pictures in use": (
        # Counted as ever: only this check sees it.
        "SET session_replication_role = origin; UPDATE picture SET unused_since = now()",
        "SET session_replication_role = origin; UPDATE picture SET unused_since = NULL",
        "stands to be swept",
    ),
    "category trees": (
        "UPDATE category SET path = '{Elsewhere, Rice}' WHERE name = 'Rice'",
        "UPDATE category SET path = '{Food, Rice}' WHERE name = 'Rice'",
        "does not stand where its parent says",
    ),
    "jobs given up": (
        "INSERT INTO job (job_id, kind, payload, status, last_error)"
        " VALUES (gen_random_uuid(), 'media.sweep', '{}', 'failed', 'it broke')",
        "DELETE FROM job WHERE status = 'failed'",
        "it broke",
    ),
    "protection of tenants": (
        "ALTER TABLE price NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE price FORCE ROW LEVEL SECURITY",
        "table price: row-level security is not forced",
    ),
    "migrations": (
        "UPDATE schema_migration SET sha256 = upper(sha256) WHERE name LIKE '0001%'",
        "UPDATE schema_migration SET sha256 = lower(sha256)",
        "was edited after it ran",
    ),
}


@pytest.mark.parametrize("check", BROKEN_ROWS)
async def test_broken_rows_are_found(
    check: str, settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    break_it, mend_it, words = BROKEN_ROWS[check]
    async with superuser(settings, urls) as connection:
        await connection.execute(break_it)
        report = await examine(settings, urls)
        await connection.execute(mend_it)
    assert not report.ok
    assert set(red(report)) == {check}
    assert words in red(report)[check]
    assert (await examine(settings, urls)).ok


BROKEN_ACCOUNTS = {
    "its number is not what was written": (
        "UPDATE bank_account SET last_digits = translate(last_digits, '0123456789', '1234567890')",
        "UPDATE bank_account SET last_digits = translate(last_digits, '1234567890', '0123456789')",
    ),
    "its number is not found any more": (
        "UPDATE bank_account SET number_mark = number_mark || '\\x00'",
        "UPDATE bank_account SET number_mark = substr(number_mark, 1, 32)",
    ),
    "its number cannot be opened": (
        "UPDATE bank_account SET sealed_number = '\\x41'::bytea || sealed_number",
        "UPDATE bank_account SET sealed_number = substr(sealed_number, 2)",
    ),
    "no account is the default": (
        "UPDATE bank_account SET is_default = false",
        "UPDATE bank_account SET is_default = true",
    ),
}


BROKEN_SETTINGS = {
    "its BVN is not the one that is shown": (
        """UPDATE store SET settings = settings || '{"bvn_last4": "0000"}' WHERE sealed_bvn IS NOT NULL""",
        """UPDATE store SET settings = settings || '{"bvn_last4": "5678"}' WHERE sealed_bvn IS NOT NULL""",
    ),
    "its BVN cannot be opened": (
        "UPDATE store SET sealed_bvn = '\\x41'::bytea || sealed_bvn",
        "UPDATE store SET sealed_bvn = substr(sealed_bvn, 2)",
    ),
    "its secret key cannot be opened": (
        "UPDATE payment_gateway SET sealed_secret_key = '\\x41'::bytea || sealed_secret_key",
        "UPDATE payment_gateway SET sealed_secret_key = substr(sealed_secret_key, 2)",
    ),
    "its logo is not the picture that is kept": (
        "UPDATE store SET settings = jsonb_set(settings, '{logo_path}',"
        " to_jsonb(settings->>'logo_path' || 'x')) WHERE settings ? 'logo_path'",
        "UPDATE store SET settings = jsonb_set(settings, '{logo_path}',"
        " to_jsonb(rtrim(settings->>'logo_path', 'x'))) WHERE settings ? 'logo_path'",
    ),
}


@pytest.mark.parametrize("words", BROKEN_SETTINGS)
async def test_broken_settings_of_stores_are_found(
    words: str, settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    break_it, mend_it = BROKEN_SETTINGS[words]
    async with superuser(settings, urls) as connection:
        await connection.execute(break_it)
        report = await examine(settings, urls)
        await connection.execute(mend_it)
    assert set(red(report)) == {"settings of stores"}
    assert words in red(report)["settings of stores"]
    assert (await examine(settings, urls)).ok


async def test_a_second_factor_that_cannot_be_opened_is_found(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    async with superuser(settings, urls) as connection:
        await connection.execute("UPDATE second_factor SET sealed_secret = '\\x41'::bytea || sealed_secret")
        report = await examine(settings, urls)
        await connection.execute("UPDATE second_factor SET sealed_secret = substr(sealed_secret, 2)")
    assert set(red(report)) == {"second factors"}
    assert (await examine(settings, urls)).ok


@pytest.mark.parametrize("words", BROKEN_ACCOUNTS)
async def test_broken_bank_accounts_are_found(
    words: str, settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    break_it, mend_it = BROKEN_ACCOUNTS[words]
    async with superuser(settings, urls) as connection:
        await connection.execute(break_it)
        report = await examine(settings, urls)
        await connection.execute(mend_it)
    assert set(red(report)) == {"bank accounts"}
    assert words in red(report)["bank accounts"]
    assert (await examine(settings, urls)).ok


async def test_a_balance_that_is_not_its_movements_is_found(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    async with superuser(settings, urls) as connection:
        await connection.execute("UPDATE stock_balance SET on_hand = on_hand + 1")
        found = red(await examine(settings, urls))
        await connection.execute("UPDATE stock_balance SET on_hand = on_hand - 1")
    assert "the balance is not the sum of its movements" in found["ledger of stock"]


async def test_a_store_that_the_directory_has_lost_is_found(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    async with superuser(settings, urls) as connection:
        lost = await connection.fetchrow(
            "DELETE FROM store_directory WHERE store_id = "
            "(SELECT min(store_id::text)::uuid FROM store_directory) RETURNING *"
        )
        assert lost is not None
        found = red(await examine(settings, urls))
        await connection.execute("INSERT INTO store_directory VALUES ($1, $2, $3, $4)", *lost)
    assert found["directory"] == f"store {lost['store_id']} is in its table alone"


async def test_missing_and_altered_cards_are_found(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    async with superuser(settings, urls) as connection:
        card = await connection.fetchrow(
            "DELETE FROM product_card WHERE (merchant_id, dialect, product_id) ="
            " (SELECT merchant_id, dialect, product_id FROM product_card ORDER BY 2, 3 LIMIT 1) RETURNING *"
        )
        assert card is not None
        missing = red(await examine(settings, urls))
        await connection.execute(
            "INSERT INTO product_card VALUES ($1, $2, $3, $4, $5, $6, $7)",
            *card.values(),
        )
        await connection.execute("UPDATE product_card SET body = body || ' '")
        altered = red(await examine(settings, urls))
        await connection.execute("UPDATE product_card SET body = rtrim(body)")
    assert "has no card for" in missing["cards of products"]
    assert "is not what it should be" in altered["cards of products"]
    assert (await examine(settings, urls)).ok


async def test_cards_of_another_version_are_written_anew_and_no_fault_until_then(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    async with superuser(settings, urls) as connection, everything(settings, urls) as services:
        await enqueue_rebuild(services, card_code())
        while await services.jobs.run_due():
            pass
        await connection.execute("UPDATE card_code SET hash = 'of the version before'")
        await connection.execute("DELETE FROM product_card WHERE dialect = 'storeharmony'")
        waiting = await examine(settings, urls)
        assert waiting.ok
        assert [c.note for c in waiting.checks if c.check == "cards of products"] != [""]
        await enqueue_rebuild(services, card_code())
        await enqueue_rebuild(services, card_code())
        assert await connection.fetchval("SELECT count(*) FROM job WHERE kind = $1", CARDS_JOB) == 2
        while await services.jobs.run_due():
            pass
    report = await examine(settings, urls)
    assert (report.ok, [c.note for c in report.checks if c.check == "cards of products"]) == (True, [""])


def picture_files(settings: Settings) -> list[Path]:
    return sorted(path for path in (settings.data_folder() / "files").rglob("*") if path.is_file())


async def test_missing_and_shortened_files_are_found(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    file = picture_files(settings)[0]
    content = file.read_bytes()
    file.unlink()
    missing = red(await examine(settings, urls))
    file.write_bytes(content[:-1])
    shortened = red(await examine(settings, urls))
    file.write_bytes(content)
    assert missing["files of pictures"].endswith("is missing")
    assert shortened["files of pictures"].endswith(
        f"has {len(content) - 1} bytes and should have {len(content)}"
    )
    assert (await examine(settings, urls)).ok


async def test_one_changed_byte_of_a_picture_is_found(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    file = picture_files(settings)[0]
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    altered = red(await examine(settings, urls))
    quick = await examine(settings, urls, quick=True)
    file.write_bytes(content)
    assert set(altered) == {"contents of pictures"}
    assert "has other bytes than were written" in altered["contents of pictures"]
    # The control: sizes alone do not tell.
    assert quick.ok
    assert (await examine(settings, urls)).ok


async def test_a_file_under_another_pictures_name_is_found(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    async with superuser(settings, urls) as connection:
        await connection.execute("CREATE TABLE before AS SELECT * FROM picture")
        await connection.execute(
            "UPDATE picture SET renditions = (SELECT renditions FROM before ORDER BY picture_id LIMIT 1)"
            " WHERE picture_id = (SELECT max(picture_id::text)::uuid FROM before)"
        )
        found = red(await examine(settings, urls))
        await connection.execute(
            "UPDATE picture p SET renditions = b.renditions FROM before b WHERE p.picture_id = b.picture_id"
        )
        await connection.execute("DROP TABLE before")
    assert "lies under another picture's name" in found["files of pictures"]


async def test_stray_files_are_found_and_go_when_they_are_old_enough(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    stray = settings.data_folder() / "files" / merchant_id / "ab" / "stray.jpg"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"what a crash left")
    assert red(await examine(settings, urls))["stray files"].startswith(f"{merchant_id}/ab/stray.jpg")
    young = await examine(settings, urls, collect=True)
    assert stray.exists()
    assert young.removed["stray files"] == 0
    after = await examine(settings, urls, collect=True, at_once=True)
    assert not stray.exists()
    assert (after.ok, after.removed["stray files"]) == (True, 1)
    assert len(picture_files(settings)) > 0


async def test_an_upload_that_was_cut_is_no_fault_and_its_files_go_with_its_claim(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    claimed = "c1" * 32
    folder = settings.data_folder() / "files" / merchant_id / claimed[:2] / claimed
    async with superuser(settings, urls) as connection:
        await connection.execute(
            "INSERT INTO picture (merchant_id, picture_id, sha256, unused_since)"
            " VALUES ($1, gen_random_uuid(), decode($2, 'hex'), now() - interval '2 days')",
            merchant_id,
            claimed,
        )
    folder.mkdir(parents=True)
    (folder / "zoom-10x10.jpg").write_bytes(b"half of what was to come")
    assert (await examine(settings, urls)).ok
    report = await examine(settings, urls, collect=True)
    assert (report.ok, report.removed["unused pictures"]) == (True, 1)
    assert not (folder / "zoom-10x10.jpg").exists()


async def test_now_is_refused_beside_a_server(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    async with open_services(WorkerSetup(settings, urls.application, sealing_keys(settings))):
        with pytest.raises(ServerRuns):
            await examine(settings, urls, collect=True, at_once=True)


async def test_another_sealing_key_is_found(settings: Settings, urls: DatabaseUrls, merchant_id: str) -> None:
    other = msgspec.structs.replace(settings, secret_key=new_key())
    told = red(await examine(other, urls))
    assert "another key" in told["secret key"]
    assert "cannot be opened" in told["bank accounts"]
    both = msgspec.structs.replace(settings, secret_key=f"{new_key()},{sealing_keys(settings)[0]}")
    assert (await examine(both, urls)).ok


async def test_the_daily_job_counts_the_faults_of_every_ledger(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    counter = metrics.ledger_faults.labels("stock")
    async with superuser(settings, urls) as connection, everything(settings, urls) as services:
        await enqueue_daily(services)
        await enqueue_daily(services)
        assert await connection.fetchval("SELECT count(*) FROM job WHERE kind = $1", DAILY_JOB) == 1
        await connection.execute("UPDATE stock_movement SET device = 'x' WHERE kind = 'opening'")
        for kind in (DAILY_JOB, LEDGER_JOB):
            # As if its hour had come: each day's job has the day in its key.
            await connection.execute("UPDATE job SET run_at = now(), unique_key = NULL WHERE kind = $1", kind)
            before = counter._value.get()
            while await services.jobs.run_due():
                pass
        assert counter._value.get() - before == 2
        await connection.execute("UPDATE stock_movement SET device = '' WHERE kind = 'opening'")
        # The next day's is in the queue already, and no ledger's job is left.
        assert await connection.fetchval("SELECT count(*) FROM job WHERE kind = $1", DAILY_JOB) == 1
        assert await connection.fetchval("SELECT count(*) FROM job WHERE kind = $1", LEDGER_JOB) == 0
    assert (await examine(settings, urls)).ok


async def test_the_command_ends_with_1_on_a_fault_and_says_which(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    installation = Installation(settings.data_folder())
    healthy = json.loads(installation.ask("doctor", "--json"))
    assert healthy["ok"] is True
    async with superuser(settings, urls) as connection:
        await connection.execute("UPDATE product_card SET body = body || ' '")
        told = installation.run("doctor")
        as_json = installation.run("doctor", "--json")
        await connection.execute("UPDATE product_card SET body = rtrim(body)")
    assert (told.returncode, as_json.returncode) == (1, 1)
    assert "FAULT cards of products:" in told.stdout
    assert json.loads(as_json.stdout)["ok"] is False
