"""XLSX files as spreadsheets write them, and as somebody who means harm would."""

import struct
import zipfile
from pathlib import Path

import pytest

from kasuwa.base.tables import BadRow, Table, TableWrong, archives, open_table, xlsx
from kasuwa.base.tables.records import MOST_CELL
from kasuwa.base.tables.survey import survey

BOOK = (
    '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    ' xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>'
    '<sheet name="Hidden" sheetId="1" state="hidden" r:id="rId1"/>'
    '<sheet name="Products" sheetId="2" r:id="rId2"/></sheets></workbook>'
)
RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Target="worksheets/sheet1.xml"/>'
    '<Relationship Id="rId2" Target="/xl/worksheets/sheet2.xml"/></Relationships>'
)
TEXTS = (
    "<sst><si><t>sku</t></si><si><t>name</t></si>"
    "<si><r><t>Crème</t></r><r><t> brûlée</t></r><rPh><t>no</t></rPh></si></sst>"
)
STYLES = (
    '<styleSheet><numFmts><numFmt numFmtId="164" formatCode="dd&quot;d&quot;/mm/yyyy"/>'
    '<numFmt numFmtId="165" formatCode="0&quot;days&quot;"/></numFmts>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="165"/></cellXfs>'
    "</styleSheet>"
)
HEAD = (
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c>'
    '<c r="D1" t="str"><v>date</v></c></row>'
)


def sheet(*rows: str) -> str:
    return f"<worksheet><sheetData>{HEAD}{''.join(rows)}</sheetData></worksheet>"


def write(path: Path, content: str, **members: str) -> Path:
    parts = {
        "xl/workbook.xml": BOOK,
        "xl/_rels/workbook.xml.rels": RELATIONS,
        "xl/sharedStrings.xml": TEXTS,
        "xl/styles.xml": STYLES,
        "xl/worksheets/sheet1.xml": sheet("<row><c><v>1</v></c></row>"),
        "xl/worksheets/sheet2.xml": content,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (parts | members).items():
            archive.writestr(name, text)
    return path


def opened(path: Path, name: str | None = None) -> Table:
    return open_table(path, survey(path), sheet=name)


def rows_of(path: Path) -> list[list[str]]:
    table = opened(path)
    try:
        return [row.cells for row in table.rows]
    finally:
        table.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "products.xlsx"


def test_texts_numbers_dates_and_formulas_are_read_as_they_are_shown(file: Path) -> None:
    rows = (
        '<row r="2"><c r="A2" t="inlineStr"><is><t>A</t></is></c><c r="B2" t="s"><v>2</v></c>'
        '<c r="D2" s="1"><v>46418</v></c></row>',
        '<row r="4"><c r="A4"><v>6001234567890</v></c><c r="B4"><f>1+2</f><v>0.30000000000000004</v></c>'
        '<c r="D4" s="2"><v>46418.5</v></c></row>',
        '<row r="5"><c r="A5" t="b"><v>1</v></c><c r="B5" t="e"><v>#REF!</v></c>'
        '<c r="D5" s="3"><v>5</v></c></row>',
    )
    table = opened(write(file, sheet(*rows)))
    assert table.header == ["sku", "name", "", "date"]
    assert table.notes == ["sheet 'Products'; the other 1 are not read"]
    assert [(row.number, row.cells) for row in table.rows] == [
        (2, ["A", "Crème brûlée", "", "2027-01-31"]),
        (4, ["6001234567890", "0.3", "", "2027-01-31T12:00:00"]),
        (5, ["true", "#REF!", "", "5"]),
    ]
    assert table.fraction() == 1.0
    table.close()


def test_characters_that_stand_by_their_number_are_read_in_shared_and_in_own_texts(file: Path) -> None:
    shared = "<sst><si><t>sku</t></si><si><t>name</t></si><si><t>a_x000D_b _x005F_x0041_</t></si></sst>"
    row = '<row r="2"><c r="A2" t="str"><v>_x0009_A</v></c><c r="B2" t="s"><v>2</v></c></row>'
    write(file, sheet(row), **{"xl/sharedStrings.xml": shared})
    assert rows_of(file) == [["\tA", "a\rb _x0041_", "", ""]]


def test_a_sheet_is_found_by_its_name_or_the_others_are_named(file: Path) -> None:
    write(file, sheet())
    opened(file, "Hidden").close()
    with pytest.raises(TableWrong, match="there are: Hidden, Products"):
        opened(file, "Prices")


def test_more_cells_than_the_header_are_a_bad_row(file: Path) -> None:
    table = opened(write(file, sheet('<row r="2"><c r="E2"><v>1</v></c></row>')))
    (row,) = table.rows
    assert isinstance(row, BadRow)
    table.close()


ENTITY = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("member", ["xl/workbook.xml", "xl/sharedStrings.xml", "xl/worksheets/sheet2.xml"])
@pytest.mark.parametrize("begin", [ENTITY, OUTSIDE, "<!DOCTYPE x>"])
def test_a_document_type_is_refused_wherever_it_stands(file: Path, member: str, begin: str) -> None:
    write(file, sheet(), **{member: f"{begin}<x>&a;</x>"})
    with pytest.raises(TableWrong, match="document type"):
        rows_of(file)


def test_what_unpacks_to_a_thousand_times_its_size_is_not_unpacked(file: Path) -> None:
    write(file, sheet('<row r="2"><c t="str"><v>' + " " * 40_000_000 + "</v></c></row>"))
    assert file.stat().st_size < 200_000
    with pytest.raises(TableWrong, match="times its size"):
        rows_of(file)


def test_more_texts_than_memory_should_hold_are_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kasuwa.base.tables.xlsx.MOST_TEXT_BYTES", 100)
    with pytest.raises(TableWrong, match="save the table as CSV"):
        rows_of(write(file, sheet()))


def test_a_crowd_of_names_is_not_made_into_objects(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of an archive's ends says how long its list is, also for one who reads only the other."""
    content = write(file, sheet()).read_bytes()
    at = content.rindex(b"PK\x05\x06")
    plain = content[: at + 12] + struct.pack("<L", 9 * 2**20) + content[at + 16 :]
    wide_end = b"PK\x06\x06" + bytes(36) + struct.pack("<Q", 9 * 2**20) + bytes(8)
    wide = content[:at] + wide_end + b"PK\x06\x07" + bytes(16) + content[at:]
    for crowded in (plain, wide):
        file.write_bytes(crowded)
        with pytest.raises(TableWrong, match="too many files"):
            rows_of(file)
    monkeypatch.setattr(archives, "MOST_LIST_BYTES", 10 * 2**20)
    file.write_bytes(plain)
    with pytest.raises(TableWrong, match="damaged archive"):
        rows_of(file)


def test_far_columns_are_refused(file: Path) -> None:
    with pytest.raises(TableWrong, match="more than 500 columns"):
        rows_of(write(file, sheet('<row r="2"><c r="XFD2"><v>1</v></c></row>')))


def long_cell(length: int) -> str:
    return f'<row r="2"><c r="A2" t="str"><v>{"abcdefgh" * (length // 8)}</v></c></row>'


def test_a_cell_is_measured_by_its_characters_in_however_many_pieces_it_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows_of(write(file, sheet(long_cell(MOST_CELL))))
    assert len(row[0]) == MOST_CELL
    with pytest.raises(TableWrong, match="A cell of row 2 has more than 1048576 characters"):
        rows_of(write(file, sheet(long_cell(MOST_CELL + 8))))
    # The control: pieces, of which there are a hundred and thirty, do not tell.
    monkeypatch.setattr(xlsx._Gathered, "add", lambda gathered, piece, what: gathered._parts.append(piece))
    assert len(rows_of(write(file, sheet(long_cell(MOST_CELL + 8))))[0][0]) == MOST_CELL + 8


def test_a_long_text_is_refused_where_many_share_it_and_so_is_a_row_of_long_texts(file: Path) -> None:
    def shared(length: int) -> dict[str, str]:
        return {"xl/sharedStrings.xml": f"<sst><si><t>{'x' * length}</t></si><si><t>b</t></si></sst>"}

    cells = '<c t="s"><v>0</v></c>' * 5
    with pytest.raises(TableWrong, match="A text of the book has more than"):
        rows_of(write(file, sheet(), **shared(MOST_CELL + 1)))
    with pytest.raises(TableWrong, match="Row 2 has more than 4194304 characters"):
        rows_of(write(file, sheet(f'<row r="2">{cells}</row>'), **shared(MOST_CELL)))


@pytest.mark.parametrize("way", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_what_cannot_be_unpacked_in_parts_is_refused(file: Path, way: int) -> None:
    """A few kilobytes of it may unpack to a gigabyte at once, whatever they say of their size."""
    write(file, sheet())
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(file, "w", way) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(TableWrong, match="packed in an unusual way"):
        rows_of(file)


@pytest.mark.parametrize("kept", [30, 200, 700])
def test_a_file_that_was_cut_is_damaged(file: Path, kept: int) -> None:
    content = write(file, sheet()).read_bytes()
    file.write_bytes(content[:kept])
    with pytest.raises(TableWrong, match="damaged archive"):
        rows_of(file)


def test_a_byte_that_flipped_is_damaged_or_another_text_but_never_a_crash(file: Path) -> None:
    whole = write(file, sheet('<row r="2"><c r="A2" t="s"><v>0</v></c></row>')).read_bytes()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            rows_of(file)
        except TableWrong:
            continue


@pytest.mark.parametrize(
    ("member", "said"), [("content.xml", "OpenDocument"), ("photo.jpg", "a zip archive")]
)
def test_other_archives_are_named(file: Path, member: str, said: str) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, "x")
    with pytest.raises(TableWrong, match=said):
        opened(file)
