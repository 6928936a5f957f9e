"""Backups of what lies elsewhere: pictures in a bucket, a database by address; and the way back."""

import asyncio
import json
import random
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.postgres.binaries import find_binaries
from kasuwa.base.secrets import new_key
from kasuwa.cli.visiting import at_the_database
from kasuwa.settings import read_settings
from tests import checked
from tests.base.postgres.addressed import DEBIAN, addressed_server
from tests.base.storage.conftest import s3_endpoint as s3_endpoint
from tests.base.storage.staging import keys, open_s3
from tests.cli.loading import Full, Load
from tests.cli.staging import Installation, serving
from tests.shop import new_shop

MORE = 3


class Kind(Struct, frozen=True):
    """Where an installation keeps its rows, its pictures and its key."""

    server: str = "embedded"
    in_bucket: bool = False
    key_by_setting: bool = False


KINDS = {
    "pictures in a bucket": Kind(in_bucket=True),
    "a database by address": Kind(server="newest"),
    "nothing here": Kind(server="oldest", in_bucket=True, key_by_setting=True),
}


class Places:
    """Makes installations, each with what its kind needs for itself alone: server, bucket, data folder."""

    def __init__(self, folder: Path, endpoint: str, until_the_end: ExitStack) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._until_the_end = until_the_end
        self._made = 0

    def new(self, kind: Kind, *, key: str = "") -> Installation:
        self._made += 1
        here = self._folder / str(self._made)
        settings = {"KASUWA_STOREHARMONY_REQUESTS_PER_SECOND": "10000"}
        if kind.server != "embedded":
            # Debian's is the oldest that is supported; where it is not installed, ours stands for both.
            binaries = (DEBIAN if kind.server == "oldest" else None) or find_binaries()
            settings["KASUWA_DATABASE_URL"] = self._until_the_end.enter_context(
                addressed_server(self._folder / f"{self._made}-server", binaries)
            )
        if kind.in_bucket:
            settings |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
            settings["KASUWA_STORAGE_URL"] = self.new_bucket()
        if kind.key_by_setting:
            settings["KASUWA_SECRET_KEY"] = key or new_key()
        return Installation(here, settings)

    def new_bucket(self) -> str:
        bucket = f"shop-{random.getrandbits(64):x}"
        urllib.request.urlopen(urllib.request.Request(f"{self._endpoint}/{bucket}", method="PUT")).close()
        return f"s3://{bucket}/files?endpoint={self._endpoint}&region=us-east-1"


class Taken(Struct, frozen=True):
    """An archive of a shop of this kind; the rest was acknowledged before it was begun."""

    kind: Kind
    full: Full
    archive: Path
    products: list[str]
    pictures: list[str]

    def empty_place(self, places: Places) -> Installation:
        return places.new(self.kind, key=self.full.installation.settings.get("KASUWA_SECRET_KEY", ""))


@pytest.fixture(scope="module")
def places(s3_endpoint: str) -> Iterator[Places]:
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-test-", dir="/tmp"))
    folder.chmod(0o755)
    with ExitStack() as until_the_end:
        yield Places(folder, s3_endpoint, until_the_end)
    shutil.rmtree(folder)


def filled(installation: Installation) -> Full:
    async def fill(context: Context) -> Full:
        shop = await new_shop(context.services)
        return Full(installation, str(shop.store_id), shop.session)

    return at_the_database(read_settings(installation.environment), fill)


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def taken(request: pytest.FixtureRequest, places: Places, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """Taken while products and pictures come in, and go on coming."""
    full = filled(places.new(request.param))
    installation = full.installation
    archive = tmp_path_factory.mktemp("archives") / "shop.backup"
    with serving(installation) as running, Load(running.url, full) as load:
        load.wait_for(MORE)
        before = Taken(request.param, full, archive, list(load.acknowledged), list(load.pictures))
        installation.ask("backup", "--with-key", str(archive))
        load.wait_for(MORE)
    assert load.faults == []
    return before


def test_it_comes_back_whole_into_an_empty_place(taken: Taken, places: Places) -> None:
    target = taken.empty_place(places)
    told = json.loads(target.ask("restore", str(taken.archive), "--json"))
    assert (told["ok"], told["doctor"]["ok"], told["kept_aside"]) == (True, True, None)
    assert json.loads(target.ask("doctor", "--json"))["ok"] is True
    if taken.kind.server != "embedded":
        # Never analyzed would be -1.
        rows = asyncio.run(_rows_of_product(target.settings["KASUWA_DATABASE_URL"]))
        assert rows >= len(taken.products)
    with serving(target) as running:
        stock = f"{running.url}/cloudapi/app/{taken.full.store_id}/stock"
        headers = {"sessiontoken": taken.full.session}
        for product in taken.products:
            assert checked.get(f"{stock}/{product}", headers=headers).status_code == 200
        for picture in taken.pictures:
            shown = checked.get(running.url + picture)
            assert (shown.status_code, shown.headers["content-type"][:6]) == (200, "image/")
    again = target.run("restore", str(taken.archive))
    assert again.returncode == 1
    assert "--force" in again.stderr


def test_one_changed_byte_is_refused_and_nothing_is_made(
    taken: Taken, places: Places, tmp_path: Path
) -> None:
    content = bytearray(taken.archive.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged.backup"
    damaged.write_bytes(content)
    target = taken.empty_place(places)
    done = target.run("restore", str(damaged))
    assert (done.returncode, done.stdout) == (1, "")
    assert "was damaged" in done.stderr
    assert not target.data.exists()
    if taken.kind.in_bucket:
        url = target.settings["KASUWA_STORAGE_URL"]
        assert asyncio.run(_keys(url)) == set()
    if taken.kind.server != "embedded":
        assert "kasuwa" not in asyncio.run(_databases(target.settings["KASUWA_DATABASE_URL"]))


# What may be missing -------------------------------------------------------------------------------


class ByAddress(Struct, frozen=True):
    """A shop at the newest server, and a backup of it."""

    full: Full
    archive: Path


@pytest.fixture(scope="module")
def by_address(places: Places, tmp_path_factory: pytest.TempPathFactory) -> ByAddress:
    full = filled(places.new(Kind(server="newest")))
    archive = tmp_path_factory.mktemp("archives") / "shop.backup"
    full.installation.ask("backup", "--with-key", str(archive))
    return ByAddress(full, archive)


def with_setting(installation: Installation, **settings: str) -> Installation:
    return Installation(installation.data, installation.settings | settings)


def test_without_the_programs_it_says_where_to_get_them(
    by_address: ByAddress, places: Places, tmp_path: Path
) -> None:
    lacking = with_setting(by_address.full.installation, KASUWA_PG_BIN=str(tmp_path))
    done = lacking.run("backup", str(tmp_path / "shop.backup"))
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert f"{tmp_path} has no pg_dump" in done.stderr
    target = with_setting(places.new(Kind(server="newest")), KASUWA_PG_BIN=str(tmp_path))
    done = target.run("restore", str(by_address.archive))
    assert done.returncode == 1
    for words in ("no pg_restore", "postgresql-client", "KASUWA_PG_BIN"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    # Nothing is left of the try, and the next one succeeds with a client's programs alone.
    assert "kasuwa_restoring" not in asyncio.run(_databases(target.settings["KASUWA_DATABASE_URL"]))
    for name in ("pg_dump", "pg_restore"):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\nexec {find_binaries().bin}/{name} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    lacking.ask("backup", str(tmp_path / "shop.backup"))
    target.ask("restore", str(by_address.archive))


@pytest.mark.skipif(DEBIAN is None, reason="PostgreSQL 15 is not installed here")
def test_programs_that_are_too_old_are_refused_by_their_names(
    by_address: ByAddress, places: Places, tmp_path: Path
) -> None:
    assert DEBIAN is not None
    old = with_setting(by_address.full.installation, KASUWA_PG_BIN=str(DEBIAN.bin))
    done = old.run("backup", str(tmp_path / "shop.backup"))
    assert done.returncode == 1
    assert f"{DEBIAN.bin}/pg_dump is of PostgreSQL 15" in done.stderr
    target = with_setting(places.new(Kind(server="oldest")), KASUWA_PG_BIN=str(DEBIAN.bin))
    done = target.run("restore", str(by_address.archive))
    assert done.returncode == 1
    assert "the pg_dump that wrote this of a later one" in done.stderr
    assert "KASUWA_PG_BIN" in done.stderr


def test_an_administrator_who_may_not_make_roles_is_told_what_to_have_run(
    by_address: ByAddress, places: Places
) -> None:
    target = places.new(Kind(server="newest"))
    admin = target.settings["KASUWA_DATABASE_URL"]
    asyncio.run(_execute(admin, "CREATE ROLE clerk LOGIN PASSWORD 'clerk'"))
    clerk = f"postgresql://clerk:clerk@{admin.rpartition('@')[2]}"
    done = with_setting(target, KASUWA_DATABASE_URL=clerk).run("restore", str(by_address.archive))
    assert done.returncode == 1
    for words in ("Have a superuser run this", "CREATE ROLE kasuwa_owner", "CREATE DATABASE"):
        assert words in done.stderr
    target.ask("restore", str(by_address.archive))


@pytest.mark.parametrize("taken", [KINDS["pictures in a bucket"]], indirect=True, ids=["s3"])
def test_a_bucket_that_is_not_there_leaves_the_database_as_it_was(taken: Taken, places: Places) -> None:
    target = taken.empty_place(places)
    there = target.settings["KASUWA_STORAGE_URL"]
    wrong = with_setting(target, KASUWA_STORAGE_URL=there.replace("s3://", "s3://no-"))
    done = wrong.run("restore", str(taken.archive))
    assert done.returncode == 1
    assert "The bucket for files is not there" in done.stderr
    target.ask("restore", str(taken.archive))


async def _keys(url: str) -> set[str]:
    blobs = open_s3(url)
    try:
        return await keys(blobs)
    finally:
        await blobs.close()


async def _databases(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    finally:
        await connection.close()


async def _rows_of_product(url: str) -> int:
    """How many products the planner counts on."""
    connection = await asyncpg.connect(url, database="kasuwa")
    try:
        rows: int = await connection.fetchval(
            "SELECT reltuples::bigint FROM pg_class WHERE relname = 'product'"
        )
        return rows
    finally:
        await connection.close()


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
