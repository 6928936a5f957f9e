"""Coverage-guided fuzzing for a while finds nothing that the decoders let out."""

from tests.faults.fuzz_decoders import fuzz


def test_fuzzing_finds_no_fault() -> None:
    fuzzed = fuzz(60)
    assert fuzzed.fault == ""
    assert fuzzed.executions > 1000


def test_the_fuzzer_finds_a_build_that_lets_a_decoders_exceptions_out() -> None:
    assert "Uncaught Python exception" in fuzz(60, target="decoders-that-trust").fault
