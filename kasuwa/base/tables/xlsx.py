"""The first sheet of an XLSX file, row by row, with expat.

Only what a table needs is read: texts, numbers, dates and what formulas last gave. A document type is
refused, so that there are no entities; sizes are checked before anything is unpacked. See
docs/decisions/table-files.md.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from kasuwa.base.tables.archives import DAMAGED, open_archive, open_member
from kasuwa.base.tables.records import MOST_CELL, MOST_ROW, BadRow, Table, TableRow, TableWrong, checked

MOST_SHEET_BYTES = 2 * 1024 * 1024 * 1024
MOST_TEXT_BYTES = 64 * 1024 * 1024
MOST_SMALL_BYTES = 16 * 1024 * 1024
# Sheets are packed to a twentieth; to a thousandth is what only nothing at all can be.
MOST_RATIO = 300
MOST_COLUMNS = 500

_PIECE = 64 * 1024
_BUILT_IN_DATES = frozenset({*range(14, 23), *range(45, 48)})
_DATE_LETTERS = re.compile(r"[dmyhs]", re.IGNORECASE)
_NOT_LETTERS = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
# What XML cannot hold stands by its number: _x000D_ is a carriage return, _x005F_ the sign that begins one.
_BY_NUMBER = re.compile("_x([0-9A-Fa-f]{4})_")


def open_xlsx(path: Path, sheet: str | None = None) -> Table:
    """The table on the sheet of that name, or on the first that is not hidden. Raises TableWrong."""
    archive = open_archive(path, "The file")
    try:
        return _open_xlsx(archive, sheet)
    except BaseException:
        archive.close()
        raise


def _open_xlsx(archive: zipfile.ZipFile, sheet: str | None) -> Table:
    book = _Book(archive)
    name, member = book.find_sheet(sheet)
    notes = [f"sheet {name!r}"]
    if len(book.sheets) > 1:
        notes[0] += f"; the other {len(book.sheets) - 1} are not read"
    size = archive.getinfo(member).file_size or 1
    reader = _Sheet(book)
    rows = reader.rows(book.open(member, MOST_SHEET_BYTES))
    header = next(rows, None)
    if header is None:
        raise TableWrong(f"The sheet {name!r} is empty.")
    cells = header[1]
    while cells and not cells[-1].strip():
        cells.pop()
    return Table(
        kind="xlsx",
        header=cells,
        notes=notes,
        rows=_table_rows(rows, len(cells)),
        fraction=lambda: min(1.0, reader.read_bytes / size),
        close=archive.close,
    )


def _table_rows(rows: Iterator[tuple[int, list[str]]], width: int) -> Iterator[TableRow | BadRow]:
    for number, cells in rows:
        if any(cells):
            yield checked(number, cells, width)


class _Book:
    """What stands beside the sheet: names, shared texts, and which styles are dates."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.sheets: list[tuple[str, str, bool]] = []
        self.begins_1904 = False
        self._read_names()
        self.texts = self._read_texts()
        self.dates = self._read_styles()

    def find_sheet(self, wanted: str | None) -> tuple[str, str]:
        for name, member, hidden in self.sheets:
            if name == wanted or (wanted is None and not hidden):
                return name, member
        names = ", ".join(name for name, _, _ in self.sheets)
        raise TableWrong(f"There is no such sheet; there are: {names}." if names else "There is no sheet.")

    def open(self, member: str, most_bytes: int) -> IO[bytes]:
        """The member, unless it would unpack to more than that. What it says of its size is what is read."""
        info = self._archive.getinfo(member)
        if info.file_size > most_bytes:
            raise TableWrong(f"{member} unpacks to {info.file_size // 2**20} MB; save the table as CSV.")
        if info.file_size > MOST_SMALL_BYTES and info.file_size > MOST_RATIO * max(1, info.compress_size):
            raise TableWrong(
                f"{member} unpacks to {info.file_size // max(1, info.compress_size)} times its size."
            )
        return open_member(self._archive, info)

    def _has(self, member: str) -> bool:
        return member in self._archive.NameToInfo

    def _read_names(self) -> None:
        if not self._has("xl/workbook.xml"):
            what = "an OpenDocument file" if self._has("content.xml") else "a zip archive"
            raise TableWrong(f"This is {what}, not an .xlsx; save the table as .xlsx or CSV.")
        targets: dict[str, str] = {}
        if self._has("xl/_rels/workbook.xml.rels"):

            def relation(name: str, attributes: dict[str, str]) -> None:
                if name == "Relationship":
                    target = attributes.get("Target", "")
                    full = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
                    targets[attributes.get("Id", "")] = full

            parse(self.open("xl/_rels/workbook.xml.rels", MOST_SMALL_BYTES), relation)

        def sheet(name: str, attributes: dict[str, str]) -> None:
            if name == "workbookPr":
                self.begins_1904 = attributes.get("date1904", "0") in ("1", "true")
            if name == "sheet":
                relation_id = next((v for key, v in attributes.items() if key.endswith(":id")), "")
                member = targets.get(relation_id, "")
                if self._has(member):
                    hidden = attributes.get("state", "visible") != "visible"
                    self.sheets.append((attributes.get("name", ""), member, hidden))

        parse(self.open("xl/workbook.xml", MOST_SMALL_BYTES), sheet)

    def _read_texts(self) -> list[str]:
        if not self._has("xl/sharedStrings.xml"):
            return []
        texts: list[str] = []
        gathered = _Gathered()
        inside = [False, False]  # a <t>; a phonetic reading, which is no part of the text

        def begin(name: str, _: dict[str, str]) -> None:
            if name == "rPh":
                inside[1] = True
            elif name == "t":
                inside[0] = True

        def end(name: str) -> None:
            if name == "si":
                texts.append(_plain(gathered.take()))
            elif name == "rPh":
                inside[1] = False
            elif name == "t":
                inside[0] = False

        def text(piece: str) -> None:
            if inside[0] and not inside[1]:
                gathered.add(piece, "A text of the book")

        parse(self.open("xl/sharedStrings.xml", MOST_TEXT_BYTES), begin, end, text)
        return texts

    def _read_styles(self) -> frozenset[int]:
        if not self._has("xl/styles.xml"):
            return frozenset()
        formats: dict[int, bool] = {}
        dates: list[bool] = []
        inside = [False]

        def begin(name: str, attributes: dict[str, str]) -> None:
            if name == "numFmt":
                code = _NOT_LETTERS.sub("", attributes.get("formatCode", ""))
                formats[_int(attributes.get("numFmtId"))] = bool(_DATE_LETTERS.search(code))
            elif name == "cellXfs":
                inside[0] = True
            elif name == "xf" and inside[0]:
                number = _int(attributes.get("numFmtId"))
                dates.append(formats.get(number, number in _BUILT_IN_DATES))

        def end(name: str) -> None:
            if name == "cellXfs":
                inside[0] = False

        parse(self.open("xl/styles.xml", MOST_SMALL_BYTES), begin, end)
        return frozenset(style for style, is_date in enumerate(dates) if is_date)


class _Gathered:
    """A text that expat tells piece by piece, each as long as it likes."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def add(self, piece: str, what: str) -> None:
        self._length += len(piece)
        if self._length > MOST_CELL:
            raise TableWrong(f"{what} has more than {MOST_CELL} characters.")
        self._parts.append(piece)

    def take(self) -> str:
        """The text; the next one begins."""
        text = "".join(self._parts)
        self._parts.clear()
        self._length = 0
        return text


class _Sheet:
    """Gathers rows while expat reads."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._rows: list[tuple[int, list[str]]] = []
        self._cells: list[str] = []
        self._number = 0
        self._column = -1
        self._kind = ""
        self._style = 0
        self._gathered = _Gathered()
        self._length = 0
        self._wanted = False
        self._phonetic = False
        self.read_bytes = 0

    def rows(self, file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
        parser = _parser(self._begin, self._end, self._text)
        with file:
            while piece := _read(file):
                self.read_bytes += len(piece)
                _feed(parser, piece, False)
                ready, self._rows = self._rows, []
                yield from ready
        _feed(parser, b"", True)
        yield from self._rows

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "row":
            self._number = _int(attributes.get("r")) or self._number + 1
            self._cells = []
            self._column = -1
            self._length = 0
        elif name == "c":
            self._column = _column(attributes.get("r", ""), self._column + 1)
            self._kind = attributes.get("t", "n")
            self._style = _int(attributes.get("s"))
        elif name == "v" or name == "t":
            self._wanted = not self._phonetic
        elif name == "rPh":
            self._phonetic = True

    def _end(self, name: str) -> None:
        if name == "v" or name == "t":
            self._wanted = False
        elif name == "c":
            value = self._value(self._gathered.take())
            # Many cells may show one long text, which stands in the file once.
            self._length += len(value)
            if self._length > MOST_ROW:
                raise TableWrong(f"Row {self._number} has more than {MOST_ROW} characters.")
            missing = self._column - len(self._cells)
            if missing >= 0:
                self._cells.extend([""] * missing)
                self._cells.append(value)
        elif name == "row":
            self._rows.append((self._number, self._cells))
        elif name == "rPh":
            self._phonetic = False

    def _text(self, piece: str) -> None:
        if self._wanted:
            self._gathered.add(piece, f"A cell of row {self._number}")

    def _value(self, text: str) -> str:
        if self._kind == "s":
            index = _int(text)
            return self._book.texts[index] if 0 <= index < len(self._book.texts) else ""
        if self._kind == "b":
            return "true" if text == "1" else "false"
        if self._kind != "n" or not text:
            return _plain(text)
        if self._style in self._book.dates:
            return _date(text, self._book.begins_1904)
        return _number(text)


def parse(
    file: IO[bytes],
    begin: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> None:
    """Read a whole member."""
    parser = _parser(begin, end, text)
    with file:
        while piece := _read(file):
            _feed(parser, piece, False)
    _feed(parser, b"", True)


def _parser(
    begin: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None,
    text: Callable[[str], None] | None,
) -> Any:
    """An expat parser that tells elements without their prefix and knows no document types."""
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def begun(name: str, attributes: dict[str, str]) -> None:
        begin(name.rpartition(":")[2] if ":" in name else name, attributes)

    def ended(name: str) -> None:
        assert end is not None
        end(name.rpartition(":")[2] if ":" in name else name)

    def refuse(*_: Any) -> None:
        raise TableWrong("The file has a document type of its own, as no spreadsheet writes it.")

    parser.StartElementHandler = begun
    if end is not None:
        parser.EndElementHandler = ended
    if text is not None:
        parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    return parser


def _read(file: IO[bytes]) -> bytes:
    try:
        return file.read(_PIECE)
    except DAMAGED as error:
        raise TableWrong(f"The file is a damaged archive: {error}.") from None


def _feed(parser: Any, piece: bytes, final: bool) -> None:
    try:
        parser.Parse(piece, final)
    except expat.ExpatError as error:
        raise TableWrong(f"The file is damaged: {error}.") from None


def _plain(text: str) -> str:
    return _BY_NUMBER.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _int(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def _column(reference: str, following: int) -> int:
    """The place of a cell from its reference: C7 is 2."""
    letters = reference.rstrip("0123456789")
    if not letters:
        place = following
    else:
        place = 0
        for letter in letters[:4].upper():
            place = place * 26 + ord(letter) - 64
        place -= 1
    if not 0 <= place < MOST_COLUMNS:
        raise TableWrong(f"The sheet has more than {MOST_COLUMNS} columns.")
    return place


def _number(text: str) -> str:
    """A number as a person would write it: a spreadsheet keeps 0.1 + 0.2 as 0.30000000000000004."""
    if text.isdigit() and len(text) < 16:
        return text
    try:
        return format(Decimal(format(float(text), ".15g")), "f")
    except (ValueError, ArithmeticError):
        return text


def _date(text: str, begins_1904: bool) -> str:
    try:
        days = float(text)
        # A cell's date has no zone.
        begin = datetime(1904, 1, 1) if begins_1904 else datetime(1899, 12, 30)  # noqa: DTZ001
        at = begin + timedelta(seconds=round(days * 86400))
    except (ValueError, OverflowError):
        return text
    return at.date().isoformat() if at.time() == at.time().min else at.isoformat()
