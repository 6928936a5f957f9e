"""Imaging that tells what each picture cost: CPU time and memory of the one child that worked on it."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from kasuwa.base.imaging import ALL_FORMATS, Imaging, Rendered, process
from kasuwa.base.imaging.process import RenderingProcess


class Cost(Struct, frozen=True):
    """Of one picture: CPU time (user and system), the child's highest memory, and by how much it rose.

    CPU time says the same on a busy machine, where wall time does not.
    """

    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    growth_mb: float = 0.0


class WatchedImaging(Imaging):
    """One child, and one picture at a time; `cost` is that of the last one, nothing where no child saw it.

    It is read when the child has answered, before it may be retired.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(processes=1, **options)
        self.cost = Cost()
        self._cpu_seconds = self._resident_mb = 0.0

    async def render(self, content: bytes, accepted: frozenset[str] = ALL_FORMATS) -> Rendered:
        self.cost = Cost()
        return await super().render(content, accepted)

    async def _take(self) -> RenderingProcess:
        process = await super()._take()
        self._begin(process)
        return process

    def _begin(self, process: RenderingProcess) -> None:
        self._resident_mb = begin_peak(process.pid)
        self._cpu_seconds = process.cpu_seconds()

    def _put_back(self, process: RenderingProcess) -> None:
        highest_mb = peak_mb(process.pid)
        growth_mb = highest_mb - self._resident_mb
        self.cost = Cost(process.cpu_seconds() - self._cpu_seconds, highest_mb, growth_mb)
        super()._put_back(process)


_LIFTED = """
from PIL import PngImagePlugin
from kasuwa.base.rendering import decode
decode.LIMIT_SCANS = decode.LIMIT_FRAMES = decode.LIMIT_PIXELS = decode.JPEG_LIMIT_PIXELS = 10**12
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 10**12
"""


def lift_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For negative controls: children that start from now on look at no size before they decode."""
    command = process.command

    def lifted(setup: str) -> list[str]:
        return [word.replace("; main()", f"; exec({_LIFTED!r}); main()") for word in command(setup)]

    monkeypatch.setattr(process, "command", lifted)


def begin_peak(pid: int) -> float:
    """Let the process's highest memory begin anew; what it holds now, in MB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory_mb(pid, "VmRSS")


def peak_mb(pid: int) -> float:
    """The most memory that the process has held since."""
    return _memory_mb(pid, "VmHWM")


def _memory_mb(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) / 1024
