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
from kasuwa.base.secrets import Sealer, new_key
from kasuwa.cli.doctor.examination import ServerRuns, examine
from kasuwa.cli.doctor.report import Report
from kasuwa.cli.sealed import SEALED
from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls, sealing_keys, serving_database
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.customers.actions import register
from kasuwa.domain.customers.records import NewCustomer
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
from tests.cli.breaking import BROKEN_ROWS, BROKEN_SEALED, BROKEN_STORES
from tests.cli.staging import Installation, add_product
from tests.conftest import picture_bytes
from tests.contract.proofs import begin_factor
from tests.numbers import number_of
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
        buyer = NewCustomer(email="efe@shop.example", first_name="Efe")
        await register(shop.owner, buyer)
        await keep_words(shop.owner)
        return str(shop.merchant_id)


async def keep_words(context: Context) -> None:
    """A message that did not leave, whose words are kept for another try."""
    async with context.transaction() as db:
        await db.execute(
            """
            INSERT INTO message (merchant_id, message_id, channel, template, sealed, status)
            VALUES (current_merchant(), gen_random_uuid(), 'email', 'test', :sealed, 'failed')
            """,
            sealed=context.services.sealer.seal(b"words"),
        )


async def set_up_store(context: Context) -> None:
    """Everything that a store seals, and a logo."""
    gateway = GatewayWish(gateway_id=None, provider="Paystack", secret_key="sk_1", webhook_secret="wh_1")
    change = SettingsChange(secrets={"bvn": "22212345678", "google_key": "AIza-secret"}, gateways=(gateway,))
    await change_settings(context, change)
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
    name = check.partition(", ")[0]
    assert set(red(report)) == {name}
    assert words in red(report)[name]
    assert (await examine(settings, urls)).ok


@pytest.mark.parametrize("words", BROKEN_STORES)
async def test_what_is_wrong_in_a_store_is_found(
    words: str, settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    check, break_it, mend_it = BROKEN_STORES[words]
    async with superuser(settings, urls) as connection:
        await connection.execute(break_it)
        report = await examine(settings, urls)
        await connection.execute(mend_it)
    assert set(red(report)) == {check}
    assert words in red(report)[check]
    assert (await examine(settings, urls)).ok


@pytest.mark.parametrize("words", BROKEN_SEALED)
async def test_what_is_sealed_and_broken_is_found(
    words: str, settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    break_it, mend_it = BROKEN_SEALED[words]
    async with superuser(settings, urls) as connection:
        await connection.execute(break_it)
        report = await examine(settings, urls)
        await connection.execute(mend_it)
    assert set(red(report)) == {"sealed values"}
    named = {column.place: column.words.rpartition("}")[2] + " cannot be opened" for column in SEALED}
    assert named.get(words, words) in red(report)["sealed values"]
    assert (await examine(settings, urls)).ok


async def test_what_is_sealed_in_a_job_and_cannot_be_opened_is_found(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    ours, strange = Sealer(sealing_keys(settings)), Sealer([new_key()])
    async with superuser(settings, urls) as connection:
        for sealer in (ours, strange):
            payload = json.dumps({"inside": [sealer.seal(b"words").decode(), "gAAAA no token", 1]})
            await connection.execute(
                "INSERT INTO job (job_id, kind, payload, run_at)"
                " VALUES (gen_random_uuid(), 'test.sealed', $1, now() + interval '1 day')",
                payload,
            )
        report = await examine(settings, urls)
        await connection.execute("DELETE FROM job WHERE kind = 'test.sealed'")
    assert set(red(report)) == {"sealed values"}
    assert [check.faults for check in report.checks if check.check == "sealed values"] == [1]
    assert "(test.sealed): what is sealed in it cannot be opened" in red(report)["sealed values"]


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
    assert "cannot be opened" in told["sealed values"]
    both = msgspec.structs.replace(settings, secret_key=f"{new_key()},{sealing_keys(settings)[0]}")
    assert (await examine(both, urls)).ok


async def test_the_daily_job_counts_the_faults_of_every_ledger(
    settings: Settings, urls: DatabaseUrls, merchant_id: str
) -> None:
    async with superuser(settings, urls) as connection, everything(settings, urls) as services:
        await enqueue_daily(services)
        await enqueue_daily(services)
        assert await connection.fetchval("SELECT count(*) FROM job WHERE kind = $1", DAILY_JOB) == 1
        await connection.execute("UPDATE stock_movement SET device = 'x' WHERE kind = 'opening'")
        for kind in (DAILY_JOB, LEDGER_JOB):
            # As if its hour had come: each day's job has the day in its key.
            await connection.execute("UPDATE job SET run_at = now(), unique_key = NULL WHERE kind = $1", kind)
            before = number_of("kasuwa_ledger_faults_total", ledger="stock")
            while await services.jobs.run_due():
                pass
        assert number_of("kasuwa_ledger_faults_total", ledger="stock") == before + 2
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
