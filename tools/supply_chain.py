"""What the server is installed from, and what is known against it: `python -m tools.supply_chain`.

Writes the software bill of materials of requirements/runtime.txt (CycloneDX) to build/sbom.json, and looks
each package up among the published vulnerabilities. One that is known fails, unless it stands in
requirements/accepted_vulnerabilities.toml with a reason and a day until which it is accepted. Where the
place that knows them does not answer, that is said, and is no failure: nobody's build stops for a network.

The lock is for every platform, and so are both: what is installed only elsewhere is listed and looked up too.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tools.set_up import REQUIREMENTS, ROOT

LOCK = REQUIREMENTS / "runtime.txt"
ACCEPTED = REQUIREMENTS / "accepted_vulnerabilities.toml"
SBOM = ROOT / "build" / "sbom.json"
ASKED = ROOT / "build" / "looked_up.txt"
SAID = ROOT / "build" / "supply_chain.txt"

_BIN = Path(sys.executable).parent
_ANSWER_SECONDS, _AUDIT_SECONDS = "5", 30


class Verdict(NamedTuple):
    """Whether nothing is known against what is installed, as far as it was asked for, and what to say."""

    ok: bool
    lines: list[str]


def judge(
    report: Mapping[str, Any],
    accepted: Sequence[Mapping[str, Any]],
    today: date,
    *,
    asked: Collection[str] = (),
) -> Verdict:
    """What pip-audit's report on the packages `asked` means. One that it did not find was not looked up.

    Raises ValueError for a report without packages, or without some of them, and for an acceptance without
    reason or day.
    """
    packages = report["dependencies"]
    if not packages:
        raise ValueError("pip-audit reports on no package: what was it given?")
    if left_out := sorted({_plain(name) for name in asked} - {_plain(one["name"]) for one in packages}):
        raise ValueError(f"pip-audit's report leaves out {', '.join(left_out)}")
    for one in accepted:
        if not {"package", "id", "reason", "until"} <= one.keys():
            raise ValueError(
                f"{ACCEPTED.name}: each needs package, id, reason and until; this is {dict(one)}"
            )
    skipped = [one for one in packages if "skip_reason" in one]
    allowed = {(one["package"], one["id"]) for one in accepted if one["until"] >= today}
    lines, ok = [], True
    for package in packages:
        for found in package.get("vulns", ()):
            names = {found["id"], *found.get("aliases", ())}
            if any((package["name"], name) in allowed for name in names):
                lines.append(f"vulnerabilities: {package['name']} has {found['id']}, which is accepted")
                continue
            ok = False
            fixed = ", ".join(found.get("fix_versions", ())) or "no version yet"
            lines.append(
                f"vulnerabilities: {package['name']} {package['version']} has {found['id']}, fixed in {fixed}"
            )
    looked_up = len(packages) - len(skipped)
    if skipped:
        reason = skipped[0]["skip_reason"]
        count = f"{len(skipped)} of {len(packages)} packages"
        lines.append(f"vulnerabilities: {count} NOT looked up (such as: {reason})")
    if looked_up and ok:
        lines.append(f"vulnerabilities: none known in {looked_up} packages but those that are accepted")
    return Verdict(ok, lines)


def audit(packages: Mapping[str, str]) -> Verdict:
    """Ask for the vulnerabilities of these versions by name."""
    # Not of the lock itself: what its markers leave out on this platform would not be looked up.
    ASKED.parent.mkdir(exist_ok=True)
    ASKED.write_text("".join(f"{name}=={version}\n" for name, version in packages.items()), "utf-8")
    words = ["-r", str(ASKED), "--no-deps", "--disable-pip", "-s", "pypi", "-f", "json"]
    words += ["--timeout", _ANSWER_SECONDS, "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [_BIN / "pip-audit", *words], capture_output=True, text=True, timeout=_AUDIT_SECONDS, check=False
        )
        report = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return Verdict(True, [f"vulnerabilities: NOT looked up (no answer within {_AUDIT_SECONDS} s)"])
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or ["no report"])[-1]
        # Only the network is forgiven: a check that cannot be run any more has to be put right.
        return Verdict(_is_of_the_network(done.stderr), [f"vulnerabilities: NOT looked up ({last})"])
    accepted = tomllib.loads(ACCEPTED.read_text("utf-8")).get("accepted", [])
    return judge(report, accepted, datetime.now(UTC).date(), asked=packages)


def _plain(name: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_of_the_network(said: str) -> bool:
    return any(word in said for word in ("ConnectionError", "Timeout", "Could not connect", "timed out"))


def write_sbom(target: Path = SBOM) -> dict[str, str]:
    """Write the bill of materials; the version of each package in it, by name."""
    target.parent.mkdir(exist_ok=True)
    words = ["requirements", str(LOCK), "--of", "JSON", "--output-reproducible", "--short-PURLs"]
    words += ["-o", str(target)]
    subprocess.run([_BIN / "cyclonedx-py", *words], capture_output=True, check=True)
    components = json.loads(target.read_text("utf-8"))["components"]
    packages = {one["name"]: one["version"] for one in components}
    assert len(packages) == len(components), "a package with two versions is looked up in one of them"
    return packages


def main() -> None:
    packages = write_sbom()
    verdict = audit(packages)
    lines = [f"bill of materials: {len(packages)} packages in {SBOM.relative_to(ROOT)}", *verdict.lines]
    SAID.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    sys.exit(0 if verdict.ok else 1)


if __name__ == "__main__":
    main()
