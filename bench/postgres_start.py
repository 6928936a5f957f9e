"""How long the embedded PostgreSQL takes to start: first, again, and after a crash under writes."""

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import tempfile
import time
from pathlib import Path

import asyncpg

from kasuwa.base.postgres.binaries import find_binaries
from kasuwa.base.postgres.bootstrap import bootstrap
from kasuwa.base.postgres.process import processes_in
from kasuwa.base.postgres.server import EmbeddedPostgres


def timed_ms(work: object) -> float:
    begin = time.perf_counter()
    assert callable(work)
    work()
    return (time.perf_counter() - begin) * 1000


async def write(dsn: str, rows: int) -> int:
    """Insert `rows` rows of 100 bytes; returns the bytes of log that a crash now has to read again."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE IF NOT EXISTS written (n bigint PRIMARY KEY, filling text)")
    await connection.execute("TRUNCATE written")
    await connection.execute(
        "INSERT INTO written SELECT n, repeat(md5(n::text), 3) FROM generate_series(1, $1::bigint) n", rows
    )
    redo = "SELECT pg_current_wal_lsn() - redo_lsn FROM pg_control_checkpoint()"
    answer = int(await connection.fetchval(redo))
    await connection.close()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=300_000, help="written before each crash")
    parser.add_argument("--binaries", help="a folder of PostgreSQL's programs")
    options = parser.parse_args()
    binaries = find_binaries(options.binaries)
    place = Path(tempfile.mkdtemp(prefix="kasuwa-bench-", dir="/tmp"))
    place.chmod(0o755)
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    try:
        for number in range(options.rounds):
            data = place / f"data-{number}"
            server = EmbeddedPostgres(data, binaries)
            note("first start, ms", timed_ms(server.start))
            dsn = server.dsn(server.superuser, "postgres")
            note("first bootstrap, ms", timed_ms(lambda dsn=dsn: asyncio.run(bootstrap(dsn))))
            note("bootstrap again, ms", timed_ms(lambda dsn=dsn: asyncio.run(bootstrap(dsn))))
            note("stop, ms", timed_ms(server.stop))
            note("second start, ms", timed_ms(server.start))
            note("log to recover, MB", asyncio.run(write(dsn, options.rows)) / 1e6)
            killed = server.pid
            assert killed is not None
            begin = time.perf_counter()
            os.kill(killed, signal.SIGKILL)
            while not is_back(dsn):
                time.sleep(0.005)
            note("back after kill -9, ms", (time.perf_counter() - begin) * 1000)
            server.stop()
            assert processes_in(data / "postgres") == []
    finally:
        shutil.rmtree(place)
    print(f"PostgreSQL {binaries.version}, {options.rounds} rounds, {os.cpu_count()} CPUs")
    for name, values in figures.items():
        print(f"  {name:24} median {statistics.median(values):8.1f}   worst {max(values):8.1f}")


def is_back(dsn: str) -> bool:
    async def ask() -> bool:
        connection = await asyncpg.connect(dsn, timeout=5)
        try:
            return bool(await connection.fetchval("SELECT true"))
        finally:
            await connection.close()

    try:
        return asyncio.run(ask())
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return False


if __name__ == "__main__":
    main()
