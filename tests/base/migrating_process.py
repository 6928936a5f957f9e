"""A process of its own that migrates, to be killed amid it: run by the tests of migrations."""

import asyncio
import sys
from pathlib import Path

import asyncpg

from kasuwa.base.migrate import migrate, read_migrations


async def main(url: str, folder: str) -> None:
    connection = await asyncpg.connect(url)
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    await migrate(connection, read_migrations(Path(folder)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
