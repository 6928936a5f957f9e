"""A body that may be large, put aside in a file while it comes."""

import asyncio
import errno
import hashlib
from pathlib import Path

from kasuwa.base.http.body.whole import AnyRequest, body_chunks
from kasuwa.base.problems import NoSpace

_FULL = (errno.ENOSPC, errno.EDQUOT)


async def spool_body(request: AnyRequest, limit_bytes: int, path: Path) -> bytes:
    """Write the body to the file, which is the caller's own; answer its SHA-256.

    Raises TooLarge (413), by Content-Length before anything is read or as soon as more comes,
    ClientDisconnected and NoSpace (507).
    """
    digest = hashlib.sha256()
    try:
        with await asyncio.to_thread(path.open, "wb") as out:
            async for chunk in body_chunks(request, limit_bytes):
                digest.update(chunk)
                await asyncio.to_thread(out.write, chunk)
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace("There is no room for the file on this machine now.") from None
        raise
    return digest.digest()
