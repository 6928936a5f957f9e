"""A picture written as a JSON array: of byte values, or of base64 strings.

Both are decoded in slices while they arrive, so that memory holds the picture and one slice of text,
and the event loop is never held for longer than a slice takes (a few milliseconds).
"""

import asyncio
import binascii
import re
from array import array
from sys import byteorder
from typing import Annotated

import msgspec

from kasuwa.base.http.body.whole import AnyRequest, body_chunks, hold_body
from kasuwa.base.problems import FieldFault, Invalid, Malformed, TooLarge

SLICE_BYTES = 64 * 1024
# No single byte value is longer than this, once white space is taken together.
MAX_PENDING_BYTES = 4096
_WHITE = b" \t\r\n"
_WHITE_RUN = re.compile(rb"[ \t\r\n]+")
_LOW_BYTE = slice(0 if byteorder == "little" else 1, None, 2)
_numbers = msgspec.json.Decoder(list[Annotated[int, msgspec.Meta(ge=-128, le=255)]])
_string = msgspec.json.Decoder(str)
_UNFINISHED_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_STRING_STOP = re.compile(rb'["\\]')
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def _invalid(message: str) -> Invalid:
    return Invalid(
        f"The array of the picture's bytes {message}.",
        faults=[FieldFault(pointer="", code="byte-array", message=message)],
    )


def _malformed(message: str) -> Malformed:
    return Malformed(f"The body is not a JSON array of byte values or base64 strings: {message}.")


class _ByteValues:
    """`-128..127` as Java writes bytes, or `0..255`."""

    def __init__(self) -> None:
        self.pending = b""

    def feed(self, text: bytes, out: bytearray) -> bytes | None:
        """Take text in; the rest after the closing bracket, or None when that has not come."""
        text = self.pending + text
        end = text.find(b"]")
        if end >= 0:
            self._decode(text[:end], out)
            return text[end + 1 :]
        cut = text.rfind(b",")
        if cut >= 0:
            self._decode(text[:cut], out)
        self.pending = text[cut + 1 :]
        if len(self.pending) > MAX_PENDING_BYTES:
            self.pending = _WHITE_RUN.sub(b" ", self.pending)
            if len(self.pending) > MAX_PENDING_BYTES:
                raise _malformed("a value does not end")
        return None

    def _decode(self, text: bytes, out: bytearray) -> None:
        if b'"' in text:
            raise _invalid("must not mix numbers and strings")
        if b"[" in text or b"{" in text:
            raise _invalid("must be flat: no array or object in it")
        try:
            values = _numbers.decode(b"[%b]" % text)
        except msgspec.ValidationError:
            raise _invalid("may only hold whole numbers from -128 to 255") from None
        except msgspec.DecodeError:
            raise _malformed("a number or comma is missing or wrong") from None
        if not values:
            raise _malformed("a value is missing before a comma or bracket")
        # The low byte of the two's complement is the picture's byte, signed or not.
        out += array("h", values).tobytes()[_LOW_BYTE]


class _Base64Strings:
    """Pieces of one base64 text, or texts each with its own padding: both join to the picture."""

    def __init__(self) -> None:
        self.pending = b""  # JSON text not yet used: the start of an escape
        self.quartet = b""  # up to three base64 characters that wait for the rest
        self.padded = False
        self.place = "string"

    def feed(self, text: bytes, out: bytearray) -> bytes | None:
        text = self.pending + text
        self.pending = b""
        while text:
            if self.place == "string":
                text = self._in_string(text, out)
                continue
            text = text.lstrip(_WHITE)
            if not text:
                return None
            mark, text = text[:1], text[1:]
            if self.place == "after" and mark == b"]":
                self._finish(out)
                return text
            if self.place == "after" and mark == b",":
                self.place = "before"
            elif self.place == "before" and mark == b'"':
                self.place, self.padded = "string", False
            else:
                self._refuse(mark)
        return None

    def _refuse(self, mark: bytes) -> None:
        if self.place == "before" and mark in b"-0123456789":
            raise _invalid("must not mix numbers and strings")
        if self.place == "before" and mark in b"[{tfn":
            raise _invalid("must be flat and hold only strings")
        raise _malformed("a comma, quote or bracket is missing or wrong")

    def _in_string(self, text: bytes, out: bytearray) -> bytes:
        """Use the text up to the closing quote, or all of it but an unfinished escape."""
        end = 0
        while (stop := _STRING_STOP.search(text, end)) is not None and stop[0] != b'"':
            end = stop.end() + 1  # over the escaped character
        if stop is not None:
            run, rest = text[: stop.start()], text[stop.end() :]
            self.place = "after"
        else:
            unfinished = _UNFINISHED_ESCAPE.search(text)
            cut = unfinished.start() if unfinished else len(text)
            run, rest = text[:cut], b""
            self.pending = text[cut:]
        self._decode(self._plain(run), out)
        return rest

    @staticmethod
    def _plain(run: bytes) -> bytes:
        if b"\\" in run:  # some writers escape "/" and "="
            try:
                run = _string.decode(b'"%b"' % run).encode("ascii")
            except (msgspec.DecodeError, UnicodeEncodeError):
                raise _invalid("holds a string that is not base64") from None
        return run.translate(_FROM_URL_SAFE, _WHITE)

    def _decode(self, run: bytes, out: bytearray) -> None:
        if run and self.padded:
            raise _invalid("holds base64 that goes on after its padding")
        run = self.quartet + run
        whole = len(run) - len(run) % 4
        self.quartet = run[whole:]
        self.padded = run[:whole].endswith(b"=")
        if self.padded and self.quartet:
            raise _invalid("holds base64 that goes on after its padding")
        try:
            out += binascii.a2b_base64(run[:whole], strict_mode=True)
        except binascii.Error:
            raise _invalid("holds a string that is not base64") from None

    def _finish(self, out: bytearray) -> None:
        if not self.quartet:
            return
        try:
            out += binascii.a2b_base64(self.quartet + b"=" * (4 - len(self.quartet)), strict_mode=True)
        except binascii.Error:
            raise _invalid("ends in the middle of a base64 group") from None


class _Reader:
    def __init__(self) -> None:
        self.out = bytearray()
        self.elements: _ByteValues | _Base64Strings | None = None
        self.opened = False
        self.closed = False

    def feed(self, text: bytes) -> None:
        if self.elements is None:
            text = self._open(text.lstrip(_WHITE))
        if self.elements is not None and not self.closed:
            rest = self.elements.feed(text, self.out)
            self.closed = rest is not None
            text = rest or b""
        if self.closed and text.strip(_WHITE):
            raise _malformed("something follows the closing bracket")

    def _open(self, text: bytes) -> bytes:
        """Look at the bracket and the first element; what is left to decode."""
        if not self.opened and text:
            if text[:1] != b"[":
                raise _malformed("it does not begin with a bracket")
            self.opened = True
            text = text[1:].lstrip(_WHITE)
        if not text:
            return b""
        first = text[:1]
        if first == b'"':
            self.elements = _Base64Strings()
            return text[1:]
        if first == b"]":
            raise _invalid("is empty")
        if first in b"[{tfn":
            raise _invalid("must be flat and hold numbers or strings")
        self.elements = _ByteValues()
        return text


async def read_byte_array(
    request: AnyRequest, limit_bytes: int, *, content_limit_bytes: int | None = None
) -> bytes:
    """The picture in a JSON array such as `[137,80,-1]` or `["iVBORw0K", "Ggo="]`.

    `limit_bytes` bounds the text, `content_limit_bytes` what it decodes to. Raises Malformed (400: not
    such JSON), Invalid (422: readable, but a fraction, a value outside -128..255, mixed or nested
    elements, bad base64, no element), TooLarge (413), ClientDisconnected, Unavailable (503).
    """
    reader = _Reader()
    async for chunk in body_chunks(request, limit_bytes):
        for start in range(0, len(chunk), SLICE_BYTES):
            before = len(reader.out)
            reader.feed(chunk[start : start + SLICE_BYTES])
            hold_body(request.scope, len(reader.out) - before)  # type: ignore[arg-type]
            if content_limit_bytes is not None and len(reader.out) > content_limit_bytes:
                raise TooLarge(
                    f"The picture may have at most {content_limit_bytes} bytes. Send a smaller one."
                )
            if len(chunk) > SLICE_BYTES:
                await asyncio.sleep(0)
    if not reader.closed:
        raise _malformed("it ends before its closing bracket")
    if not reader.out:
        raise _invalid("is empty")
    return bytes(reader.out)
