"""What stands in a cell, as people and spreadsheets write it. What is doubtful is refused, never guessed."""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

MOST_QUANTITY = Decimal(1_000_000_000)
MOST_WEIGHT = 2**31 - 1


class CellWrong(Exception):
    """The cell cannot be read; the text says what to do."""

    def __init__(self, code: str, advice: str) -> None:
        super().__init__(advice)
        self.code = code
        self.advice = advice


Read = Callable[[str], Any]

_RISKY = re.compile(r"'*[=+\-@\t\r]")
_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_GROUPED = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", re.ASCII)
_EUROPEAN = re.compile(r"-?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", re.ASCII)
_COMMA = re.compile(r"-?[0-9]+,([0-9]{1,2}|[0-9]{4,})", re.ASCII)
_EXPONENT = re.compile(r"[0-9](\.[0-9]+)?[eE]\+?[0-9]+", re.ASCII)
_SPACES = str.maketrans("", "", " \u00a0\u202f\u2009'")
_SIGNS = "₦$€£R"
_WORDS = {
    "true": True,
    "yes": True,
    "y": True,
    "1": True,
    "false": False,
    "no": False,
    "n": False,
    "0": False,
}


def escape(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula."""
    return "'" + text if _RISKY.match(text) else text


def unescape(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _RISKY.match(cell) else cell


def read_text(least: int, most: int, *, code: bool = False, printable: bool = False) -> Read:
    """A text of that length. A `code` is looked at for what spreadsheets do to long numbers."""

    def read(cell: str) -> str:
        text = unescape(cell)
        if "\0" in text:
            raise CellWrong("nul", "Take out the character NUL.")
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise CellWrong("surrogate", "Take out the half character; it was damaged on its way.")
        if not least <= len(text) <= most:
            raise CellWrong("length", f"Give {least} to {most} characters; here are {len(text)}.")
        if code and _EXPONENT.fullmatch(text):
            raise CellWrong("rounded", "A spreadsheet has rounded this number; make the column text.")
        if code and text != text.strip():
            raise CellWrong("spaces", "Take out the spaces around it.")
        if code and "\n" in text:
            raise CellWrong("line", "Take out the line break.")
        if printable and not all(" " <= c <= "~" for c in text):
            raise CellWrong("characters", "Use letters without accents, digits and signs alone.")
        return text

    return read


def read_number(cell: str) -> Decimal:
    """1234.5, "1,234.50", "₦1 234.50" and "1.234,50"; what could be two numbers is refused."""
    text = unescape(cell).strip().translate(_SPACES).strip(_SIGNS).removeprefix("NGN").removesuffix("NGN")
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    if _GROUPED.fullmatch(text):
        return Decimal(text.replace(",", ""))
    if _EUROPEAN.fullmatch(text):
        return Decimal(text.replace(".", "").replace(",", "."))
    if _COMMA.fullmatch(text):
        return Decimal(text.replace(",", "."))
    raise CellWrong("number", "Write a number like 1234.50.")


def read_amount(decimals: int) -> Read:
    """Money, in minor units."""

    def read(cell: str) -> int:
        amount = read_number(cell)
        if amount < 0:
            raise CellWrong("minimum", "Give 0 or more.")
        if amount > 10**12:
            raise CellWrong("maximum", "Give at most 1000000000000.")
        if amount != round(amount, decimals):
            raise CellWrong("decimals", f"Give at most {decimals} decimals.")
        return int(amount.scaleb(decimals))

    return read


def read_quantity(cell: str) -> Decimal:
    quantity = read_number(cell)
    if quantity < 0:
        raise CellWrong("minimum", "Give 0 or more: stock that is owed is booked as a sale.")
    if quantity > MOST_QUANTITY:
        raise CellWrong("maximum", f"Give at most {MOST_QUANTITY}.")
    if quantity != round(quantity, 3):
        raise CellWrong("decimals", "Give at most three decimals.")
    return quantity


def read_positive(cell: str) -> Decimal:
    quantity = read_quantity(cell)
    if not quantity:
        raise CellWrong("minimum", "Give more than 0.")
    return quantity


def read_whole(cell: str) -> int:
    number = read_number(cell)
    if number != int(number) or not 0 <= number <= MOST_WEIGHT:
        raise CellWrong("number", f"Write a whole number from 0 to {MOST_WEIGHT}.")
    return int(number)


def read_rate(cell: str) -> Decimal:
    rate = read_number(cell.strip().removesuffix("%"))
    if not 0 <= rate <= 100 or rate != round(rate, 6):
        raise CellWrong("number", "Write a rate from 0 to 100, like 7.5.")
    return rate


def read_bool(cell: str) -> bool:
    word = _WORDS.get(cell.strip().lower())
    if word is None:
        raise CellWrong("boolean", "Write yes or no.")
    return word


def read_choice(*words: str) -> Read:
    def read(cell: str) -> str:
        word = cell.strip().lower()
        if word not in words:
            raise CellWrong("choice", f"Write one of {', '.join(words)}.")
        return word

    return read


def read_date(cell: str) -> date:
    try:
        if len(cell.strip()) != 10:
            raise ValueError
        return date.fromisoformat(cell.strip())
    except ValueError:
        raise CellWrong("date", "Write the date like 2027-01-31.") from None


def read_time(cell: str) -> datetime:
    try:
        at = datetime.fromisoformat(cell.strip())
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise CellWrong("time", "Write the time with its zone, like 2027-01-31T08:00:00+01:00.")
    return at


def read_list(most: int, most_length: int) -> Read:
    """Texts parted by semicolons; a semicolon inside one has a backslash before it."""

    def read(cell: str) -> tuple[str, ...]:
        words = tuple(word for word in split_list(unescape(cell), ";") if word)
        if len(words) > most or len(set(words)) < len(words):
            raise CellWrong("list", f"Give at most {most}, each once, parted by semicolons.")
        check = read_text(1, most_length)
        return tuple(check(word) for word in words)

    return read


def split_list(text: str, sign: str) -> list[str]:
    """The parts between the signs, without the spaces around them."""
    parts, current = [], ""
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            current += next(letters, "")
        elif letter == sign:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    parts.append(current.strip())
    return parts


def join_list(parts: Sequence[str], sign: str, glue: str = "") -> str:
    """The other way round."""
    return (glue or sign).join(part.replace("\\", "\\\\").replace(sign, f"\\{sign}") for part in parts)
