"""A merchant is exported, then removed for good: nothing of it is left, and nobody else is touched."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from kasuwa.base.context import Context
from kasuwa.base.storage import open_blobs
from kasuwa.cli.backup.exporting import ROWS, verify_export
from kasuwa.cli.visiting import in_the_shop
from kasuwa.database import DatabaseUrls, visiting_database
from kasuwa.domain.merchants.removal import remove_merchant
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.messages.records import Message
from kasuwa.settings import read_settings
from tests import checked
from tests.banking import new_account
from tests.base.database import Connection, superuser_url, undone
from tests.base.tenancy import tenant_tables
from tests.base.test_tenancy import insert_row
from tests.cli.staging import DEADLINE_SECONDS, Installation, add_product, serving
from tests.shop import PASSWORD, Shop, new_shop

CANARY = "Kanarienvogel"
NUMBER_OF_FILES = 16


class Platform:
    """An installation with a merchant that leaves and one that stays."""

    def __init__(self, installation: Installation, leaving: Shop, staying: Shop, number: str) -> None:
        self.installation = installation
        self.settings = read_settings({}, data=str(installation.data))
        self.leaving, self.staying = leaving, staying
        self.leaving_id = str(leaving.merchant_id)
        self.number = number

    def look(self, ask: Callable[[Connection], Any]) -> Any:
        """What `ask` finds as a superuser."""

        async def connected(urls: DatabaseUrls) -> Any:
            connection = await asyncpg.connect(superuser_url(urls))
            try:
                return await ask(connection)
            finally:
                await connection.close()

        with visiting_database(self.settings) as urls:
            return asyncio.run(connected(urls))


async def fill(context: Context) -> tuple[Shop, Shop, str]:
    leaving = await new_shop(context.services, name=f"{CANARY} and Sons")
    staying = await new_shop(context.services, name="Bola's Stores")
    number = ""
    for shop in (leaving, staying):
        await add_product(shop.owner, 1)
        account = await new_account(shop.owner)
        number = number or account.number
        message = Message(
            channel="email",
            to=f"{CANARY if shop is leaving else 'bola'}@shop.example",
            template="password-changed",
            subject="Hello",
            text="Hello",
        )
        async with shop.owner.transaction() as db:
            await send_message(shop.owner, db, message)
    await context.services.jobs.run_due()
    return leaving, staying, number


@pytest.fixture(scope="module")
def platform(new_installation: Callable[..., Installation]) -> Platform:
    # Whoever is refused time and again has to wait, and that is not asked here.
    installation = new_installation(KASUWA_LOGIN_TRIES="1000")
    settings = read_settings({}, data=str(installation.data))
    leaving, staying, number = in_the_shop(settings, fill)
    return Platform(installation, leaving, staying, number)


async def tables_of(connection: Connection) -> list[str]:
    rows = await connection.fetch(
        "SELECT relname FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
    )
    return [row[0] for row in rows]


async def found_in(connection: Connection, *words: str) -> set[str]:
    """The tables with one of the words in any column."""
    return {
        table
        for table in await tables_of(connection)
        for word in words
        if await connection.fetchval(
            f'SELECT EXISTS (SELECT FROM "{table}" t WHERE strpos(t::text, $1) > 0)',
            word,
        )
    }


async def sums(connection: Connection, merchant_id: UUID) -> dict[str, tuple[int, str]]:
    """How many rows of the merchant each table has, and a hash of them all."""
    rows = {}
    for table in await tables_of(connection):
        row = await connection.fetchrow(
            f"SELECT count(*), md5(coalesce(string_agg(t::text, '' ORDER BY t::text), ''))"
            f' FROM "{table}" t WHERE strpos(t::text, $1) > 0',
            str(merchant_id),
        )
        assert row is not None
        rows[table] = (row[0], row[1])
    return rows


def test_an_active_merchant_is_not_deleted_nor_one_that_nobody_confirms(platform: Platform) -> None:
    merchant = str(platform.leaving.merchant_id)
    refused = platform.installation.run("merchant", "delete", merchant, "--yes")
    assert (refused.returncode, "merchant suspend" in refused.stderr) == (1, True)
    platform.installation.ask("merchant", "suspend", merchant)
    silent = platform.installation.run("merchant", "delete", merchant)
    assert (silent.returncode, "use --yes in a script" in silent.stderr) == (1, True)
    unknown = platform.installation.run("merchant", "delete", str(uuid4()), "--yes")
    assert (unknown.returncode, "No merchant has the id" in unknown.stderr) == (1, True)


def test_the_export_has_every_row_and_file_and_no_secret(platform: Platform) -> None:
    file = platform.installation.data.parent / "leaving.kasuwa"
    said = json.loads(
        platform.installation.ask(
            "merchant", "export", str(platform.leaving.merchant_id), str(file), "--json"
        )
    )
    manifest = verify_export(file)
    assert (said["files"], said["rows"]["product"]) == (NUMBER_OF_FILES, 1)
    content: dict[str, bytes] = {}
    with tarfile.open(file) as tar:
        for member in tar:
            read = tar.extractfile(member)
            assert read is not None
            content[member.name] = read.read()
    lines = {name: content[f"{ROWS}{name}.jsonl"].splitlines() for name in manifest.rows}
    assert {name: len(rows) for name, rows in lines.items()} == manifest.rows
    [account] = [json.loads(line) for line in lines["bank_account"]]
    assert account["number"] == platform.number
    everything = b"".join(content.values())
    assert CANARY.encode() in everything
    assert b"argon2" not in everything
    assert str(platform.staying.merchant_id).encode() not in everything
    # A merchant that is not there leaves no archive.
    missing = platform.installation.run("merchant", "export", str(uuid4()), f"{file}.none")
    assert (missing.returncode, file.with_name(f"{file.name}.none").exists()) == (1, False)


def killed_at(platform: Platform, step: str) -> None:
    """Run the command until it kills itself at that step."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.dying", "merchant", "delete", platform.leaving_id, "--yes"],
        env={**platform.installation.environment, "DIE_AT": step},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, f"{step}: {done.returncode}\n{done.stdout}\n{done.stderr}"


def answers(url: str, shop: Shop, key: str) -> dict[str, int]:
    """What the ways in of a merchant answer: with a session, a token, and name and password."""
    with checked.Client(base_url=url, timeout=60) as client:
        by_session = client.get(
            f"/cloudapi/app/{shop.store_id}/stock", headers={"sessiontoken": shop.session}
        )
        by_token = client.get(
            f"/stores/{shop.store_hash}/v3/catalog/products", headers={"X-Auth-Token": shop.token}
        )
        login = client.post(
            "/cloudapi/app/access/login",
            headers={"Authorization": f"Bearer {key}"},
            json={"userToken": shop.email, "passToken": PASSWORD},
        )
    statuses = {"session": by_session, "token": by_token, "log-in": login}
    return {name: answer.status_code for name, answer in statuses.items()}


def leftovers(platform: Platform) -> tuple[set[str], list[Path], int]:
    """Tables, files and folders, and how many lines of the outbox, in which the one who left is named."""
    leaving, data = platform.leaving, platform.installation.data
    words = (CANARY, platform.leaving_id, leaving.merchant_id.hex, leaving.email)
    lines = (data / "outbox.jsonl").read_text("utf-8").splitlines()
    return (
        platform.look(lambda connection: found_in(connection, *words)),
        list((data / "files").rglob(f"{platform.leaving_id}*")),
        sum(any(word in line for word in words) for line in lines),
    )


# What a server writes and drops beside the removal.
_PASSING = {"job", "product_card"}


def lasting(platform: Platform) -> dict[str, tuple[int, str]]:
    """How many rows of the other merchant each table has, with a hash of them all."""
    found = platform.look(lambda connection: sums(connection, platform.staying.merchant_id))
    return {table: count_and_hash for table, count_and_hash in found.items() if table not in _PASSING}


def seeded_points(tables: int) -> tuple[list[str], list[str]]:
    """Where to kill beside a server, and without one: amid the mark, the rows, the files and the very end."""
    chance = random.Random(91)
    # After the mark's two statements there is one for each table at least.
    rows = [f"statement {chance.randint(3, tables)}" for _ in range(3)]
    files = [f"file {chance.randint(1, NUMBER_OF_FILES // 3)}" for _ in range(2)]
    return ["statement 2", *rows], [*files, "outbox 1", "merchant 1"]


@pytest.mark.timeout(300)
def test_a_removal_that_was_killed_is_refused_meanwhile_goes_on_and_leaves_nothing(
    platform: Platform,
) -> None:
    key = json.loads(platform.installation.ask("key", "create", "--name", "till", "--json"))["key"]
    assert {"product", "audit_entry", "stock_movement", "session"} <= leftovers(platform)[0]
    tables = platform.look(lambda connection: tenant_tables(connection))
    beside_a_server, alone = seeded_points(len(tables))
    with serving(platform.installation) as running:
        assert answers(running.url, platform.staying, key) == {"session": 200, "token": 200, "log-in": 200}
        before = lasting(platform)
        for step in beside_a_server:
            killed_at(platform, step)
            assert answers(running.url, platform.leaving, key) == {
                "session": 401,
                "token": 401,
                "log-in": 401,
            }, step
            # The control: what is left is seen.
            assert all(leftovers(platform)), step
    half = platform.installation.data.parent / "half.kasuwa"
    for words in (("resume", platform.leaving_id), ("export", platform.leaving_id, str(half))):
        refused = platform.installation.run("merchant", *words)
        assert (refused.returncode, "has begun" in refused.stderr) == (1, True), words
    assert not half.exists()
    examined = platform.installation.run("doctor", "--quick", "--json")
    assert examined.returncode == 1, examined.stderr
    report = json.loads(examined.stdout)
    assert [check["check"] for check in report["checks"] if check["faults"]] == ["removals of merchants"]
    for step in alone:
        killed_at(platform, step)
        assert "merchant" in leftovers(platform)[0], step

    told = json.loads(platform.installation.ask("merchant", "delete", platform.leaving_id, "--yes", "--json"))

    assert (told["removed_before"], told["rows"]["merchant"]) == (False, 1)
    assert leftovers(platform) == (set(), [], 0)
    assert lasting(platform) == before
    outbox = (platform.installation.data / "outbox.jsonl").read_text("utf-8")
    assert "bola@shop.example" in outbox
    assert all(json.loads(line)["template"] for line in outbox.splitlines())
    assert json.loads(platform.installation.ask("doctor", "--json"))["ok"]
    # Whoever was killed after the last row had gone asks again.
    assert "was removed before" in platform.installation.ask("merchant", "delete", platform.leaving_id)


def test_a_lost_row_of_the_other_merchant_would_be_seen(platform: Platform) -> None:
    """The control of what `lasting` compares."""

    async def without_one(connection: Connection) -> dict[str, tuple[int, str]]:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SET LOCAL session_replication_role = replica")
        deleted = await connection.execute(
            "DELETE FROM membership"
            " WHERE ctid = (SELECT ctid FROM membership WHERE merchant_id = $1 LIMIT 1)",
            platform.staying.merchant_id,
        )
        assert deleted == "DELETE 1"
        found = await sums(connection, platform.staying.merchant_id)
        await transaction.rollback()
        return found

    before = platform.look(lambda connection: sums(connection, platform.staying.merchant_id))
    after = platform.look(without_one)
    assert [table for table in before if before[table] != after[table]] == ["membership"]


def test_what_was_removed_is_known_by_its_hash_alone(platform: Platform) -> None:
    async def ask(connection: Connection) -> Any:
        return await connection.fetchrow(
            "SELECT of_merchant, ended_at IS NOT NULL AS ended, gone::text AS gone FROM removal"
            " WHERE merchant_hash = sha256($1)",
            platform.leaving.merchant_id.bytes,
        )

    row = platform.look(ask)
    assert (row["of_merchant"], row["ended"]) == (None, True)
    assert {"merchant", "files"} <= json.loads(row["gone"]).keys()


async def test_there_is_no_table_that_it_forgets(database_urls: DatabaseUrls, data_folder: Any) -> None:
    """Each table of merchants has a row of one who leaves, whatever it is for."""
    victim, other = uuid4(), uuid4()
    async with undone(superuser_url(database_urls)) as connection:
        tables = await tenant_tables(connection)
        for table in tables:
            await insert_row(connection, table, victim)
            await insert_row(connection, table, other)
        await connection.execute("SET LOCAL session_replication_role = origin; SET LOCAL ROLE kasuwa_owner")
        blobs = open_blobs(str(data_folder / "files"))
        await remove_merchant(connection, blobs, data_folder / "none", victim, lambda what, count: None)
        await blobs.close()
        for table in tables:
            rows = await connection.fetch(
                f'SELECT DISTINCT merchant_id FROM "{table}" WHERE merchant_id IN ($1, $2)',
                victim,
                other,
            )
            assert [row[0] for row in rows] == [other], table


async def test_without_the_mark_the_ledgers_let_nobody_take_anything(database_urls: DatabaseUrls) -> None:
    """The control: the same owner, for a merchant whose removal has not begun."""
    victim = uuid4()
    async with undone(superuser_url(database_urls)) as connection:
        await insert_row(connection, "stock_movement", victim)
        await connection.execute("SET LOCAL session_replication_role = origin; SET LOCAL ROLE kasuwa_owner")
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await connection.execute("DELETE FROM stock_movement WHERE merchant_id = $1", victim)
