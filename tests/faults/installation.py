"""Installations to do harm to: a data folder, `kasuwa serve` as a process, and ways to kill its parts."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

import kasuwa.app  # noqa: F401 - each API brings the cards that products get in it
from kasuwa.base.context import Services
from kasuwa.base.db import Pool
from kasuwa.base.postgres.bootstrap import APPLICATION, OWNER
from kasuwa.base.postgres.folder import Address, Layout
from kasuwa.base.postgres.server import attach
from kasuwa.cli.visiting import DatabaseServices
from kasuwa.settings import read_settings
from tests import checked

DEADLINE_SECONDS = 120.0
ROOT = Path(__file__).parent.parent.parent
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
# Quotas are not what is tried here; one picture process a worker is enough.
_WIDE = {
    "KASUWA_STOREHARMONY_REQUESTS_PER_SECOND": "100000",
    "KASUWA_BIGCOMMERCE_REQUESTS_PER_WINDOW": "1000000",
    "KASUWA_SHOPLAZZA_BURST": "1000000",
    "KASUWA_SHOPLAZZA_STORE_BURST": "1000000",
    "KASUWA_PICTURE_PROCESSES": "1",
    "KASUWA_LOG_FORMAT": "json",
}


class Installation:
    """One data folder and what the environment says beside it.

    `broken` names a fault of tests.faults.broken to build in: the negative controls.
    """

    def __init__(self, data: Path, *, broken: str = "", **settings: str) -> None:
        self.data = data
        self.settings = settings
        self.broken = broken
        self.log = data.with_name(f"{data.name}.log")
        self.port = 0

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        named = {"KASUWA_DATA": str(self.data), "PYTHONPATH": str(ROOT), "BROKEN_BY_TEST": self.broken}
        return {**kept, **named, **_WIDE, **self.settings}

    @property
    def layout(self) -> Layout:
        return Layout(data=self.data.resolve())

    def run(self, *words: str, module: str = "kasuwa") -> subprocess.CompletedProcess[str]:
        """Run `kasuwa`, or the module in its place, with these words to its end."""
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def examine(self) -> list[str]:
        """What `kasuwa doctor` finds in a stopped installation, and again once unused pictures are gone."""
        for options in ((), ("--gc", "--now")):
            done = self.run("doctor", *options, "--json")
            if done.returncode != 0:
                return [f"doctor {' '.join(options)}: {done.stdout} {done.stderr}"]
        return []

    def start(self, *, workers: int = 1) -> "Server":
        """Start the server; from the second time on at the same port. Answers without waiting."""
        module = "tests.faults.broken" if self.broken else "kasuwa"
        words = ["serve", "--port", str(self.port), "--workers", str(workers)]
        with self.log.open("ab") as log:
            begin = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                env=self.environment,
                cwd=self.data.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Server(self, process, begin)

    @contextmanager
    def serving(self, *, workers: int = 1) -> Iterator["Server"]:
        """A server that is ready; at the end SIGTERM, and it must end with 0."""
        server = self.start(workers=workers)
        try:
            server.wait_until_ready()
            yield server
            assert server.stop() == 0, server.said()[-4000:]
        finally:
            server.kill_everything()

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A caller; every answer is held against the contracts, unless the server is broken on purpose."""
        return httpx.AsyncClient(**options) if self.broken else checked.AsyncClient(**options)

    @property
    def address(self) -> Address:
        """Where the running server's PostgreSQL is."""
        found = attach(self.data)
        assert found is not None, "PostgreSQL does not run"
        return found

    @asynccontextmanager
    async def services(self) -> AsyncIterator[Services]:
        """For verbs that change rows alone, beside the running server."""
        settings = read_settings(self.environment)
        dsn = self.address.dsn(APPLICATION, settings.database_name)
        pool = await Pool.open(dsn=dsn, max_size=2)
        try:
            yield DatabaseServices(pool, settings)
        finally:
            await pool.close()

    @asynccontextmanager
    async def as_owner(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """The rows of all merchants."""
        connection = await asyncpg.connect(self.address.dsn(OWNER, "kasuwa"))
        try:
            yield connection
        finally:
            await connection.close()


class Server:
    """One `kasuwa serve` of an installation."""

    def __init__(self, installation: Installation, process: subprocess.Popen[bytes], begin: int) -> None:
        self.installation = installation
        self.process = process
        self.started_at = time.monotonic()
        self._begin = begin

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.installation.port}"

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.started_at

    def said(self) -> str:
        with self.installation.log.open("rb") as log:
            log.seek(self._begin)
            return log.read().decode(errors="replace")

    def wait_until_ready(self) -> None:
        """Until it has printed its address."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while "ready on http" not in (said := self.said()):
            assert self.process.poll() is None, f"it ended ({self.process.returncode}):\n{said[-4000:]}"
            assert time.monotonic() < deadline, f"it is not ready:\n{said[-4000:]}"
            time.sleep(0.02)
        self.installation.port = int(said.partition("ready on http")[2].split()[0].rpartition(":")[2])

    async def first_answer(self) -> float:
        """Wait for the first 200 of /readyz; answer the seconds since the start of this wait."""
        begun = time.monotonic()
        async with httpx.AsyncClient() as client:
            while time.monotonic() < begun + DEADLINE_SECONDS:
                with suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/readyz", timeout=5)).status_code == 200:
                        return time.monotonic() - begun
                await asyncio.sleep(0.02)
        raise AssertionError(f"no answer:\n{self.said()[-4000:]}")

    def processes(self) -> list[int]:
        """The server's parent process and everything below it."""
        return [self.process.pid, *(process.pid for process in _below(self.process.pid))]

    def workers(self) -> list[int]:
        return [process.pid for process in _below(self.process.pid) if _is_worker(process)]

    def postmaster(self) -> int | None:
        """PostgreSQL's main process, if there is one now."""
        try:
            return abs(int(self.installation.layout.postmaster_pid.read_text().splitlines()[0]))
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def resident_bytes(self) -> int:
        """Memory of all processes together; what several share is counted once."""
        return sum(
            _share_bytes(process) for process in [psutil.Process(self.process.pid), *_below(self.process.pid)]
        )

    def kill_everything(self) -> None:
        """SIGKILL for the parent, every worker, their children and PostgreSQL, as a power cut would."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def kill_parent(self) -> None:
        """SIGKILL for the parent alone: the kernel has to tell the others."""
        self.process.kill()
        self.process.wait()

    def kill_worker(self) -> None:
        for pid in self.workers()[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_postgres(self, number: signal.Signals = signal.SIGKILL) -> None:
        pid = self.postmaster()
        if pid is not None and pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's plain user can reach, for as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-faults-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return "kasuwa.base.http.worker" in process.cmdline()
    return False


def _share_bytes(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return int(process.memory_full_info().pss)
    return 0
