"""The server: one small parent that keeps workers alive on one listening socket.

Workers are fresh interpreters, also when there is only one: then a crash is survived, and SIGHUP brings
new code without a refused connection. They share the socket by inheritance, not by SO_REUSEPORT: what
waits in the one queue is taken by whoever is left. The parent imports no web framework.
"""

import http.client
import logging
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

_log = logging.getLogger(__name__)
_BACKLOG = 2048
_FIRST_DELAY_SECONDS = 0.1
_LAST_DELAY_SECONDS = 10.0
# A worker that lived this long crashed for a new reason: the delay begins anew.
_STEADY_SECONDS = 60.0
# What a worker's stop may take beside its graces and its requests: accepting and hearing the last callers.
_LAST_CALLERS_SECONDS = 12.0


class WorkerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent tells a worker on its command line."""

    app_factory: str
    render_error: str
    parent_pid: int
    listen_fd: int
    ready_fd: int
    stop_grace_seconds: float
    stop_deadline_seconds: int
    has_successor: bool = False
    log_level: str = "INFO"
    limits: Mapping[str, Any] = {}
    tls_certificate: str | None = None
    tls_key: str | None = None


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`app_factory` and `render_error` are `module:function`: an ASGI app, and identity.RenderError.

    `limits` are fields of ProtocolLimits that differ from its defaults. `metrics_folder` is emptied.
    `environment` is added to the workers'.
    """

    app_factory: str
    render_error: str
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    metrics_folder: Path | None = None
    environment: Mapping[str, str] = {}
    stop_grace_seconds: float = 0.5
    stop_deadline_seconds: int = 30
    start_deadline_seconds: float = 60.0
    log_level: str = "INFO"
    limits: Mapping[str, Any] = {}
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class _WorkerProcess:
    def __init__(self, process: subprocess.Popen[bytes], ready_fd: int) -> None:
        self.process = process
        self.ready_fd = ready_fd
        self.started_at = time.monotonic()
        self.ready = False

    def look(self) -> None:
        if not self.ready and select.select([self.ready_fd], [], [], 0)[0]:
            self.ready = os.read(self.ready_fd, 1) == b"1"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.alive:
            self.process.send_signal(number)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, IPv4 or IPv6 as `host` says. Raises OSError when the port is taken."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
        listening.set_inheritable(True)
    except OSError:
        listening.close()
        raise
    return listening


class Supervisor:
    """Starts, replaces and stops the workers. Runs in the main thread, which gets the signals."""

    def __init__(self, options: ServerOptions, handed: Callable[[], Mapping[str, str]] = dict) -> None:
        self.options = options
        self.handed = handed
        self.listening = listen(options.host, options.port)
        self.port: int = self.listening.getsockname()[1]
        self.workers: list[_WorkerProcess] = []
        self.leaving: list[_WorkerProcess] = []
        self.stops_asked = 0
        self.replace_asked = False
        self.delay_seconds = _FIRST_DELAY_SECONDS
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_write, False)

    @property
    def url(self) -> str:
        scheme = "https" if self.options.tls_certificate else "http"
        host = self.options.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(
        self,
        on_ready: Callable[[str], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> int:
        """Serve until SIGTERM or SIGINT. The exit code: 0, or 1 when the workers cannot start."""
        self._take_signals()
        self._prepare_metrics()
        try:
            self.workers = [self._start() for _ in range(self.options.workers)]
            if not self._wait_until_ready():
                return 0 if self.stops_asked else 1
            if on_ready is not None:
                on_ready(self.url)
            while not self.stops_asked:
                self._tend()
                if on_tick is not None:
                    on_tick()
                self._sleep(1.0)
            return 0
        finally:
            self._stop()

    # Signals

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.replace_asked = True
        elif number != signal.SIGCHLD:
            self.stops_asked += 1

    def _sleep(self, seconds: float) -> None:
        """Until a signal comes, or so long."""
        if select.select([self.wake_read], [], [], seconds)[0]:
            os.read(self.wake_read, 4096)

    # Workers

    def _prepare_metrics(self) -> None:
        folder = self.options.metrics_folder
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, **self.options.environment, **self.handed()}
        if self.options.metrics_folder is not None:
            environment["PROMETHEUS_MULTIPROC_DIR"] = str(self.options.metrics_folder)
        return environment

    def _start(self) -> _WorkerProcess:
        options = self.options
        ready_read, ready_write = os.pipe()
        order = WorkerOrder(
            app_factory=options.app_factory,
            render_error=options.render_error,
            parent_pid=os.getpid(),
            listen_fd=self.listening.fileno(),
            ready_fd=ready_write,
            stop_grace_seconds=options.stop_grace_seconds,
            stop_deadline_seconds=options.stop_deadline_seconds,
            log_level=options.log_level,
            limits=options.limits,
            tls_certificate=str(options.tls_certificate) if options.tls_certificate else None,
            tls_key=str(options.tls_key) if options.tls_key else None,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "kasuwa.base.http.worker", msgspec.json.encode(order).decode()],
            pass_fds=[self.listening.fileno(), ready_write],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl+C reaches the parent alone, which then stops them in order
        )
        os.close(ready_write)
        return _WorkerProcess(process, ready_read)

    def _wait_until_ready(self) -> bool:
        """Until every worker listens and one has answered; False when one ends or the time is over."""
        deadline = time.monotonic() + self.options.start_deadline_seconds
        while time.monotonic() < deadline and not self.stops_asked:
            for worker in self.workers:
                worker.look()
            if not all(worker.alive for worker in self.workers):
                return False
            if all(worker.ready for worker in self.workers):
                return self._answers()
            self._sleep(0.02)
        return False

    def _answers(self) -> bool:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)  # noqa: S104
        if self.options.tls_certificate:
            # It is our own socket: only whether it answers is asked, not who it is.
            context = ssl._create_unverified_context()  # noqa: S323
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, self.port, timeout=10, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, self.port, timeout=10)
        try:
            connection.request("GET", "/healthz", headers={"Connection": "close"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _tend(self) -> None:
        self.leaving = [worker for worker in self.leaving if not self._has_ended(worker)]
        for place, worker in enumerate(self.workers):
            if self._has_ended(worker):
                if time.monotonic() - worker.started_at > _STEADY_SECONDS:
                    self.delay_seconds = _FIRST_DELAY_SECONDS
                _log.warning(
                    "worker %d ended (%s); starting another", worker.process.pid, worker.process.returncode
                )
                self._sleep(self.delay_seconds)
                self.delay_seconds = min(self.delay_seconds * 2, _LAST_DELAY_SECONDS)
                if self.stops_asked:
                    return
                self.workers[place] = self._start()
        if self.replace_asked:
            self.replace_asked = False
            self._replace_all()

    def _replace_all(self) -> None:
        """One by one: the successor answers before the old one steps down."""
        for place, old in enumerate(self.workers):
            new = self._start()
            deadline = time.monotonic() + self.options.start_deadline_seconds
            while new.alive and not new.ready and time.monotonic() < deadline and not self.stops_asked:
                new.look()
                self._sleep(0.02)
            if not new.ready:
                _log.error("the new worker does not start; the old ones stay")
                new.signal(signal.SIGKILL)
                self.leaving.append(new)
                return
            self.workers[place] = new
            self.leaving.append(old)
            old.signal(signal.SIGUSR1)

    def _has_ended(self, worker: _WorkerProcess) -> bool:
        if worker.alive:
            return False
        if worker.ready_fd >= 0:
            os.close(worker.ready_fd)
            worker.ready_fd = -1
        folder = self.options.metrics_folder
        if folder is not None:
            # What it counted stays counted; what it was doing is over.
            for stale in folder.glob(f"gauge_live*_{worker.process.pid}.db"):
                stale.unlink(missing_ok=True)
        return True

    def _stop(self) -> None:
        """SIGTERM to all, time to finish, then SIGKILL; a second signal from outside shortens the time."""
        every = [*self.workers, *self.leaving]
        self.listening.close()
        for worker in every:
            worker.signal(signal.SIGTERM)
        options = self.options
        deadline = time.monotonic() + options.stop_deadline_seconds + 2 * options.stop_grace_seconds
        deadline += _LAST_CALLERS_SECONDS
        asked = self.stops_asked
        while any(worker.alive for worker in every) and time.monotonic() < deadline:
            if self.stops_asked > max(asked, 1):
                break
            self._sleep(0.1)
        for worker in every:
            worker.signal(signal.SIGKILL)
            worker.process.wait()
            self._has_ended(worker)
        signal.set_wakeup_fd(-1)
        os.close(self.wake_read)
        os.close(self.wake_write)


def serve(
    options: ServerOptions,
    *,
    on_ready: Callable[[str], None] | None = None,
    on_tick: Callable[[], None] | None = None,
    handed: Callable[[], Mapping[str, str]] = dict,
) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP replaces the workers one by one. Returns the exit code.

    `on_ready(url)` is called once a worker has answered; `on_tick()` about once a second (to look after
    a database); `handed()` before each worker starts, for what is added to its environment. What must
    outlive the workers is a `with` around this call. Raises OSError when the port is taken.
    """
    return Supervisor(options, handed).run(on_ready, on_tick)
