"""The archive: a tar file whose last line is the SHA-256 of all before it.

Its parts are `kasuwa-backup.json` (what this is), `database.dump`, `files/…`, perhaps `secret.key`, and
`manifest.json`, which names every part with its size and SHA-256.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from msgspec import Struct

from kasuwa.base.problems import Problem

FORMAT = 1
HEADER = "kasuwa-backup.json"
DUMP = "database.dump"
KEY = "secret.key"
MANIFEST = "manifest.json"
FILES = "files/"

_MARK = b"\nkasuwa-backup-sha256 "
_TRAILER_BYTES = len(_MARK) + 64 + 1
_CHUNK_BYTES = 1024 * 1024
_BLOCK_BYTES = 512


class ArchiveRefused(Problem):
    """The detail says what is wrong with the archive; nothing was touched."""

    code = "archive-refused"
    title = "This archive cannot be restored"


class Part(Struct, frozen=True):
    name: str
    size_bytes: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What the archive holds. `rows` counts each table, `key_marks` tells which keys sealed the data."""

    format: int
    created_at: str
    kasuwa_version: str
    postgres_version: str
    migrations: dict[str, str]
    rows: dict[str, int]
    key_marks: tuple[str, ...]
    parts: tuple[Part, ...]


class _Hashed:
    """A file for writing that hashes what passes through."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._file.write(content)


class ArchiveWriter:
    """Adds parts one after the other; each is hashed on its way."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.parts: list[Part] = []

    def add(self, name: str, content: bytes) -> None:
        self._add(name, len(content), io.BytesIO(content))
        self.parts.append(Part(name, len(content), hashlib.sha256(content).hexdigest()))

    def add_file(self, name: str, path: Path) -> None:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = file.tell()
            file.seek(0)
            self._add(name, size_bytes, file)
        self.parts.append(Part(name, size_bytes, sha256))

    def _add(self, name: str, size_bytes: int, file: BinaryIO) -> None:
        member = tarfile.TarInfo(name)
        member.size = size_bytes
        member.mode = 0o600
        self._tar.addfile(member, file)


@contextmanager
def writing(path: Path, check: Callable[[Path], object] | None = None) -> Iterator[ArchiveWriter]:
    """Write an archive beside `path`; it takes its place once it is whole and on the disk.

    `check` reads it again first: by default as a backup.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            hashed = _Hashed(file)
            with tarfile.open(fileobj=cast("BinaryIO", hashed), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                yield ArchiveWriter(tar)
            file.write(_MARK + hashed.digest.hexdigest().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        (check or verify)(partial)
        partial.rename(path)
        _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def verify(path: Path) -> Manifest:
    """Read the whole archive and compare every byte with what was written. Raises ArchiveRefused."""
    found, content = read_through(path, HEADER)
    manifest = None if content is None else _decode(content)
    if manifest is None:
        raise ArchiveRefused(f"{path} names no parts. Take another backup.")
    if manifest.format != FORMAT:
        raise ArchiveRefused(f"{path} has the format {manifest.format}; this version reads {FORMAT}.")
    promised = {part.name: part for part in manifest.parts}
    if promised != found or DUMP not in promised:
        raise ArchiveRefused(f"The parts of {path} are not those it was written with. Take another backup.")
    return manifest


def read_through(path: Path, header: str) -> tuple[dict[str, Part], bytes | None]:
    """Every part as it is found, and the manifest's bytes. Raises ArchiveRefused."""
    _check_digest(path, header)
    found: dict[str, Part] = {}
    manifest: bytes | None = None
    for name, file in parts(path):
        if name == MANIFEST:
            manifest = file.read()
            continue
        digest, size_bytes = hashlib.sha256(), 0
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
        found[name] = Part(name, size_bytes, digest.hexdigest())
    return found, manifest


def parts(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Each part in order, to be read before the next is asked for."""
    try:
        with tarfile.open(path, "r|") as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is None:
                    raise ArchiveRefused(f"{path} holds {member.name[:100]!r}, which is no file.")
                yield member.name, cast("BinaryIO", file)
    except tarfile.TarError as error:
        raise ArchiveRefused(f"{path} cannot be read ({error}). Take another backup.") from None


def _check_digest(path: Path, header: str) -> None:
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - _TRAILER_BYTES
        if not file.read(_BLOCK_BYTES).startswith(header.encode()):
            what = "backup" if header == HEADER else "export"
            raise ArchiveRefused(f"{path} is no {what} of Kasuwa.")
        file.seek(max(left, 0))
        trailer = file.read()
        if left < 0 or not trailer.startswith(_MARK):
            raise ArchiveRefused(f"{path} was cut short: its end is missing. Take another copy of it.")
        file.seek(0)
        digest = hashlib.sha256()
        while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
            digest.update(chunk)
            left -= len(chunk)
    if trailer != _MARK + digest.hexdigest().encode() + b"\n":
        raise ArchiveRefused(f"{path} was damaged: its bytes are not those written. Take another copy of it.")


def _decode(content: bytes) -> Manifest:
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise ArchiveRefused(f"The manifest cannot be read ({error}). Take another backup.") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
