"""A worker of its own that takes jobs: run by the tests of the queue, which kill it or read what it did."""

import asyncio
import os
import sys
from functools import partial
from typing import Any
from uuid import UUID

from kasuwa.base.db import Pool
from kasuwa.base.jobs import JobQueue


async def linger(folder: str, merchant_id: UUID | None, payload: Any) -> None:
    """Say that it has begun, and go on for as long as it was told."""
    with open(os.path.join(folder, payload["name"]), "a") as out:  # noqa: ASYNC230 - a test's own process
        out.write(f"{os.getpid()}\n")
    await asyncio.sleep(payload["seconds"])


async def main(url: str, folder: str, lease_seconds: str, kind: str) -> None:
    pool = await Pool.open(dsn=url, max_size=4)
    jobs = JobQueue(pool, poll_seconds=0.05, lease_seconds=float(lease_seconds))
    jobs.handle(kind, partial(linger, folder))
    jobs.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await jobs.stop()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
