"""Every expected no says what to do next, also where whoever raises it says nothing more."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

from kasuwa.base.problems import NotFound, Problem
from kasuwa.domain.users.errors import UserNotFound

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("complaints", "customers", "merchants", "messages", "staff", "stores", "users")


def raised_bare(source: str, known: dict[str, type[Problem]]) -> Iterator[type[Problem]]:
    """The problems that the source makes without a word on what is to be done."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
            continue
        found = known.get(node.func.id)
        if found is not None and not any(one.arg in ("detail", "faults") for one in node.keywords):
            yield found


def test_an_error_without_words_of_its_own_has_advice() -> None:
    silent = set()
    for package in _PACKAGES:
        for path in sorted((_ROOT / "kasuwa" / "domain" / package).rglob("*.py")):
            source = path.read_text("utf-8")
            module = importlib.import_module(".".join(path.relative_to(_ROOT).with_suffix("").parts))
            known = {
                name: one
                for name, one in vars(module).items()
                if isinstance(one, type) and issubclass(one, Problem)
            }
            silent |= {one.__name__ for one in raised_bare(source, known) if not one.advice}
    assert silent == set()


def test_an_error_that_says_nothing_is_found() -> None:
    assert list(raised_bare("raise NotFound()", {"NotFound": NotFound})) == [NotFound]
    assert not NotFound.advice
    assert list(raised_bare("raise NotFound('Ask again.')", {"NotFound": NotFound})) == []


def test_words_of_whoever_raises_it_come_before_the_advice() -> None:
    assert UserNotFound().detail == UserNotFound.advice
    assert UserNotFound("Ask the operator.").detail == "Ask the operator."
