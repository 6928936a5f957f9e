"""What the operator reads: results on standard output, everything else on standard error."""

import sys
from typing import Any, NoReturn

import msgspec


def say(text: str = "") -> None:
    """A line of the result. Flushed: whoever starts us may be waiting for it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """The result as one JSON document."""
    say(msgspec.json.encode(value).decode())


def warn(text: str) -> None:
    """A word beside the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fail(reason: str) -> NoReturn:
    """End with the reason and code 1."""
    warn(f"kasuwa: {reason}")
    sys.exit(1)
