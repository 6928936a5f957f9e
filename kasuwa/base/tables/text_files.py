"""CSV and JSON lines."""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kasuwa.base.tables.records import MOST_CELL, MOST_ROW, BadRow, Table, TableRow, TableWrong, checked
from kasuwa.base.tables.survey import Survey

_DELIMITERS = ",;\t|"
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


def _as_browsers_do(error: UnicodeError) -> tuple[str, int]:
    """The five bytes that Windows-1252 has no character for, as the control characters of their number."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("kasuwa.cp1252", _as_browsers_do)


class _Text:
    """The lines of a file, and how far it has been read."""

    def __init__(self, path: Path, survey: Survey) -> None:
        errors = "kasuwa.cp1252" if survey.encoding == "cp1252" else "surrogatepass"
        if survey.encoding == "utf-8-sig":
            errors = "strict"
        self._raw = path.open("rb")
        self._size = survey.size_bytes
        reader = io.BufferedReader(self._raw, 256 * 1024)
        self.lines = io.TextIOWrapper(reader, encoding=survey.encoding, errors=errors, newline="")

    def fraction(self) -> float:
        return 1.0 if self.lines.closed else self._raw.tell() / self._size

    def short_lines(self) -> Iterator[str]:
        """Line by line, none longer than a cell may be: a file without line ends must not be read as one."""
        while line := self.lines.readline(MOST_ROW):
            if len(line) >= MOST_ROW:
                raise TableWrong(f"A line is longer than {MOST_ROW} characters.")
            yield line


def open_csv(path: Path, survey: Survey, delimiter: str | None) -> Table:
    """The first row is the header."""
    text = _Text(path, survey)
    try:
        return _open_csv(text, survey, delimiter)
    except BaseException:
        text.lines.close()
        raise


def _open_csv(text: _Text, survey: Survey, delimiter: str | None) -> Table:
    lines = text.short_lines()
    first = next(lines)
    if first.lower().startswith("sep=") and len(first.strip()) == 5:
        delimiter = delimiter or first[4]
        first = next(lines, "")
    found = delimiter or _delimiter_of(first)
    csv.field_size_limit(MOST_CELL)
    reader = csv.reader(_chained(first, lines), delimiter=found)
    header = next(_read_records(reader), [])
    notes = [survey.note]
    if found != ",":
        notes.append(f"cells parted by {_NAMES.get(found, repr(found))}")
    rows = _csv_rows(reader, header)
    return Table(
        kind="csv", header=header, notes=notes, rows=rows, fraction=text.fraction, close=text.lines.close
    )


def _chained(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _delimiter_of(line: str) -> str:
    """What parts the names of the header: the sign that occurs most outside of quotes."""
    bare = "".join(piece for place, piece in enumerate(line.split('"')) if place % 2 == 0)
    counts = {sign: bare.count(sign) for sign in _DELIMITERS}
    return max(counts, key=lambda sign: counts[sign])


def _read_records(reader: "csv.Reader") -> Iterator[list[str]]:  # type: ignore[name-defined]
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "limit" in str(error):
                raise TableWrong(
                    f"Near line {reader.line_num} a cell does not end: look for a quote that nobody closes."
                ) from None
            raise TableWrong(f"Near line {reader.line_num} the file is no CSV: {error}.") from None


def _csv_rows(reader: "csv.Reader", header: list[str]) -> Iterator[TableRow | BadRow]:  # type: ignore[name-defined]
    width = len(header)
    for number, cells in enumerate(_read_records(reader), start=2):
        if any(cells):
            yield checked(number, cells, width)


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[str])
_STRING = msgspec.json.Decoder(str)


def open_jsonl(path: Path, survey: Survey) -> Table:
    """Each line an object; the first one's keys are the header."""
    text = _Text(path, survey)
    try:
        return _open_jsonl(text, survey)
    except BaseException:
        text.lines.close()
        raise


def _open_jsonl(text: _Text, survey: Survey) -> Table:
    lines = text.short_lines()
    first = next(line for line in lines if line.strip())
    try:
        header = list(_OBJECT.decode(first.encode(errors="replace")))
    except msgspec.DecodeError as error:
        raise TableWrong(f"The first line is no JSON object: {error}.") from None
    rows = _jsonl_rows(_chained(first, lines), header)
    return Table(
        kind="jsonl",
        header=header,
        notes=[survey.note],
        rows=rows,
        fraction=text.fraction,
        close=text.lines.close,
    )


def _jsonl_rows(lines: Iterator[str], header: list[str]) -> Iterator[TableRow | BadRow]:
    known = set(header)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = _OBJECT.decode(line.encode())
            cells = {name: _cell(bytes(value)) for name, value in values.items()}
        except (msgspec.DecodeError, UnicodeEncodeError, ValueError) as error:
            yield BadRow(number, [line.strip()[:1000]], f"The line cannot be read: {error}.")
            continue
        others = cells.keys() - known
        row = [cells.get(name, "") for name in header]
        if others:
            reason = f"The first line does not have {', '.join(sorted(others))}; give it the same names."
            yield BadRow(number, row, reason)
        else:
            yield TableRow(number, row)


def _cell(value: bytes) -> str:
    """A JSON value as the text of a cell; numbers keep their digits."""
    match value[:1]:
        case b'"':
            return _STRING.decode(value)
        case b"[":
            return ";".join(text.replace("\\", "\\\\").replace(";", "\\;") for text in _LIST.decode(value))
        case b"{":
            raise ValueError("an object inside an object")
    return "" if value == b"null" else value.decode()
