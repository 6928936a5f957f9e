"""multipart/form-data, read as it comes and never larger in memory than its limits."""

import asyncio
import re

from msgspec import Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from kasuwa.base.http.body.whole import AnyRequest, body_chunks, hold_body, require_media_type
from kasuwa.base.problems import FieldFault, Invalid, Malformed, TooLarge

MAX_HEADER_BYTES = 4096
MAX_HEADERS = 8
MAX_NAME_CHARS = 255
# The parser goes byte by byte through what looks like a boundary: the slice bounds its longest run.
SLICE_BYTES = 16 * 1024
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")


class UploadedFile(Struct, frozen=True):
    """`name` and `content_type` are the caller's words: for people to read, never a path or a promise."""

    name: str
    content_type: str
    content: bytes


class Form(Struct, frozen=True):
    fields: dict[str, str]
    files: dict[str, UploadedFile]


class _Limits(Struct, frozen=True):
    max_parts: int
    max_file_bytes: int
    max_text_bytes: int


def _text(raw: bytes, what: str, pointer: str = "") -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"The form's {what} is not UTF-8. Send texts in UTF-8.") from None
    if "\0" in text:
        fault = FieldFault(pointer=pointer, code="nul", message="must not contain the character NUL")
        raise Invalid(f"The form's {what} holds the character NUL. Leave it out.", faults=[fault])
    return text


class _Parts:
    """Collects the parts; its methods are the parser's callbacks."""

    def __init__(self, request: AnyRequest, limits: _Limits) -> None:
        self.request = request
        self.limits = limits
        self.form = Form(fields={}, files={})
        self.ended = False
        self.count = 0
        self._start_part()

    def _start_part(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.header_name = b""
        self.header_value = b""
        self.name = ""
        self.file_name: str | None = None
        self.content = bytearray()

    def on_part_begin(self) -> None:
        self.count += 1
        if self.count > self.limits.max_parts:
            raise TooLarge(f"The form may have at most {self.limits.max_parts} parts. Send fewer.")
        self._start_part()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.header_value += data[start:end]

    def on_header_end(self) -> None:
        self.headers[self.header_name.lower()] = self.header_value
        self.header_name = self.header_value = b""

    def on_headers_finished(self) -> None:
        disposition, options = parse_options_header(self.headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or not options.get(b"name"):
            raise Malformed('Each part of the form needs Content-Disposition: form-data; name="…".')
        self.name = _text(options[b"name"], "name of a part")
        if b"filename" in options:
            self.file_name = _text(options[b"filename"], "file name", f"/{self.name}")
        if max(len(self.name), len(self.file_name or "")) > MAX_NAME_CHARS:
            raise Malformed(f"A name in the form has more than {MAX_NAME_CHARS} characters. Shorten it.")
        if self.name in self.form.fields or self.name in self.form.files:
            fault = FieldFault(pointer=f"/{self.name}", code="duplicate", message="may be sent only once")
            raise Invalid("The form has two parts of the same name. Send one of them.", faults=[fault])

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        is_file = self.file_name is not None
        limit_bytes = self.limits.max_file_bytes if is_file else self.limits.max_text_bytes
        if len(self.content) + end - start > limit_bytes:
            raise TooLarge(f"The form's part {self.name!r} may have at most {limit_bytes} bytes.")
        hold_body(self.request.scope, end - start)  # type: ignore[arg-type]
        self.content += data[start:end]

    def on_part_end(self) -> None:
        if self.file_name is None:
            self.form.fields[self.name] = _text(bytes(self.content), f"text {self.name!r}", f"/{self.name}")
        else:
            sent = self.headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
            content_type = sent if _MEDIA_TYPE.fullmatch(sent) else "application/octet-stream"
            self.form.files[self.name] = UploadedFile(self.file_name, content_type, bytes(self.content))
        self.content = bytearray()

    def on_end(self) -> None:
        self.ended = True


def _boundary(request: AnyRequest) -> bytes:
    _, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise Malformed("Content-Type: multipart/form-data needs its boundary parameter.")
    return boundary


async def read_form(
    request: AnyRequest,
    *,
    max_file_bytes: int,
    max_parts: int = 64,
    max_text_bytes: int = 64 * 1024,
    max_body_bytes: int | None = None,
) -> Form:
    """The form's texts and files by name; a name may come once.

    `max_body_bytes` defaults to one file and a little for the rest. Raises UnsupportedMediaType (415),
    Malformed (400: framing, UTF-8), Invalid (422: doubled name, NUL), TooLarge (413), ClientDisconnected.
    """
    require_media_type(request, ["multipart/form-data"])
    limits = _Limits(max_parts, max_file_bytes, max_text_bytes)
    parts = _Parts(request, limits)
    names = "on_part_begin on_part_data on_part_end on_header_field on_header_value on_header_end"
    callbacks = {name: getattr(parts, name) for name in [*names.split(), "on_headers_finished", "on_end"]}
    body_limit_bytes = max_body_bytes or max_file_bytes + 1024 * 1024
    try:
        parser = MultipartParser(
            _boundary(request),
            callbacks,  # type: ignore[arg-type]
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )
        async for chunk in body_chunks(request, body_limit_bytes):
            for start in range(0, len(chunk), SLICE_BYTES):
                parser.write(chunk[start : start + SLICE_BYTES])
                if len(chunk) > SLICE_BYTES:
                    await asyncio.sleep(0)
    except FormParserError:
        raise Malformed(
            "The multipart form cannot be read. Check its boundary and its part headers."
        ) from None
    if not parts.ended:
        raise Malformed("The multipart form has no end: its closing boundary is missing.")
    return parts.form
