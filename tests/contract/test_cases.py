"""The vendors' cases that the picture APIs are built by: each has a test that bears its number."""

import re
from pathlib import Path

CASES = {f"b{number:02}" for number in range(1, 38)} | {f"s{number:02}" for number in range(1, 21)} | {"x1"}
_NUMBERED = re.compile(r"def test_((?:[bsx]\d+_)+)")


def cases_of(text: str) -> set[str]:
    """The numbers in the names of tests, such as `test_b04_b05_a_file_comes_in`."""
    return {case for found in _NUMBERED.findall(text) for case in found.strip("_").split("_")}


def test_every_case_has_a_test_by_its_number() -> None:
    files = (Path(__file__).parent.parent / "api").glob("test_*.py")
    found = {case for path in files for case in cases_of(path.read_text("utf-8"))}
    assert found == CASES


def test_a_case_that_lost_its_test_is_seen() -> None:
    assert cases_of("async def test_b04_b05_files(): ...") == {"b04", "b05"}
    assert cases_of("def test_of_b06(): ...") == set()
