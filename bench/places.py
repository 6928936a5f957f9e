"""Where a measurement keeps its data."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def data_folder() -> Iterator[Path]:
    """A short path that PostgreSQL's plain user reaches; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kasuwa-bench-", ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path
