"""Read a JSON body into plain values, exactly: what is not good JSON is a 400 before any schema is asked."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

from kasuwa.base.problems import Malformed

DEPTH_MAX = 64
"""Arrays and objects inside each other; deeper bodies are refused."""

_EXPONENT_MAX = 400
_INTEGER_DIGITS_MAX = 40


def read_json(body: bytes) -> Any:
    """The body as dict, list, str, int, Decimal, bool and None; no float.

    A number with a whole value is an int however it is written (1.0, 1e2).
    Raises `Malformed` for what is not one JSON text in UTF-8, for a byte order mark, a NUL character,
    a lone surrogate, a name given twice in one object, more than `DEPTH_MAX` levels and absurd exponents.
    """
    try:
        value = _DECODER.decode(body)
    except UnicodeDecodeError as error:
        raise Malformed("The body is not valid UTF-8. Send JSON encoded in UTF-8.") from error
    except RecursionError as error:
        raise Malformed(_TOO_DEEP) from error
    except msgspec.ValidationError as error:
        raise Malformed(_NUMBER_TOO_BIG) from error
    except msgspec.DecodeError as error:
        raise Malformed(f"The body is not valid JSON. Correct it and send it again: {error}.") from error
    _check_depth(body, value)
    if b"\\u0000" in body and any("\0" in text for text in _texts(value)):
        raise Malformed("The body has a NUL character in a text. Remove it.")
    if body.count(b":") > 1:
        _check_names(body)
    return value


def _number(text: str) -> int | Decimal:
    """Whole values as int. The exponent is bounded: 1e999999999 as an int would fill the memory."""
    if len(text) <= _EXPONENT_MAX and "e" not in text and "E" not in text:
        whole, _, fraction = text.partition(".")
        return Decimal(text) if fraction.strip("0") else int(whole)
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -_EXPONENT_MAX <= exponent <= _EXPONENT_MAX:
        raise Malformed(_NUMBER_TOO_BIG)
    if number.adjusted() < _INTEGER_DIGITS_MAX and number == number.to_integral_value():
        return int(number)
    return number


def _check_depth(body: bytes, value: Any) -> None:
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEPTH_MAX):
        if not level:
            return
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
    if level:
        raise Malformed(_TOO_DEEP)


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            yield from item
            waiting.extend(item.values())


def _check_names(body: bytes) -> None:
    """Two readers of one body must not see two values: a name may stand once in an object."""
    _NAMES.decode(body.decode())


def _object_of(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Malformed("The body gives a name twice in one object. Give each name once.")


def _refuse_constant(_: str) -> NoReturn:
    raise Malformed("The body is not valid JSON: NaN and Infinity are not numbers there.")


_TOO_DEEP = f"The body is nested more than {DEPTH_MAX} levels deep. Send a flatter one."
_NUMBER_TOO_BIG = "The body has a number that is out of any range. Send a smaller one."
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=_number)
_NAMES = json.JSONDecoder(object_pairs_hook=_object_of, parse_float=len, parse_constant=_refuse_constant)
