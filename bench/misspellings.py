"""Names as hurried people type them."""

import random

_LETTERS = "abcdefghijklmnoprstuvwyz"
# Accents, dots and hooks that a careful writer sets and a shop's name may lack.
_MARKS = (
    "\N{COMBINING ACUTE ACCENT}",
    "\N{COMBINING GRAVE ACCENT}",
    "\N{COMBINING DOT BELOW}",
    "\N{COMBINING DIAERESIS}",
)
_HOOKED = {"b": "ɓ", "d": "ɗ", "k": "ƙ"}


def misspelt(name: str, chance: random.Random) -> str:
    """The name with one or two edits: a letter lost, added or mistaken, two that changed places, an accent or
    hook, two words written as one."""
    for _ in range(chance.choice((1, 1, 2))):
        name = chance.choice((_lose, _add, _mistake, _swap, _accent, _join))(name, chance)
    return name


def _place(name: str, chance: random.Random) -> int:
    return chance.choice([i for i, c in enumerate(name) if c.isalpha()])


def _lose(name: str, chance: random.Random) -> str:
    at = _place(name, chance)
    return name[:at] + name[at + 1 :]


def _add(name: str, chance: random.Random) -> str:
    at = _place(name, chance)
    return name[:at] + chance.choice(_LETTERS) + name[at:]


def _mistake(name: str, chance: random.Random) -> str:
    at = _place(name, chance)
    return name[:at] + chance.choice([c for c in _LETTERS if c != name[at].lower()]) + name[at + 1 :]


def _swap(name: str, chance: random.Random) -> str:
    pairs = [
        i
        for i in range(len(name) - 1)
        if name[i : i + 2].isalpha() and name[i].lower() != name[i + 1].lower()
    ]
    at = chance.choice(pairs)
    return name[:at] + name[at + 1] + name[at] + name[at + 2 :]


def _accent(name: str, chance: random.Random) -> str:
    at = _place(name, chance)
    letter = name[at]
    if letter in _HOOKED and chance.random() < 0.5:
        return name[:at] + _HOOKED[letter] + name[at + 1 :]
    return name[: at + 1] + chance.choice(_MARKS) + name[at + 1 :]


def _join(name: str, chance: random.Random) -> str:
    gaps = [i for i, c in enumerate(name) if c == " "]
    if not gaps:
        return _swap(name, chance)
    at = chance.choice(gaps)
    return name[:at] + name[at + 1 :]
