"""The runs by hand: each takes its counts and a fault to build in, of those that it is there to find."""

import sys
from types import ModuleType

import pytest

from tests.faults import (
    buyers,
    crowds,
    enumeration,
    guessing,
    kill_uploads,
    postgres_kills,
    rolling_stops,
)
from tests.faults.by_hand import read_options


@pytest.mark.parametrize(
    ("words", "broken", "rounds"),
    [("", "", 20), ("--rounds 3", "", 3), ("--broken end-at-once", "end-at-once", 20)],
)
def test_a_run_is_told_how_many_and_which_fault(
    words: str, broken: str, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", *words.split()])
    options = read_options("A run", broken="end-at-once let-errors-out", rounds=20)
    assert (options.broken, options.rounds) == (broken, rounds)


@pytest.mark.parametrize(
    "run", [buyers, crowds, enumeration, guessing, kill_uploads, postgres_kills, rolling_stops]
)
def test_a_fault_that_it_does_not_look_for_is_refused(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "--broken", "trust-file-names"])
    with pytest.raises(SystemExit):
        run.main()
    assert "--broken: invalid choice: 'trust-file-names'" in capsys.readouterr().err
