"""XLSX files that we write: our reader gives back what was written, and every spreadsheet finds its parts."""

import asyncio
import hashlib
import io
import tempfile
import zipfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kasuwa.base.tables import TableWrong, open_table, write_xlsx, xlsx_files
from kasuwa.base.tables.survey import survey

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
SHEET = "xl/worksheets/sheet1.xml"


async def given_rows(rows: Sequence[Sequence[str]]) -> AsyncIterator[Sequence[str]]:
    for row in rows:
        yield row


async def written(*rows: Sequence[str]) -> bytes:
    pieces = write_xlsx(given_rows(rows), "Products & <more>", lambda name: name == "price")
    return b"".join([piece async for piece in pieces])


def read(content: bytes) -> tuple[list[str], list[list[str]]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.xlsx"
        file.write_bytes(content)
        table = open_table(file, survey(file))
        try:
            return table.header, [row.cells for row in table.rows]
        finally:
            table.close()


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
@example(["_x0041_", "_x0041_x0042_", "_x0041\x01", "__x005F_\r\n", " a\t\x00\ufffe\uffff "])
@example(["long \n" * 13_107, "_x000" * 13_107])
@example(['=1+1<&>"]]>', "\U0001f600 \x85\u2028", "_X0041_ x_x00", "'"])
def test_every_text_is_read_as_it_was_written(texts: list[str]) -> None:
    header = ["sku", *(f"column {place}" for place in range(len(texts)))]
    content = asyncio.run(written(header, ["A", *texts]))
    assert read(content) == (header, [["A", *texts]])


NUMBERS = ["0", "-5", "0.5", "1234.5", "1000000000000", "999999999999.999", "100000000000000"]
NO_NUMBERS = ["", "007", "+1", "1e5", "1.50", "=1+1", "1,5", "NaN", "1234567890123456", "٣"]


async def test_numbers_stand_as_numbers_where_the_column_has_them_and_are_not_changed() -> None:
    cells = [*NUMBERS, *NO_NUMBERS]
    content = await written(["sku", "price", "barcode"], *(["A", cell, cell] for cell in cells))
    assert read(content)[1] == [["A", cell, cell] for cell in cells]
    sheet = ElementTree.fromstring(members(content)[SHEET])
    kinds = {
        (cell.get("r", "")[0], cells[int(cell.get("r", "")[1:]) - 2])
        for cell in sheet.iter(f"{MAIN}c")
        if cell.get("t") is None
    }
    assert kinds == {("B", number) for number in NUMBERS}
    assert list(sheet.iter(f"{MAIN}f")) == []


async def test_every_part_is_named_by_its_kind_and_found_from_the_first() -> None:
    parts = members(await written(["sku"], ["A"]))
    kinds = ElementTree.fromstring(parts["[Content_Types].xml"])
    named = {one.get("PartName", "").lstrip("/") for one in kinds if one.get("PartName")}
    assert named == {name for name in parts if name.endswith(".xml")} - {"[Content_Types].xml"}
    (first,) = ElementTree.fromstring(parts["_rels/.rels"])
    assert first.get("Target") == "xl/workbook.xml"
    (second,) = ElementTree.fromstring(parts["xl/_rels/workbook.xml.rels"])
    assert f"xl/{second.get('Target')}" == SHEET
    (sheet,) = ElementTree.fromstring(parts["xl/workbook.xml"]).iter(f"{MAIN}sheet")
    assert (sheet.get("name"), second.get("Id")) == ("Products & <more>", "rId1")


async def test_the_same_rows_are_the_same_bytes_whenever_they_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = await written(["sku"], ["A"])
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert await written(["sku"], ["A"]) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


async def test_it_is_sent_while_its_rows_are_made_and_holds_a_piece_of_it() -> None:
    asked = 0
    count = 20_000

    async def rows() -> AsyncIterator[Sequence[str]]:
        nonlocal asked
        yield ["sku", "name"]
        for asked in range(count):
            yield [f"S-{asked}", hashlib.sha256(b"%d" % asked).hexdigest()]

    sizes, asked_at_first = [], 0
    content = b""
    async for piece in write_xlsx(rows(), "Products", lambda _: False):
        asked_at_first = asked_at_first or asked
        sizes.append(len(piece))
        content += piece
    assert 0 < asked_at_first < count // 5
    assert max(sizes) < 256 * 1024
    assert len(read(content)[1]) == count


async def test_no_more_is_written_than_a_sheet_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_files, "MOST_ROWS", 3)
    full = await written(["sku"], ["A"], ["B"])
    assert len(read(full)[1]) == 2
    with pytest.raises(TableWrong, match="at most 3 rows: export CSV or JSON lines"):
        await written(["sku"], ["A"], ["B"], ["C"])
    monkeypatch.setattr(xlsx_files, "MOST_SHEET_BYTES", 200)
    with pytest.raises(TableWrong, match="MB: export CSV or JSON lines"):
        await written(["sku"], ["A" * 200])


async def test_columns_are_called_as_a_spreadsheet_calls_them() -> None:
    header = [f"c{place}" for place in range(703)]
    sheet = ElementTree.fromstring(members(await written(header))[SHEET])
    names = [cell.get("r", "") for cell in sheet.iter(f"{MAIN}c")]
    assert [names[place] for place in (0, 25, 26, 51, 52, 701, 702)] == (
        ["A1", "Z1", "AA1", "AZ1", "BA1", "ZZ1", "AAA1"]
    )
