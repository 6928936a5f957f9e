"""Each operation of a contract is either built or listed as open, and the list only shrinks."""

import importlib
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from tests.client import Web
from tests.contract.harness import (
    DIALECTS,
    METHODS,
    OPEN_OPERATIONS,
    ROOT,
    contracts_of,
    open_operations,
    read_operations,
)

Operations = set[tuple[str, str]]


def promised_operations() -> Operations:
    return {
        (dialect, item[method]["operationId"])
        for dialect in DIALECTS
        for contract in contracts_of(dialect)
        for item in contract.document["paths"].values()
        for method in METHODS
        if method in item
    }


def built_operations() -> Operations:
    """`kasuwa.app.registered_operations() -> set[tuple[dialect, operation_id]]`; no app, nothing built."""
    if importlib.util.find_spec("kasuwa.app") is None:
        return set()
    found: Operations = importlib.import_module("kasuwa.app").registered_operations()
    return found


def open_before(repository: Path = ROOT) -> Operations | None:
    """What was open in every commit that changed the list; None where there is no history to ask."""

    def ask(*words: str) -> str:
        command = ["git", "-C", str(repository), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    commits = ask("log", "--format=%H", "--diff-filter=AM", "--", OPEN_OPERATIONS).split()
    lists = [read_operations(ask("show", f"{commit}:{OPEN_OPERATIONS}")) for commit in commits]
    return set.intersection(*lists) if lists else None


def find_faults(
    promised: Operations, built: Operations, still_open: Operations, before: Operations | None
) -> list[str]:
    """What is wrong between the promises, what is built, the list, and the list as it was, in words."""
    new = set() if before is None else still_open - before
    return [
        *(f"{one} is neither built nor listed as open" for one in sorted(promised - built - still_open)),
        *(f"{one} is built and listed as open: take it off the list" for one in sorted(built & still_open)),
        *(f"{one} is listed as open but no contract has it" for one in sorted(still_open - promised)),
        *(f"{one} is built but no contract has it" for one in sorted(built - promised)),
        *(f"{one} was not open before: build it with its promise" for one in sorted(new)),
    ]


def addresses(one: tuple[str, str]) -> list[tuple[str, str]]:
    """The method and address of an operation, once for each contract that has it."""
    dialect, operation_id = one
    return [
        (method, re.sub(r"\{\w+\}", "1", contract.document["servers"][0]["url"] + path))
        for contract in contracts_of(dialect)
        for path, item in contract.document["paths"].items()
        for method in METHODS
        if method in item and item[method]["operationId"] == operation_id
    ]


@pytest.mark.parametrize("one", sorted(open_operations()), ids=" ".join)
async def test_what_is_not_built_says_so_in_the_words_of_its_api(web: Web, one: tuple[str, str]) -> None:
    called = addresses(one)
    assert called
    for method, address in called:
        answer = await web.call(method.upper(), address)
        assert answer.status_code == 501, answer.text
        assert answer.json()["detail"] == "This operation is not built yet."


def test_each_operation_is_built_or_open_and_never_both() -> None:
    before = open_before()
    assert (before is None) == (not (ROOT / ".git").exists()), "nobody knows what was open before"
    assert find_faults(promised_operations(), built_operations(), open_operations(), before) == []


A, B, C = ("storeharmony", "addItem"), ("storeharmony", "getItem"), ("shoplazza", "product_list")


@pytest.mark.parametrize(
    ("built", "still_open", "before", "fault"),
    [
        ({A}, set(), {B}, "neither built nor listed"),
        ({A, B}, {B}, {B}, "built and listed"),
        ({A, B}, {C}, {C}, "listed as open but no contract"),
        ({A, B, C}, set(), {C}, "built but no contract"),
        ({A}, {B}, set(), "was not open before"),
    ],
    ids=["missing", "both", "unknown", "unpromised", "grown"],
)
def test_each_way_to_break_the_list_is_found(
    built: Operations, still_open: Operations, before: Operations, fault: str
) -> None:
    assert any(fault in one for one in find_faults({A, B}, built, still_open, before))
    assert find_faults({A, B}, {A}, {B}, {A, B}) == []
    assert find_faults({A, B}, {A}, {B}, None) == []


def test_the_list_as_it_was_is_that_of_all_commits(tmp_path: Path) -> None:
    assert open_before(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@shop.example"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    file = tmp_path / OPEN_OPERATIONS
    file.parent.mkdir(parents=True)
    # One that was taken off and came back, one that came later: neither was open all the time.
    for listed in ({A, B}, {A}, {A, B, C}, {A, B, C}):
        file.write_text("".join(f"{api} {operation}\n" for api, operation in listed), encoding="utf-8")
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "list"], check=True)
    assert open_before(tmp_path) == {A}
