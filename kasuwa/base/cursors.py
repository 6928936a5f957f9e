"""Cursors of lists: where the next page begins, as a text that clients hand back as it was."""

import base64
import binascii
from typing import TypeVar

import msgspec
from msgspec import Struct

from kasuwa.base.problems import FieldFault, Invalid

P = TypeVar("P", bound=Struct)


class CursorWrong(Invalid):
    code = "cursor-wrong"
    title = "This cursor was not made by this list"


def write_cursor(place: Struct) -> str:
    """The place as a text for URLs."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode()


def read_cursor(text: str, kind: type[P], *, pointer: str = "#/query/cursor") -> P:
    """The place that the text says. It may come from anybody: what it holds is checked for its types alone.

    Raises CursorWrong, which names `pointer`.
    """
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(text), type=kind)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise wrong_cursor(pointer) from None


def wrong_cursor(pointer: str = "#/query/cursor") -> CursorWrong:
    """The Problem of a cursor that this list did not give."""
    return CursorWrong(faults=[FieldFault(pointer, "cursor", "Use nextCursor of the same list as it was.")])
