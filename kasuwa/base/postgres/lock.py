"""Locks between processes on files in the data folder. The kernel lets go of them when the process ends."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from kasuwa.base.postgres.errors import AlreadyRunning, UnreachableFolder
from kasuwa.base.postgres.process import PlainUser


class FolderLock:
    """One process at a time serves a data folder; the file holds its id for the others' message."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle

    @classmethod
    def take(cls, path: Path, user: PlainUser | None) -> "FolderLock":
        """Raises AlreadyRunning with the id of the process that has it."""
        handle = _open(path, user)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _read_pid(handle)
            os.close(handle)
            who = f"Process {pid} ({_command_of(pid)})" if pid else "Another process"
            raise AlreadyRunning(
                f"{who} already serves {path.parent}. End it first, or name another folder by KASUWA_DATA "
                "or --data.",
                pid,
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return cls(path, handle)

    def release(self) -> None:
        os.ftruncate(self._handle, 0)
        fcntl.flock(self._handle, fcntl.LOCK_UN)  # a forked child may have the file open still
        os.close(self._handle)


@contextlib.contextmanager
def visit(path: Path, user: PlainUser | None) -> Iterator[None]:
    """Held by each command that uses a server which another short command started."""
    with _held(path, user, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def no_visitors(path: Path, user: PlainUser | None) -> Iterator[None]:
    """Waits for the visitors and keeps new ones out."""
    with _held(path, user, fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def _held(path: Path, user: PlainUser | None, kind: int) -> Iterator[None]:
    handle = _open(path, user)
    try:
        fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)


def _open(path: Path, user: PlainUser | None) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise UnreachableFolder(
            f"{path} cannot be opened ({why}). Run the command as the owner of {path.parent} or as root."
        ) from None
    if user is not None:
        os.fchown(handle, user.uid, user.gid)
    return handle


def _read_pid(handle: int) -> int:
    words = os.pread(handle, 32, 0).split()
    return int(words[0]) if words and words[0].isdigit() else 0


def _command_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "its command is unknown"
    return b" ".join(words).decode(errors="replace").strip()[:120]
