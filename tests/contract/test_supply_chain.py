"""What is installed stands in the bill of materials; what was not looked up is not called good."""

import json
import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tools.supply_chain import LOCK, audit, judge, write_sbom

TODAY = date(2026, 11, 26)
FOUND = {"id": "PYSEC-2026-7", "aliases": ["CVE-2026-0001"], "fix_versions": ["2.0"]}


def report(*packages: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(packages)}


def package(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": [], **more}


def accepted(until: date, **more: str) -> dict[str, Any]:
    return {"package": "bad", "id": "CVE-2026-0001", "reason": "never called", "until": until, **more}


def test_the_bill_of_materials_is_the_lock(tmp_path: Path) -> None:
    packages = write_sbom(tmp_path / "sbom.json")
    components = json.loads((tmp_path / "sbom.json").read_text("utf-8"))["components"]
    locked = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", LOCK.read_text("utf-8"), re.M))
    assert {one["name"]: one["version"] for one in components} == packages == locked
    assert len(packages) > 30
    hashes = {found["content"] for one in components for found in one["externalReferences"][0]["hashes"]}
    assert hashes == set(re.findall(r"--hash=sha256:([0-9a-f]{64})", LOCK.read_text("utf-8")))


def test_a_known_vulnerability_fails_and_says_what_helps() -> None:
    verdict = judge(report(package("good"), package("bad", vulns=[FOUND])), [], TODAY)
    assert not verdict.ok
    assert verdict.lines == ["vulnerabilities: bad 1.0 has PYSEC-2026-7, fixed in 2.0"]


def test_nothing_known_is_said_of_as_many_as_were_looked_up() -> None:
    verdict = judge(report(package("good"), package("fine")), [], TODAY)
    assert verdict.ok
    assert verdict.lines == ["vulnerabilities: none known in 2 packages but those that are accepted"]


@pytest.mark.parametrize("looked_up", [0, 1])
def test_what_was_not_looked_up_is_counted_and_never_called_good(looked_up: int) -> None:
    """The control: pip-audit itself says "No known vulnerabilities found" then."""
    skipped = {"name": "unknown", "skip_reason": "not found"}
    verdict = judge(report(skipped, skipped, *[package("good")] * looked_up), [], TODAY)
    assert verdict.ok
    assert (
        verdict.lines[0]
        == f"vulnerabilities: 2 of {2 + looked_up} packages NOT looked up (such as: not found)"
    )
    assert any("none known" in line for line in verdict.lines) == bool(looked_up)


@pytest.mark.parametrize(
    ("one", "ok"),
    [
        (accepted(TODAY), True),
        (accepted(TODAY, id="PYSEC-2026-7"), True),
        (accepted(date(2026, 11, 25)), False),
        (accepted(TODAY, package="good"), False),
        (accepted(TODAY, id="CVE-2026-0002"), False),
    ],
    ids=["alias", "id", "expired", "another package", "another id"],
)
def test_what_is_accepted_is_accepted_by_name_and_for_a_time(one: dict[str, Any], ok: bool) -> None:
    assert judge(report(package("bad", vulns=[FOUND])), [one], TODAY).ok is ok


@pytest.mark.parametrize("missing", ["package", "id", "reason", "until"])
def test_an_acceptance_says_what_why_and_until_when(missing: str) -> None:
    one = {name: value for name, value in accepted(TODAY).items() if name != missing}
    with pytest.raises(ValueError, match="each needs"):
        judge(report(package("good")), [one], TODAY)


def test_every_package_of_the_bill_is_looked_up_wherever_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lock has packages for other platforms, which pip-audit would pass over by their markers."""
    assert "sys_platform" in LOCK.read_text("utf-8")
    asked: list[str] = []

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.extend(Path(words[words.index("-r") + 1]).read_text("utf-8").split())
        packages = [package(line.partition("==")[0]) for line in asked]
        return subprocess.CompletedProcess(words, 0, stdout=json.dumps(report(*packages)), stderr="")

    packages = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", LOCK.read_text("utf-8"), re.M))
    monkeypatch.setattr(subprocess, "run", run)
    verdict = audit(packages)
    assert asked == [f"{name}=={version}" for name, version in packages.items()]
    assert verdict.lines == [
        f"vulnerabilities: none known in {len(packages)} packages but those that are accepted"
    ]


def test_a_report_that_leaves_packages_out_is_refused() -> None:
    asked = ["good", "Some_Thing"]
    assert judge(report(package("good"), package("some-thing")), [], TODAY, asked=asked).ok
    with pytest.raises(ValueError, match="leaves out some-thing"):
        judge(report(package("good")), [], TODAY, asked=asked)


def test_a_report_on_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no package"):
        judge(report(), [], TODAY)


@pytest.mark.parametrize(
    ("said", "ok"), [("unrecognized arguments: -x", False), ("ConnectionError: no route", True)]
)
def test_only_the_network_excuses_a_look_up_that_was_not_made(
    said: str, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 2, stdout="", stderr=said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    verdict = audit({"good": "1.0"})
    assert (verdict.ok, verdict.lines) == (ok, [f"vulnerabilities: NOT looked up ({said})"])
