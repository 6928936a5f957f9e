"""Backups under load, restores that pass the doctor, and archives that are refused."""

import json
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kasuwa.base.context import Context
from kasuwa.cli.backup.archive import ArchiveRefused, verify
from kasuwa.cli.backup.programs import without_password
from kasuwa.cli.backup.restoring import refuse_newer
from kasuwa.cli.visiting import in_the_shop
from kasuwa.settings import read_settings
from tests import checked
from tests.cli.loading import Full, Load
from tests.cli.staging import Installation, add_product, serving
from tests.shop import new_shop

PRODUCTS = 4


@pytest.fixture(scope="module")
def full(new_installation: Callable[..., Installation]) -> Full:
    installation = new_installation(KASUWA_STOREHARMONY_REQUESTS_PER_SECOND="10000")

    async def fill(context: Context) -> Full:
        shop = await new_shop(context.services)
        for seed in range(PRODUCTS):
            await add_product(shop.owner, seed)
        return Full(installation, str(shop.store_id), shop.session)

    return in_the_shop(read_settings({}, data=str(installation.data)), fill)


@pytest.fixture(scope="module")
def archive(full: Full, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("archives") / "shop.backup"
    full.installation.ask("backup", str(file))
    return file


def test_backups_under_load_come_back_whole(
    full: Full, archive: Path, new_installation: Callable[..., Installation], tmp_path: Path
) -> None:
    # After `archive`: that one holds the shop without the load.
    files = [tmp_path / f"{number}.backup" for number in range(2)]
    before: list[int] = []
    with serving(full.installation) as running, Load(running.url, full) as load:
        for file in files:
            before.append(len(load.acknowledged))
            full.installation.ask("backup", str(file))
    assert load.faults == []
    assert len(load.acknowledged) > before[1] > 0
    for file, least in zip(files, before, strict=True):
        target = new_installation(empty=True)
        told = json.loads(target.ask("restore", str(file), "--json"))
        assert told["ok"] is True
        assert told["doctor"]["ok"] is True
        products = next(c for c in told["doctor"]["checks"] if c["check"] == "cards of products")
        assert PRODUCTS + least <= products["looked_at"] <= PRODUCTS + len(load.acknowledged) + 1


def test_a_restored_shop_serves_its_pictures_and_keeps_its_log_ins(
    archive: Path, full: Full, new_installation: Callable[..., Installation]
) -> None:
    target = new_installation(empty=True)
    target.ask("restore", str(archive))
    with serving(target) as running:
        answer = checked.get(
            f"{running.url}/cloudapi/app/{full.store_id}/stock",
            headers={"sessiontoken": full.session},
        )
        assert answer.status_code == 200
        path = answer.text[answer.text.index("/media/") :].partition('"')[0]
        assert checked.get(running.url + path).headers["content-type"].startswith("image/")
    assert json.loads(target.ask("doctor", "--json"))["ok"] is True


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999999])
def test_a_truncated_archive_is_refused(share: float, archive: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.backup"
    content = archive.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArchiveRefused, match=r"cut short|no backup"):
        verify(cut)
    assert verify(archive).rows["product"] == PRODUCTS


def test_one_changed_bit_anywhere_is_refused(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    damaged = tmp_path / "damaged.backup"
    chance = random.Random(7)
    # The last place is padding that no reader of tar files looks at.
    places = [0, 600, len(content) - 1, len(content) - 70, len(content) - 200]
    for place in [*places, *(chance.randrange(len(content)) for _ in range(15))]:
        content[place] ^= 1
        damaged.write_bytes(content)
        with pytest.raises(ArchiveRefused):
            verify(damaged)
        content[place] ^= 1
    damaged.write_bytes(content)
    assert verify(damaged) == verify(archive)


def test_a_refused_archive_touches_nothing(
    archive: Path, new_installation: Callable[..., Installation], tmp_path: Path
) -> None:
    target = new_installation(empty=True)
    cut = tmp_path / "cut.backup"
    cut.write_bytes(archive.read_bytes()[:-1000])
    foreign = tmp_path / "photographs.tar"
    with tarfile.open(foreign, "w") as tar:
        tar.add(archive, "database.dump")
    for file, word in ((cut, "cut short"), (foreign, "no backup"), (tmp_path / "none", "not there")):
        done = target.run("restore", str(file))
        assert (done.returncode, done.stdout) == (1, "")
        assert word in done.stderr
        assert "Traceback" not in done.stderr
    assert not target.data.exists()


def test_an_archive_of_a_newer_version_is_refused(archive: Path) -> None:
    manifest = verify(archive)
    refuse_newer(archive, manifest)
    manifest.migrations["9999_tomorrow"] = "00"
    with pytest.raises(ArchiveRefused, match="does not know"):
        refuse_newer(archive, manifest)


def test_a_shop_is_not_replaced_without_force_and_kept_aside_with_it(
    archive: Path, new_installation: Callable[..., Installation]
) -> None:
    target = new_installation(empty=True)
    target.ask("restore", str(archive))
    refused = target.run("restore", str(archive))
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    with serving(target):
        running = target.run("restore", str(archive), "--force")
        assert running.returncode == 1
        assert "Stop the server" in running.stderr
    told = json.loads(target.ask("restore", str(archive), "--force", "--json"))
    assert told["ok"] is True
    assert told["kept_aside"].startswith("kasuwa_before_")


def test_the_sealing_key_comes_along_only_when_asked(
    full: Full, archive: Path, new_installation: Callable[..., Installation], tmp_path: Path
) -> None:
    key = (full.installation.data / "secret.key").read_text().split()
    with tarfile.open(archive) as tar:
        assert "secret.key" not in tar.getnames()
    without = new_installation(empty=True)
    told = json.loads(without.ask("restore", str(archive), "--json"))
    assert told["sealed_is_lost"] is True
    guarded = tmp_path / "guarded.backup"
    full.installation.ask("backup", str(guarded), "--with-key")
    assert guarded.stat().st_mode & 0o077 == 0
    target = new_installation(empty=True)
    told = json.loads(target.ask("restore", str(guarded), "--json"))
    assert told["sealed_is_lost"] is False
    assert (target.data / "secret.key").read_text().split() == key
    assert (target.data / "secret.key").stat().st_mode & 0o077 == 0


def test_a_backup_that_fails_leaves_the_one_before(full: Full, archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "shop.backup"
    shutil.copy(archive, file)
    victim = next(path for path in (full.installation.data / "files").rglob("*.jpg"))
    content = victim.read_bytes()
    victim.unlink()
    done = full.installation.run("backup", str(file))
    victim.write_bytes(content)
    assert done.returncode == 1
    assert "doctor" in done.stderr
    assert file.read_bytes() == archive.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["shop.backup"]


def test_no_password_stands_on_a_command_line() -> None:
    plain, secret = without_password(
        "postgresql://kasuwa_owner:p%40ss@db.example:5432/kasuwa?sslmode=require"
    )
    assert plain == "postgresql://kasuwa_owner@db.example:5432/kasuwa?sslmode=require"
    assert secret == {"PGPASSWORD": "p@ss"}
    assert without_password("postgresql://o@/k?host=%2Frun")[1] == {}
