"""Processes as a plain user that end with us, and the ones a dead server left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

PR_SET_PDEATHSIG = 1
ORPHAN_PATIENCE_S = 1.0
SHUTDOWN_PATIENCE_S = 20.0
_libc = ctypes.CDLL(None, use_errno=True)


class PlainUser(Struct, frozen=True):
    """The user that root runs PostgreSQL as."""

    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """Whether the user reaches `folder`, through every folder above it. Tried, not computed."""
        return self._try(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)])

    def can_run(self, program: Path) -> bool:
        return self._try([str(program), "--version"])

    def _try(self, words: list[str]) -> bool:
        try:
            done = subprocess.run(
                words,
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
        except OSError:
            return False
        return done.returncode == 0


def spawn(
    words: list[str], user: PlainUser | None, *, output: int, death_signal: int = signal.SIGKILL
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; it gets `death_signal` when the calling THREAD ends.

    So call it from a thread that lives as long as the program shall.
    """
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return subprocess.Popen(
        words,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        umask=0o077,
        preexec_fn=dies_with(os.getpid(), death_signal),
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )


def dies_with(parent_pid: int, death_signal: int) -> Callable[[], None]:
    """A `preexec_fn`: the child gets `death_signal` when the calling thread ends, however it ends."""

    # Python runs this after it has changed the user: a change of user would clear the signal again.
    def arrange() -> None:
        if hasattr(_libc, "prctl"):
            _libc.prctl(PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent_pid:  # the parent ended before the call
                os._exit(1)

    return arrange


def is_taken(pid: int) -> bool:
    """Whether a process has this id, be it dead and not yet collected by its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_alive(pid: int) -> bool:
    if not is_taken(pid):
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"


def processes_in(folder: Path) -> list[int]:
    """The ids of the PostgreSQL processes that work in `folder`, as all of a server's do; needs /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = Path(os.readlink(entry / "exe")).name.removesuffix(" (deleted)")
            works_here = os.readlink(entry / "cwd") == str(folder)
            if works_here and program == "postgres" and is_alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def end_processes_in(folder: Path, main_pid: int | None) -> list[int]:
    """End what a dead server left in `folder`; returns the ids that do not end even by SIGKILL.

    Most end by themselves, a busy one does not look up from its query. `main_pid` is a postmaster whose
    parent is gone: it is asked for a fast shutdown first. SIGQUIT is what PostgreSQL itself sends after a
    crash; after it and after SIGKILL the next start recovers from the log as after a power cut.
    """
    patience_s = ORPHAN_PATIENCE_S
    if main_pid is not None and main_pid in processes_in(folder):
        _signal(main_pid, signal.SIGINT)
        patience_s = SHUTDOWN_PATIENCE_S
    for last_word in (signal.SIGQUIT, signal.SIGKILL, None):
        deadline = time.monotonic() + patience_s
        patience_s = ORPHAN_PATIENCE_S
        while remaining := processes_in(folder):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        if not remaining or last_word is None:
            return remaining
        for pid in remaining:
            _signal(pid, last_word)
    return []


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
