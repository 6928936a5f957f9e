"""Writing a table as an XLSX file: piece by piece while its rows are made, so that memory holds one piece.

The same rows are the same bytes: nothing in the file tells when it was made. See
docs/decisions/table-files.md.
"""

import re
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from xml.sax.saxutils import escape

from kasuwa.base.tables.records import TableWrong
from kasuwa.base.tables.xlsx import MOST_SHEET_BYTES

# A spreadsheet has no more.
MOST_ROWS = 1_048_576

_PIECE = 64 * 1024
_BEGIN = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_KINDS = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_SHEET = "xl/worksheets/sheet1.xml"
_BESIDE = {
    "[Content_Types].xml": (
        f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_KINDS}.sheet.main+xml"/>'
        f'<Override PartName="/{_SHEET}" ContentType="{_KINDS}.worksheet+xml"/></Types>'
    ),
    "_rels/.rels": (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/>'
        "</Relationships>"
    ),
    "xl/workbook.xml": (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}">'
        '<sheets><sheet name="{title}" sheetId="1" r:id="rId1"/></sheets></workbook>'
    ),
    "xl/_rels/workbook.xml.rels": (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>"
    ),
}
# What XML cannot hold or would change is written by its number; so is a `_` that would begin one.
_UNWRITABLE = re.compile("_(?=x[0-9A-Fa-f]{4})|[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", re.ASCII)
# A spreadsheet keeps no more digits of a number.
_MOST_DIGITS = 15


class _Pieces:
    """What the archive has written and nobody has taken. It cannot go back, so the archive does not."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, piece: bytes, /) -> int:
        self._bytes += piece
        return len(piece)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __len__(self) -> int:
        return len(self._bytes)

    def take(self) -> bytes:
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken


async def write_xlsx(
    rows: AsyncIterator[Sequence[str]], title: str, is_number: Callable[[str], bool]
) -> AsyncIterator[bytes]:
    """The file, on one sheet of that title. The first row names the columns.

    Cells are texts, which no spreadsheet runs, and numbers in the columns whose name `is_number`. Raises
    TableWrong for more than a sheet can hold.
    """
    header = await anext(rows)
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w") as archive:
        for name, content in _BESIDE.items():
            archive.writestr(_member(name), _BEGIN + content.replace("{title}", _attribute(title)))
        with archive.open(_member(_SHEET), "w") as sheet:
            write = _Sheet(sheet.write, [is_number(name) for name in header])
            write.begin(header)
            async for row in rows:
                write.row(row)
                if len(pieces) > _PIECE:
                    yield pieces.take()
            write.end()
    yield pieces.take()


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # of 1980, when nobody says otherwise
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


class _Sheet:
    """Writes rows, by some at once: a packer is slow for single ones."""

    def __init__(self, write: Callable[[bytes], int], numbers: Sequence[bool]) -> None:
        self._write = write
        self._columns = [(_letters(place), number) for place, number in enumerate(numbers)]
        self._waiting: list[str] = []
        self._waiting_length = 0
        self._rows = self._size = 0

    def begin(self, header: Sequence[str]) -> None:
        self._put(f'{_BEGIN}<worksheet xmlns="{_MAIN}"><sheetData>')
        self._rows = 1
        cells = (_text(f"{letters}1", cell) for (letters, _), cell in zip(self._columns, header, strict=True))
        self._put(f'<row r="1">{"".join(cells)}</row>')

    def row(self, cells: Sequence[str]) -> None:
        self._rows += 1
        if self._rows > MOST_ROWS:
            raise TableWrong(f"A sheet has at most {MOST_ROWS} rows: export CSV or JSON lines.")
        number = self._rows
        written = (
            _number(f"{letters}{number}", cell) if is_number else _text(f"{letters}{number}", cell)
            for (letters, is_number), cell in zip(self._columns, cells, strict=True)
            if cell
        )
        self._put(f'<row r="{number}">{"".join(written)}</row>')

    def end(self) -> None:
        self._put("</sheetData></worksheet>")
        self._pack()

    def _put(self, xml: str) -> None:
        self._waiting.append(xml)
        self._waiting_length += len(xml)
        if self._waiting_length > _PIECE:
            self._pack()

    def _pack(self) -> None:
        packed = "".join(self._waiting).encode()
        self._waiting.clear()
        self._waiting_length = 0
        self._size += len(packed)
        if self._size >= MOST_SHEET_BYTES:
            raise TableWrong(f"A sheet has at most {MOST_SHEET_BYTES // 2**20} MB: export CSV or JSON lines.")
        self._write(packed)


def _letters(place: int) -> str:
    """The column of that place from 0, as a spreadsheet calls it: 27 is AB."""
    letters = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        letters = chr(65 + letter) + letters
    return letters


def _text(reference: str, cell: str) -> str:
    written = escape(_UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", cell))
    return f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{written}</t></is></c>'


def _number(reference: str, cell: str) -> str:
    """The number, unless a spreadsheet would show another one than stands here."""
    digits = sum(sign.isdigit() for sign in cell)
    if digits > _MOST_DIGITS or not _NUMBER.fullmatch(cell):
        return _text(reference, cell)
    return f'<c r="{reference}"><v>{cell}</v></c>'


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
