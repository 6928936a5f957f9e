"""A small app behind the whole edge, for the tests of the edge; also run in real workers."""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException

from kasuwa.base.http import caching, logs
from kasuwa.base.http.body import media_type, read_body, read_byte_array, read_form, require_media_type
from kasuwa.base.http.health import Readiness, probe_routes
from kasuwa.base.http.identity import current_request_id
from kasuwa.base.http.middleware import App, Edge, EdgeOptions
from kasuwa.base.problems import Problem

AnyRequest = Request[Any, Any, Any]
MB = 1024 * 1024
BUSY_SECONDS = 0.5
PAGE = msgspec.json.encode([{"name": f"Item {number}", "price": number} for number in range(200)])


def render_error(path: str, status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    body = {"toy": status, "path": path, "request_id": current_request_id()}
    return [(b"content-type", b"application/json")], msgspec.json.encode(body)


def render_problem(_request: AnyRequest, problem: Problem) -> Response[bytes]:
    faults = [fault.pointer for fault in problem.faults]
    body = msgspec.json.encode({"code": problem.code, "detail": problem.detail, "faults": faults})
    return Response(body, status_code=problem.status, headers=problem.headers, media_type=MediaType.JSON)


def render_http(_request: AnyRequest, error: HTTPException) -> Response[bytes]:
    return Response(b'{"toy":"http"}', status_code=error.status_code, media_type=MediaType.JSON)


def _count(content: bytes) -> Response[bytes]:
    return Response(msgspec.json.encode({"bytes": len(content)}), media_type=MediaType.JSON)


@get("/ping")
async def ping() -> Response[bytes]:
    return Response(b'{"pong":true}', media_type=MediaType.JSON)


@get("/process")
async def process() -> dict[str, int]:
    return {"pid": os.getpid()}


@get("/slow")
async def slow(seconds: float) -> Response[bytes]:
    await asyncio.sleep(seconds)
    return Response(msgspec.json.encode({"pid": os.getpid()}), media_type=MediaType.JSON)


@get("/page")
async def page(request: AnyRequest) -> Response[bytes]:
    tag = caching.etag(PAGE)
    if caching.not_modified(request, tag):
        return Response(b"", status_code=304, headers={"etag": tag})
    return Response(PAGE, media_type=MediaType.JSON, headers={"etag": tag})


@get("/picture")
async def picture() -> Response[bytes]:
    return Response(bytes(4096), headers={"content-type": "image/png"})


@get("/big")
async def big(size_bytes: int) -> Response[bytes]:
    return Response(bytes(size_bytes), headers={"content-type": "application/octet-stream"})


@get("/unsafe")
async def unsafe(request: AnyRequest) -> Response[bytes]:
    caching.refuse_head(request)
    return Response(b"{}", media_type=MediaType.JSON)


@post("/change", status_code=200)
async def change(request: AnyRequest) -> Response[bytes]:
    caching.require_match(request, caching.etag(PAGE))
    return _count(await read_body(request, MB))


@post("/body", status_code=200)
async def body(request: AnyRequest) -> Response[bytes]:
    return _count(await read_body(request, 10 * MB))


@post("/small", status_code=200)
async def small(request: AnyRequest) -> Response[bytes]:
    return _count(await read_body(request, 1000))


@post("/picky", status_code=200)
async def picky(request: AnyRequest) -> Response[bytes]:
    require_media_type(request, ["application/json", "image/*"])
    return Response(media_type(request).encode())


@post("/unread", status_code=200)
async def unread() -> Response[bytes]:
    return Response(b'{"read":false}', media_type=MediaType.JSON)


@post("/form", status_code=200)
async def form(request: AnyRequest) -> Response[bytes]:
    read = await read_form(request, max_file_bytes=8 * MB)
    files = {name: [file.name, file.content_type, len(file.content)] for name, file in read.files.items()}
    return Response(msgspec.json.encode({"fields": read.fields, "files": files}), media_type=MediaType.JSON)


@post("/array", status_code=200)
async def byte_array(request: AnyRequest) -> Response[bytes]:
    return Response(await read_byte_array(request, 40 * MB, content_limit_bytes=10 * MB))


class TellingError(Exception):
    """Carries what the caller sent, as drivers and libraries do."""


@post("/tell/{word:str}", status_code=200)
async def tell(request: AnyRequest, word: str) -> Response[bytes]:
    """Logs much more than any handler should, then does as asked."""
    raw = await read_body(request, MB)
    sent = msgspec.json.decode(raw)
    log = structlog.get_logger()
    log.info("log-in", password=sent["password"], nested={"accessToken": sent["token"], "pin": sent["pin"]})
    log.info("call", headers=dict(request.headers), query=request.scope["query_string"].decode())
    logging.getLogger("some.library").warning("sent token=%s for %s", sent["token"], sent["account"])
    logging.getLogger("some.library").warning("Authorization: Bearer %s", sent["token"])
    if sent["then"] == "crash":
        kept_in_a_local = sent["password"]
        try:
            raise KeyError(kept_in_a_local)
        except KeyError as error:
            raise TellingError(f"cannot use {sent!r} of {word} with {request.url}") from error
    if sent["then"] == "lose-a-task":
        task = asyncio.create_task(_fail(sent["password"]), name=sent["token"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
    if sent["then"] == "refuse":
        raise Problem(f"{sent['password']} is not the password")
    return Response(b"{}", media_type=MediaType.JSON)


async def _fail(word: str) -> None:
    raise TellingError(word)


READS = [ping, process, slow, page, picture, big, unsafe]
WRITES = [change, body, small, picky, unread, form, byte_array, tell]


def make_app(**options: Any) -> App:
    """`options` are EdgeOptions'. An exception that no handler expects leaves Litestar and meets the edge."""
    litestar = Litestar(
        [*READS, *WRITES, *probe_routes(Readiness({"loop": _true}))],
        openapi_config=None,
        exception_handlers={
            Problem: render_problem,
            HTTPException: render_http,
            TellingError: _raise,
        },
    )
    chosen = {"cors_origins": ("https://shop.example",), "trusted_proxies": ("127.0.0.1",), **options}
    return Edge(litestar, EdgeOptions(render_error=render_error, **chosen))


def _raise(_request: AnyRequest, error: Exception) -> Response[bytes]:
    raise error


async def _true() -> bool:
    return True


def worker_app() -> App:
    return make_app()


def unredacted_app() -> App:
    """The deliberately broken build: logs as they come."""
    logs.configure(redaction=False)
    return make_app()


def busy_app() -> App:
    """Busy at the moment of its stop, so that callers are waiting at the door when it is closed."""
    worker: Any = sys.modules["__main__"]
    close_the_door = worker._admit_no_more

    def close_late(listening: Sequence[socket.socket]) -> None:
        time.sleep(BUSY_SECONDS)
        close_the_door(listening)

    worker._admit_no_more = close_late
    return make_app()


def hasty_app() -> App:
    """The deliberately broken build: as busy, and it closes its socket on those who wait at the door."""
    worker: Any = sys.modules["__main__"]

    def close_at_once(listening: Sequence[socket.socket]) -> None:
        time.sleep(BUSY_SECONDS)
        for sock in listening:
            sock.shutdown(socket.SHUT_RDWR)

    worker._admit_no_more = close_at_once
    return make_app()


def fragile_app() -> App:
    """Starts unless the file that its environment names is there."""
    if Path(os.environ["TOY_BROKEN_BY"]).exists():
        raise RuntimeError("this build does not start")
    return make_app()


def broken_app() -> App:
    raise RuntimeError("this build does not start")
