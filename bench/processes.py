"""What a server and everything it started use: processor time and memory, read from /proc (Linux)."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

START_DEADLINE_SECONDS = 60.0
IDLE_DEADLINE_SECONDS = 300.0
_IDLE_MS_PER_SECOND = 30.0
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_KEPT = ("PATH", "HOME", "LANG", "PYTHONFAULTHANDLER")


class Memory(Struct, frozen=True):
    """Bytes. A page that several processes share counts by its share in `pss_bytes`, fully in `rss_bytes`."""

    pss_bytes: int
    rss_bytes: int
    swap_bytes: int


class Process(Struct, frozen=True):
    """One line of /proc/<pid>/stat. `cpu_ms` holds that of children which it has waited for, too."""

    pid: int
    parent_pid: int
    name: str
    cpu_ms: float


def read_processes() -> dict[int, Process]:
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()
        ticks = sum(int(field) for field in fields[11:15])
        found[int(entry)] = Process(int(entry), int(fields[1]), name, ticks * _TICK_MS)
    return found


def family_of(pid: int) -> list[Process]:
    """The process and all that it started, and they started."""
    every = read_processes()
    family = [every[pid]]
    for member in family:
        family += [other for other in every.values() if other.parent_pid == member.pid]
    return family


def is_postgres(process: Process) -> bool:
    return process.name.startswith("postgres")


class Used(Struct, frozen=True):
    """Processor time, ms."""

    postgres_ms: float
    ours_ms: float

    @property
    def total_ms(self) -> float:
        return self.postgres_ms + self.ours_ms

    def __sub__(self, earlier: "Used") -> "Used":
        return Used(self.postgres_ms - earlier.postgres_ms, self.ours_ms - earlier.ours_ms)


def used_by(*pids: int) -> Used:
    """What the families of these processes have used since they began."""
    family = _settled_family(pids)
    return Used(
        sum(process.cpu_ms for process in family if is_postgres(process)),
        sum(process.cpu_ms for process in family if not is_postgres(process)),
    )


def _settled_family(pids: Sequence[int]) -> list[Process]:
    """All of them, at a moment at which none ended: its time would be neither its own nor its parent's."""
    seen: list[Process] = []
    while True:
        before, seen = seen, [process for pid in pids for process in family_of(pid)]
        if [process.pid for process in before] == [process.pid for process in seen]:
            return seen


def memory_of(pid: int) -> Memory:
    """What the process holds; one that has ended holds nothing."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        text = ""

    def bytes_of(field: str) -> int:
        found = re.search(rf"^{field}:\s+(\d+) kB", text, re.M)
        return 1024 * int(found.group(1)) if found else 0

    return Memory(bytes_of("Pss"), bytes_of("Rss"), bytes_of("SwapPss"))


def peak_bytes(pid: int) -> int:
    """The most memory the process has held."""
    return 1024 * int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])


class Started:
    """A server of its own: its main process, and the address it says it is ready on."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.url = self._wait_for(rb"ready on (http\S+)")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def _wait_for(self, pattern: bytes) -> str:
        assert self.process.stdout is not None
        said = b""
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while (found := re.search(pattern, said)) is None:
            assert time.monotonic() < deadline, f"not ready in time: {said!r}"
            if select.select([self.process.stdout], [], [], 0.5)[0]:
                read = os.read(self.process.stdout.fileno(), 65536)
                assert read, f"it ended with {self.process.wait()}: {said!r}"
                said += read
        return found.group(1).decode()


@contextmanager
def started(words: list[str], environment: Mapping[str, str], log: Path) -> Iterator[Started]:
    """Run a server that prints `ready on http://…`, its log going to a file; SIGTERM at the end."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with log.open("ab") as errors:
        process = subprocess.Popen(
            words,
            env={**kept, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield Started(process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(START_DEADLINE_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def wait_idle(server: Started) -> None:
    """Until the server works on nothing: the jobs of a first start would be counted as the requests'."""
    deadline = time.monotonic() + IDLE_DEADLINE_SECONDS
    used = used_by(server.pid)
    while True:
        time.sleep(1.0)
        before, used = used, used_by(server.pid)
        if (used - before).total_ms < _IDLE_MS_PER_SECOND:
            return
        assert time.monotonic() < deadline, "the server does not come to rest"


@contextmanager
def serving(data: Path, *, workers: int = 1, **settings: object) -> Iterator[Started]:
    """`kasuwa serve` on the data folder and a free port. `settings` are those of the environment."""
    words = [sys.executable, "-m", "kasuwa", "serve", "--port", "0", "--workers", str(workers)]
    environment = {f"KASUWA_{name.upper()}": str(value) for name, value in settings.items()}
    with started(words, {"KASUWA_DATA": str(data), **environment}, data / "bench.log") as server:
        yield server
