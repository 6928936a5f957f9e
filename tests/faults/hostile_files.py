"""Send every file of the hostile corpus through `render`, and say what became of each and what it cost.

Run: python -m tests.faults.hostile_files    (exit 1 when a limit is broken; a machine that does nothing else)

The suite holds the limits of CPU time and memory; wall clock is judged only here, by hand.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from kasuwa.base.problems import Problem
from tests.base.watched import WatchedImaging
from tools.hostile_corpus import read_corpus

# Of one file: CPU time (by hand, wall clock as well) and the child's memory.
SECONDS = 2.0
PEAK_MB = 300.0
# Of all files together, in wall clock.
ALL_SECONDS = 60.0


class Outcome(Struct, frozen=True):
    """What one file ended in: a format name, or the name of a Problem and its reason."""

    name: str
    result: str
    reason: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    unexpected: bool = False


class Report(Struct, frozen=True):
    """What all files ended in; `lost` counts the children that died."""

    outcomes: list[Outcome]
    started: int
    lost: int
    seconds: float

    @property
    def peak_mb(self) -> float:
        return max(outcome.peak_mb for outcome in self.outcomes)

    def broken(self) -> list[str]:
        """Every promise that a file broke, whatever else the machine does."""
        faults = [f"{self.lost} children died"] if self.lost else []
        for one in self.outcomes:
            if one.unexpected:
                faults.append(f"{one.name}: {one.result}: {one.reason}")
            if one.cpu_seconds > SECONDS:
                faults.append(f"{one.name}: {one.cpu_seconds:.1f} s of CPU time")
            if one.peak_mb > PEAK_MB:
                faults.append(f"{one.name}: {one.peak_mb:.0f} MB")
        return faults

    def late(self) -> list[str]:
        """What took too long by the clock on the wall."""
        faults = [f"all files: {self.seconds:.1f} s"] if self.seconds > ALL_SECONDS else []
        return faults + [f"{one.name}: {one.seconds:.1f} s" for one in self.outcomes if one.seconds > SECONDS]

    def lines(self) -> list[str]:
        """The report for people."""
        results = Counter(outcome.result for outcome in self.outcomes)
        slowest = max(self.outcomes, key=lambda outcome: outcome.seconds)
        dearest = max(self.outcomes, key=lambda outcome: outcome.cpu_seconds)
        return [
            f"{len(self.outcomes)} files in {self.seconds:.1f} s: "
            + ", ".join(f"{result} {count}" for result, count in results.most_common()),
            f"slowest {slowest.seconds:.2f} s ({slowest.name}, {slowest.result})",
            f"most CPU time {dearest.cpu_seconds:.2f} s ({dearest.name}, {dearest.result})",
            f"peak memory of a child {self.peak_mb:.0f} MB",
            f"children started {self.started}, lost {self.lost}",
            *(f"BROKEN: {fault}" for fault in [*self.broken(), *self.late()]),
        ]


async def send_all(files: Iterable[tuple[str, bytes]], children: Sequence[WatchedImaging]) -> Report:
    """Render all files, one at a time in each child."""
    begun = time.perf_counter()
    waiting = iter(files)
    outcomes: list[Outcome] = []

    async def work(imaging: WatchedImaging) -> None:
        await imaging.start()
        for name, content in waiting:
            outcomes.append(await send(name, content, imaging))
        await imaging.close()

    await asyncio.gather(*(work(imaging) for imaging in children))
    return Report(
        outcomes,
        sum(imaging.counts.processes_started for imaging in children),
        sum(imaging.counts.processes_lost for imaging in children),
        time.perf_counter() - begun,
    )


async def send(name: str, content: bytes, imaging: WatchedImaging) -> Outcome:
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
    cost = imaging.cost
    return Outcome(name, result, reason, seconds, cost.cpu_seconds, cost.peak_mb, unexpected)


async def main() -> int:
    report = await send_all(read_corpus(), [WatchedImaging(), WatchedImaging()])
    sys.stdout.write("\n".join(report.lines()) + "\n")
    return 1 if report.broken() or report.late() else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
