"""Files of hostile size through `kasuwa import`: refused for what they are, before they are read whole."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.processes import peak_bytes
from kasuwa.base.tables import TableWrong
from kasuwa.base.tables.survey import MOST_LINE_BYTES, survey
from kasuwa.database import DatabaseUrls
from tests.base.tables.test_xlsx import sheet, write
from tests.cli.staging import Installation
from tests.cli.test_exchange import count, installation, settings, shop, urls
from tests.shop import Shop

__all__ = ["installation", "settings", "shop", "urls"]

TWO_GB = 2 * 1024**3
# Reading this much would take a quarter of an hour.
ONE_TB = 1024**4
MOST_PEAK_BYTES = 160 * 2**20
ROW = b"sku,name,price\nA,Malt,500\n"
LINE = b'{"sku": "A", "name": "Malt", "price": 500}\n'


def sparse(file: Path, begin: bytes, size: int) -> Path:
    """The bytes, and then a hole that takes no room on the disk."""
    file.write_bytes(begin)
    os.truncate(file, size)
    return file


def claiming(file: Path, size: int) -> Path:
    """A sheet of which the archive's list of contents says that it unpacks to so much."""
    write(file, sheet("<row><c><v>1</v></c></row>"))
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        name = archive.getinfo("xl/worksheets/sheet2.xml").filename.encode()
    entry = content.rindex(name) - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 24 : entry + 28] = size.to_bytes(4, "little")
    file.write_bytes(content)
    return file


# How each begins, what it is called, and what is said of it.
HOLES: dict[str, tuple[bytes, str, str]] = {
    "CSV of zero bytes": (b"", "zeros.csv", "nothing but zero bytes"),
    "CSV with a hole": (ROW, "hole.csv", "A line is longer than 16 MB"),
    "XLSX without an end": (b"PK\x03\x04", "cut.xlsx", "its end is missing"),
    "JSON lines of one line": (b'{"sku": "', "line.jsonl", "A line is longer than 16 MB"),
    "JSON lines with a hole": (LINE, "hole.jsonl", "A line is longer than 16 MB"),
}


def run(installation: Installation, file: Path, shop: Shop) -> tuple[int, str, int]:
    """The exit code of the import, what it said, and the most memory that it held."""
    words = ["import", "products", str(file), "--store", str(shop.store_id)]
    peak = 0
    with subprocess.Popen(
        [sys.executable, "-m", "kasuwa", *words],
        env=installation.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while process.poll() is None:
            try:
                peak = max(peak, peak_bytes(process.pid))
                process.wait(0.02)
            except (subprocess.TimeoutExpired, FileNotFoundError, ProcessLookupError, IndexError):
                continue
        assert process.stdout is not None
        return process.returncode, process.stdout.read(), peak


MAKERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    **{
        name: (lambda folder, begin=begin, called=called: sparse(folder / called, begin, TWO_GB), said)  # type: ignore[misc]
        for name, (begin, called, said) in HOLES.items()
    },
    "XLSX that claims 3 GB": (
        lambda folder: claiming(folder / "claims.xlsx", 3 * 1024**3),
        "unpacks to 3072 MB; save the table as CSV",
    ),
    "XLSX that claims a hundred thousand times its size": (
        lambda folder: claiming(folder / "claims.xlsx", 1024**3),
        "times its size",
    ),
}


@pytest.mark.parametrize(("make", "said"), MAKERS.values(), ids=MAKERS)
def test_two_gigabytes_of_nothing_are_refused_with_what_to_do_and_nothing_is_written(
    installation: Installation,
    shop: Shop,
    tmp_path: Path,
    make: Callable[[Path], Path],
    said: str,
) -> None:
    code, told, peak = run(installation, make(tmp_path), shop)
    assert (code, said in told) == (1, True), told
    assert "Traceback" not in told
    assert 0 < peak <= MOST_PEAK_BYTES
    assert list(tmp_path.glob("*.failed.csv")) == []


async def test_nothing_of_them_is_in_the_shop(
    installation: Installation, urls: DatabaseUrls, shop: Shop, tmp_path: Path
) -> None:
    file = sparse(tmp_path / "hole.csv", ROW, TWO_GB)
    assert run(installation, file, shop)[0] == 1
    assert await count(urls, "SELECT count(*) FROM product WHERE merchant_id = $1", shop) == 0
    assert await count(urls, "SELECT count(*) FROM import_run WHERE merchant_id = $1", shop) == 0
    # The control: the same rows without the hole.
    file.write_bytes(ROW)
    assert run(installation, file, shop)[0] == 0
    assert await count(urls, "SELECT count(*) FROM product WHERE merchant_id = $1", shop) == 1


@pytest.mark.parametrize(("begin", "called", "said"), HOLES.values(), ids=HOLES)
def test_a_file_is_read_no_further_than_it_may_be_a_table(
    tmp_path: Path, begin: bytes, called: str, said: str
) -> None:
    with pytest.raises(TableWrong, match=said):
        survey(sparse(tmp_path / called, begin, ONE_TB))


def test_a_line_that_is_as_long_as_it_may_be_is_read(tmp_path: Path) -> None:
    """The control: it is the length of a line that counts, not that of the file."""
    file = tmp_path / "long.csv"
    with file.open("wb") as out:
        for _ in range(3):
            out.write(b"x" * (MOST_LINE_BYTES - 2**20) + b"\n")
    assert survey(file).size_bytes > 2 * MOST_LINE_BYTES
