"""Opening a zip that somebody sent.

What is in it is listed at its end, and the standard library makes an object of every line of that list before
it tells how many there are: a file of 256 MB may hold five million. So the list is measured first.
"""

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from kasuwa.base.tables.records import TableWrong

# Some 70,000 files with usual names; objects of 90 MB at the very worst.
MOST_LIST_BYTES = 8 * 1024 * 1024

# What the archive's reader raises for one that was cut, changed or packed in a way that it does not know.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)

# Both ends that an archive may have, what points from one to the other, and the longest comment.
_TAIL_BYTES = 22 + 20 + 56 + 65_535


def open_archive(path: Path, what: str) -> zipfile.ZipFile:
    """The zip, for whoever closes it; `what` names it in the reason. Raises TableWrong."""
    try:
        if _list_bytes(path) > MOST_LIST_BYTES:
            raise TableWrong(f"{what} has too many files: part it.")
        return zipfile.ZipFile(path)
    except DAMAGED as error:
        raise TableWrong(f"{what} is a damaged archive: {error}.") from None


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """The file in the zip, of which `read(n)` unpacks no more than that. Raises TableWrong.

    Only a read without a number believes what the file says of its size after having unpacked all of it, and
    of the ways to pack only these two can be read in parts.
    """
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TableWrong(
            f"{info.filename[:80]!r} is packed in an unusual way: use an ordinary zip (deflate)."
        )
    if info.flag_bits & 1:
        raise TableWrong("The file has a password; save it without one.")
    try:
        return archive.open(info)
    except DAMAGED as error:
        raise TableWrong(f"The file is a damaged archive: {error}.") from None


def _list_bytes(path: Path) -> int:
    """How long the list of files may be, by everything at the end that could say so; 0 for no zip."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    longest = 0
    # A zip of more than 65,535 files or 4 GB has a wider end before the other, which then says 0xFFFFFFFF.
    for mark, layout, within in ((b"PK\x05\x06", "<L", 12), (b"PK\x06\x06", "<Q", 40)):
        at = tail.find(mark)
        while at >= 0 and at + within + struct.calcsize(layout) <= len(tail):
            (said,) = struct.unpack_from(layout, tail, at + within)
            if said != 0xFFFFFFFF:
                longest = max(longest, said)
            at = tail.find(mark, at + 1)
    return longest
