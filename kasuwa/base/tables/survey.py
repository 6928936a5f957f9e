"""What a file is, judged by its content and not by its name."""

import codecs
import hashlib
import zipfile
from pathlib import Path

from msgspec import Struct

from kasuwa.base.tables.records import TableWrong

_PIECE = 1024 * 1024
# Longer than any row of a table: four cells of the longest kind, in the widest letters.
MOST_LINE_BYTES = 16 * 1024 * 1024
_XLSX = b"PK\x03\x04"
# What people mistake for a table, by its first bytes.
_OTHERS = {
    b"\xd0\xcf\x11\xe0": "This is Excel's format of before 2007, or has a password: save it as .xlsx.",
    b"%PDF": "This is a PDF; save the table as CSV or .xlsx.",
    b"\x1f\x8b": "This is a gzip archive; unpack it first.",
    b"\xff\xd8\xff": "This is a picture.",
    b"\x89PNG": "This is a picture.",
    b"BZh": "This is a bzip2 archive; unpack it first.",
    b"7z\xbc\xaf": "This is a 7z archive; unpack it first.",
    b"SQLite": "This is a database; save the table as CSV.",
}


class Survey(Struct, frozen=True, kw_only=True):
    """`kind` is csv, xlsx or jsonl; `encoding` is that of a text, and `note` says how it was found."""

    kind: str
    size_bytes: int
    sha256: str
    encoding: str
    note: str


class Fingerprint(Struct, frozen=True):
    """By which a file is known again: the SHA-256 in hex."""

    sha256: str
    size_bytes: int


def fingerprint(path: Path) -> Fingerprint:
    """Read the file once, whatever is in it."""
    with path.open("rb") as file:
        return Fingerprint(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())


def survey(path: Path) -> Survey:
    """Read the file once, and no further than it may be a table. Raises TableWrong for what is none."""
    digest = hashlib.sha256()
    utf8 = codecs.getincrementaldecoder("utf-8")()
    is_utf8 = True
    size = line = 0
    head = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            if not head:
                head = piece[:4096]
                _refuse(head, path)
            size += len(piece)
            line = _open_line(piece, line)
            if line > MOST_LINE_BYTES and not head.startswith(_XLSX):
                raise TableWrong(
                    f"A line is longer than {MOST_LINE_BYTES // 2**20} MB: give each row a line of its own."
                )
            digest.update(piece)
            if is_utf8:
                try:
                    utf8.decode(piece)
                except UnicodeDecodeError:
                    is_utf8 = False
    if is_utf8:
        try:
            utf8.decode(b"", final=True)
        except UnicodeDecodeError:
            is_utf8 = False
    kind, encoding, note = _judge(head, is_utf8)
    return Survey(kind=kind, size_bytes=size, sha256=digest.hexdigest(), encoding=encoding, note=note)


def _open_line(piece: bytes, before: int) -> int:
    """How long the line is at whose end the piece stops."""
    ends = max(piece.rfind(b"\n"), piece.rfind(b"\r"))
    return before + len(piece) if ends < 0 else len(piece) - ends - 1


def _refuse(head: bytes, path: Path) -> None:
    """Raises TableWrong where the first bytes tell that this is no table, however much follows."""
    for begin, advice in _OTHERS.items():
        if head.startswith(begin):
            raise TableWrong(advice)
    if head.startswith(_XLSX):
        # Its list of contents is at the end: a file that was cut off has none.
        if not zipfile.is_zipfile(path):
            raise TableWrong("The file is a damaged archive: its end is missing. Save or download it again.")
    elif not head.strip(b"\0"):
        raise TableWrong("The file begins with nothing but zero bytes: save or download the table again.")
    else:
        _encoding(head, is_utf8=True)


def _judge(head: bytes, is_utf8: bool) -> tuple[str, str, str]:
    if not head.strip():
        raise TableWrong("The file is empty.")
    if head.startswith(_XLSX):
        return "xlsx", "", ""
    encoding, note = _encoding(head, is_utf8)
    # The head may end amid a character.
    text = head.decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n")
    if text.startswith("{"):
        return "jsonl", encoding, note
    if text.startswith("["):
        raise TableWrong("This is one JSON array; write each object on a line of its own, without brackets.")
    if text.startswith("<"):
        raise TableWrong("This is HTML or XML; save the table as CSV or .xlsx.")
    return "csv", encoding, note


def _encoding(head: bytes, is_utf8: bool) -> tuple[str, str]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", "UTF-16, as its first bytes say"
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) // 4:
        assumed = "utf-16-le" if odd > even else "utf-16-be"
        return assumed, f"assumed to be {assumed.upper()}: every other byte is empty"
    controls = sum(byte < 9 or 13 < byte < 32 for byte in head)
    if controls > len(head) // 50 + 5:
        raise TableWrong("This is no text file; save the table as CSV, .xlsx or JSON lines.")
    if is_utf8:
        return "utf-8-sig", "UTF-8"
    return "cp1252", "not UTF-8: assumed to be Windows-1252, look at the accents"
