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

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_GROUPED = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", re.ASCII)
_EUROPEAN = re.compile(r"-?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", re.ASCII)
_COMMA = re.compile(r"-?[0-9]+,([0-9]{1,2}|[0-9]{4,})", re.ASCII)
_EXPONENT = re.compile(r"[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]+", re.ASCII)
# How spreadsheets write a number that is too long for them. Nobody's code looks like this by chance.
_ROUNDED = re.compile(r"[0-9](\.[0-9]+)?[eE]\+[0-9]{2,3}", re.ASCII)
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


def escape(text: str, *, code: bool = False) -> str:
    """The text as a cell that no spreadsheet takes for a formula or a number with an exponent.

    Of a `code` its outer blanks and line breaks are meant: the mark says so.
    """
    return "'" + text if _is_marked(text, code=code) else text


def unescape(cell: str, *, code: bool = False) -> str:
    return cell[1:] if cell.startswith("'") and _is_marked(cell, code=code) else cell


def _is_marked(text: str, *, code: bool) -> bool:
    """Whether the text, or what is left of it without marks, has a mark before it in a cell."""
    bare = text.lstrip("'")
    if bare.startswith(_FORMULA) or bare.isspace() or _EXPONENT.fullmatch(bare):
        return True
    return code and _is_odd(bare)


def _is_odd(code: str) -> bool:
    return code != code.strip() or "\n" in code


def check_text(text: str, least: int, most: int) -> str:
    """The text, if it can be kept. Raises CellWrong."""
    if "\0" in text:
        raise CellWrong("nul", "Take out the character NUL.")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise CellWrong("surrogate", "Take out the half character; it was damaged on its way.")
    if not least <= len(text) <= most:
        raise CellWrong("length", f"Give {least} to {most} characters; here are {len(text)}.")
    return text


def read_text(least: int, most: int) -> Read:
    """A text of that length."""
    return lambda cell: check_text(unescape(cell), least, most)


def read_code(least: int, most: int) -> Read:
    """A SKU or a barcode, looked at for what spreadsheets and typing do to it. A marked one is meant so."""

    def read(cell: str) -> str:
        text = check_text(unescape(cell, code=True), least, most)
        if text != cell:
            return text
        if _ROUNDED.fullmatch(text):
            raise CellWrong("rounded", "A spreadsheet has rounded this number; make the column text.")
        if text != text.strip():
            raise CellWrong("spaces", "Take out the spaces around it.")
        if "\n" in text:
            raise CellWrong("line", "Take out the line break.")
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
        return tuple(check_text(word, 1, most_length) for word in words)

    return read


def split_list(text: str, sign: str) -> list[str]:
    """The parts between the signs, without the blanks around them. A backslash keeps what follows it."""
    parts, current, kept = [], "", 0
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            current += next(letters, "")
            kept = len(current)
        elif letter == sign:
            parts.append(current[:kept] + current[kept:].rstrip())
            current, kept = "", 0
        elif current or not letter.isspace():
            current += letter
    parts.append(current[:kept] + current[kept:].rstrip())
    return parts


def join_list(parts: Sequence[str], sign: str, glue: str = "") -> str:
    """The other way round."""
    return (glue or sign).join(_kept(part, sign) for part in parts)


def _kept(part: str, sign: str) -> str:
    """The part with backslashes before what is not to be a sign or a blank around it."""
    kept = part.replace("\\", "\\\\").replace(sign, f"\\{sign}")
    if part[-1:].isspace():
        kept = f"{kept[:-1]}\\{kept[-1]}"
    return f"\\{kept}" if part[:1].isspace() and len(part) > 1 else kept
