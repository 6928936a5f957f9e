"""`kasuwa` whose backup dumps what is there later, not what its list of files was made from: the control.

Run: python -m tests.faults.broken_backup backup FILE
"""

import asyncio
from pathlib import Path

import asyncpg

from kasuwa.cli import main as kasuwa
from kasuwa.cli.backup import taking
from kasuwa.cli.backup.programs import pg_dump
from kasuwa.settings import Settings


async def dump_later(settings: Settings, url: str, snapshot: str, target: Path) -> None:
    """A snapshot of its own, once writers have gone on."""
    await asyncio.sleep(3)
    other = await asyncpg.connect(url)
    try:
        async with other.transaction(isolation="repeatable_read"):
            await pg_dump(settings, url, await other.fetchval("SELECT pg_export_snapshot()"), target)
    finally:
        await other.close()


if __name__ == "__main__":
    vars(taking)["pg_dump"] = dump_later
    kasuwa()
