"""Refuse a suite that leaves branches untried: `python -m tools.coverage_gate build/coverage.json`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

FLOORS_PERCENT = {"kasuwa/domain": 90.0, "kasuwa/base": 90.0}
"""The least part of the branches that the tests must take, for each folder."""


class Measured(NamedTuple):
    """What the tests took of a folder's branches; `files` have untried ones, the worst first."""

    folder: str
    branches: int
    taken: int
    files: list[tuple[str, int]]

    @property
    def percent(self) -> float:
        return 100.0 * self.taken / self.branches if self.branches else 100.0


def measure(report: Mapping[str, Any], folder: str) -> Measured:
    """The folder's branches in a report of `coverage json`; LookupError when it names no file of it."""
    summaries = {
        name.replace("\\", "/"): file["summary"]
        for name, file in report["files"].items()
        if name.replace("\\", "/").startswith(folder + "/")
    }
    if not summaries:
        raise LookupError(f"the coverage report names no file of {folder}: was it measured?")
    untried = [(name, summary["missing_branches"]) for name, summary in summaries.items()]
    return Measured(
        folder,
        branches=sum(summary["num_branches"] for summary in summaries.values()),
        taken=sum(summary["covered_branches"] for summary in summaries.values()),
        files=sorted((file for file in untried if file[1]), key=lambda file: -file[1]),
    )


def judge(report: Mapping[str, Any], floors: Mapping[str, float]) -> tuple[bool, list[str]]:
    """Whether each folder reaches its floor, and what to say about each."""
    enough, lines = True, []
    for folder, floor in floors.items():
        measured = measure(report, folder)
        reached = measured.percent >= floor
        enough &= reached
        lines.append(
            f"branches of {folder}: {measured.taken} of {measured.branches} taken,"
            f" {measured.percent:.1f} % ({'' if reached else 'TOO FEW, '}at least {floor:.0f} %)"
        )
        if not reached:
            lines += [f"  {file}: {missing} never taken" for file, missing in measured.files[:5]]
    return enough, lines


def main() -> None:
    enough, lines = judge(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), FLOORS_PERCENT)
    print("\n".join(lines))
    sys.exit(0 if enough else 1)


if __name__ == "__main__":
    main()
