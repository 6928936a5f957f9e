"""Another sealing key: each step beside a running server, in the one order in which nobody fails to open."""

import io
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
import typer

from kasuwa.base.context import Context
from kasuwa.base.db import Pool
from kasuwa.base.jobs import enqueue
from kasuwa.base.once import Once
from kasuwa.base.postgres.binaries import find_binaries
from kasuwa.base.secrets import NEXT, Sealer, connection_name, new_key, role_password
from kasuwa.cli.rotation import StepUnsafe, Wishes, rotate, write_keys
from kasuwa.cli.sealed import APART, MARKS, SEALED, Walked, walk
from kasuwa.cli.visiting import at_the_database, everything
from kasuwa.database import DatabaseUrls, sealing_keys, serving_database, with_login
from kasuwa.domain.stores.settings.actions import change_settings
from kasuwa.domain.stores.settings.records import GatewayWish, SettingsChange
from kasuwa.settings import Settings, read_settings
from tests import checked
from tests.banking import new_account
from tests.base.postgres.addressed import addressed_server
from tests.cli.staging import DEADLINE_SECONDS, Installation, Serving, serving
from tests.contract.proofs import begin_factor
from tests.shop import PASSWORD, Shop, new_shop

Owner = asyncpg.Connection


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="kasuwa-keys-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


# Beside a running server ---------------------------------------------------------------------


class Reading:
    """Bank accounts and a second factor, read over HTTP by several at once until the end."""

    def __init__(self, url: str, shop: Shop, number: str) -> None:
        self.count = 0
        self.faults: list[str] = []
        self._number = number
        self._banks = f"{url}/cloudapi/app/{shop.store_id}/admin/banks"
        self._factor = f"{url}/manage/{shop.store_id}/second-factor"
        self._headers = {"sessiontoken": shop.session}
        self._ending = threading.Event()
        work = [self._read_banks] * 4 + [self._read_factor]
        self._threads = [threading.Thread(target=self._run, args=(read,)) for read in work]

    def _run(self, read: Any) -> None:
        with checked.Client(headers=self._headers, timeout=30) as client:
            while not self._ending.is_set():
                answer, is_right = read(client)
                if not is_right:
                    self.faults.append(f"{answer.status_code} {answer.text}")
                    return
                self.count += 1

    def _read_banks(self, client: httpx.Client) -> tuple[httpx.Response, bool]:
        answer = client.get(self._banks)
        return answer, answer.status_code == 200 and self._number[-4:] in answer.text

    def _read_factor(self, client: httpx.Client) -> tuple[httpx.Response, bool]:
        answer = client.post(self._factor, json={"password": PASSWORD})
        return answer, answer.status_code == 200

    def __enter__(self) -> "Reading":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()


def replaced(installation: Installation, running: Serving) -> str:
    """What the next step says once every worker has been replaced; it is refused until then."""
    running.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (done := installation.run("secrets", "rotate")).returncode:
        assert "Replace them" in done.stderr, done.stderr
        assert time.monotonic() < deadline, done.stderr
    return done.stdout


async def fill(context: Context) -> tuple[Shop, str]:
    """A shop with everything that is sealed, and the number of its bank account."""
    shop = await new_shop(context.services)
    account = await new_account(shop.owner)
    gateway = GatewayWish(gateway_id=None, provider="Paystack", secret_key="sk_1", webhook_secret="wh_1")
    change = SettingsChange(secrets={"bvn": "22212345678", "google_key": "AIza-secret"}, gateways=(gateway,))
    await change_settings(shop.owner, change)
    await begin_factor(shop, shop.user_id)
    seal = context.services.sealer.seal
    async with shop.owner.transaction() as db:
        await enqueue(db, "test.sealed", {"inside": [seal(b"a job's").decode(), 1]})
        await db.execute(
            """
            INSERT INTO message (merchant_id, message_id, channel, template, sealed, status)
            VALUES (current_merchant(), gen_random_uuid(), 'email', 'test', :sealed, 'failed')
            """,
            sealed=seal(b"words"),
        )
    return shop, account.number


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with addressed_server(folder / "server", find_binaries()) as made:
        yield made


def test_every_step_is_taken_beside_a_server_and_no_read_fails(folder: Path, address: str) -> None:
    """The database is one by address: its roles' passwords change with the key too."""
    # Nobody reads its log meanwhile: a full pipe would hold the workers.
    limits = {"KASUWA_STOREHARMONY_REQUESTS_PER_SECOND": "10000", "KASUWA_LOG_LEVEL": "error"}
    installation = Installation(folder / "addressed", {"KASUWA_DATABASE_URL": address, **limits})
    settings = read_settings(installation.environment)
    file = installation.data / "secret.key"
    with serving(installation, "--workers", "2") as running:
        shop, number = at_the_database(settings, fill)
        [old] = file.read_text().split()
        with Reading(running.url, shop, number) as reading:
            begun = installation.run("secrets", "rotate", "--new-key", "--json")
            assert "do not yet know the new key" in begun.stderr
            waiting = json.loads(begun.stdout)
            assert (waiting["step"], waiting["keys"]) == ("waiting", 2)
            [first, following] = file.read_text().split()
            assert (first, following[: len(NEXT)]) == (old, NEXT), "nobody seals with it yet"
            refused = installation.run("secrets", "rotate")
            assert (refused.returncode, "do not yet know" in refused.stderr) == (1, True)
            assert "do not yet seal with the new key" in replaced(installation, running)
            new = following.removeprefix(NEXT)
            assert file.read_text().split() == [new, old]
            assert file.stat().st_mode & 0o777 == 0o600
            # The old workers are refused no connection, whatever the roles' passwords are by now.
            said = replaced(installation, running)
            assert " 0 left to do" in said
            told = json.loads(installation.ask("secrets", "rotate", "--drop-old", "--yes", "--json"))
            noted = json.loads(installation.ask("audit", "--json"))
            assert [(one["action"], json.loads(one["after"])["step"]) for one in noted] == [
                ("secrets.rotate", step) for step in ("waiting", "waiting", "sealed", "dropped")
            ]
            assert not any(key in json.dumps(noted) for key in (old, new)), "the trail holds no key"
            assert (told["step"], told["keys"], told["lost"], told["drop_after"]) == ("dropped", 1, 0, None)
            assert told["looked_at"] >= len(SEALED)
            assert file.read_text().split() == [new]
            before = reading.count
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: reading.count > before + 50 or bool(reading.faults))
        assert reading.faults == []
        assert '"ok":true' in installation.ask("doctor", "--quick", "--json")


async def test_a_worker_gets_in_when_the_password_of_its_role_has_changed(address: str) -> None:
    keys = [new_key(), new_key()]
    owner = await asyncpg.connect(address)
    await owner.execute(f"CREATE ROLE worker LOGIN PASSWORD '{role_password(keys[1], 'worker')}'")
    await owner.close()
    dsn = with_login(address, "worker", role_password(keys[0], "worker"), "postgres")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await Pool.open(dsn=dsn, max_size=1)
    pool = await Pool.open(dsn=dsn, max_size=1, passwords=[role_password(key, "worker") for key in keys])
    await pool.close()


def wait_until(holds: Any) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Step by step, in this process ---------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(folder: Path) -> Settings:
    return read_settings({}, data=str(folder / "embedded"))


@pytest.fixture(scope="module")
def urls(settings: Settings) -> Iterator[DatabaseUrls]:
    with serving_database(settings) as found:
        yield found


@pytest.fixture
async def shop(settings: Settings, urls: DatabaseUrls) -> Shop:
    async with everything(settings, urls) as services:
        found, _ = await fill(Context(services, request_id="test"))
        return found


async def walked(urls: DatabaseUrls, keys: Sequence[str], **options: Any) -> Walked:
    owner = await asyncpg.connect(urls.owner)
    try:
        return await walk(owner, keys, **{"seal": False} | options)
    finally:
        await owner.close()


async def test_cut_short_it_goes_on_and_then_nothing_opens_with_the_old_key(
    settings: Settings, urls: DatabaseUrls, shop: Shop
) -> None:
    old = sealing_keys(settings)[0]
    before = await walked(urls, [old])
    assert (before.old, before.lost) == (0, 0)
    new = new_key()
    places: list[str] = []

    def stop(place: str, count: int) -> None:
        places.append(place)
        if len(places) == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await walked(urls, [new, old], seal=True, progress=stop)
    half = await walked(urls, [new, old])
    assert 0 < half.old < before.looked_at
    assert half.lost == 0
    rest = await walked(urls, [new, old], seal=True, progress=lambda place, count: places.append(place))
    assert rest.old == half.old
    assert set(places) == {column.place for column in SEALED} | {"job.payload"}, "each has something sealed"
    assert await walked(urls, [new]) == Walked(before.looked_at)
    assert await walked(urls, [old]) == Walked(before.looked_at, lost=before.looked_at)
    write_keys(settings.data_folder() / "secret.key", [new, old])
    await rotate(settings, urls.owner, Wishes(drop=True, yes=True))
    assert sealing_keys(settings) == [new]


async def test_a_key_that_workers_do_not_know_is_refused_at_the_front(
    settings: Settings, urls: DatabaseUrls, shop: Shop
) -> None:
    old, new = sealing_keys(settings)[0], new_key()
    by_setting = msgspec.structs.replace(settings, secret_key=f"{new},{old}")
    with pytest.raises(StepUnsafe, match="Add this one at its end"):
        await rotate(by_setting, urls.owner, Wishes(new=True))
    strange = msgspec.structs.replace(settings, secret_key=new_key())
    with pytest.raises(StepUnsafe, match="bring it back"):
        await rotate(strange, urls.owner, Wishes())
    for known, refusal in (([old], "cannot open what the first key seals"), ([old, new], "do not yet seal")):
        pool = await Pool.open(dsn=urls.application, max_size=1, name=connection_name(known))
        try:
            with pytest.raises(StepUnsafe, match=refusal):
                await rotate(by_setting, urls.owner, Wishes(drop=True, yes=True))
        finally:
            await pool.close()
        assert (await walked(urls, [old])).lost == 0, "nothing was touched"


async def test_the_old_key_stays_while_an_answer_needs_it(
    settings: Settings, urls: DatabaseUrls, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settings.data_folder() / "secret.key"
    old = sealing_keys(settings)[0]
    once = Once(Sealer([old]), caller=str(shop.user_id), key="k", request=b"")
    async with everything(settings, urls) as services, services.pool.transaction(shop.merchant_id) as db:
        await once.claim(db)
        await once.keep(db, b"kept")
    rotated = await rotate(settings, urls.owner, Wishes(new=True))
    new = sealing_keys(settings)[0]
    assert sealing_keys(settings) == [new, old], "no worker runs: all at once"
    assert (rotated.step, rotated.keys, rotated.sealed_anew) == ("sealed", 2, rotated.looked_at)
    assert rotated.drop_after is not None
    assert "when the last answer kept for a repeat ends" in capsys.readouterr().out
    with pytest.raises(StepUnsafe, match="1 answers kept for repeats"):
        await rotate(settings, urls.owner, Wishes(drop=True, yes=True))
    assert sealing_keys(settings) == [new, old]
    left = file.with_name(".secret.key.0f1e2d3c")  # by a writer who was killed
    left.write_text(f"{old}\n")
    await rotate(settings, urls.owner, Wishes(drop=True, at_once=True, yes=True))
    assert file.read_text() == f"{new}\n"
    assert not left.exists()


async def test_the_command_asks_and_says_what_stops_working(
    settings: Settings,
    urls: DatabaseUrls,
    shop: Shop,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = await asyncpg.connect(urls.owner)
    await owner.execute("UPDATE membership SET pos_pin_mark = 'x'")
    count = await owner.fetchval("SELECT count(*) FROM membership")
    await owner.close()
    await rotate(settings, urls.owner, Wishes(new=True))
    keys = sealing_keys(settings)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    with pytest.raises(typer.Abort):
        await rotate(settings, urls.owner, Wishes(drop=True))
    assert f"Up to {count} PINs of tills must be set again" in capsys.readouterr().out
    assert sealing_keys(settings) == keys
    assert len(keys) == 2


# The list ------------------------------------------------------------------------------------


async def columns_like(owner: Any, pattern: str) -> set[str]:
    rows = await owner.fetch(
        """
        SELECT table_name || '.' || column_name AS place FROM information_schema.columns
        WHERE table_schema = 'public' AND udt_name = 'bytea' AND column_name ~ $1
        """,
        pattern,
    )
    return {row["place"] for row in rows}


async def test_every_sealed_column_and_keyed_mark_of_the_catalogue_is_known(urls: DatabaseUrls) -> None:
    sealed = {column.place for column in SEALED} | APART
    marks = {f"{mark.table}.{mark.column}" for mark in MARKS}
    marks |= {f"{column.table}.{column.mark}" for column in SEALED if column.mark}
    owner = await asyncpg.connect(urls.owner)
    try:
        assert await columns_like(owner, "^sealed|_sealed$") == sealed
        assert await columns_like(owner, "_mark$|^code_hash$") == marks
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute("CREATE TABLE forgotten (sealed_thing bytea, thing_sealed bytea, a_mark bytea)")
        assert await columns_like(owner, "^sealed|_sealed$") - sealed == {
            "forgotten.sealed_thing",
            "forgotten.thing_sealed",
        }
        assert await columns_like(owner, "_mark$|^code_hash$") - marks == {"forgotten.a_mark"}
        await transaction.rollback()
    finally:
        await owner.close()
