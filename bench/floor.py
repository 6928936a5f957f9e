"""The floor of a list page: the least a Python server can do with the same SQL and the same bytes.

A bare ASGI application on uvicorn with asyncpg: no checks, no errors, no quota, no log, no metrics. Run as
`python -m bench.floor DSN`; it prints `ready on http://…`.
"""

import asyncio
import contextlib
import hashlib
import socket
import sys
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import asyncpg
import msgspec
import uvicorn
import uvloop

from kasuwa.api.storeharmony.product_views import live_format

_SESSION = """
    SELECT merchant_id, user_id, store_id, original_store_id, role, expires_at FROM resolve_session($1, $2)
"""
_PAGE = """
    SELECT data, shown, total, last_sort_name, last_product_id, is_plain
    FROM product_page($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def _nothing_to_undo(_connection: Any) -> None:
    """The pool's own reset would be another question for each request."""


class Floor:
    """Two questions in autocommit, and their answer as it comes."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.pool: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.pool = await asyncpg.create_pool(self.dsn, min_size=1, reset=_nothing_to_undo)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.pool.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        headers = dict(scope["headers"])
        size = int(parse_qs(scope["query_string"])[b"size"][0])
        body = await self.page(headers[b"sessiontoken"], size)
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    async def page(self, token: bytes, size: int) -> bytes:
        async with self.pool.acquire() as connection:
            session = await connection.fetchrow(_SESSION, hashlib.sha256(token).digest(), "store")
            store_id = UUID(int=session["store_id"].int)
            words = (session["merchant_id"], "storeharmony", store_id, "active", True)
            row = await connection.fetchrow(_PAGE, *words, live_format(store_id), size, 0)
        facts = {
            "page": 1,
            "size": size,
            "totalElements": row["total"],
            "totalPages": -(-row["total"] // size),
        }
        ends = facts | {"totalExact": True, "nextCursor": f"{row['last_sort_name']} {row['last_product_id']}"}
        data: bytes = row["data"]
        return b'{"data":[' + data + b"]," + msgspec.json.encode(ends)[1:]


def main(dsn: str) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Floor(dsn), access_log=False, log_level="error", lifespan="on", server_header=False
    )

    port = listening.getsockname()[1]

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"ready on http://127.0.0.1:{port}", flush=True)

    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main(sys.argv[1])
