"""`kasuwa` with one fault built in, for the negative controls: what must fail on it, does.

Run: BROKEN_BY_TEST=name python -m tests.faults.broken serve …    (the names are those of FAULTS)
"""

import asyncio
import email
import json
import os
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from kasuwa.api.bigcommerce import dialect as bigcommerce
from kasuwa.api.bigcommerce import images
from kasuwa.api.storeharmony import pictures, stock
from kasuwa.base import db, fetch
from kasuwa.base.context import Context, KeyedTransaction
from kasuwa.base.http import api
from kasuwa.base.http.api import AnyRequest
from kasuwa.base.http.body import form
from kasuwa.base.http.body.whole import body_chunks
from kasuwa.base.http.middleware import Edge, Receive, Scope, Send
from kasuwa.base.http.protocol import GuardedProtocol
from kasuwa.base.http.server import ServerOptions
from kasuwa.base.http.streams import BegunStream
from kasuwa.base.imaging import ALL_FORMATS, Imaging, Rendered
from kasuwa.base.limits import Allowance, Limits, Quota
from kasuwa.base.once import KeptAnswer
from kasuwa.base.problems import NoSpace, Problem
from kasuwa.base.rendering import messages
from kasuwa.base.storage import FolderBlobs
from kasuwa.domain.exchange import jobs as imports
from kasuwa.domain.inventory.actions import move_stock
from kasuwa.domain.inventory.errors import NotEnoughStock
from kasuwa.domain.inventory.records import Move, Moved
from tests.base.fetch.staging import Watch
from tests.faults.broken_proofs import forget_tries, hash_only_the_known, name_the_unknown, work_for_the_known

SHORT_WINDOW_SECONDS = 4.0


def answer_before_files() -> None:
    """A put that only promises: the bytes are written some time after the answer."""
    put = FolderBlobs.put

    async def promise(self: FolderBlobs, key: str, content: bytes, content_type: str) -> None:
        _later(lambda: put(self, key, content, content_type))

    FolderBlobs.put = promise  # type: ignore[method-assign]


def leave_files() -> None:
    """Each file of a picture leaves another one behind that no row knows of."""
    put = FolderBlobs.put

    async def put_two(self: FolderBlobs, key: str, content: bytes, content_type: str) -> None:
        await put(self, f"{key}.left", content, content_type)
        await put(self, key, content, content_type)

    FolderBlobs.put = put_two  # type: ignore[method-assign]


def answer_before_commit() -> None:
    """The answer leaves, and the commit comes after it."""
    complete = KeyedTransaction.complete

    async def promise(self: KeyedTransaction, answer: bytes | None) -> None:
        if answer is None or not self.is_open:
            await complete(self, answer)
        else:
            _later(lambda: complete(self, answer))

    KeyedTransaction.complete = promise  # type: ignore[method-assign]


def forget_keys() -> None:
    """Idempotency-Key means nothing; answers leave late, so that many are cut off after their commit."""
    act = api._act

    async def no_key(exchange: api.Exchange) -> None:
        return None

    async def late(
        registered: api.Registered, exchange: api.Exchange, wanted: frozenset[str]
    ) -> KeptAnswer | BegunStream:
        answer = await act(registered, exchange, wanted)
        await asyncio.sleep(0.5)
        return answer

    api._once = no_key
    api._act = late


def let_errors_out() -> None:
    """The database's own errors reach the caller as they are."""
    db.problem_of = lambda error: None


def forget_full_disks() -> None:
    """What does not fit is forgotten, and the answer says that all is well."""
    put = FolderBlobs.put

    async def forget(self: FolderBlobs, key: str, content: bytes, content_type: str) -> None:
        with suppress(NoSpace):
            await put(self, key, content, content_type)

    FolderBlobs.put = forget  # type: ignore[method-assign]


def sulk_after_full_disks() -> None:
    """Once files did not fit, none is taken for six seconds more after there is space."""
    put = FolderBlobs.put
    was_full, until = False, 0.0

    async def sulk(self: FolderBlobs, key: str, content: bytes, content_type: str) -> None:
        nonlocal was_full, until
        if monotonic() < until:
            raise NoSpace()
        try:
            await put(self, key, content, content_type)
        except NoSpace:
            was_full = True
            raise
        if was_full:
            was_full, until = False, monotonic() + 6
            raise NoSpace()

    FolderBlobs.put = sulk  # type: ignore[method-assign]


def wait_for_ever() -> None:
    """No connection looks at its own time."""
    GuardedProtocol._look = lambda self: None  # type: ignore[method-assign]


def end_at_once() -> None:
    """A worker that is told to go goes, whoever waits for it."""
    sys.modules["__main__"]._Worker.shutdown = lambda self, sockets=None: os._exit(0)


def read_whole_bodies() -> None:
    """A picture's JSON is read to its end before anything is made of it, and nobody counts."""

    async def read_all(request: AnyRequest, limit_bytes: int, **_: Any) -> bytes:
        text = b"".join([chunk async for chunk in body_chunks(request, limit_bytes)])
        await asyncio.sleep(20)  # as long as others arrive
        return bytes(json.loads(text))

    vars(pictures)["read_byte_array"] = read_all


def fail_on_bad_pictures() -> None:
    """What a decoder says of a bad file reaches the caller as a fault of ours."""
    render = Imaging.render

    async def careless(self: Imaging, content: bytes, accepted: frozenset[str] = ALL_FORMATS) -> Rendered:
        try:
            return await render(self, content, accepted)
        except Problem as problem:
            raise RuntimeError("the decoder failed") from problem

    Imaging.render = careless  # type: ignore[method-assign]


def fail_with_decoders() -> None:
    """Nobody looks whether the process that has the picture is still there."""

    async def trusting(self: Imaging, job: bytes) -> messages.Answer:
        process = await self._take()
        try:
            return await process.ask(job)
        finally:
            self._busy.discard(process)
            self._end(process)

    Imaging._answer = trusting  # type: ignore[method-assign]


def read_anything() -> None:
    """Bodies are turned into text without a look at what is in them."""
    vars(api)["decode"] = lambda content, *_, **__: json.loads(content)


def look_then_write() -> None:
    """What is there is read first, and what is left of it is written afterwards."""

    async def look_and_write(context: Context, move: Move) -> Moved:
        async with context.reading() as found:
            before = await found.value(
                "SELECT on_hand FROM stock_balance WHERE merchant_id = current_merchant()"
                " AND store_id = :store_id AND variant_id = :variant_id",
                store_id=move.store_id,
                variant_id=move.variant_id,
            )
        if before + move.change < 0:
            raise NotEnoughStock()
        reckoned = msgspec.structs.replace(move, kind="set", change=None, target=before + move.change)
        async with context.transaction() as changed:
            (moved,) = await move_stock(context, changed, [reckoned])
        return msgspec.structs.replace(moved, quantity=move.change)

    vars(stock)["move_one"] = look_and_write


def short_windows() -> None:
    """No fault: BigCommerce's window of thirty seconds is too long for a test of three of them."""
    vars(bigcommerce)["WINDOW_SECONDS"] = SHORT_WINDOW_SECONDS


def count_alone() -> None:
    """Each worker counts the requests that it sees itself."""
    short_windows()
    take = Limits.take

    async def alone(self: Limits, quota: Quota, subject: str, **options: bool) -> Allowance:
        return await take(self, quota, f"{subject} {os.getpid()}", **options)

    Limits.take = alone  # type: ignore[method-assign]


def trust_file_names() -> None:
    """A picture is kept under the name that the caller gave it as well."""
    read = form.read_form
    files = Path(os.environ["KASUWA_DATA"], "files")

    async def trusting(request: AnyRequest, **limits: Any) -> form.Form:
        sent = await read(request, **limits)
        for file in sent.files.values():
            await asyncio.to_thread((files / file.name).write_bytes, file.content)
        return sent

    vars(pictures)["read_form"] = trusting


def read_any_form() -> None:
    """Whatever can be made of a form is made of it, and nothing of it is ever forgotten."""
    kept = []

    async def read_all(request: AnyRequest, **_: Any) -> form.Form:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        body = b"".join([chunk async for chunk in body_chunks(request, 64 * 1024 * 1024)])
        kept.append(message := email.message_from_bytes(head + body))
        png = next((part.get_payload(decode=True) for part in message.walk() if part.get_filename()), b"")
        file = form.UploadedFile("a.png", "image/png", bytes(png))
        return form.Form(fields={}, files={"file": file, "image_file": file})

    vars(pictures)["read_form"] = vars(images)["read_form"] = read_all


class _WrittenDown(Watch):
    """Writes each attempt to connect to an address into a file; nothing but loopback is let through."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.on = True
        self._path = path

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        try:
            super().__call__(event, arguments)
        finally:
            made, self.attempts = self.attempts, []
            if made:  # opening a file is an event as well
                with self._path.open("a") as file:
                    file.writelines(f"{host} {port}\n" for host, port in made)


def watch_connections() -> None:
    """No fault: for a test that must know of every attempt to connect."""
    data = Path(os.environ["KASUWA_DATA"])
    sys.addaudithook(_WrittenDown(data.with_name(f"{data.name}.connections")))


def trust_addresses() -> None:
    """Every address is taken for a public one."""
    watch_connections()
    vars(fetch)["is_public"] = lambda address: True


class _Named:
    """A file with a name, until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115 - as what it stands for
        self.path = Path(self._file.name)

    def close(self) -> None:
        self._file.close()


def name_what_is_put_aside() -> None:
    """A file that is put aside for an import stands in its folder."""
    vars(imports)["NamelessFile"] = _Named


def break_promises() -> None:
    """Of Shoplazza's contract: a count fails, a list is none, one door is open, a removal removes nothing."""
    faithful = Edge.__call__
    token: list[tuple[bytes, bytes]] = []

    async def broken(edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        place = f"{scope.get('method')} {scope.get('path', '').partition('/products')[2]}"
        headers = [one for one in scope.get("headers", ()) if one[0] == b"access-token"]
        token[:] = token or headers
        if place == "GET" or place == "GET ":
            await _say(send, 200, b'{"products": 7}')
        elif place.endswith("/images/count"):
            await _say(send, 500, b'{"errors": ["failed"]}')
        elif place.startswith("DELETE") and "/images/" in place:
            await _say(send, 200, b"{}")
        elif re.fullmatch("GET /[^/]+", place) and not headers:
            await faithful(edge, {**scope, "headers": [*scope["headers"], *token]}, receive, send)
        else:
            await faithful(edge, scope, receive, send)

    vars_of_edge: Any = Edge
    vars_of_edge.__call__ = broken


async def _say(send: Send, status: int, body: bytes) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


FAULTS: dict[str, Callable[[], None]] = {
    "answer-before-files": answer_before_files,
    "leave-files": leave_files,
    "answer-before-commit": answer_before_commit,
    "forget-keys": forget_keys,
    "wait-for-ever": wait_for_ever,
    "end-at-once": end_at_once,
    "read-whole-bodies": read_whole_bodies,
    "fail-on-bad-pictures": fail_on_bad_pictures,
    "fail-with-decoders": fail_with_decoders,
    "read-anything": read_anything,
    "let-errors-out": let_errors_out,
    "forget-full-disks": forget_full_disks,
    "sulk-after-full-disks": sulk_after_full_disks,
    "look-then-write": look_then_write,
    "hash-only-the-known": hash_only_the_known,
    "work-for-the-known": work_for_the_known,
    "name-the-unknown": name_the_unknown,
    "forget-tries": forget_tries,
    "name-what-is-put-aside": name_what_is_put_aside,
    "short-windows": short_windows,
    "count-alone": count_alone,
    "trust-file-names": trust_file_names,
    "read-any-form": read_any_form,
    "watch-connections": watch_connections,
    "trust-addresses": trust_addresses,
    "break-promises": break_promises,
}

_tasks: set["asyncio.Task[None]"] = set()


def _later(work: Callable[[], Awaitable[None]]) -> None:
    """Do it after two seconds, whoever has been answered meanwhile."""

    async def wait() -> None:
        await asyncio.sleep(2)
        await work()

    task = asyncio.create_task(wait())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def create_app() -> Edge:
    """What a worker runs in place of the whole application."""
    from kasuwa import app

    FAULTS[os.environ["BROKEN_BY_TEST"]]()
    return app.create_app()


def main() -> None:
    from kasuwa.cli import main as kasuwa
    from kasuwa.cli import serving

    def options(**given: Any) -> ServerOptions:
        return ServerOptions(**{**given, "app_factory": "tests.faults.broken:create_app"})

    vars(serving)["ServerOptions"] = options
    kasuwa()


if __name__ == "__main__":
    main()
