"""gzip for texts. Pictures and PDFs are compressed already."""

import asyncio
import zlib
from functools import lru_cache
from typing import Any

MIN_BYTES = 1024
# Above this the compressor runs in a thread, so that the event loop is free.
MAX_INLINE_BYTES = 128 * 1024
_LEVEL = 3
_GZIP_WBITS = 31
_TEXTS = (
    b"application/json",
    b"application/problem+json",
    b"text/",
    b"application/javascript",
    b"application/yaml",
    b"application/jsonl",
)


@lru_cache(256)
def accepts_gzip(header: bytes | None) -> bool:
    """Whether Accept-Encoding takes gzip (`gzip;q=0` refuses it)."""
    if header is None:
        return False
    answer = None
    for offer in header.lower().split(b","):
        name, _, parameters = offer.partition(b";")
        name = name.strip()
        if name == b"gzip" or (name == b"*" and answer is None):
            weight = parameters.partition(b"q=")[2].strip()
            answer = weight.strip(b"0.") != b"" or not weight
    return bool(answer)


def compressible(status: int, present: dict[bytes, bytes]) -> bool:
    """Whether an answer with these headers (lower-case names) is a text that may be compressed."""
    content_type = present.get(b"content-type", b"").lower()
    if status in (204, 206, 304) or b"content-encoding" in present or b"content-range" in present:
        return False
    if content_type.startswith(b"text/event-stream"):
        return False
    return content_type.startswith(_TEXTS) or content_type.partition(b";")[0].endswith(b"+json")


class Compressor:
    def __init__(self) -> None:
        self._deflate: Any = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WBITS)

    def _run(self, body: bytes, last: bool) -> bytes:
        out: bytes = self._deflate.compress(body)
        out += self._deflate.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
        return out

    async def add(self, body: bytes, *, last: bool) -> bytes:
        """The compressed bytes of this piece; what came so far can be read at once."""
        if len(body) > MAX_INLINE_BYTES:
            return await asyncio.to_thread(self._run, body, last)
        return self._run(body, last)
