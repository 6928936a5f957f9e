"""The embedded PostgreSQL server: started, watched, started again after a crash, and stopped by us."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from kasuwa.base.postgres import folder
from kasuwa.base.postgres.binaries import Binaries
from kasuwa.base.postgres.errors import AlreadyRunning, DatabaseFault, StartFailed
from kasuwa.base.postgres.folder import PORT, SUPERUSER, Address, Layout
from kasuwa.base.postgres.lock import FolderLock, no_visitors, visit
from kasuwa.base.postgres.process import PlainUser, end_processes_in, is_alive, is_taken, spawn

log = logging.getLogger("kasuwa.postgres")

START_LIMIT_S = 120.0  # a recovery after a crash is part of a start
STOP_LIMIT_S = 60.0
HARDER_STOP_LIMIT_S = 5.0
LOG_MAX_BYTES = 10_000_000
RESTART_DELAY_MAX_S = 5.0
POLL_S = 0.005


def settings_text(max_connections: int) -> str:
    """kasuwa.conf: for a small machine. `postgresql.conf` and ALTER SYSTEM win over it."""
    return f"""# Written by Kasuwa at every start: put your own settings at the end of postgresql.conf.
max_connections = {max_connections}
shared_buffers = 128MB
random_page_cost = 1.1
jit = off
timezone = 'UTC'
# A crash is recovered from the last checkpoint on: a small log keeps that start short.
max_wal_size = 128MB
min_wal_size = 64MB
wal_compression = on
# A new shop's tables are known to the planner soon, not after a minute.
autovacuum_naptime = 15s
# A statement may hold what is private, and the caller gets its errors: the log keeps the server's own faults.
log_timezone = 'UTC'
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
log_autovacuum_min_duration = -1
"""


class EmbeddedPostgres:
    """PostgreSQL on the data folder `data`, for as long as this process lives.

    One process at a time runs it. A thread of ours is the server's parent: it starts the server again when it
    crashes, and the kernel asks the server for a fast shutdown when that thread ends, however it ends.
    """

    def __init__(
        self,
        data: Path,
        binaries: Binaries,
        *,
        max_connections: int = 100,
        start_limit_s: float = START_LIMIT_S,
        stop_limit_s: float = STOP_LIMIT_S,
    ) -> None:
        self.superuser = SUPERUSER
        self._layout = Layout(data=data.absolute().resolve())
        self._binaries = binaries
        self._max_connections = max_connections
        self._start_limit_s = start_limit_s
        self._stop_limit_s = stop_limit_s
        self._user: PlainUser | None = None
        self._lock: FolderLock | None = None
        self._socket_folder: Path | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()
        self._child_change = threading.Lock()

    @property
    def address(self) -> Address:
        """How to reach the server; asked for after `start`."""
        assert self._socket_folder is not None, "start() comes first"
        return Address(host=str(self._socket_folder), port=PORT, superuser=SUPERUSER)

    @property
    def pid(self) -> int | None:
        """The id of the server's main process while it runs."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def dsn(self, role: str, database: str) -> str:
        return self.address.dsn(role, database)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return when the server takes connections; raises a DatabaseFault that says what to do."""
        assert self._lock is None, "it is started already"
        layout = self._layout
        self._user = folder.plain_user_for(layout)
        folder.prepare_data_folder(layout, self._user)
        self._lock = FolderLock.take(layout.lock, self._user)
        try:
            folder.check_major(layout, self._binaries)
            self._binaries = folder.reachable_binaries(self._binaries, layout, self._user)
            if not layout.cluster.exists():
                folder.create_cluster(layout, self._binaries, self._user)
            self._socket_folder = folder.open_socket_folder(layout, self._user)
            folder.write_file(
                layout.cluster / "kasuwa.conf", settings_text(self._max_connections), self._user
            )
            folder.write_file(layout.cluster / "pg_hba.conf", folder.HOST_ACCESS, self._user)
            address = msgspec.json.encode(self.address).decode()
            folder.write_file(layout.address, address, self._user)
            self._start_keeper()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back. Returns when no process of the server is left."""
        with self._child_change:
            self._stopping.set()
            self._signal_child(signal.SIGINT)
        if self._keeper is not None:
            self._keeper.join(self._stop_limit_s)
            for harder in (signal.SIGQUIT, signal.SIGKILL):
                if self._keeper.is_alive():
                    log.error("PostgreSQL did not stop in time: sending %s", harder.name)
                    self._signal_child(harder)
                    self._keeper.join(HARDER_STOP_LIMIT_S)
            end_processes_in(self._layout.cluster, None)
        if self._lock is not None:
            if self._socket_folder is not None:
                folder.close_socket_folder(self._layout, self._socket_folder)
            self._lock.release()
        self._lock = self._keeper = self._child = self._socket_folder = None
        self._stopping.clear()

    def _start_keeper(self) -> None:
        started = threading.Event()
        faults: list[BaseException] = []
        self._keeper = threading.Thread(
            target=self._keep, args=(started, faults), name="kasuwa-postgres", daemon=True
        )
        self._keeper.start()
        started.wait()
        if faults:
            raise faults[0]

    def _keep(self, started: threading.Event, faults: list[BaseException]) -> None:
        """The server's parent thread: start it, wait for its end, start it again unless we are stopping."""
        try:
            child = self._launch()
        except BaseException as fault:
            faults.append(fault)
            return
        finally:
            started.set()
        delay_s = 0.0
        while True:
            code = child.wait()
            if self._stopping.is_set():
                return
            log.error("PostgreSQL ended by itself (%s): starting it again", code)
            while True:
                if self._stopping.wait(delay_s):
                    return
                try:
                    child = self._launch()
                    delay_s = 0.1
                    break
                except (DatabaseFault, OSError) as fault:
                    log.error("PostgreSQL does not start: %s", fault)
                    delay_s = min(RESTART_DELAY_MAX_S, max(0.1, delay_s * 2))

    def _launch(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it takes connections."""
        deadline = time.monotonic() + self._start_limit_s
        self._clear_the_way()
        layout = self._layout
        words = [str(self._binaries.postgres), "-D", str(layout.cluster)]
        words += ["-c", "listen_addresses=", "-c", f"port={PORT}", "-c", "unix_socket_permissions=0600"]
        words += ["-c", f"unix_socket_directories={_quoted(self._socket_folder)}"]
        with self._open_log() as output:
            begin = output.tell()
            with self._child_change:
                if self._stopping.is_set():
                    raise StartFailed("The server is being stopped.")
                child = spawn(words, self._user, output=output.fileno(), death_signal=signal.SIGINT)
                self._child = child
            while not _is_ready(layout, child.pid):
                if child.poll() is not None:
                    raise StartFailed(f"PostgreSQL ended with {child.returncode}.{self._said_since(begin)}")
                if time.monotonic() > deadline:
                    child.send_signal(signal.SIGQUIT)
                    child.wait()
                    raise StartFailed(
                        f"PostgreSQL was not ready after {self._start_limit_s:g} s.{self._said_since(begin)}"
                    )
                time.sleep(POLL_S)
        return child

    def _clear_the_way(self) -> None:
        """End what a killed server or a killed parent left running on this folder; only we hold its lock."""
        cluster = self._layout.cluster
        main_pid = _postmaster_pid(self._layout)
        remaining = end_processes_in(cluster, main_pid)
        if remaining:
            raise StartFailed(
                f"Processes {remaining} of an earlier server still use {cluster} and do not end, which "
                "happens when the disk hangs. End them, or restart the machine."
            )
        # The id may by now belong to somebody else, after a restart of a container most likely, or to a dead
        # process that nobody has collected: PostgreSQL would take either for a server. Without /proc it has
        # to judge by itself.
        if main_pid is not None and Path("/proc/self").exists() and is_taken(main_pid):
            self._layout.postmaster_pid.unlink(missing_ok=True)
        assert self._socket_folder is not None
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            (self._socket_folder / name).unlink(missing_ok=True)

    def _open_log(self) -> "contextlib.closing[LogFile]":
        return contextlib.closing(LogFile(self._layout.log, self._user))

    def _said_since(self, begin: int) -> str:
        with self._layout.log.open("rb") as file:
            file.seek(begin)
            said = file.read()[-4000:].decode(errors="replace").strip()
        return f" It said:\n{said}" if said else ""

    def _signal_child(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


class LogFile:
    """The server's own log, opened for appending; what is over 10 MB is put aside at a start."""

    def __init__(self, path: Path, user: PlainUser | None) -> None:
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_size > LOG_MAX_BYTES:
                path.rename(path.with_suffix(".log.1"))
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if user is not None:
            os.fchown(self._handle, user.uid, user.gid)

    def fileno(self) -> int:
        return self._handle

    def tell(self) -> int:
        return os.fstat(self._handle).st_size

    def close(self) -> None:
        os.close(self._handle)


def attach(data: Path) -> Address | None:
    """The address of the server that runs on this data folder, or None.

    Raises DatabaseFault where the folder belongs to another user.
    """
    layout = Layout(data=data.absolute().resolve())
    try:
        owner = layout.cluster.stat().st_uid
        address = folder.read_address(layout)
        if address is None or not _is_ready(layout, None):
            return None
        if not folder.is_private(Path(address.host), owner):
            return None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(5)
            knock.connect(f"{address.host}/.s.PGSQL.{address.port}")
    except (FileNotFoundError, ConnectionError, TimeoutError):
        return None
    except PermissionError:
        raise DatabaseFault(
            f"{layout.data} belongs to another user. Run the command as its owner or as root."
        ) from None
    return address


@contextlib.contextmanager
def running(data: Path, binaries: Binaries, *, wait_limit_s: float = START_LIMIT_S) -> Iterator[Address]:
    """The address of a server for a short command: the running one, else one started for this command only.

    A server started here stays until every other short command that joined it is done. Raises DatabaseFault.
    """
    layout = Layout(data=data.absolute().resolve())
    user = folder.plain_user_for(layout)
    folder.prepare_data_folder(layout, user)
    deadline = time.monotonic() + wait_limit_s
    while True:
        with visit(layout.visitors_lock, user):
            address = attach(data)
            if address is not None:
                yield address
                return
        server = EmbeddedPostgres(data, binaries)
        try:
            server.start()
        except AlreadyRunning:
            # Another process is just starting or stopping it.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        try:
            yield server.address
        finally:
            with no_visitors(layout.visitors_lock, user):
                server.stop()
        return


def _quoted(path: Path | None) -> str:
    # A list of folders in PostgreSQL's own syntax: quotes keep spaces and commas.
    return '"' + str(path).replace('"', '""') + '"'


def _postmaster_lines(layout: Layout) -> list[str]:
    try:
        return layout.postmaster_pid.read_text().splitlines()
    except FileNotFoundError:
        return []


def _postmaster_pid(layout: Layout) -> int | None:
    lines = _postmaster_lines(layout)
    return abs(int(lines[0])) if lines and lines[0].lstrip("-").isdigit() else None


def _is_ready(layout: Layout, pid: int | None) -> bool:
    """Whether the server (of that id, if given) says in its lock file that it takes connections."""
    lines = _postmaster_lines(layout)
    if len(lines) < 8 or lines[7].strip() != "ready":
        return False
    found = _postmaster_pid(layout)
    return found == pid if pid is not None else found is not None and is_alive(found)
