"""A file of very many rows through `kasuwa import`: it ends, each row is there, memory does not grow with it.

Run: python -m tests.faults.large_imports --rows 1000000   (minutes; beside it a file of a tenth of the rows)
"""

import argparse
import asyncio
import csv
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import asyncpg
from msgspec import Struct

from bench.importing import write_file
from bench.processes import memory_of, peak_bytes
from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls, visiting_database
from kasuwa.settings import read_settings
from tests.faults.installation import Installation, new_folder
from tests.shop import new_shop

# What the larger file may take beyond the smaller one: eight bytes for each SKU and barcode.
MOST_GROWTH_BYTES = 40 * 2**20


class Ended(Struct, frozen=True, kw_only=True):
    """How the command ended. `stored` are the variants that the database has afterwards."""

    rows: int
    exit_code: int
    status: str
    created: int
    failed: int
    rows_done: int
    stored: int
    seconds: float
    peak_rss_bytes: int
    peak_pss_bytes: int

    def faults(self) -> list[str]:
        found = []
        if (self.exit_code, self.status, self.failed) != (0, "done", 0):
            found.append(f"{self.rows} rows ended with {self.exit_code}, {self.status}, {self.failed} failed")
        if (self.rows_done, self.stored) != (self.rows + 1, self.rows):
            found.append(f"{self.rows} rows: {self.rows_done} were read and {self.stored} are stored")
        return found

    def line(self) -> str:
        return (
            f"{self.rows} rows: {self.status} after {self.seconds:.0f} s, {self.created} products,"
            f" {self.stored} rows stored, peak {self.peak_rss_bytes / 2**20:.0f} MB RSS,"
            f" {self.peak_pss_bytes / 2**20:.0f} MB PSS"
        )


def growth_faults(small: Ended, large: Ended) -> list[str]:
    """Whether memory grew with the file."""
    faults = []
    for kind in ("rss", "pss"):
        more = getattr(large, f"peak_{kind}_bytes") - getattr(small, f"peak_{kind}_bytes")
        if more > MOST_GROWTH_BYTES:
            faults.append(
                f"{large.rows} rows took {more / 2**20:.0f} MB {kind.upper()} more than {small.rows}"
            )
    return faults


def write_rows(file: Path, rows: int) -> None:
    """Exactly so many rows below the header: products, and products with variants."""
    write_file(file, rows)
    with file.open("a", newline="") as out:
        writer = csv.writer(out)
        for number in range(rows % 6):
            writer.writerow(["", f"L-{number}", f"Bowl L-{number}", *[""] * 4, 500, *[""] * 4, 3, 1])


def import_rows(data: Path, rows: int) -> Ended:
    """Import a file of so many rows into a new installation."""
    installation = Installation(data)
    file = data.with_suffix(".csv")
    write_rows(file, rows)
    store_id = _open_shop(installation)
    words = [
        sys.executable,
        "-m",
        "kasuwa",
        "import",
        "products",
        str(file),
        "--store",
        str(store_id),
        "--json",
    ]
    begun = time.monotonic()
    peak_rss = peak_pss = 0
    with subprocess.Popen(words, env=installation.environment, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            with suppress(FileNotFoundError, ProcessLookupError, IndexError):  # it may end while we look
                peak_rss = max(peak_rss, peak_bytes(process.pid))
                peak_pss = max(peak_pss, memory_of(process.pid).pss_bytes)
            time.sleep(0.2)
        assert process.stdout is not None
        run = json.loads(process.stdout.read())
    seconds = time.monotonic() - begun
    file.unlink()
    return Ended(
        rows=rows,
        exit_code=process.returncode,
        status=run["status"],
        created=run["created"],
        failed=run["failed"],
        rows_done=run["rows_done"],
        stored=_count_rows(installation),
        seconds=seconds,
        peak_rss_bytes=peak_rss,
        peak_pss_bytes=peak_pss,
    )


def _open_shop(installation: Installation) -> UUID:
    settings = read_settings(installation.environment)

    async def found(urls: DatabaseUrls) -> UUID:
        async with everything(settings, urls) as services:
            return (await new_shop(services)).store_id

    with visiting_database(settings) as urls:
        return asyncio.run(found(urls))


def _count_rows(installation: Installation) -> int:
    """Of a product with variants the row of its own is a variant as well."""

    async def count(urls: DatabaseUrls) -> int:
        owner = await asyncpg.connect(urls.owner)
        try:
            stored: int = await owner.fetchval("SELECT count(*) FROM variant")
        finally:
            await owner.close()
        return stored

    with visiting_database(read_settings(installation.environment)) as urls:
        return asyncio.run(count(urls))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    ended = []
    for rows in (options.rows // 10, options.rows):
        with new_folder() as folder:
            ended.append(import_rows(folder / "data", rows))
        sys.stdout.write(f"{ended[-1].line()}\n")
        sys.stdout.flush()
    faults = [fault for one in ended for fault in one.faults()] + growth_faults(*ended)
    sys.stdout.write(f"{len(faults)} faults\n" + "".join(f"{one}\n" for one in faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
