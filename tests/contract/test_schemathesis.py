"""Schemathesis finds nothing: every phase and check on every built operation, against a running server."""

from collections.abc import Iterator

import pytest

from tests.cli.staging import Installation
from tests.contract.fuzz import PHASES, STATEFUL, Outcome, fuzz, refusals, server
from tests.contract.fuzz_links import links_of
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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("contract", CONTRACTS)
def test_chains_of_calls_find_no_fault(fuzzed_server: tuple[Installation, str], contract: str) -> None:
    outcome = run(fuzzed_server, contract, STATEFUL)
    assert outcome.code == 0, outcome.output
    assert outcome.chained, "no step named what an earlier one has made"
    # In the large contracts chains are many, and few of them come to a removal and what follows.
    if contract not in ("storeharmony", "manage"):
        assert outcome.whole_lives, outcome.lives


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


FOUND = [
    "ST101 Server error",
    "ST108 Response violates schema",
    "ST401 API accepts requests without authentication",
    "ST301 Deleted resource still available",
]


@pytest.mark.timeout(600)
def test_a_server_that_breaks_its_promises_is_found() -> None:
    with server("break-promises") as (installation, url):
        runs = [run((installation, url), "shoplazza", phases) for phases in (PHASES, STATEFUL)]
    said = "".join(outcome.output for outcome in runs)
    assert [words for words in FOUND if words not in said] == []


def test_a_chain_that_is_told_nothing_lives_no_life(
    fuzzed_server: tuple[Installation, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: where steps are left to chance, nothing of ours is made, and so none of it is removed."""
    monkeypatch.setenv("KASUWA_FUZZ_CHAINS_BY_CHANCE", "1")
    outcome = run(fuzzed_server, "bigcommerce", STATEFUL)
    assert outcome.calls > 0
    assert outcome.whole_lives == []


def test_an_envelope_without_links_has_no_chain(
    fuzzed_server: tuple[Installation, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: Schemathesis itself sees no ids in the envelope."""
    monkeypatch.setattr("tests.contract.fuzz.links_of", lambda entries: {})
    outcome = run(fuzzed_server, "shoplazza-enveloped", STATEFUL)
    assert not outcome.chained
    assert outcome.whole_lives == []


def test_the_links_of_an_envelope_lead_to_all_that_names_an_id() -> None:
    entries = [entry for entry in built() if entry.contract.name == "shoplazza-enveloped"]
    reached = {name for links in links_of(entries).values() for name in links}
    assert reached == {entry.operation.operation_id for entry in entries if "{" in entry.operation.path}
