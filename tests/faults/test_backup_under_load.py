"""Backups taken while writers run: each one restores whole, and a damaged one is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.faults.backups import BROKEN, Taken, faults_of_restored, take_backups
from tests.faults.installation import Installation


@pytest.fixture(scope="module")
async def backups(install: Callable[..., Installation]) -> list[Taken]:
    return await take_backups(install(), rounds=3)


async def test_each_backup_is_whole_after_its_restore(
    backups: list[Taken], install: Callable[..., Installation]
) -> None:
    assert all(taken.pictures and taken.products for taken in backups)
    for taken in backups:
        assert await faults_of_restored(taken, install(empty=True)) == []


async def test_the_checks_see_what_a_restored_shop_lacks(
    backups: list[Taken], install: Callable[..., Installation]
) -> None:
    lacking = replace(backups[0], products={"acknowledged and not in the archive"})
    installation = install(empty=True)
    faults = await faults_of_restored(lacking, installation)
    assert faults == ["product acknowledged and not in the archive is missing"]
    next(installation.data.glob("files/*/*/*/zoom-*.webp")).unlink()
    (fault,) = installation.examine()
    assert "is missing" in fault


async def test_a_dump_of_another_moment_than_its_files_is_found(
    install: Callable[..., Installation],
) -> None:
    """The control: the archive has rows that its manifest and its files lack."""
    (taken,) = await take_backups(install(), rounds=1, module=BROKEN)
    installation = install(empty=True)
    faults = await faults_of_restored(taken, installation)
    assert "came back with" in " ".join(faults)


@pytest.mark.parametrize("damage", ["cut short", "cut to nothing", "one bit", "one bit near the end"])
def test_a_damaged_archive_is_refused_and_nothing_is_made(
    backups: list[Taken], install: Callable[..., Installation], damage: str, tmp_path: Path
) -> None:
    content = bytearray(backups[0].archive.read_bytes())
    if damage == "cut short":
        del content[-len(content) // 3 :]
    elif damage == "cut to nothing":
        content.clear()
    elif damage == "one bit":
        content[len(content) // 2] ^= 0x10
    else:
        content[-len(content) // 50] ^= 0x01
    archive = tmp_path / "damaged.backup"
    archive.write_bytes(content)
    installation = install(empty=True)
    done = installation.run("restore", str(archive))
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("kasuwa: ")
    assert "Traceback" not in done.stderr
    assert not installation.data.exists() or not list(installation.data.glob("files/*/*/*/*"))
