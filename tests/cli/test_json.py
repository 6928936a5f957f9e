"""What a program reads: each command can answer in JSON."""

from collections.abc import Iterator
from typing import Any

import typer

from kasuwa.cli import app


def commands(command: Any, *before: str) -> Iterator[tuple[str, Any]]:
    """Each command of the group by its words."""
    for name, below in command.commands.items():
        if hasattr(below, "commands"):
            yield from commands(below, *before, name)
        else:
            yield " ".join((*before, name)), below


def speaks_json(command: Any) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_every_command_that_comes_to_an_end_can_answer_in_json() -> None:
    found = dict(commands(typer.main.get_command(app)))
    assert len(found) > 20
    assert {name for name, command in found.items() if not speaks_json(command)} == {"serve"}
