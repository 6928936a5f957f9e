"""Each operation of a contract is either built or listed as open, and the list only shrinks."""

import importlib
import importlib.util
from pathlib import Path

import pytest

from tests.contract.harness import DIALECTS, METHODS, contracts_of, open_operations

MAX_FILE = Path(__file__).parent / "open_operations.max"
"""The most operations that may be open. Lower it when one is built; it is never raised."""

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


def find_faults(promised: Operations, built: Operations, still_open: Operations, open_max: int) -> list[str]:
    """What is wrong between the promises, what is built and the list, in words."""
    return [
        *(f"{one} is neither built nor listed as open" for one in sorted(promised - built - still_open)),
        *(f"{one} is built and listed as open: take it off the list" for one in sorted(built & still_open)),
        *(f"{one} is listed as open but no contract has it" for one in sorted(still_open - promised)),
        *(f"{one} is built but no contract has it" for one in sorted(built - promised)),
        *([f"{len(still_open)} are open, allowed are {open_max}"] if len(still_open) > open_max else []),
        *(
            [f"only {len(still_open)} are open: write that to {MAX_FILE.name}"]
            if len(still_open) < open_max
            else []
        ),
    ]


def test_each_operation_is_built_or_open_and_never_both() -> None:
    open_max = int(MAX_FILE.read_text(encoding="utf-8"))
    assert find_faults(promised_operations(), built_operations(), open_operations(), open_max) == []


A, B, C = ("storeharmony", "addItem"), ("storeharmony", "getItem"), ("shoplazza", "product_list")


@pytest.mark.parametrize(
    ("built", "still_open", "open_max", "fault"),
    [
        ({A}, set(), 0, "neither built nor listed"),
        ({A, B}, {B}, 1, "built and listed"),
        ({A, B}, {C}, 1, "listed as open but no contract"),
        ({A, B, C}, set(), 0, "built but no contract"),
        ({A}, {B}, 0, "allowed are 0"),
        ({A}, {B}, 2, "1 are open: write"),
    ],
)
def test_each_way_to_break_the_list_is_found(
    built: Operations, still_open: Operations, open_max: int, fault: str
) -> None:
    assert any(fault in one for one in find_faults({A, B}, built, still_open, open_max))
    assert find_faults({A, B}, {A}, {B}, 1) == []
