"""NUBAN, the account numbers of Nigeria: nine digits and a check digit made with the bank's code.

Source: Central Bank of Nigeria, standards of 2010 and 2020. In the older scheme a bank has three digits and
the weights run over twelve; in the revised one an institution has six (000 before a bank's three, 9 before
the five of others) and they run over fifteen. For a bank both give the same digit, as zeros weigh nothing.
"""

import re

_WEIGHTS = (3, 7, 3)
SERIAL_DIGITS = 9
NUMBER_DIGITS = 10


def nuban_prefix(code: str) -> str:
    """The six digits of an institution before the serial number, from its CBN code of three or five."""
    assert re.fullmatch(r"[0-9]{3}|[0-9]{5}", code), "a CBN code has three or five digits"
    return f"000{code}" if len(code) == 3 else f"9{code}"


def check_digit(code: str, serial: str) -> str:
    """The last digit of the account with that serial number at the institution with that CBN code."""
    digits = nuban_prefix(code) + serial
    total = sum(int(digit) * _WEIGHTS[place % 3] for place, digit in enumerate(digits))
    return str(-total % 10)


def is_nuban(code: str, number: str) -> bool:
    """Whether `number` can be an account there: ten plain digits, the last of which fits the others.

    It says nothing about whether there is such an account.
    """
    if len(number) != NUMBER_DIGITS or not (number.isascii() and number.isdecimal()):
        return False
    return check_digit(code, number[:SERIAL_DIGITS]) == number[SERIAL_DIGITS:]
