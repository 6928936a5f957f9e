"""Back up while writers run, restore each archive into a new data folder, serve and examine it.

Run: python -m tests.faults.backups --rounds 10    (with --broken the control, which must end with 1)
"""

import argparse
import asyncio
import sys
from functools import partial
from pathlib import Path

from msgspec import Struct

from tests.faults.creations import creating
from tests.faults.installation import Installation, new_folder
from tests.faults.uploads import UPLOADS, faults_of_files, staged, uploading

BROKEN = "tests.faults.broken_backup"


class Taken(Struct, frozen=True):
    """An archive, and what was acknowledged before it was begun: it must hold that at least."""

    archive: Path
    pictures: set[str]
    products: set[str]


async def take_backups(installation: Installation, *, rounds: int, module: str = "kasuwa") -> list[Taken]:
    """So many archives of a server whose writers never pause, each made by a run of the module."""
    backup = partial(installation.run, "backup", "--with-key", module=module)
    taken = []
    async with staged(installation) as stage:
        async with (
            uploading(stage, lines_may_break=False) as uploads,
            creating(stage, writers=2) as creators,
        ):
            for number in range(rounds):
                await uploads.acknowledged_more(len(UPLOADS))
                await creators.acknowledged_more(2)
                pictures = {sha256 for uploader in uploads.uploaders for sha256 in uploader.order}
                products = set(creators.names)
                archive = installation.data.with_name(f"{installation.data.name}-{number}.backup")
                done = await asyncio.to_thread(backup, str(archive))
                assert done.returncode == 0, done.stdout + done.stderr
                taken.append(Taken(archive, pictures, products))
        faults = uploads.log.faults + creators.log.faults
        assert faults == [], f"{faults} {uploads.log.statuses}"
        stage.server.stop()
    return taken


async def faults_of_restored(taken: Taken, installation: Installation) -> list[str]:
    """Restore into the new installation, which examines itself, serve it, and say what is missing."""
    done = await asyncio.to_thread(installation.run, "restore", str(taken.archive))
    if done.returncode != 0:
        return [f"restore: {done.stdout} {done.stderr}"]
    server = installation.start()
    try:
        await asyncio.to_thread(server.wait_until_ready)
        faults = await _missing(taken, installation)
        assert server.stop() == 0
    finally:
        server.kill_everything()
    return faults


async def _missing(taken: Taken, installation: Installation) -> list[str]:
    async with installation.as_owner() as owner:
        shown = await owner.fetch(
            """
            SELECT DISTINCT encode(p.sha256, 'hex') AS sha256
            FROM product_picture s JOIN picture p USING (merchant_id, picture_id)
            """
        )
        named = await owner.fetch("SELECT name FROM product")
    faults = [f"picture {sha256} is missing" for sha256 in taken.pictures - {row["sha256"] for row in shown}]
    faults += [f"product {name} is missing" for name in taken.products - {row["name"] for row in named}]
    return faults + await faults_of_files(installation)


async def run(folder: Path, rounds: int, module: str) -> list[str]:
    faults = []
    backups = await take_backups(Installation(folder / "data"), rounds=rounds, module=module)
    for number, taken in enumerate(backups):
        installation = Installation(folder / f"restored-{number}")
        faults += await faults_of_restored(taken, installation)
        faults += await asyncio.to_thread(installation.examine)
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--broken", action="store_true", help="dump later than the files are listed")
    options = parser.parse_args()
    rounds, module = options.rounds, BROKEN if options.broken else "kasuwa"
    with new_folder() as folder:
        faults = asyncio.run(run(folder, rounds, module))
    sys.stdout.write("\n".join([f"{rounds} backups restored, {len(faults)} faults", *faults]) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
