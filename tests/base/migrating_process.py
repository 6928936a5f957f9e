"""A process of its own that migrates, to be killed amid it: run by the tests of migrations.

A third word builds a fault in, for their control: one of FAULTS.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import asyncpg

from kasuwa.base import migrate as migrating
from kasuwa.base.migrate import Migration, migrate, read_migrations

_NOTE = "INSERT INTO schema_migration (name, sha256) VALUES ($1, $2)"


async def commit_each_statement(connection: "asyncpg.Connection[Any]", migration: Migration) -> None:
    """No transaction holds the statements together."""
    for statement in migration.sql.split(";"):
        await connection.execute(statement)
    await connection.execute(_NOTE, migration.name, migration.sha256)


async def note_first(connection: "asyncpg.Connection[Any]", migration: Migration) -> None:
    """That it ran is committed before it runs."""
    await connection.execute(_NOTE, migration.name, migration.sha256)
    async with connection.transaction():
        await connection.execute(migration.sql)


FAULTS = {"commit-each-statement": commit_each_statement, "note-first": note_first}


async def main(url: str, folder: str, broken: str) -> None:
    if broken:
        vars(migrating)["_run"] = FAULTS[broken]
    connection = await asyncpg.connect(url)
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    await migrate(connection, read_migrations(Path(folder)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
