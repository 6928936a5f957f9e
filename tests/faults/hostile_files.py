"""Send every file of the hostile corpus through `render`, and say what became of each.

Run: python -m tests.faults.hostile_files    (all files; the suite runs them too)
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from kasuwa.base.imaging import Counts, Imaging
from kasuwa.base.problems import Problem
from tools.hostile_corpus import read_corpus

SLOW_SECONDS = 2.0
PEAK_LIMIT_MB = 300.0


class Outcome(Struct, frozen=True):
    """What one file ended in: a format name, or the name of a Problem and its reason."""

    name: str
    result: str
    reason: str
    seconds: float
    peak_mb: float
    unexpected: bool = False


class Report(Struct, frozen=True):
    """What all files ended in; `processes_lost` counts the children that died."""

    outcomes: list[Outcome]
    counts: Counts
    seconds: float

    @property
    def peak_mb(self) -> float:
        return max(outcome.peak_mb for outcome in self.outcomes)

    def lines(self) -> list[str]:
        """The report for people."""
        results = Counter(outcome.result for outcome in self.outcomes)
        slow = [outcome for outcome in self.outcomes if outcome.seconds > SLOW_SECONDS]
        slowest = max(self.outcomes, key=lambda outcome: outcome.seconds)
        return [
            f"{len(self.outcomes)} files in {self.seconds:.1f} s: "
            + ", ".join(f"{result} {count}" for result, count in results.most_common()),
            f"unexpected: {[outcome.name for outcome in self.outcomes if outcome.unexpected] or 'none'}",
            f"slowest {slowest.seconds:.2f} s ({slowest.name}, {slowest.result});"
            f" over {SLOW_SECONDS:.0f} s: {[outcome.name for outcome in slow] or 'none'}",
            f"peak memory of a child {self.peak_mb:.0f} MB",
            f"children started {self.counts.processes_started}, lost {self.counts.processes_lost},"
            f" retired {self.counts.processes_retired}",
        ]


async def send_all(files: Iterable[tuple[str, bytes]], imaging: Imaging, at_once: int = 2) -> Report:
    """Render all files, `at_once` at a time."""
    begun = time.perf_counter()
    waiting = iter(files)
    outcomes: list[Outcome] = []

    async def work() -> None:
        for name, content in waiting:
            outcomes.append(await send(name, content, imaging))

    await asyncio.gather(*(work() for _ in range(at_once)))
    return Report(outcomes, imaging.counts, time.perf_counter() - begun)


async def send(name: str, content: bytes, imaging: Imaging) -> Outcome:
    """Render one file; only a result or a Problem is expected."""
    begun = time.perf_counter()
    unexpected, reason = False, ""
    try:
        result: str = (await imaging.render(content)).format
    except Problem as problem:
        result, reason = type(problem).__name__, problem.detail
    except Exception as error:
        result, reason, unexpected = type(error).__name__, str(error), True
    seconds = time.perf_counter() - begun
    peak_mb = max((_peak_mb(process.pid) for process in imaging.processes()), default=0.0)
    return Outcome(name, result, reason, seconds, peak_mb, unexpected)


def _peak_mb(pid: int) -> float:
    """The most memory that the process has held so far; 0 when it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024 if "VmHWM:" in status else 0.0


async def main() -> None:
    imaging = Imaging(processes=2)
    await imaging.start()
    report = await send_all(read_corpus(), imaging)
    lines = report.lines()
    for outcome in report.outcomes:
        if outcome.unexpected or outcome.result in ("ImagingBusy", "PictureTooBig"):
            lines.append(f"  {outcome.name}: {outcome.result}: {outcome.reason}")
    sys.stdout.write("\n".join(lines) + "\n")
    await imaging.close()


if __name__ == "__main__":
    asyncio.run(main())
