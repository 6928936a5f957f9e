"""PostgreSQL's own programs, run without a password on their command line."""

import asyncio
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
from msgspec import Struct

from kasuwa.base.postgres.binaries import find_binaries
from kasuwa.base.problems import Problem
from kasuwa.settings import Settings

# Since 17 pg_restore begins with this, whatever the server knows: an older one refuses it and goes on.
_UNKNOWN_BEFORE_17 = "Command was: SET transaction_timeout = 0;"


class ProgramFailed(Problem):
    status = 500
    code = "database-program-failed"
    title = "A program of PostgreSQL failed"


class ProgramMissing(Problem):
    status = 500
    code = "database-program-missing"
    title = "A program of PostgreSQL is missing"


class ProgramTooOld(Problem):
    status = 500
    code = "database-program-too-old"
    title = "A program of PostgreSQL is too old"


class Program(Struct, frozen=True):
    path: Path
    major: int


async def pg_dump(settings: Settings, url: str, snapshot: str, target: Path) -> None:
    """Dump what the snapshot sees, in PostgreSQL's custom format.

    Raises ProgramMissing, ProgramTooOld, ProgramFailed.
    """
    program = await asyncio.to_thread(find_program, settings, "pg_dump")
    server = await _major_of(url)
    if program.major < server:
        raise ProgramTooOld(
            f"{program.path} is of PostgreSQL {program.major} and the server of {server}, which it cannot "
            f"dump. Name a folder with the programs of {server} or a later one by KASUWA_PG_BIN."
        )
    words = [
        "--format=custom",
        "--enable-row-security",
        "--no-unlogged-table-data",
        f"--snapshot={snapshot}",
        f"--file={target}",
    ]
    code, said = await _run(program, words, url)
    if code != 0:
        raise _failed(program, code, said)


async def pg_restore(settings: Settings, url: str, source: Path) -> None:
    """Bring the dump into an empty database, which is of no use when this fails.

    Raises ProgramMissing, ProgramTooOld, ProgramFailed.
    """
    program = await asyncio.to_thread(find_program, settings, "pg_restore")
    bears_errors = await _major_of(url) < 17 <= program.major
    words = [] if bears_errors else ["--exit-on-error", "--single-transaction"]
    code, said = await _run(program, [*words, str(source)], url)
    if code == 0 or (bears_errors and _is_only_the_unknown_line(said)):
        return
    if "unsupported version" in said:
        raise ProgramTooOld(
            f"{program.path} is of PostgreSQL {program.major}, the pg_dump that wrote this of a later one. "
            "Name a folder with later ones by KASUWA_PG_BIN, or leave it empty: Kasuwa brings its own."
        )
    raise _failed(program, code, said)


def find_program(settings: Settings, name: str) -> Program:
    """The program in the folder KASUWA_PG_BIN, else beside our PostgreSQL. Raises ProgramMissing.

    Where the database is one by address, a folder with a client's programs alone will do.
    """
    folder = Path(settings.pg_bin) if settings.pg_bin else find_binaries().bin
    path = folder / name
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True)
        found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    except (OSError, subprocess.SubprocessError):
        found = None
    if found is None:
        raise ProgramMissing(
            f"{folder} has no {name} that runs here. Install PostgreSQL's client programs (on Debian the "
            f"package postgresql-client), and name the folder that has {name} by KASUWA_PG_BIN."
        )
    return Program(path, int(found[1]))


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


async def _major_of(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return connection.get_server_version().major
    finally:
        await connection.close()


async def _run(program: Program, words: list[str], url: str) -> tuple[int, str]:
    """Its exit code and what it said on its error output; its own words are in English."""
    plain, secret = without_password(url)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        program.path,
        f"--dbname={plain}",
        "--no-password",
        *words,
        env={**kept, **secret, "LC_ALL": "C"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace").strip()


def _is_only_the_unknown_line(said: str) -> bool:
    # The server's own words may be in any language.
    return said.count("pg_restore: error: ") == 1 and _UNKNOWN_BEFORE_17 in said


def _failed(program: Program, code: int, said: str) -> ProgramFailed:
    return ProgramFailed(f"{program.path.name} ended with {code}: {said[-2000:]}")
