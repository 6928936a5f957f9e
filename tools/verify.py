"""Every check and test, and a summary that names what did not run: `make test`.

With arguments they go to pytest (`make test ARGS="tests/api -k picture"`), and only tests run.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tools.set_up import ROOT
from tools.supply_chain import SAID

BIN = Path(sys.executable).parent
BUILD = ROOT / "build"
RESULTS = BUILD / "tests.xml"
COVERAGE = BUILD / "coverage.json"

CHECKS: dict[str, list[str | Path]] = {
    "style": [BIN / "ruff", "check", "."],
    "layout": [BIN / "ruff", "format", "--check", "--quiet", "."],
    "types": [sys.executable, "-m", "mypy", "--no-error-summary"],
    "imports": [BIN / "lint-imports", "--no-cache", "--no-logo"],
    "packages": [sys.executable, "-m", "tools.supply_chain"],
}
# Tests that need only the files themselves say in seconds what the whole suite says late.
RULES: list[str | Path] = [sys.executable, "-m", "pytest", "--quiet", "--no-cov"]
RULES += ["tests/contract/test_project_rules.py", "tests/test_docs.py"]
# One more than processors: half of the long tests' time is waiting for deadlines and restarts.
TESTS: list[str | Path] = [sys.executable, "-m", "pytest", "--quiet", "-n", str((os.cpu_count() or 1) + 1)]
TESTS += ["--dist", "loadfile", "--no-loadscope-reorder"]  # in the order of tests/conftest.py
TESTS += ["--cov", "--cov-report=", f"--cov-report=json:{COVERAGE}", f"--junitxml={RESULTS}"]
GATE: list[str | Path] = [sys.executable, "-m", "tools.coverage_gate", COVERAGE]


class Outcome(NamedTuple):
    """How one step ended."""

    step: str
    ok: bool
    seconds: float


class Results(NamedTuple):
    """What pytest counted; `skipped` holds each test that did not run, with its reason."""

    passed: int
    failed: int
    skipped: list[tuple[str, str]]


def run(step: str, command: list[str | Path], environment: Mapping[str, str] | None = None) -> Outcome:
    """Run one step with its output on ours; `environment` is added to ours."""
    print(f"== {step}", flush=True)
    started = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **(environment or {})}).returncode
    return Outcome(step, code == 0, time.monotonic() - started)


def run_tests(command: list[str | Path]) -> tuple[Outcome, list[str]]:
    """Run the tests in a temporary folder of their own, which goes with them; also what they left in it.

    A run that is broken off leaves nothing either.
    """
    with tempfile.TemporaryDirectory(prefix="kasuwa-tests-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o1777)  # as the system's own: PostgreSQL runs as another user
        # pytest's folders stay where one looks for them after a failure.
        places = {"TMPDIR": folder, "PYTEST_DEBUG_TEMPROOT": tempfile.gettempdir()}
        outcome = run("tests", command, places)
        return outcome, sorted(name for name in os.listdir(folder) if name.startswith(("kasuwa-", "tmp")))


def missing_tools() -> list[str]:
    """What this machine lacks that some tests need, each with what to install."""
    needed = {"curl": "the answers as other clients read them", "git": "the open list against its history"}
    missing = [
        f"{name} (apt install {name}): {what}" for name, what in needed.items() if not shutil.which(name)
    ]
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        missing.append("Chromium (apt install chromium): the tests of pages in a browser")
    if not Path("/usr/lib/postgresql/15/bin/initdb").exists():
        missing.append(
            "PostgreSQL 15 (apt install postgresql-15): the tests on the oldest PostgreSQL we promise"
        )
    return missing


def read_results(file: Path) -> Results:
    """The counts of pytest's own report."""
    failed, total, skipped = 0, 0, []
    for case in ElementTree.parse(file).iter("testcase"):
        total += 1
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif (skip := case.find("skipped")) is not None:
            skipped.append((f"{case.get('classname')}.{case.get('name')}", skip.get("message", "")))
    return Results(total - failed - len(skipped), failed, skipped)


def summarise(
    outcomes: list[Outcome], results: Results | None, missing: list[str], left: Sequence[str] = ()
) -> list[str]:
    """The closing lines: each step, what did not run and why, what was left behind, and the counts."""
    lines = ["", "== summary"]
    said = SAID.read_text("utf-8").splitlines() if SAID.exists() else []
    # What was not looked up is no failure, and no success either.
    partly = "packages" if any("NOT looked up" in line for line in said) else ""
    for outcome in outcomes:
        good = "partly" if outcome.step == partly else "ok"
        lines.append(f"{outcome.step:10} {good if outcome.ok else 'FAILED':7}{outcome.seconds:6.1f} s")
    lines += said
    lines += [f"missing: {tool}" for tool in missing]
    lines += [f"left behind by a test in the temporary folder: {name}" for name in left]
    if results is not None:
        lines += [f"did not run: {test}: {reason}" for test, reason in results.skipped]
        if not results.skipped:
            lines.append("every test ran")
        lines.append(f"{results.passed} passed, {results.failed} failed, {len(results.skipped)} skipped")
    return lines


def verify(only_checks: bool, chosen: list[str], strict: bool) -> bool:
    """Run what is asked for; `strict` (continuous integration) also refuses what a test did not run for."""
    SAID.unlink(missing_ok=True)
    outcomes = [] if chosen else [run(step, command) for step, command in CHECKS.items()]
    results, missing = None, []
    left: list[str] = []
    if only_checks:
        outcomes.append(run("rules", RULES))
    else:
        BUILD.mkdir(exist_ok=True)
        RESULTS.unlink(missing_ok=True)
        COVERAGE.unlink(missing_ok=True)
        missing = missing_tools()
        outcome, left = run_tests(TESTS + list(chosen))
        outcomes.append(outcome)
        if not chosen:
            outcomes.append(run("coverage", GATE))
        results = read_results(RESULTS) if RESULTS.exists() else None
    print("\n".join(summarise(outcomes, results, missing, left)), flush=True)
    lacks = bool(missing or (results is not None and results.skipped))
    return all(outcome.ok for outcome in outcomes) and not (strict and lacks)


def main() -> None:
    parser = argparse.ArgumentParser(description="Every check and test", allow_abbrev=False)
    parser.add_argument(
        "--only-checks", action="store_true", help="of the tests only those of the project's rules"
    )
    arguments, chosen = parser.parse_known_args()
    # Whoever breaks the run off lets it clear away first.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    strict = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
    sys.exit(0 if verify(arguments.only_checks, chosen, strict) else 1)


if __name__ == "__main__":
    main()
