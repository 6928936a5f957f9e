"""Waiting for the moment at which one transaction waits for another."""

import asyncio

from kasuwa.base.db import Database


async def until_somebody_waits(db: Database) -> None:
    """Until a transaction waits for a lock of this one."""
    blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
    while not await db.value(blocked):  # noqa: ASYNC110 - the database rings no bell
        await asyncio.sleep(0.02)
