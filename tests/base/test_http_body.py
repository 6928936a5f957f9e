"""Bodies: whole, as forms, as pictures in JSON arrays; over real HTTP."""

import asyncio
import base64
import json
import os
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from litestar import Request

from kasuwa.base.http.body import BodyMemory, ClientDisconnected, read_body, read_byte_array, read_form
from kasuwa.base.http.protocol import guarded_protocol
from kasuwa.base.problems import Malformed, Problem, TooLarge, Unavailable
from tests.base.http_serving import serving
from tests.base.http_toy import MB, make_app, render_error

BOUNDARY = "----a-boundary"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        serving(make_app(), guarded_protocol(render_error)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield client


def fed(chunks: list[bytes], headers: dict[str, str] | None = None, *, cut: bool = False) -> Request:  # type: ignore[type-arg]
    """A request whose body comes in exactly these chunks; `cut` ends it by a disconnect."""
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if cut:
        messages.append({"type": "http.disconnect"})
    else:
        messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    scope = {"type": "http", "headers": raw, "state": {}, "path": "/", "method": "POST", "query_string": b""}
    return Request(scope, receive)  # type: ignore[arg-type]


def pieces(text: bytes, size_bytes: int) -> list[bytes]:
    return [text[start : start + size_bytes] for start in range(0, len(text), size_bytes)]


# Whole bodies


def test_a_body_up_to_the_limit_passes_and_one_byte_more_is_413(client: httpx.Client) -> None:
    assert client.post("/small", content=b"x" * 1000).json() == {"bytes": 1000}
    assert client.post("/small", content=b"x" * 1001).status_code == 413
    assert client.post("/small", content=iter([b"x" * 600, b"x" * 401])).status_code == 413


async def test_a_declared_length_is_refused_without_reading() -> None:
    request = fed([], {"content-length": "1001"}, cut=True)
    with pytest.raises(TooLarge):
        await read_body(request, 1000)


@pytest.mark.parametrize("chunks", [[], [b"abc"], [b"abc", b"def"]])
async def test_a_cut_body_never_looks_whole(chunks: list[bytes]) -> None:
    with pytest.raises(ClientDisconnected):
        await read_body(fed(chunks, cut=True), 1000)
    assert await read_body(fed(chunks), 1000) == b"".join(chunks)


def test_a_caller_who_leaves_in_the_middle_harms_nobody(client: httpx.Client) -> None:
    for _ in range(20):
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as sock:
            sock.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
    assert client.post("/body", content=b"abc").json() == {"bytes": 3}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("image/png", 200),
        ("text/plain", 415),
        ("application/jsonx", 415),
        ("", 415),
    ],
)
def test_the_media_type_must_be_one_of_the_allowed(client: httpx.Client, sent: str, status: int) -> None:
    answer = client.post("/picky", content=b"{}", headers={"Content-Type": sent})
    assert answer.status_code == status


async def test_bodies_held_at_the_same_time_have_a_common_limit() -> None:
    memory = BodyMemory(1000)
    first, second = fed([b"x" * 600]), fed([b"x" * 600])
    for request in (first, second):
        request.scope["state"]["body_memory"] = memory
    assert len(await read_body(first, 1000)) == 600
    with pytest.raises(Unavailable) as refusal:
        await read_body(second, 1000)
    assert refusal.value.headers == {"Retry-After": "2"}
    memory.release(first.scope)  # type: ignore[arg-type]
    memory.release(second.scope)  # type: ignore[arg-type]
    assert memory.held_bytes == 0


def test_the_edge_gives_the_memory_back_after_each_request() -> None:
    with (
        serving(make_app(max_body_memory_bytes=MB), guarded_protocol(render_error)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        for _ in range(5):
            assert client.post("/body", content=b"x" * (MB - 1)).status_code == 200
        assert client.post("/body", content=b"x" * (MB + 1)).status_code == 503


# Forms


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FORM_TYPE = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def test_a_form_gives_texts_and_files(client: httpx.Client) -> None:
    picture = os.urandom(300_000) + b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n\r" * 100
    answer = client.post(
        "/form",
        data={"alt": "Größe ₦", "empty": ""},
        files={"image_file": ("shoe.png", picture, "image/png; x=y"), "other": ("b", b"", "nonsense")},
    )
    assert answer.json() == {
        "fields": {"alt": "Größe ₦", "empty": ""},
        "files": {
            "image_file": ["shoe.png", "image/png", len(picture)],
            "other": ["b", "application/octet-stream", 0],
        },
    }


async def test_a_form_reads_the_same_in_pieces_of_any_size() -> None:
    content = os.urandom(500) + b"\r\n--" + BOUNDARY.encode()[:9]
    whole = part('name="a"', "ä".encode()) + part('name="f"; filename="x y.png"', content) + END
    for size_bytes in (1, 2, 7, 64, 10_000):
        form = await read_form(fed(pieces(whole, size_bytes), FORM_TYPE), max_file_bytes=1000)
        assert form.fields == {"a": "ä"}
        assert (form.files["f"].name, form.files["f"].content) == ("x y.png", content)


def _nested(depth: int) -> bytes:
    inner = part('name="x"', b"y", "Content-Type: multipart/mixed; boundary=inner")
    return b"".join(part(f'name="n{number}"', inner) for number in range(depth))


BAD_FORMS: dict[str, tuple[bytes, int]] = {
    "10000-parts": (b"".join(part(f'name="f{n}"', b"v") for n in range(10_000)) + END, 413),
    "1-mb-header": (part('name="a"', b"v", "X-Long: " + "a" * MB) + END, 400),
    "many-headers": (part('name="a"', b"v", *["X: y"] * 100) + END, 400),
    "missing-end": (part('name="a"', b"v"), 400),
    "cut-in-a-header": (part('name="a"', b"v")[:-30], 400),
    "empty": (b"", 400),
    "other-boundary": (part('name="a"', b"v").replace(b"a-boundary", b"b-boundary") + END, 400),
    "twice-the-same-file": (part('name="f"; filename="a"', b"1") + part('name="f"; filename="b"', b"2"), 422),
    "file-and-text-of-one-name": (part('name="f"; filename="a"', b"1") + part('name="f"', b"2"), 422),
    "no-name": (part('filename="a"', b"1") + END, 400),
    "name-not-utf-8": (part('name="a"', b"v").replace(b'"a"', b'"\xff\xfe"') + END, 400),
    "text-not-utf-8": (part('name="a"', b"\xff\xfe") + END, 400),
    "nul-in-a-text": (part('name="a"', b"a\0b") + END, 422),
    "nul-in-a-file-name": (part('name="a"; filename="x\0.png"', b"v") + END, 422),
    "long-name": (part(f'name="{"n" * 300}"', b"v") + END, 400),
    "long-text": (part('name="a"', b"v" * 70_000) + END, 413),
    "long-file": (part('name="a"; filename="x"', b"v" * (8 * MB + 1)) + END, 413),
    "nested-without-end": (_nested(50), 400),
}


@pytest.mark.parametrize(("content", "status"), BAD_FORMS.values(), ids=BAD_FORMS)
def test_bad_forms_are_refused_with_a_problem(client: httpx.Client, content: bytes, status: int) -> None:
    answer = client.post("/form", content=content, headers=FORM_TYPE)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=" + "b" * 1000, 400),
        ("application/json", 415),
    ],
)
def test_a_form_needs_a_boundary(client: httpx.Client, content_type: str, status: int) -> None:
    content = part('name="a"', b"v") + END
    answer = client.post("/form", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status


async def test_bad_forms_take_little_memory() -> None:
    """The traced peak of the server's side, over all bad forms that are not just a large file."""
    for name, (content, _) in BAD_FORMS.items():
        chunks = pieces(content, 64 * 1024)
        request = fed(chunks, FORM_TYPE)
        tracemalloc.start()
        with pytest.raises(Problem):
            await read_form(request, max_file_bytes=8 * MB)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes < 20 * MB, name


# Pictures in JSON arrays


def signed(content: bytes) -> str:
    return json.dumps([byte - 256 if byte > 127 else byte for byte in content])


def base64_pieces(content: bytes, size_chars: int) -> str:
    text = base64.b64encode(content).decode()
    return json.dumps([text[start : start + size_chars] for start in range(0, len(text), size_chars)])


PICTURE = os.urandom(1001)
WRITTEN = {
    "unsigned": json.dumps(list(PICTURE)),
    "signed": signed(PICTURE),
    "much-space": json.dumps(list(PICTURE)).replace(",", " " * 5000 + ",", 3),
    "indented": json.dumps(list(PICTURE), indent=4),
    "one-base64": base64_pieces(PICTURE, 10_000),
    "base64-pieces": base64_pieces(PICTURE, 77),
    "base64-single-characters": base64_pieces(PICTURE, 1),
    "base64-each-padded": json.dumps([base64.b64encode(p).decode() for p in pieces(PICTURE, 100)]),
    "base64-without-padding": json.dumps([base64.b64encode(PICTURE).decode().rstrip("=")]),
    "base64-url-safe": json.dumps([base64.urlsafe_b64encode(PICTURE).decode()]),
    "base64-escaped-slashes": base64_pieces(PICTURE, 500).replace("/", "\\/"),
    "base64-escaped-signs": base64_pieces(PICTURE, 500).replace("=", "\\u003d").replace("+", "\\u002B"),
    "base64-in-lines": json.dumps([base64.encodebytes(PICTURE).decode()], indent=1),
    "base64-with-empty-strings": json.dumps(["", base64.b64encode(PICTURE).decode(), ""]),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
async def test_an_array_is_read_in_pieces_of_any_size(text: str) -> None:
    for size_bytes in (1, 2, 3, 5, 64, 100_000):
        request = fed(pieces(b" \n" + text.encode() + b"\r\n", size_bytes))
        assert await read_byte_array(request, MB) == PICTURE


def test_random_pictures_come_out_as_they_went_in(client: httpx.Client) -> None:
    chance = random.Random(7)
    for _ in range(20):
        content = chance.randbytes(chance.randint(1, 200_000))
        for text in (signed(content), base64_pieces(content, chance.randint(1, 5000))):
            assert client.post("/array", content=text).content == content


REFUSED = {
    "empty-array": ("[]", 422),
    "spaces-only": ("[ \n ]", 422),
    "empty-strings": ('["", ""]', 422),
    "fraction": ("[1, 2.0]", 422),
    "exponent": ("[1, 1e1]", 422),
    "over-255": ("[255, 256]", 422),
    "under-128": ("[-128, -129]", 422),
    "huge": ("[1, 99999999999999999999999999]", 422),
    "null": ("[1, null]", 422),
    "null-first": ("[null]", 422),
    "true": ("[1, true]", 422),
    "string-after-numbers": ('[1, "AAAA"]', 422),
    "string-with-bracket-after-numbers": ('[1, "],"]', 422),
    "number-after-strings": ('["AAAA", 1]', 422),
    "nested": ("[1, [2]]", 422),
    "nested-first": ("[[1]]", 422),
    "nested-after-strings": ('["AAAA", ["AAAA"]]', 422),
    "object": ('[{"a": 1}]', 422),
    "bad-base64": ('["AA!A"]', 422),
    "base64-not-ascii": ('["AAÄA"]', 422),
    "base64-bad-escape": ('["AA\\\\A"]', 422),
    "base64-after-padding": ('["AA==AAAA"]', 422),
    "base64-half-a-byte": ('["AAAAA"]', 422),
    "leading-zero": ("[1, 02]", 400),
    "plus": ("[+1]", 400),
    "missing-comma": ("[1 2]", 400),
    "doubled-comma": ("[1,,2]", 400),
    "leading-comma": ("[,1]", 400),
    "trailing-comma": ("[1,]", 400),
    "trailing-comma-after-string": ('["AAAA",]', 400),
    "strings-without-comma": ('["AAAA" "AAAA"]', 400),
    "no-end": ("[1, 2", 400),
    "string-no-end": ('["AAAA', 400),
    "rest": ("[1] [2]", 400),
    "rest-after-strings": ('["AAAA"]x', 400),
    "not-an-array": ('{"a": 1}', 400),
    "a-string": ('"AAAA"', 400),
    "nothing": ("", 400),
    "no-comma-for-long": ("[" + "1 " * 10_000 + "]", 400),
}


@pytest.mark.parametrize(("text", "status"), REFUSED.values(), ids=REFUSED)
async def test_other_arrays_are_refused_whatever_the_pieces(text: str, status: int) -> None:
    for size_bytes in (1, 2, 3, 100_000):
        with pytest.raises(Problem) as refusal:
            await read_byte_array(fed(pieces(text.encode(), size_bytes)), MB)
        assert (refusal.value.status, bool(refusal.value.detail)) == (status, True)


async def test_limits_of_text_and_of_content() -> None:
    with pytest.raises(TooLarge):
        await read_byte_array(fed([b"[" + b"1," * 500 + b"1]"]), 1000)
    with pytest.raises(TooLarge):
        await read_byte_array(fed([b"[" + b"1," * 500 + b"1]"]), 10_000, content_limit_bytes=500)
    assert (
        len(await read_byte_array(fed([b"[" + b"1," * 499 + b"1]"]), 10_000, content_limit_bytes=500)) == 500
    )
    with pytest.raises(ClientDisconnected):
        await read_byte_array(fed([b"[1,2"], cut=True), 1000)
    with pytest.raises(Malformed):
        await read_byte_array(fed([b"[1,2"]), 1000)


LARGE = random.Random(1).randbytes(3 * MB)


async def _longest_gap(work: object) -> float:
    """The longest time in which the loop came to nothing else, in seconds of this thread's CPU."""
    done = False
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        import time

        last = time.thread_time()
        while not done:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    try:
        await work  # type: ignore[misc]
    finally:
        done = True
        await ticker
    return longest


async def _read_large(text: bytes) -> None:
    request = fed(pieces(text, 256 * 1024))
    assert await read_byte_array(request, 40 * MB) == LARGE


async def _read_at_once(text: bytes) -> None:
    whole = await read_body(fed(pieces(text, 256 * 1024)), 40 * MB)
    assert bytes(number & 255 for number in json.loads(whole)) == LARGE


async def test_a_large_array_leaves_the_loop_free() -> None:
    """Counted in CPU time, so that a busy machine does not matter; the control is reading it at once."""
    text = signed(LARGE).encode()
    in_slices = await _longest_gap(_read_large(text))
    at_once = await _longest_gap(_read_at_once(text))
    assert in_slices * 10 < at_once


@pytest.mark.parametrize("form", ["values", "strings"])
async def test_a_large_array_takes_the_memory_of_its_picture(form: str) -> None:
    text = signed(LARGE).encode() if form == "values" else base64_pieces(LARGE, 100_000).encode()
    request = _streamed(text)
    tracemalloc.start()
    content = await read_byte_array(request, 40 * MB)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert content == LARGE
    assert peak_bytes < 2.5 * len(LARGE)


def _streamed(text: bytes) -> Request:  # type: ignore[type-arg]
    """As `fed`, but the chunks are cut when they are asked for, so that they do not count."""

    async def messages() -> AsyncIterator[dict[str, object]]:
        for start in range(0, len(text), 64 * 1024):
            more = start + 64 * 1024 < len(text)
            yield {"type": "http.request", "body": text[start : start + 64 * 1024], "more_body": more}

    receive = messages().__anext__
    scope = {"type": "http", "headers": [], "state": {}, "path": "/", "method": "POST", "query_string": b""}
    return Request(scope, receive)  # type: ignore[arg-type]
