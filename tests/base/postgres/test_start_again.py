"""A start whose PostgreSQL ends just when it is ready goes on with the one that takes its place."""

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kasuwa import database
from kasuwa.base.postgres.bootstrap import bootstrap
from kasuwa.database import serving_database
from kasuwa.settings import read_settings

_NOT_THERE = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


@pytest.mark.parametrize("patience", ["some", "none"])
def test_a_server_that_ends_before_it_is_prepared(monkeypatch: pytest.MonkeyPatch, patience: str) -> None:
    killed: list[int] = []

    async def kill_then_bootstrap(*words: Any, **named: Any) -> None:
        if not killed:
            killed.append(int((data / "postgres" / "postmaster.pid").read_text().split()[0]))
            os.kill(killed[0], signal.SIGKILL)
        await bootstrap(*words, **named)

    monkeypatch.setattr(database, "bootstrap", kill_then_bootstrap)
    with tempfile.TemporaryDirectory(prefix="kasuwa-again-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        settings = read_settings({}, data=str(data))
        if patience == "some":
            with serving_database(settings) as urls:
                assert urls.owner
        else:
            monkeypatch.setattr(database, "_PATIENCE_S", ())
            with pytest.raises(_NOT_THERE), serving_database(settings):
                pass
        assert killed
