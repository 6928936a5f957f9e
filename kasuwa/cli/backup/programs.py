"""PostgreSQL's own programs, run without a password on their command line."""

import asyncio
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from kasuwa.base.postgres.binaries import Binaries
from kasuwa.base.problems import Problem


class ProgramFailed(Problem):
    status = 500
    code = "database-program-failed"
    title = "A program of PostgreSQL failed"


class ProgramMissing(Problem):
    status = 500
    code = "database-program-missing"
    title = "A program of PostgreSQL is missing"


async def pg_dump(binaries: Binaries, url: str, snapshot: str, target: Path) -> None:
    """Dump what the snapshot sees, in PostgreSQL's custom format. Raises ProgramFailed."""
    words = [
        "--format=custom",
        "--enable-row-security",
        "--no-unlogged-table-data",
        f"--snapshot={snapshot}",
        f"--file={target}",
    ]
    await _run(_needed(binaries.pg_dump, "pg_dump"), words, url)


async def pg_restore(binaries: Binaries, url: str, source: Path) -> None:
    """Bring the dump into an empty database, all or nothing. Raises ProgramFailed."""
    words = ["--exit-on-error", "--single-transaction", str(source)]
    await _run(_needed(binaries.pg_restore, "pg_restore"), words, url)


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """The URL as a command line may show it, and the environment that carries the password."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    plain = urlunsplit((parts.scheme, f"{user}{at}{host}", parts.path, parts.query, ""))
    return plain, {"PGPASSWORD": unquote(password)} if colon else {}


def with_database(url: str, database: str) -> str:
    """The same server and role for another database."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, ""))


def _needed(program: Path | None, name: str) -> Path:
    if program is None:
        raise ProgramMissing(
            f"{name} is not beside PostgreSQL's other programs. Name a folder that has it by KASUWA_PG_BIN."
        )
    return program


async def _run(program: Path, words: list[str], url: str) -> None:
    plain, secret = without_password(url)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        program,
        f"--dbname={plain}",
        "--no-password",
        *words,
        env={**kept, **secret},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode != 0:
        reason = said.decode(errors="replace").strip()[-2000:]
        raise ProgramFailed(f"{program.name} ended with {process.returncode}: {reason}")
