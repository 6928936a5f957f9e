"""The project keeps its own house rules: what it says, what it pins, what it documents."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools.document_settings import PAGE, documented_settings, page
from tools.set_up import REQUIREMENTS, ROOT

PARTS = ("kasuwa", "tools", "tests", "bench", "contract", "migrations", "requirements", "docs", ".ci")
INSTALLED = {"__pycache__", "vendor", "node_modules"}
BINARY = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".ico", ".woff2", ".pyc"}

FOREIGN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(?:work|root|home|opt|Users)/\w"),
    "a package registry's host": re.compile(
        r"(?i)pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org"
    ),
    "a content delivery network": re.compile(r"(?i)(?:cdn\.jsdelivr|unpkg|cdnjs\.cloudflare)\.\w+"),
    "how the work was handed out": re.compile(
        r"(?i)\b(?:[i]ntegrator|[w]orktrees?|[s]ub-?agents?|[c]o-authored-by|issue\s+#?\d+|task\s+#\d+)\b"
    ),
    "a merge left half done": re.compile(r"(?m)^(?:<{7}|>{7}) "),
    "work left for later": re.compile(r"\b(?:TO" r"DO|FIX" r"ME)\b"),
}

LONGEST_FUNCTION_LINES = 60
LONGEST_FILE_LINES = 500
GENERATED = re.compile(r"(?:.*_)?contract\.py")
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "misc", "manager"}


def own_files() -> Iterator[Path]:
    """Every file that we wrote and commit."""
    yield from (path for path in ROOT.iterdir() if path.suffix in {".md", ".toml"} or path.name == "Makefile")
    for part in PARTS:
        for path in (ROOT / part).rglob("*"):
            if path.is_file() and path.suffix not in BINARY and not INSTALLED & set(path.parts):
                yield path


def own_python() -> Iterator[Path]:
    return (path for path in own_files() if path.suffix == ".py")


def foreign_words(text: str) -> list[str]:
    """What the text says that the project must not say."""
    return [f"{what}: {found.group()}" for what, rule in FOREIGN.items() for found in rule.finditer(text)]


def test_the_project_speaks_of_itself_alone() -> None:
    said = {
        str(path.relative_to(ROOT)): foreign_words(path.read_text(encoding="utf-8")) for path in own_files()
    }
    assert {path: words for path, words in said.items() if words} == {}


@pytest.mark.parametrize(
    "sentence",
    [
        "see /" + "work/main",
        "from https://py" + "pi.org/simple",
        "as the integ" + "rator asked",
        "closes iss" + "ue #12",
        "# TO" + "DO: later",
        "https://unp" + "kg.com/x",
        "one\n<<<<" + "<<< HEAD\ntwo",
    ],
)
def test_foreign_words_are_found(sentence: str) -> None:
    assert foreign_words(sentence) != []


def locked(name: str) -> dict[str, Version]:
    """The versions that a lock names; every one must carry a hash."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8"))
    versions = {}
    for entry in entries:
        if found := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^ \\;]+)", entry):
            assert "--hash=sha256:" in entry, f"{name}.txt: {found[1]} has no hash"
            versions[found[1].lower()] = Version(found[2])
    return versions


def wanted(name: str) -> list[Requirement]:
    lines = (REQUIREMENTS / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def unmet(requirements: list[Requirement], versions: dict[str, Version]) -> list[str]:
    """The requirements that a lock does not answer."""
    return [
        str(requirement)
        for requirement in requirements
        if (version := versions.get(requirement.name.lower())) is None or version not in requirement.specifier
    ]


@pytest.mark.parametrize(
    ("lock", "sources"),
    [
        ("uv", ["uv"]),
        ("npm", ["npm"]),
        ("runtime", ["runtime", "build"]),
        ("dev", ["runtime", "build", "dev"]),
    ],
)
def test_each_lock_answers_what_is_wanted(lock: str, sources: list[str]) -> None:
    assert unmet([requirement for source in sources for requirement in wanted(source)], locked(lock)) == []


def test_a_lock_that_lags_behind_is_found() -> None:
    versions = locked("runtime") | {"pillow": Version("9.0")}
    del versions["asyncpg"]
    names = [Requirement(line).name for line in unmet(wanted("runtime"), versions)]
    assert names == ["asyncpg", "pillow"]


def test_the_tests_run_what_the_server_runs() -> None:
    tested = locked("dev")
    assert {name: tested.get(name) for name in locked("runtime")} == locked("runtime")


def test_no_lock_names_where_packages_come_from() -> None:
    for lock in REQUIREMENTS.glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert not re.search(r"://|--(?:extra-)?index-url|--find-links", text), lock.name


def test_docs_settings_md_says_what_the_settings_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(documented_settings())


def test_every_setting_that_the_code_names_is_a_documented_one() -> None:
    known = {setting.name for setting in documented_settings()}
    named = {
        name
        for path in own_python()
        if path.is_relative_to(ROOT / "kasuwa")
        for name in re.findall(r"\bKASUWA_[A-Z0-9_]*[A-Z0-9]\b", path.read_text(encoding="utf-8"))
    }
    assert named - known == set()


def test_every_setting_says_why_it_is_there() -> None:
    settings = documented_settings()
    assert [
        setting.name for setting in settings if not setting.reason or not setting.name.startswith("KASUWA_")
    ] == []
    assert len({setting.name for setting in settings}) == len(settings)


def broken_links(document: Path) -> list[str]:
    """The links of a page to files of ours that are not there."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    return [
        target
        for target in targets
        if target
        and "://" not in target
        and not target.startswith("mailto:")
        and not (document.parent / target).exists()
    ]


def test_the_pages_links_lead_somewhere(tmp_path: Path) -> None:
    pages = [path for path in own_files() if path.suffix == ".md"]
    broken = {str(path.relative_to(ROOT)): broken_links(path) for path in pages}
    assert {path: links for path, links in broken.items() if links} == {}
    control = tmp_path / "page.md"
    control.write_text("[there](page.md), [gone](gone.md#part)", encoding="utf-8")
    assert broken_links(control) == ["gone.md"]


def missing_proofs(document: str) -> list[str]:
    """The tests that a page names and that are not there."""
    return [name for name in re.findall(r"`(tests/[\w./]+)`", document) if not (ROOT / name).exists()]


def test_the_tests_that_prove_a_guard_are_there() -> None:
    document = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert len(re.findall(r"`tests/", document)) > 5
    assert missing_proofs(document) == []
    assert missing_proofs("`tests/faults/test_no_such_thing.py`") == ["tests/faults/test_no_such_thing.py"]


def oversized(path: Path) -> list[str]:
    """The file if it is too long to read in one go, and its functions that are."""
    text = path.read_text(encoding="utf-8")
    found = []
    if text.count("\n") > LONGEST_FILE_LINES:
        found.append(f"{path.name}: {text.count(chr(10))} lines")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION_LINES:
                found.append(f"{path.name}: {node.name} has {lines} lines")
    return found


def test_files_and_functions_stay_readable(tmp_path: Path) -> None:
    found = [line for path in own_python() if not GENERATED.fullmatch(path.name) for line in oversized(path)]
    assert found == []
    control = tmp_path / "long.py"
    control.write_text("def long() -> None:\n" + "    print()\n" * LONGEST_FILE_LINES, encoding="utf-8")
    assert oversized(control) == ["long.py: 501 lines", "long.py: long has 501 lines"]


def test_no_module_has_a_vague_name() -> None:
    assert [str(path.relative_to(ROOT)) for path in own_python() if path.stem in VAGUE_NAMES] == []
