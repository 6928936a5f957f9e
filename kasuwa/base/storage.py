"""Where files lie: a folder of this machine or an S3-compatible bucket, behind one interface.

A key names a blob for good: callers build it from the content's hash, so one key is always the same bytes.
Spreading a merchant's files over folders by hash is the caller's matter.
"""

import asyncio
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from msgspec import Struct
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from kasuwa.base.problems import NoSpace, Unavailable

CHUNK_BYTES = 256 * 1024
KEY_LENGTH_MAX = 512
SEGMENT_LENGTH_MAX = 200
TEMPORARY_FOLDER = ".temporary"  # no key begins with a dot
PROBE_NAME = ".probe"
LIST_BATCH = 1000

_KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# What S3-compatible servers say when the disk or the quota is full; there is no standard word for it.
_S3_FULL = ("StorageFull", "QuotaExceeded", "InsufficientStorage", "507 Insufficient Storage")

T = TypeVar("T")


class BlobMissing(LookupError):
    """There is no blob under this key."""


class BlobFact(Struct, frozen=True):
    """One line of a list: what is stored under a key, and since when (UTC)."""

    key: str
    size_bytes: int
    modified_at: datetime


class BlobRead:
    """A blob opened for reading; it holds nothing open until `chunks` is iterated."""

    def __init__(self, size_bytes: int, read: Callable[[int, int], AsyncIterator[bytes]]) -> None:
        self.size_bytes = size_bytes
        self._read = read

    def chunks(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes [start, end), by default all; an `end` past the last byte is cut to it.

        Raises ValueError for a range that begins below 0 or past its end, BlobMissing when the blob
        has gone since it was opened, Unavailable when it cannot be read.
        """
        end = self.size_bytes if end is None else min(end, self.size_bytes)
        if not 0 <= start <= end:
            raise ValueError(f"The range {start} to {end} does not lie in a blob of {self.size_bytes} bytes.")
        return self._read(start, end)


class Blobs(Protocol):
    """A place for files.

    Every method raises ValueError for a bad key and Unavailable when the place fails.
    """

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Keep `content` whole or not at all; durable on return. NoSpace when it does not fit."""

    async def get(self, key: str) -> bytes:
        """Answer the whole blob; BlobMissing when there is none."""

    async def open(self, key: str) -> BlobRead:
        """Answer the size and a way to read in chunks; BlobMissing when there is none."""

    async def exists(self, key: str) -> bool: ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove these; missing ones are fine."""

    async def remove_folders(self, prefix: str) -> None:
        """Remove the folder `prefix` and those below it, as far as nothing lies in them."""

    def list(self, prefix: str = "") -> AsyncIterator[BlobFact]:
        """Yield what lies below the folder `prefix` ("" is everything), in no promised order."""

    async def probe(self) -> None:
        """Write something small, and raise as `put` does when that fails."""

    async def sweep_temporary(self, older_than: timedelta) -> int:
        """Remove what a crash left half written before that time; answer how many."""

    async def count_temporary(self, older_than: timedelta) -> int:
        """How many `sweep_temporary` would remove."""

    async def close(self) -> None: ...


def check_key(key: str) -> str:
    """Answer `key`, or raise ValueError: only our own names, so nothing can point outside the store."""
    if len(key) > KEY_LENGTH_MAX or ".." in key or _KEY.fullmatch(key) is None:
        raise ValueError(f"{key[:100]!r} is no storage key: write segments of a-z, 0-9, '.', '_' and '-'.")
    if any(len(segment) > SEGMENT_LENGTH_MAX for segment in key.split("/")):
        raise ValueError(f"A segment of {key[:100]!r} is longer than {SEGMENT_LENGTH_MAX} characters.")
    return key


def _check_prefix(prefix: str) -> str:
    folder = prefix.removesuffix("/")
    return check_key(folder) if folder else ""


def open_blobs(
    url_or_folder: str, *, access_key_id: str | None = None, secret_access_key: str | None = None
) -> Blobs:
    """Open a plain path or file:// URL as a folder, s3://bucket/prefix?endpoint=…&region=… as a bucket.

    Without credentials here the usual AWS_* environment variables are read.
    Raises ValueError for any other scheme or query.
    """
    url = urlsplit(url_or_folder)
    if not url.scheme:
        return FolderBlobs(Path(url_or_folder))
    if url.scheme == "file" and url.netloc in ("", "localhost") and not url.query:
        return FolderBlobs(Path(unquote(url.path)))
    if url.scheme != "s3" or not url.netloc:
        raise ValueError("The storage must be a folder, file:///folder or s3://bucket/prefix.")
    options = dict(parse_qsl(url.query))
    if unknown := set(options) - {"endpoint", "region"}:
        raise ValueError(f"An s3:// URL takes endpoint and region, not {', '.join(sorted(unknown))}.")
    return S3Blobs(
        url.netloc,
        prefix=unquote(url.path).strip("/"),
        endpoint=options.get("endpoint"),
        region=options.get("region"),
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
    )


class FolderBlobs:
    """Blobs as files below one folder, all on one file system.

    A put writes a temporary file, syncs it, renames it and syncs the folders, in threads of its own:
    a slow disk must not hold up the threads that others wait for.
    """

    def __init__(self, folder: Path, *, threads: int = 8) -> None:
        self._folder = folder.absolute()
        self._temporary = self._folder / TEMPORARY_FOLDER
        self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="blobs")

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Keep `content`; the content type is not kept, the caller's row has it."""
        path = self._folder / check_key(key)
        await self._run(lambda: self._write(path, content), key)

    async def get(self, key: str) -> bytes:
        path = self._folder / check_key(key)
        return await self._run(path.read_bytes, key)

    async def open(self, key: str) -> BlobRead:
        path = self._folder / check_key(key)
        status = await self._run(path.stat, key)
        if not stat.S_ISREG(status.st_mode):
            raise BlobMissing(key)
        return BlobRead(status.st_size, lambda start, end: self._chunks(path, key, start, end))

    async def exists(self, key: str) -> bool:
        path = self._folder / check_key(key)
        return await self._run(path.is_file, key)

    async def delete(self, keys: Sequence[str]) -> None:
        paths = [self._folder / check_key(key) for key in keys]
        await self._run(lambda: _unlink(paths), "")

    async def remove_folders(self, prefix: str) -> None:
        folder = self._folder / check_key(prefix)
        await self._run(lambda: _remove_folders(folder), prefix)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobFact]:
        below = _check_prefix(prefix)
        facts = _walk(self._folder / below, f"{below}/" if below else "")
        while batch := await self._run(lambda: tuple(islice(facts, LIST_BATCH)), prefix):
            for fact in batch:
                yield fact

    async def probe(self) -> None:
        def write_and_remove() -> None:
            temporary = self._write_temporary(b"probe")
            temporary.unlink()

        await self._run(write_and_remove, "")

    async def sweep_temporary(self, older_than: timedelta) -> int:
        return await self._run(lambda: _unlink(self._stale(older_than)), "")

    async def count_temporary(self, older_than: timedelta) -> int:
        return await self._run(lambda: len(self._stale(older_than)), "")

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self, work: Callable[[], T], key: str) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except _NOT_THERE as error:
            raise BlobMissing(key) from error
        except OSError as error:
            if error.errno in _FULL:
                raise NoSpace("The disk for files is full. Make space, then send it again.") from error
            raise Unavailable("The disk for files cannot be used now. Try again later.") from error

    async def _chunks(self, path: Path, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        file = await self._run(lambda: os.open(path, os.O_RDONLY), key)
        try:
            while start < end:
                chunk = await self._run(partial(os.pread, file, min(CHUNK_BYTES, end - start), start), key)
                if not chunk:
                    raise Unavailable("A stored file has become shorter while it was read.")
                start += len(chunk)
                yield chunk
        finally:
            os.close(file)

    def _stale(self, older_than: timedelta) -> tuple[Path, ...]:
        before = time.time() - older_than.total_seconds()
        return tuple(
            Path(file.path) for file in os.scandir(self._temporary) if file.stat().st_mtime <= before
        )

    def _write(self, path: Path, content: bytes) -> None:
        temporary = self._write_temporary(content)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        # Every folder up to the root: another writer may have just made one and not synced its entry yet.
        for folder in path.parents:
            _sync_folder(folder)
            if folder == self._folder:
                break

    def _write_temporary(self, content: bytes) -> Path:
        """Answer a synced temporary file, or leave nothing."""
        temporary = self._temporary / secrets.token_hex(16)
        try:
            with open(temporary, "xb", buffering=0, opener=_open_private) as file:
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary


class S3Blobs:
    """Blobs as objects of an S3-compatible bucket; a put is durable and whole by S3's own promise."""

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        timeout_seconds: float = 30,
        retry_seconds: float = 5,
    ) -> None:
        """Speak to `bucket`, below the folder `prefix`; without TLS when `endpoint` begins with http://."""
        settings = {
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
        }
        self._store = S3Store(
            bucket,
            prefix=_check_prefix(prefix) or None,
            config={name: value for name, value in settings.items() if value is not None},  # type: ignore[arg-type]
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=min(3, timeout_seconds)),
                "timeout": timedelta(seconds=timeout_seconds),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=retry_seconds)},
        )

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        attributes = {"Content-Type": content_type}
        with _s3_errors(key, written=True):
            # One request: a multipart upload that is cut leaves parts which cost money and nobody sees.
            await obstore.put_async(
                self._store, check_key(key), content, attributes=attributes, use_multipart=False
            )

    async def get(self, key: str) -> bytes:
        with _s3_errors(key):
            answer = await obstore.get_async(self._store, check_key(key))
            return bytes(await answer.bytes_async())

    async def open(self, key: str) -> BlobRead:
        with _s3_errors(key):
            meta = await obstore.head_async(self._store, check_key(key))
        return BlobRead(meta["size"], lambda start, end: self._chunks(key, start, end))

    async def exists(self, key: str) -> bool:
        try:
            await self.open(key)
        except BlobMissing:
            return False
        return True

    async def delete(self, keys: Sequence[str]) -> None:
        paths = [check_key(key) for key in keys]
        if not paths:
            return
        try:
            with _s3_errors():
                await obstore.delete_async(self._store, paths)
        except BlobMissing:
            # Not every server calls a missing object deleted: then one of them must not keep the others.
            for path in paths:
                with suppress(BlobMissing), _s3_errors():
                    await obstore.delete_async(self._store, path)

    async def remove_folders(self, prefix: str) -> None:
        """Nothing to do: a bucket has no folders of its own."""
        check_key(prefix)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobFact]:
        below = _check_prefix(prefix)
        with _s3_errors():
            async for batch in obstore.list(self._store, below or None, chunk_size=LIST_BATCH):
                for meta in batch:
                    if meta["path"] != PROBE_NAME:
                        yield BlobFact(meta["path"], meta["size"], meta["last_modified"].astimezone(UTC))

    async def probe(self) -> None:
        with _s3_errors(written=True):
            await obstore.put_async(self._store, PROBE_NAME, b"")

    async def sweep_temporary(self, older_than: timedelta) -> int:
        """Nothing to do: an object appears whole or not at all, and no upload here is in parts."""
        return 0

    async def count_temporary(self, older_than: timedelta) -> int:
        return 0

    async def close(self) -> None:
        """Nothing to do: the client's connections end with it."""

    async def _chunks(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        if start == end:
            return
        with _s3_errors(key):
            answer = await obstore.get_async(self._store, key, options={"range": (start, end)})
            async for chunk in answer.stream(CHUNK_BYTES):
                yield bytes(chunk)


@contextmanager
def _s3_errors(key: str = "", *, written: bool = False) -> Iterator[None]:
    """Say in our words what S3 says no to; `written` when no object can be missing, only the bucket."""
    try:
        yield
    except FileNotFoundError as error:
        if written or "NoSuchBucket" in str(error):
            raise Unavailable("The bucket for files is not there. Make it, or correct its URL.") from error
        raise BlobMissing(key) from error
    except (BaseError, OSError) as error:
        if any(word in str(error) for word in _S3_FULL):
            raise NoSpace("The bucket for files is full. Make space, then send it again.") from error
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            raise Unavailable("The bucket for files refuses us. Check the AWS_* credentials.") from error
        raise Unavailable("The bucket for files cannot be reached now. Try again later.") from error


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(paths: Iterator[Path] | Sequence[Path]) -> int:
    removed = 0
    for path in paths:
        # A folder under that name is no blob; a missing one is fine.
        with suppress(*_NOT_THERE):
            path.unlink()
            removed += 1
    return removed


def _remove_folders(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        # Where something lies, or somebody else was quicker, it stays or has gone.
        with suppress(OSError):
            os.rmdir(path)


def _walk(folder: Path, prefix: str) -> Iterator[BlobFact]:
    try:
        entries = os.scandir(folder)
    except _NOT_THERE:
        return
    with entries:
        for entry in entries:
            if _KEY.fullmatch(entry.name) is None:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
                continue
            with suppress(FileNotFoundError):  # deleted since the folder was read
                status = entry.stat()
                modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                yield BlobFact(prefix + entry.name, status.st_size, modified_at)
