"""Migrations: plain SQL files, forward only, each in one transaction, under an advisory lock.

See docs/decisions/migrations.md for why this is ours.
"""

import hashlib
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct

from kasuwa.base.problems import Problem

# Any number, so long as it is always the same one.
_LOCK = 7_305_211_846


class Migration(Struct, frozen=True):
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class MigrationChanged(Problem):
    """A migration that ran was edited afterwards: write a new one instead."""

    status = 503
    code = "migration-changed"
    title = "A migration is not what ran here"


class DatabaseTooNew(Problem):
    """The database has migrations that this version of the program does not know."""

    status = 503
    code = "database-too-new"
    title = "The data is of a newer version"


def read_migrations(folder: Path) -> list[Migration]:
    """The files of the folder in the order of their numbers."""
    return [Migration(path.stem, path.read_text("utf-8")) for path in sorted(folder.glob("[0-9]*.sql"))]


async def applied(connection: "asyncpg.Connection[Any]") -> dict[str, str]:
    """Name and SHA-256 of what has run."""
    rows = await connection.fetch("SELECT name, sha256 FROM schema_migration")
    return {row["name"]: row["sha256"] for row in rows}


async def migrate(connection: "asyncpg.Connection[Any]", migrations: list[Migration]) -> list[str]:
    """Run what has not run yet, as the owner of the schema; answer the names.

    Two processes that start at once do it one after the other. A kill in between leaves the database
    before or after a migration, never inside one.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migration (
              name text PRIMARY KEY,
              sha256 text NOT NULL,
              applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )
        have = await applied(connection)
        unknown = set(have) - {migration.name for migration in migrations}
        if unknown:
            raise DatabaseTooNew(
                f"the data was written by a newer version (it has {', '.join(sorted(unknown))}): "
                "start that version, or restore a backup made with this one"
            )
        done = []
        for migration in migrations:
            if migration.name in have:
                if have[migration.name] != migration.sha256:
                    raise MigrationChanged(
                        f"{migration.name} was edited after it ran here: "
                        "put it back as it was and write the change as a new migration"
                    )
                continue
            await _run(connection, migration)
            done.append(migration.name)
        return done
    finally:
        # A connection that is gone has let go of it, and must not hide why.
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _run(connection: "asyncpg.Connection[Any]", migration: Migration) -> None:
    """The migration and the note that it ran, or nothing."""
    await connection.execute("BEGIN")
    try:
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migration (name, sha256) VALUES ($1, $2)", migration.name, migration.sha256
        )
        await connection.execute("COMMIT")
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
