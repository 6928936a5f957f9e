"""Schemathesis finds nothing: every phase and check on every built operation, against a running server."""

from collections.abc import Iterator

import pytest

from tests.cli.staging import Installation
from tests.contract.fuzz import PHASES, Outcome, fuzz, refusals, server
from tests.contract.recipes import built

# Few, for the suite's time: `python -m tests.contract.fuzz` asks for a hundred of each operation.
EXAMPLES = 2
CONTRACTS = sorted({entry.contract.name for entry in built()})


@pytest.fixture(scope="module")
def fuzzed_server() -> Iterator[tuple[Installation, str]]:
    with server() as (installation, url):
        yield installation, url


def run(fuzzed_server: tuple[Installation, str], contract: str, phases: str = PHASES) -> Outcome:
    [outcome] = fuzz(*fuzzed_server, examples=EXAMPLES, phases=phases, only=[contract])
    return outcome


# Thousands of calls: how long they take is the machine's affair.
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("contract", CONTRACTS)
def test_schemathesis_finds_no_fault(fuzzed_server: tuple[Installation, str], contract: str) -> None:
    outcome = run(fuzzed_server, contract)
    assert outcome.code == 0, outcome.output
    assert outcome.unreached == [], "no 2xx from these: give them data that works in recipes.py"
    assert outcome.calls > 20 * len(outcome.operations)


def test_each_refusal_that_is_listed_is_of_a_built_operation() -> None:
    stale = refusals().keys() - {entry.key for entry in built()}
    assert stale == set(), "take these off valid_data_refused.toml"


def test_a_server_that_refuses_good_data_is_found(
    fuzzed_server: tuple[Installation, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without the list of reasons the same run fails."""
    monkeypatch.setattr("tests.contract.fuzz.refusals", dict)
    outcome = run(fuzzed_server, "shoplazza", "coverage")
    assert outcome.code == 1
    assert "Schema-valid request rejected" in outcome.output
