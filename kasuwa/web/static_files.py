"""Files of our pages: our own, and the browser files that set-up installed."""

import asyncio
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from kasuwa.base.http.caching import not_modified

FOLDER = Path(__file__).parent / "static"


class StaticFile(Struct, frozen=True):
    content: bytes
    content_type: str
    etag: str


@cache
def static_names() -> frozenset[str]:
    """Every file that is given out. What is not in the list cannot be asked for, however it is spelled."""
    return frozenset(
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )


def static_route() -> HTTPRouteHandler:
    @get("/static/{name:path}", include_in_schema=False)
    async def static(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
        wanted = str(name).removeprefix("/")
        if wanted not in static_names():
            return Response(b"There is no such file.\n", status_code=404, media_type="text/plain")
        file = await asyncio.to_thread(_read, wanted)
        headers = {"ETag": file.etag, "Cache-Control": "public, max-age=3600"}
        if not_modified(request, file.etag):
            return Response(b"", status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.content_type)

    return static


@cache
def _read(name: str) -> StaticFile:
    content = (FOLDER / name).read_bytes()
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return StaticFile(content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
