"""A data folder as the first start leaves it: made once for a run, and copied from then on."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Installed:
    """An empty installation that is copied into data folders, which saves each the making of a database."""

    def __init__(self, folder: Path) -> None:
        self._first = folder / "first"

    def lay_down(self, data: Path) -> None:
        """Make the data folder, which must not exist, as if it had been started and stopped."""
        if not self._first.exists():
            # A process of its own: the caller may be in the middle of an event loop.
            words = [sys.executable, "-m", "kasuwa", "doctor", "--data", str(self._first)]
            subprocess.run(words, check=True, capture_output=True)
        # PostgreSQL's files belong to a user of its own.
        subprocess.run(["cp", "-a", str(self._first), str(data)], check=True)


@contextmanager
def keeping_installed() -> Iterator[Installed]:
    """One that is there for as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-installed-"))
    folder.chmod(0o755)
    try:
        yield Installed(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
