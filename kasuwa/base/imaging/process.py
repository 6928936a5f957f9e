"""One rendering process, seen from the server."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from kasuwa.base.rendering import messages

# Nothing of the server's environment goes in: it holds the secret key. The allocator gives what a large
# picture took back to the system at once; by itself glibc would raise that threshold to 32 MB and keep it.
# What is smaller it keeps up to 32 MB: asking the system for it again took 20 ms of a picture of 12 MP.
_MEBIBYTE = 1024 * 1024
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 * _MEBIBYTE),
    "MALLOC_TRIM_THRESHOLD_": str(32 * _MEBIBYTE),
}


class ProcessLost(Exception):
    """The process ended while it had a job (`ended`), or answered what no rendering process answers."""

    def __init__(self, reason: str, *, ended: bool = False) -> None:
        super().__init__(reason)
        self.ended = ended


class RenderingProcess:
    """A running child and the pipe to it; one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.jobs_done = 0

    @classmethod
    async def start(
        cls, *, memory_bytes: int, cpu_seconds: int, sizes: Mapping[str, tuple[int, int]]
    ) -> "RenderingProcess":
        """Start one. It inherits no file, no environment and no place in the terminal."""
        setup = messages.Setup(os.getpid(), memory_bytes, cpu_seconds, dict(sizes))
        process = await asyncio.create_subprocess_exec(
            *command(msgspec.json.encode(setup).decode()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            limit=1024 * 1024,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, job: bytes) -> messages.Answer:
        """The answer to one encoded `messages.Job`. Raises ProcessLost."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        try:
            try:
                pipe_in.write(messages.LENGTH.pack(len(job)))
                pipe_in.write(job)
            except RuntimeError as error:  # what uvloop says of a pipe whose reader has died
                raise ProcessLost("the pipe is closed", ended=True) from error
            await pipe_in.drain()
            length = messages.LENGTH.unpack(await pipe_out.readexactly(messages.LENGTH.size))[0]
            if length > messages.ANSWER_LIMIT_BYTES:
                raise ProcessLost("the answer is over the limit")
            answer = messages.decode_answer.decode(await pipe_out.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ProcessLost("the pipe ended", ended=True) from error
        except msgspec.DecodeError as error:
            raise ProcessLost("the answer is not one of ours") from error
        self.jobs_done += 1
        return answer

    async def end(self, *, grace_seconds: float = 0) -> int:
        """Let it end by itself for so long, then kill it; its exit code, or minus the signal."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                return await self._process.wait()
        self.kill()
        return await self._process.wait()

    def kill(self) -> None:
        """Send SIGKILL; nothing happens when it is dead."""
        if self.is_alive:
            # Popen's own kill would collect the exit code before asyncio does, which then reports 255.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """CPU time used since its start; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Memory in use; 0 where the system does not tell."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def command(setup: str) -> list[str]:
    """The command line of a rendering process: only our package, Pillow and msgspec can be imported."""
    folders = sorted({_folder_of(package) for package in ("kasuwa", "PIL", "msgspec")})
    start = "import sys; sys.path += sys.argv[2:]; from kasuwa.base.rendering.child import main; main()"
    return [sys.executable, "-I", "-S", "-c", start, setup, *folders]


def _folder_of(package: str) -> str:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).resolve().parent.parent)


def says_too_slow(exit_code: int) -> bool:
    """Whether the process was ended because it used up its CPU time."""
    return exit_code == -signal.SIGXCPU


def says_killed(exit_code: int) -> bool:
    """Whether someone else ended it (an administrator, the kernel short of memory), not the file."""
    return exit_code in (-signal.SIGKILL, -signal.SIGTERM)
