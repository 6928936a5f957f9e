"""Picture files, as they are: public, immutable, and never anything but pictures."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from kasuwa.base.context import Services
from kasuwa.base.http.caching import not_modified
from kasuwa.base.storage import BlobMissing

_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Content-Disposition": "inline",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Accept-Ranges": "bytes",
    "Vary": "Accept",
}


def media_route(services: Callable[[], Services]) -> HTTPRouteHandler:
    @get("/media/{merchant:str}/{shard:str}/{sha256:str}/{name:str}", name="media")
    async def media(
        request: Request[Any, Any, Any], merchant: str, shard: str, sha256: str, name: str
    ) -> Response[Any]:
        stem, _, extension = name.rpartition(".")
        if extension not in _TYPES or not stem:
            return _missing()
        # The same address gives WebP to those who read it.
        wants_webp = extension != "webp" and "image/webp" in request.headers.get("accept", "")
        for kind in ("webp", extension) if wants_webp else (extension,):
            try:
                blob = await services().blobs.open(f"{merchant}/{shard}/{sha256}/{stem}.{kind}")
            except (BlobMissing, ValueError):
                continue
            tag = f'"{sha256[:32]}-{stem}-{kind}"'
            headers = {**_HEADERS, "ETag": tag}
            if not_modified(request, tag):
                return Response(b"", status_code=304, headers=headers)
            return _send(request, blob.size_bytes, blob.chunks, headers, _TYPES[kind], tag)
        return _missing()

    return media


def _send(
    request: Request[Any, Any, Any],
    size_bytes: int,
    chunks: Callable[[int, int], AsyncIterator[bytes]],
    headers: dict[str, str],
    content_type: str,
    tag: str,
) -> Response[Any]:
    start, end, status = 0, size_bytes, 200
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range", tag) == tag:
        span = _range(wanted, size_bytes)
        if span is None:
            headers |= {"Content-Range": f"bytes */{size_bytes}"}
            return Response(b"", status_code=416, headers=headers, media_type=content_type)
        if span != (0, 0):
            start, end = span
            status = 206
            headers |= {"Content-Range": f"bytes {start}-{end - 1}/{size_bytes}"}
    headers |= {"Content-Length": str(end - start)}
    return Stream(chunks(start, end), status_code=status, headers=headers, media_type=content_type)


def _range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """First and one past the last byte; (0, 0) to ignore the header; None when it lies outside."""
    unit, _, spec = header.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or "," in spec:
        return (0, 0)
    if not all(part == "" or (part.isascii() and part.isdecimal()) for part in (first, last)):
        return (0, 0)
    if first == "":
        if last == "" or int(last) == 0:
            return None
        return max(0, size_bytes - int(last)), size_bytes
    start = int(first)
    end = min(int(last) + 1, size_bytes) if last else size_bytes
    if start >= size_bytes:
        return None
    return (start, end) if start < end else (0, 0)


def _missing() -> Response[Any]:
    return Response(b"There is no such picture.\n", status_code=404, media_type="text/plain")
