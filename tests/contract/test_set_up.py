"""What set-up installs is what we pinned, and the suite's own report hides nothing."""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from tools import browser_files, demo_photographs, npm_packages, verify
from tools.coverage_gate import FLOORS_PERCENT, judge, measure
from tools.set_up import ROOT

PRODUCTS = json.loads((ROOT / "kasuwa" / "demo_products.json").read_text(encoding="utf-8"))
SCALAR = npm_packages.Package("@scalar/api-reference", "1.72.1", "sha512-xyz")


@pytest.fixture
def npm_that_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm on the PATH whose registry was tampered with: it packs other bytes."""
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(
        f"#!{sys.executable}\n"
        "import sys, pathlib\n"
        "words = sys.argv[1:]\n"
        "if words[0] == 'pack':\n"
        "    folder = pathlib.Path(words[words.index('--pack-destination') + 1])\n"
        f"    (folder / {SCALAR.tarball!r}).write_bytes(b'tampered')\n",
        encoding="utf-8",
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")
    return npm


def test_a_package_with_other_bytes_than_we_pinned_is_refused(npm_that_packs: Path, tmp_path: Path) -> None:
    with pytest.raises(npm_packages.WrongPackage, match=r"@scalar/api-reference@1\.72\.1"):
        npm_packages.fetch(SCALAR, tmp_path / "cache")
    assert not (tmp_path / "cache" / SCALAR.tarball).exists()


def test_a_package_with_the_pinned_bytes_is_kept_and_read_from_the_cache(
    npm_that_packs: Path, tmp_path: Path
) -> None:
    tampered = tmp_path / "tampered"
    tampered.write_bytes(b"tampered")
    package = SCALAR._replace(integrity=npm_packages.integrity(tampered))
    kept = npm_packages.fetch(package, tmp_path / "cache")
    npm_that_packs.unlink()
    assert npm_packages.fetch(package, tmp_path / "cache") == kept
    kept.write_bytes(b"changed on disk")
    assert npm_packages.integrity(kept) != package.integrity


def test_the_browser_files_are_installed() -> None:
    entries = json.loads(browser_files.LIST.read_text(encoding="utf-8"))["packages"]
    for entry in entries:
        assert entry["integrity"].startswith("sha512-")
        assert entry["licence"] in {"MIT", "BSD-3-Clause", "Apache-2.0", "0BSD", "ISC"}
        for target in entry["files"].values():
            assert (browser_files.VENDOR / target).stat().st_size > 0


def test_there_are_at_least_thirty_different_photographs_of_products() -> None:
    photographs = demo_photographs.demo_photographs()
    assert len({hashlib.sha256(photograph.path.read_bytes()).digest() for photograph in photographs}) >= 30
    for photograph in photographs:
        assert photograph.photographer.strip()
        assert "MIT" in photograph.licence
        assert photograph.path.name in photograph.source
        with Image.open(photograph.path) as picture:
            assert picture.format == "JPEG"
            assert max(picture.size) >= 1000


def test_every_demo_product_has_a_photograph_of_its_own() -> None:
    products = PRODUCTS["products"]
    assert len(products) >= 32
    installed = {photograph.path.name: photograph.title for photograph in demo_photographs.demo_photographs()}
    assert {product["photograph"]: product["name"] for product in products}.items() <= installed.items()
    for unique in ("sku", "name", "photograph"):
        assert len({product[unique] for product in products}) == len(products)
    assert PRODUCTS["currency"] == "NGN"
    for product in products:
        assert isinstance(product["price_minor"], int)
        assert product["price_minor"] > 0
        assert product["price_minor"] % 100 == 0
        assert all(product[word].strip() for word in ("category", "description", "alt_text"))


def test_without_photographs_the_demo_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(demo_photographs.NotInstalled, match=r"python -m tools\.demo_photographs"):
        demo_photographs.demo_photographs(tmp_path)


@pytest.mark.parametrize(
    ("file_name", "name"),
    [("kari-shea-398668-unsplash.jpg", "Kari Shea"), ("chuttersnap-324234-unsplash.jpg", "Chuttersnap")],
)
def test_the_photographer_stands_in_the_files_name(file_name: str, name: str) -> None:
    assert demo_photographs.photographer(file_name) == name
    with pytest.raises(ValueError, match="does not tell"):
        demo_photographs.photographer("IMG_0001.jpg")


def coverage_report(taken: int) -> dict[str, object]:
    summary = {"num_branches": 10, "covered_branches": taken, "missing_branches": 10 - taken}
    return {"files": {f"{folder}/stock.py": {"summary": summary} for folder in FLOORS_PERCENT}}


@pytest.mark.parametrize(("taken", "enough"), [(10, True), (9, True), (8, False), (0, False)])
def test_too_few_branches_fail_the_gate(taken: int, enough: bool) -> None:
    verdict, lines = judge(coverage_report(taken), FLOORS_PERCENT)
    assert verdict is enough
    assert ("TOO FEW" in "\n".join(lines)) is not enough


def test_a_folder_that_was_not_measured_fails_the_gate() -> None:
    with pytest.raises(LookupError, match="kasuwa/media"):
        measure(coverage_report(10), "kasuwa/media")


RESULTS = """<testsuites><testsuite>
<testcase classname="tests.api.test_orders" name="test_passes"/>
<testcase classname="tests.api.test_orders" name="test_fails"><failure message="no"/></testcase>
<testcase classname="tests.web.test_docs" name="test_page"><skipped message="no Chromium"/></testcase>
</testsuite></testsuites>"""


def test_the_summary_names_what_did_not_run(tmp_path: Path) -> None:
    file = tmp_path / "tests.xml"
    file.write_text(RESULTS, encoding="utf-8")
    lines = verify.summarise(
        [verify.Outcome("tests", False, 1.0)], verify.read_results(file), ["Chromium (apt install chromium)"]
    )
    assert "did not run: tests.web.test_docs.test_page: no Chromium" in lines
    assert "missing: Chromium (apt install chromium)" in lines
    assert lines[-1] == "1 passed, 1 failed, 1 skipped"


@pytest.mark.parametrize(("left", "told"), [(True, ["kasuwa-left-"]), (False, [])], ids=["left", "clean"])
def test_what_tests_leave_in_the_temporary_folder_is_told_and_goes(
    left: bool, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make = "open(tempfile.mkdtemp(prefix='kasuwa-left-') + '/big', 'w').close()" if left else "pass"
    outcome, found = verify.run_tests([sys.executable, "-c", f"import tempfile; {make}"])
    assert outcome.ok
    assert [name[: len("kasuwa-left-")] for name in found] == told
    assert list(tmp_path.iterdir()) == []
    lines = verify.summarise([outcome], None, [], found)
    assert sum("left behind" in line for line in lines) == len(told)


@pytest.mark.parametrize("tool", ["chromium", "curl", "git"])
def test_a_machine_without_a_tool_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert any(tool in missing for missing in verify.missing_tools())
    there = tmp_path / tool
    there.write_text("#!/bin/sh\n", encoding="utf-8")
    there.chmod(0o755)
    assert not any(tool in missing for missing in verify.missing_tools())


@pytest.mark.parametrize(("strict", "ok"), [(True, False), (False, True)])
def test_only_the_continuous_integration_refuses_a_machine_that_lacks_a_tool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, strict: bool, ok: bool
) -> None:
    monkeypatch.setattr(verify, "missing_tools", lambda: ["Chromium"])
    monkeypatch.setattr(verify, "BUILD", tmp_path)
    monkeypatch.setattr(verify, "RESULTS", tmp_path / "tests.xml")
    monkeypatch.setattr(verify, "COVERAGE", tmp_path / "coverage.json")
    monkeypatch.setattr(verify, "TESTS", [sys.executable, "-c", ""])
    assert verify.verify(only_checks=False, chosen=["tests/contract"], strict=strict) is ok


@pytest.mark.parametrize(("strict", "ok"), [(True, False), (False, True)])
def test_to_the_continuous_integration_a_skipped_test_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, strict: bool, ok: bool
) -> None:
    results = tmp_path / "tests.xml"
    report = "<testsuite><testcase name='a'><skipped message='not root'/></testcase></testsuite>"
    write = f"import pathlib; pathlib.Path({str(results)!r}).write_text({report!r})"
    monkeypatch.setattr(verify, "missing_tools", list)
    monkeypatch.setattr(verify, "BUILD", tmp_path)
    monkeypatch.setattr(verify, "RESULTS", results)
    monkeypatch.setattr(verify, "COVERAGE", tmp_path / "coverage.json")
    monkeypatch.setattr(verify, "TESTS", [sys.executable, "-c", write])
    assert verify.verify(only_checks=False, chosen=["tests/contract"], strict=strict) is ok
